"""Means, collinear columns, separation: the figures of statsmodels, where it has them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
sm = pytest.importorskip("statsmodels.api")
from sklearn.exceptions import ConvergenceWarning

from futures_cluster import glm

RNG = np.random.default_rng(0)
N = 300
SECONDS = np.sort(RNG.random(N)) * 300
X = np.column_stack([SECONDS, RNG.standard_normal(N)])
ETA = 0.01 * (SECONDS - 150) + 0.3 * X[:, 1]
TARGETS = {
    "LinearRegression": (ETA + RNG.standard_normal(N), None),
    "LogisticRegression": ((RNG.random(N) < 1 / (1 + np.exp(-ETA))).astype(float), sm.families.Binomial()),
    "PoissonRegressor": (RNG.poisson(np.exp(ETA)).astype(float), sm.families.Poisson()),
    "GammaRegressor": (RNG.gamma(2.0, np.exp(ETA) / 2), sm.families.Gamma(sm.families.links.Log())),
}


def ours(name: str, x: Any, y: Any) -> Any:
    options = {"LinearRegression": {}, "LogisticRegression": {"C": np.inf}}.get(name, {"alpha": 0.0})
    return getattr(glm, name)(**options).fit(x, y).summary()


def theirs(name: str, x: Any) -> Any:
    y, family = TARGETS[name]
    full = sm.add_constant(x, has_constant="add")
    return sm.OLS(y, full).fit() if family is None else sm.GLM(y, full, family=family).fit(tol=1e-12)


@pytest.mark.parametrize("name", TARGETS)
def test_seconds_since_1970_have_the_inference_of_seconds(name: str) -> None:
    summary = ours(name, X + [1.7e9, 0.0], TARGETS[name][0])
    plain = theirs(name, X)
    np.testing.assert_allclose(summary.coef[1:], plain.params[1:], rtol=1e-4)
    np.testing.assert_allclose(summary.std_err[1:], plain.bse[1:], rtol=1e-4)
    assert summary.log_likelihood == pytest.approx(plain.llf, rel=1e-6)
    assert summary.aic == pytest.approx(plain.aic, rel=1e-6)


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
@pytest.mark.parametrize("name", TARGETS)
def test_equal_columns_have_the_rank_and_the_coefficients_of_a_pseudo_inverse(name: str) -> None:
    x = np.column_stack([X, X[:, 1]])
    summary, reference = ours(name, x, TARGETS[name][0]), theirs(name, x)
    np.testing.assert_allclose(summary.coef, reference.params, atol=1e-5)
    np.testing.assert_allclose(summary.std_err[:2], reference.bse[:2], rtol=1e-4)
    assert np.all(np.isnan(summary.std_err[2:]))
    assert summary.df_residual == reference.df_resid
    assert summary.aic == pytest.approx(reference.aic, rel=1e-6)


@pytest.mark.parametrize("name", ["LogisticRegression", "PoissonRegressor", "GammaRegressor"])
def test_pearsons_chi_square(name: str) -> None:
    assert ours(name, X, TARGETS[name][0]).pearson == pytest.approx(theirs(name, X).pearson_chi2, rel=1e-5)


def test_both_warn_of_perfect_separation() -> None:
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    y = (X[:, 1] > 0).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PerfectSeparationWarning)
        with pytest.warns(PerfectSeparationWarning):
            sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial()).fit()
    with pytest.warns(ConvergenceWarning, match="separates the targets completely"):
        ours("LogisticRegression", X, y)
