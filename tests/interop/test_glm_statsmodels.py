"""Offsets and families: coefficients, standard errors and likelihoods of statsmodels; penalized fits of glum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
sm = pytest.importorskip("statsmodels.api")

from futures_cluster import glm

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 3))
OFFSET = RNG.normal(0.0, 1.0, 300)
MEAN = np.exp(X @ [0.4, -0.2, 0.0] - 0.5 + OFFSET)
WEIGHTS = RNG.integers(1, 4, 300).astype(float)

FAMILIES: dict[str, tuple[Any, Any, Any]] = {
    "poisson": (glm.PoissonRegressor(alpha=0), sm.families.Poisson(), RNG.poisson(MEAN).astype(float)),
    "gamma": (
        glm.GammaRegressor(alpha=0),
        sm.families.Gamma(sm.families.links.Log()),
        RNG.gamma(2.0, MEAN / 2),
    ),
    "tweedie": (
        glm.TweedieRegressor(power=1.5, alpha=0),
        sm.families.Tweedie(sm.families.links.Log(), var_power=1.5),
        RNG.gamma(2.0, MEAN / 2) * (RNG.random(300) < 0.7),
    ),
    "negative binomial": (
        glm.NegativeBinomialRegressor(theta=0.4, alpha=0),
        sm.families.NegativeBinomial(alpha=0.4),
        RNG.poisson(MEAN * RNG.gamma(2.5, 1 / 2.5, 300)).astype(float),
    ),
    "inverse gaussian": (
        glm.InverseGaussianRegressor(alpha=0),
        sm.families.InverseGaussian(sm.families.links.Log()),
        RNG.wald(MEAN, 2.0),
    ),
    "logistic": (
        glm.LogisticRegression(C=np.inf),
        sm.families.Binomial(),
        (RNG.random(300) < 1 / (1 + 1 / MEAN)).astype(float),
    ),
}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("offset", [None, OFFSET], ids=["", "offset"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_inference_of_statsmodels(name: str, weights: Any, offset: Any) -> None:
    model, family, y = FAMILIES[name]
    summary = model.fit(X, y, weights, offset=offset).summary()
    theirs = sm.GLM(y, sm.add_constant(X), family=family, offset=offset, freq_weights=weights).fit(tol=1e-12)
    np.testing.assert_allclose(summary.coef, theirs.params, atol=1e-5)
    np.testing.assert_allclose(summary.std_err, theirs.bse, rtol=1e-4)
    np.testing.assert_allclose(summary.p_values, theirs.pvalues, rtol=1e-2, atol=1e-8)
    assert summary.df_residual == theirs.df_resid
    assert summary.deviance == pytest.approx(theirs.deviance, rel=1e-8)
    assert summary.pearson == pytest.approx(theirs.pearson_chi2, rel=1e-5)
    assert summary.dispersion == pytest.approx(theirs.scale, rel=1e-5)
    if name != "tweedie":  # no closed form
        assert summary.log_likelihood == pytest.approx(theirs.llf, rel=1e-5)
        assert summary.aic == pytest.approx(theirs.aic, rel=1e-5)
    new = model.predict_proba(X, offset=offset)[:, 1] if name == "logistic" else model.predict(X, offset=offset)
    np.testing.assert_allclose(new, theirs.predict(sm.add_constant(X), offset=offset), rtol=1e-4)


def test_the_exposure_of_statsmodels() -> None:
    _, family, y = FAMILIES["poisson"]
    model = glm.PoissonRegressor(alpha=0).fit(X, y, exposure=np.exp(OFFSET))
    theirs = sm.GLM(y, sm.add_constant(X), family=family, exposure=np.exp(OFFSET)).fit(tol=1e-12)
    np.testing.assert_allclose(model.summary().std_err, theirs.bse, rtol=1e-4)
    mean = theirs.predict(sm.add_constant(X), exposure=np.exp(OFFSET))
    np.testing.assert_allclose(model.predict(X, exposure=np.exp(OFFSET)), mean, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"logistic"}))
def test_penalized_fits_of_glum(name: str) -> None:
    glum = pytest.importorskip("glum")
    model, _, y = FAMILIES[name]
    family = {
        "tweedie": glum.TweedieDistribution(1.5),
        "negative binomial": glum.NegativeBinomialDistribution(0.4),
        "inverse gaussian": "inverse.gaussian",
    }.get(name, name)
    theirs = glum.GeneralizedLinearRegressor(
        family=family, link="log", alpha=0.3, gradient_tol=1e-10, scale_predictors=False
    ).fit(X, y, sample_weight=WEIGHTS, offset=OFFSET)
    ours = type(model)(**{**model.get_params(), "alpha": 0.3}).fit(X, y, WEIGHTS, offset=OFFSET)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=1e-5)
    np.testing.assert_allclose(ours.predict(X, offset=OFFSET), theirs.predict(X, offset=OFFSET), rtol=1e-4)
    expected = theirs.score(X, y, sample_weight=WEIGHTS, offset=OFFSET)
    assert ours.score(X, y, WEIGHTS, offset=OFFSET) == pytest.approx(expected, abs=1e-5)
