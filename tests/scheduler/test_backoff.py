"""Waits between the tries of a task that raised, on a clock that the tests set."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.numbers import MAX_BACKOFF_S
from futures_cluster.scheduler.backoff import backoff_s
from futures_cluster.scheduler.views.explain import explain

from .builders import Cluster, submit

OPTIONS = TaskOptions(retries=3, backoff_s=4.0)


def fail(cluster: Cluster, key: str = "a") -> None:
    """The attempt that a worker has raises."""
    task = cluster.task(key)
    assert task.worker is not None
    cluster.given(m.TasksFinished(task.worker.name, [], [(key, task.attempt, b"error", 0.1)]))


def wake(cluster: Cluster) -> float:
    """Let the time pass until the next deadline; how long that was."""
    deadline = cluster.machine.next_deadline()
    assert deadline is not None
    passed, cluster.now = deadline - cluster.now, deadline
    cluster.given(m.Tick())
    return passed


def test_each_wait_is_longer_and_the_last_error_is_told() -> None:
    cluster = Cluster()
    cluster.given(submit("a", options=OPTIONS))
    waits = []
    for _ in range(3):
        fail(cluster)
        assert cluster.states() == {"a": "waiting"} and not cluster.where()
        waits.append(wake(cluster))
        assert cluster.states() == {"a": "assigned"}
    fail(cluster)
    assert cluster.states() == {"a": "failed"}
    assert all(full / 2 <= wait <= full for wait, full in zip(waits, (4.0, 8.0, 16.0), strict=True))


def test_a_task_that_waits_leaves_its_slot_and_resources_to_others() -> None:
    cluster = Cluster(slots=1, resources={"GPU": 1.0})
    options = OPTIONS._replace(resources=(("GPU", 1.0),))
    cluster.given(submit("a", options=options))
    cluster.given(submit("b", options=options))
    assert set(cluster.where()) == {"a"}
    fail(cluster)
    assert set(cluster.where()) == {"b"}


def test_explain_says_when_the_next_try_begins() -> None:
    cluster = Cluster()
    cluster.given(submit("a", options=OPTIONS))
    fail(cluster)
    (line,) = explain(cluster.machine.state, "a", cluster.now)
    wait_s = float(line.removeprefix("'a' waits ").partition(" s before try 2 of 4")[0])
    assert 2 <= wait_s <= 4


def test_a_cancelled_task_does_not_wait() -> None:
    cluster = Cluster()
    cluster.given(submit("a", options=OPTIONS))
    fail(cluster)
    cluster.given(m.CancelTasks("c", ["a"]))
    assert not cluster.states() and not cluster.machine.state.paused
    wake(cluster)  # the deadline that is left does nothing


def test_an_attempt_that_ran_too_long_is_repeated_at_once() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", options=OPTIONS._replace(timeout_s=1.0)))
    cluster.start("a")
    wake(cluster)
    assert cluster.states() == {"a": "assigned"} and cluster.task("a").retries_left == 2


def test_the_deadline_of_an_attempt_that_raised_does_not_end_its_wait() -> None:
    cluster = Cluster()
    cluster.given(submit("a", options=OPTIONS._replace(timeout_s=1.0)))
    cluster.start("a")
    fail(cluster)
    assert wake(cluster) == 1.0 and cluster.states() == {"a": "waiting"}
    wake(cluster)
    assert cluster.states() == {"a": "assigned"}


def test_inputs_that_are_lost_meanwhile_are_waited_for() -> None:
    cluster = Cluster(2)
    cluster.given(submit("x"))
    holder = cluster.task("x").worker
    assert holder is not None
    cluster.finish("x", payload=None, size_bytes=10)
    cluster.given(submit(("a", ["x"]), options=OPTIONS))
    fail(cluster)
    cluster.given(m.WorkerGone(holder.name, [], cause="died"))
    while cluster.states()["a"] == "waiting" and cluster.machine.state.paused:
        wake(cluster)
    assert cluster.states() == {"x": "assigned", "a": "waiting"}
    cluster.finish("x")
    assert cluster.states()["a"] == "assigned"


def test_waits_differ_by_seed_and_key_and_have_a_maximum() -> None:
    waits = {backoff_s(OPTIONS, key, 1, seed) for key in "abc" for seed in "xyz"}
    assert len(waits) == 9
    assert backoff_s(OPTIONS, "a", 1, "x") == backoff_s(OPTIONS, "a", 1, "x")
    assert MAX_BACKOFF_S / 2 <= backoff_s(OPTIONS, "a", 10_000, "x") <= MAX_BACKOFF_S
    assert backoff_s(TaskOptions(retries=3), "a", 1, "x") == 0


@pytest.mark.parametrize("backoff", [-1.0, 301.0, float("nan"), "soon"])
def test_options_of_peers_are_checked(backoff: object) -> None:
    with pytest.raises((ValueError, TypeError), match="backoff"):
        TaskOptions.from_wire((*TaskOptions()[:6], backoff, ()))
