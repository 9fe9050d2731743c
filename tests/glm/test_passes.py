"""Passes and the objective: against plain numpy, for every form of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import scipy.sparse

from futures_cluster.glm import passes
from futures_cluster.glm.families import Bernoulli, Family, Multinomial, Normal, gamma, poisson
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.passes import block_diagonal, block_product, block_sums, segments_of
from futures_cluster.glm.penalties import elastic_net
from futures_cluster.glm.rowblocks import RowBlock, split_rows
from futures_cluster.glm.sums import LocalSums


def make(family: Family, rows: int = 200, features: int = 4, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)) * (rng.random((rows, features)) < 0.6)
    if isinstance(family, Bernoulli):
        y = rng.choice([-1.0, 1.0], rows)
    elif isinstance(family, Multinomial):
        y = rng.integers(0, family.outputs, rows).astype(float)
    else:
        y = rng.random(rows) + 0.5
    return x, y, rng.random(rows) + 0.1


FAMILIES = [Normal(), Bernoulli(), poisson(), gamma(), Multinomial(3)]


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
@pytest.mark.parametrize("form", ["dense", "fortran", "float32", "sparse"])
@pytest.mark.parametrize("intercept", [False, True])
def test_sums_are_those_of_plain_numpy(
    family: Family, form: str, intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small pieces, so that there are many.
    monkeypatch.setattr(passes, "PIECE_ROWS", 16)
    monkeypatch.setattr(passes, "PIECE_NUMBERS", 64)
    monkeypatch.setattr(passes, "SEGMENT_PIECES", 2)
    monkeypatch.setattr(passes, "SPARSE_ROWS", 50)
    x, y, weights = make(family)
    exact = x
    if form == "fortran":
        x = np.asfortranarray(x)
    elif form == "float32":
        x = x.astype(np.float32)
        exact = x.astype(np.float64)
    elif form == "sparse":
        x = scipy.sparse.csr_matrix(x)
    block = RowBlock(x, y, weights)
    k, p = family.outputs, exact.shape[1] + intercept
    theta = np.random.default_rng(1).standard_normal(p * k) * 0.3
    full = np.column_stack([exact, np.ones(len(y))]) if intercept else exact
    eta = full @ theta.reshape(p, k)
    loss, slope, curvature = family.derivatives(y, eta if k > 1 else eta[:, 0], 2)
    assert slope is not None and curvature is not None
    slope, curvature = slope.reshape(-1, k), curvature.reshape(-1, k)

    vector = block_sums(block, family, intercept, theta, 2)
    assert vector[0] == pytest.approx(weights.sum())
    assert vector[1] == pytest.approx(weights @ loss)
    np.testing.assert_allclose(vector[2 : 2 + p * k].reshape(p, k), full.T @ (weights[:, None] * slope), atol=1e-9)
    second = np.zeros((p, k, p, k))
    for a in range(k):
        for b in range(k):
            inner = curvature[:, a] * ((a == b) - curvature[:, b]) if k > 1 else curvature[:, 0]
            second[:, a, :, b] = full.T @ ((weights * inner)[:, None] * full)
    with LocalSums([block]) as rows:
        objective = Objective(rows, family, elastic_net(0.0, 0.0), intercept)
        hessian = objective.at(theta, 2).hessian * weights.sum()
    np.testing.assert_allclose(hessian, second.reshape(p * k, p * k), atol=1e-9)

    direction = np.random.default_rng(2).standard_normal(p * k)
    np.testing.assert_allclose(
        block_product(block, family, intercept, theta, direction), hessian @ direction, atol=1e-8
    )
    np.testing.assert_allclose(block_diagonal(block, family, intercept, theta), np.diagonal(hessian), atol=1e-8)
    np.testing.assert_allclose(block_sums(block, family, intercept, theta, 0), vector[:2], rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_objective_has_the_gradient_of_its_value(family: Family) -> None:
    x, y, weights = make(family)
    with LocalSums(split_rows(x, y, weights, 3)) as rows:
        objective = Objective(rows, family, elastic_net(0.3, 0.0), True)
        theta = np.random.default_rng(1).standard_normal(objective.size) * 0.2
        point = objective.at(theta, 2)
        step = 1e-6
        for i in range(objective.size):
            move = np.zeros(objective.size)
            move[i] = step
            above, below = objective.at(theta + move, 1), objective.at(theta - move, 1)
            assert (above.value - below.value) / (2 * step) == pytest.approx(point.gradient[i], abs=1e-7)
            np.testing.assert_allclose((above.gradient - below.gradient) / (2 * step), point.hessian[i], atol=1e-6)


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "PIECE_NUMBERS", 4096)
    x, y, _ = make(Bernoulli(), rows=200_000, features=3)
    theta = np.array([0.1, -0.2, 0.3, 0.0])
    block = RowBlock(x, y)
    assert len(segments_of(block, 22)) > 1
    alone = block_sums(block, Bernoulli(), True, theta, 2)
    with LocalSums([block], threads=3) as rows:
        for _ in range(3):
            np.testing.assert_array_equal(rows.sums(Bernoulli(), True, theta, 2), alone)


def test_samples_come_from_everywhere() -> None:
    n = 100_000
    x = np.arange(float(n))[:, None]
    block = RowBlock(x, np.zeros(n))
    vector = block_sums(block, Normal(), False, np.array([1.0]), 1, stride=16)
    assert n / 20 < vector[0] < n / 12
    mean_of_squares = 2 * vector[1] / vector[0]
    assert mean_of_squares == pytest.approx((x**2).mean(), rel=0.1)


def test_an_empty_block_adds_nothing() -> None:
    empty = RowBlock(np.zeros((0, 2)), np.zeros(0))
    assert not block_sums(empty, Normal(), True, np.zeros(3), 2).any()
    assert not block_product(empty, Normal(), True, np.zeros(3), np.ones(3)).any()
    assert not block_diagonal(empty, Normal(), True, np.zeros(3)).any()
