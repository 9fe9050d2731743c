"""Families whose variance is a power of the mean: poisson, gamma, inverse gaussian, compound.

Covers: loss, deviance, likelihood for each power, with the log link and with the identity link.
"""

from __future__ import annotations

import numpy as np
import scipy.special

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families.base import Family, Normal, normal_log_likelihood

#: The least target in logarithms, so that these are finite.
TINY = float(np.finfo(np.float64).tiny)


class Tweedie(Family):
    """Targets whose variance is ``mean ** power``; 1 is poisson, 2 gamma, 3 inverse gaussian, 0 normal.

    With the log link (``mean = exp(eta)``), leaving out what does not depend on ``eta``:

    - power 1: ``loss = mean - y * eta``, ``gradient = mean - y``, ``curvature = mean``
    - power 2: ``loss = eta + y / mean``, ``gradient = 1 - y / mean``, ``curvature = y / mean``
    - others: ``loss = mean**(2 - power) / (2 - power) - y * mean**(1 - power) / (1 - power)``

    From power 1 to 2 this is convex and the curvature exact; beyond it is the expectation, ``mean**(2 - power)``. With
    the identity link the mean is ``eta`` itself; the loss is infinite where that is not allowed, so that no solver
    steps there.

    Raises
    ------
    ValueError
        For a power between 0 and 1, where no such distribution exists, and for an unknown link.

    Examples
    --------
    >>> loss, gradient, curvature = Tweedie(1).derivatives(np.array([2.0]), np.array([0.0]), 2)
    >>> float(loss[0]), float(gradient[0]), float(curvature[0])
    (1.0, -1.0, 1.0)
    """

    has_saturated_loss = True

    def __init__(self, power: float, link: str = "log") -> None:
        if 0 < power < 1:
            raise ValueError(f"there is no Tweedie distribution with a power between 0 and 1, such as {power:g}")
        if link not in ("log", "identity"):
            raise ValueError(f"link must be 'log' or 'identity', not {link!r}")
        self.power = float(power)
        self.link_name = link
        self.name = {0.0: "normal", 1.0: "poisson", 2.0: "gamma", 3.0: "inverse gaussian"}.get(self.power, "tweedie")
        self.is_quadratic = power == 0 and link == "identity"
        self.has_dispersion = power != 1

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        if self.link_name == "identity":
            return self._identity(y, eta, order)
        power = self.power
        if power == 1:
            mean = np.exp(eta)
            return mean - y * eta, mean - y if order else None, mean if order > 1 else None
        if power == 2:
            ratio = y * np.exp(-eta)
            return eta + ratio, 1.0 - ratio if order else None, ratio if order > 1 else None
        scale = np.exp((2.0 - power) * eta)
        target = y * np.exp((1.0 - power) * eta)
        loss = scale / (2.0 - power) - target / (1.0 - power)
        if order == 0:
            return loss, None, None
        gradient = scale - target
        if order == 1:
            return loss, gradient, None
        if 1 < power < 2:
            return loss, gradient, (2.0 - power) * scale + (power - 1.0) * target
        return loss, gradient, scale

    def _identity(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        power = self.power
        if power == 0:
            return Normal().derivatives(y, eta, order)
        valid = eta > 0
        mean = np.where(valid, eta, 1.0)
        if power == 1:
            loss = mean - np.where(y == 0, 0.0, y * np.log(mean))
        elif power == 2:
            loss = np.log(mean) + y / mean
        else:
            loss = mean ** (2.0 - power) / (2.0 - power) - y * mean ** (1.0 - power) / (1.0 - power)
        loss = np.where(valid, loss, np.inf)
        if order == 0:
            return loss, None, None
        gradient = (mean - y) * mean**-power
        return loss, gradient, mean**-power if order > 1 else None

    def mean(self, eta: Array) -> Array:
        return np.exp(eta) if self.link_name == "log" else eta

    def start(self, mean: float) -> float:
        if self.link_name == "identity":
            return mean if self.power == 0 else max(mean, 1e-10)
        return float(np.log(max(mean, 1e-10)))

    def deviance(self, y: Array, mean: Array) -> Array:
        power = self.power
        if power == 0:
            return (y - mean) ** 2
        positive = np.maximum(y, TINY)
        if power == 1:
            return 2.0 * (np.where(y > 0, y * np.log(positive / mean), 0.0) - y + mean)
        if power == 2:
            return 2.0 * (np.log(mean / positive) + y / mean - 1.0)
        below = np.maximum(y, 0.0) ** (2.0 - power) / ((1.0 - power) * (2.0 - power))
        return 2.0 * (below - y * mean ** (1.0 - power) / (1.0 - power) + mean ** (2.0 - power) / (2.0 - power))

    def saturated(self, y: Array) -> Array | float:
        power = self.power
        if power == 0:
            # With the log link the loss leaves out what does not depend on eta, also here.
            return 0.0 if self.link_name == "identity" else -0.5 * y * y
        positive = np.maximum(y, TINY)
        if power == 1:
            return y - np.where(y > 0, y * np.log(positive), 0.0)
        if power == 2:
            return 1.0 + np.log(positive)
        return np.maximum(y, 0.0) ** (2.0 - power) / ((2.0 - power) * (power - 1.0))

    def recession(self, y: Array, change: Array) -> Array:
        if self.link_name == "log" and self.power < 2:
            return np.where(y <= 0, -change, -np.abs(change))  # the mean may go to zero
        return super().recession(y, change)

    def fit_of(self, y: Array, eta: Array) -> tuple[Array, Array]:
        mean = self.mean(eta)
        residual = y - mean
        # The variance of a small mean would underflow before the product does.
        pearson = np.where(residual == 0, 0.0, residual * mean ** (-0.5 * self.power)) ** 2
        return self.deviance(y, mean), pearson

    def expected_curvature(self, y: Array, eta: Array) -> Array:
        if self.link_name == "log":
            return np.exp((2.0 - self.power) * eta)
        return super().expected_curvature(y, eta)

    def likelihood_terms(self, y: Array, mean: Array) -> list[Array]:
        if self.power == 1:
            return [scipy.special.xlogy(y, mean) - mean - scipy.special.gammaln(y + 1.0)]
        if self.power == 2:
            return [np.log(y / mean) - y / mean, np.log(y)]
        if self.power == 3:
            return [np.log(y)]
        return []

    def log_likelihood(self, weight: float, deviance: float, dispersion: float, terms: Array) -> float:
        if self.power == 0:
            return normal_log_likelihood(weight, deviance)
        if self.power == 1:
            return float(terms[0])
        if self.power == 2:
            shape = 1.0 / dispersion
            constant = shape * np.log(shape) - scipy.special.gammaln(shape)
            return float(shape * terms[0] - terms[1] + weight * constant)
        if self.power == 3:
            return float(-0.5 * (deviance / dispersion + weight * np.log(2 * np.pi * dispersion) + 3.0 * terms[0]))
        return float("nan")

    def check(self, y: Array) -> str | None:
        if self.power >= 2:
            return None if np.all(y > 0) else f"the targets of the {self.name} family must be positive"
        if self.power >= 1:
            return None if np.all(y >= 0) else f"the targets of the {self.name} family must not be negative"
        return None

    def __repr__(self) -> str:
        return f"<{self.name} family, power {self.power:g}, {self.link_name} link>"


def poisson() -> Tweedie:
    """Return the family of counts, with the log link."""
    return Tweedie(1.0)


def gamma() -> Tweedie:
    """Return the gamma family: deviation proportional to the mean, log link."""
    return Tweedie(2.0)
