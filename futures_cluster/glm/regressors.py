"""The regressors by deviance (Poisson, gamma, Tweedie), and the base of all regressors.

They have scikit-learn's names and its meaning of ``alpha``. They minimize ``sum(w * deviance) / (2 W) + alpha / 2 *
|b|^2``, with ``W`` the sum of the weights. ``least_squares`` has the estimators of least squares, and ``estimators``
fits all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import BlockFacts
from futures_cluster.glm.columns import features_of
from futures_cluster.glm.estimators import LinearModel, check_weights
from futures_cluster.glm.families import Family, Tweedie, gamma, poisson
from futures_cluster.glm.offsets import Offset, offset_of
from futures_cluster.glm.parameters import documented_by, refuse_in_fit
from futures_cluster.glm.penalties import Penalty
from futures_cluster.glm.sources import kind_of
from futures_cluster.glm.targets import Coding, check_range

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


class Regressor(RegressorMixin, LinearModel):  # type: ignore[misc]  # scikit-learn has no types
    """Base class of all regressors."""

    def _family(self) -> Family:
        raise NotImplementedError

    def _coding(self, facts: list[BlockFacts], counts: Any) -> Coding:
        return Coding(self._family())

    def predict(self, X: Any) -> Any:
        """Predict the expected target of each row.

        Parameters
        ----------
        X : array or collection
            Rows, as ``fit`` takes them.

        Returns
        -------
        array or collection
            One number for each row; for a collection the same kind of collection.
        """
        if kind_of(X) != "array":
            return self._predict(X, "predict")
        return self._family().mean(self._linear(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R squared, the explained part of the variance.

        Parameters
        ----------
        X, y, sample_weight
            Rows, targets and weights, as ``fit`` takes them.

        Returns
        -------
        float
            1 for perfect predictions, 0 for those of the mean.
        """
        if kind_of(X) != "array":
            return self._score_collection(X, y, sample_weight)
        X, (y, sample_weight) = self._without_named(X, {"y": y, "sample_weight": sample_weight})
        return float(super().score(X, y, sample_weight))

    def _losses(self, y: Array, prediction: Array) -> Array:
        return np.square(y - prediction)


class Deviance(Regressor):
    """Base class of regressors of positive targets that are scored by their deviance, and take offsets."""

    alpha: float

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags

    def _penalty(self, weight: float) -> Penalty:
        return Penalty(l2=float(self.alpha))

    def _offset(self, offset: Any, exposure: Any) -> Offset | None:
        return offset_of(offset, exposure, self._family(), type(self).__name__)

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        exposure: Any = None,
        columns: Any = None,
        categories: Any = None,
        drop_first: bool = False,
        **unknown: Any,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X, y, sample_weight
            As for ``LinearRegression.fit``.
        offset : array, collection or name of a column, optional
            Known part of the linear predictor of each row, with the coefficient 1.
        exposure : array, collection or name of a column, optional
            Time, area or number of persons to which the mean of each row is proportional. Its logarithm is the offset;
            it needs the log link.
        columns, categories, drop_first
            As for ``LinearRegression.fit``.
        **unknown
            No other arguments are accepted; the error names the parameter or the method to use.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, a target, a weight or an exposure is out of range or has the wrong type.
        """
        refuse_in_fit(self, unknown)
        features = features_of(columns, categories, drop_first)
        self._check_parameters()  # the family of an exposure needs them
        return self._fit(X, y, sample_weight, features, self._offset(offset, exposure))

    def predict(self, X: Any, *, offset: Any = None, exposure: Any = None) -> Any:
        """Predict the expected target of each row.

        Without an offset it is 0, and the exposure is 1: rates for counts that were fitted with their exposure.

        Parameters
        ----------
        X : array or collection
            Rows, as ``fit`` takes them.
        offset, exposure
            As for ``fit``.

        Returns
        -------
        array or collection
            One number for each row; for a collection the same kind of collection.
        """
        check_is_fitted(self)
        given = self._offset(offset, exposure)
        if kind_of(X) != "array":
            return self._predict(X, "predict", given)
        return self._family().mean(self._linear(X, given))

    def _losses(self, y: Array, prediction: Array) -> Array:
        y = np.asarray(y, dtype=np.float64)
        family = self._family()
        check_range(family, y)
        return family.deviance(y, prediction)

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, offset: Any = None, exposure: Any = None
    ) -> float:
        """Return D squared, the explained part of the deviance.

        Parameters
        ----------
        X, y, sample_weight, offset, exposure
            As for ``fit``.

        Returns
        -------
        float
            1 for perfect predictions, 0 for those of the mean.

        Raises
        ------
        ValueError
            If a target is out of the valid range of the family.
        """
        if kind_of(X) != "array":
            return self._score_collection(X, y, sample_weight, self._offset(offset, exposure))
        values = {"y": y, "sample_weight": sample_weight, "offset": offset, "exposure": exposure}
        X, (y, sample_weight, offset, exposure) = self._without_named(X, values)
        prediction = np.asarray(self.predict(X, offset=offset, exposure=exposure))
        y = np.asarray(y, dtype=np.float64)
        losses = self._losses(y, prediction)
        weights = check_weights(sample_weight, len(y))
        mean = np.full_like(y, np.average(y, weights=weights))
        return float(1.0 - np.average(losses, weights=weights) / np.average(self._losses(y, mean), weights=weights))


class ByAlpha(Deviance):
    """Base class of those whose only parameter beside the common ones is the strength ``alpha``."""

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int | None = 1000,
        warm_start: bool = False,
        executor: Executor | None = None,
        callback: Any = None,
        verbose: Any = False,
    ) -> None:
        super().__init__(fit_intercept, solver, tol, max_iter, warm_start, executor, callback, verbose)
        self.alpha = alpha


@documented_by(LinearModel)
class PoissonRegressor(ByAlpha):
    """Poisson regression of counts, with a log link and an l2 penalty.

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
    >>> model = PoissonRegressor(alpha=0).fit([[0.0], [0.0], [1.0], [1.0]], [1, 3, 4, 4])
    >>> model.predict([[0.0], [1.0]]).round(3).tolist()
    [2.0, 4.0]
    """

    def _family(self) -> Family:
        return poisson()


@documented_by(LinearModel)
class GammaRegressor(ByAlpha):
    """Gamma regression of positive targets, with a log link and an l2 penalty.

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
    >>> model = GammaRegressor(alpha=0).fit([[0.0], [0.0], [1.0], [1.0]], [1.0, 3.0, 4.0, 4.0])
    >>> model.predict([[0.0], [1.0]]).round(3).tolist()
    [2.0, 4.0]
    """

    def _family(self) -> Family:
        return gamma()


@documented_by(LinearModel)
class TweedieRegressor(Deviance):
    """Tweedie regression: the variance is a power of the mean; with an l2 penalty.

    Parameters
    ----------
    power : float
        0 normal, 1 Poisson, 2 gamma, 3 inverse Gaussian, 1 to 2 compound.
    alpha : float
        Strength of the l2 penalty, 0 or more.
    link : {"auto", "identity", "log"}
        ``"auto"``: identity for powers up to 0, else log.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s

    Examples
    --------
    >>> model = TweedieRegressor(power=1.5, alpha=0).fit([[0.0], [0.0], [1.0], [1.0]], [0.0, 4.0, 4.0, 4.0])
    >>> model.predict([[0.0], [1.0]]).round(3).tolist()
    [2.0, 4.0]
    """

    def __init__(
        self,
        *,
        power: float = 0.0,
        alpha: float = 1.0,
        link: str = "auto",
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int | None = 1000,
        warm_start: bool = False,
        executor: Executor | None = None,
        callback: Any = None,
        verbose: Any = False,
    ) -> None:
        super().__init__(fit_intercept, solver, tol, max_iter, warm_start, executor, callback, verbose)
        self.power = power
        self.alpha = alpha
        self.link = link

    def _family(self) -> Family:
        link = self.link
        if link == "auto":
            link = "identity" if self.power <= 0 else "log"
        return Tweedie(self.power, link)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.power >= 1
        return tags
