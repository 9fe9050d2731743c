"""Families: what one observation costs, as a function of its linear predictor.

Covers: the normal, bernoulli, multinomial, poisson, gamma, tweedie and negative binomial families with their links;
loss, gradient and curvature of each observation, in forms that neither overflow nor cancel where the result is
representable; means; deviances; which targets are allowed. Does not cover: coefficients, sums over observations,
weights (``passes``), penalties, and the coding of classes as numbers (``targets``).
"""

from __future__ import annotations

from futures_cluster.glm.families.base import Family, Normal
from futures_cluster.glm.families.classes import Bernoulli, Multinomial
from futures_cluster.glm.families.negative_binomial import NegativeBinomial
from futures_cluster.glm.families.tweedie import Tweedie, gamma, poisson

__all__ = ["Bernoulli", "Family", "Multinomial", "NegativeBinomial", "Normal", "Tweedie", "gamma", "poisson"]
