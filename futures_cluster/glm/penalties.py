"""Penalties of coefficients: none, l1, l2 and elastic net, each also with coefficients that must not be negative.

Covers: value and gradient of the smooth part, and the proximal operator of the rest. ``objective`` adds value and
gradient to the *mean* loss; ``proximal_grad``, ``admm`` and the inner problem of ``newton`` use the operator.

Does not cover: intercepts, which are never penalized, so that callers pass coefficients only; and the meaning of ``C``
and ``alpha`` (``estimators``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from futures_cluster.glm.array_types import Array


@dataclass(frozen=True)
class Penalty:
    """``l1 * sum(abs(b)) + l2 / 2 * sum(b**2)`` for coefficients ``b``.

    With ``positive`` the penalty is infinite if a coefficient is negative. The values leave that out: solvers reach
    only other coefficients, by way of ``prox``.

    Raises
    ------
    ValueError
        If a strength is negative or not finite.

    Examples
    --------
    >>> penalty = Penalty(l1=1.0, l2=2.0)
    >>> b = np.array([3.0, -1.0])
    >>> penalty.smooth_value(b), penalty.l1_value(b), penalty.gradient(b).tolist()
    (10.0, 4.0, [6.0, -2.0])
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
        """Whether ``gradient`` is the gradient of the whole penalty."""
        return self.l1 == 0 and not self.positive

    def smooth_value(self, b: Array) -> float:
        """Return the value of the l2 part."""
        return 0.5 * self.l2 * float(np.vdot(b, b)) if self.l2 else 0.0

    def l1_value(self, b: Array) -> float:
        """Return the value of the l1 part."""
        return self.l1 * float(np.abs(b).sum()) if self.l1 else 0.0

    def gradient(self, b: Array) -> Array:
        """Return the gradient of the l2 part; its curvature is ``l2`` everywhere."""
        return self.l2 * b

    def prox(self, b: Array, step: Array | float) -> Array:
        """Return the proximal operator of the part that is not smooth.

        Returns
        -------
        array
            The ``x`` that minimizes ``l1 * sum(abs(x)) + sum((x - b)**2 / (2 * step))``, with ``positive`` over all
            ``x >= 0``.
        """
        if self.positive:
            return np.maximum(b - self.l1 * step, 0.0)
        return np.sign(b) * np.maximum(np.abs(b) - self.l1 * step, 0.0)

    def min_norm_subgradient(self, b: Array, gradient: Array) -> Array:
        """Return the minimum-norm subgradient of the objective: zero at its minimum.

        ``gradient`` is that of the smooth part of the objective, the loss and the l2 part.
        """
        if self.positive:
            return np.where(b > 0, gradient + self.l1, np.minimum(gradient + self.l1, 0.0))
        at_zero = np.maximum(np.abs(gradient) - self.l1, 0.0)
        return np.where(b != 0, gradient + self.l1 * np.sign(b), at_zero)


def elastic_net(strength: float, l1_ratio: float, positive: bool = False) -> Penalty:
    """Return a penalty with ``l1_ratio`` of the strength as l1, the rest as l2.

    Raises
    ------
    ValueError
        If ``l1_ratio`` is not between 0 and 1.
    """
    if not 0 <= l1_ratio <= 1:
        raise ValueError(f"l1_ratio must be between 0 and 1, not {l1_ratio!r}")
    return Penalty(l1=strength * l1_ratio, l2=strength * (1.0 - l1_ratio), positive=positive)
