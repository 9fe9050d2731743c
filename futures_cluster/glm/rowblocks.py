"""Row blocks: some rows of the data in one process, in the form that passes read.

Covers: the block itself (dense or CSR rows, a target, weights), making one, cutting arrays into blocks, and iterating
over a block piece by piece. Does not cover: where users' data comes from (``sources``), checking blocks
(``block_facts``), the coding of targets (``targets``), where blocks are kept (``sums``).

How data becomes a sum over all rows::

    files, collections, futures --sources--> RowBlock, raw target --targets--> RowBlock, coded target --passes--> sums
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import scipy.sparse

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.centering import CenteredRows
from futures_cluster.glm.columns import Features, Rows, rows_of_frame, target_of

#: Maximum number of rows of a piece if only some pieces are used.
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
        Names of the columns, if the data had some.
    levels : dict
        Levels of categories, until they are encoded: each category is a column of codes in ``x`` (``columns.Rows``).
    center : array of shape (features,) or None
        Subtracted from the rows of each piece (``centering``).
    offset : array or None
        Offsets or exposures, raw as the user gave them. ``targets.code_block`` puts them into the target.
    """

    x: Any
    y: Array
    weights: Array | None = None
    columns: list[str] | None = None
    levels: Mapping[str, Array] = field(default_factory=dict)
    center: Array | None = None
    offset: Array | None = None
    #: By (start, stop): CSR matrices over the memory of ``x``, from the first pass on.
    _csr_pieces: dict[tuple[int, int], Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _unchanged_by_tasks: ClassVar[bool] = True  # passes only read: the tasks of a worker share a scattered block

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_csr_pieces": {}}

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
        """Bytes of rows, target and weights."""
        x = self.x
        size = int(x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) if self.is_sparse else int(x.nbytes)
        return size + int(self.y.nbytes) + (0 if self.weights is None else int(self.weights.nbytes))

    def pieces(
        self, segment: tuple[int, int], rows: int, stride: int, *, sparse_as_dense: bool
    ) -> Iterator[tuple[Any, Array, Array | None]]:
        """Yield the rows of a segment in pieces ``(x, y, weights)``, float64 and centred.

        Parameters
        ----------
        segment : tuple of int
            Start and stop among the rows of the block.
        rows : int
            Rows of a dense piece.
        stride : int
            Use one of ``stride`` pieces; larger than 1 for a sample.
        sparse_as_dense : bool
            Whether pieces of CSR rows are dense. Otherwise they are CSR matrices, as ``CenteredRows`` if centred, and
            without a stride the whole segment is one piece.
        """
        start, stop = segment
        as_sparse = self.is_sparse and not sparse_as_dense
        if as_sparse and stride == 1:
            yield self._sparse_piece(start, stop), self.y[start:stop], _rows_of(self.weights, start, stop)
            return
        if stride > 1:
            rows = min(rows, SAMPLE_ROWS)  # many small pieces, so that the order of the rows matters little
        for first in range(start, stop, rows * stride):
            last = min(first + rows, stop)
            x = self._sparse_piece(first, last) if as_sparse else self._dense_piece(first, last)
            yield x, self.y[first:last], _rows_of(self.weights, first, last)

    def _dense_piece(self, start: int, stop: int) -> Array:
        x = self._csr_piece(start, stop, keep=False).toarray() if self.is_sparse else self.x[start:stop]
        if x.dtype != np.float64:
            x = x.astype(np.float64)
        return x if self.center is None else x - self.center

    def _sparse_piece(self, start: int, stop: int) -> Any:
        piece = self._csr_piece(start, stop)
        return piece if self.center is None else CenteredRows(piece, self.center)

    def _csr_piece(self, start: int, stop: int, keep: bool = True) -> Any:
        """Return rows of ``x`` as CSR of float64, over the same memory if possible."""
        piece = self._csr_pieces.get((start, stop))
        if piece is None:
            x = self.x
            first, last = int(x.indptr[start]), int(x.indptr[stop])
            data = x.data[first:last]
            if data.dtype != np.float64:
                data = data.astype(np.float64)
            parts = (data, x.indices[first:last], x.indptr[start : stop + 1] - x.indptr[start])
            piece = scipy.sparse.csr_matrix(parts, shape=(stop - start, x.shape[1]), copy=False)
            if keep and data.base is not None:  # a view; copies of all pieces would double the memory of the block
                self._csr_pieces[start, stop] = piece
        return piece


def _rows_of(weights: Array | None, start: int, stop: int) -> Array | None:
    return None if weights is None else weights[start:stop]


def make_block(x: Any, y: Any, weights: Any = None, offset: Any = None, features: Features | None = None) -> RowBlock:
    """Make a block of an array, data frame, sparse matrix or ``Rows``.

    Raises
    ------
    ValueError
        If lengths differ, dimensions are wrong, or columns are not numeric.
    TypeError
        If ``features`` name columns, and ``x`` has no names.
    """
    x, columns, levels = _numeric_rows(x, features)
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


def _numeric_rows(x: Any, features: Features | None) -> tuple[Any, list[str] | None, Mapping[str, Array]]:
    """Return rows as an array or CSR matrix of floats, and columns and levels."""
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
    return x, columns, levels


def split_rows(x: Any, y: Array, weights: Array | None, n_blocks: int, center: Array | None = None) -> list[RowBlock]:
    """Cut arrays into blocks of nearly equal length, views where possible."""
    n_rows = x.shape[0]
    bounds = [n_rows * i // n_blocks for i in range(n_blocks + 1)]
    return [
        RowBlock(x[start:stop], y[start:stop], _rows_of(weights, start, stop), center=center)
        for start, stop in itertools.pairwise(bounds)
        if stop > start or n_rows == 0
    ]
