"""Columns with a large mean: the same models as of the columns less their mean, wherever the rows are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import scipy.sparse
from sklearn import linear_model

from futures_cluster import Executor, glm
from futures_cluster.glm.centering import FAR, SAMPLE_FROM, column_center, moments_of
from futures_cluster.glm.rowblocks import RowBlock

RNG = np.random.default_rng(0)
N = 400
SECONDS = np.sort(RNG.random(N)) * 300
OTHER = RNG.standard_normal((N, 2)) * (RNG.random((N, 2)) < 0.5)
NEAR = np.column_stack([OTHER[:, 0], SECONDS, OTHER[:, 1]])
SHIFT = np.array([0.0, 1.7e9, 0.0])  # seconds since 1970
FAR_AWAY = NEAR + SHIFT
NEAR = FAR_AWAY - SHIFT  # as rounded
ETA = 0.01 * (SECONDS - 150) + 0.5 * OTHER[:, 0]
WEIGHTS = RNG.random(N) + 0.1
TARGETS = {
    "LinearRegression": ETA + RNG.standard_normal(N) * 0.1 + 1e6,
    "Ridge": ETA + RNG.standard_normal(N) * 0.1,
    "Lasso": ETA + RNG.standard_normal(N) * 0.1,
    "LogisticRegression": RNG.random(N) < 1 / (1 + np.exp(-ETA)),
    "PoissonRegressor": RNG.poisson(np.exp(ETA)).astype(float),
    "GammaRegressor": RNG.gamma(2.0, np.exp(ETA) / 2),
    "TweedieRegressor": ETA + RNG.standard_normal(N),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "LogisticRegression": {"C": np.inf},
    "Ridge": {"alpha": 1.0},
    "Lasso": {"alpha": 0.01},
    "TweedieRegressor": {"alpha": 0.1},
    "PoissonRegressor": {"alpha": 0.0},
    "GammaRegressor": {"alpha": 0.0},
}


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    with Executor(1, backend="threads") as ex:
        ex.run(int)
        yield ex


def assert_same_model(model: Any, reference: Any, rtol: float = 1e-5) -> None:
    """The models predict the same, one of ``FAR_AWAY``, the other of ``NEAR``."""
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=rtol, atol=1e-6)
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    np.testing.assert_allclose(getattr(model, method)(FAR_AWAY), getattr(reference, method)(NEAR), rtol=1e-4)


@pytest.mark.parametrize("form", ["dense", "weighted", "sparse", "blocks", "executor"])
@pytest.mark.parametrize("name", TARGETS)
def test_seconds_since_1970_are_seconds(name: str, form: str, executor: Executor) -> None:
    y, options = TARGETS[name], OPTIONS.get(name, {})
    weights = WEIGHTS if form == "weighted" else None
    reference = getattr(glm, name)(**options).fit(NEAR, y, weights)
    if form == "blocks":
        # Rows in the order of time, so each block has another mean; one block is empty.
        cuts = [0, 40, 40, 300, N]
        pairs = executor.scatter([(FAR_AWAY[a:b], y[a:b]) for a, b in itertools.pairwise(cuts)])
        model = getattr(glm, name)(**options, executor=executor).fit(pairs)
    elif form == "executor":
        model = getattr(glm, name)(**options, executor=executor).fit(FAR_AWAY, y)
    else:
        X = scipy.sparse.csr_matrix(FAR_AWAY) if form == "sparse" else FAR_AWAY
        model = getattr(glm, name)(**options).fit(X, y, weights)
    assert_same_model(model, reference)


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "gradient_descent", "admm"])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_every_solver_sees_centred_columns(solver: str, form: str) -> None:
    y = TARGETS["LogisticRegression"]
    X = scipy.sparse.csr_matrix(FAR_AWAY) if form == "sparse" else FAR_AWAY
    reference = glm.LogisticRegression().fit(NEAR, y)
    assert_same_model(glm.LogisticRegression(solver=solver).fit(X, y), reference, rtol=1e-3)


def test_several_classes() -> None:
    y = np.digitize(ETA + RNG.standard_normal(N), [-0.7, 0.7])
    assert_same_model(glm.LogisticRegression().fit(FAR_AWAY, y), glm.LogisticRegression().fit(NEAR, y))


def test_the_same_as_scikit_learn() -> None:
    X, y = FAR_AWAY, TARGETS["LinearRegression"]
    theirs = linear_model.LinearRegression().fit(X, y)
    ours = glm.LinearRegression().fit(X, y)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-6)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6)


def test_rows_of_float32() -> None:
    X = (NEAR + [0, 2.0**14, 0]).astype(np.float32)
    y = TARGETS["PoissonRegressor"]
    model = glm.PoissonRegressor(alpha=0).fit(X, y)
    reference = glm.PoissonRegressor(alpha=0).fit(X.astype(float) - [0, 2.0**14, 0], y)
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=1e-6)


def test_units_may_be_as_different_as_they_like() -> None:
    units = np.array([1e-8, 1e8, 1.0])
    y = TARGETS["GammaRegressor"]
    model = glm.GammaRegressor(alpha=0).fit(FAR_AWAY * units, y)
    np.testing.assert_allclose(model.coef_ * units, glm.GammaRegressor(alpha=0).fit(NEAR, y).coef_, rtol=1e-5)


def test_standard_errors_are_those_of_the_columns_as_they_are() -> None:
    y = TARGETS["PoissonRegressor"]
    shift = np.array([0.0, 1e5, 0.0])
    near, far = (glm.PoissonRegressor(alpha=0).fit(x, y).summary() for x in (NEAR, NEAR + shift))
    np.testing.assert_allclose(far.std_err[1:], near.std_err[1:], rtol=1e-5)
    # The intercept is the linear predictor 1e5 seconds before.
    full = np.column_stack([np.ones(N), NEAR])
    mean = np.exp(full @ near.coef)
    covariance = np.linalg.inv(full.T @ (mean[:, None] * full))
    before = np.concatenate([[1.0], -shift])
    assert far.std_err[0] == pytest.approx(np.sqrt(before @ covariance @ before), rel=1e-5)


def test_starts_and_callbacks_have_parameters_of_the_columns_as_they_are() -> None:
    y = TARGETS["PoissonRegressor"]
    seen: list[Any] = []
    model = glm.PoissonRegressor(alpha=0, warm_start=True, callback=lambda each: seen.append(each.theta)).fit(
        FAR_AWAY, y
    )
    np.testing.assert_allclose(seen[-1], [*model.coef_, model.intercept_])
    iterations = len(seen)
    model.fit(FAR_AWAY, y)
    assert len(seen) <= iterations + 2


def test_without_an_intercept_columns_stay_as_they_are() -> None:
    y = TARGETS["LinearRegression"]
    ours = glm.LinearRegression(fit_intercept=False).fit(FAR_AWAY, y)
    np.testing.assert_allclose(ours.predict(FAR_AWAY), FAR_AWAY @ np.linalg.lstsq(FAR_AWAY, y)[0], rtol=1e-9)


def test_only_columns_far_from_zero_are_centred() -> None:
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.standard_normal(1000) + mean for mean in (0.0, FAR / 2, 2 * FAR)])
    center = column_center(
        [moments_of(RowBlock(x[:300], x[:300, 0])), moments_of(RowBlock(x[300:], x[300:, 0]))], 1000.0
    )
    assert center is not None
    np.testing.assert_allclose(center, [0.0, 0.0, x[:, 2].mean()])
    assert column_center([moments_of(RowBlock(x[:, :2], x[:, 0]))], 1000.0) is None


def test_a_large_block_is_sampled_whatever_its_order() -> None:
    x = np.linspace(1e9, 1e9 + 1e3, SAMPLE_FROM + 2)[:, None]
    center = column_center([moments_of(RowBlock(x, x[:, 0]))], float(len(x)))
    assert center is not None
    assert abs(center[0] - x.mean()) < x.std()


def test_rows_without_weight_do_not_move_the_centre() -> None:
    x = np.array([[1e9], [1e9 + 1], [1e150]])
    center = column_center([moments_of(RowBlock(x, x[:, 0], np.array([1.0, 1.0, 0.0])))], 2.0)
    assert center is not None and center[0] == 1e9 + 0.5
