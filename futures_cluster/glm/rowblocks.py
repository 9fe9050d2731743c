"""Row blocks: some rows of the data in one process, in the form that passes read.

Covers: the block itself (dense or CSR rows, a numeric target, weights), cutting arrays into blocks, iterating a block
piece by piece, and the facts of a block by which all of them are checked together. Does not cover: files, Dask, futures
(``sources``), the coding of classes (``targets``), where blocks are kept (``sums``).

The way of data::

    what users have --sources--> RowBlock with raw target --facts, check_facts--> coded target --> passes
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from futures_cluster.glm.centering import CenteredRows, moments_of
from futures_cluster.glm.columns import Features, Rows, rows_of_frame, target_of
from futures_cluster.numbers import shown

Array = Any


#: Rows of a piece of a sample.
SAMPLE_ROWS = 256


@dataclass
class RowBlock:
    """Rows of the data.

    Attributes
    ----------
    x : array or CSR matrix of float32 or float64, of shape (rows, features)
    y : array of shape (rows,)
        Raw as the user gave it, or float64 once it is coded.
    weights : array of float64 or None
        Sample weights; None means that all are 1.
    columns : list of str or None
        Names, where the data had some.
    center : array of shape (features,) or None
        Subtracted from the rows of each piece (``centering``).
    offset : array or None
        Offsets or exposures, raw as the user gave them. ``code_block`` puts them into the target.
    levels : dict
        The levels of categories, until they are encoded: each is a column of codes in ``x`` (see ``columns.Rows``).
    """

    x: Any
    y: Array
    weights: Array | None = None
    columns: list[str] | None = None
    levels: Mapping[str, Array] = field(default_factory=dict)
    center: Array | None = None
    offset: Array | None = None
    _cut: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    _unchanged_by_tasks: ClassVar[bool] = True  # passes only read: the tasks of a worker share a scattered block

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cut": {}}

    @property
    def n_rows(self) -> int:
        return int(self.x.shape[0])

    @property
    def n_features(self) -> int:
        return int(self.x.shape[1])

    @property
    def is_sparse(self) -> bool:
        return bool(scipy.sparse.issparse(self.x))

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers, for deciding how to send them."""
        x = self.x
        size = int(x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) if self.is_sparse else int(x.nbytes)
        return size + int(self.y.nbytes) + (0 if self.weights is None else int(self.weights.nbytes))

    def pieces(
        self, segment: tuple[int, int], rows: int, stride: int, *, sparse_as_dense: bool
    ) -> Iterator[tuple[Any, Array, Array | None]]:
        """Yield the rows of a segment in pieces ``(x, y, weights)``, float64 and centred.

        Parameters
        ----------
        stride : int
            Distance of the pieces that are used.
        sparse_as_dense : bool
            CSR rows come as dense ones; otherwise a segment of them is one piece, as ``CenteredRows`` if centred.
        """
        start, stop = segment
        if stride > 1:
            rows = min(rows, SAMPLE_ROWS)  # many places, so that the order of the rows matters little
        if self.is_sparse and not sparse_as_dense:
            if stride > 1:
                for first in range(start, stop, rows * stride):
                    last = min(first + rows, stop)
                    yield self._centered_piece(first, last), self.y[first:last], _cut(self.weights, first, last)
                return
            yield self._centered_piece(start, stop), self.y[start:stop], _cut(self.weights, start, stop)
            return
        for first in range(start, stop, rows * stride):
            last = min(first + rows, stop)
            if self.is_sparse:
                x = self._sparse_piece(first, last, keep=False).toarray()
            else:
                x = self.x[first:last]
            if x.dtype != np.float64:
                x = x.astype(np.float64)
            if self.center is not None:
                x = x - self.center
            yield x, self.y[first:last], _cut(self.weights, first, last)

    def _centered_piece(self, start: int, stop: int) -> Any:
        piece = self._sparse_piece(start, stop)
        return piece if self.center is None else CenteredRows(piece, self.center)

    def _sparse_piece(self, start: int, stop: int, keep: bool = True) -> Any:
        """Return rows of a CSR matrix over its own numbers, without a copy."""
        piece = self._cut.get((start, stop))
        if piece is None:
            x = self.x
            first, last = int(x.indptr[start]), int(x.indptr[stop])
            data = x.data[first:last]
            if data.dtype != np.float64:
                data = data.astype(np.float64)
            parts = (data, x.indices[first:last], x.indptr[start : stop + 1] - x.indptr[start])
            piece = scipy.sparse.csr_matrix(parts, shape=(stop - start, x.shape[1]), copy=False)
            if keep and data.base is not None:
                self._cut[start, stop] = piece
        return piece


def _cut(weights: Array | None, start: int, stop: int) -> Array | None:
    return None if weights is None else weights[start:stop]


def make_block(x: Any, y: Any, weights: Any = None, offset: Any = None, features: Features | None = None) -> RowBlock:
    """Return a block of an array, data frame or sparse matrix, and its target.

    Raises
    ------
    ValueError
        For lengths that do not fit, and for what is not numeric.
    TypeError
        If columns were chosen of something else than a table.
    """
    columns = None
    levels: Mapping[str, Array] = {}
    if hasattr(x, "columns") and hasattr(x, "to_numpy"):
        x = rows_of_frame(x, features or Features())
    elif features is not None and features.are_chosen and not isinstance(x, Rows):
        raise TypeError(
            f"columns= and categories= need tables with names of columns, and a block is {type(x).__name__}"
        )
    if isinstance(x, Rows):
        columns, levels, x = x.columns, x.levels, x.x
    if scipy.sparse.issparse(x):
        x = x.tocsr()
    else:
        x = np.asarray(x)
        if x.ndim != 2:
            raise ValueError(f"the rows of a block must be a table with two dimensions, not of shape {x.shape}")
        if x.dtype.kind not in "fiub":
            try:
                x = x.astype(np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(f"columns must be numbers: {error}; encode texts and categories first") from error
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    y = target_of(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"the target of a block must have one dimension, not the shape {y.shape}: fit one column at a time"
        )
    if len(y) != x.shape[0]:
        raise ValueError(f"a block has {x.shape[0]} rows and {len(y)} targets")
    if weights is not None:
        weights = np.asarray(target_of(weights), dtype=np.float64)
        if weights.shape != (x.shape[0],):
            raise ValueError(f"a block has {x.shape[0]} rows, and sample weights of shape {weights.shape}")
    return RowBlock(x, y, weights, columns, levels, offset=None if offset is None else np.asarray(target_of(offset)))


def split_rows(x: Any, y: Array, weights: Array | None, n_blocks: int, center: Array | None = None) -> list[RowBlock]:
    """Cut arrays into blocks of nearly equal length, views where possible."""
    n_rows = x.shape[0]
    bounds = [n_rows * i // n_blocks for i in range(n_blocks + 1)]
    return [
        RowBlock(x[start:stop], y[start:stop], _cut(weights, start, stop), center=center)
        for start, stop in itertools.pairwise(bounds)
        if stop > start or n_rows == 0
    ]


@dataclass(frozen=True)
class BlockFacts:
    """What must be known of a block before all are used together.

    Attributes
    ----------
    rows, features : int
    columns : list of str or None
    dtype : str
    problem : str or None
        What makes the block useless: NaN, infinity, weights that are negative.
    classes : array or None
        Distinct targets, when classes were asked for.
    weight : float
        Sum of the sample weights.
    target : float
        Weighted sum of the target, if it is numeric.
    is_sparse : bool
    nbytes : int
    moments : array or sparse matrix of shape (2, features)
        Of the columns (``centering.moments_of``).
    levels : dict
        Those of the block's categories.
    weighed : array or None
        The classes of rows with a weight.
    """

    rows: int
    features: int
    columns: list[str] | None
    dtype: str
    problem: str | None
    classes: Array | None
    weight: float
    target: float
    is_sparse: bool = False
    nbytes: int = 0
    moments: Any = None
    levels: Mapping[str, Array] = field(default_factory=dict)
    weighed: Array | None = None


def problem_of_rows(x: Any) -> str | None:
    """Return whether there are numbers that are none."""
    values = x.data if scipy.sparse.issparse(x) else x
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)) or np.all(np.isfinite(values)):
            return None
    return "Input X contains NaN." if np.any(np.isnan(values)) else "Input X contains infinity."


def facts_of(block: RowBlock, want_classes: bool, check_rows: bool = True) -> BlockFacts:
    """Look through a block once."""
    problem = problem_of_rows(block.x) if check_rows else None
    if problem is not None and block.columns is not None and not block.is_sparse:
        bad = [name for name, column in zip(block.columns, block.x.T) if not np.all(np.isfinite(column))]
        problem += f" Look at the columns {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}."
    classes = None
    numeric = block.y.dtype.kind in "fiub"
    if block.y.dtype.kind == "f" and not np.all(np.isfinite(block.y)):
        problem = "Input y contains NaN." if np.any(np.isnan(block.y)) else "Input y contains infinity."
    elif block.y.dtype == object and _is_missing(block.y).any():
        problem = "Input y contains None or NaN: leave out rows without a target."
    elif want_classes and (mixed := _mixed(block.y)):
        problem = f"the target has texts and other values, {mixed}: make all of them texts, or all numbers"
    elif want_classes:
        classes = distinct(block.y)
    elif not numeric:
        problem = f"the target must be numbers, not {block.y.dtype}"
    weights = block.weights
    if weights is not None:
        if not np.all(np.isfinite(weights)):
            problem = "Input sample_weight contains NaN or infinity."
        elif np.any(weights < 0):
            problem = "sample_weight must not be negative"
    weight = float(block.n_rows) if weights is None else float(weights.sum())
    weighed = classes
    if classes is not None and weights is not None and problem is None and not np.all(weights):
        weighed = distinct(block.y[weights > 0])
    target = 0.0
    if numeric and problem is None and not want_classes and block.n_rows:
        y = block.y.astype(np.float64, copy=False)
        target = float(y.sum()) if weights is None else float(weights @ y)
    return BlockFacts(
        block.n_rows,
        block.n_features,
        block.columns,
        str(block.x.dtype),
        problem,
        classes,
        weight,
        target,
        block.is_sparse,
        block.nbytes,
        moments_of(block),
        block.levels,
        weighed,
    )


def _is_missing(y: Array) -> Array:
    """Return which objects are None, NaN or pandas' NA."""
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        return np.asarray(pandas.isna(y))
    return np.array([each is None or each != each for each in y], dtype=bool)


def _mixed(y: Array) -> str:
    """Return a text and another value of objects of mixed kinds, or nothing."""
    if y.dtype != object or len({issubclass(kind, str) for kind in set(map(type, y))}) < 2:
        return ""
    text = next(each for each in y if isinstance(each, str))
    other = next(each for each in y if not isinstance(each, str))
    return f"such as {shown(text)} and {shown(other)}"


def distinct(y: Array) -> Array:
    """Return the distinct values, sorted; of two numbers without sorting.

    Examples
    --------
    >>> distinct(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    if y.dtype.kind in "fiub" and len(y):
        low, high = y.min(), y.max()
        if np.all((y == low) | (y == high)):
            return np.unique(np.array([low, high]))
    return np.unique(y)


def check_facts(facts: Sequence[BlockFacts], names: Sequence[str] = ()) -> None:
    """Raise if blocks do not go together; columns with names may come in any order.

    Parameters
    ----------
    names : sequence of str
        What the blocks are called in errors, if not by their number, from 0.

    Raises
    ------
    ValueError
        With the block that does not fit.
    """
    if not facts or sum(each.rows for each in facts) == 0:
        raise ValueError("Found array with 0 sample(s): there are no rows to fit")
    reference = next(each for each in facts if each.rows)
    for number, each in enumerate(facts):
        block = names[number] if names else f"block {number}"
        if each.problem is not None:
            raise ValueError(f"{each.problem} ({block})")
        if each.columns is not None and reference.columns is not None:
            lacking = [name for name in reference.columns if name not in each.columns]
            more = [name for name in each.columns if name not in reference.columns]
            if lacking:
                raise ValueError(f"{block} has no column {lacking[0]!r}, and others have: it has {each.columns[:20]}")
            if more:
                raise ValueError(
                    f"{block} has a column {more[0]!r}, and others have not: choose columns by fit(..., columns=[...])"
                )
        if each.features != reference.features:
            raise ValueError(f"{block} has {each.features} columns, and others have {reference.features}")
    if sum(each.weight for each in facts) <= 0:
        raise ValueError("sample_weight is zero for all rows: at least one weight must be positive")
