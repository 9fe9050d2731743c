"""Keys that come again: the same call shares a task, and every other one is refused."""

from __future__ import annotations

from typing import Any

import pytest

from futures_cluster import messages as m

from .builders import Cluster, done, drop, failed, finished, submit


@pytest.fixture
def cluster() -> Cluster:
    """With a second client."""
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    return cluster


def refused(key: str) -> Any:
    text = f"the key {key!r} belongs to another call, whose task the scheduler still has; choose another key"
    return failed(key, {"kind": "DuplicateKey", "text": text})


def without_calls(event: m.SubmitTasks) -> m.SubmitTasks:
    event.calls = []
    return event


@pytest.mark.parametrize("state", ["assigned", "memory", "failed"])
@pytest.mark.parametrize(
    "other",
    [submit("k", client="d", function="g"), without_calls(submit("k", client="d"))],
    ids=["another function", "a key that its client took for new"],
)
def test_another_call_is_refused(cluster: Cluster, other: m.SubmitTasks, state: str) -> None:
    cluster.given(submit("k"))
    if state == "memory":
        cluster.finish("k")
    elif state == "failed":
        cluster.given(m.TasksFinished("w1", [], [("k", 1, b"error", 1.0)]))
    assert cluster.states() == {"k": state}
    cluster.expect(other, done(refused("k"), client="d"))
    assert cluster.task("k").wanted_by == ("c",)
    if state == "assigned":
        assert cluster.finish("k") == [done(finished("k"))]
    cluster.given(m.ReleaseKeys("d", ["k"]))
    assert cluster.task("k").wanted_by == ("c",)


def test_a_key_that_the_client_took_for_new_is_refused_though_the_first_was_not(cluster: Cluster) -> None:
    cluster.given(without_calls(submit("k")))
    cluster.expect(submit("k", client="d"), done(refused("k"), client="d"))


def test_what_needs_a_refused_future_fails_and_does_not_get_the_other_result(cluster: Cluster) -> None:
    cluster.given(submit("k"))
    cluster.finish("k")
    event = submit("k", ("after", ["k"]), ("last", ["after"]), client="d", function="g")
    (told,) = cluster.given(event)
    error = refused("k")[2]
    assert [row[:3] for row in told.message.done] == [(key, m.FAILED, error) for key in ("k", "after", "last")]
    (told,) = cluster.given(submit(("later", ["k"]), client="d", function="g"))
    assert [row[:3] for row in told.message.done] == [("later", m.FAILED, error)]
    cluster.given(submit(("mine", ["k"])))
    assert cluster.states()["mine"] == "assigned"


def test_a_graph_with_a_node_of_that_name_fails(cluster: Cluster) -> None:
    cluster.given(submit("k"))
    (told,) = cluster.given(submit("k", ("end", ["k"]), client="d", function="g", wanted=["end"]))
    assert told == done(failed("end", refused("k")[2]), client="d")


@pytest.mark.parametrize("gone", [m.ReleaseKeys("d", ["k"]), m.CancelTasks("d", ["k"]), m.ClientLeft("d")])
def test_a_refusal_is_forgotten_with_its_future(cluster: Cluster, gone: m.Message) -> None:
    cluster.given(submit("k"))
    cluster.given(submit("k", client="d", function="g"))
    assert cluster.machine.state.refused
    cluster.given(gone)
    assert not cluster.machine.state.refused


def test_a_key_is_free_when_its_task_is_forgotten(cluster: Cluster) -> None:
    cluster.given(submit("k"))
    cluster.finish("k")
    cluster.given(m.ReleaseKeys("c", ["k"]))
    assert not cluster.machine.state.calls
    cluster.given(submit("k", client="d", function="g"))
    assert done(finished("k"), client="d") in cluster.finish("k")


def test_a_key_that_came_by_its_name_is_no_call(cluster: Cluster) -> None:
    cluster.given(without_calls(submit("k")))
    cluster.quiet(m.SubmitTasks("d", [("k", "", None, [])]))
    assert cluster.finish("k") == [done(finished("k")), done(finished("k"), client="d")]


def test_scattered_data_takes_no_key_of_others(cluster: Cluster) -> None:
    cluster.given(submit("k"))
    cluster.finish("k", payload=None)
    cluster.given(m.WorkerConnected("w2", "a2"))
    cluster.expect(m.ScatterData("d", [("k", 10, "w2")]), drop("w2", "k"), done(refused("k"), client="d"))
    cluster.expect(m.ScatterData("d", [("k", 10, "w1")]), done(refused("k"), client="d"))
    assert list(cluster.task("k").holders or ()) == [cluster.worker("w1")]


def test_arguments_of_a_repetition_are_freed() -> None:
    cluster = Cluster()
    payloads = [("segment", 1), ("segment", 2)]
    for payload in payloads:
        event = submit("k")
        event.tasks = [("k", "f", payload, [])]
        commands = cluster.given(event)
    assert commands == [m.PayloadsFreed([("segment", 2)])]
