"""Regressors for targets that vary more than a poisson or a gamma: negative binomial, inverse gaussian.

Covers: the estimators. Scikit-learn has none for these families; parameters are those of its other regressors, and
``theta`` is glum's.
"""

from __future__ import annotations

from typing import Any

from futures_cluster.glm.families import Family, NegativeBinomial, Tweedie
from futures_cluster.glm.regressors import _ALPHA, _COMMON, _Deviance


class InverseGaussianRegressor(_Deviance):
    __doc__ = (
        "Positive targets with a heavy tail: the variance is ``mean**3``, with a log link and an l2 penalty."
        + "\n"
        + _COMMON.format(own=_ALPHA)
    )

    def _family(self) -> Family:
        return Tweedie(3.0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags


class NegativeBinomialRegressor(_Deviance):
    __doc__ = (
        "Overdispersed counts: the variance is ``mean + theta * mean**2``, with a log link and an l2 penalty."
        + "\n"
        + _COMMON.format(
            own=_ALPHA
            + "theta : float\n        The known dispersion; ``alpha`` in statsmodels, ``1 / theta`` in R's MASS.\n    "
        )
    )

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        theta: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int = 1000,
        warm_start: bool = False,
        executor: Any = None,
        callback: Any = None,
        verbose: Any = False,
    ) -> None:
        super().__init__(
            alpha,
            fit_intercept=fit_intercept,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            warm_start=warm_start,
            executor=executor,
            callback=callback,
            verbose=verbose,
        )
        self.theta = theta

    def _family(self) -> Family:
        return NegativeBinomial(self.theta)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags
