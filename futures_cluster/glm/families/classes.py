"""Families of classes: bernoulli and multinomial.

Covers: losses of logistic regression for two classes and for more. Does not cover: the coding of classes as numbers
(``targets``).
"""

from __future__ import annotations

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.families.base import Family


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
    link_name = "logit"

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

    def recession(self, y: Array, change: Array) -> Array:
        return y * change

    def fit_of(self, y: Array, eta: Array) -> tuple[Array, Array]:
        # A mean that is 1 in doubles says nothing of what is missing; y * eta does.
        z = y * eta
        return 2.0 * np.logaddexp(0.0, -z), np.exp(-z)

    def log_likelihood(self, weight: float, deviance: float, dispersion: float, terms: Array) -> float:
        return -0.5 * deviance


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
        likelihood = exps[rows, codes]
        # The other classes by themselves: a likelihood near 1 does not say how near.
        exps[rows, codes] = 0.0
        others = exps.sum(axis=1)
        loss = np.log1p(others + np.expm1(own))
        loss -= own
        if order == 0:
            return loss, None, None
        total = others + likelihood
        exps /= total[:, None]
        gradient = exps.copy() if order > 1 else exps
        gradient[rows, codes] = -others / total
        if order == 1:
            return loss, gradient, None
        exps[rows, codes] = likelihood / total
        return loss, gradient, exps

    def mean(self, eta: Array) -> Array:
        exps = np.exp(eta - eta.max(axis=1, keepdims=True))
        return exps / exps.sum(axis=1, keepdims=True)

    def recession(self, y: Array, change: Array) -> Array:
        own = np.arange(self.outputs) == y[:, None]
        return change[own][:, None] - change[~own].reshape(len(y), -1)

    def __repr__(self) -> str:
        return f"<{self.name} family, {self.outputs} classes>"
