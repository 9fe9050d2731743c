"""What ``docs/guides/glm.md`` tells users of dask-glm: which estimator, which parameters, the same coefficients.

Covers: the parameters of its three estimators, and the formulas of the table. Does not cover: its tests, asked of ours
(``glm/test_dask_glm_cases``).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dask_glm = pytest.importorskip("dask_glm.estimators")

from futures_cluster import glm

DOCS = Path(__file__).parents[2] / "docs/guides/glm.md"
OURS = {
    "LogisticRegression": glm.LogisticRegression,
    "LinearRegression": glm.LinearRegression,
    "PoissonRegression": glm.PoissonRegressor,
}
RNG = np.random.default_rng(0)
ROWS = 300
X = RNG.standard_normal((ROWS, 4)) * [1.0, 10.0, 0.1, 3.0]
SCALED = X / X.std(axis=0)
ETA = SCALED @ [0.5, -0.3, 0.2, 0.0]
TARGETS = {
    "LogisticRegression": (RNG.random(ROWS) < 1 / (1 + np.exp(-ETA))).astype(float),
    "LinearRegression": ETA + RNG.standard_normal(ROWS),
    "PoissonRegression": RNG.poisson(np.exp(ETA)).astype(float),
}
STRENGTH = 5.0


@pytest.fixture(autouse=True)
def sync() -> Iterator[None]:
    """Dask's own threads would stay."""
    with dask.config.set(scheduler="sync"):
        yield


@pytest.mark.parametrize("name", OURS)
def test_every_parameter_is_in_the_table_and_accepted_or_refused_with_advice(name: str) -> None:
    section = DOCS.read_text().partition("## Moving from dask-glm")[2].partition("\n## ")[0]
    kind = OURS[name]
    for parameter in inspect.signature(getattr(dask_glm, name)).parameters:
        assert f"`{parameter}`" in section
        if parameter not in inspect.signature(kind).parameters:
            with pytest.raises(TypeError, match=rf"{kind.__name__}\(\) .*'{parameter}': (?!the parameters are)"):
                kind(**{parameter: 1})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dask configuration key:FutureWarning")
@pytest.mark.parametrize(
    ("name", "regularizer", "ours", "accuracy"),
    [
        ("LogisticRegression", "l2", glm.LogisticRegression(C=1 / STRENGTH), 1e-4),
        ("LogisticRegression", "l1", glm.LogisticRegression(C=1 / STRENGTH, l1_ratio=1.0), 2e-3),
        ("LinearRegression", "l2", glm.Ridge(STRENGTH / 2), 1e-4),
        ("LinearRegression", "l1", glm.Lasso(STRENGTH / (2 * ROWS)), 2e-3),
        ("PoissonRegression", "l2", glm.PoissonRegressor(alpha=STRENGTH / ROWS), 1e-4),
    ],
)
def test_the_formulas_give_the_same_coefficients(name: str, regularizer: str, ours: Any, accuracy: float) -> None:
    # (Its elastic net is no reference: one solver ignores it, the other raises.)
    solver = "proximal_grad" if regularizer == "l1" else "lbfgs"
    theirs = getattr(dask_glm, name)(
        # It penalizes the intercept, so there is none.
        fit_intercept=False,
        solver=solver,
        regularizer=regularizer,
        lamduh=STRENGTH,
        max_iter=30,
        tol=1e-12,
    )
    theirs.fit(da.from_array(X, chunks=(150, 4)), da.from_array(TARGETS[name], chunks=150))
    ours.set_params(fit_intercept=False).fit(SCALED, TARGETS[name])
    np.testing.assert_allclose(np.ravel(ours.coef_) / X.std(axis=0), theirs.coef_, atol=accuracy / X.std(axis=0).min())
    assert np.any(ours.coef_)
