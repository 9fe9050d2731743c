"""Counts that vary more than those of a poisson: the negative binomial family.

Covers: loss, deviance and likelihood with a known dispersion and the log link. Does not cover: estimating the
dispersion.
"""

from __future__ import annotations

import numpy as np
import scipy.special

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families.base import Family


class NegativeBinomial(Family):
    """Counts with the variance ``mean + theta * mean**2``; ``theta`` near 0 is the poisson family.

    With ``mean = exp(eta)``, ``p = theta * mean / (1 + theta * mean)``, and without what does not depend on ``eta``:
    ``loss = (y + 1 / theta) * log(1 + theta * mean) - y * eta``, ``gradient = p / theta - y * (1 - p)``, ``curvature =
    (y + 1 / theta) * p * (1 - p)``. With ``p`` and its complement from ``exp(-abs(eta + log(theta)))`` nothing
    overflows.

    Raises
    ------
    ValueError
        If ``theta`` is not a positive number.

    Examples
    --------
    >>> loss, gradient, curvature = NegativeBinomial(1.0).derivatives(np.array([3.0]), np.array([0.0]), 2)
    >>> round(float(loss[0]), 6), float(gradient[0]), float(curvature[0])  # the mean is 1
    (2.772589, -1.0, 1.0)
    """

    name = "negative binomial"
    link_name = "log"
    has_saturated_loss = True

    def __init__(self, theta: float) -> None:
        if not (isinstance(theta, int | float | np.number) and np.isfinite(theta) and theta > 0):
            raise ValueError(f"theta must be a positive number, got {theta!r}; for 0 take the poisson family")
        self.theta = float(theta)

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        z = eta + np.log(self.theta)
        size = 1.0 / self.theta
        small = np.exp(-np.abs(z))
        loss = (y + size) * np.log1p(small)
        loss += np.where(z > 0, size * z + y * np.log(self.theta), -y * eta)
        if order == 0:
            return loss, None, None
        larger = 1.0 / (1.0 + small)
        smaller = small * larger
        p = np.where(z > 0, larger, smaller)
        q = np.where(z > 0, smaller, larger)
        gradient = size * p - y * q
        return loss, gradient, (y + size) * p * q if order > 1 else None

    def expected_curvature(self, y: Array, eta: Array) -> Array:
        return scipy.special.expit(eta + np.log(self.theta)) / self.theta

    def recession(self, y: Array, change: Array) -> Array:
        return np.where(y <= 0, -change, -np.abs(change))  # the mean may go to zero

    def mean(self, eta: Array) -> Array:
        return np.exp(eta)

    def start(self, mean: float) -> float:
        return float(np.log(max(mean, 1e-10)))

    def variance(self, mean: Array) -> Array:
        return mean + self.theta * mean**2

    def deviance(self, y: Array, mean: Array) -> Array:
        log_ratio = np.log1p(self.theta * y) - np.log1p(self.theta * mean)
        return 2.0 * (scipy.special.xlogy(y, y) - scipy.special.xlogy(y, mean) - (y + 1.0 / self.theta) * log_ratio)

    def saturated(self, y: Array) -> Array | float:
        return (y + 1.0 / self.theta) * np.log1p(self.theta * y) - scipy.special.xlogy(y, y)

    def likelihood_terms(self, y: Array, mean: Array) -> list[Array]:
        size = 1.0 / self.theta
        means = scipy.special.xlogy(y, self.theta * mean) - (y + size) * np.log1p(self.theta * mean)
        # gammaln(y + size) - gammaln(size) would cancel where theta is small.
        return [means - scipy.special.betaln(y + 1.0, size) - np.log(y + size)]

    def log_likelihood(self, weight: float, deviance: float, dispersion: float, terms: Array) -> float:
        return float(terms[0])

    def check(self, y: Array) -> str | None:
        return None if np.all(y >= 0) else "the targets of the negative binomial family must not be negative"

    def __repr__(self) -> str:
        return f"<{self.name} family, theta {self.theta:g}>"
