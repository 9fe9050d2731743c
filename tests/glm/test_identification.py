"""Columns that do not determine the coefficients: the shortest ones, as least squares has them, and no more said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import scipy.linalg
import scipy.sparse
from sklearn import linear_model

from futures_cluster import Executor, glm
from futures_cluster.glm.solvers.linear import Factor

RNG = np.random.default_rng(0)
N = 60
X = RNG.standard_normal((N, 4)) + [0.0, 1.0, 5.0, -2.0]
Y = X @ [1.0, -2.0, 0.5, 3.0] + RNG.standard_normal(N) + 5.0
WEIGHTS = RNG.random(N) + 0.1
WIDE = RNG.standard_normal((30, 80)) + 3.0
SINGULAR: dict[str, Any] = {
    "two equal columns": np.column_stack([X, X[:, 0]]),
    "three equal columns": np.column_stack([X, X[:, 0], X[:, 0]]),
    "a combination": np.column_stack([X, X @ [1.0, 1.0, -1.0, 0.0] + 7.0]),
    "a constant column": np.column_stack([np.full(N, 5.0), X]),
    "nothing but rounding": np.column_stack([X, 0.3 + 5e-17 * RNG.integers(-1, 2, N)]),
    "all classes of a category": np.column_stack([np.eye(5)[RNG.integers(0, 5, N)], X[:, 0]]),
    "constants only": np.full((N, 3), [0.1, 1e9, 0.0]),
    "as many parameters as rows": X[:5],
    "as many columns as rows": X[:4],
    "more columns than rows": WIDE,
    "more columns in several units": WIDE * np.logspace(-1.0, 1.0, 80),
    "one row": X[:1],
    "the same a thousand years on": np.column_stack([X[:, 0] + 2020.0, X[:, 0] + 3020.0, X]),
}


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(1, backend="threads") as ex:
        ex.run(int)
        yield ex


def shortest(x: Any, y: Any, weights: Any = None, intercept: bool = True) -> Any:
    weights = np.ones(len(y)) if weights is None else weights
    if intercept:
        x = x - np.average(x, axis=0, weights=weights)
        x[:, np.ptp(x, axis=0) < 1e-15] = 0.0
        y = y - np.average(y, weights=weights)
    return np.linalg.pinv(np.sqrt(weights)[:, None] * x, rcond=1e-12) @ (np.sqrt(weights) * y)


@pytest.mark.parametrize("form", ["dense", "no intercept", "weighted", "sparse", "executor"])
@pytest.mark.parametrize("case", SINGULAR)
def test_the_shortest_coefficients(case: str, form: str, executor: Executor) -> None:
    x = SINGULAR[case]
    y = Y[: len(x)]
    intercept = form != "no intercept"
    weights = WEIGHTS[: len(x)] if form == "weighted" else None
    model = glm.LinearRegression(fit_intercept=intercept, executor=executor if form == "executor" else None)
    model.fit(scipy.sparse.csr_matrix(x) if form == "sparse" else x, y, weights)
    expected = shortest(x, y, weights, intercept)
    if case == "constants only" and form in ("dense", "sparse", "executor", "weighted"):
        expected = np.zeros(3)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-8 * max(1.0, np.max(np.abs(expected))))


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "gradient_descent", "admm"])
@pytest.mark.parametrize("case", ["two equal columns", "a constant column", "more columns than rows"])
def test_whatever_the_solver(case: str, solver: str) -> None:
    x = SINGULAR[case][:, :20]
    x = x[:10] if case == "more columns than rows" else x
    y = Y[: len(x)]
    model = glm.LinearRegression(solver=solver, warm_start=True).fit(x, y)
    np.testing.assert_allclose(model.coef_, shortest(x, y), atol=1e-5)
    model.coef_ = model.coef_ + 1.0  # a warm start adds nothing either
    np.testing.assert_allclose(model.fit(x, y).coef_, shortest(x, y), atol=1e-5)


def test_the_same_as_scikit_learn() -> None:
    y = Y[:30]
    theirs = linear_model.LinearRegression().fit(WIDE, y)
    ours = glm.LinearRegression().fit(WIDE, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
    assert ours.intercept_ == pytest.approx(theirs.intercept_)


def test_too_many_columns_for_a_hessian() -> None:
    x = np.random.default_rng(1).standard_normal((20, 2100)) + 3.0
    y = Y[:20]
    np.testing.assert_allclose(glm.LinearRegression().fit(x, y).coef_, shortest(x, y), atol=1e-8)


@pytest.mark.parametrize("seed", range(12))
def test_rounding_errors_of_means_are_no_information(seed: int) -> None:
    # Means below those that are centred make products a hundred times as large as what varies.
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3000, 4)) + rng.uniform(5.0, 10.0, 4)
    x = np.column_stack([x, x[:, 0], x.sum(axis=1)])
    y = x[:, 5] + rng.standard_normal(3000)
    np.testing.assert_allclose(glm.LinearRegression().fit(x, y).coef_, shortest(x, y), atol=1e-6)


@pytest.mark.parametrize("units", [1.0, 1e8, 1e-8])
def test_units_do_not_mix(units: float) -> None:
    scale = np.array([units, 1 / units, 1.0, 1.0])
    x = np.column_stack([X * scale, X[:, 0] * units, X[:, 1] / units])
    coef = glm.LinearRegression().fit(x, Y).coef_ * [*scale, units, 1 / units]
    plain = shortest(X, Y)
    np.testing.assert_allclose(coef, [*plain[:2] / 2, *plain[2:], *plain[:2] / 2], rtol=1e-6)


@pytest.mark.parametrize("name", ["PoissonRegressor", "GammaRegressor", "LogisticRegression"])
def test_other_families_share_equally_among_equal_columns(name: str) -> None:
    y = {"LogisticRegression": Y + RNG.standard_normal(N) * 9 > 5}.get(name, np.round(np.abs(Y)) + 1.0)
    options = {"C": np.inf} if name == "LogisticRegression" else {"alpha": 0}
    model = getattr(glm, name)(**options).fit(SINGULAR["two equal columns"], y)
    plain = np.ravel(getattr(glm, name)(**options).fit(X, y).coef_)
    np.testing.assert_allclose(np.ravel(model.coef_), [plain[0] / 2, *plain[1:], plain[0] / 2], atol=1e-6)


def test_differences_that_doubles_cannot_resolve_are_pointed_out() -> None:
    hidden = RNG.standard_normal(N)
    x = np.column_stack([X, X[:, 0] + 1e-9 * hidden])
    with pytest.warns(scipy.linalg.LinAlgWarning, match="columns x1, x5 are collinear but for differences"):
        model = glm.LinearRegression().fit(x, Y + hidden)
    assert np.all(np.isnan(model.summary().std_err[[1, 5]]))
    # So they are without an intercept, where a constant hides the rest.
    seconds = np.column_stack([np.ones(N), 1.7e9 + np.arange(N)])
    with pytest.warns(scipy.linalg.LinAlgWarning, match="x1, x2"):
        glm.LinearRegression(fit_intercept=False).fit(seconds, Y)


def test_differences_that_doubles_resolve_are_used() -> None:
    hidden = RNG.standard_normal(N)
    x = np.column_stack([X, X[:, 0] + 1e-5 * hidden])
    model = glm.LinearRegression().fit(x, Y + hidden)
    assert model.score(x, Y + hidden) == pytest.approx(
        linear_model.LinearRegression().fit(x, Y + hidden).score(x, Y + hidden)
    )


def test_only_what_is_determined_has_standard_errors() -> None:
    summary = glm.LinearRegression().fit(SINGULAR["two equal columns"], Y).summary()
    plain = glm.LinearRegression().fit(X, Y).summary()
    assert np.all(np.isnan(summary.std_err[[1, 5]])) and np.all(np.isnan(summary.p_values[[1, 5]]))
    np.testing.assert_allclose(summary.std_err[[0, 2, 3, 4]], plain.std_err[[0, 2, 3, 4]], rtol=1e-8)
    assert summary.df_residual == plain.df_residual == N - 5
    assert summary.aic == pytest.approx(plain.aic)
    assert "no standard errors: x1, x5" in str(summary)
    # Of a constant column and the intercept neither is determined.
    summary = glm.LinearRegression().fit(SINGULAR["a constant column"], Y).summary()
    np.testing.assert_allclose(summary.std_err, [np.nan, np.nan, *plain.std_err[1:]], rtol=1e-8)


@pytest.mark.parametrize("name", ["LinearRegression", "GammaRegressor", "PoissonRegressor"])
@pytest.mark.parametrize("rows", [3, 4, 5])
def test_without_degrees_of_freedom_there_is_no_inference(name: str, rows: int) -> None:
    options = {} if name == "LinearRegression" else {"alpha": 0}
    summary = getattr(glm, name)(**options).fit(X[:rows], np.abs(Y[:rows]) + 1).summary()
    assert summary.df_residual == 0
    for each in (summary.std_err, summary.statistic, summary.p_values, summary.intervals):
        assert np.all(np.isnan(each))
    assert "no residual degrees of freedom" in str(summary)


def test_a_factor_leaves_intercepts_out_of_the_length() -> None:
    x = RNG.standard_normal((3, 6)) + 1.0
    full = np.column_stack([x, np.ones(3)])
    factor = Factor(full.T @ full, n_free=1)
    assert not factor.is_definite and factor.null.shape[1] == 4
    np.testing.assert_allclose(full @ factor.null, 0.0, atol=1e-12)
    step = factor.solve(full.T @ Y[:3])
    np.testing.assert_allclose(step[:6], shortest(x, Y[:3]), atol=1e-10)
    np.testing.assert_allclose(full @ step, Y[:3], atol=1e-10)
