"""What all estimators share: fitting, and the parameters and the state that scikit-learn expects.

Covers: checking local arrays as scikit-learn does; placing blocks; choosing a solver; ``history_``, warm starts. Does
not cover: using the fit (``fitted``), single estimators (``logistic``, ``regressors``).

The way of data::

    fit(X, y) --arrays--> checked, coded, cut ---------+
              --collections--> sources, facts, coded --+--> Sums --> Objective --> solver --> coef_, intercept_
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.validation import validate_data

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import BlockFacts, check_facts, facts_of, mean_target, problem_of_rows
from futures_cluster.glm.categories import encoded_table, encoding_of
from futures_cluster.glm.centering import column_center, with_center, without_center
from futures_cluster.glm.columns import Features, features_of, refuse_texts, target_of, without_named
from futures_cluster.glm.families import Family
from futures_cluster.glm.fitted import FittedModel, dense
from futures_cluster.glm.identification import shortest_by_products, warn_of_dropped
from futures_cluster.glm.inference import statistics_of
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.offsets import Offset, WithOffset, block_center, center_of
from futures_cluster.glm.parameters import ABSENT, absent, bad_value, check_values, refuse, refuse_in_fit
from futures_cluster.glm.passes import block_saturated
from futures_cluster.glm.penalties import Penalty
from futures_cluster.glm.rowblocks import RowBlock, split_rows
from futures_cluster.glm.separation import separation_of_classes
from futures_cluster.glm.solvers import ALIASES, NON_SMOOTH, SOLVERS, Options, solver_for
from futures_cluster.glm.solvers.base import StartNotFinite
from futures_cluster.glm.sources import kind_of, loads_of, place
from futures_cluster.glm.sums import ExecutorSums, LocalSums, Sums, submit_of
from futures_cluster.glm.targets import Coding, code_block, encoded_facts
from futures_cluster.numbers import shown

if TYPE_CHECKING:
    from futures_cluster.executor import Executor

#: ``max_iter=None``, as scikit-learn's Ridge has it.
MAX_ITER = 1000
#: Count of numbers from which NaN and infinity are looked for only when the objective is not finite.
CHECK_LATER = 1_000_000
#: Blocks a worker, when local arrays go to an executor: a few, so that one that is slow does not hold the others long.
BLOCKS_A_WORKER = 2
#: Blocks for consensus when all rows are here.
LOCAL_BLOCKS = 4


class LinearModel(FittedModel):
    """Base class of all estimators; subclasses define the family and the penalty.

    Each has an ``__init__`` with all its parameters, by which scikit-learn knows them.

    Parameters
    ----------
    fit_intercept : bool
        Whether to fit an intercept. It is never penalized.
    solver : str
        ``"auto"``, ``"newton"``, ``"lbfgs"``, ``"gradient_descent"``, ``"proximal_grad"``, ``"admm"`` or
        ``"async_admm"``; scikit-learn's names stand for the most similar of these.
    tol : float
        Relative accuracy of the objective: a solver stops at this estimated distance from its minimum.
    max_iter : int or None
        Maximum number of iterations; None means 1000.
    warm_start : bool
        Whether to start from the coefficients of the last fit.
    executor : futures_cluster.Executor or None
        Executor whose workers hold the rows. None: fit in this process, with a thread for each core.
    callback : callable or None
        Called after each iteration with its number, objective, gradient norm, seconds and parameters; a true return
        value stops the solver.
    verbose : bool
        Whether to show the progress on stderr.

    Attributes
    ----------
    coef_ : array of shape (features,)
        Coefficients.
    intercept_ : float
        Intercept; 0 without one.
    n_iter_ : int
        Number of iterations.
    solver_ : str
        Name of the solver that ran.
    objective_ : float
        Value of the objective, in the units of the mean loss.
    history_ : dict of lists
        ``objective``, ``gradient_norm`` and ``seconds`` of each iteration.
    """

    n_jobs: Any = None  # a parameter of some only, as in scikit-learn

    def __new__(cls, *args: Any, **parameters: Any) -> Self:
        refuse(cls, parameters)
        instance: Self = super().__new__(cls)
        return instance

    def __init__(
        self,
        fit_intercept: bool,
        solver: str,
        tol: float,
        max_iter: int | None,
        warm_start: bool,
        executor: Executor | None,
        callback: Any,
        verbose: Any,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.executor = executor
        self.callback = callback
        self.verbose = verbose

    def __getattr__(self, name: str) -> Any:
        if name in ABSENT:
            raise absent(self, name)
        return object.__getattribute__(self, name)  # raises Python's own error, or again that of a property

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state["executor"] = None  # belongs to this process
        return state

    # ---------------------------------------------------------------- for subclasses

    def _coding(self, facts: list[BlockFacts], counts: Any) -> Coding:
        """Return the family and the coding of the target.

        ``counts(classes)`` gives the weight of each class.
        """
        raise NotImplementedError

    def _penalty(self, weight: float) -> Penalty:
        """Return the penalty beside a mean loss, for rows of this total weight."""
        raise NotImplementedError

    _non_smooth: tuple[str, ...] = NON_SMOOTH  # solvers for penalties that are not smooth
    _wants_classes = False
    _takes_several_targets = False

    def _fit_targets(self, X: Array, y: Array, weights: Array | None) -> Self:
        """Fit a ``y`` with two dimensions, of arrays in this process."""
        raise NotImplementedError

    # ---------------------------------------------------------------- fitting

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        columns: Any = None,
        categories: Any = None,
        drop_first: bool = False,
        **unknown: Any,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array, data frame, sparse matrix, Dask array or dataframe, list of futures, path, glob, or list of paths
            Rows. The tasks of the executor read files and futures.
        y : array or the same kind of collection
            Targets. For tables (files, data frames) the name of a column. None for a list of futures of pairs
            ``(X, y)``.
        sample_weight : array, collection or name of a column, optional
            Weights of the rows.
        columns : list of str, optional
            Columns of tables that are features. By default, all except the target, the weights, and columns that pandas
            or Dask made of an index in Parquet files.
        categories : list of str or dict, optional
            Columns that are categories. Each becomes a column of zeros and ones for each of its levels. A dict sets the
            levels, such as ``{"size": ["S", "M", "L"]}``; otherwise the fit finds and sorts all levels of the data.
        drop_first : bool
            Whether the first level of each category gets no column. Without a penalty this makes coefficients and their
            standard errors meaningful: they compare a level with the first.
        **unknown
            No other arguments are accepted; the error names the parameter or the method to use.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, a target or a weight is out of range or has the wrong type, or if blocks do not fit
            together.
        """
        refuse_in_fit(self, unknown)
        return self._fit(X, y, sample_weight, features_of(columns, categories, drop_first))

    def _fit(self, X: Any, y: Any, sample_weight: Any, features: Features, offset: Offset | None = None) -> Self:
        self._check_parameters()
        if kind_of(X) == "array":
            return self._fit_arrays(X, y, sample_weight, offset, features)
        values = None if offset is None else offset.values
        loads = loads_of(X, y, sample_weight, self.executor, values, features)
        blocks, found = place(loads, self.executor, facts_of, self._wants_classes)
        facts = [each.result() for each in found]
        check_facts(facts, [each.name for each in loads])
        return self._fit_blocks(blocks, facts, offset, features)

    def _coding_with(self, offset: Offset | None, facts: list[BlockFacts], counts: Any) -> Coding:
        coding = self._coding(facts, counts)
        if self.fit_intercept:  # it absorbs the columns' centre
            known = [each for each in facts if each.rows]
            center = column_center([each.moments for each in known], sum(each.weight_sum for each in known))
            coding = replace(coding, center=center)
        if offset is None:
            return coding
        if coding.family.outputs > 1:
            raise ValueError(
                f"offset needs two classes, and y has {coding.family.outputs}: a number that is added for all classes "
                "changes no probability"
            )
        return replace(coding, offset=offset.name)

    def _check_parameters(self) -> None:
        check_values(self)
        if self.solver not in ("auto", *SOLVERS, *ALIASES):
            raise bad_value(self, "solver", f"one of 'auto', {', '.join(map(repr, (*SOLVERS, *ALIASES)))}")
        if self.executor is not None and not hasattr(self.executor, "scatter"):
            raise TypeError(
                f"{type(self).__name__}(executor={shown(self.executor)}): executor must be a "
                "futures_cluster.Executor: tasks get futures of blocks, which executors of the standard library do not "
                "resolve"
            )

    def _check_penalty(self, penalty: Penalty) -> None:
        name = self._solver_name()
        if not penalty.is_smooth and ALIASES.get(name, name) not in ("auto", *self._non_smooth):
            raise ValueError(
                f"{type(self).__name__}(solver={self.solver!r}): solver needs a smooth penalty; with l1 or "
                f"positive=True take one of {', '.join(self._non_smooth)}"
            )

    def _fit_arrays(self, X: Any, y: Any, sample_weight: Any, offset: Offset | None, features: Features) -> Self:
        self._encoding_ = None
        given = None if offset is None else offset.values
        named = {"y": y, "sample_weight": sample_weight, "offset" if offset is None else offset.name: given}
        X, (y, sample_weight, given) = without_named(X, features, named)
        if offset is not None:
            offset = replace(offset, values=given)
        if getattr(y, "ndim", 0) == 1:
            y = target_of(y)
        if not features.are_chosen:
            refuse_texts(X)
        else:
            X, self._encoding_ = encoded_table(X, features)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            y_numeric=not self._wants_classes,
            multi_output=self._takes_several_targets,
            ensure_all_finite=not (isinstance(X, np.ndarray) and X.size >= CHECK_LATER),
        )
        if self._encoding_ is not None:
            self._set_features(X.shape[1], self._encoding_.names)
        weights = check_weights(sample_weight, X.shape[0])
        if y.ndim == 2:
            return self._fit_targets(X, y, weights)
        block = RowBlock(X, np.asarray(y), weights)
        if offset is not None:
            block.offset = offset.numbers(block.n_rows)
            offset = Offset("offset", block.offset)
        return self._fit_block(block, offset)

    def _fit_block(self, block: RowBlock, offset: Offset | None = None) -> Self:
        facts = facts_of(block, self._wants_classes, check_rows=False)
        check_facts([facts])
        coding = self._coding_with(offset, [facts], lambda classes, counted: counted(block, classes))
        coded = code_block(block, coding)
        blocks: list[Any] = [coded]
        if self.executor is not None:
            blocks = scattered(self.executor, coded.x, coded.y, coded.weights, coded.center)
        elif "admm" in self.solver:
            number = min(LOCAL_BLOCKS, block.n_rows)
            blocks = split_rows(coded.x, coded.y, coded.weights, number, coded.center)
        try:
            return self._fit_coded(blocks, coding, [facts])
        except StartNotFinite:
            # A NaN anywhere made the objective one; looking for it beforehand would have cost a pass over all rows.
            if (problem := problem_of_rows(block.x)) is not None:
                raise ValueError(problem) from None
            raise

    def _fit_blocks(
        self, blocks: list[Any], facts: list[BlockFacts], offset: Offset | None, features: Features
    ) -> Self:
        submit = submit_of(self.executor)

        def counts(classes: Array, counted: Any) -> Array:
            return sum(each.result() for each in [submit(counted, block, classes) for block in blocks])

        first = next(each for each in facts if each.rows)
        self._encoding_ = None
        if first.columns is not None:
            self._encoding_ = encoding_of(first.columns, [each.levels for each in facts], features)
            facts = encoded_facts(facts, self._encoding_)
        coding = replace(self._coding_with(offset, facts, counts), encoding=self._encoding_)
        coded = [submit(code_block, block, coding) for block in blocks]
        blocks.clear()  # each goes when its coded form is there, which shares its rows
        for each in coded:
            if (error := each.exception()) is not None:
                raise error
        first = next(each for each in facts if each.rows)
        self._set_features(first.features, first.columns)
        return self._fit_coded([each.result() for each in coded] if self.executor is None else coded, coding, facts)

    def _placed(self, blocks: list[Any], facts: list[BlockFacts]) -> contextlib.AbstractContextManager[Sums]:
        """Return sums over blocks in this process, or over an executor's futures of them."""
        if self.executor is None:
            local = LocalSums(blocks)
            if self.n_jobs is not None:
                local.threads = min(local.threads, effective_n_jobs(self.n_jobs))
            return local
        sparse = any(each.is_sparse for each in facts)
        n_rows = sum(each.rows for each in facts)
        nbytes = sum(each.nbytes for each in facts)
        return contextlib.nullcontext(
            ExecutorSums(self.executor, blocks, n_rows, self.n_features_in_, is_sparse=sparse, nbytes=nbytes)
        )

    def _fit_coded(self, blocks: list[Any], coding: Coding, facts: list[BlockFacts]) -> Self:
        center = coding.center
        weight = self._total_weight(facts)
        with self._placed(blocks, facts) as sums:
            family = family_of(sums, coding)
            penalty = self._penalty(weight)
            base = _base(sums, family, weight)
            objective = Objective(sums, family, penalty, self.fit_intercept, base=base, column_center=center)
            self._check_penalty(penalty)
            solver = solver_for(self._solver_name(), objective)
            options = self._options(callback=self._callback(center, family), verbose=bool(self.verbose))
            start = self._start(objective, mean_target(facts), center)
            result = SOLVERS[solver](objective, start, options)
            self._set_result(solver, result)
            self._family_ = coding.family
            theta = result.theta
            self._statistics_ = separation = None
            if penalty.is_smooth and penalty.l2 == 0 and family.outputs == 1 and objective.has_hessian:
                self._statistics_, theta = statistics_of(objective, theta)
                separation = self._statistics_.separation
                if separation is None:
                    warn_of_dropped(self._statistics_.identification, self._columns())
            elif penalty.is_smooth and penalty.l2 == 0:
                theta = shortest_by_products(objective, theta)
                separation = separation_of_classes(objective, theta)
            if separation is not None:
                separation.warn(self._columns())
            theta = without_center(theta, center, family.outputs)
            self._set_coefficients(theta.reshape(objective.rows, objective.outputs))
        return self

    def _solver_name(self) -> str:
        return self.solver

    def _options(self, **others: Any) -> Options:
        return Options(self.tol, MAX_ITER if self.max_iter is None else int(self.max_iter), **others)

    def _total_weight(self, facts: list[BlockFacts]) -> float:
        return sum(each.weight_sum for each in facts)

    def _callback(self, center: Array | None, family: Family) -> Any:
        """Return the user's callback, with parameters for the original columns."""
        callback = self.callback
        if callback is None or center is None:
            return callback
        return lambda each: callback(replace(each, theta=without_center(each.theta, center, family.outputs)))

    def _start(self, objective: Objective, mean: float, center: Array | None) -> Array:
        coef = getattr(self, "coef_", None)
        if self.warm_start and coef is not None:
            theta = np.atleast_2d(dense(coef)).T
            if self.fit_intercept:
                theta = np.vstack([theta, np.broadcast_to(self.intercept_, theta.shape[1])])
            if theta.shape == (objective.rows, objective.outputs):
                theta = np.ascontiguousarray(theta, dtype=np.float64).ravel()
                if objective.penalty.positive:
                    theta[: objective.n_coefs] = np.maximum(theta[: objective.n_coefs], 0.0)
                return with_center(theta, center, objective.outputs)
        return objective.start(mean)


def check_weights(weights: Any, n_rows: int) -> Array | None:
    """Check sample weights as scikit-learn does: None, a number, or one a row."""
    if weights is None:
        return None
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n_rows, float(weights))
    if weights.ndim != 1:
        raise ValueError("Sample weights must be 1D array or scalar")
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}!")
    return weights


def _base(sums: Sums, family: Family, weight: float) -> float:
    """Return the mean loss of perfect predictions."""
    if not family.has_saturated_loss:
        return 0.0
    return float(sum(sums.each(block_saturated, family)) / weight)


def family_of(sums: Sums, coding: Coding) -> Family:
    """Return the family of passes over targets that may carry offsets."""
    family = coding.family
    if coding.offset is None:
        return family
    return WithOffset(family, center_of(sums.each(block_center, family.link_name), family.link_name))


def scattered(executor: Executor, x: Any, y: Array, weights: Array | None, center: Array | None = None) -> list[Any]:
    """Return futures of the rows, in a few blocks for each worker."""
    number = min(len(y), max(1, executor._max_workers) * BLOCKS_A_WORKER)
    return executor.scatter(split_rows(x, y, weights, number, center))
