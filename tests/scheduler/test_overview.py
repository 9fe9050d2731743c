"""What the status page is told of tasks: compared with the state itself, task by task."""

from __future__ import annotations

from collections import Counter

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler import transitions
from futures_cluster.scheduler.state import State
from futures_cluster.scheduler.views import overview

from .builders import Cluster, submit


def counted(state: State) -> Counter[tuple[str, str]]:
    return Counter((task.function.group.name, task.state) for task in state.tasks.values())


def told(state: State) -> Counter[tuple[str, str]]:
    names = ("waiting", "queued", "assigned", "memory", "failed", "released")
    rows = overview.progress(state)
    return Counter({(row["name"], name): row[name] for row in rows for name in names if row[name]})


def mixed() -> Cluster:
    """Tasks in all states but RELEASED: three of ``load``, some of ``work``."""
    cluster = Cluster(2)
    cluster.given(submit("a", "b", "c", function="load"))
    cluster.finish("a", duration_s=0.5)
    cluster.given(submit(("x", ["a"]), ("y", ["b"]), ("z", ["c"]), "q", function="work"))
    return cluster


def test_progress_is_the_number_of_tasks_in_each_state() -> None:
    cluster = mixed()
    state = cluster.machine.state
    assert told(state) == counted(state)
    rows = {row["name"]: row for row in overview.progress(state)}
    assert (rows["load"]["finished"], rows["load"]["duration_s"], rows["work"]["finished"]) == (1, 0.5, 0)
    assert sum(row["running"] for row in rows.values()) == 2


def test_bytes_that_workers_hold_by_function() -> None:
    cluster = mixed()
    cluster.finish("b", payload=None, size_bytes=1000)
    rows = {row["name"]: row["held_bytes"] for row in overview.progress(cluster.machine.state)}
    assert rows == {"load": 1000, "work": 0}


def test_what_a_client_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = mixed()
    state = cluster.machine.state
    assert overview.unfinished(state, "c") == 6  # all but ``a``
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("one", "two", client="d"))
    assert (overview.unfinished(state, "c"), overview.unfinished(state, "d")) == (6, 2)
    monkeypatch.setattr(overview, "MAX_COUNTED", 5)
    assert (overview.unfinished(state, "c"), overview.unfinished(state, "d")) == (8, 8)


@pytest.mark.parametrize("finished", range(7))
def test_progress_whichever_state_is_commonest(finished: int) -> None:
    """Tasks of the commonest state are not counted one by one."""
    cluster = Cluster(1)
    cluster.given(submit(*"abcdef", function="f"))
    cluster.given(submit(*"ghi", *[(key, ["i"]) for key in "jklm"], function="g"))
    state = cluster.machine.state
    while finished and any(state.workers["w1"].assigned):
        cluster.finish(next(iter(state.workers["w1"].assigned)))
        finished -= 1
        assert told(state) == counted(state)
    assert told(state) == counted(state)


def test_some_tasks_of_a_function_what_is_under_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = mixed()
    state = cluster.machine.state
    found = overview.tasks_of(state, "work")
    assert found["known"] and [row["key"] for row in found["tasks"]] == ["x", "q", "y", "z"]
    for row in found["tasks"]:
        task = state.tasks[row["key"]]
        assert (row["state"], row["worker"]) == (task.state, task.worker and task.worker.name)
    monkeypatch.setattr(overview, "MAX_OF_STATE", 1)
    states = [row["state"] for row in overview.tasks_of(state, "work")["tasks"]]
    assert len(states) == len(set(states))
    assert overview.tasks_of(state, "no") == {"name": "no", "known": False, "tasks": []}


def test_functions_stay_listed_when_their_tasks_are_gone() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a"))
    cluster.finish("a")
    cluster.given(m.ReleaseKeys("c", ["a"]))
    (row,) = overview.progress(cluster.machine.state)
    assert (row["name"], row["finished"], row["memory"]) == ("f", 1, 0)


def test_what_raised_is_counted_at_each_try() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", options=TaskOptions(retries=1)))
    for _ in range(2):
        task = cluster.task("a")
        cluster.given(m.TasksFinished("w1", [], [("a", task.attempt, b"error", 0.1)]))
    (row,) = overview.progress(cluster.machine.state)
    assert (row["raised"], row["failed"]) == (2, 1)


def test_more_tasks_than_are_counted_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_COUNTED", 4)
    cluster = Cluster(1)
    cluster.given(submit(*"abcdefgh"))
    cluster.given(submit(("y", ["h"]), function="g"))
    rows = overview.progress(cluster.machine.state)
    names = ("waiting", "queued", "assigned", "memory", "failed", "released", "unknown")
    assert {row["name"]: sum(row[name] for name in names) for row in rows} == {"f": 8, "g": 1}
    assert sum(row["unknown"] for row in rows) >= 5


def test_most_functions_are_listed_with_tasks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_FUNCTIONS", 2)
    cluster = Cluster(1)
    for name in ("one", "two", "three"):
        cluster.measured(1.0, name)
    cluster.given(submit("a", function="four"))
    assert overview.progress(cluster.machine.state)[0]["name"] == "four"
    assert len(overview.progress(cluster.machine.state)) == 2


def test_failures_have_the_words_of_the_scheduler() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", "b"))
    assert overview.failures(cluster.machine.state) == []
    cluster.given(m.TasksFinished("w1", [], [("a", cluster.task("a").attempt, b"opaque", 0.1)]))
    cluster.given(m.WorkersBroken(transitions.scheduler_error("InitializerFailed", "no worker starts")))
    first, second = overview.failures(cluster.machine.state)
    assert first == {"key": "b", "function": "f", "kind": "InitializerFailed", "text": "no worker starts"}
    assert second == {"key": "a", "function": "f", "kind": "", "text": ""}
    assert len(overview.failures(cluster.machine.state, most=1)) == 1


def test_graph_of_tasks() -> None:
    graph = overview.graph(mixed().machine.state)
    names = [node["id"] for node in graph["nodes"]]
    assert not graph["folded"]
    assert sorted(names) == ["a", "b", "c", "q", "x", "y", "z"]
    edges = {(names[source], names[target]): number for source, target, number in graph["edges"]}
    # What is small and has finished is no input any more, once its user has it.
    assert {("b", "y"): 1, ("c", "z"): 1}.items() <= edges.items()


def test_a_large_graph_is_folded_by_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_NODES", 3)
    cluster = mixed()
    graph = overview.graph(cluster.machine.state)
    assert graph["folded"]
    nodes = {node["name"]: node for node in graph["nodes"]}
    assert (nodes["load"]["tasks"], nodes["work"]["tasks"]) == (3, 4)
    ((source, target, number),) = graph["edges"]
    assert (graph["nodes"][source]["name"], graph["nodes"][target]["name"]) == ("load", "work")
    assert number >= 2
    states = Counter({(name, state): n for name, node in nodes.items() for state, n in node.items() if state in STATES})
    assert states == counted(cluster.machine.state)


def test_the_edges_of_a_larger_one_are_those_of_some_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_NODES", 3)
    monkeypatch.setattr(overview, "MAX_FOLDED", 10)
    cluster = Cluster(1)
    cluster.given(submit("a", function="load"))
    cluster.given(submit(*[(f"x{i}", ["a"]) for i in range(99)], function="work"))
    cluster.given(submit("z", function="last"))
    graph = overview.graph(cluster.machine.state)
    assert (graph["tasks"], graph["shown"]) == (101, 10)
    assert {node["name"]: node["tasks"] for node in graph["nodes"]} == {"load": 1, "work": 99, "last": 1}
    assert graph["edges"] == [[0, 1, 99]]


STATES = ("waiting", "queued", "assigned", "memory", "failed", "released")


def test_the_story_of_a_task() -> None:
    cluster = mixed()
    cluster.start("b")
    cluster.now = 2.0
    story = overview.describe_task(cluster.machine.state, "b", 2.0)
    assert (story["state"], story["function"], story["worker"], story["since_s"]) == ("assigned", "load", "w2", 2.0)
    assert story["used_by"] == [{"key": "y", "function": "work", "state": "waiting"}]
    assert story["explanation"][0].startswith("'b' runs on worker w2")
    waiting = overview.describe_task(cluster.machine.state, "y", 2.0)
    assert waiting["inputs"] == [{"key": "b", "function": "load", "state": "assigned"}]
    assert waiting["worker"] is None and waiting["since_s"] is None


def test_the_story_of_an_unknown_task() -> None:
    story = overview.describe_task(Cluster().machine.state, "no", 0.0)
    assert story["known"] is False
    assert "not known" in story["explanation"][0]


def test_what_a_worker_has() -> None:
    cluster = Cluster(1)
    cluster.measured(0.001)
    cluster.given(submit("a", "b", "c"))
    cluster.now = 1.0
    state = cluster.machine.state
    rows = overview.running_on(state.workers["w1"], 1.0)
    assert [(row["key"], row["running"], row["since_s"]) for row in rows] == [
        ("a", True, 1.0),
        ("b", False, 1.0),
        ("c", False, 1.0),
    ]
    cluster.finish("a", payload=None, size_bytes=10)
    cluster.finish("b", payload=None, size_bytes=30)
    assert [(row["key"], row["size_bytes"], row["copies"]) for row in overview.held_on(state.workers["w1"])] == [
        ("b", 30, 1),
        ("a", 10, 1),
    ]


def test_moved_tasks_are_counted() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a"))
    cluster.given(m.TasksReturned("w1", [("a", cluster.task("a").attempt)]))
    assert cluster.machine.state.moved == 1
    cluster.given(m.TasksReturned("w1", [("a", 1)]))  # old news
    assert cluster.machine.state.moved == 1
    cluster.given(m.CancelTasks("c", ["a"]))
    cluster.given(m.TasksReturned("w1", [("a", 2)]))
    assert cluster.machine.state.moved == 1
