"""Solvers: the same minimum by all of them, however rows are cut, ordered and repeated; what they tell on the way."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from futures_cluster.glm.families import Bernoulli, Family, Multinomial, Normal, Tweedie, gamma, poisson
from futures_cluster.glm.objective import Objective
from futures_cluster.glm.penalties import Penalty, elastic_net
from futures_cluster.glm.rowblocks import RowBlock, split_rows
from futures_cluster.glm.solvers import NON_SMOOTH, SOLVERS, Options, Result, quadratic
from futures_cluster.glm.solvers.base import StartNotFinite
from futures_cluster.glm.solvers.linear import Diagonal, Factor, conjugate_gradients
from futures_cluster.glm.solvers.quadratic import minimize_model
from futures_cluster.glm.sums import LocalSums


def data(family: Family, rows: int = 300, features: int = 4, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)) @ (np.eye(features) + 0.4)
    eta = x @ np.linspace(-0.5, 0.5, features) + 0.3
    if isinstance(family, Bernoulli):
        return x, np.where(rng.random(rows) < family.mean(eta), 1.0, -1.0)
    if isinstance(family, Multinomial):
        noise = rng.gumbel(size=(rows, family.outputs))
        return x, np.argmax(np.outer(eta, np.arange(family.outputs)) + noise, axis=1).astype(float)
    if isinstance(family, Normal):
        return x, eta + rng.standard_normal(rows)
    if isinstance(family, Tweedie) and family.power == 1:
        return x, rng.poisson(np.exp(eta)).astype(float)
    return x, rng.gamma(2.0, np.exp(eta) / 2)


def solve(
    solver: str, family: Family, penalty: Penalty, x: Any, y: Any, weights: Any = None, blocks: int = 1, **options: Any
) -> Result:
    with LocalSums(split_rows(x, y, weights, blocks)) as rows:
        objective = Objective(rows, family, penalty, True)
        settings = Options(**({"tol": 1e-11, "max_iter": 3000} | options))
        return SOLVERS[solver](objective, objective.start(float(np.average(y, weights=weights))), settings)


FAMILIES = [Normal(), Bernoulli(), poisson(), gamma(), Tweedie(1.5), Multinomial(3)]


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
@pytest.mark.parametrize("penalty", [Penalty(l2=0.02), elastic_net(0.05, 0.6)], ids=["l2", "elastic_net"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_all_solvers_find_the_same_minimum(solver: str, family: Family, penalty: Penalty) -> None:
    if penalty.l1 and solver not in NON_SMOOTH:
        with pytest.raises(ValueError, match="smooth penalty"):
            solve(solver, family, penalty, *data(family))
        return
    result = solve(solver, family, penalty, *data(family), blocks=4)
    best = solve("newton", family, penalty, *data(family), tol=1e-15)
    assert result.converged
    assert result.objective == pytest.approx(best.objective, rel=1e-9)
    if family.outputs == 1:
        np.testing.assert_allclose(result.theta, best.theta, atol=2e-4)
    else:  # a constant added to all intercepts changes nothing
        np.testing.assert_allclose(result.theta[:-3], best.theta[:-3], atol=2e-4)
        assert np.ptp(result.theta[-3:] - best.theta[-3:]) < 4e-4


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_optimum_that_is_known(solver: str) -> None:
    x, _ = data(Normal())
    y = x @ np.array([1.0, -2.0, 0.5, 3.0]) + 4.0
    result = solve(solver, Normal(), Penalty(), x, y, blocks=3, tol=1e-12)
    np.testing.assert_allclose(result.theta, [1.0, -2.0, 0.5, 3.0, 4.0], atol=1e-3)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_the_subgradient_is_zero_where_it_should_be(solver: str) -> None:
    x, y = data(poisson())
    result = solve(solver, poisson(), Penalty(l2=0.1), x, y, tol=1e-14)
    with LocalSums([RowBlock(x, y)]) as rows:
        assert np.abs(Objective(rows, poisson(), Penalty(l2=0.1), True).at(result.theta).gradient).max() < 1e-6


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["newton", "lbfgs"]),
    st.sampled_from([Normal(), Bernoulli(), poisson(), gamma()]),
    st.integers(1, 7),
    st.integers(2, 3),
    st.randoms(use_true_random=False),
)
def test_stacked_permuted_weighted_and_cut_data_give_the_same(
    solver: str, family: Family, blocks: int, times: int, random: Any
) -> None:
    x, y = data(family, rows=80)
    plain = solve(solver, family, Penalty(l2=0.05), x, y, tol=1e-13)
    order = list(range(len(y) * times))
    random.shuffle(order)
    stacked = solve(
        solver,
        family,
        Penalty(l2=0.05),
        np.tile(x, (times, 1))[order],
        np.tile(y, times)[order],
        blocks=blocks,
        tol=1e-13,
    )
    weighted = solve(solver, family, Penalty(l2=0.05), x, y, np.full(len(y), float(times)), blocks=blocks, tol=1e-13)
    np.testing.assert_allclose(stacked.theta, plain.theta, atol=1e-6)
    np.testing.assert_allclose(weighted.theta, plain.theta, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_history_and_the_callback(solver: str) -> None:
    seen: list[Any] = []
    result = solve(solver, Bernoulli(), Penalty(l2=0.1), *data(Bernoulli()), blocks=2, callback=seen.append)
    for name in ("objective", "gradient_norm", "seconds"):
        assert len(result.history[name]) == len(seen) == result.n_iter + 1
    assert result.history["objective"] == [each.objective for each in seen]
    assert result.history["seconds"] == sorted(result.history["seconds"])
    assert result.history["objective"][-1] <= result.history["objective"][0]


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_callback_stops(solver: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = solve(solver, Bernoulli(), Penalty(l2=0.1), *data(Bernoulli()), callback=lambda each: each.number >= 1)
    assert len(result.history["objective"]) == 2
    assert not result.converged


@pytest.mark.parametrize("solver", [name for name in SOLVERS])
def test_too_few_iterations_warn_and_say_what_to_do(solver: str) -> None:
    way = "or add a penalty$" if solver == "newton" else "or take solver='newton'$"
    with pytest.warns(ConvergenceWarning, match=f"Raise max_iter or tol, scale .*{way}"):
        result = solve(solver, poisson(), Penalty(l2=1e-3), *data(poisson()), max_iter=1, tol=1e-15)
    assert result.n_iter == 1
    assert not result.converged


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "admm", "proximal_grad"])
def test_a_warm_start_is_short(solver: str) -> None:
    x, y = data(poisson())
    cold = solve(solver, poisson(), Penalty(l2=0.1), x, y)
    with LocalSums([RowBlock(x, y)]) as rows:
        objective = Objective(rows, poisson(), Penalty(l2=0.1), True)
        warm = SOLVERS[solver](objective, cold.theta, Options(tol=1e-8))
    assert len(warm.history["objective"]) < len(cold.history["objective"])


def test_progress_is_shown_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    result = solve("newton", Bernoulli(), Penalty(l2=0.1), *data(Bernoulli()), verbose=True)
    assert len(capsys.readouterr().err.splitlines()) == len(result.history["objective"])


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_badly_scaled_columns(solver: str) -> None:
    x, y = data(Bernoulli())
    scales = 10.0 ** np.array([-4, 4, 0, 2])
    plain = solve(solver, Bernoulli(), Penalty(), x, y, tol=1e-14)
    scaled = solve(solver, Bernoulli(), Penalty(), x * scales, y, tol=1e-14)
    assert scaled.objective == pytest.approx(plain.objective, rel=1e-12)
    np.testing.assert_allclose(scaled.theta[:4] * scales, plain.theta[:4], rtol=1e-5)
    assert scaled.n_iter <= plain.n_iter + 2


@pytest.mark.parametrize("family", [Normal(), Bernoulli(), poisson()], ids=repr)
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_collinear_and_constant_columns(family: Family, solver: str) -> None:
    x, y = data(family)
    plain = solve(solver, family, Penalty(), x, y)
    more = solve(solver, family, Penalty(), np.column_stack([x, x[:, 0] + x[:, 1], np.ones(len(y))]), y)
    assert more.objective == pytest.approx(plain.objective, rel=1e-9)
    assert np.abs(more.theta).max() < 100


def test_more_columns_than_rows_give_the_shortest_solution() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 50)), rng.standard_normal(20)
    with LocalSums([RowBlock(x, y)]) as rows:
        objective = Objective(rows, Normal(), Penalty(), False)
        result = SOLVERS["newton"](objective, objective.start(), Options())
    np.testing.assert_allclose(result.theta, np.linalg.pinv(x) @ y, atol=1e-8)


def test_separable_classes_with_and_without_a_penalty() -> None:
    x = np.linspace(-1, 1, 40)[:, None]
    y = np.sign(x[:, 0])
    with_penalty = solve("newton", Bernoulli(), Penalty(l2=1e-4), x, y)
    assert with_penalty.converged
    without = solve("newton", Bernoulli(), Penalty(), x, y, max_iter=100)
    assert without.objective < 1e-6
    assert np.all(np.isfinite(without.theta))


def test_many_columns_take_products_instead_of_a_hessian() -> None:
    rng = np.random.default_rng(0)
    x = scipy.sparse.random(2000, 700, density=0.01, random_state=1, format="csr")
    y = np.where(rng.random(2000) < 1 / (1 + np.exp(-(x @ rng.standard_normal(700)))), 1.0, -1.0)
    with LocalSums([RowBlock(x, y)]) as rows:
        objective = Objective(rows, Bernoulli(), Penalty(l2=1e-3), True)
        assert not objective.has_hessian
        by_newton = SOLVERS["newton"](objective, objective.start(0.0), Options(tol=1e-13))
        by_lbfgs = SOLVERS["lbfgs"](objective, objective.start(0.0), Options(tol=1e-13))
        sparse_l1 = Objective(rows, Bernoulli(), Penalty(l1=1e-2), True)
        with pytest.raises(ValueError, match="proximal_grad"):
            SOLVERS["newton"](sparse_l1, sparse_l1.start(0.0), Options())
    assert by_newton.objective == pytest.approx(by_lbfgs.objective, rel=1e-12)
    with LocalSums([RowBlock(x.toarray(), y)]) as rows:
        dense = Objective(rows, Bernoulli(), Penalty(l2=1e-3), True)
        assert dense.has_hessian
        expected = SOLVERS["newton"](dense, dense.start(0.0), Options(tol=1e-13))
    assert by_newton.objective == pytest.approx(expected.objective, rel=1e-12)


@pytest.mark.parametrize("sort", [False, True])
def test_the_start_from_a_sample_changes_nothing_but_the_way(sort: bool) -> None:
    x, y = data(Bernoulli(), rows=60_000)
    if sort:
        order = np.argsort(y, kind="stable")
        x, y = x[order], y[order]
    with_sample = solve("newton", Bernoulli(), Penalty(l2=1e-5), x, y)
    without = solve("newton", Bernoulli(), Penalty(l2=1e-5), x, y, sample=False)
    assert with_sample.objective == pytest.approx(without.objective, rel=1e-10)
    assert with_sample.history["objective"][0] < without.history["objective"][0]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_start_that_is_not_finite(solver: str) -> None:
    x, y = data(poisson())
    x[3, 2] = np.nan
    with pytest.raises(StartNotFinite):
        solve(solver, poisson(), Penalty(l2=0.1), x, y)


def test_factors_of_singular_matrices_give_the_shortest_step() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((6, 3))
    hessian = root @ root.T
    factor = Factor(hessian)
    assert not factor.is_definite
    right = hessian @ rng.standard_normal(6)
    np.testing.assert_allclose(factor.solve(right), np.linalg.pinv(hessian) @ right, atol=1e-8)


def test_conjugate_gradients_solve() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((8, 8))
    hessian = root @ root.T + np.eye(8)
    right = rng.standard_normal(8)
    x = conjugate_gradients(lambda v: hessian @ v, right, Diagonal(np.diagonal(hessian)), 1e-12, 100)
    np.testing.assert_allclose(hessian @ x, right, atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 3))
def test_the_inner_problem_satisfies_its_conditions(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    root = rng.standard_normal((size, size + 2))
    hessian, gradient, theta = root @ root.T, rng.standard_normal(size), rng.standard_normal(size)
    step, promise = minimize_model(hessian, gradient, theta, Penalty(l1=strength), size)
    x, slope = theta + step, gradient + hessian @ step
    np.testing.assert_allclose(slope[x != 0], -strength * np.sign(x[x != 0]), atol=1e-6)
    assert np.all(np.abs(slope[x == 0]) <= strength + 1e-6)
    assert promise <= 0


@pytest.mark.parametrize(
    "penalty", [Penalty(positive=True), Penalty(l1=0.01, positive=True), Penalty(l1=0.001)], ids=str
)
@pytest.mark.parametrize("repeated", [False, True])
def test_correlated_columns_need_few_sweeps(penalty: Penalty, repeated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact solution ends at the first sign that changes and goes on from there, instead of being thrown away."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 60)) + 3.0 * rng.standard_normal((400, 1))
    if repeated:
        x[:, 30:] = x[:, :30]  # the Hessian is singular
    y = x @ rng.standard_normal(60) + rng.standard_normal(400)
    hessian, gradient = x.T @ x / 400, -x.T @ y / 400
    sweeps = []
    sweep = quadratic._sweep
    monkeypatch.setattr(quadratic, "_sweep", lambda *args: sweeps.append(1) or sweep(*args))
    b, _ = minimize_model(hessian, gradient, np.zeros(60), penalty, 60)
    least = penalty.min_norm_subgradient(b, gradient + hessian @ b)
    np.testing.assert_allclose(least, 0.0, atol=1e-9)
    assert np.any(b == 0) or not penalty.positive
    assert np.all(b >= 0) or not penalty.positive
    assert len(sweeps) < 40
