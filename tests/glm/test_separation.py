"""Targets that columns predict with certainty: a warning that names the columns, for every solver and family."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from futures_cluster import Executor, glm

RNG = np.random.default_rng(0)
N = 400
X = RNG.standard_normal((N, 3))
X[:, 2] = RNG.random(N) < 0.05
RARE = X[:, 2] == 1
NOISE = RNG.logistic(size=N)
OVERLAP = X[:, 0] + NOISE > 0
COUNTS = RNG.poisson(np.exp(0.3 * X[:, 0])).astype(float)
GROUPS = np.eye(4)[RNG.integers(0, 4, N)]
CASES: dict[str, tuple[Any, Any, Any, str]] = {
    "completely": (glm.LogisticRegression(C=np.inf), X, X[:, 0] > 0.1, "the column x1 separates the targets compl"),
    "a rare column": (glm.LogisticRegression(C=np.inf), X, OVERLAP | RARE, "the column x3 separates some targets"),
    "a combination": (
        glm.LogisticRegression(C=np.inf),
        X,
        X[:, 0] + X[:, 1] > 0,
        "the columns x1, x2 separates the targets completely",
    ),
    "a group": (
        glm.LogisticRegression(C=np.inf),
        GROUPS[:, 1:],
        OVERLAP & (GROUPS[:, 2] == 0),
        "the column x2 separates some",
    ),
    "one of three classes": (
        glm.LogisticRegression(C=np.inf),
        X,
        np.where(RARE, 2, np.digitize(X[:, 0] + NOISE, [-1, 1])),
        "the column x3 separates some",
    ),
    "three classes": (
        glm.LogisticRegression(C=np.inf),
        X[:, 1:],
        np.digitize(X[:, 1], [-1, 1]),
        "separates the targets completely",
    ),
    "zero counts": (glm.PoissonRegressor(alpha=0), X, np.where(RARE, 0, COUNTS), "the column x3 separates some"),
    "zero amounts": (
        glm.TweedieRegressor(power=1.5, alpha=0),
        X,
        np.where(RARE, 0, COUNTS),
        "the column x3 separates some",
    ),
    "without an intercept": (
        glm.LogisticRegression(C=np.inf, fit_intercept=False),
        X,
        OVERLAP | RARE,
        "the column x3 separates some",
    ),
    "seconds": (
        glm.LogisticRegression(C=np.inf),
        X * [100, 1, 1] + [1.7e9, 0, 0],
        X[:, 0] > 0.1,
        "the column x1 separates the targets completely",
    ),
}


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(1, backend="threads") as ex:
        ex.run(int)
        yield ex


@pytest.mark.parametrize("form", ["dense", "sparse", "executor"])
@pytest.mark.parametrize("case", CASES)
def test_the_columns_are_named(case: str, form: str, executor: Executor) -> None:
    model, x, y, message = CASES[case]
    model.set_params(executor=executor if form == "executor" else None)
    with pytest.warns(ConvergenceWarning, match=message):
        model.fit(scipy.sparse.csr_matrix(x) if form == "sparse" else x, y)


@pytest.mark.parametrize(
    ("solver", "case"),
    [(solver, case) for solver in ("newton", "lbfgs", "gradient_descent") for case in ("completely", "a rare column")]
    + [("admm", "a rare column")],  # completely separated rows take it very many iterations
)
def test_whatever_the_solver(solver: str, case: str) -> None:
    _, x, y, message = CASES[case]
    model = glm.LogisticRegression(C=np.inf, solver=solver, tol=1e-6, max_iter=100)
    with pytest.warns(ConvergenceWarning) as caught:  # some need more iterations, too
        model.fit(x, y)
    column = message.split()[2]
    assert any("separates" in str(each.message) and column in str(each.message) for each in caught)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9, 1e-11])
def test_no_warning_where_there_is_an_optimum(tol: float) -> None:
    # A row far away is predicted with certainty, and the others are not; one rare row is an exception.
    far = X.copy()
    far[0] = [1e6, 0.0, 0.0]
    exception = OVERLAP | RARE
    exception[np.flatnonzero(RARE)[0]] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        glm.LogisticRegression(C=np.inf).fit(far, exception | (far[:, 0] > 1e5))
        glm.LogisticRegression(C=np.inf, tol=tol).fit(X, np.arange(N) % 3)
        glm.LogisticRegression(C=1e3, tol=tol).fit(X, OVERLAP | RARE)
        glm.PoissonRegressor(alpha=0, tol=tol).fit(X, np.where(exception, COUNTS + 1, 0))
        glm.GammaRegressor(alpha=0, tol=tol).fit(X, COUNTS + 1)
        glm.LinearRegression(tol=tol).fit(X, X[:, 0])


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
def test_no_warning_because_of_an_early_stop(tol: float, solver: str) -> None:
    """A row far out pulls a coefficient, and others hold it back; the way to the optimum is long."""
    x = X[:, :2].copy()
    x[:, 1] = 0.0
    x[:3, 1] = [1e3, 1.0, 1.0]
    counts, y = COUNTS.copy(), OVERLAP.copy()
    y[:3] = [True, False, False]
    counts[:3] = [0, 1, 1]
    classes = np.where(y, 2, np.arange(N) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        glm.LogisticRegression(C=np.inf, tol=tol, solver=solver).fit(x, y)
        glm.LogisticRegression(C=np.inf, tol=tol, solver=solver).fit(x, classes)
        glm.PoissonRegressor(alpha=0, tol=tol, solver=solver).fit(x * [1, -1], counts)


def test_rows_without_weight_do_not_count() -> None:
    y = X[:, 0] > 0.1
    wrong = ~y
    with pytest.warns(ConvergenceWarning, match="x1 separates the targets completely"):
        glm.LogisticRegression(C=np.inf).fit(
            np.concatenate([X, X]), np.concatenate([y, wrong]), np.repeat([1.0, 0.0], N)
        )


def test_the_summary_says_no_more_than_is_known() -> None:
    frame = pandas.DataFrame(X, columns=["age", "income", "rare"])
    with pytest.warns(ConvergenceWarning, match="the column rare separates some targets"):
        summary = glm.LogisticRegression(C=np.inf).fit(frame, OVERLAP | RARE).summary()
    assert np.isnan(summary.std_err[3]) and np.isnan(summary.p_values[3])
    # The others are what the remaining rows say.
    rest = glm.LogisticRegression(C=np.inf).fit(frame[["age", "income"]][~RARE], OVERLAP[~RARE]).summary()
    np.testing.assert_allclose(summary.std_err[:3], rest.std_err, rtol=1e-4)
    np.testing.assert_allclose(summary.coef[:3], rest.coef, atol=1e-4)
    assert "separate the targets for some rows" in str(summary)
    with pytest.warns(ConvergenceWarning):
        summary = glm.LogisticRegression(C=np.inf).fit(X, X[:, 0] > 0).summary()
    assert np.all(np.isnan(summary.std_err)) and np.all(np.isnan(summary.p_values))


def test_groups_whose_curvature_has_vanished_keep_their_coefficients() -> None:
    x = np.column_stack([GROUPS, X[:, :2]])
    y = OVERLAP & (GROUPS[:, 2] == 0)
    for tol in (0.0, 1e-11):
        with pytest.warns(ConvergenceWarning, match="separates some"):
            model = glm.LogisticRegression(C=np.inf, tol=tol).fit(x, y)
        assert model.predict_proba(x)[GROUPS[:, 2] == 1, 1].max() < 1e-6
