"""``LogisticRegression``: two classes or more.

Covers: the estimator. Does not cover: the losses (``families``), the coding of classes (``targets``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.block_facts import BlockFacts
from futures_cluster.glm.columns import features_of
from futures_cluster.glm.estimators import LinearModel
from futures_cluster.glm.families import Bernoulli, Multinomial
from futures_cluster.glm.fitted import dense
from futures_cluster.glm.offsets import Offset
from futures_cluster.glm.parameters import bad_value, documented_by, refuse_in_fit
from futures_cluster.glm.penalties import Penalty, elastic_net
from futures_cluster.glm.sources import kind_of
from futures_cluster.glm.targets import (
    Coding,
    all_classes,
    class_counts,
    warn_of_weightless,
    weighted_classes,
    weights_of_classes,
)

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


@documented_by(LinearModel)
class LogisticRegression(ClassifierMixin, LinearModel):  # type: ignore[misc]  # scikit-learn has no types
    """Logistic regression, binary or multinomial.

    It minimizes ``C * sum(w_i * loss_i) + (1 - l1_ratio) / 2 * |b|^2 + l1_ratio * |b|_1``, with scikit-learn's meaning
    of all parameters. More than two classes share one multinomial model, with a column of coefficients each.

    Parameters
    ----------
    penalty : {"auto", "deprecated", "l2", "l1", "elasticnet", None}
        Kind of penalty, as in older versions of scikit-learn. ``"auto"`` and ``"deprecated"`` follow ``C`` and
        ``l1_ratio``.
    C : float
        Inverse strength of the penalty; ``np.inf`` means none.
    l1_ratio : float
        Share of the l1 penalty, from 0 to 1.
    class_weight : dict, "balanced" or None
        Weights of the classes.
    %(Parameters)s
    n_jobs : int or None
        Maximum number of threads for rows in this process; -1 and None: one for each core.
    dual, intercept_scaling, random_state
        Accepted without effect: the minimum does not depend on them. (No solver penalizes the intercept, as
        scikit-learn's ``"liblinear"`` does.)

    Attributes
    ----------
    classes_ : array of shape (classes,)
        Classes, sorted.
    coef_ : array of shape (1, features), or (classes, features) for more than two classes
        Coefficients.
    intercept_ : array of shape (1,) or (classes,)
        Intercepts; 0 without them.
    n_iter_ : array of shape (1,)
        Number of iterations.
    solver_ : str
        Name of the solver that ran.
    objective_ : float
        Value of the objective, in the units of the mean loss.
    history_ : dict of lists
        ``objective``, ``gradient_norm`` and ``seconds`` of each iteration.

    Examples
    --------
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["a", "b", "a", "b"]
    >>> model = LogisticRegression(C=1.0).fit(X, y)
    >>> model.predict([[-5.0], [9.0]]).tolist()
    ['a', 'b']
    """

    _wants_classes = True

    def __init__(
        self,
        penalty: Any = "auto",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str = "auto",
        tol: float = 1e-11,
        max_iter: int | None = 1000,
        warm_start: bool = False,
        executor: Executor | None = None,
        callback: Any = None,
        verbose: Any = False,
        n_jobs: int | None = None,
        dual: bool = False,
        intercept_scaling: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.executor = executor
        self.callback = callback
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.dual = dual
        self.intercept_scaling = intercept_scaling
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.l1_ratio is None and self.penalty == "elasticnet":
            raise bad_value(self, "l1_ratio", "a number from 0 (l2) to 1 (l1) with penalty='elasticnet'")

    def _coding(self, facts: list[BlockFacts], counts: Any) -> Coding:
        for each in facts:
            if each.classes is not None and len(each.classes):
                check_classification_targets(each.classes)
        classes = all_classes(facts)
        self.classes_ = classes
        family = Bernoulli() if len(classes) == 2 else Multinomial(len(classes))
        self._class_weight_sum: float | None = None
        if self.class_weight is None:
            warn_of_weightless(classes, weighted_classes(facts), type(self).__name__)
            return Coding(family, classes)
        counted = counts(classes, class_counts)
        weights = weights_of_classes(self.class_weight, classes, counted, type(self).__name__)
        warn_of_weightless(classes, classes[weights * counted > 0], type(self).__name__)
        self._class_weight_sum = float(weights @ counted)
        return Coding(family, classes, weights)

    def _total_weight(self, facts: list[BlockFacts]) -> float:
        return super()._total_weight(facts) if self._class_weight_sum is None else self._class_weight_sum

    def _penalty(self, weight: float) -> Penalty:
        ratio = {"l2": 0.0, "l1": 1.0}.get(self.penalty, self.l1_ratio or 0.0)
        return Penalty() if self.penalty is None else elastic_net(1.0 / (self.C * weight), ratio)

    def _set_coefficients(self, theta: Array) -> None:
        q = self.n_features_in_
        self.coef_: Array = np.ascontiguousarray(theta[:q].T)
        self.intercept_: Any = theta[q].copy() if self.fit_intercept else np.zeros(theta.shape[1])
        if theta.shape[1] > 1 and self.fit_intercept:
            # A constant added to all of them changes no probability.
            self.intercept_ -= self.intercept_.mean()
        self.n_iter_: Any = np.array([self.n_iter_], dtype=np.int32)

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
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
            Known part of the log odds of each row, with the coefficient 1; only for two classes.
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
            If a parameter, a target or a weight is out of range or has the wrong type, or if an offset has more than
            two classes.
        """
        refuse_in_fit(self, unknown)
        return self._fit(X, y, sample_weight, features_of(columns, categories, drop_first), _given(offset))

    def sparsify(self) -> Self:
        """Convert ``coef_`` to a sparse matrix.

        It is smaller if most coefficients are zero, as with an l1 penalty.

        Returns
        -------
        self
            The fitted estimator.
        """
        check_is_fitted(self)
        self.coef_ = scipy.sparse.csr_matrix(self.coef_)
        return self

    def densify(self) -> Self:
        """Convert ``coef_`` back to an array.

        Returns
        -------
        self
            The fitted estimator.
        """
        check_is_fitted(self)
        self.coef_ = dense(self.coef_)
        return self

    def decision_function(self, X: Any, *, offset: Any = None) -> Any:
        """Return the linear predictor of each row.

        Parameters
        ----------
        X : array or collection
            Rows, as ``fit`` takes them.
        offset
            As for ``fit``.

        Returns
        -------
        array or collection
            Shape ``(rows,)`` for two classes, else ``(rows, classes)``; for a collection the same kind of collection.
        """
        if kind_of(X) != "array":
            return self._predict(X, "decision_function", _given(offset))
        scores = self._linear(X, _given(offset))
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array or collection
            Rows, as ``fit`` takes them.
        offset
            As for ``fit``.

        Returns
        -------
        array or collection
            Shape ``(rows, classes)``, in the order of ``classes_``; for a collection the same kind of collection.
        """
        if kind_of(X) != "array":
            return self._predict(X, "predict_proba", _given(offset))
        scores = self._linear(X, _given(offset))
        if scores.shape[1] > 1:
            return Multinomial(scores.shape[1]).mean(scores)
        family = Bernoulli()
        return np.column_stack([family.mean(-scores[:, 0]), family.mean(scores[:, 0])])

    def predict_log_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array or collection
            Rows, as ``fit`` takes them.
        offset
            As for ``fit``.

        Returns
        -------
        array or collection
            As of ``predict_proba``.
        """
        if kind_of(X) != "array":
            return self._predict(X, "predict_log_proba", _given(offset))
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X, offset=offset))

    def predict(self, X: Any, *, offset: Any = None) -> Any:
        """Predict the most probable class of each row.

        Parameters
        ----------
        X : array or collection
            Rows, as ``fit`` takes them.
        offset
            As for ``fit``.

        Returns
        -------
        array or collection
            One class for each row; for a collection the same kind of collection.
        """
        if kind_of(X) != "array":
            return self._predict(X, "predict", _given(offset))
        scores = self.decision_function(X, offset=offset)
        return self.classes_[(scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None, *, offset: Any = None) -> float:
        """Return the accuracy: the share of rows, by weight, with the right class.

        Parameters
        ----------
        X, y, sample_weight, offset
            As for ``fit``.

        Returns
        -------
        float
            From 0 to 1.
        """
        if kind_of(X) != "array":
            return self._score_collection(X, y, sample_weight, _given(offset))
        values = {"y": y, "sample_weight": sample_weight, "offset": offset}
        X, (y, sample_weight, offset) = self._without_named(X, values)
        return float(accuracy_score(y, self.predict(X, offset=offset), sample_weight=sample_weight))

    def _losses(self, y: Array, prediction: Array) -> Array:
        return np.asarray(y != prediction, dtype=np.float64)


def _given(offset: Any) -> Offset | None:
    return None if offset is None else Offset("offset", offset)
