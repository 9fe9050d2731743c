"""``LogisticRegressionCV``: the strength and the ratio of the penalty chosen by cross-validation.

Covers: the estimator, with scikit-learn's grid, choice and attributes. Does not cover: what cross-validated estimators
share (``cross_validation``), scorers other than accuracy and log loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import log_loss

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import BlockFacts
from futures_cluster.glm.centering import without_center
from futures_cluster.glm.cross_validation import CrossValidated
from futures_cluster.glm.families import Family
from futures_cluster.glm.folds import Folds
from futures_cluster.glm.logistic import LogisticRegression
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.parameters import documented_by
from futures_cluster.glm.paths import block_hits, each_fold
from futures_cluster.glm.penalties import Penalty, elastic_net
from futures_cluster.glm.sources import kind_of
from futures_cluster.glm.sums import Sums
from futures_cluster.glm.targets import Coding

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


@documented_by(CrossValidated)
class LogisticRegressionCV(CrossValidated, LogisticRegression):
    """Logistic regression that chooses the penalty by cross-validation.

    Parameters
    ----------
    Cs : int or array
        Number of inverse strengths from 1e-4 to 1e4, or the inverse strengths.
    l1_ratios : array or None
        Shares of the l1 penalty to choose from, from 0 to 1; None: l2 only.
    cv : int, splitter, iterable or None
        Number of folds or splitter, as in scikit-learn; None: five folds, stratified by class.
    scoring : {None, "accuracy", "neg_log_loss"}
        Score by which the penalty is chosen; None: accuracy.
    class_weight : dict, "balanced" or None
        Weights of the classes.
    refit : bool
        Whether to fit all rows with the chosen penalty. If False, ``coef_`` is the mean of the best coefficients of
        each fold.
    %(Parameters)s
    use_legacy_attributes : bool
        Whether attributes have the shapes of scikit-learn before 1.10.

    Attributes
    ----------
    classes_ : array of shape (classes,)
        Classes, sorted.
    coef_ : array of shape (1, features), or (classes, features) for more than two classes
        Coefficients.
    intercept_ : array of shape (1,) or (classes,)
        Intercepts; 0 without them.
    Cs_ : array of shape (Cs,)
        Inverse strengths.
    l1_ratios_ : array
        Shares of the l1 penalty.
    C_, l1_ratio_ : array of shape (1,) or (classes,)
        The chosen ones. Without legacy attributes a number.
    scores_ : dict of arrays of shape (folds, Cs) or (folds, Cs, l1_ratios)
        Scores by class; each class has the same. Without legacy attributes one array of shape (folds, l1_ratios, Cs).
    coefs_paths_ : dict of arrays of shape (folds, Cs, features + 1) or (folds, Cs, l1_ratios, features + 1)
        Coefficients by class; the intercept is last. Without legacy attributes one array of shape
        (folds, l1_ratios, Cs, classes, features + 1), with one class for two.
    n_iter_ : array of shape (1, folds, Cs) or (1, folds, Cs, l1_ratios)
        Numbers of iterations. Without legacy attributes of shape (folds, l1_ratios, Cs).

    Examples
    --------
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["a", "a", "b", "b"]
    >>> model = LogisticRegressionCV(Cs=[0.1, 1.0], cv=2).fit(X, y)
    >>> model.predict([[-5.0], [9.0]]).tolist()
    ['a', 'b']
    """

    def __init__(
        self,
        *,
        Cs: Any = 10,
        l1_ratios: Any = None,
        fit_intercept: bool = True,
        cv: Any = None,
        scoring: str | None = None,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int = 1000,
        class_weight: Any = None,
        refit: bool = True,
        executor: Executor | None = None,
        verbose: Any = False,
        use_legacy_attributes: bool = True,
    ) -> None:
        super().__init__(fit_intercept, cv, solver, tol, max_iter, executor, verbose)
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.scoring = scoring
        self.class_weight = class_weight
        self.refit = refit
        self.use_legacy_attributes = use_legacy_attributes

    # Parameters of the base, which are chosen here.
    penalty = "auto"
    C = 1.0
    l1_ratio: float | None = 0.0

    C_: Any  # a number for two classes, else one for each class
    l1_ratio_: Any
    coefs_paths_: Any
    scores_: Any

    def _penalty(self, weight: float) -> Penalty:
        c, ratio = self._chosen
        return elastic_net(1.0 / (c * weight), ratio)

    def _choose(self, sums: Sums, coding: Coding, family: Family, facts: list[BlockFacts]) -> None:
        cs = np.logspace(-4, 4, int(self.Cs)) if np.ndim(self.Cs) == 0 else np.asarray(self.Cs, dtype=np.float64)
        ratios = np.array([0.0]) if self.l1_ratios is None else np.asarray(self.l1_ratios, dtype=np.float64)
        start = Objective(sums, family, Penalty(), self.fit_intercept).start(0.0)
        folds = self._folds(sums)
        found = each_fold(lambda fold: self._path(folds, fold, family, coding, cs, ratios, start), folds.number, sums)
        # Shapes (folds, ratios, Cs, ...).
        thetas, scores, n_iter = (np.array(each) for each in zip(*found))
        mean = scores.mean(axis=0)
        # The first of the best is that of the least C, as scikit-learn has it.
        c, ratio = np.unravel_index(np.argmax(mean.T), mean.T.shape)
        self._chosen: tuple[float, float] = (float(cs[c]), float(ratios[ratio]))
        self._first = thetas[:, ratio, c].mean(axis=0)
        self._found = (cs, ratios, thetas, scores, n_iter)

    def _path(
        self, folds: Folds, fold: int, family: Family, coding: Coding, cs: Array, ratios: Array, start: Array
    ) -> tuple[Array, Array, Array]:
        """Return parameters, scores and iterations of a fold's fits, by ratio and C."""
        training = folds.train(fold)
        weight = float(training.sums(family, self.fit_intercept, start, 0)[0])
        self._check_weight(weight, fold, "training")
        order = np.argsort(cs, kind="stable")
        thetas = np.empty((len(ratios), len(cs), len(start)))
        n_iter = np.empty((len(ratios), len(cs)), dtype=np.int32)
        for number, ratio in enumerate(ratios):
            penalties = [elastic_net(1.0 / (cs[i] * weight), ratio) for i in order]
            thetas[number, order], n_iter[number, order] = self._follow(training, family, penalties, start, coding)
        flat = thetas.reshape(-1, len(start))
        found = folds.test(fold, block_hits, flat, self.fit_intercept, family, coding.class_weights)
        self._check_weight(float(found[0]), fold, "test")
        hits, losses = np.split(found[1:] / found[0], 2)
        scores = -losses if self.scoring == "neg_log_loss" else hits
        return thetas, scores.reshape(n_iter.shape), n_iter

    def _fit_coded(self, blocks: list[Any], coding: Coding, facts: list[BlockFacts]) -> Any:
        try:
            super()._fit_coded(blocks, coding, facts)
            self._publish(coding, *self._found)
        finally:
            for name in ("_found", "_chosen"):
                self.__dict__.pop(name, None)
        return self

    def _publish(self, coding: Coding, cs: Array, ratios: Array, thetas: Array, scores: Array, n_iter: Array) -> None:
        """Set the attributes that scikit-learn has."""
        outputs = coding.family.outputs
        plain = np.array(
            [without_center(theta, coding.center, outputs) for theta in thetas.reshape(-1, thetas.shape[3])]
        )
        paths = plain.reshape(*scores.shape, -1, outputs).swapaxes(3, 4)  # folds, ratios, Cs, classes, parameters
        if outputs > 1 and self.fit_intercept:
            paths[..., -1] -= paths[..., -1].mean(axis=-1, keepdims=True)
        chosen = np.array([self._chosen])
        if not self.refit:
            best = [np.unravel_index(np.argmax(each.T), each.T.shape) for each in scores]
            chosen = np.array([[cs[c], ratios[ratio]] for c, ratio in best]).mean(axis=0, keepdims=True)
            mean = np.mean([paths[fold, ratio, c] for fold, (c, ratio) in enumerate(best)], axis=0)
            self.coef_: Array = mean[:, : self.n_features_in_]
            self.intercept_: Array = mean[:, -1] if self.fit_intercept else np.zeros(outputs)
            self._statistics_ = None
        self.Cs_ = cs
        self.l1_ratios_ = ratios
        if not self.use_legacy_attributes:
            self.C_, self.l1_ratio_ = map(float, chosen[0])
            self.coefs_paths_, self.scores_, self.n_iter_ = paths, scores, n_iter
            return
        self.C_, self.l1_ratio_ = np.repeat(chosen.T, outputs, axis=1)
        names = self.classes_ if outputs > 1 else self.classes_[1:]
        paths, scores, n_iter = (np.swapaxes(each, 1, 2) for each in (paths, scores, n_iter))
        if self.l1_ratios is None:
            paths, scores, n_iter = paths[:, :, 0], scores[:, :, 0], n_iter[:, :, 0]
        self.coefs_paths_ = {name: paths[..., number, :] for number, name in enumerate(names)}
        self.scores_ = {name: scores.copy() for name in names}
        self.n_iter_: Any = n_iter[None]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, offset: Any = None) -> float:
        """Return the score that ``scoring`` names: accuracy, or minus the log loss.

        Parameters
        ----------
        X, y, sample_weight, offset
            As for ``fit``.

        Returns
        -------
        float
            Higher is better.

        Raises
        ------
        ValueError
            If ``scoring`` is ``"neg_log_loss"`` and ``X`` is a collection.
        """
        if self.scoring != "neg_log_loss":
            return super().score(X, y, sample_weight, offset=offset)
        if kind_of(X) != "array":
            raise ValueError(
                "LogisticRegressionCV(scoring='neg_log_loss') scores arrays in this process only: collect what "
                "predict_proba gives, or take scoring='accuracy'"
            )
        values = {"y": y, "sample_weight": sample_weight, "offset": offset}
        X, (y, sample_weight, offset) = self._without_named(X, values)
        probabilities = self.predict_proba(X, offset=offset)
        return -float(log_loss(y, probabilities, labels=self.classes_, sample_weight=sample_weight))
