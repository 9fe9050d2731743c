"""What follows from the death of a worker."""

from __future__ import annotations

from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import REPORT_START, TaskOptions
from futures_cluster.scheduler import recovery, replication, reruns
from futures_cluster.scheduler.machine import SchedulerMachine

from .builders import Cluster, done, failed, finished, recomputing, run, runs, submit, waiting

ONCE = TaskOptions(rerun=False)


def lost(cluster: Cluster, key: str, **news: Any) -> m.WorkerGone:
    """The worker that has the task dies."""
    return m.WorkerGone(cluster.where()[key], **news)


def died(key: str, why: str, cause: str = "") -> Any:
    return failed(key, {"kind": "WorkerDied", "text": f"the worker that ran {key!r} died ({why}): {cause}"})


# ---------------------------------------------------------------- tasks


def test_the_tasks_of_a_dead_worker_run_elsewhere() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.expect(m.WorkerGone("w1", ["a"]), runs("w2", run("a", 2), functions=("f",)), waiting("a"))
    assert len(cluster.task("a").losses) == 1


@pytest.mark.parametrize(
    ("news", "deaths"),
    [
        ({"executing": ["a"]}, {"a": 1, "b": 0, "c": 0}),
        ({"executing": []}, {"a": 0, "b": 0, "c": 0}),
        ({"executing": ["a"], "deliberate": True}, {"a": 0, "b": 0, "c": 0}),
        ({"executing": None}, {"a": 1, "b": 0, "c": 0}),
    ],
)
def test_only_what_was_executing_is_counted(news: dict[str, Any], deaths: dict[str, int]) -> None:
    cluster = Cluster(1)
    cluster.measured(0.001)
    cluster.given(submit("a", "b", "c"))
    cluster.given(m.WorkerGone("w1", **news))
    assert {key: len(cluster.task(key).losses) for key in "abc"} == deaths


def test_without_a_witness_those_that_reported_their_start_are_counted() -> None:
    cluster = Cluster(1)
    cluster.measured(0.001)
    cluster.given(submit("a", "b"))
    cluster.start("b")
    cluster.given(m.WorkerGone("w1"))
    assert not cluster.task("a").losses and len(cluster.task("b").losses) == 1


def test_the_third_death_is_the_last() -> None:
    cluster = Cluster(4)
    cluster.given(submit("bad"))
    cluster.given(lost(cluster, "bad", executing=["bad"], cause="SIGBUS"))
    cluster.given(lost(cluster, "bad", cause="silent", unheard=True))
    cluster.pause()
    text = (
        "'bad' is not run again, because each of its 3 attempts ended with its worker:\n"
        "1. on w1: SIGBUS\n2. on w2: silent\n3. on w3: SIGSEGV"
    )
    error = failed("bad", {"kind": "WorkerDied", "text": text})
    cluster.expect(lost(cluster, "bad", executing=["bad"], cause="SIGSEGV"), done(error))
    assert list(cluster.machine.state.workers) == ["w4"]  # and the pool goes on


def test_losses_before_a_task_has_finished_do_not_count_when_its_result_is_lost() -> None:
    cluster = Cluster(4)
    cluster.given(submit("a"))
    for _ in range(2):
        cluster.given(lost(cluster, "a", executing=["a"]))
    cluster.pause()
    (holder,) = cluster.where().values()
    cluster.finish("a", payload=None)
    cluster.given(m.WorkerGone(holder, []))
    assert cluster.task("a").losses == () and "a" in cluster.where()


def test_after_two_deaths_a_task_runs_alone() -> None:
    cluster = Cluster(3, slots=2)
    cluster.given(submit("bad"))
    for _ in range(2):
        cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.pause()
    assert cluster.where() == {"bad": "w3"}
    cluster.given(submit("other"))
    assert cluster.where() == {"bad": "w3"}
    commands = cluster.finish("bad")
    assert runs("w3", run("other", 4)) in commands


def test_a_worker_is_emptied_for_a_task_that_has_to_run_alone() -> None:
    cluster = Cluster(3, slots=2)
    cluster.measured(0.001)
    cluster.given(submit("bad"))
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.given(submit(*(f"k{i}" for i in range(40))))
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.pause()
    assert "bad" not in cluster.where()
    for i in range(1000):
        cluster.given(submit(f"l{i}"))  # there is always something else to do
        key = next(key for key in cluster.where() if key != "bad")
        cluster.finish(key, duration_s=0.001)
        if "bad" in cluster.where():
            break
    assert cluster.where() == {"bad": cluster.where()["bad"]}


def test_an_emptied_worker_serves_the_older_of_two_that_have_to_run_alone() -> None:
    cluster = Cluster(3)
    cluster.given(submit("a", "bad 1", "bad 2"))
    cluster.task("bad 1").losses = cluster.task("bad 2").losses = ("killed",)
    cluster.given(lost(cluster, "bad 2", executing=["bad 2"]))
    cluster.pause()
    assert list(cluster.machine.state.reserved.values()) == [cluster.worker("w1")]
    cluster.given(lost(cluster, "bad 1", executing=["bad 1"]))
    cluster.pause()
    cluster.finish("a")
    assert cluster.where() == {"bad 1": "w1"}
    cluster.finish("bad 1")
    assert cluster.where() == {"bad 2": "w1"}


def test_the_emptied_worker_dies() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "bad"))
    cluster.task("bad").losses = ("killed",)
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.pause()
    state = cluster.machine.state
    assert [worker.name for worker in state.reserved.values()] == ["w1"]
    cluster.given(m.WorkerGone("w1", []))
    assert not state.reserved
    cluster.given(m.WorkerConnected("w9", "a9"))
    assert len(cluster.where()) == 1


def test_the_emptied_worker_retires() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "bad"))
    cluster.task("bad").losses = ("killed",)
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.pause()
    cluster.given(m.WorkerRetiring("w1"))
    assert not cluster.machine.state.reserved
    cluster.expect(m.WorkerConnected("w9", "a9"), runs("w9", run("bad", 3), functions=("f",)))


def test_a_cancelled_task_gives_the_worker_back_that_was_emptied_for_it() -> None:
    cluster = Cluster(2, slots=2)
    cluster.given(submit("a", "bad"))
    cluster.task("bad").losses = ("killed",)
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.pause()
    cluster.given(m.CancelTasks("c", ["bad"]))
    cluster.given(submit("b"))
    assert cluster.where() == {"a": "w1", "b": "w1"}


def test_a_worker_lends_slots_though_it_is_being_emptied() -> None:
    """Otherwise the task on it would wait for its child, and the child for the task that has to run alone."""
    cluster = Cluster(2)
    cluster.given(submit("parent", "bad"))
    cluster.task("bad").losses = ("killed",)
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.pause()
    cluster.given(submit("child", depth=1))
    cluster.given(m.SlotsChanged("w1", 2))
    assert cluster.where() == {"parent": "w1", "child": "w1"}


def test_an_attempt_that_is_to_run_alone_begins_after_a_pause() -> None:
    cluster = Cluster(5)
    cluster.given(submit("bad"))
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    assert "bad" in cluster.where()  # the first one at once
    cluster.given(lost(cluster, "bad", executing=["bad"]))
    assert cluster.states() == {"bad": "waiting"}
    assert cluster.machine.next_deadline() == cluster.now + reruns.PAUSE_S
    cluster.quiet(m.Tick())  # too early
    cluster.pause()
    assert "bad" in cluster.where()


def test_a_pause_ends_before_its_time_when_nobody_wants_the_task() -> None:
    cluster = Cluster(3)
    cluster.given(submit("bad", ("after", ["bad"])))
    for _ in range(2):
        cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.given(m.CancelTasks("c", ["bad"]))
    assert not cluster.states() and not cluster.machine.state.paused
    cluster.given(submit("bad"))
    assert "bad" in cluster.where()
    assert cluster.pause() == []


def test_inputs_that_are_lost_while_a_task_pauses_are_waited_for_as_well() -> None:
    cluster = Cluster(4)
    cluster.given(submit("a"))
    holder = cluster.where()["a"]
    cluster.finish("a", payload=None)
    cluster.given(submit(("bad", ["a"]), options=TaskOptions(workers=tuple({"w1", "w2", "w3"} - {holder}))))
    for _ in range(2):
        cluster.given(lost(cluster, "bad", executing=["bad"]))
    cluster.given(m.WorkerGone(holder, []))
    assert cluster.states() == {"a": "assigned", "bad": "waiting"}
    cluster.pause()
    assert cluster.states() == {"a": "assigned", "bad": "waiting"}
    cluster.finish("a", payload=None)
    assert cluster.states()["bad"] == "queued"  # no worker of those that it names is left


def test_what_was_cancelled_is_made_again_when_what_needs_it_is_wanted_once_more() -> None:
    """The cancelled input of the input of a task that still runs, and that another one needs by now."""
    cluster = Cluster(1)
    cluster.given(submit("a", ("m", ["a"])))
    cluster.finish("a", "m", payload=None)
    cluster.given(m.WorkerConnected("w2", "a2"))
    cluster.given(submit(("b", ["m"]), options=TaskOptions(workers=("w2",))))
    cluster.given(m.WorkerGone("w1", []))
    cluster.given(m.WorkerConnected("w3", "a3"))
    assert cluster.where() == {"b": "w2", "a": "w3"} and cluster.states()["m"] == "waiting"
    cluster.given(m.CancelTasks("c", ["a"]))
    cluster.given(submit(("d", ["b"])))
    cluster.given(m.WorkerGone("w3", []))
    assert cluster.states() == {"a": "queued", "m": "waiting", "b": "assigned", "d": "waiting"}


# ---------------------------------------------------------------- connections that end, workers that are silent


def test_a_task_that_closed_the_connection_and_ended_counts() -> None:
    """It could not say that it had ended, and another one ran when the worker was killed."""
    cluster = Cluster()
    cluster.measured(0.001)
    cluster.given(submit("before", "bad", "runs", "behind"))
    cluster.given(m.WorkerGone("w1", ["runs"], cause="closed", unheard=True))
    assert [key for key in cluster.states() if cluster.task(key).losses] == ["before", "bad", "runs"]


def test_what_must_not_run_twice_fails_when_it_may_have_begun_unheard() -> None:
    cluster = Cluster()
    cluster.measured(0.001)
    cluster.given(submit("a"))
    cluster.given(submit("b", options=ONCE))
    cluster.given(m.WorkerGone("w1", ["a"], cause="closed", unheard=True))
    assert cluster.states() == {"a": "queued", "b": "failed"}


def test_a_silent_worker_keeps_what_it_may_run_and_gets_nothing_more() -> None:
    cluster = Cluster(1)
    cluster.measured(0.001)
    cluster.given(submit("runs", "behind"))
    cluster.given(m.WorkerConnected("w2", "a2"))
    commands = cluster.given(m.WorkerSilent("w1"))
    assert cluster.where() == {"runs": "w1", "behind": "w2"}
    assert m.ToClient("c", m.TasksRunning(["runs"])) in commands
    cluster.given(submit(*"abc"))
    assert set(cluster.where().values()) == {"w1", "w2"} and list(cluster.worker("w1").assigned) == ["runs"]
    cluster.given(m.WorkerSilent("w1", False))
    assert not cluster.task("runs").losses
    assert done(finished("runs")) in cluster.finish("runs")
    cluster.given(submit("d"))
    assert cluster.where()["d"] == "w1"


def test_what_runs_on_a_silent_worker_can_be_stopped() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.given(m.WorkerSilent("w1"))
    stop = m.StopWorker("w1", True, "a was cancelled while it ran")
    assert stop in cluster.given(m.CancelTasks("c", ["a"], force=True))


def test_what_was_cancelled_before_its_worker_fell_silent_is_stopped_then() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.given(m.CancelTasks("c", ["a"], force=True))
    stop = m.StopWorker("w1", True, "a was cancelled while it ran")
    assert stop in cluster.given(m.WorkerSilent("w1"))


# ---------------------------------------------------------------- tasks that must not run twice


def test_a_task_that_must_not_run_twice_fails_with_its_worker() -> None:
    cluster = Cluster(2)
    cluster.expect(submit("a", options=ONCE), runs("w1", run("a", 1, flags=REPORT_START), functions=("f",)))
    cluster.expect(m.WorkerGone("w1", ["a"], cause="x"), done(died("a", "it was submitted with rerun=False", "x")))


def test_it_fails_too_if_only_its_start_was_reported_and_if_the_end_was_deliberate() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", options=ONCE))
    cluster.start("a")
    why = "it was submitted with rerun=False"
    cluster.expect(m.WorkerGone("w1", [], deliberate=True), done(died("a", why)))


def test_it_runs_elsewhere_if_it_had_not_started() -> None:
    cluster = Cluster(1)
    cluster.measured(0.001)
    cluster.given(submit("a"))
    cluster.given(submit("b", options=ONCE))
    cluster.given(m.WorkerGone("w1", ["a"]))
    assert cluster.states() == {"a": "queued", "b": "queued"}


def stopped_with_b_in_doubt() -> Cluster:
    """``w1`` was told to stop because of ``a``; nobody knows whether ``b``, which must not run twice, started."""
    cluster = Cluster(1, slots=2)
    cluster.given(submit("a"))
    cluster.given(submit("b", options=ONCE))
    cluster.start("a")
    cluster.given(m.CancelTasks("c", ["a"], force=True))
    assert cluster.states() == {"b": "assigned"} and cluster.worker("w1").killing
    cluster.quiet(m.WorkerConnected("w2", "a2"))
    return cluster


def test_a_doubtful_task_runs_again_once_it_is_known_that_it_had_not_started() -> None:
    cluster = stopped_with_b_in_doubt()
    cluster.expect(
        m.WorkerGone("w1", ["a"], deliberate=True), runs("w2", run("b", 3, flags=REPORT_START), functions=("f",))
    )


def test_a_doubtful_task_fails_once_it_is_known_that_it_had_started() -> None:
    cluster = stopped_with_b_in_doubt()
    cluster.given(m.TasksStarted("w1", [("b", 2)]))
    cluster.expect(m.WorkerGone("w1", [], deliberate=True), done(died("b", "it was submitted with rerun=False")))


def test_a_doubtful_task_may_even_finish() -> None:
    cluster = stopped_with_b_in_doubt()
    assert cluster.finish("b") == [done(("b", m.FINISHED, b"result", 6, ()))]
    assert list(cluster.machine.state.workers) == ["w2"]
    cluster.quiet(m.WorkerGone("w1", [], deliberate=True))


def test_a_worker_that_stops_is_not_stopped_twice() -> None:
    cluster = stopped_with_b_in_doubt()
    cluster.given(m.TasksStarted("w1", [("b", 2)]))
    commands = cluster.given(m.CancelTasks("c", ["b"], force=True))
    assert not [command for command in commands if isinstance(command, m.StopWorker)]
    cluster.quiet(m.WorkerGone("w1", ["b"], deliberate=True))
    assert not cluster.states()


# ---------------------------------------------------------------- data


def test_a_lost_result_is_computed_again_and_reported_again() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.finish("a", payload=None)
    cluster.expect(m.WorkerGone("w1"), recomputing("a"), runs("w2", run("a", 2), functions=("f",)))
    assert cluster.finish("a", payload=None) == [done(("a", m.FINISHED, None, 6, (("w2", "a2"),)))]


def test_what_was_released_comes_back_as_far_as_necessary() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", ("b", ["a"]), ("c", ["b"])))
    cluster.finish("a", "b", "c", payload=None)
    cluster.given(m.ReleaseKeys("c", ["a", "b"]))
    cluster.expect(m.WorkerGone("w1"), recomputing("c"))
    assert cluster.states() == {"a": "queued", "b": "waiting", "c": "waiting"}
    cluster.given(m.WorkerConnected("w2", "a2"))
    cluster.finish("a", "b", "c", payload=None)
    assert cluster.states() == {"a": "released", "b": "released", "c": "memory"}


def test_a_small_result_is_never_lost() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a"))
    cluster.finish("a")
    cluster.quiet(m.WorkerGone("w1"))


def test_a_result_that_nobody_needs_is_not_computed_again() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", ("b", ["a"])))
    cluster.finish("a", payload=None)
    cluster.given(m.DataAdded("w2", ["a"]))
    cluster.finish("b", payload=None)
    cluster.given(m.ReleaseKeys("c", ["a"]))
    cluster.quiet(m.WorkerGone("w2"))
    assert cluster.states() == {"a": "released", "b": "memory"}


def test_a_lost_input_makes_queued_tasks_wait() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "busy"))
    cluster.finish("a", payload=None, size_bytes=10)
    cluster.given(submit(("b", ["a"]), ("c", ["a"])))
    assert cluster.states() == {"a": "memory", "busy": "assigned", "b": "assigned", "c": "queued"}
    cluster.given(m.WorkerGone("w1", ["b"]))
    assert cluster.states() == {"a": "queued", "busy": "assigned", "b": "waiting", "c": "waiting"}


def test_a_lost_result_that_must_not_be_made_again_is_lost() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", options=ONCE))
    cluster.given(submit(("b", ["a"])))
    cluster.finish("a", payload=None)
    error = {"kind": "DataLost", "text": "the result of 'a' was lost and cannot be recomputed because rerun=False"}
    cluster.expect(m.WorkerGone("w1", []), recomputing("a"), done(failed("a", error), failed("b", error)))
    cluster.quiet(m.ReleaseKeys("c", ["a", "b"]))
    assert not cluster.states()


def test_a_released_result_that_must_not_be_made_again_is_lost_too() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", options=ONCE))
    cluster.given(submit(("b", ["a"])))
    cluster.finish("a", "b", payload=None)
    cluster.given(m.ReleaseKeys("c", ["a"]))
    error = {"kind": "DataLost", "text": "the result of 'a' was lost and cannot be recomputed because rerun=False"}
    cluster.expect(m.WorkerGone("w1", []), recomputing("b"), done(failed("b", error)))


def test_a_lost_task_whose_input_failed_fails_and_lets_go_of_its_other_inputs() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", options=ONCE))
    cluster.given(submit("x", ("b", ["a", "x"])))
    cluster.finish("a", payload=None)
    cluster.finish("x")
    cluster.finish("b", payload=None)
    cluster.given(m.WorkerGone("w1"))
    if "w2" in cluster.machine.state.workers:
        cluster.given(m.WorkerGone("w2"))
    assert cluster.states() == {"a": "failed", "x": "memory", "b": "failed"}
    cluster.quiet(m.ReleaseKeys("c", ["a", "x", "b"]))
    assert not cluster.states()


def test_who_looks_for_released_inputs_does_not_walk_all_ancestors() -> None:
    cluster = Cluster(0)
    rows: list[Any] = ["k0"] + [(f"k{i}", [f"k{i - 1}"]) for i in range(1, 3000)]
    cluster.machine.handle(submit(*rows), 0.0)
    assert recovery.released_ancestors(cluster.task("k2999")) == []


class TestUnreachable:
    """A worker lives, and others cannot get a result from it."""

    def machine(self, workers: tuple[str, ...] = ()) -> SchedulerMachine:
        machine = SchedulerMachine()
        machine.handle(m.ClientJoined("c"), 0.0)
        for name in ("w1", "w2"):
            machine.handle(m.WorkerConnected(name, f"address of {name}"), 0.0)
        options = m.TaskOptions(workers=workers)
        machine.handle(m.SubmitTasks("c", [("k", "f", b"", [])], [("f", "f", b"")], options), 0.0)
        self.finish(machine)
        return machine

    @staticmethod
    def finish(machine: SchedulerMachine) -> str:
        """The task ends, and its result stays where it was made."""
        task = machine.state.tasks["k"]
        assert task.worker is not None
        name = task.worker.name
        machine.handle(m.TasksFinished(name, [("k", task.attempt, None, 10**6, 0.1)]), 1.0)
        return name

    def test_it_is_made_again_where_it_is_needed(self) -> None:
        machine = self.machine()
        (holder,) = (worker.name for worker in machine.state.tasks["k"].holders or ())
        other = "w2" if holder == "w1" else "w1"
        machine.handle(m.ReportMissing(other, [("k", holder)]), 2.0)
        assert self.finish(machine) == other
        machine.handle(m.ReleaseKeys("c", ["k"]), 3.0)
        assert not (machine.state.unreachable_count or machine.state.recompute_on or machine.state.tasks)

    def test_in_the_end_what_needs_it_there_fails_with_the_names_of_both(self) -> None:
        machine = self.machine(("w1",))  # it may be made nowhere else
        there = m.TaskOptions(workers=("w2",))
        machine.handle(m.SubmitTasks("c", [("d", "f", b"", ["k"])], [], there), 2.0)
        while machine.state.unreachable_count.get(machine.state.tasks["k"], 0) < replication.MAX_UNREACHED:
            machine.handle(m.ReportMissing("w2", [("k", "w1")]), 2.0)
            if machine.state.tasks["k"].state == "assigned":
                assert self.finish(machine) == "w1"
        machine.handle(m.ReportMissing("w2", [("k", "w1")]), 2.0)
        error = machine.state.tasks["d"].result
        assert error["kind"] == "DataLost" and "w2 could not get 'k' from w1 at address of w1" in error["text"]
        assert machine.state.tasks["k"].state == "memory"  # for all others
        machine.handle(m.ReleaseKeys("c", ["k", "d"]), 3.0)
        assert not (machine.state.unreachable_count or machine.state.recompute_on or machine.state.tasks)
