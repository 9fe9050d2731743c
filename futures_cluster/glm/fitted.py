"""What a fitted model answers: predictions, scores, the table of its coefficients.

Covers: attributes that a fit sets, the linear predictor of rows, predictions and scores of collections, ``summary``.
Does not cover: fitting (``estimators``), what a single estimator predicts (``logistic``, ``regressors``), the
statistics of ``summary`` (``inference``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.categories import Encoding
from futures_cluster.glm.columns import Features, refuse_texts, without_named
from futures_cluster.glm.inference import Summary
from futures_cluster.glm.offsets import Offset
from futures_cluster.glm.predictions import predict_collection
from futures_cluster.glm.scores import score_collection

if TYPE_CHECKING:
    from futures_cluster.executor import Executor
    from futures_cluster.glm.solvers.base import Result


class FittedModel(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Part of ``LinearModel``: what needs a fit."""

    # Parameters; the others are those of ``LinearModel``.
    fit_intercept: bool
    executor: Executor | None

    # Known after ``fit``; some estimators have arrays where others have one number.
    feature_names_in_: Array
    n_features_in_: int
    coef_: Array
    intercept_: Array
    n_iter_: Any
    solver_: str
    objective_: float
    history_: dict[str, list[float]]

    _encoding_: Encoding | None = None  # of the last fit; None for rows without names of columns

    def _set_features(self, number: int, names: list[str] | None) -> None:
        self.n_features_in_ = number
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _set_result(self, solver: str, result: Result) -> None:
        self.solver_ = solver
        self.objective_ = result.objective
        self.history_ = result.history
        self.n_iter_ = result.n_iter

    def _set_coefficients(self, theta: Array) -> None:
        q = self.n_features_in_
        self.coef_ = np.ascontiguousarray(theta[:q, 0])
        self.intercept_ = float(theta[q, 0]) if self.fit_intercept else 0.0

    @property
    def columns_(self) -> list[str]:
        """Columns of tables that the fit read."""
        return self._table_encoding("columns_").columns

    @property
    def categories_(self) -> dict[str, Array]:
        """Levels of each category."""
        return dict(self._table_encoding("categories_").levels)

    def _table_encoding(self, name: str) -> Encoding:
        if self._encoding_ is None:
            raise AttributeError(f"{name} is there after a fit of a table with names of columns")
        return self._encoding_

    def _linear(self, X: Any, offset: Offset | None = None) -> Array:
        """Return the linear predictor of rows in this process."""
        check_is_fitted(self)
        names = None
        if offset is not None:
            X, (values,) = self._without_named(X, {offset.name: offset.values})
            offset = replace(offset, values=values)
        if self._encoding_ is not None:
            X, names = self._encoding_.encode_frame(X)
        if names is None:
            refuse_texts(X)
            X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        else:
            import pandas

            validate_data(self, pandas.DataFrame(columns=names), reset=False, skip_check_array=True)  # the names alone
            X = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
        eta = linear_predictor(X, self.coef_, self.intercept_)
        if offset is None:
            return eta
        numbers = offset.numbers(len(eta))
        return eta + (numbers if eta.ndim == 1 else numbers[:, None])

    def _without_named(self, X: Any, values: dict[str, Any]) -> tuple[Any, list[Any]]:
        """Return the columns of the fit, and values; see ``columns.without_named``."""
        features = Features() if self._encoding_ is None else self._encoding_.features
        return without_named(X, features, values)

    def _predict(self, X: Any, method: str, offset: Offset | None = None) -> Any:
        """Call a method for each block of a collection, where it is."""
        check_is_fitted(self)
        return predict_collection(self, X, method, self.executor, offset)

    def _score_collection(self, X: Any, y: Any, sample_weight: Any, offset: Offset | None = None) -> float:
        """Return the score of a collection."""
        check_is_fitted(self)
        return score_collection(self, X, y, sample_weight, self.executor, offset)

    def _losses(self, y: Array, prediction: Array) -> Array:
        """Return the loss of each row's prediction, which ``score`` sums."""
        raise NotImplementedError

    def _columns(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{i + 1}" for i in range(self.n_features_in_)] if names is None else [str(name) for name in names]

    def summary(self) -> Summary:
        """Return coefficients with standard errors, tests, intervals, deviance and AIC.

        Returns
        -------
        Summary
            A table to print, with an attribute for each column.

        Raises
        ------
        ValueError
            If the fit has a penalty, which biases coefficients, or several classes.
        """
        check_is_fitted(self)
        statistics = getattr(self, "_statistics_", None)
        if statistics is None:
            raise ValueError(
                "summary() needs a fit without penalty (C=np.inf, alpha=0, positive=False), of one output, with few "
                "enough columns"
            )
        columns = self._columns()
        coef = np.ravel(dense(self.coef_))
        if self.fit_intercept:
            columns = ["const", *columns]
            coef = np.concatenate([np.ravel(self.intercept_), coef])
        return Summary(
            self._family_, columns, coef, statistics, type(self).__name__, self.solver_, np.max(self.n_iter_)
        )


def linear_predictor(X: Any, coef: Array, intercept: Any) -> Array:
    """Return ``X @ coef + intercept`` in float64."""
    if not scipy.sparse.issparse(X) and X.dtype != np.float64:
        X = X.astype(np.float64)
    return dense(X @ coef.T) + intercept


def dense(matrix: Any) -> Array:
    """Return the matrix as an array, if it is sparse."""
    return matrix.toarray() if scipy.sparse.issparse(matrix) else matrix
