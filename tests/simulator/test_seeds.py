"""Many random histories of a cluster with all faults, each from a seed of its own.

A hundred are played by default; ``FUTURES_CLUSTER_TEST_SEEDS`` says how many instead, and
``FUTURES_CLUSTER_TEST_FIRST_SEED`` where to begin. A failure names its seed and the command that plays it again.
"""

from __future__ import annotations

import os

import pytest

from .cluster_scenarios import play

FIRST = int(os.environ.get("FUTURES_CLUSTER_TEST_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("FUTURES_CLUSTER_TEST_SEEDS", "100"))
BLOCK = 20


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BLOCK))
def test_seeds(first: int) -> None:
    for seed in range(first, min(first + BLOCK, FIRST + SEEDS)):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"see it again: python -m tests.simulator.cluster_scenarios {seed}")
            raise


def test_the_same_seed_is_the_same_history() -> None:
    assert [play(seed).report for seed in (3, 4)] == [play(seed).report for seed in (3, 4)]
    assert play(3).report != play(4).report
