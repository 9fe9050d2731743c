"""Offsets: a known part of the linear predictor, one number a row.

Covers: what users give as ``offset`` or ``exposure``, and a family whose target carries the offset beside it. Does not
cover: reading offsets from collections (``sources``), predictions (``predictions``).

The way of data: a ``RowBlock`` has the numbers as the user gave them; ``code_block`` checks them and puts them into a
second column of the target; the family of the fit is ``WithOffset``, which takes the columns apart again. Between
these, passes, sums, and solvers see a target and a family as always, and fits without offsets pay nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families import Family


@dataclass(frozen=True)
class Offset:
    """What the user gave.

    Attributes
    ----------
    name : {"offset", "exposure"}
        The parameter. An exposure stands for its logarithm.
    values : array, collection or str
        A string names a column.
    """

    name: str
    values: Any

    def numbers(self, n_rows: int) -> Array:
        """Return the values for rows in this process.

        Raises
        ------
        ValueError
            If they are not one number for each row, or one for all.
        """
        return checked_offset(self.values, self.name, n_rows)


def offset_of(offset: Any, exposure: Any, family: Family, model: str) -> Offset | None:
    """Return what of the two parameters was given.

    Parameters
    ----------
    model : str
        The name of the estimator's class.

    Raises
    ------
    ValueError
        If both are given, or an exposure without a log link.
    """
    if exposure is None:
        return None if offset is None else Offset("offset", offset)
    if offset is not None:
        raise ValueError(f"{model} takes offset or exposure, not both: give offset=offset + np.log(exposure)")
    if family.link_name != "log":
        raise ValueError(
            f"exposure needs a log link, and this {model} has the {family.link_name} link: give an offset in the units "
            "of the target, or the log link"
        )
    return Offset("exposure", exposure)


def checked_offset(values: Any, name: str, n_rows: int) -> Array:
    """Return the offset of each row, of what was given as ``name``.

    Raises
    ------
    ValueError
        For a shape that does not fit, NaN, infinity, and exposures that are not positive.

    Examples
    --------
    >>> checked_offset([1.0, np.e], "exposure", 2).tolist()
    [0.0, 1.0]
    """
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers: {error}") from error
    if numbers.ndim == 0:
        numbers = np.full(n_rows, float(numbers))
    if numbers.shape != (n_rows,):
        raise ValueError(f"{name} must have one number for each of the {n_rows} rows, got shape {numbers.shape}")
    if not np.all(np.isfinite(numbers)):
        raise ValueError(f"Input {name} contains {'NaN' if np.any(np.isnan(numbers)) else 'infinity'}.")
    if name == "offset":
        return numbers
    if np.any(numbers <= 0):
        raise ValueError(
            f"exposure must be positive, got {numbers.min():g}: remove rows that were not exposed, or pass "
            "offset=np.log(exposure) of what is meant"
        )
    return np.log(numbers)


def beside(y: Array, offset: Array) -> Array:
    """Return the target that ``WithOffset`` reads; its columns are contiguous."""
    both = np.empty((len(y), 2), order="F")
    both[:, 0] = y
    both[:, 1] = offset
    return both


class WithOffset(Family):
    """A family whose target has the offset as a second column; the linear predictor is without it.

    Parameters
    ----------
    family : Family
    center : float
        What the offsets add to the intercept of the model without columns.

    Examples
    --------
    >>> from futures_cluster.glm.families import poisson
    >>> loss, gradient, _ = WithOffset(poisson()).derivatives(np.array([[2.0, np.log(3.0)]]), np.array([0.0]), 1)
    >>> round(float(gradient[0]), 9)  # the mean is 3
    1.0
    """

    def __init__(self, family: Family, center: float = 0.0) -> None:
        self.family = family
        self.center = center
        self.name = family.name
        self.link_name = family.link_name
        self.is_quadratic = family.is_quadratic
        self.has_dispersion = family.has_dispersion
        self.has_saturated_loss = family.has_saturated_loss

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        return self.family.derivatives(y[:, 0], eta + y[:, 1], order)

    def expected_curvature(self, y: Array, eta: Array) -> Array:
        return self.family.expected_curvature(y[:, 0], eta + y[:, 1])

    def recession(self, y: Array, change: Array) -> Array:
        return self.family.recession(y[:, 0], change)

    def saturated(self, y: Array) -> Array | float:
        return self.family.saturated(y[:, 0])

    def start(self, mean: float) -> float:
        return self.family.start(mean) - self.center

    def log_likelihood(self, weight: float, deviance: float, dispersion: float, terms: Array) -> float:
        return self.family.log_likelihood(weight, deviance, dispersion, terms)

    def __repr__(self) -> str:
        return f"<{self.family!r} with an offset>"


def without_offset(family: Family, y: Array, eta: Array) -> tuple[Family, Array, Array]:
    """Return the plain family, target and linear predictor of a pass."""
    if isinstance(family, WithOffset):
        return family.family, y[:, 0], eta + y[:, 1]
    return family, y, eta


def block_center(block: Any, link_name: str) -> tuple[float, float]:
    """Return the weight of a ``RowBlock``, and the ``center`` of its offsets; a task.

    With a log link that is the logarithm of the mean exposure. With the identity link it is the least offset, so that
    every mean is positive at the start.
    """
    offset = block.y[:, 1]
    weights = np.ones(len(offset)) if block.weights is None else block.weights
    weight = float(weights.sum())
    return (weight, _center(offset, weights, link_name)) if weight else (0.0, 0.0)


def center_of(blocks: list[tuple[float, float]], link_name: str) -> float:
    """Return the ``center`` of all blocks, of what ``block_center`` gives for each."""
    weights, centers = np.array([each for each in blocks if each[0] > 0]).T
    return _center(centers, weights, link_name)


def _center(offsets: Array, weights: Array, link_name: str) -> float:
    if link_name == "identity":
        return float(offsets.min())
    if link_name == "log":
        largest = float(offsets.max())
        return largest + float(np.log(weights @ np.exp(offsets - largest) / weights.sum()))
    return float(weights @ offsets / weights.sum())
