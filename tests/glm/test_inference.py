"""Standard errors and tests: against statsmodels where it is installed, and against formulas."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import pandas

from futures_cluster import Executor, glm
from futures_cluster.glm.families import Bernoulli, Family, Normal, Tweedie

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


def test_long_names_of_classes_and_unknown_likelihoods_fit_the_table() -> None:
    y = RNG.poisson(2.0, size=200).astype(float)
    text = str(glm.NegativeBinomialRegressor(alpha=0, fit_intercept=False).fit(X[:, :1], y).summary())
    lines = text.splitlines()
    width = len(lines[1])
    assert {len(line) for line in lines[1:]} == {width}
    assert " NegativeBinomialRegressor  No. Observations: " in lines[2]
    text = str(glm.TweedieRegressor(power=1.5, alpha=0).fit(X, y).summary())
    assert "nan" not in text
    assert re.search(r"Log-Likelihood: +not available ", text) and re.search(r"AIC: +not available ", text)


def test_wide_and_small_numbers_stay_apart() -> None:
    units = np.array([1e-15, 1e9, 1.0])
    summary = glm.LinearRegression().fit(X * units, TARGETS["LinearRegression"] * 1e12 + 3e15).summary()
    lines = str(summary).splitlines()
    assert len({len(line) for line in lines if set(line) in ({"="}, {"-"})}) == 1
    rows = [line.split() for line in lines[-5:-1]]
    assert [row[0] for row in rows] == ["const", "x1", "x2", "x3"]
    for i, row in enumerate(rows):
        shown = [float(cell) for cell in row[1:]]
        exact = [summary.coef[i], summary.std_err[i], summary.statistic[i], summary.p_values[i], *summary.intervals[i]]
        np.testing.assert_allclose(shown, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("family", "y", "eta", "deviance", "pearson"),
    [
        (Bernoulli(), 1.0, 50.0, 2 * np.exp(-50.0), np.exp(-50.0)),
        (Bernoulli(), -1.0, 50.0, 100.0, np.exp(50.0)),
        (Bernoulli(), 1.0, 800.0, 0.0, 0.0),
        (Tweedie(1), 0.0, -800.0, 0.0, 0.0),
        (Tweedie(1.5), 0.0, -600.0, 8 * np.exp(-300.0), np.exp(-300.0)),
        (Tweedie(2), 3.0, np.log(3.0), 0.0, 0.0),
        (Normal(), 3.0, 1.0, 4.0, 4.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, Family) else None,
)
def test_what_far_predictions_cost(family: Family, y: float, eta: float, deviance: float, pearson: float) -> None:
    with np.errstate(all="ignore"):  # as in passes
        found = family.fit_of(np.array([y]), np.array([eta]))
    np.testing.assert_allclose(np.ravel(found), [deviance, pearson], rtol=1e-9, atol=1e-15)


def test_sure_predictions_have_a_chi_square() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 1)) * 100
    y = x[:, 0] + rng.logistic(size=500) * 3 > 0
    summary = glm.LogisticRegression(C=np.inf).fit(x, y).summary()
    z = np.where(y, 1.0, -1.0) * (x[:, 0] * summary.coef[1] + summary.coef[0])
    assert z.max() > 40  # where a probability of one in doubles would give 0 / 0
    assert summary.pearson == pytest.approx(np.exp(-z).sum())
    assert summary.deviance == pytest.approx(2 * np.logaddexp(0, -z).sum())


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
