"""What a family is, and the normal one.

Covers: the methods that all families have.

The way of data: ``passes`` calls ``derivatives(y, eta, order)`` for a few thousand rows at a time; ``estimators`` call
``mean(eta)`` for predictions and ``deviance`` for scores.

Conventions: ``eta`` is the linear predictor, float64, of shape ``(rows,)``, for the multinomial family ``(rows,
classes)``. Losses leave out what does not depend on ``eta``. The curvature is the second derivative of the loss where
that is never negative for valid targets, otherwise its expectation (Fisher scoring); so Gram matrices are never
indefinite. Nothing here warns: what overflows becomes infinite, and the solvers shorten their step.
"""

from __future__ import annotations

import numpy as np

from futures_cluster.glm.array_types import Array


class Family:
    """What a family offers; ``y`` and ``eta`` are float64 arrays of equal length.

    Attributes
    ----------
    name : str
    outputs : int
        Linear predictors an observation has: classes for the multinomial family, else 1.
    is_quadratic : bool
        Whether the loss is quadratic in ``eta``, so that one step of Newton's method ends at the optimum.
    has_dispersion : bool
        Whether the variance has a scale that is estimated (normal, gamma, tweedie).
    has_saturated_loss : bool
        Whether perfect predictions have a loss other than 0.
    link_name : str
    """

    name = ""
    outputs = 1
    is_quadratic = False
    has_dispersion = False
    has_saturated_loss = False
    link_name = ""

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        """Return each observation's loss, and by ``order`` gradient and curvature."""
        raise NotImplementedError

    def mean(self, eta: Array) -> Array:
        """Return the expected target."""
        raise NotImplementedError

    def deviance(self, y: Array, mean: Array) -> Array:
        """Return twice the loss of each observation above that of a perfect prediction."""
        raise NotImplementedError

    def saturated(self, y: Array) -> Array | float:
        """Return the least loss of each observation, that of a perfect prediction."""
        return 0.0

    def curvature(self, y: Array, eta: Array) -> Array:
        """Return the curvature alone."""
        curvature = self.derivatives(y, eta, 2)[2]
        assert curvature is not None
        return curvature

    def expected_curvature(self, y: Array, eta: Array) -> Array:
        """Return the expectation of the curvature: ``(d mean / d eta)**2 / variance``."""
        return self.curvature(y, eta)

    def likelihood_terms(self, y: Array, mean: Array) -> list[Array]:
        """Return what ``log_likelihood`` needs of each observation, beside the deviance."""
        return []

    def log_likelihood(self, weight: float, deviance: float, dispersion: float, terms: Array) -> float:
        """Return the log-likelihood of weighted sums; NaN without a closed form."""
        return float("nan")

    def recession(self, y: Array, change: Array) -> Array:
        """Return whether the loss keeps falling as ``eta`` moves on and on by ``change``.

        Shape ``(rows,)`` or ``(rows, outputs)``: positive where it falls for ever, zero where it stays, negative where
        it rises sooner or later. A direction that is negative for no row has no optimum.
        """
        return -np.abs(change)

    def fit_of(self, y: Array, eta: Array) -> tuple[Array, Array]:
        """Return deviance and Pearson's chi square of each observation."""
        mean = self.mean(eta)
        residual = y - mean
        pearson = np.where(residual == 0, 0.0, residual / np.sqrt(self.variance(mean))) ** 2
        return self.deviance(y, mean), pearson

    def variance(self, mean: Array) -> Array:
        """Return the variance of an observation with this mean, up to the dispersion."""
        raise NotImplementedError

    def check(self, y: Array) -> str | None:
        """Return what is wrong with these targets, or None."""
        return None

    def start(self, mean: float) -> float:
        """Return the intercept of the best model without columns; 0 for classes."""
        return 0.0

    def __repr__(self) -> str:
        return f"<{self.name} family>"


class Normal(Family):
    """Squared error with the identity link: ``loss = (eta - y)**2 / 2``, ``gradient = eta - y``, ``curvature = 1``.

    Examples
    --------
    >>> loss, gradient, curvature = Normal().derivatives(np.array([1.0]), np.array([3.0]), 2)
    >>> float(loss[0]), float(gradient[0]), float(curvature[0])
    (2.0, 2.0, 1.0)
    """

    name = "normal"
    is_quadratic = True
    has_dispersion = True
    link_name = "identity"

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        residual = eta - y
        loss = 0.5 * residual * residual
        return loss, residual if order else None, np.ones_like(eta) if order > 1 else None

    def mean(self, eta: Array) -> Array:
        return eta

    def start(self, mean: float) -> float:
        return mean

    def deviance(self, y: Array, mean: Array) -> Array:
        return (y - mean) ** 2

    def variance(self, mean: Array) -> Array:
        return np.ones_like(mean)

    def log_likelihood(self, weight: float, deviance: float, dispersion: float, terms: Array) -> float:
        return normal_log_likelihood(weight, deviance)


def normal_log_likelihood(weight: float, deviance: float) -> float:
    """Return the log-likelihood of normal errors at the best variance."""
    return -0.5 * weight * float(np.log(2 * np.pi * deviance / weight) + 1.0) if deviance > 0 else float("inf")
