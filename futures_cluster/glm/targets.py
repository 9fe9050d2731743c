"""Coding: what must be known of all blocks to make the numbers of one that families read.

Covers: the coding of classes, found over all blocks together; ``class_weight``; checks that need the family; levels of
categories, and the order of columns. Does not cover: reading blocks (``sources``), how a category is encoded
(``categories``), fitting.

The way of data: the ``BlockFacts`` of all blocks give classes and levels; ``code_block`` is the task that makes a block
with a coded target. Its rows are the same, not copied, unless there are categories or another order of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import BlockFacts
from futures_cluster.glm.categories import Encoding, is_mixed
from futures_cluster.glm.columns import Rows
from futures_cluster.glm.families import Family
from futures_cluster.glm.offsets import beside, checked_offset
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.solvers.base import warn_of_convergence
from futures_cluster.numbers import shown


@dataclass(frozen=True)
class Coding:
    """How to code the target of a block.

    Attributes
    ----------
    family : Family
    classes : array or None
        Sorted; None for a regression.
    class_weights : array or None
        One for each class.
    center : array or None
        What passes subtract from the columns.
    offset : {"offset", "exposure"} or None
        What the offsets of the blocks are.
    encoding : Encoding or None
        How the columns become those of the model; None if they have no names.
    """

    family: Family
    classes: Array | None = None
    class_weights: Array | None = None
    center: Array | None = None
    offset: str | None = None
    encoding: Encoding | None = None


def code_block(block: RowBlock, coding: Coding) -> RowBlock:
    """Return the same rows with the target as the family reads it.

    Raises
    ------
    ValueError
        For targets that the family does not have, with what is allowed.

    Examples
    --------
    >>> from futures_cluster.glm.families import Bernoulli
    >>> block = RowBlock(np.zeros((3, 1)), np.array(["no", "yes", "no"]))
    >>> code_block(block, Coding(Bernoulli(), np.array(["no", "yes"]))).y.tolist()
    [-1.0, 1.0, -1.0]
    """
    block = encode_rows(block, coding.encoding)
    weights = block.weights
    if coding.classes is None:
        y: Array = np.ascontiguousarray(block.y, dtype=np.float64)
        check_range(coding.family, y)
    else:
        if len(coding.classes) == 2:
            codes: Array = (block.y == coding.classes[1]).astype(np.intp)
        else:
            codes = np.searchsorted(coding.classes, block.y)
        if coding.class_weights is not None:
            own = coding.class_weights[codes]
            weights = own if weights is None else weights * own
        y = codes.astype(np.float64) if coding.family.outputs > 1 else 2.0 * codes - 1.0
    if coding.offset is not None:
        y = beside(y, checked_offset(block.offset, coding.offset, block.n_rows))
    return replace(block, y=y, weights=weights, center=coding.center, offset=None)


def check_range(family: Family, y: Array) -> None:
    """Raise a ``ValueError`` if the family does not have these targets."""
    if (problem := family.check(y)) is not None:
        raise ValueError(f"Some value(s) of y are out of the valid range: {problem}")


def encode_rows(block: RowBlock, encoding: Encoding | None) -> RowBlock:
    """Return the block with its columns in this order, and its categories encoded."""
    if encoding is None or block.columns is None or (block.columns == encoding.columns and not encoding.levels):
        return block
    x = encoding.encode(Rows(block.x, block.columns, dict(block.levels)))
    return replace(block, x=x, columns=encoding.names, levels={})


def encoded_facts(facts: Sequence[BlockFacts], encoding: Encoding) -> list[BlockFacts]:
    """Return facts of the same blocks after encoding."""
    names = encoding.names
    # A number of a CSR row takes half as much again, with its position.
    row_bytes = 8 + (12 * len(encoding.columns) if encoding.is_sparse else 8 * len(names))
    found = []
    for each in facts:
        if each.columns is not None and (encoding.levels or each.columns != encoding.columns):
            each = replace(
                each,
                features=len(names),
                columns=names,
                is_sparse=encoding.is_sparse,
                nbytes=row_bytes * each.rows,
                moments=_encoded_moments(each, names),
                levels={},
            )
        found.append(each)
    return found


def _encoded_moments(facts: BlockFacts, names: list[str]) -> Array:
    """Return the moments of columns that stay; zeros and ones need no centre."""
    columns = facts.columns or []
    there = {name: number for number, name in enumerate(columns) if name not in facts.levels}
    moments = np.zeros((2, len(names)))
    for number, name in enumerate(names):
        if name in there:
            moments[:, number] = facts.moments[:, there[name]]
    return moments


def of_target(block: RowBlock, number: int) -> RowBlock:
    """Return the same rows with one of several targets; a task."""
    return replace(block, y=block.y[:, number])


def all_classes(facts: Sequence[BlockFacts]) -> Array:
    """Return the classes of all blocks, sorted; each block may have seen but some.

    Raises
    ------
    ValueError
        When there is only one, or some are texts and others not.
    """
    found = [each.classes for each in facts if each.classes is not None and len(each.classes)]
    if is_mixed(each[0] for each in found):
        # numpy would make texts of the numbers, which then are no class of their block.
        raise ValueError("the target has texts in some blocks and other values in others: make all of them texts")
    classes = np.unique(np.concatenate(found))
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return classes


def weighted_classes(facts: Sequence[BlockFacts]) -> Array:
    """Return the classes of rows that have a weight."""
    return np.unique(np.concatenate([each.weighted_classes for each in facts if each.weighted_classes is not None]))


def warn_of_weightless(classes: Array, weighted: Array, model: str) -> None:
    """Warn of a class without a weight: its intercept has no optimum."""
    without = [each for each in classes.tolist() if each not in weighted]
    if without:
        warn_of_convergence(
            f"{model}: the weights of all samples of class {shown(without[0])} are zero, so its intercept has no "
            "optimum: leave them out"
        )


def class_counts(block: RowBlock, classes: Array) -> Array:
    """Return the weight of each class in a block; a task."""
    codes = np.searchsorted(classes, block.y)
    return np.bincount(codes, weights=block.weights, minlength=len(classes)).astype(np.float64)


def weights_of_classes(class_weight: Any, classes: Array, counts: Array, model: str) -> Array:
    """Return ``class_weight`` as a number for each class, as scikit-learn means it.

    Parameters
    ----------
    model : str
        The name of the estimator's class.

    Raises
    ------
    ValueError
        If a class has no weight to balance, a dict has a key that is no class, and not all classes, or no sample has a
        weight left.
    """
    plain = classes.tolist()
    if isinstance(class_weight, str):
        if np.any(counts == 0):
            raise ValueError(
                f"{model}(class_weight='balanced') needs samples of each class, and the sample_weight of all samples "
                f"of class {plain[int(np.argmin(counts))]!r} is zero: leave them out"
            )
        return counts.sum() / (len(classes) * counts)
    strange = [key for key in class_weight if key not in plain]
    if strange and any(each not in class_weight for each in plain):
        raise ValueError(
            f"{model}(class_weight={shown(class_weight)}): the key {strange[0]!r} is no class of y; the classes are "
            f"{shown(plain)}"
        )
    weights = np.array([float(class_weight.get(each, 1.0)) for each in plain])
    if not weights @ counts > 0:
        raise ValueError(
            f"{model}(class_weight={shown(class_weight)}) leaves no sample a weight: give a class of y that has "
            "samples a weight above 0"
        )
    return weights
