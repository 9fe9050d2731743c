"""Scores of collections: one number for rows that stay where they are.

Covers: accuracy, the explained part of squares or deviance, summed over blocks. Does not cover: scores of arrays in
this process, which scikit-learn's mixins have.

The way of data: each block is read as for a fit and becomes target, prediction and weights; its rows are forgotten.
Then there are two sums over the blocks: the mean of the target, and the losses of the predictions and of that mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import facts_of
from futures_cluster.glm.categories import is_mixed
from futures_cluster.glm.offsets import Offset
from futures_cluster.glm.predictions import features_of_model, predict_rows, without_process
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.sources import loads_of
from futures_cluster.glm.sums import submit_of
from futures_cluster.glm.targets import encode_rows

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


@dataclass(frozen=True)
class Scored:
    """What a score needs of a block."""

    y: Array
    prediction: Array
    weights: Array


def score_collection(
    model: Any, x: Any, y: Any, weights: Any, executor: Executor | None, offset: Offset | None = None
) -> float:
    """Return the part of the loss of the mean that the model explains.

    Of classes, this is the part that is right.

    Parameters
    ----------
    model : estimator
        Fitted; ``model._losses(y, prediction)`` is what is summed.
    x, y, weights, offset
        As for ``fit``.

    Raises
    ------
    ValueError
        If there are no rows, or what a fit would refuse.
    """
    features = features_of_model(model)
    name, values = (None, None) if offset is None else (offset.name, offset.values)
    loads = loads_of(x, y, weights, executor, values, features)
    is_classifier = model._wants_classes
    submit, model = submit_of(executor), without_process(model)
    if executor is not None:
        model = executor.scatter(model)
    blocks = [submit(_scored, submit(load.fn, *load.args), model, load.name, name) for load in loads]

    def total(fn: Callable[..., Array], *args: Any) -> Array:
        return sum(each.result() for each in [submit(fn, block, *args) for block in blocks])

    rows, weight, target = total(_totals)
    if rows == 0:
        raise ValueError("Found array with 0 sample(s): there are no rows to score")
    if weight <= 0:
        raise ValueError("sample_weight is zero for all rows: at least one weight must be positive")
    if is_classifier:
        wrong, _ = total(_losses, model, None)
        return float((weight - wrong) / weight)
    left, all_of_it = total(_losses, model, target / weight)
    if rows < 2:
        return float("nan")
    if all_of_it == 0:
        return float(left == 0)
    return float((all_of_it - left) / all_of_it)


# ---------------------------------------------------------------- tasks


def _scored(block: RowBlock, model: Any, name: str, offset: str | None) -> Scored:
    problem = facts_of(block, model._wants_classes).problem
    if problem is None and model._wants_classes and block.n_rows and is_mixed([block.y[0], model.classes_[0]]):
        problem = f"the target is {block.y.dtype}, and classes of the fit are {model.classes_.dtype}"
    if problem is not None:
        raise ValueError(f"{problem} ({name})")
    block = encode_rows(block, model._encoding_)
    beside = {} if offset is None else {offset: block.offset}
    weights = np.ones(block.n_rows) if block.weights is None else block.weights
    return Scored(block.y, predict_rows(model, "predict", block.x, block.columns, **beside), weights)


def _totals(block: Scored) -> Array:
    """Return rows, their weight, and the weighted target, if it is numbers."""
    y = block.y if block.y.dtype.kind in "fiub" else np.zeros(len(block.y))
    return np.array([len(y), block.weights.sum(), block.weights @ y], dtype=np.float64)


def _losses(block: Scored, model: Any, mean: float | None) -> Array:
    """Return weighted losses of the predictions, and of the mean of all targets."""
    y, weights = block.y, block.weights
    whole = 0.0 if mean is None else weights @ model._losses(y, np.full(len(y), mean))
    return np.array([weights @ model._losses(y, block.prediction), whole])
