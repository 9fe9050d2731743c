"""The objective: the mean loss over all rows plus the penalty, as a function of one flat vector.

Covers: values, gradients, Hessians, Hessians times a vector, samples of the rows. Does not cover: where rows are
(``sums``), how to find the minimum (``solvers``).

Conventions::

    F(theta) = sum(w_i * loss(y_i, x_i b + b0)) / sum(w_i) - base + l2 / 2 * |b|^2 + l1 * |b|_1

``theta`` is ``[b, b0]`` flat, in C order of the shape ``(features + intercept, outputs)``; the intercept row is last
and not penalized. *Smooth* is everything but the l1 part; gradients and Hessians are those of the smooth part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families import Family
from futures_cluster.glm.passes import pairs_of
from futures_cluster.glm.penalties import Penalty
from futures_cluster.glm.sums import Sums

#: Largest number of parameters for which a Hessian is formed; of sparse rows, which are made dense for it, fewer.
DENSE_HESSIAN = 2000
SPARSE_HESSIAN = 600
#: Numbers of a column that are equal but for rounding differ by such a part, when they come of some operations.
ROUNDING = 4 * float(np.finfo(np.float64).eps)


@dataclass
class Point:
    """The objective at one place.

    Attributes
    ----------
    theta : array
    smooth : float
        The value without the l1 part.
    value : float
        The whole value.
    gradient, hessian : array or None
        None where they were not asked for.
    """

    theta: Array
    smooth: float
    value: float
    gradient: Array
    hessian: Array

    @property
    def is_finite(self) -> bool:
        """False where something overflowed."""
        return bool(np.isfinite(self.value)) and (self.gradient is None or bool(np.all(np.isfinite(self.gradient))))


class Objective:
    """What solvers minimize.

    Parameters
    ----------
    sums : Sums
    family : Family
    penalty : Penalty
        Its strengths stand beside the mean loss.
    intercept : bool
    stride : int
        Distance of the pieces of rows that are used.
    base : float
        The mean loss of perfect predictions. It is subtracted, so that "relative to the objective" means what it says.
    column_center : array of shape (features,), optional
        What the blocks subtract from their columns; it says how large rounding errors of a column are.

    Attributes
    ----------
    size : int
        Parameters.
    passes : int
        Passes over all rows so far.
    n_free : int
        Number of intercepts, which are not penalized.
    """

    def __init__(
        self,
        sums: Sums,
        family: Family,
        penalty: Penalty,
        intercept: bool,
        stride: int = 1,
        base: float = 0.0,
        column_center: Array | None = None,
    ) -> None:
        self.all_rows = sums
        self.family = family
        self.penalty = penalty
        self.intercept = intercept
        self.stride = stride
        self.base = base
        self.column_center = column_center
        self.rows = sums.n_features + intercept
        self.outputs = family.outputs
        self.size = self.rows * self.outputs
        self.n_coefs = sums.n_features * self.outputs  # they come first in theta
        self.n_free = self.size - self.n_coefs
        self.weight = float("nan")  # known after the first pass
        self.passes = 0

    @property
    def has_hessian(self) -> bool:
        """Whether a Hessian is small enough to be formed."""
        return self.size <= (SPARSE_HESSIAN if self.all_rows.is_sparse else DENSE_HESSIAN)

    def at(self, theta: Array, order: int = 1) -> Point:
        """Return the objective at ``theta``, and by ``order`` gradient and Hessian."""
        self.passes += 1
        vector = self.all_rows.sums(self.family, self.intercept, theta, order, self.stride)
        self.weight = float(vector[0])
        with np.errstate(all="ignore"):
            vector = vector[1:] / self.weight
        b = theta[: self.n_coefs]
        smooth = float(vector[0]) - self.base + self.penalty.smooth_value(b)
        gradient = hessian = None
        if order >= 1:
            gradient = vector[1 : 1 + self.size]
            gradient[: self.n_coefs] += self.penalty.gradient(b)
        if order >= 2:
            hessian = self._assemble(vector[1 + self.size :])
            coefs = np.arange(self.n_coefs)
            hessian[coefs, coefs] += self.penalty.l2
        return Point(theta, smooth, smooth + self.penalty.l1_value(b), gradient, hessian)

    def _assemble(self, flat: Array) -> Array:
        """Return the square matrix from those of pairs of outputs."""
        rows, outputs = self.rows, self.outputs
        if outputs == 1:
            return flat.reshape(rows, rows)
        pairs = pairs_of(outputs)
        blocks = flat.reshape(len(pairs), rows, rows)
        hessian = np.empty((rows, outputs, rows, outputs))
        for block, (k, other) in zip(blocks, pairs):
            hessian[:, k, :, other] = block
            hessian[:, other, :, k] = block
        return hessian.reshape(self.size, self.size)

    def noise(self, weight: float) -> Any:
        """Return the rounding errors of centred columns in a Hessian's diagonal.

        Parameters
        ----------
        weight : float
            Sum of the weights times the curvatures.
        """
        if self.column_center is None:
            return 0.0
        return weight * np.repeat((ROUNDING * self.column_center) ** 2, self.outputs)

    def noise_of(self, hessian: Array) -> Any:
        """Return the ``noise`` of a Hessian, whose intercepts know the weight."""
        return 0.0 if self.column_center is None else self.noise(np.max(np.diagonal(hessian)[self.n_coefs :]))

    def product(self, theta: Array, vector: Array) -> Array:
        """Return the Hessian at ``theta`` times a vector, without the matrix."""
        self.passes += 1
        result = self.all_rows.product(self.family, self.intercept, theta, vector) / self.weight
        result[: self.n_coefs] += self.penalty.l2 * vector[: self.n_coefs]
        return result

    def diagonal(self, theta: Array) -> Array:
        """Return the diagonal of the Hessian at ``theta``."""
        self.passes += 1
        result = self.all_rows.diagonal(self.family, self.intercept, theta)
        result /= self.weight if np.isfinite(self.weight) else self.at(theta, 0) and self.weight
        result[: self.n_coefs] += self.penalty.l2
        return result

    def sampled(self, stride: int) -> Objective:
        """Return the same over every ``stride``-th piece of the rows, for a good start."""
        return Objective(
            self.all_rows, self.family, self.penalty, self.intercept, stride, self.base, self.column_center
        )

    def start(self, mean_target: float = 0.0) -> Array:
        """Return no coefficients, and the intercept of the model without columns."""
        theta = np.zeros(self.size)
        if self.intercept and self.outputs == 1:
            theta[-1] = self.family.start(mean_target)
        return theta
