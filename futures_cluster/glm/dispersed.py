"""Regressors for overdispersed targets: negative binomial and inverse Gaussian.

scikit-learn has no estimators for these families. The parameters are those of its other regressors, and ``theta`` is
glum's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from futures_cluster.glm.estimators import LinearModel
from futures_cluster.glm.families import Family, NegativeBinomial, Tweedie
from futures_cluster.glm.parameters import documented_by
from futures_cluster.glm.regressors import ByAlpha, Deviance

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


@documented_by(LinearModel)
class InverseGaussianRegressor(ByAlpha):
    """Inverse Gaussian regression of positive targets, with a log link and l2 penalty.

    The variance is ``mean**3``.

    Parameters
    ----------
    alpha : float
        Strength of the l2 penalty, 0 or more.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s

    Examples
    --------
    >>> model = InverseGaussianRegressor(alpha=0).fit([[0.0], [0.0], [1.0], [1.0]], [1.0, 3.0, 4.0, 4.0])
    >>> model.predict([[0.0], [1.0]]).round(3).tolist()
    [2.0, 4.0]
    """

    def _family(self) -> Family:
        return Tweedie(3.0)


@documented_by(LinearModel)
class NegativeBinomialRegressor(Deviance):
    """Negative binomial regression of overdispersed counts, with a log link.

    The variance is ``mean + theta * mean**2``. The penalty is l2.

    Parameters
    ----------
    alpha : float
        Strength of the l2 penalty, 0 or more.
    theta : float
        The known dispersion; ``alpha`` in statsmodels, ``1 / theta`` in R's MASS.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s

    Examples
    --------
    >>> model = NegativeBinomialRegressor(alpha=0).fit([[0.0], [0.0], [1.0], [1.0]], [1, 3, 4, 4])
    >>> model.predict([[0.0], [1.0]]).round(3).tolist()
    [2.0, 4.0]
    """

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
        super().__init__(fit_intercept, solver, tol, max_iter, warm_start, executor, callback, verbose)
        self.alpha = alpha
        self.theta = theta

    def _family(self) -> Family:
        return NegativeBinomial(self.theta)
