"""The states of a task: those of the table, and no others, are reached."""

from __future__ import annotations

import random

import pytest
from simulator.scenarios import Scenario

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler import records as state_module
from futures_cluster.scheduler.records import TRANSITIONS, FunctionStats, Task

from .builders import Cluster, submit

ALL = [(old, new) for old, following in TRANSITIONS.items() for new in following]


def test_group_durations_are_moving_averages_with_a_floor() -> None:
    group = FunctionStats("f")
    assert group.expected_s == state_module.UNKNOWN_DURATION_S
    group.measure(1e-9)
    assert group.expected_s == state_module.MIN_DURATION_S
    group.measure(1.0)
    assert group.expected_s == pytest.approx(state_module.NEWEST_WEIGHT)


def test_most_tasks_demand_nothing() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.given(submit("b", options=TaskOptions(priority=3)))
    cluster.given(submit("c", options=TaskOptions(resources=(("GPU", 1.0),))))
    assert cluster.task("a").requirements is None and cluster.task("b").requirements is None
    assert cluster.task("c").requirements == ((("GPU", 1.0),), (), False, ())
    cluster.task("a").losses = ("killed", "killed")
    assert cluster.task("a").requirements == ((), (), True, ())


def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], None]:
    """Every change of a task's state from now on."""
    seen: dict[tuple[str, str], None] = {}
    slot = Task.state  # type: ignore[misc]

    def get(task: Task) -> str:
        return slot.__get__(task)  # type: ignore[attr-defined, no-any-return]

    def change(task: Task, new: str) -> None:
        try:
            old = get(task)
        except AttributeError:  # a new task
            old = new
        if old != new:
            seen[old, new] = None
        slot.__set__(task, new)  # type: ignore[attr-defined]

    monkeypatch.setattr(Task, "state", property(get, change))
    return seen


def cancel_what_runs_again() -> None:
    """The rare ones: tasks that others need again, and then do not, though something made of them is there."""
    cluster = Cluster(2)
    cluster.given(submit("a", ("b", ["a"]), ("c", ["b"]), ("d", ["b"])))
    cluster.finish("a", "b", "c", "d", payload=None)
    cluster.given(m.DataAdded("w2", ["d"]))
    cluster.given(m.ReleaseKeys("c", ["a", "b"]))
    cluster.given(m.WorkerRetiring("w2"))
    cluster.given(m.WorkerGone("w1"))
    assert cluster.states() == {"a": "queued", "b": "waiting", "c": "waiting", "d": "memory"}
    cluster.given(m.CancelTasks("c", ["c"]))
    assert cluster.states() == {"a": "released", "b": "released", "d": "memory"}
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"])))
    cluster.finish("a", "b", payload=None)
    cluster.given(m.ReleaseKeys("c", ["a"]))
    cluster.given(submit("a"))
    cluster.given(m.CancelTasks("c", ["a"]))
    cluster.given(m.TasksReturned("w1", [("a", 3)]))
    assert cluster.states() == {"a": "released", "b": "memory"}
    cluster = Cluster(0)
    cluster.given(submit("a"))
    cluster.given(m.WorkersBroken(b"error"))


def test_every_transition_of_the_table_happens_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(monkeypatch)
    for seed in range(400):
        Scenario(random.Random(seed), 15, faulty=seed % 2 == 0, seed=seed).play()
    cancel_what_runs_again()
    assert [pair for pair in seen if pair not in ALL] == []
    assert [pair for pair in ALL if pair not in seen] == []
