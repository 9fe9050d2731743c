"""Estimators: scikit-learn's checks, its answers, its errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")
import pandas
import scipy.sparse
from sklearn import linear_model
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from futures_cluster import glm

#: Few strengths, and folds for the few rows of scikit-learn's checks.
SHORT: dict[str, dict[str, Any]] = {
    "ElasticNetCV": {"alphas": 5},
    "LassoCV": {"alphas": 5},
    "LogisticRegressionCV": {"Cs": 3, "cv": 3},
}
ALL = [getattr(glm, name)(**SHORT.get(name, {})) for name in glm.__all__]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ALL)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 4)) * [1, 2, 0.5, 1]
ETA = X @ [0.5, -0.3, 0.8, 0.0] + 0.2
TWO = np.where(RNG.random(150) < 1 / (1 + np.exp(-ETA)), "yes", "no")
THREE = np.array(["a", "b", "c"])[np.argmax(np.outer(ETA, [0, 1, -1]) + RNG.gumbel(size=(150, 3)), axis=1)]
REAL = ETA + RNG.standard_normal(150)
COUNTS = RNG.poisson(np.exp(ETA)).astype(float)
POSITIVE = RNG.gamma(2.0, np.exp(ETA) / 2)
WEIGHTS = RNG.random(150) * 3

SAME: list[tuple[Any, Any, Any]] = [
    (glm.LogisticRegression(), linear_model.LogisticRegression(tol=1e-10, max_iter=10_000), TWO),
    (glm.LogisticRegression(C=0.1), linear_model.LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000), THREE),
    (
        glm.LogisticRegression(class_weight="balanced", C=2.0),
        linear_model.LogisticRegression(class_weight="balanced", C=2.0, tol=1e-10, max_iter=10_000),
        TWO,
    ),
    (
        glm.LogisticRegression(class_weight={"a": 3.0}, fit_intercept=False),
        linear_model.LogisticRegression(class_weight={"a": 3.0}, fit_intercept=False, tol=1e-10, max_iter=10_000),
        THREE,
    ),
    (glm.LinearRegression(), linear_model.LinearRegression(), REAL),
    (glm.LinearRegression(fit_intercept=False), linear_model.LinearRegression(fit_intercept=False), REAL),
    (glm.Ridge(alpha=3.0), linear_model.Ridge(alpha=3.0), REAL),
    (glm.Lasso(alpha=0.1), linear_model.Lasso(alpha=0.1, tol=1e-12), REAL),
    (
        glm.ElasticNet(alpha=0.2, l1_ratio=0.3),
        linear_model.ElasticNet(alpha=0.2, l1_ratio=0.3, tol=1e-12),
        REAL,
    ),
    (glm.PoissonRegressor(alpha=0.5), linear_model.PoissonRegressor(alpha=0.5, tol=1e-10, max_iter=10_000), COUNTS),
    (glm.GammaRegressor(), linear_model.GammaRegressor(tol=1e-10, max_iter=10_000), POSITIVE),
    (
        glm.TweedieRegressor(power=1.5, alpha=0.1),
        linear_model.TweedieRegressor(power=1.5, alpha=0.1, tol=1e-10, max_iter=10_000),
        COUNTS,
    ),
    (glm.TweedieRegressor(power=3), linear_model.TweedieRegressor(power=3, tol=1e-10, max_iter=10_000), POSITIVE),
    (glm.TweedieRegressor(), linear_model.TweedieRegressor(tol=1e-10, max_iter=10_000), REAL),
]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(("ours", "theirs", "y"), SAME, ids=lambda value: getattr(type(value), "__name__", None))
def test_the_same_as_scikit_learn(ours: Any, theirs: Any, y: Any, weights: Any) -> None:
    ours, theirs = clone(ours).fit(X, y, weights), clone(theirs).fit(X, y, weights)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-5)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-5)
    assert np.shape(ours.coef_) == np.shape(theirs.coef_)
    assert ours.score(X, y, weights) == pytest.approx(theirs.score(X, y, weights), abs=1e-4)
    for method in ("predict_proba", "decision_function"):
        if hasattr(theirs, method):
            np.testing.assert_allclose(getattr(ours, method)(X), getattr(theirs, method)(X), atol=1e-4)
    np.testing.assert_allclose(ours.fit(scipy.sparse.csr_matrix(X), y, weights).coef_, theirs.coef_, atol=2e-5)


@pytest.mark.parametrize("solver", ["newton-cholesky", "liblinear", "saga", "lbfgs"])
def test_names_of_solvers_of_scikit_learn(solver: str) -> None:
    model = glm.LogisticRegression(solver=solver).fit(X, TWO)
    np.testing.assert_allclose(model.coef_, glm.LogisticRegression().fit(X, TWO).coef_, atol=1e-4)


def test_the_penalty_by_its_older_name() -> None:
    by_name = glm.LogisticRegression("l1", C=0.5).fit(X, TWO)
    by_ratio = glm.LogisticRegression(l1_ratio=1.0, C=0.5).fit(X, TWO)
    np.testing.assert_array_equal(by_name.coef_, by_ratio.coef_)
    none = glm.LogisticRegression(None).fit(X, TWO)
    np.testing.assert_array_equal(none.coef_, glm.LogisticRegression(C=np.inf).fit(X, TWO).coef_)


def test_float32_rows_give_the_answer_of_doubles() -> None:
    narrow = X.astype(np.float32)
    model = glm.LogisticRegression().fit(narrow, TWO)
    np.testing.assert_allclose(model.coef_, glm.LogisticRegression().fit(narrow.astype(float), TWO).coef_, rtol=1e-12)


def test_names_of_columns_are_kept() -> None:
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = glm.PoissonRegressor().fit(frame, COUNTS)
    assert list(model.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("dcba")])


def test_pipelines_grids_and_pickles() -> None:
    grid = GridSearchCV(make_pipeline(StandardScaler(), glm.LogisticRegression()), {"logisticregression__C": [0.1, 1]})
    grid.fit(X, TWO)
    assert grid.best_score_ > 0.6
    again = pickle.loads(pickle.dumps(grid.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), grid.predict(X))


def test_a_warm_start_takes_the_last_coefficients() -> None:
    model = glm.PoissonRegressor(warm_start=True).fit(X, COUNTS)
    first = model.n_iter_
    assert model.fit(X, COUNTS).n_iter_ <= first
    assert len(model.history_["objective"]) == 1


@pytest.mark.parametrize(
    ("model", "x", "y", "message"),
    [
        (glm.LogisticRegression(), X, np.full(150, "a"), "only one class"),
        (glm.LogisticRegression(), X, REAL, "Unknown label type"),
        (glm.LogisticRegression(), X[:10], TWO, "inconsistent numbers of samples"),
        (glm.LogisticRegression(), np.where(X > 2, np.nan, X), TWO, "contains NaN"),
        (glm.LogisticRegression(), X[:0], TWO[:0], "0 sample"),
        (glm.LogisticRegression(), [["a"], ["b"]], [0, 1], "could not convert string"),
        (glm.LogisticRegression(C=0), X, TWO, "C must be a positive number"),
        (glm.LogisticRegression(solver="simplex"), X, TWO, "solver must be"),
        (glm.LogisticRegression(l1_ratio=1.0, solver="lbfgs"), X, TWO, "smooth penalty"),
        (glm.LogisticRegression(l1_ratio=2.0), X, TWO, "l1_ratio"),
        (glm.LogisticRegression(class_weight="equal"), X, TWO, "class_weight"),
        (glm.PoissonRegressor(), X, COUNTS - 1, "out of the valid range"),
        (glm.GammaRegressor(), X, COUNTS, "out of the valid range"),
        (glm.Ridge(), X, TWO, "target must be numbers"),
        (glm.Ridge(alpha=-1), X, REAL, "alpha must be"),
        (glm.Ridge(tol=-1), X, REAL, "tol must be"),
        (glm.Ridge(max_iter=0), X, REAL, "max_iter must be"),
        (glm.TweedieRegressor(power=0.5), X, REAL, "between 0 and 1"),
    ],
)
def test_bad_input_gets_the_error_that_is_expected(model: Any, x: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.fit(x, y)


def test_weights_that_make_no_sense() -> None:
    for weights, message in ((-WEIGHTS, "negative"), (WEIGHTS * np.nan, "NaN"), (0 * WEIGHTS, "zero")):
        with pytest.raises(ValueError, match=message):
            glm.Ridge().fit(X, REAL, weights)


def test_nan_in_many_rows_is_found_too() -> None:
    many = np.zeros((400_000, 3))
    many[:, 0] = np.arange(400_000) % 7
    y = np.arange(400_000) % 2
    for bad, message in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
        many[311_111, 1] = bad
        with pytest.raises(ValueError, match=message):
            glm.LogisticRegression().fit(many, y)


def test_an_executor_of_the_standard_library_is_refused() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="futures_cluster"):
        glm.Ridge(executor=pool).fit(X, REAL)
