"""Which tasks of a client no worker can take, and what they lack."""

from __future__ import annotations

from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler import unplaceable as module
from futures_cluster.scheduler.unplaceable import unanswered, unplaceable

from .builders import Cluster, submit

NO_GPU = "the most that a worker has is {'GPU': 0}"


def lacking(cluster: Cluster, client: str = "c") -> list[tuple[int, str, Any, Any, str, str]]:
    return [tuple(row.values()) for row in unplaceable(cluster.machine.state, client)]  # type: ignore[misc]


def gpu(amount: float) -> TaskOptions:
    return TaskOptions(resources=(("GPU", amount),))


def test_no_worker() -> None:
    cluster = Cluster(0)
    cluster.given(submit("a", "b", ("c", ["a"])))
    assert lacking(cluster) == [(2, "a", {}, [], "a worker", "there is none")]
    cluster.given(m.WorkerConnected("w1", "a1"))
    assert lacking(cluster) == []


def test_the_last_worker_was_lost() -> None:
    cluster = Cluster(1)
    cluster.given(m.WorkerGone("w1", [], False, "killed by signal 9; the end of its stderr:\nouch"))
    cluster.given(submit("a"))
    ((*_, why),) = lacking(cluster)
    assert why == "there is none (the last one, w1: killed by signal 9; the end of its stderr)"


def test_all_workers_are_about_to_end() -> None:
    cluster = Cluster(1)
    cluster.given(m.ScatterData("c", [("x", 10, "w1")]))
    cluster.given(m.RetireWorkers(["w1"]))
    cluster.given(submit("a"))
    assert lacking(cluster) == [(1, "a", {}, [], "a worker", "the only worker is about to end")]


def silent(cluster: Cluster, client: str = "c", **silent_s: float) -> list[tuple[str, int, str, str]]:
    rows = unanswered(cluster.machine.state, client, silent_s)
    return [(row["silent"], row["count"], row["key"], row["why"]) for row in rows]


def test_workers_that_say_nothing() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", options=TaskOptions(workers=("w1",))))
    cluster.given(submit("b", options=TaskOptions(workers=("w2",))))
    assert silent(cluster) == silent(cluster, gone=9.0) == []
    assert silent(cluster, w1=7.4) == [("w1", 1, "a", "it has said nothing for 7 s")]
    assert silent(cluster, "other", w1=7.4) == [("w1", 0, "", "it has said nothing for 7 s")]
    cluster.given(submit(*"cdefgh"))
    queued = cluster.machine.state.queued
    assert queued
    assert sum(count for _, count, _, _ in silent(cluster, w1=7.0, w2=8.0)) == 8 - queued + 2 * queued


def test_what_waits_for_its_turn_is_not_reported() -> None:
    cluster = Cluster(2, resources={"GPU": 1.0})
    cluster.given(submit(*"abcdef"))
    cluster.given(submit("g", "h", "i", options=gpu(1)))
    cluster.given(submit("j", "k", "l", options=TaskOptions(workers=("w1",))))
    assert cluster.machine.state.queued > 0
    assert lacking(cluster) == []


def test_a_resource_that_no_worker_has() -> None:
    cluster = Cluster(2)
    cluster.given(submit("runs", "a"))
    cluster.given(submit("b", "c", options=gpu(1)))
    assert lacking(cluster) == [(2, "b", {"GPU": 1}, [], "a worker with {'GPU': 1}", NO_GPU)]
    cluster.given(m.CancelTasks("c", ["b"]))
    assert lacking(cluster) == [(1, "c", {"GPU": 1}, [], "a worker with {'GPU': 1}", NO_GPU)]
    cluster.given(m.WorkerConnected("w3", "a3", resources={"GPU": 1}))
    assert lacking(cluster) == []


def test_resources_that_no_worker_has_together() -> None:
    cluster = Cluster(1, resources={"GPU": 1.0})
    cluster.given(m.WorkerConnected("w2", "a2", resources={"disk": 1.0}))
    cluster.given(submit("a", options=TaskOptions(resources=(("GPU", 1), ("disk", 1)))))
    want = "a worker with {'GPU': 1, 'disk': 1}"
    assert lacking(cluster) == [(1, "a", {"GPU": 1, "disk": 1}, [], want, "no worker has all of that together")]


def test_workers_that_are_not_there() -> None:
    cluster = Cluster(7)
    cluster.given(submit("a", options=TaskOptions(workers=("x", "y"))))
    cluster.given(submit("b", options=TaskOptions(workers=("z",), resources=(("GPU", 0.5),))))
    want = "one of the workers x, y"
    assert lacking(cluster)[:1] == [(1, "a", {}, ["x", "y"], want, "the workers are w1, w2, w3, w4, w5 and 2 more")]
    assert lacking(cluster)[1][4] == "the worker z with {'GPU': 0.5}"


def test_a_worker_that_took_the_place_of_the_one_that_is_named() -> None:
    cluster = Cluster(0)
    cluster.given(m.WorkerConnected("w~2", "a"))
    cluster.given(submit("a", options=TaskOptions(workers=("w",), resources=(("GPU", 1),))))
    assert lacking(cluster) == [(1, "a", {"GPU": 1}, ["w"], "the worker w with {'GPU': 1}", NO_GPU)]


def test_only_the_tasks_of_the_client_that_asks() -> None:
    cluster = Cluster(0)
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("a", "b"))
    cluster.given(submit("d1", client="d"))
    assert [row[:2] for row in lacking(cluster)] == [(2, "a")]
    assert [row[:2] for row in lacking(cluster, "d")] == [(1, "d1")]
    assert lacking(cluster, "e") == []


def test_tasks_that_its_tasks_have_submitted() -> None:
    """They are submitted in the name of the worker that runs the task, and so on."""
    cluster = Cluster(2)
    cluster.given(m.ClientJoined("d"))
    for client in ("w1", "w2"):
        cluster.given(m.ClientJoined(client))
    cluster.given(submit("a", options=TaskOptions(workers=("w1",))))
    cluster.given(submit("b", client="w1", options=TaskOptions(workers=("w2",))))
    cluster.given(submit("c", client="w2", options=gpu(1)))
    assert lacking(cluster) == [(1, "c", {"GPU": 1}, [], "a worker with {'GPU': 1}", NO_GPU)]
    assert lacking(cluster, "d") == []


def test_there_are_bounds(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_COUNTED", 10)
    cluster = Cluster(0)
    cluster.given(submit(*(f"k{i}" for i in range(30))))
    assert [row[0] for row in lacking(cluster)] == [10]
    cluster = Cluster(1)
    for i in range(9):
        cluster.given(submit(f"k{i}", options=gpu(i + 1)))
    assert len(lacking(cluster)) == module.MAX_ROWS
