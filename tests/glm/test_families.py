"""Families and penalties: derivatives by numbers, extremes, proximal operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from futures_cluster.glm.families import (
    Bernoulli,
    Family,
    Multinomial,
    NegativeBinomial,
    Normal,
    Tweedie,
    gamma,
    poisson,
)
from futures_cluster.glm.penalties import Penalty, elastic_net

ETA = np.linspace(-3.0, 3.0, 25)
SINGLE: list[tuple[Family, Any]] = [
    (Normal(), np.linspace(-2, 2, 25)),
    (Bernoulli(), np.where(np.arange(25) % 2, 1.0, -1.0)),
    (poisson(), np.arange(25.0) % 5),
    (gamma(), np.linspace(0.1, 4, 25)),
    (Tweedie(1.5), np.arange(25.0) % 4),
    (Tweedie(3.0), np.linspace(0.1, 4, 25)),
    (Tweedie(0.0, "log"), np.linspace(-1, 2, 25)),
    (Tweedie(-1.0, "log"), np.linspace(0.1, 4, 25)),
    (NegativeBinomial(0.7), np.arange(25.0) % 5),
    (NegativeBinomial(1e-9), np.arange(25.0) % 5),
]


@pytest.mark.parametrize(("family", "y"), SINGLE, ids=repr)
def test_the_gradient_is_the_slope_of_the_loss(family: Family, y: Any) -> None:
    _, gradient, _ = family.derivatives(y, ETA, 1)
    step = 1e-6
    above, below = family.derivatives(y, ETA + step, 0)[0], family.derivatives(y, ETA - step, 0)[0]
    np.testing.assert_allclose(gradient, (above - below) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("family", "y"), [pair for pair in SINGLE if getattr(pair[0], "power", 1) in (1, 1.5, 2)])
def test_the_curvature_of_convex_losses_is_the_slope_of_the_gradient(family: Family, y: Any) -> None:
    _, _, curvature = family.derivatives(y, ETA, 2)
    step = 1e-6
    above, below = family.derivatives(y, ETA + step, 1)[1], family.derivatives(y, ETA - step, 1)[1]
    np.testing.assert_allclose(curvature, (above - below) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("family", "y"), SINGLE, ids=repr)
def test_the_curvature_is_never_negative(family: Family, y: Any) -> None:
    curvature = family.derivatives(y, ETA, 2)[2]
    assert curvature is not None
    assert np.all(curvature >= 0)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0, 3.0])
def test_the_identity_link(power: float) -> None:
    family = Tweedie(power, "identity")
    eta, y = np.linspace(0.5, 3, 20), np.linspace(0.3, 4, 20)
    step = 1e-6
    _, gradient, _ = family.derivatives(y, eta, 2)
    slope = (family.derivatives(y, eta + step, 0)[0] - family.derivatives(y, eta - step, 0)[0]) / (2 * step)
    np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-8)
    if power:
        assert family.derivatives(np.ones(1), np.array([-1.0]), 0)[0][0] == np.inf


@pytest.mark.parametrize(("family", "y"), SINGLE, ids=repr)
def test_losses_are_half_deviances_up_to_a_constant(family: Family, y: Any) -> None:
    loss = family.derivatives(y, ETA, 0)[0]
    half = 0.5 * family.fit_of(y, ETA)[0]
    other = np.full_like(ETA, 0.25)
    difference = loss - family.derivatives(y, other, 0)[0]
    np.testing.assert_allclose(difference, half - 0.5 * family.fit_of(y, other)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("family", "y"), SINGLE, ids=repr)
def test_saturated_losses_are_those_of_perfect_predictions(family: Family, y: Any) -> None:
    loss = family.derivatives(y, ETA, 0)[0]
    np.testing.assert_allclose(loss - family.saturated(y), 0.5 * family.fit_of(y, ETA)[0], atol=1e-9)


@pytest.mark.parametrize("family", [family for family, _ in SINGLE if family.name != "bernoulli"], ids=repr)
def test_the_start_is_the_predictor_of_the_mean(family: Family) -> None:
    found = [family.start(float(mean)) for mean in family.mean(ETA)]
    np.testing.assert_allclose(found, ETA, rtol=1e-9, atol=1e-9)


def test_multinomial_derivatives() -> None:
    rng = np.random.default_rng(0)
    family, eta, y = Multinomial(4), rng.standard_normal((10, 4)), rng.integers(0, 4, 10).astype(float)
    _, gradient, curvature = family.derivatives(y, eta, 2)
    assert gradient is not None and curvature is not None
    step = 1e-6
    for k in range(4):
        move = step * np.eye(4)[k]
        slope = (family.derivatives(y, eta + move, 0)[0] - family.derivatives(y, eta - move, 0)[0]) / (2 * step)
        np.testing.assert_allclose(gradient[:, k], slope, atol=1e-8)
        above, below = family.derivatives(y, eta + move, 1)[1], family.derivatives(y, eta - move, 1)[1]
        assert above is not None and below is not None
        expected = curvature[:, [k]] * (np.eye(4)[k] - curvature)
        np.testing.assert_allclose((above - below) / (2 * step), expected, atol=1e-8)


@given(st.floats(-1e4, 1e4), st.sampled_from([-1.0, 1.0]))
def test_the_bernoulli_loss_keeps_its_accuracy_in_both_tails(eta: float, y: float) -> None:
    loss, gradient, curvature = Bernoulli().derivatives(np.array([y]), np.array([eta]), 2)
    assert gradient is not None and curvature is not None
    z = y * eta
    assert loss[0] == pytest.approx(np.log1p(np.exp(-z)) if z > -30 else -z + np.exp(z), rel=1e-13, abs=0)
    assert -1 <= gradient[0] * y <= 0
    assert 0 <= curvature[0] <= 0.25 + 1e-15
    if z > 30:
        assert loss[0] == pytest.approx(np.exp(-z), rel=1e-12, abs=0)


@pytest.mark.parametrize("family", [poisson(), gamma(), Tweedie(1.5), Multinomial(2), NegativeBinomial(2.0)])
def test_what_overflows_is_infinite_and_nothing_else(family: Family) -> None:
    eta = np.array([800.0, -800.0]) if family.outputs == 1 else np.array([[800.0, -800.0], [-800.0, 800.0]])
    with np.errstate(all="ignore"):
        loss, _, _ = family.derivatives(np.ones(2), eta, 2)
    assert not np.any(np.isnan(loss))


@pytest.mark.parametrize("power", [0.5, 0.1, 0.999])
def test_powers_without_a_distribution(power: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Tweedie(power)


@given(st.floats(-700, 700), st.floats(0, 1e6), st.floats(1e-9, 1e9))
def test_the_negative_binomial_loss_overflows_nowhere(eta: float, y: float, theta: float) -> None:
    family = NegativeBinomial(theta)
    loss, gradient, curvature = family.derivatives(np.array([y]), np.array([eta]), 2)
    assert gradient is not None and curvature is not None
    expected = (y + 1 / theta) * np.logaddexp(0.0, eta + np.log(theta)) - y * eta
    assert loss[0] == pytest.approx(expected, rel=1e-9, abs=1e-9 * (1 + y) * (1 + abs(eta)))
    assert np.isfinite(gradient[0]) and 0 <= curvature[0] < np.inf
    assert 0 <= family.expected_curvature(np.array([y]), np.array([eta]))[0] < np.inf


def test_a_negative_binomial_without_dispersion_is_a_poisson() -> None:
    y, mean = np.arange(25.0) % 5, np.exp(ETA)
    near, limit = NegativeBinomial(1e-9), poisson()
    np.testing.assert_allclose(near.derivatives(y, ETA, 1)[1], limit.derivatives(y, ETA, 1)[1], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(near.likelihood_terms(y, mean)[0], limit.likelihood_terms(y, mean)[0], rtol=1e-6)
    with pytest.raises(ValueError, match="theta must be a positive number, got 0"):
        NegativeBinomial(0)


@settings(max_examples=60)
@given(st.floats(0, 3), st.floats(-5, 5), st.floats(0.01, 10))
def test_the_proximal_operator_is_the_minimum(strength: float, b: float, step: float) -> None:
    penalty = Penalty(l1=strength)
    x = penalty.prox(np.array([b]), step)[0]

    def cost(at: Any) -> Any:
        return strength * np.abs(at) + (at - b) ** 2 / (2 * step)

    around = x + np.linspace(-1, 1, 41)
    assert cost(x) <= cost(around).min() + 1e-12 * (1 + cost(x))


def test_elastic_net_is_what_scikit_learn_means() -> None:
    penalty, b = elastic_net(2.0, 0.25), np.array([1.0, -2.0])
    assert penalty.smooth_value(b) + penalty.l1_value(b) == 2.0 * (0.25 * 3.0 + 0.75 / 2 * 5.0)
    np.testing.assert_allclose(penalty.gradient(b), 1.5 * b)


@pytest.mark.parametrize("strength", [-1.0, np.nan, np.inf])
def test_strengths_that_make_no_sense(strength: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        Penalty(l2=strength)
