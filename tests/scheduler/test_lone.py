"""Lone tasks are handled as all others are, in fewer steps: the same commands, and in the end the same books."""

from __future__ import annotations

import random
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler import invariants, lone
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.scheduler.views.snapshot import snapshot

from .builders import Cluster, submit


class Pair:
    """Two machines that get the same events; one of them takes the short way where there is one."""

    def __init__(self, workers: int = 2, slots: int = 1) -> None:
        self.short, self.long = SchedulerMachine(), SchedulerMachine()
        self.now = 0.0
        self.taken = 0  # how often there was a short way
        self.given(m.ClientJoined("c"))
        self.given(m.ClientJoined("d"))
        for number in range(workers):
            self.given(m.WorkerConnected(f"w{number}", f"a{number}", slots))

    def given(self, event: m.Message) -> list[Any]:
        self.now += 0.001
        commands = self.short.lone.handle(event, self.now)
        if commands is None:
            commands = self.short.handle(event, self.now)
        else:
            self.taken += 1
        assert commands == self.long.handle(event, self.now)
        return commands

    def check(self) -> None:
        self.short.lone.settle()
        invariants.check(self.short.state)
        assert books(self.short) == books(self.long)


def books(machine: SchedulerMachine) -> dict[str, Any]:
    """What the machine knows, apart from the order in which tasks were submitted."""
    state = machine.state
    tasks = {
        key: (task.state, task.attempt, task.result, task.size_bytes, task.wanted_by, task.since_s * 0)
        for key, task in state.tasks.items()
    }
    workers = {
        name: (list(worker.assigned), round(worker.occupancy_s, 9), worker.last_progress_s)
        for name, worker in state.workers.items()
    }
    groups = {name: (group.finished, group.failed, group.expected_s) for name, group in state.groups.items()}
    functions = {name: function.tasks for name, function in state.functions.items()}
    shares = {
        (client, depth): state.shares.flow(client, (0, -depth)).virtual_time_s for client in "cd" for depth in range(2)
    }
    order = [worker.name for worker in state.with_free_slot], [worker.name for worker in state.accepting]
    return {
        "tasks": tasks,
        "workers": workers,
        "groups": groups,
        "functions": functions,
        "shares": shares,
        "order": order,
        "attempts": state.attempts,
        "snapshot": {**snapshot(state), "workers": None},
    }


def runs_of(commands: list[Any]) -> list[tuple[str, Any]]:
    return [
        (command.worker, row)
        for command in commands
        if type(command) is m.ToWorker and type(command.message) is m.RunTasks
        for row in command.message.runs
    ]


def test_a_loop_needs_no_records() -> None:
    pair = Pair()
    ((worker, row),) = runs_of(pair.given(submit("k")))  # it tells the function, and so goes the long way
    pair.given(m.TasksFinished(worker, [(row[0], row[1], b"r", 1, 0.5)]))
    ((worker, row),) = runs_of(pair.given(m.SubmitTasks("c", [("l", "f", b"", [])], [("f", "f", b"code")])))
    pair.given(m.TasksFinished(worker, [(row[0], row[1], b"r", 1, 0.5)]))
    workers = []
    for number in range(10):
        key = f"k{number}"
        ((worker, row),) = runs_of(pair.given(m.SubmitTasks("c", [(key, "f", b"", [])])))
        workers.append(worker)
        pair.given(m.TasksFinished(worker, [(key, row[1], b"r", 1, 0.5)]))
        pair.given(m.ReleaseKeys("c", [key]))
    assert pair.taken == 30
    assert workers == ["w0", "w1"] * 5
    assert set(pair.short.state.tasks) == {"k", "l"}
    pair.check()


@pytest.mark.parametrize("seed", range(60))
def test_random_histories_end_with_the_same_books(seed: int) -> None:
    rng, is_busy = random.Random(seed), seed % 2
    pair = Pair(workers=rng.randint(1, 3), slots=rng.randint(1, 2))
    running: list[tuple[str, Any]] = runs_of(pair.given(submit(*[f"first{i}" for i in range(4)])))
    running += runs_of(pair.given(m.SubmitTasks("c", [("first4", "g", b"", [])], [("g", "g", b"code")])))
    kept: list[tuple[str, str]] = [("c", f"first{i}") for i in range(5)]
    for step in range(150):
        choice = rng.random()
        commands: list[Any] = []
        if choice < (0.4 if is_busy or not running else 0.05) or not (running or kept):
            client, number = rng.choice("cd"), 1 if rng.random() < 0.9 else 3
            keys = [f"{client}{step}-{i}" for i in range(number)]
            options = m.DEFAULT_OPTIONS if rng.random() < 0.9 else TaskOptions(priority=1)
            inputs = [kept[-1][1]] if kept and kept[-1][0] == client and rng.random() < 0.1 else []
            rows = [(key, rng.choice("fffg"), b"", inputs) for key in keys]
            commands = pair.given(m.SubmitTasks(client, rows, [], options, rng.randint(0, 1)))
            kept += [(client, key) for key in keys]
        elif choice < 0.8 and running:
            worker, row = running.pop(rng.randrange(len(running)))
            if rng.random() < 0.1:
                event = m.TasksFinished(worker, [], [(row[0], row[1], b"error", 0.1)])
            else:
                event = m.TasksFinished(worker, [(row[0], row[1], b"r", 5, rng.choice([1e-5, 0.1]))])
            commands = pair.given(event)
        elif choice < 0.95 and kept:
            client, key = kept.pop(rng.randrange(len(kept)))
            commands = pair.given(m.ReleaseKeys(client, [key]))
        elif kept:
            client, key = kept.pop(rng.randrange(len(kept)))
            commands = pair.given(m.CancelTasks(client, [key]))
        running += runs_of(commands)
        if rng.random() < 0.1:
            pair.check()
    pair.check()
    assert pair.taken > 10 or is_busy


@pytest.mark.parametrize(
    "event",
    [
        m.SubmitTasks("c", [("x", "f", b"", ["k0"])]),
        m.SubmitTasks("c", [("x", "f", b"", []), ("y", "f", b"", [])]),
        m.SubmitTasks("c", [("x", "f", b"", [])], options=TaskOptions(retries=1)),
        m.SubmitTasks("c", [("x", "f", b"", [])], wanted=["x"]),
        m.SubmitTasks("c", [("x", "f", b"", [])], [("f", "f", b"code")]),
        m.SubmitTasks("c", [("x", "unknown", b"", [])]),
        m.SubmitTasks("c", [("x", "f", (b"", ("shm", 1)), [])]),
        m.SubmitTasks("stranger", [("x", "f", b"", [])]),
        m.SubmitTasks("c", [("k0", "f", b"", [])]),
        m.TasksFinished("w1", [("k1", 99, b"r", 1, 0.1)]),
        m.ReleaseKeys("c", ["k0", "unknown"]),
        m.ReleaseKeys("d", ["k0"]),
        m.Tick(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_there_is_no_short_way_for(event: m.Message) -> None:
    cluster = Cluster(workers=2)
    cluster.given(submit("a", "b"))
    cluster.finish("a", "b")
    machine = cluster.machine
    (command,) = machine.lone.handle(m.SubmitTasks("c", [("k0", "f", b"", [])]), 0.0) or [None]
    assert command is not None
    (row,) = command.message.runs
    assert machine.lone.handle(m.TasksFinished(command.worker, [("k0", row[1], b"r", 1, 0.1)]), 0.0)
    assert machine.lone.handle(event, 0.0) is None
    machine.handle(event, 0.0)
    invariants.check(machine.state)


def test_what_others_do_between_two_tasks_is_seen() -> None:
    pair = Pair(workers=1)
    for number in range(4):
        functions = [("f", "f", b"code")] if number < 1 else []
        ((worker, row),) = runs_of(pair.given(m.SubmitTasks("c", [(f"k{number}", "f", b"", [])], functions)))
        pair.given(m.TasksFinished(worker, [(row[0], row[1], b"r", 1, 0.5)]))
    assert pair.taken == 6
    pair.given(m.RetireWorkers([worker]))
    assert not runs_of(pair.given(m.SubmitTasks("c", [("k4", "f", b"", [])])))
    ((worker, row),) = runs_of(pair.given(m.WorkerConnected("new", "a", 1)))
    assert worker == "new"
    pair.given(m.TasksFinished(worker, [(row[0], row[1], b"r", 1, 0.5)]))
    pair.given(m.ClientLeft("c"))
    assert not runs_of(pair.given(m.SubmitTasks("c", [("k5", "f", b"", [])])))
    pair.check()


def test_kept_results_get_records_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lone, "MAX_ENDED", 5)
    pair = Pair()
    for number in range(12):
        key = f"k{number}"
        functions = [("f", "f", b"code")] if number < 2 else []
        ((worker, row),) = runs_of(pair.given(m.SubmitTasks("c", [(key, "f", b"", [])], functions)))
        pair.given(m.TasksFinished(worker, [(key, row[1], b"r", 1, 0.5)]))
    assert len(pair.short.state.tasks) == 8
    pair.check()


def test_a_worker_that_is_lost_with_a_lone_task_is_counted() -> None:
    pair = Pair(workers=2)
    for number in range(2):
        ((worker, row),) = runs_of(
            pair.given(m.SubmitTasks("c", [(f"k{number}", "f", b"", [])], [("f", "f", b"code")]))
        )
        pair.given(m.TasksFinished(worker, [(row[0], row[1], b"r", 1, 0.5)]))
    ((worker, row),) = runs_of(pair.given(m.SubmitTasks("c", [("lone", "f", b"", [])])))
    assert pair.short.lone.running
    pair.given(m.WorkerGone(worker, executing=["lone"], cause="signal 9"))
    pair.check()
    assert len(pair.short.state.tasks["lone"].losses) == 1
