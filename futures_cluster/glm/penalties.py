"""Penalties: what coefficients cost, whatever the data.

Covers: none, l1, l2 and elastic net, each also for coefficients that must not be negative: value, gradient and
curvature of the smooth part, the proximal operator of the other part. Does not cover: intercepts, which are never
penalized: callers hand over the coefficients only; nor the meaning of ``C`` and ``alpha`` (``estimators``).

The way of data: ``objective`` adds value and gradient to the sum over the rows; ``proximal_grad``, ``admm`` and the
inner problem of ``newton`` use ``prox``.

Conventions: the penalty of coefficients ``b`` is ``l1 * sum(abs(b)) + l2 / 2 * sum(b**2)``, beside a *mean* loss.
With ``positive`` it is infinite where a coefficient is negative; solvers keep to the others by ``prox``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Penalty:
    """``l1 * sum(abs(b)) + l2 / 2 * sum(b**2)``, with ``positive`` of coefficients ``b >= 0`` only.

    Raises
    ------
    ValueError
        For strengths that are negative or not finite.

    Examples
    --------
    >>> penalty = Penalty(l1=1.0, l2=2.0)
    >>> b = np.array([3.0, -1.0])
    >>> float(penalty.value(b)), penalty.gradient(b).tolist()
    (14.0, [6.0, -2.0])
    >>> penalty.prox(b, 0.5).tolist()  # of the l1 part only
    [2.5, -0.5]
    >>> Penalty(l1=1.0, positive=True).prox(b, 0.5).tolist()
    [2.5, 0.0]
    """

    l1: float = 0.0
    l2: float = 0.0
    positive: bool = False

    def __post_init__(self) -> None:
        for name, strength in (("l1", self.l1), ("l2", self.l2)):
            if not (np.isfinite(strength) and strength >= 0):
                raise ValueError(f"the strength of a penalty must be a finite number >= 0, and {name} is {strength!r}")

    @property
    def is_smooth(self) -> bool:
        """Whether the gradient is the whole story."""
        return self.l1 == 0 and not self.positive

    def value(self, b: Array) -> float:
        """Return both parts."""
        return self.smooth_value(b) + self.l1_value(b)

    def smooth_value(self, b: Array) -> float:
        """Return the l2 part."""
        return 0.5 * self.l2 * float(np.vdot(b, b)) if self.l2 else 0.0

    def l1_value(self, b: Array) -> float:
        """Return the l1 part."""
        return self.l1 * float(np.abs(b).sum()) if self.l1 else 0.0

    def gradient(self, b: Array) -> Array:
        """Return gradient of the l2 part; its curvature is ``l2`` for each coefficient."""
        return self.l2 * b

    def prox(self, b: Array, step: Array | float) -> Array:
        """Return the ``x`` of least ``l1 * sum(abs(x)) + sum((x - b)**2 / (2 * step))``."""
        if self.positive:
            return np.maximum(b - self.l1 * step, 0.0)
        return np.sign(b) * np.maximum(np.abs(b) - self.l1 * step, 0.0)

    def least_subgradient(self, b: Array, gradient: Array) -> Array:
        """Return the subgradient of least norm; ``gradient`` is of the smooth part."""
        if self.positive:
            return np.where(b > 0, gradient + self.l1, np.minimum(gradient + self.l1, 0.0))
        at_zero = np.maximum(np.abs(gradient) - self.l1, 0.0)
        return np.where(b != 0, gradient + self.l1 * np.sign(b), at_zero)


def none() -> Penalty:
    """Return no penalty."""
    return Penalty()


def l1(strength: float) -> Penalty:
    """Return ``strength * sum(abs(b))``."""
    return Penalty(l1=strength)


def l2(strength: float) -> Penalty:
    """Return ``strength / 2 * sum(b**2)``."""
    return Penalty(l2=strength)


def elastic_net(strength: float, l1_ratio: float) -> Penalty:
    """Return ``l1_ratio`` of the strength as l1, the rest as l2.

    Raises
    ------
    ValueError
        For a ratio outside of 0 to 1.
    """
    if not 0 <= l1_ratio <= 1:
        raise ValueError(f"l1_ratio must be between 0 and 1, not {l1_ratio!r}")
    return Penalty(l1=strength * l1_ratio, l2=strength * (1.0 - l1_ratio))
