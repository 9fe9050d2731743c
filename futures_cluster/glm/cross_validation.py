"""Least squares with the strength chosen by cross-validation: ``RidgeCV``, ``LassoCV``, ``ElasticNetCV``.

Covers: the estimators, with scikit-learn's names, grids and choices; what all cross-validated estimators share. Does
not cover: following a path (``paths``), folds (``folds``), ``LogisticRegressionCV`` (``logistic_cv``).

The way of data::

    fit --as every estimator--> coded blocks --placed once--> Folds --a thread a fold--> paths, scores --> the best
                                       |                                                                     |
                                       +------------------------- one more fit on all rows <-----------------+
"""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.model_selection import check_cv

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import BlockFacts, mean_target
from futures_cluster.glm.estimators import family_of
from futures_cluster.glm.families import Family, Normal
from futures_cluster.glm.folds import Folds, block_target
from futures_cluster.glm.gram import QuadraticSums
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.parameters import bad_value, documented_by
from futures_cluster.glm.paths import block_errors, block_left_out, each_fold, solve_path
from futures_cluster.glm.penalties import Penalty, elastic_net
from futures_cluster.glm.regressors import Regressor
from futures_cluster.glm.solvers import NON_SMOOTH
from futures_cluster.glm.sums import Sums
from futures_cluster.glm.targets import Coding

if TYPE_CHECKING:
    from futures_cluster.executor import Executor

#: Solvers that cut the rows into problems of their own, which a fold would cut again.
CONSENSUS = ("admm", "async_admm")


class CrossValidated:
    """Mixin of the cross-validated estimators; it precedes their base class.

    ``_choose`` gets the placed blocks and sets the parameters that ``_penalty`` needs; then the base fits all rows as
    usual.

    Parameters
    ----------
    fit_intercept : bool
        Whether to fit an intercept. It is never penalized.
    solver : str
        ``"auto"``, ``"newton"``, ``"lbfgs"``, ``"gradient_descent"`` or ``"proximal_grad"``.
    tol : float
        Relative accuracy of the objective: a solver stops at this estimated distance from its minimum.
    max_iter : int
        Maximum number of iterations of each fit of a path.
    executor : futures_cluster.Executor or None
        Executor whose workers hold the rows. None: fit in this process, with a thread for each core.
    verbose : bool
        Whether to show the progress of the last fit on stderr.
    """

    # Parameters of the base that these estimators do not have.
    warm_start = False
    callback = None
    _non_smooth = tuple(solver for solver in NON_SMOOTH if solver not in CONSENSUS)
    _sums: Sums | None = None
    _first: Array | None = None
    _wants_classes: bool

    def __init__(
        self,
        fit_intercept: bool,
        cv: Any,
        solver: str,
        tol: float,
        max_iter: int | None,
        executor: Executor | None,
        verbose: Any,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.executor = executor
        self.verbose = verbose

    def _choose(self, sums: Sums, coding: Coding, family: Family, facts: list[BlockFacts]) -> None:
        raise NotImplementedError

    def _check_parameters(self) -> None:
        super()._check_parameters()  # type: ignore[misc]  # of the base
        if self.solver in CONSENSUS:
            raise ValueError(
                f"{type(self).__name__} has no solver={self.solver!r}: each fold is fitted as a whole; take 'auto', or "
                "fit the estimator without CV"
            )

    def _placed(self, *args: Any) -> Any:
        if self._sums is not None:
            return contextlib.nullcontext(self._sums)
        return super()._placed(*args)  # type: ignore[misc]  # of the base

    def _fit_coded(self, blocks: list[Any], coding: Coding, facts: list[BlockFacts]) -> Self:
        with self._placed(blocks, facts) as sums:
            self._sums = sums
            try:
                self._choose(sums, coding, family_of(sums, coding), facts)
                super()._fit_coded(blocks, coding, facts)  # type: ignore[misc]
            finally:
                self._sums = self._first = None
        return self

    def _start(self, objective: Objective, *args: Any) -> Array:
        """Start the final fit near its end."""
        if self._first is not None:
            return self._first
        return super()._start(objective, *args)  # type: ignore[misc]  # of the base

    def _folds(self, sums: Sums) -> Folds:
        """Return the blocks, cut into the folds of ``cv``."""
        wanted = self._wants_classes or not (self.cv is None or isinstance(self.cv, numbers.Integral))
        targets = sums.each(block_target, wanted)
        y = np.concatenate(targets)
        cv = check_cv(self.cv, y if self._wants_classes else None, classifier=self._wants_classes)
        return Folds(sums, cv.split(np.zeros((len(y), 1)), y), [len(each) for each in targets])

    def _follow(
        self, sums: Sums, family: Family, penalties: Sequence[Penalty], start: Array, coding: Coding
    ) -> tuple[Array, Array]:
        """Return parameters and iterations of the fits of a path."""
        options = self._options(sample=False)  # type: ignore[attr-defined]  # of the base
        for penalty in penalties:
            self._check_penalty(penalty)  # type: ignore[attr-defined]
        return solve_path(sums, family, self.fit_intercept, penalties, self.solver, options, start, coding.center)

    def _check_weight(self, weight: float, fold: int, rows: str) -> float:
        """Return the weight of some rows of a fold, or raise if they have none."""
        if not weight > 0:
            raise ValueError(
                f"the {rows} rows of fold {fold} have no weight in {type(self).__name__}: mix the rows by "
                "cv=KFold(shuffle=True), or leave out rows of the weight 0"
            )
        return weight


@documented_by(CrossValidated)
class _SquaresCV(CrossValidated, Regressor):
    """Base class of the cross-validated estimators of least squares.

    Parameters
    ----------
    %(Parameters)s

    Attributes
    ----------
    alpha_ : float
        The chosen strength.
    coef_ : array of shape (features,)
        Coefficients of the last fit, on all rows.
    intercept_ : float
        Its intercept; 0 without one.
    n_iter_ : int
        Number of its iterations.
    """

    alpha_: float

    def _family(self) -> Family:
        return Normal()

    def _plain(self, sums: Sums) -> Objective:
        """Return the objective without a penalty."""
        return Objective(sums, Normal(), Penalty(), self.fit_intercept)

    def _training(self, folds: Folds, fold: int, start: Array) -> tuple[Sums, float]:
        """Return sums over the training rows, and their weight.

        With few columns, one pass over the rows gives these sums.
        """
        sums = folds.train(fold)
        family = Normal()
        if self._plain(sums).has_hessian:
            sums = QuadraticSums(sums, family, self.fit_intercept, start)
        weight = float(sums.sums(family, self.fit_intercept, start, 0)[0])
        return sums, self._check_weight(weight, fold, "training")

    def _errors(self, folds: Folds, fold: int, thetas: Array, mean: float) -> Array:
        """Return the sums of ``block_errors`` over the test rows."""
        found = folds.test(fold, block_errors, thetas, self.fit_intercept, mean)
        self._check_weight(float(found[0]), fold, "test")
        return found


@documented_by(_SquaresCV)
class RidgeCV(_SquaresCV):
    """Ridge regression that chooses the strength by cross-validation.

    Parameters
    ----------
    alphas : array
        Strengths to choose from.
    cv : int, splitter, iterable or None
        Number of folds or splitter, as in scikit-learn; None: leave one row out, by leverages, in one pass.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s
    best_score_ : float
        Mean R squared of the folds; without ``cv`` minus the mean of squared errors.

    Examples
    --------
    >>> model = RidgeCV(alphas=[0.01, 100.0]).fit([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0])
    >>> model.alpha_
    0.01
    """

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0),
        *,
        fit_intercept: bool = True,
        cv: Any = None,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int = 1000,
        executor: Executor | None = None,
        verbose: Any = False,
    ) -> None:
        super().__init__(fit_intercept, cv, solver, tol, max_iter, executor, verbose)
        self.alphas = alphas

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.cv is None and not np.all(np.asarray(self.alphas) > 0):
            raise bad_value(self, "alphas", "positive numbers without cv")

    def _penalty(self, weight: float) -> Penalty:
        return Penalty(l2=self.alpha_ / weight)

    def _choose(self, sums: Sums, coding: Coding, family: Family, facts: list[BlockFacts]) -> None:
        alphas = np.atleast_1d(np.asarray(self.alphas, dtype=np.float64))
        if self.cv is None:
            scores = self._left_out(sums, alphas, facts)
        else:
            folds = self._folds(sums)
            scores = np.mean(
                each_fold(lambda fold: self._fold_scores(folds, fold, alphas, facts, coding), folds.number, sums),
                axis=0,
            )
        best = int(np.argmax(scores))
        self.alpha_: float = float(alphas[best])
        self.best_score_: float = float(scores[best])

    def _fold_scores(self, folds: Folds, fold: int, alphas: Array, facts: list[BlockFacts], coding: Coding) -> Array:
        """Return R squared of a fold's fits."""
        mean = mean_target(facts)
        start = self._plain(folds.sums).start(mean)
        sums, weight = self._training(folds, fold, start)
        order = np.argsort(-alphas, kind="stable")
        penalties = [Penalty(l2=alphas[i] / weight) for i in order]
        thetas = np.empty((len(alphas), len(start)))
        thetas[order], _ = self._follow(sums, Normal(), penalties, start, coding)
        found = self._errors(folds, fold, thetas, mean)
        squares = found[2] - found[1] ** 2 / found[0]
        if not squares > 1e-13 * found[2]:
            raise ValueError(
                f"the test rows of fold {fold} have all the same target in RidgeCV, so R squared does not tell fits "
                "apart: mix the rows by cv=KFold(shuffle=True), or leave out cv"
            )
        return 1.0 - found[3:] / squares

    def _left_out(self, sums: Sums, alphas: Array, facts: list[BlockFacts]) -> Array:
        """Return minus the squared error of each row, predicted without it."""
        level = mean_target(facts) if self.fit_intercept else 0.0
        objective = self._plain(sums)
        start = objective.start(level)
        if not objective.has_hessian:
            raise ValueError(
                f"RidgeCV without cv needs the Gram matrix of {sums.n_features} columns, which is too large: give cv=5"
            )
        whole = QuadraticSums(sums, Normal(), self.fit_intercept, start)
        q = sums.n_features
        gram, slope, mean = whole.hessian[:q, :q], whole.gradient[:q], np.zeros(q)
        if self.fit_intercept:
            mean = whole.hessian[:q, q] / whole.weight
            gram = gram - whole.weight * np.outer(mean, mean)
            slope = slope - mean * whole.gradient[q]
        values, vectors = np.linalg.eigh(gram)
        shrink = 1.0 / (np.maximum(values, 0.0)[:, None] + alphas)
        coefs = -(vectors.T @ slope)[:, None] * shrink
        base = 1.0 / whole.weight if self.fit_intercept else 0.0
        args = [sums.share(each) for each in (mean, vectors, shrink, coefs)]
        return -sum(sums.each(block_left_out, *args, level, base)) / sum(each.rows for each in facts)


class _GridCV(_SquaresCV):
    """Base class of those with an l1 penalty: grids, and the least mean squared error."""

    eps: float
    alphas: Any
    l1_ratio: Any  # or several to try

    def _penalty(self, weight: float) -> Penalty:
        return elastic_net(self.alpha_, self.l1_ratio_)

    def _choose(self, sums: Sums, coding: Coding, family: Family, facts: list[BlockFacts]) -> None:
        ratios = np.atleast_1d(np.asarray(self.l1_ratio, dtype=np.float64))
        mean = mean_target(facts)
        start = self._plain(sums).start(mean)
        alphas = self._grids(sums, ratios, start)
        folds = self._folds(sums)

        def errors(fold: int) -> Array:
            training, _ = self._training(folds, fold, start)
            thetas = []
            for ratio, own in zip(ratios, alphas):
                penalties = [elastic_net(alpha, ratio) for alpha in own]
                thetas.append(self._follow(training, family, penalties, start, coding)[0])
            found = self._errors(folds, fold, np.concatenate(thetas), mean)
            return (found[3:] / found[0]).reshape(alphas.shape)

        paths = np.array(each_fold(errors, folds.number, sums))  # folds, ratios, alphas
        self.mse_path_: Array = np.squeeze(np.moveaxis(paths, 0, 2))
        best = np.unravel_index(np.argmin(paths.mean(axis=0)), alphas.shape)
        self.alpha_: float = float(alphas[best])
        self.l1_ratio_: float = float(ratios[best[0]])
        self.alphas_: Array = alphas if self._finds_grid() and len(ratios) > 1 else alphas[0]

    def _finds_grid(self) -> bool:
        return self.alphas is None or isinstance(self.alphas, numbers.Integral)

    def _grids(self, sums: Sums, ratios: Array, start: Array) -> Array:
        """Return the strengths for each ratio, the largest first.

        The largest strength of an automatic grid makes all coefficients zero.
        """
        name = type(self).__name__
        if not self._finds_grid():
            return np.tile(np.sort(np.asarray(self.alphas, dtype=np.float64))[::-1], (len(ratios), 1))
        number = 100 if self.alphas is None else int(self.alphas)
        if np.any(ratios == 0):
            raise ValueError(
                f"{name} finds no grid for l1_ratio=0, where no strength makes all coefficients 0: give alphas"
            )
        point = self._plain(sums).at(start, 1)
        steepest = float(np.max(np.abs(point.gradient[: sums.n_features])))
        least = float(np.finfo(np.float64).resolution)
        if steepest <= least:
            return np.full((len(ratios), number), least)
        return np.array([np.geomspace(steepest / ratio, steepest / ratio * self.eps, number) for ratio in ratios])


@documented_by(_SquaresCV)
class ElasticNetCV(_GridCV):
    """Elastic net that chooses strength and ratio by cross-validation.

    Parameters
    ----------
    l1_ratio : float or array
        Share of the l1 penalty, above 0 to 1, or several to try.
    eps : float
        ``alpha_min / alpha_max`` of an automatic grid.
    alphas : int or array
        Number of strengths of an automatic grid, or the strengths.
    cv : int, splitter, iterable or None
        Number of folds or splitter, as in scikit-learn; None: five folds.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s
    l1_ratio_ : float
        The chosen share.
    alphas_ : array of shape (alphas,), or (l1_ratios, alphas)
        The strengths, the largest first.
    mse_path_ : array of shape (alphas, folds), or (l1_ratios, alphas, folds)
        Mean squared error of each fit on the rows of its fold.

    Examples
    --------
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = ElasticNetCV(l1_ratio=[0.5, 1.0], alphas=[0.01, 1.0], cv=2).fit(X, y)
    >>> model.alpha_, model.mse_path_.shape
    (0.01, (2, 2, 2))
    """

    def __init__(
        self,
        *,
        l1_ratio: Any = 0.5,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        cv: Any = None,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int = 1000,
        executor: Executor | None = None,
        verbose: Any = False,
    ) -> None:
        super().__init__(fit_intercept, cv, solver, tol, max_iter, executor, verbose)
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas


@documented_by(_SquaresCV)
class LassoCV(_GridCV):
    """Lasso that chooses the strength by cross-validation.

    Parameters
    ----------
    eps : float
        ``alpha_min / alpha_max`` of an automatic grid.
    alphas : int or array
        Number of strengths of an automatic grid, or the strengths.
    cv : int, splitter, iterable or None
        Number of folds or splitter, as in scikit-learn; None: five folds.
    %(Parameters)s

    Attributes
    ----------
    %(Attributes)s
    alphas_ : array of shape (alphas,), or (l1_ratios, alphas)
        The strengths, the largest first.
    mse_path_ : array of shape (alphas, folds), or (l1_ratios, alphas, folds)
        Mean squared error of each fit on the rows of its fold.

    Examples
    --------
    >>> model = LassoCV(alphas=[0.01, 1.0], cv=2).fit([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0])
    >>> model.alpha_, model.mse_path_.shape
    (0.01, (2, 2))
    """

    l1_ratio: float = 1.0  # no parameter

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        cv: Any = None,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int = 1000,
        executor: Executor | None = None,
        verbose: Any = False,
    ) -> None:
        super().__init__(fit_intercept, cv, solver, tol, max_iter, executor, verbose)
        self.eps = eps
        self.alphas = alphas
