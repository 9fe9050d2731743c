"""Families: what one observation costs, as a function of its linear predictor.

Covers: the normal, bernoulli, multinomial, poisson, gamma and tweedie families with their links; loss, gradient and
curvature of each observation, in forms that neither overflow nor cancel where the result is representable; means;
deviances; which targets are allowed. Does not cover: coefficients, sums over observations, weights (``passes``),
penalties, and the coding of classes as numbers (``targets``).

The way of data: ``passes`` calls ``derivatives(y, eta, order)`` for a few thousand rows at a time; ``estimators`` call
``mean(eta)`` for predictions and ``deviance`` for scores.

Conventions: ``eta`` is the linear predictor, float64, of shape ``(rows,)``, for the multinomial family ``(rows,
classes)``. Losses leave out what does not depend on ``eta``. The curvature is the second derivative of the loss where
that is never negative for valid targets, otherwise its expectation (Fisher scoring); so Gram matrices are never
indefinite. Nothing here warns: what overflows becomes infinite, and the solvers shorten their step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any  # of numpy, which mypy does not see here

#: Of a mean that is a probability or a rate, to stay where logarithms are finite.
_TINY = float(np.finfo(np.float64).tiny)


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
    """

    name = ""
    outputs = 1
    is_quadratic = False
    has_dispersion = False

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        """Loss of each observation, and with ``order`` 1 its gradient, with 2 also its curvature."""
        raise NotImplementedError

    def mean(self, eta: Array) -> Array:
        """The expected target."""
        raise NotImplementedError

    def link(self, mean: Array) -> Array:
        """The inverse of ``mean``."""
        raise NotImplementedError

    def deviance(self, y: Array, mean: Array) -> Array:
        """Twice the loss of each observation above that of a perfect prediction."""
        raise NotImplementedError

    def saturated(self, y: Array) -> Array | float:
        """The least loss of each observation, that of a perfect prediction."""
        return 0.0

    def variance(self, mean: Array) -> Array:
        """The variance of an observation with this mean, up to the dispersion."""
        raise NotImplementedError

    def check(self, y: Array) -> str | None:
        """What is wrong with these targets, or None."""
        return None

    def start(self, mean: float) -> float:
        """The intercept from which solvers start: that of the best model without columns."""
        return float(self.link(np.float64(mean)))

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

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        residual = eta - y
        loss = 0.5 * residual * residual
        return loss, residual if order else None, np.ones_like(eta) if order > 1 else None

    def mean(self, eta: Array) -> Array:
        return eta

    def link(self, mean: Array) -> Array:
        return mean

    def deviance(self, y: Array, mean: Array) -> Array:
        return (y - mean) ** 2

    def variance(self, mean: Array) -> Array:
        return np.ones_like(mean)


class Bernoulli(Family):
    """Logistic regression of two classes; **the target is -1 or 1**, so that only its product with ``eta`` counts.

    ``z = y * eta``; ``loss = log(1 + exp(-z))``, ``gradient = -y / (1 + exp(z))``, ``curvature = p * (1 - p)``. With
    ``exp(-abs(z))``, which cannot overflow, all three keep their relative accuracy in both tails.

    Examples
    --------
    >>> loss, gradient, _ = Bernoulli().derivatives(np.array([1.0, -1.0]), np.array([800.0, 800.0]), 1)
    >>> loss.tolist(), gradient.tolist()
    ([0.0, 800.0], [-0.0, 1.0])
    """

    name = "bernoulli"

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        z = y * eta
        small = np.exp(-np.abs(z))
        loss = np.log1p(small)
        loss -= np.minimum(z, 0.0)
        if order == 0:
            return loss, None, None
        larger = 1.0 / (1.0 + small)  # the probability of the likelier class
        smaller = small * larger
        gradient = np.where(z >= 0, smaller, larger)
        gradient *= -y
        if order == 1:
            return loss, gradient, None
        smaller *= larger
        return loss, gradient, smaller

    def mean(self, eta: Array) -> Array:
        small = np.exp(-np.abs(eta))
        return np.where(eta >= 0, 1.0, small) / (1.0 + small)

    def link(self, mean: Array) -> Array:
        return np.log(mean) - np.log1p(-mean)

    def start(self, mean: float) -> float:
        # The mean of targets -1 and 1, as those are coded.
        probability = min(max(0.5 * (mean + 1.0), 1e-12), 1.0 - 1e-12)
        return float(self.link(np.float64(probability)))

    def deviance(self, y: Array, mean: Array) -> Array:
        right = np.where(y > 0, mean, 1.0 - mean)
        return -2.0 * np.log(np.maximum(right, _TINY))

    def variance(self, mean: Array) -> Array:
        return mean * (1.0 - mean)

    def check(self, y: Array) -> str | None:
        return None if np.all(np.abs(y) == 1.0) else "classes must be coded as -1 and 1"


class Multinomial(Family):
    """Softmax over K classes; the target is the class's number 0 .. K - 1, ``eta`` has shape ``(rows, K)``.

    ``loss = log(sum(exp(eta))) - eta[y]``, ``gradient = p - onehot(y)`` with shape ``(rows, K)``; the curvature is
    given by the probabilities themselves, shape ``(rows, K)``: the Hessian in ``eta`` is ``diag(p) - p p'``. All K
    columns of coefficients are kept, as scikit-learn does; without a penalty only their differences are determined.

    Examples
    --------
    >>> loss, gradient, _ = Multinomial(2).derivatives(np.array([0.0]), np.array([[0.0, 0.0]]), 1)
    >>> round(float(loss[0]), 6), gradient.tolist()
    (0.693147, [[-0.5, 0.5]])
    """

    name = "multinomial"

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs

    def derivatives(self, y: Array, eta: Array, order: int) -> tuple[Array, Array | None, Array | None]:
        rows = np.arange(len(eta))
        codes = y.astype(np.intp)
        shifted = eta - eta.max(axis=1, keepdims=True)
        own = shifted[rows, codes]
        exps = np.exp(shifted)
        total = exps.sum(axis=1)
        loss = np.log(total) - own
        if order == 0:
            return loss, None, None
        exps /= total[:, None]
        gradient = exps.copy() if order > 1 else exps
        gradient[rows, codes] -= 1.0
        return loss, gradient, exps if order > 1 else None

    def mean(self, eta: Array) -> Array:
        exps = np.exp(eta - eta.max(axis=1, keepdims=True))
        return exps / exps.sum(axis=1, keepdims=True)

    def link(self, mean: Array) -> Array:
        return np.log(mean)

    def start(self, mean: float) -> float:
        return 0.0

    def deviance(self, y: Array, mean: Array) -> Array:
        right = mean[np.arange(len(mean)), y.astype(np.intp)]
        return -2.0 * np.log(np.maximum(right, _TINY))

    def __repr__(self) -> str:
        return f"<{self.name} family, {self.outputs} classes>"


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
            residual = eta - y
            return 0.5 * residual * residual, residual if order else None, np.ones_like(eta) if order > 1 else None
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

    def link(self, mean: Array) -> Array:
        return np.log(mean) if self.link_name == "log" else mean

    def start(self, mean: float) -> float:
        if self.link_name == "identity":
            return mean if self.power == 0 else max(mean, 1e-10)
        return float(np.log(max(mean, 1e-10)))

    def deviance(self, y: Array, mean: Array) -> Array:
        power = self.power
        if power == 0:
            return (y - mean) ** 2
        positive = np.maximum(y, _TINY)
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
        positive = np.maximum(y, _TINY)
        if power == 1:
            return y - np.where(y > 0, y * np.log(positive), 0.0)
        if power == 2:
            return 1.0 + np.log(positive)
        return np.maximum(y, 0.0) ** (2.0 - power) / ((2.0 - power) * (power - 1.0))

    def variance(self, mean: Array) -> Array:
        return mean**self.power

    def check(self, y: Array) -> str | None:
        if self.power >= 2:
            return None if np.all(y > 0) else f"the targets of the {self.name} family must be positive"
        if self.power >= 1:
            return None if np.all(y >= 0) else f"the targets of the {self.name} family must not be negative"
        return None

    def __repr__(self) -> str:
        return f"<{self.name} family, power {self.power:g}, {self.link_name} link>"


def poisson() -> Tweedie:
    """Counts, with the log link."""
    return Tweedie(1.0)


def gamma() -> Tweedie:
    """Positive targets whose standard deviation is proportional to their mean, with the log link."""
    return Tweedie(2.0)
