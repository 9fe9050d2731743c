"""Least squares from one pass: sums of squared errors at any coefficients are arithmetic.

Covers: the vector of a pass at any ``theta``, of that at another. Does not cover: rows that are too wide for a Hessian.

The loss is quadratic, so its value, gradient and Hessian at one place give them at all. They are taken at the mean of
the target, so that the value near the optimum is not a small difference of large numbers.
"""

from __future__ import annotations

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families import Family
from futures_cluster.glm.sums import Sums


class QuadraticSums(Sums):
    """Sums over rows of a family whose loss is quadratic, after one pass over them.

    Parameters
    ----------
    sums : Sums
    start : array
        Where the pass is taken.
    """

    def __init__(self, sums: Sums, family: Family, intercept: bool, start: Array) -> None:
        self.n_rows = sums.n_rows
        self.n_features = sums.n_features
        self.is_sparse = sums.is_sparse
        self.start = start
        vector = sums.sums(family, intercept, start, 2)
        size = len(start)
        self.weight, self.loss = vector[:2]
        self.gradient = vector[2 : 2 + size]
        self.hessian = vector[2 + size :].reshape(size, size)

    def sums(self, family: Family, intercept: bool, theta: Array, order: int, stride: int = 1) -> Array:
        away = theta - self.start
        change = self.hessian @ away
        parts = [[self.weight, self.loss + self.gradient @ away + 0.5 * (change @ away)]]
        if order >= 1:
            parts.append(self.gradient + change)
        if order >= 2:
            parts.append(self.hessian.ravel())
        return np.concatenate(parts)

    def product(self, family: Family, intercept: bool, theta: Array, vector: Array) -> Array:
        return self.hessian @ vector

    def diagonal(self, family: Family, intercept: bool, theta: Array) -> Array:
        return np.diagonal(self.hessian).copy()
