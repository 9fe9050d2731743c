"""How much is done for a task: counted, not timed, so that it cannot fail by accident."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.testing.simulator import Simulation, Work, binary_tree, independent

Rows = list[tuple[str, list[str]]]


def messages_for(rows: Rows, workers: int, work: Work) -> dict[str, int]:
    simulation = Simulation(work=lambda key, execution: work)
    simulation.add_workers(workers)
    simulation.add_client("c").submit(rows)
    return simulation.run().messages


@pytest.mark.parametrize(("workers", "most"), [(1, 700), (2, 700), (10, 1200), (100, 5000)])
def test_messages_for_twenty_thousand_tasks_of_no_work(workers: int, most: int) -> None:
    counts = messages_for(independent(20_000), workers, Work(1.5e-5))
    assert sum(counts.values()) <= most, counts


def test_messages_for_long_tasks() -> None:
    """Of each: its run, start, end, and release; the client is told twice."""
    counts = messages_for(independent(1000), 10, Work(0.05))
    assert sum(counts.values()) <= 6 * 1000 + 100, counts


class Counted:
    """A scheduler machine; counts the Python functions that it calls."""

    def __init__(self, workers: int, **offers: Any) -> None:
        self.machine = SchedulerMachine()
        self.calls = 0
        self.machine.handle(m.ClientJoined("c"), 0.0)
        for i in range(workers):
            self.machine.handle(m.WorkerConnected(f"w{i}", "a", **offers), 0.0)

    def handle(self, event: m.Message, now: float) -> list[Any]:
        calls = 0

        def count(frame: Any, what: str, argument: Any) -> None:
            nonlocal calls
            calls += what == "call" or what == "c_call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            return self.machine.handle(event, now)
        finally:
            sys.setprofile(before)
            self.calls += calls


def drive(counted: Counted, events: list[m.Message], stays: Callable[[str], bool], duration_s: float) -> None:
    """Hand in the events, answer for the workers, and release what has ended."""
    pending: list[Any] = []
    now = 0.0

    def take(commands: list[Any]) -> None:
        released = []
        for command in commands:
            if isinstance(command, m.ToWorker) and isinstance(command.message, m.RunTasks):
                rows = command.message.runs
                done = [(row[0], row[1], None if stays(row[0]) else b"", 10, duration_s) for row in rows]
                pending.append(m.TasksFinished(command.worker, done))
            elif isinstance(command, m.ToClient) and isinstance(command.message, m.TasksDone):
                released += [row[0] for row in command.message.done]
        if released:
            take(counted.handle(m.ReleaseKeys("c", released), now))

    for event in events:
        take(counted.handle(event, now))
    while pending:
        now += 1e-4
        take(counted.handle(pending.pop(0), now))
    assert not counted.machine.state.tasks


def submissions(rows: Rows, options: TaskOptions = m.DEFAULT_OPTIONS) -> list[m.Message]:
    tasks = [(key, "f", b"", dependencies) for key, dependencies in rows]
    function = [("f", "f", b"code")]
    return [m.SubmitTasks("c", tasks[i : i + 1000], function, options) for i in range(0, len(tasks), 1000)]


def calls_per_task(rows: Rows, workers: int, stays: bool, duration_s: float) -> float:
    counted = Counted(workers)
    drive(counted, submissions(rows), lambda key: stays, duration_s)
    return counted.calls / len(rows)


def chain(number: int) -> Rows:
    return [(f"k{i}", [f"k{i - 1}"] if i else []) for i in range(number)]


def broadcast(number: int) -> Rows:
    return [("x", []), *((f"k{i}", ["x"]) for i in range(number))]


@pytest.mark.parametrize("workers", [10, 1000])
@pytest.mark.parametrize(
    ("rows", "stays", "duration_s", "most"),
    [
        (independent(20_000), False, 1e-5, 45),
        (independent(5000), False, 0.1, 140),
        (binary_tree(5000), True, 1e-5, 170),
        (binary_tree(5000), True, 0.1, 200),
        (chain(3000), True, 1e-5, 220),
        (chain(3000), False, 1e-5, 220),
        (broadcast(3000), True, 1e-3, 200),
    ],
    ids=["no work", "long", "tree", "long tree", "chain", "chain of small", "broadcast"],
)
def test_calls_for_a_task_do_not_depend_on_the_size_of_the_cluster(
    rows: Rows, stays: bool, duration_s: float, most: int, workers: int
) -> None:
    assert calls_per_task(rows, workers, stays, duration_s) < most


def test_calls_do_not_depend_on_how_many_demands_wait() -> None:
    """A thousand tasks, each for one worker that is busy; looking at all at every event would be quadratic."""
    counted = Counted(500)
    drive_in = submissions(independent(500))
    events: list[m.Message] = list(drive_in)
    for i in range(1000):
        options = TaskOptions(workers=(f"w{i % 500}",))
        events += submissions([(f"n{i}", [])], options)
    drive(counted, events, lambda key: False, 0.1)
    assert counted.calls / 1500 < 300


def test_calls_do_not_depend_on_how_many_wait_for_a_resource() -> None:
    counted = Counted(500, resources={"GPU": 1.0})
    events = submissions(independent(5000), TaskOptions(resources=(("GPU", 1.0),)))
    drive(counted, events, lambda key: False, 0.1)
    assert counted.calls / 5000 < 300


def test_looking_for_work_to_steal_does_not_depend_on_the_size_of_the_cluster() -> None:
    calls = {}
    for workers in (100, 3000):
        counted = Counted(workers)
        machine = counted.machine
        machine.handle(m.SubmitTasks("c", [("m", "f", b"", [])], [("f", "f", b"")]), 0.0)
        machine.handle(m.TasksFinished("w0", [("m", 1, b"", 0, 0.001)]), 0.0)
        machine.handle(submissions(independent(1))[0], 0.0)
        for event in submissions(independent(workers * 10, "l")):
            machine.handle(event, 0.0)
        assert len(machine.state.saturated) >= workers - 1
        machine.handle(m.WorkerConnected("late", "a"), 1.0)
        counted.handle(m.Tick(), 2.0)
        calls[workers] = counted.calls
    assert calls[3000] <= 2 * calls[100] + 100
