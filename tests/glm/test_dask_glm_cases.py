"""What dask-glm's tests ask of its estimators and solvers, asked of ours: Dask arrays, every solver and penalty.

Covers: its cases (estimators fit with each solver, with and without intercept, in pipelines, on data frames, on unknown
chunks; solvers agree on the optimum of small problems; large regularization gives zeros). Does not cover: its
functions, which have no counterpart here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
from sklearn.pipeline import make_pipeline

from futures_cluster import glm
from futures_cluster.glm.solvers import NON_SMOOTH, SOLVERS

pytestmark = pytest.mark.slow
RNG = np.random.default_rng(0)
X = RNG.standard_normal((100, 5))
ETA = X @ np.array([1.0, -0.5, 0.25, 0.0, 0.0])
TARGETS = {
    "LogisticRegression": RNG.random(100) < 1 / (1 + np.exp(-ETA)),
    "LinearRegression": ETA + RNG.standard_normal(100),
    "PoissonRegressor": RNG.poisson(np.exp(ETA)).astype(float),
}


@pytest.fixture(autouse=True)
def sync() -> Iterator[None]:
    """Dask's own threads would stay."""
    with dask.config.set(scheduler="sync"):
        yield


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_fit(solver: str, name: str, fit_intercept: bool) -> None:
    x, y = da.from_array(X, chunks=(30, 5)), da.from_array(TARGETS[name], chunks=30)
    model = getattr(glm, name)(solver=solver, fit_intercept=fit_intercept).fit(x, y)
    expected = getattr(glm, name)(solver="newton", fit_intercept=fit_intercept).fit(X, TARGETS[name])
    assert model.objective_ == pytest.approx(expected.objective_, rel=1e-8)
    assert model.predict(x).compute().shape == (100,)
    assert np.any(model.intercept_) == fit_intercept


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_strong_penalties_give_zeros(solver: str, l1_ratio: float) -> None:
    if l1_ratio and solver not in NON_SMOOTH:
        pytest.skip("needs a smooth penalty")
    x, y = da.from_array(X, chunks=(30, 5)), da.from_array(TARGETS["LogisticRegression"], chunks=30)
    model = glm.LogisticRegression(C=1e-5, l1_ratio=l1_ratio, solver=solver).fit(x, y)
    np.testing.assert_allclose(model.coef_, 0, atol=1e-3)
    if l1_ratio:
        assert not model.coef_.any()


def test_in_a_pipeline() -> None:
    class Doubled:
        def fit(self, x: Any, y: Any = None) -> Doubled:
            return self

        def transform(self, x: Any) -> Any:
            return 2 * x

    x, y = da.from_array(X, chunks=(50, 5)), da.from_array(TARGETS["LogisticRegression"], chunks=50)
    pipeline = make_pipeline(Doubled(), glm.LogisticRegression(C=np.inf))
    model = pipeline.fit(x, y)[-1]
    expected = glm.LogisticRegression(C=np.inf).fit(X, TARGETS["LogisticRegression"])
    np.testing.assert_allclose(2 * model.coef_, expected.coef_, atol=1e-5)


def test_unknown_chunks_with_an_intercept() -> None:
    dd = pytest.importorskip("dask.dataframe")
    import pandas

    frame = dd.from_pandas(pandas.DataFrame(X).assign(y=TARGETS["LinearRegression"]), npartitions=3)
    x, y = frame.drop(columns="y").to_dask_array(), frame["y"].to_dask_array()
    assert np.isnan(x.shape[0])
    model = glm.LinearRegression().fit(x, y)
    np.testing.assert_allclose(model.coef_, glm.LinearRegression().fit(X, TARGETS["LinearRegression"]).coef_, atol=1e-6)


def test_the_number_of_blocks_does_not_matter() -> None:
    y = TARGETS["PoissonRegressor"]
    fits = [
        glm.PoissonRegressor(tol=1e-14).fit(da.from_array(X, chunks=(rows, 5)), da.from_array(y, chunks=rows)).coef_
        for rows in (7, 30, 100)
    ]
    np.testing.assert_allclose(fits[0], fits[1], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(fits[0], fits[2], rtol=1e-6, atol=1e-8)
