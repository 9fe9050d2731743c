"""Facts of row blocks: what a pass over one block finds out, by which all blocks are checked together.

A task computes the facts of each block where the block is (``facts_of``); the caller of ``fit`` gets all of them,
checks that the blocks belong together (``check_facts``), and derives from them how targets are coded (``targets``).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.centering import moments_of
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.numbers import shown


@dataclass(frozen=True)
class BlockFacts:
    """Facts of one block.

    Attributes
    ----------
    rows, features : int
        Shape of the block.
    columns : list of str or None
        Names of the columns.
    problem : str or None
        Why the block cannot be used, such as NaN in it, or negative weights.
    classes : array or None
        Distinct targets, if classes were asked for.
    weighted_classes : array or None
        Those of rows whose weight is not zero.
    weight_sum : float
        Sum of the sample weights.
    target_sum : float
        Weighted sum of the target, if it is numeric.
    is_sparse : bool
        Whether the rows are sparse.
    nbytes : int
        See ``RowBlock``.
    moments : array or sparse matrix of shape (2, features)
        Of the columns (``centering.moments_of``).
    levels : dict
        Levels of the block's categories.
    """

    rows: int
    features: int
    columns: list[str] | None
    problem: str | None
    classes: Array | None
    weighted_classes: Array | None
    weight_sum: float
    target_sum: float
    is_sparse: bool = False
    nbytes: int = 0
    moments: Any = None
    levels: Mapping[str, Array] = field(default_factory=dict)


def problem_of_rows(x: Any) -> str | None:
    """Return an error text if numbers are NaN or infinite, otherwise None."""
    values = x.data if scipy.sparse.issparse(x) else x
    with np.errstate(all="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)) or np.all(np.isfinite(values)):
            return None
    return "Input X contains NaN." if np.any(np.isnan(values)) else "Input X contains infinity."


def facts_of(block: RowBlock, want_classes: bool, check_rows: bool = True) -> BlockFacts:
    """Return the facts of a block.

    Parameters
    ----------
    want_classes : bool
        Whether the target has classes.
    check_rows : bool
        Whether to look for NaN and infinity in the rows, which reads all of them.
    """
    y, weights = block.y, block.weights
    problem_of_y = _problem_of_target(y, want_classes)
    problem = (
        (None if weights is None else _problem_of_weights(weights))
        or problem_of_y
        or (_problem_of_columns(block) if check_rows else None)
    )
    classes = weighted_classes = distinct(y) if want_classes and problem_of_y is None else None
    if classes is not None and weights is not None and problem is None and not np.all(weights):
        weighted_classes = distinct(y[weights > 0])
    target_sum = 0.0
    if y.dtype.kind in "fiub" and problem is None and not want_classes and block.n_rows:
        numbers = y.astype(np.float64, copy=False)
        target_sum = float(numbers.sum()) if weights is None else float(weights @ numbers)
    return BlockFacts(
        rows=block.n_rows,
        features=block.n_features,
        columns=block.columns,
        problem=problem,
        classes=classes,
        weighted_classes=weighted_classes,
        weight_sum=float(block.n_rows) if weights is None else float(weights.sum()),
        target_sum=target_sum,
        is_sparse=block.is_sparse,
        nbytes=block.nbytes,
        moments=moments_of(block),
        levels=block.levels,
    )


def _problem_of_columns(block: RowBlock) -> str | None:
    """Return the problem of the rows, with the names of columns that have it."""
    problem = problem_of_rows(block.x)
    if problem is not None and block.columns is not None and not block.is_sparse:
        bad = [name for name, column in zip(block.columns, block.x.T) if not np.all(np.isfinite(column))]
        problem += f" Look at the columns {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}."
    return problem


def _problem_of_target(y: Array, want_classes: bool) -> str | None:
    if y.dtype.kind == "f" and not np.all(np.isfinite(y)):
        return "Input y contains NaN." if np.any(np.isnan(y)) else "Input y contains infinity."
    if y.dtype == object and _is_missing(y).any():
        return "Input y contains None or NaN: leave out rows without a target."
    if want_classes:
        if examples := _mixed_examples(y):
            return f"the target has texts and other values, {examples}: make all of them texts, or all numbers"
    elif y.dtype.kind not in "fiub":
        return f"the target must be numbers, not {y.dtype}"
    return None


def _problem_of_weights(weights: Array) -> str | None:
    if not np.all(np.isfinite(weights)):
        return "Input sample_weight contains NaN or infinity."
    return "sample_weight must not be negative" if np.any(weights < 0) else None


def _is_missing(y: Array) -> Array:
    """Return for each object whether it is None, NaN or pandas' NA."""
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        return np.asarray(pandas.isna(y))
    return np.array([each is None or each != each for each in y], dtype=bool)


def _mixed_examples(y: Array) -> str:
    """Return words with a text and another value if objects are of both kinds, or ""."""
    if y.dtype != object or len({issubclass(kind, str) for kind in set(map(type, y))}) < 2:
        return ""
    text = next(each for each in y if isinstance(each, str))
    other = next(each for each in y if not isinstance(each, str))
    return f"such as {shown(text)} and {shown(other)}"


def distinct(y: Array) -> Array:
    """Return the distinct values in order; fast if they are two numbers.

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


def mean_target(facts: Sequence[BlockFacts]) -> float:
    """Return the weighted mean of the target of all blocks."""
    return sum(each.target_sum for each in facts) / sum(each.weight_sum for each in facts)


def check_facts(facts: Sequence[BlockFacts], names: Sequence[str] = ()) -> None:
    """Check that each block can be used, and that all have the same columns.

    Columns with names may come in any order.

    Parameters
    ----------
    facts : sequence of BlockFacts
        The facts of all blocks.
    names : sequence of str
        What errors call the blocks; by default "block 0" and so on.

    Raises
    ------
    ValueError
        If a block does not fit; the text names it.
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
    if sum(each.weight_sum for each in facts) <= 0:
        raise ValueError("sample_weight is zero for all rows: at least one weight must be positive")
