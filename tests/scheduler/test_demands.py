"""Queues of demanding tasks: that nobody looks in vain, and nobody is overlooked."""

from __future__ import annotations

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler.queues import constrained as constrained_module

from .builders import Cluster, submit


def named(name: str) -> TaskOptions:
    return TaskOptions(workers=(name,))


def test_workers_that_do_not_fit_are_not_looked_at_again() -> None:
    cluster = Cluster(3)
    cluster.given(submit("a", "b", options=named("w2")))
    queue = cluster.machine.state.constrained.queues[(), ("w2",), False, ()]
    assert queue.first() is cluster.task("b")
    assert queue not in cluster.machine.state.constrained.eligible and not queue.candidates
    cluster.given(m.WorkerConnected("w9", "a9"))
    assert not queue.candidates
    cluster.finish("a")
    assert cluster.where() == {"b": "w2"}


def test_void_entries_are_skipped() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", "b", "c", options=named("w1")))
    cluster.given(m.CancelTasks("c", ["b"]))
    cluster.finish("a")
    assert cluster.where() == {"c": "w1"}


def test_empty_queues_do_not_pile_up() -> None:
    cluster = Cluster(1)
    for i in range(200):
        cluster.given(submit(f"k{i}", options=TaskOptions(workers=("w1", f"x{i}"))))
        cluster.finish(f"k{i}")
    state = cluster.machine.state
    assert not any(queue.tasks.count for queue in state.constrained.queues.values())
    assert len(state.constrained.queues) <= constrained_module.MAX_EMPTY + 1
    assert len(state.constrained._by_place) <= constrained_module.MAX_EMPTY + 2


def test_a_worker_that_is_gone_is_not_looked_at() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", options=TaskOptions(resources=(("GPU", 1.0),))))
    cluster.given(m.WorkerGone("w1"))
    cluster.given(m.WorkerConnected("w3", "a3", resources={"GPU": 1.0}))
    assert cluster.where() == {"a": "w3"}


def test_retrying_a_task_that_has_no_queue_does_nothing() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a"))
    cluster.machine.state.constrained.retry(cluster.task("a"))
    assert not cluster.machine.state.constrained.eligible
