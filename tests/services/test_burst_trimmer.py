"""When a scheduler gives memory back: once most of the tasks of a burst are gone."""

from __future__ import annotations

import asyncio

import pytest

from futures_cluster.services.scheduler import burst_trimmer
from futures_cluster.services.scheduler.burst_trimmer import BurstTrimmer


@pytest.mark.parametrize(
    ("counts", "trims"),
    [
        ([0, 0, 0], 0),
        ([900, 0], 0),  # no burst
        ([5000, 6000, 5000, 3000], 0),  # half of it is left
        ([5000, 2500, 0], 1),
        ([5000, 2499, 0], 2),
        ([5000, 0, 5000, 0], 2),
        ([5000, 2000, 999], 2),  # what was left is a burst, too
        ([5000, 1999, 900, 0], 2),
    ],
)
def test_trims_when_most_of_a_burst_is_gone(counts: list[int], trims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(burst_trimmer.gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(burst_trimmer, "trim", lambda: done.append("trim"))
    loop = asyncio.new_event_loop()
    try:
        found = iter(counts)
        trimmer = BurstTrimmer(loop, lambda: next(found), lambda: True)
        for _ in counts:
            assert trimmer._look()
    finally:
        loop.close()
    assert done == ["collect", "trim"] * trims


def test_without_tasks_and_clients_it_rests() -> None:
    loop = asyncio.new_event_loop()
    try:
        for tasks, clients, goes_on in [(0, False, False), (1, False, True), (0, True, True)]:
            trimmer = BurstTrimmer(loop, lambda: tasks, lambda: clients)
            assert trimmer._look() is goes_on
    finally:
        loop.close()
