"""Least squares: linear regression, ridge, lasso, elastic net.

Covers: the estimators, with scikit-learn's names, parameters and meaning of ``alpha``; several targets; coefficients
that must not be negative. Does not cover: other families (``regressors``), how all are fitted (``estimators``).

What they minimize, with ``W`` the sum of the weights:

- ``LinearRegression``: ``sum(w * (y - x b)^2)``; ``Ridge``: that ``+ alpha * |b|^2``
- ``Lasso``, ``ElasticNet``: ``sum(w * (y - x b)^2) / (2 W) + alpha * l1_ratio * |b|_1 + alpha * (1 - l1_ratio) / 2 *
  |b|^2``
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import check_facts, facts_of
from futures_cluster.glm.columns import Features
from futures_cluster.glm.estimators import LinearModel, scattered
from futures_cluster.glm.families import Family, Normal
from futures_cluster.glm.parameters import bad_value, documented_by
from futures_cluster.glm.penalties import Penalty, elastic_net
from futures_cluster.glm.regressors import Regressor
from futures_cluster.glm.rowblocks import RowBlock
from futures_cluster.glm.targets import of_target

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


class _LeastSquares(Regressor):
    """Base class of the estimators of least squares."""

    positive: bool
    _takes_several_targets = True
    # What a y of shape (rows, 1) is: scikit-learn's LinearRegression takes it for one of several targets.
    _takes_column_as_vector = True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _family(self) -> Family:
        return Normal()

    def _fit_targets(self, X: Array, y: Array, weights: Array | None) -> Self:
        """Fit each column of ``y``, over rows that are placed once."""
        if scipy.sparse.issparse(y):
            raise TypeError(f"{type(self).__name__}: y must be a dense array, got a sparse one: use y.toarray()")
        if y.shape[1] == 1 and self._takes_column_as_vector:
            self._fit_block(RowBlock(X, y[:, 0], weights))
            self.intercept_ = np.array([self.intercept_]) if self.fit_intercept else 0.0
            return self
        executor, targets = self.executor, y.shape[1]
        placed = [] if executor is None else scattered(executor, X, y, weights)
        models = []
        for number in range(targets):
            one = self._of_target(number, targets)
            block = RowBlock(X, y[:, number], weights)
            if executor is None:
                one._fit_block(block)
            else:
                facts = [facts_of(block, False, check_rows=number == 0)]
                check_facts(facts)
                blocks = [executor.submit(of_target, each, number) for each in placed]
                one._fit_blocks(blocks, facts, None, Features())
            models.append(one)
        self.coef_: Array = np.array([one.coef_ for one in models])
        self.intercept_: Any = np.array([one.intercept_ for one in models]) if self.fit_intercept else 0.0
        self.n_iter_: Any = np.array([one.n_iter_ for one in models])
        self.objective_: Any = np.array([one.objective_ for one in models])
        self.history_: Any = [one.history_ for one in models]
        self.solver_: str = models[0].solver_
        self._family_ = self._family()
        self._statistics_ = None
        return self

    def _of_target(self, number: int, targets: int) -> Self:
        """Return the estimator for one of the targets."""
        one = copy.copy(self)
        one.executor = self.executor  # copies do not get it
        coef: Any = getattr(self, "coef_", None)
        if coef is not None:
            if np.ndim(coef) == 2 and len(coef) == targets:
                one.coef_, one.intercept_ = coef[number], np.broadcast_to(self.intercept_, targets)[number]
            else:
                del one.coef_
        return one


@documented_by(LinearModel)
class LinearRegression(_LeastSquares):
    """Linear regression by least squares.

    For collinear columns the fit gives the coefficients with the smallest norm.

    A ``y`` with two dimensions has several targets, which are fitted one after the other: ``coef_`` has a row for each,
    ``intercept_``, ``n_iter_`` and ``objective_`` have a number for each, and ``history_`` is a list.

    Parameters
    ----------
    positive : bool
        Whether to allow no negative coefficients. The intercept may be negative.
    n_jobs : int or None
        Maximum number of threads for rows in this process; -1 and None: one for each core.
    copy_X
        Accepted without effect: the minimum does not depend on them.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s

    Examples
    --------
    >>> model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> round(float(model.coef_[0]), 9), round(model.intercept_, 9)
    (2.0, 1.0)
    """

    _takes_column_as_vector = False

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int | None = 1000,
        warm_start: bool = False,
        executor: Executor | None = None,
        callback: Any = None,
        verbose: Any = False,
        positive: bool = False,
        n_jobs: int | None = None,
        copy_X: bool = True,
    ) -> None:
        super().__init__(fit_intercept, solver, tol, max_iter, warm_start, executor, callback, verbose)
        self.positive = positive
        self.n_jobs = n_jobs
        self.copy_X = copy_X

    def _penalty(self, weight: float) -> Penalty:
        return Penalty(positive=bool(self.positive))


@documented_by(LinearModel)
class Ridge(_LeastSquares):
    """Ridge regression: least squares with an l2 penalty.

    A ``y`` with two dimensions has several targets, which are fitted one after the other: ``coef_`` has a row for each,
    ``intercept_``, ``n_iter_`` and ``objective_`` have a number for each, and ``history_`` is a list.

    Parameters
    ----------
    alpha : float or array of shape (targets,)
        Strength, or one for each target.
    positive : bool
        Whether to allow no negative coefficients. The intercept may be negative.
    copy_X, random_state
        Accepted without effect: the minimum does not depend on them.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s

    Examples
    --------
    >>> model = Ridge(alpha=2.0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> round(float(model.coef_[0]), 9), round(model.intercept_, 9)
    (1.0, 2.0)
    """

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int | None = 1000,
        warm_start: bool = False,
        executor: Executor | None = None,
        callback: Any = None,
        verbose: Any = False,
        positive: bool = False,
        copy_X: bool = True,
        random_state: Any = None,
    ) -> None:
        super().__init__(fit_intercept, solver, tol, max_iter, warm_start, executor, callback, verbose)
        self.alpha = alpha
        self.positive = positive
        self.copy_X = copy_X
        self.random_state = random_state

    def _alphas(self, targets: int) -> list[float]:
        """Return the strength for each target."""
        alphas = np.ravel(self.alpha)
        if len(alphas) not in (1, targets):
            raise bad_value(self, "alpha", f"one number, or one for each of the {targets} target(s)")
        return [float(each) for each in np.broadcast_to(alphas, targets)]

    def _of_target(self, number: int, targets: int) -> Self:
        one = super()._of_target(number, targets)
        one.alpha = self._alphas(targets)[number]
        return one

    def _solver_name(self) -> str:
        # scikit-learn has a method of that name, with bounds, for positive=True, and no other.
        return "auto" if self.positive and self.solver == "lbfgs" else self.solver

    def _penalty(self, weight: float) -> Penalty:
        return Penalty(l2=self._alphas(1)[0] / weight, positive=bool(self.positive))


class _Sparse(_LeastSquares):
    """Base class of estimators with an l1 penalty."""

    alpha: float
    l1_ratio: float

    def _penalty(self, weight: float) -> Penalty:
        return elastic_net(float(self.alpha), self.l1_ratio, bool(self.positive))

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        check_input: bool = True,
        *,
        columns: Any = None,
        categories: Any = None,
        drop_first: bool = False,
        **unknown: Any,
    ) -> Self:
        """Fit the model, as ``LinearRegression.fit`` does.

        Parameters
        ----------
        X, y, sample_weight, columns, categories, drop_first
            As for ``LinearRegression.fit``.
        check_input : bool
            Accepted without effect: the fit always checks rows.
        **unknown
            No other arguments are accepted; the error names the parameter or the method to use.

        Returns
        -------
        self
            The fitted estimator.
        """
        chosen = {"columns": columns, "categories": categories, "drop_first": drop_first}
        return super().fit(X, y, sample_weight, **chosen, **unknown)

    @property
    def sparse_coef_(self) -> Any:
        """Coefficients as a sparse matrix."""
        check_is_fitted(self)
        return scipy.sparse.csr_matrix(self.coef_)

    @staticmethod
    def path(X: Any, y: Any, **options: Any) -> Any:
        """Compute coefficients for many strengths by scikit-learn's ``enet_path``.

        Parameters
        ----------
        X, y : array
            Rows and targets in this process.
        **options
            Options of ``sklearn.linear_model.enet_path``.

        Returns
        -------
        tuple of arrays
            The result of ``sklearn.linear_model.enet_path``.
        """
        from sklearn.linear_model import enet_path

        return enet_path(X, y, **options)


@documented_by(LinearModel)
class Lasso(_Sparse):
    """Lasso: least squares with an l1 penalty.

    A ``y`` with two dimensions has several targets, which are fitted one after the other: ``coef_`` has a row for each,
    ``intercept_``, ``n_iter_`` and ``objective_`` have a number for each, and ``history_`` is a list.

    Parameters
    ----------
    alpha : float
        Strength of the penalty, 0 or more.
    positive : bool
        Whether to allow no negative coefficients. The intercept may be negative.
    precompute, copy_X, random_state, selection
        Accepted without effect: the minimum does not depend on them.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s

    Examples
    --------
    >>> model = Lasso(alpha=0.1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(6).tolist(), round(model.intercept_, 6)
    ([1.85, 0.0], 1.15)
    """

    l1_ratio: float = 1.0  # no parameter, but an attribute of scikit-learn's Lasso, too

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
        positive: bool = False,
        precompute: Any = False,
        copy_X: bool = True,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        super().__init__(fit_intercept, solver, tol, max_iter, warm_start, executor, callback, verbose)
        self.alpha = alpha
        self.positive = positive
        self.precompute = precompute
        self.copy_X = copy_X
        self.random_state = random_state
        self.selection = selection


@documented_by(LinearModel)
class ElasticNet(_Sparse):
    """Elastic net: least squares with an l1 and an l2 penalty.

    A ``y`` with two dimensions has several targets, which are fitted one after the other: ``coef_`` has a row for each,
    ``intercept_``, ``n_iter_`` and ``objective_`` have a number for each, and ``history_`` is a list.

    Parameters
    ----------
    alpha : float
        Strength of the penalty, 0 or more.
    l1_ratio : float
        Share of the l1 penalty, from 0 to 1.
    positive : bool
        Whether to allow no negative coefficients. The intercept may be negative.
    precompute, copy_X, random_state, selection
        Accepted without effect: the minimum does not depend on them.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s

    Examples
    --------
    >>> model = ElasticNet(alpha=0.1, l1_ratio=0.5).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> round(float(model.coef_[0]), 6), round(model.intercept_, 6)
    (1.790698, 1.209302)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int | None = 1000,
        warm_start: bool = False,
        executor: Executor | None = None,
        callback: Any = None,
        verbose: Any = False,
        positive: bool = False,
        precompute: Any = False,
        copy_X: bool = True,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        super().__init__(fit_intercept, solver, tol, max_iter, warm_start, executor, callback, verbose)
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.positive = positive
        self.precompute = precompute
        self.copy_X = copy_X
        self.random_state = random_state
        self.selection = selection
