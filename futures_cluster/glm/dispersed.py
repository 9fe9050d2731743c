"""Regressors for overdispersed targets: negative binomial and inverse Gaussian.

scikit-learn has no estimators for these families. The parameters are those of its other regressors, and ``theta`` is
glum's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futures_cluster.glm.families import Family, NegativeBinomial, Tweedie
from futures_cluster.glm.regressors import _ALPHA, _COMMON, _Deviance

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


class InverseGaussianRegressor(_Deviance):
    __doc__ = (
        "Inverse Gaussian regression of positive targets, with a log link and l2 penalty."
        + "\n\n    The variance is ``mean**3``.\n"
        + _COMMON.format(own=_ALPHA)
        + """
    Examples
    --------
    >>> model = InverseGaussianRegressor(alpha=0).fit([[0.0], [0.0], [1.0], [1.0]], [1.0, 3.0, 4.0, 4.0])
    >>> model.predict([[0.0], [1.0]]).round(3).tolist()
    [2.0, 4.0]
    """
    )

    def _family(self) -> Family:
        return Tweedie(3.0)


class NegativeBinomialRegressor(_Deviance):
    __doc__ = (
        "Negative binomial regression of overdispersed counts, with a log link."
        + "\n\n    The variance is ``mean + theta * mean**2``. The penalty is l2.\n"
        + _COMMON.format(
            own=_ALPHA
            + "theta : float\n        The known dispersion; ``alpha`` in statsmodels, ``1 / theta`` in R's MASS.\n    "
        )
        + """
    Examples
    --------
    >>> model = NegativeBinomialRegressor(alpha=0).fit([[0.0], [0.0], [1.0], [1.0]], [1, 3, 4, 4])
    >>> model.predict([[0.0], [1.0]]).round(3).tolist()
    [2.0, 4.0]
    """
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
        executor: Executor | None = None,
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
