"""Limits that all tasks of a cluster share."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.errors import LimitError
from futures_cluster.messages import DEFAULT_OPTIONS, TaskOptions, limits_complaint
from futures_cluster.scheduler.queues.constrained import MAX_BYPASSED
from futures_cluster.scheduler.views.explain import explain
from futures_cluster.scheduler.views.snapshot import snapshot

from .builders import Cluster, submit


def api(amount: float, **others: object) -> TaskOptions:
    return TaskOptions(limits=(("api", amount),))._replace(**others)  # type: ignore[arg-type]


def limited(total: float = 2.0, workers: int = 4) -> Cluster:
    cluster = Cluster(workers)
    cluster.quiet(m.DeclareLimits({"api": total}))
    return cluster


def test_no_more_run_than_the_limit_and_others_pass_them() -> None:
    cluster = limited()
    cluster.given(submit("a", "b", "c", "d", options=api(1)))
    cluster.given(submit("e"))
    assert set(cluster.where()) == {"a", "b", "e"}
    cluster.finish("b")
    assert set(cluster.where()) == {"a", "c", "e"}
    cluster.finish("a", "c", "d")
    assert cluster.machine.state.limits.by_name["api"].used == 0


@pytest.mark.parametrize("how", ["raises", "dies", "is cancelled", "takes too long"])
def test_however_a_task_ends_its_amount_is_free(how: str) -> None:
    cluster = limited(1)
    cluster.given(submit("a", options=api(1, timeout_s=5.0, rerun=False)))
    cluster.given(submit("b", options=api(1)))
    task = cluster.task("a")
    assert task.worker is not None and "b" not in cluster.where()
    worker, row = task.worker.name, ("a", task.attempt)
    cluster.start("a")
    if how == "raises":
        cluster.given(m.TasksFinished(worker, [], [(*row, b"error", 0.1)]))
    elif how == "dies":
        cluster.given(m.WorkerGone(worker, ["a"], cause="died"))
    elif how == "is cancelled":
        cluster.given(m.CancelTasks("c", ["a"], force=True))
        cluster.given(m.WorkerGone(worker, ["a"], deliberate=True))
    else:
        cluster.now = 6.0
        cluster.given(m.Tick())
    assert "b" in cluster.where()


def test_cancelled_tasks_in_the_queue_are_passed() -> None:
    cluster = limited(1)
    cluster.given(submit("a", "b", "c", options=api(1)))
    cluster.given(m.CancelTasks("c", ["b"]))
    cluster.finish("a")
    assert set(cluster.where()) == {"c"}


def test_clients_take_turns() -> None:
    cluster = limited(1)
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit(*(f"c{i}" for i in range(6)), options=api(1)))
    cluster.given(submit(*(f"d{i}" for i in range(6)), options=api(1), client="d", function="g"))
    order = []
    while cluster.where():
        (key,) = cluster.where()
        order.append(key)
        cluster.finish(key)
    assert [key[0] for key in order[2:10]].count("c") == 4
    assert [key for key in order if key[0] == "c"] == sorted(key for key in order if key[0] == "c")


def test_a_large_demand_is_not_overtaken_for_ever() -> None:
    cluster = limited(2)
    cluster.given(submit("small", options=api(1)))
    cluster.given(submit("large", options=api(2)))
    cluster.given(submit(*(f"s{i:04}" for i in range(3 * MAX_BYPASSED)), options=api(1)))
    turns = 0
    while "large" not in cluster.where():
        cluster.finish(next(iter(cluster.where())))
        turns += 1
    assert MAX_BYPASSED <= turns < 2 * MAX_BYPASSED


def test_a_limit_and_resources_together() -> None:
    cluster = Cluster(2, resources={"GPU": 1.0})
    cluster.quiet(m.DeclareLimits({"api": 3.0}))
    options = api(1, resources=(("GPU", 1.0),))
    cluster.given(submit("a", "b", "c", options=options))
    assert set(cluster.where()) == {"a", "b"}
    cluster.finish("a")
    assert set(cluster.where()) == {"b", "c"}


def test_the_snapshot_counts_what_is_in_use_and_waits() -> None:
    cluster = limited(2)
    cluster.quiet(m.DeclareLimits({"mail": 1.0}))
    cluster.given(submit("a", "b", "c", options=api(1)))
    cluster.given(submit("large", options=api(2)))
    cluster.given(submit("both", options=TaskOptions(limits=(("api", 1.0), ("mail", 1.0)))))
    cluster.given(submit("other"))
    cluster.given(m.CancelTasks("c", ["c"]))  # its entry in the queue is void from now on
    assert snapshot(cluster.machine.state)["limits"] == [
        {"name": "api", "total": 2.0, "used": 2.0, "waiting": 2},
        {"name": "mail", "total": 1.0, "used": 0.0, "waiting": 1},
    ]


def test_explain_says_who_has_the_limit() -> None:
    cluster = limited(2)
    cluster.given(submit("a", "b", "c", "d", options=api(1)))
    assert explain(cluster.machine.state, "d", 0.0) == [
        "'d' is queued: it asks for 1 of the limit 'api'; 2 tasks have 2 of 2, and 1 like it comes before it"
    ]


@pytest.mark.parametrize("options", [api(3), TaskOptions(limits=(("other", 1.0),))])
@pytest.mark.parametrize("inputs", [[], ["x"]])
def test_what_can_never_be_had_fails_at_once(options: TaskOptions, inputs: list[str]) -> None:
    cluster = limited(2)
    cluster.given(submit("x"))
    commands = cluster.given(submit(("a", inputs), options=options))
    (row,) = commands[0].message.done
    assert row[:2] == ("a", m.FAILED) and row[2]["kind"] == LimitError.__name__


def test_of_a_graph_only_the_task_and_its_dependents_fail() -> None:
    cluster = limited(2)
    event = submit("a", ("b", ["a"]), "d", wanted=["b", "d"])
    event.option_overrides = [("a", api(3))]
    cluster.given(event)
    assert cluster.states() == {"b": "failed", "d": "assigned"}


def test_the_first_declaration_counts() -> None:
    cluster = limited(2)
    cluster.quiet(m.DeclareLimits({"api": 5.0, "disk": 1.0}))
    assert cluster.machine.state.limits.totals() == {"api": 2.0, "disk": 1.0}


def test_sums_of_fractions_reach_the_limit() -> None:
    cluster = limited(0.3)
    cluster.given(submit("a", "b", "c", "d", options=api(0.1)))
    assert set(cluster.where()) == {"a", "b", "c"}


def test_complaints_name_what_there_is() -> None:
    assert limits_complaint(DEFAULT_OPTIONS.limits, {}) == ""
    assert "(declared: 'disk')" in limits_complaint((("api", 1.0),), {"disk": 1.0})
    assert "which is 2" in limits_complaint((("api", 3.0),), {"api": 2.0})
