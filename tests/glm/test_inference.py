"""Standard errors and tests: against statsmodels where it is installed, and against formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas

from futures_cluster import Executor, glm

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 3))
ETA = X @ [0.4, -0.2, 0.0] + 0.3
TARGETS = {
    "LinearRegression": ETA + RNG.standard_normal(200),
    "LogisticRegression": (RNG.random(200) < 1 / (1 + np.exp(-ETA))).astype(float),
    "PoissonRegressor": RNG.poisson(np.exp(ETA)).astype(float),
    "GammaRegressor": RNG.gamma(2.0, np.exp(ETA) / 2),
}


def fitted(name: str, **options: Any) -> Any:
    options |= {"LinearRegression": {}, "LogisticRegression": {"C": np.inf}}.get(name, {"alpha": 0.0})
    return getattr(glm, name)(**options).fit(X, TARGETS[name])


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_as_statsmodels(name: str) -> None:
    sm = pytest.importorskip("statsmodels.api")
    summary = fitted(name).summary()
    full = sm.add_constant(X)
    if name == "LinearRegression":
        theirs = sm.OLS(TARGETS[name], full).fit()
    else:
        family = {
            "LogisticRegression": sm.families.Binomial(),
            "PoissonRegressor": sm.families.Poisson(),
            "GammaRegressor": sm.families.Gamma(sm.families.links.Log()),
        }[name]
        theirs = sm.GLM(TARGETS[name], full, family=family).fit(tol=1e-12)
        assert summary.deviance == pytest.approx(theirs.deviance, rel=1e-8)
        assert summary.pearson == pytest.approx(theirs.pearson_chi2, rel=1e-5)
        assert summary.dispersion == pytest.approx(theirs.scale, rel=1e-5)
    np.testing.assert_allclose(summary.coef, theirs.params, atol=1e-5)
    np.testing.assert_allclose(summary.std_err, theirs.bse, rtol=1e-4)
    np.testing.assert_allclose(summary.p_values, theirs.pvalues, rtol=1e-2, atol=1e-8)
    np.testing.assert_allclose(summary.intervals, theirs.conf_int(), atol=1e-4)
    assert summary.df_residual == theirs.df_resid
    assert summary.log_likelihood == pytest.approx(theirs.llf, rel=1e-5)
    assert summary.aic == pytest.approx(theirs.aic, rel=1e-5)


def test_the_textbook_formula_of_least_squares() -> None:
    summary = fitted("LinearRegression").summary()
    full = np.column_stack([np.ones(200), X])
    coef, (squares,), _, _ = np.linalg.lstsq(full, TARGETS["LinearRegression"])
    np.testing.assert_allclose(summary.coef, coef, atol=1e-9)
    expected = np.sqrt(np.diagonal(np.linalg.inv(full.T @ full)) * squares / 196)
    np.testing.assert_allclose(summary.std_err, expected, rtol=1e-8)


def test_on_workers_the_same() -> None:
    with Executor(2, backend="threads") as ex:
        there = fitted("PoissonRegressor", executor=ex).summary()
    here = fitted("PoissonRegressor").summary()
    np.testing.assert_allclose(there.std_err, here.std_err, rtol=1e-6)
    assert there.aic == pytest.approx(here.aic)


def test_the_table() -> None:
    frame = pandas.DataFrame(X, columns=["age", "a name that is rather long", "c"])
    summary = glm.LogisticRegression(C=np.inf).fit(frame, TARGETS["LogisticRegression"]).summary()
    lines = str(summary).splitlines()
    assert len({len(line) for line in lines if set(line) == {"="}}) == 1
    assert [line.split()[0] for line in lines[-5:-1]] == ["const", "age", "a", "c"]
    assert max(map(len, lines)) <= 100
    assert list(summary.to_frame().index) == ["const", *frame.columns]


def test_collinear_columns_are_pointed_out() -> None:
    model = glm.LinearRegression().fit(np.column_stack([X, X[:, 0]]), TARGETS["LinearRegression"])
    assert "collinear" in str(model.summary())


@pytest.mark.parametrize(
    "model", [glm.LogisticRegression(), glm.LogisticRegression(C=np.inf).set_params(l1_ratio=0.0), glm.Ridge()]
)
def test_penalized_and_multinomial_fits_have_no_summary(model: Any) -> None:
    three = np.arange(200) % 3
    with pytest.raises(ValueError, match="without penalty"):
        model.fit(X, three).summary()
