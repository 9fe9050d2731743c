"""Tests of ``scheduler.adapting``."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.scheduler.adapting import desired_workers
from futures_cluster.scheduler.machine import SchedulerMachine


def machine(tasks: int, duration_s: float | None) -> SchedulerMachine:
    """One worker, and so many tasks of a function that takes so long (None: nobody knows)."""
    machine = SchedulerMachine()
    machine.handle(m.ClientJoined("c"), 0.0)
    machine.handle(m.WorkerConnected("w", "a"), 0.0)
    machine.handle(m.SubmitTasks("c", [(f"k{i}", "f", b"", []) for i in range(tasks)], [("f", "f", b"")]), 0.0)
    if duration_s is not None:
        machine.state.groups["f"].measure(duration_s)
        for worker in machine.state.workers.values():
            worker.occupancy_s = duration_s * len(worker.assigned)
    return machine


@pytest.mark.parametrize(
    ("tasks", "duration_s", "wanted"),
    [
        (0, None, 1),  # the minimum
        (3, None, 3),  # of what was never measured each may be long
        (100, None, 8),  # the maximum
        (100, 0.01, 1),  # one worker has done that in a second
        (500, 0.01, 5),
        (3, 100.0, 3),  # no more workers than tasks
    ],
)
def test_workers_follow_the_work(tasks: int, duration_s: float | None, wanted: int) -> None:
    assert desired_workers(machine(tasks, duration_s).state, 1, 1, 8) == wanted


def test_slots_count() -> None:
    assert desired_workers(machine(8, None).state, 4, 0, 8) == 2
    assert desired_workers(machine(0, None).state, 4, 0, 8) == 0
