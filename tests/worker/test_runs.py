"""The states of a run: those of the table, and no others, are reached."""

from __future__ import annotations

import random

import pytest
from simulator.scenarios import Scenario

from futures_cluster.worker.runs import TRANSITIONS, Run

ALL = [(old, new) for old, following in TRANSITIONS.items() for new in following]


def test_every_transition_of_the_table_happens_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[tuple[str, str], None] = {}
    slot = Run.state  # type: ignore[misc]

    def get(run: Run) -> str:
        return slot.__get__(run)  # type: ignore[attr-defined, no-any-return]

    def change(run: Run, new: str) -> None:
        try:
            old = get(run)
        except AttributeError:  # a new run; FETCHING is decided right after
            old = new
        if old != new and (old, new) != ("ready", "fetching"):
            seen[old, new] = None
        slot.__set__(run, new)  # type: ignore[attr-defined]

    monkeypatch.setattr(Run, "state", property(get, change))
    for seed in range(60):
        Scenario(random.Random(seed), 15, faulty=seed % 2 == 0, seed=seed).play()
    assert [pair for pair in seen if pair not in ALL] == []
    assert [pair for pair in ALL if pair not in seen] == []
