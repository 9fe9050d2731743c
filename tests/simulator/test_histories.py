"""Whatever happens, in whatever order: nothing hangs, nothing is lost, nothing is reported twice, nothing stays.

``scenarios`` says what can happen and what must be true at the end; the invariants of the machines are checked after
each event. The fast tests always play the same histories, the slow ones look for new ones.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .scenarios import Scenario, play

fast = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
#: So many times more of what looks for new histories; a night's search sets it to 20.
FACTOR = int(os.environ.get("FUTURES_CLUSTER_TEST_HISTORIES", "1"))
thorough = settings(max_examples=300 * FACTOR, deadline=None, suppress_health_check=list(HealthCheck))
randoms = st.randoms(use_true_random=False)


@fast
@given(randoms, st.integers(1, 12))
def test_any_history(draws: random.Random, tasks: int) -> None:
    Scenario(draws, tasks, faulty=False).play()


@fast
@given(randoms, st.integers(1, 12))
def test_any_history_with_faults(draws: random.Random, tasks: int) -> None:
    Scenario(draws, tasks, faulty=True).play()


@pytest.mark.parametrize("faulty", [False, True])
def test_histories_from_seeds(faulty: bool) -> None:
    for seed in range(400):
        play(seed, tasks=15, faulty=faulty)


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_long_histories(seed: int, faulty: bool) -> None:
    play(seed, tasks=150, faulty=faulty)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@thorough
@given(randoms, st.integers(1, 30), st.booleans())
def test_many_more_histories(draws: random.Random, tasks: int, faulty: bool) -> None:
    Scenario(draws, tasks, faulty).play()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_seeds() -> None:
    for seed in range(2_000 * FACTOR):
        play(seed, tasks=15, faulty=seed % 2 == 0)
    for seed in range(50 * FACTOR):
        play(seed, tasks=100, faulty=seed % 2 == 0)
