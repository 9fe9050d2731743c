"""Each event of the scheduler machine, and all the commands that follow from it."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import KEEP, REPORT_START, TaskOptions
from futures_cluster.scheduler import functions, placement

from .builders import (
    Cluster,
    ask_back,
    cancelled,
    done,
    drop,
    failed,
    finished,
    recomputing,
    run,
    running,
    runs,
    submit,
    waiting,
)

# ---------------------------------------------------------------- submitting


def test_a_task_goes_to_a_worker_with_its_function() -> None:
    Cluster().expect(submit("k"), runs("w1", run("k", 1), functions=("f",)))


def test_a_worker_is_told_a_function_once() -> None:
    cluster = Cluster(slots=2)
    cluster.given(submit("k"))
    cluster.expect(submit("l"), runs("w1", run("l", 2)))


def test_without_workers_tasks_wait_for_one() -> None:
    cluster = Cluster(0)
    cluster.quiet(submit("k", "l"))
    cluster.expect(m.WorkerConnected("w1", "a1", slots=2), runs("w1", run("k", 1), run("l", 2), functions=("f",)))


def test_a_task_waits_for_its_inputs() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.quiet(submit(("b", ["a"])))
    assert cluster.states() == {"a": "assigned", "b": "waiting"}
    cluster.expect(
        m.TasksFinished("w1", [("a", 1, b"result", 6, 1.0)]),
        runs("w1", run("b", 2, (("a", 6, b"result", ()),))),
        done(finished("a")),
    )


def test_a_large_input_is_fetched_from_where_it_is() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"])))
    cluster.expect(
        m.TasksFinished("w1", [("a", 1, None, 1000, 1.0)]),
        runs("w1", run("b", 2, (("a", 1000, None, (("w1", "a1"),)),))),
        done(finished("a", None, 1000, ("w1", "a1"))),
    )


def test_an_input_may_come_after_its_consumer_in_one_message() -> None:
    cluster = Cluster()
    cluster.expect(submit(("b", ["a"]), "a"), runs("w1", run("a", 1), functions=("f",)))


def test_an_unknown_input_fails_the_task_and_what_needs_it() -> None:
    cluster = Cluster()
    error = {"kind": "DataLost", "text": "the input 'x' of 'a' is no longer known"}
    cluster.expect(submit(("a", ["x"]), ("b", ["a"])), done(failed("a", error), failed("b", error)))


def test_a_task_cannot_need_its_own_result() -> None:
    cluster = Cluster()
    error = {"kind": "ProtocolError", "text": "task 'a' is part of a dependency cycle"}
    commands = cluster.given(submit(("a", ["b"]), ("b", ["a"]), "c", ("d", ["a"])))
    assert commands == [
        runs("w1", run("c", 1), functions=("f",)),
        done(failed("a", error), failed("d", error), failed("b", error)),
    ]


def test_a_known_key_without_its_function_is_lost() -> None:
    cluster = Cluster()
    error = {"kind": "DataLost", "text": "the result of 'k' is no longer known"}
    cluster.expect(m.SubmitTasks("c", [("k", "f", b"", [])]), done(failed("k", error)))


def test_who_submits_a_finished_key_is_told_at_once() -> None:
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("k"))
    cluster.finish("k")
    cluster.expect(submit("k", client="d"), done(finished("k"), client="d"))
    cluster.quiet(m.ReleaseKeys("c", ["k"]))
    cluster.quiet(m.ReleaseKeys("d", ["k"]))
    assert not cluster.states()


def test_who_submits_a_failed_key_is_told_at_once() -> None:
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("k"))
    cluster.given(m.TasksFinished("w1", [], [("k", 1, b"error", 1.0)]))
    cluster.expect(submit("k", client="d"), done(failed("k", b"error"), client="d"))


def test_two_clients_share_a_key() -> None:
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("k"))
    cluster.quiet(submit("k", client="d"))
    cluster.expect(
        m.TasksFinished("w1", [("k", 1, b"result", 6, 1.0)]), done(finished("k")), done(finished("k"), client="d")
    )


def test_a_released_result_is_computed_again_when_its_key_is_submitted() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"])))
    cluster.finish("a", "b", payload=None)
    cluster.expect(m.ReleaseKeys("c", ["a"]), drop("w1", "a"))
    assert cluster.states() == {"a": "released", "b": "memory"}
    cluster.expect(submit("a"), runs("w1", run("a", 3)))


def test_submissions_of_a_client_that_has_left_are_dropped() -> None:
    cluster = Cluster()
    cluster.given(m.ClientLeft("c"))
    cluster.quiet(submit("k"))


def test_priority_then_depth_then_age_decide() -> None:
    cluster = Cluster(0)
    cluster.given(submit("old"))
    cluster.given(submit("deep", depth=1))
    cluster.given(submit("urgent", options=TaskOptions(priority=1)))
    cluster.given(submit("young"))
    commands = cluster.given(m.WorkerConnected("w1", "a1", slots=4))
    assert [row[0] for row in commands[0].message.runs] == ["urgent", "deep", "old", "young"]
    assert [row[4] for row in commands[0].message.runs] == [(-1, 0, 1), (0, -1, 2), (0, 0, 3), (0, 0, 4)]


# ---------------------------------------------------------------- graphs


def test_what_nobody_wants_of_a_graph_does_not_run() -> None:
    cluster = Cluster()
    cluster.expect(submit("a", "b", ("c", ["b"]), wanted=["c"]), runs("w1", run("b", 1, flags=KEEP), functions=("f",)))
    assert cluster.states() == {"b": "assigned", "c": "waiting"}


def test_tasks_of_a_graph_with_options_of_their_own() -> None:
    cluster = Cluster(workers=0)
    event = submit("a", "b", ("c", ["a"]), "d", wanted=["a", "b", "c", "d"])
    urgent, patient = m.TaskOptions(priority=1), m.TaskOptions(retries=2)
    event.option_overrides = [("b", urgent), ("c", patient), ("d", m.TaskOptions(workers=("w2",)))]
    cluster.given(event)
    assert cluster.states() == {"a": "queued", "b": "queued", "c": "waiting", "d": "queued"}
    assert cluster.task("c").retries_left == 2 and cluster.task("a").retries_left == 0
    assert cluster.task("b").level == (-1, 0) and cluster.task("a").level == (0, 0)
    commands = cluster.given(m.WorkerConnected("w1", "a1"))
    assert [row[0] for row in commands[0].message.runs] == ["b"]
    cluster.given(m.WorkerConnected("w2", "a2"))
    assert cluster.where()["b"] == "w1"
    cluster.finish("b", duration_s=0.001)
    cluster.finish("a", duration_s=0.001)
    assert cluster.where()["d"] == "w2"


def test_a_graph_without_wishes_leaves_nothing() -> None:
    cluster = Cluster()
    cluster.quiet(submit("a", ("b", ["a"]), wanted=[]))
    for options in (TaskOptions(resources=(("GPU", 1.0),)), TaskOptions(workers=("w9",))):
        cluster.quiet(submit("a", ("b", ["a"]), wanted=[], options=options))  # and no worker could run it
    assert not cluster.states()


def test_intermediate_results_of_a_graph_stay_on_workers_and_are_dropped() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"]), wanted=["b"]))
    cluster.expect(
        m.TasksFinished("w1", [("a", 1, None, 6, 1.0)]), runs("w1", run("b", 2, (("a", 6, None, (("w1", "a1"),)),)))
    )
    cluster.expect(m.TasksFinished("w1", [("b", 2, b"result", 6, 1.0)]), drop("w1", "a"), done(finished("b")))
    assert cluster.states() == {"b": "memory"}


def test_who_wants_only_what_is_made_of_a_key_is_told_only_of_that() -> None:
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("a"))
    cluster.finish("a")
    cluster.expect(
        submit("a", ("b", ["a"]), client="d", wanted=["b"]), runs("w1", run("b", 2, (("a", 6, b"result", ()),)))
    )


def test_a_graph_stops_when_nobody_wants_it() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"]), "c", wanted=["b", "c"]))
    cluster.expect(m.ReleaseKeys("c", ["b", "c"]), ask_back("w1", ("a", 1)))
    assert cluster.states() == {"a": "assigned"}
    cluster.quiet(m.TasksReturned("w1", [("a", 1)]))
    assert not cluster.states()


# ---------------------------------------------------------------- releasing


def test_a_submitted_task_runs_though_its_future_is_gone() -> None:
    cluster = Cluster()
    cluster.given(submit("a", "b"))
    cluster.quiet(m.ReleaseKeys("c", ["a", "b"]))
    cluster.expect(m.TasksFinished("w1", [("a", 1, b"result", 6, 1.0)]), runs("w1", run("b", 2)))
    cluster.expect(m.TasksFinished("w1", [("b", 2, None, 6, 1.0)]), drop("w1", "b"))
    assert not cluster.states()


def test_a_small_result_is_kept_while_something_made_of_it_is() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"])))
    cluster.finish("a")
    cluster.finish("b", payload=None)
    cluster.quiet(m.ReleaseKeys("c", ["a"]))
    assert cluster.states() == {"a": "memory", "b": "memory"}
    cluster.expect(
        m.WorkerGone("w1"),
        recomputing("b"),
    )
    cluster.expect(m.WorkerConnected("w2", "a2"), runs("w2", run("b", 3, (("a", 6, b"result", ()),)), functions=("f",)))
    cluster.finish("b")
    cluster.quiet(m.ReleaseKeys("c", ["b"]))
    assert not cluster.states()


def test_functions_are_forgotten_when_nobody_uses_them() -> None:
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("k"))
    cluster.given(submit("l", client="d"))
    cluster.finish("k", "l")
    cluster.given(m.ReleaseKeys("c", ["k"]))
    cluster.given(m.ReleaseKeys("d", ["l"]))
    cluster.quiet(m.ReleaseFunctions("c", ["f", "unknown"]))  # d may still use it
    cluster.expect(m.ReleaseFunctions("d", ["f"]), m.ToWorker("w1", m.ForgetFunctions(["f"])))
    assert not cluster.machine.state.functions


def test_a_function_in_use_is_forgotten_with_its_last_task() -> None:
    cluster = Cluster()
    cluster.given(submit("k"))
    cluster.quiet(m.ReleaseFunctions("c", ["f"]))
    cluster.finish("k")
    cluster.expect(m.ReleaseKeys("c", ["k"]), m.ToWorker("w1", m.ForgetFunctions(["f"])))


def test_payloads_in_shared_memory_are_freed_when_no_task_will_read_them() -> None:
    cluster = Cluster()
    payload = ("segment", 1)
    cluster.given(m.SubmitTasks("c", [("k", "f", payload, [])], [("f", "f", b"code")]))
    cluster.expect(
        m.TasksFinished("w1", [("k", 1, b"result", 6, 1.0)]), m.PayloadsFreed([payload]), done(finished("k"))
    )


def test_payloads_are_kept_while_a_lost_result_might_need_them() -> None:
    cluster = Cluster()
    payload = ("segment", 1)
    cluster.given(m.SubmitTasks("c", [("k", "f", payload, [])], [("f", "f", b"code")]))
    cluster.finish("k", payload=None)
    cluster.expect(m.ReleaseKeys("c", ["k"]), m.PayloadsFreed([payload]), drop("w1", "k"))


# ---------------------------------------------------------------- cancelling


def test_a_queued_task_is_cancelled_without_a_word() -> None:
    cluster = Cluster()
    cluster.given(submit("a", "b"))
    cluster.quiet(m.CancelTasks("c", ["b"]))
    assert cluster.states() == {"a": "assigned"}


def test_what_needs_a_cancelled_task_is_cancelled_and_reported() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"]), ("c", ["b"])))
    cluster.expect(m.CancelTasks("c", ["a"]), ask_back("w1", ("a", 1)), done(cancelled("b"), cancelled("c")))
    cluster.quiet(m.TasksReturned("w1", [("a", 1)]))
    assert not cluster.states()


def test_a_cancelled_task_that_ends_all_the_same_is_dropped() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.expect(m.CancelTasks("c", ["a"]), ask_back("w1", ("a", 1)))
    cluster.expect(m.TasksFinished("w1", [("a", 1, None, 6, 1.0)]), drop("w1", "a"))
    cluster.quiet(m.TasksReturned("w1", [], [("a", 1)]))
    assert not cluster.states()


def test_a_cancelled_task_that_fails_is_not_tried_again() -> None:
    cluster = Cluster()
    cluster.given(submit("a", options=TaskOptions(retries=5)))
    cluster.given(m.CancelTasks("c", ["a"]))
    cluster.quiet(m.TasksFinished("w1", [], [("a", 1, b"error", 1.0)]))
    assert not cluster.states()


def test_others_want_it_so_it_is_not_cancelled() -> None:
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("a"))
    cluster.given(submit("a", client="d"))
    cluster.quiet(m.CancelTasks("c", ["a"], force=True))
    cluster.expect(m.TasksFinished("w1", [("a", 1, b"result", 6, 1.0)]), done(finished("a"), client="d"))


def test_a_running_task_is_stopped_by_force_with_its_worker() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.start("a")
    cluster.expect(
        m.CancelTasks("c", ["a"], force=True),
        m.StopWorker("w1", True, "a was cancelled while it ran"),
        ask_back("w1", ("a", 1)),
    )
    assert not cluster.states()
    cluster.quiet(m.WorkerGone("w1", ["a"], deliberate=True))


def test_force_waits_until_it_is_known_that_the_task_runs() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.expect(m.CancelTasks("c", ["a"], force=True), ask_back("w1", ("a", 1)))
    cluster.expect(m.TasksReturned("w1", [], [("a", 1)]), m.StopWorker("w1", True, "a was cancelled while it ran"))
    assert not cluster.states() and "w1" not in cluster.machine.state.workers


def test_force_stops_when_the_start_is_reported_before_the_answer() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.given(m.CancelTasks("c", ["a"], force=True))
    cluster.expect(m.TasksStarted("w1", [("a", 1)]), m.StopWorker("w1", True, "a was cancelled while it ran"))


def test_threads_cannot_be_stopped() -> None:
    cluster = Cluster(killable=False)
    cluster.given(submit("a"))
    cluster.start("a")
    cluster.expect(m.CancelTasks("c", ["a"], force=True), ask_back("w1", ("a", 1)))
    cluster.quiet(m.TasksReturned("w1", [], [("a", 1)]))
    cluster.quiet(m.TasksFinished("w1", [("a", 1, b"result", 6, 1.0)]))
    assert not cluster.states()


def test_a_cancelled_key_may_be_submitted_again_before_the_worker_answers() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.given(m.CancelTasks("c", ["a"], force=True))
    cluster.quiet(submit("a"))
    cluster.quiet(m.TasksReturned("w1", [], [("a", 1)]))  # it runs: that is what is wanted now
    cluster.expect(m.TasksFinished("w1", [("a", 1, b"result", 6, 1.0)]), done(finished("a")))


def test_a_task_that_had_run_is_remembered_when_it_is_cancelled_the_second_time() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"])))
    cluster.finish("a", "b", payload=None)
    cluster.given(m.ReleaseKeys("c", ["a"]))
    cluster.given(submit("a"))
    cluster.expect(m.CancelTasks("c", ["a"]), ask_back("w1", ("a", 3)))
    cluster.quiet(m.TasksReturned("w1", [("a", 3)]))
    assert cluster.states() == {"a": "released", "b": "memory"}  # b can still be made again


def test_the_mark_of_a_cancellation_goes_with_the_attempt() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"])))
    cluster.finish("a", "b", payload=None)
    cluster.given(m.ReleaseKeys("c", ["a"]))
    cluster.given(submit("a"))
    cluster.given(m.CancelTasks("c", ["a"]))
    cluster.expect(m.TasksFinished("w1", [("a", 3, None, 6, 1.0)]), drop("w1", "a"))
    cluster.given(m.WorkerGone("w1"))  # now a is needed once more, for b
    cluster.given(m.WorkerConnected("w2", "a2"))
    cluster.given(m.WorkerGone("w2"))
    assert cluster.states() == {"a": "queued", "b": "waiting"}


def test_old_news_about_cancelled_tasks_is_dropped() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.quiet(m.CancelTasks("d", ["a", "unknown"]))
    cluster.finish("a")
    cluster.quiet(m.CancelTasks("c", ["a"]))
    assert not cluster.states()


# ---------------------------------------------------------------- answers of workers


def test_starts_are_passed_on() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.expect(m.TasksStarted("w1", [("a", 1)]), running("a"))
    cluster.quiet(m.TasksStarted("w1", [("a", 9), ("x", 1)]))
    cluster.quiet(m.TasksStarted("w9", [("a", 1)]))


def test_a_failed_task_fails_what_needs_it() -> None:
    cluster = Cluster()
    cluster.given(submit("a", ("b", ["a"]), ("c", ["b"])))
    cluster.expect(
        m.TasksFinished("w1", [], [("a", 1, b"error", 1.0)]),
        done(failed("a", b"error"), failed("b", b"error"), failed("c", b"error")),
    )
    cluster.expect(submit(("d", ["c"])), done(failed("d", b"error")))
    cluster.quiet(m.ReleaseKeys("c", ["a", "b", "c", "d"]))
    assert not cluster.states()


def test_a_task_is_tried_again_as_often_as_was_asked() -> None:
    cluster = Cluster()
    cluster.given(submit("a", options=TaskOptions(retries=2)))
    cluster.expect(m.TasksFinished("w1", [], [("a", 1, b"1", 1.0)]), runs("w1", run("a", 2)), waiting("a"))
    cluster.expect(m.TasksFinished("w1", [], [("a", 2, b"2", 1.0)]), runs("w1", run("a", 3)), waiting("a"))
    cluster.expect(m.TasksFinished("w1", [], [("a", 3, b"3", 1.0)]), done(failed("a", b"3")))


def test_answers_to_old_attempts_are_dropped() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.given(m.WorkerGone("w1"))
    assert cluster.where() == {"a": "w2"}
    cluster.quiet(m.TasksFinished("w2", [("a", 1, b"old", 3, 1.0)]))
    cluster.quiet(m.TasksFinished("w1", [("a", 2, b"lost", 4, 1.0)]))
    cluster.quiet(m.TasksFinished("w2", [], [("a", 1, b"error", 1.0)]))
    cluster.quiet(m.TasksReturned("w2", [("a", 1)]))
    cluster.expect(m.TasksFinished("w2", [("a", 1, None, 3, 1.0)]), drop("w2", "a"))
    cluster.expect(m.TasksFinished("w2", [("a", 2, b"result", 6, 1.0)]), done(finished("a")))


def test_a_key_that_comes_back_is_not_taken_for_its_former_self() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.finish("a")
    cluster.given(m.ReleaseKeys("c", ["a"]))
    cluster.expect(submit("a"), runs("w1", run("a", 2)))


def test_a_returned_task_goes_elsewhere() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.given(m.WorkerRetiring("w1"))
    cluster.expect(m.TasksReturned("w1", [("a", 1)]), m.StopWorker("w1", reason="it ran its maximum of tasks"))
    cluster.expect(m.WorkerConnected("w2", "a2"), runs("w2", run("a", 2), functions=("f",)))


def test_copies_are_remembered_and_dropped_with_the_original() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "b"))
    cluster.finish("a", payload=None)
    cluster.quiet(m.DataAdded("w2", ["a"]))
    cluster.expect(m.DataAdded("w2", ["unknown"]), drop("w2", "unknown"))
    cluster.quiet(m.DataAdded("w9", ["a"]))
    cluster.expect(m.ReleaseKeys("c", ["a"]), drop("w1", "a"), drop("w2", "a"))


def test_a_copy_outlives_the_worker_that_made_it() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", "b"))
    cluster.finish("a", payload=None)
    cluster.given(m.DataAdded("w2", ["a"]))
    cluster.quiet(m.WorkerGone("w1"))
    assert cluster.states() == {"a": "memory", "b": "assigned"}


def test_missing_data_is_computed_again() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.finish("a", payload=None)
    cluster.expect(m.ReportMissing("c", [("a", "w1")]), recomputing("a"), drop("w1", "a"), runs("w1", run("a", 2)))
    cluster.expect(m.TasksFinished("w1", [("a", 2, b"result", 6, 1.0)]), done(finished("a")))


def test_who_misses_data_is_told_of_other_copies() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a"))
    cluster.finish("a", payload=None)
    cluster.given(m.DataAdded("w2", ["a"]))
    cluster.expect(m.ReportMissing("c", [("a", "w1")]), drop("w1", "a"), done(finished("a", None, 6, ("w2", "a2"))))


def test_missing_data_that_nobody_knows_is_lost() -> None:
    cluster = Cluster()
    error = {"kind": "DataLost", "text": "the result of 'x' is no longer known"}
    cluster.expect(m.ReportMissing("c", [("x", "w1")]), done(failed("x", error)))
    cluster.quiet(m.ReportMissing("w1", [("x", "w9")]))


# ---------------------------------------------------------------- slots


def test_a_task_that_waits_makes_room_for_its_children() -> None:
    cluster = Cluster()
    cluster.given(submit("parent", "other"))
    cluster.quiet(submit("child", depth=1))
    cluster.expect(m.SlotsChanged("w1", 2), runs("w1", run("child", 2, level=(0, -1))))
    cluster.quiet(m.SlotsChanged("w1", 1))
    cluster.quiet(m.SlotsChanged("w9", 1))


def test_the_newest_assignments_are_asked_back_so_that_a_child_finds_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "MAX_AHEAD", 3)
    cluster = Cluster()
    cluster.measured(0.001)
    cluster.given(submit("a", "b", "c", "d"))
    cluster.start("a")
    cluster.quiet(submit("child", depth=1))
    cluster.expect(m.SlotsChanged("w1", 2), ask_back("w1", ("c", 4)))
    cluster.expect(m.TasksReturned("w1", [("c", 4)]), runs("w1", run("child", 5, level=(0, -1))))


# ---------------------------------------------------------------- workers come and go


def test_a_worker_that_retires_is_stopped_when_it_holds_nothing() -> None:
    cluster = Cluster()
    cluster.given(submit("a", "b"))
    cluster.finish("a", payload=None)
    cluster.quiet(m.WorkerRetiring("w1"))
    cluster.expect(
        m.TasksFinished("w1", [("b", 2, b"result", 6, 1.0)]),
        done(finished("b")),
    )
    cluster.expect(m.ReleaseKeys("c", ["a"]), m.StopWorker("w1", reason="it ran its maximum of tasks"), drop("w1", "a"))
    cluster.quiet(m.WorkerGone("w1", deliberate=True))


RETIRED = "it ran its maximum of tasks"


def _with_successor() -> Cluster:
    """One worker runs its last task, the one that takes its place has joined, and a task is queued."""
    cluster = Cluster()
    cluster.given(submit("a", "b"))
    cluster.quiet(m.WorkerRetiring("w1"))
    cluster.quiet(m.WorkerConnected("w1~1", "a2"))
    return cluster


def test_a_worker_gets_no_tasks_before_the_last_one_in_its_place_has_ended() -> None:
    cluster = _with_successor()
    cluster.expect(
        m.TasksFinished("w1", [("a", 1, b"result", 6, 1.0)]),
        m.StopWorker("w1", reason=RETIRED),
        runs("w1~1", run("b", 2), functions=("f",)),
        done(finished("a")),
    )


def test_of_several_workers_in_one_place_only_one_runs_tasks() -> None:
    cluster = _with_successor()
    cluster.given(m.SlotsChanged("w1", 2))  # its task waits for others
    assert cluster.where() == {"a": "w1", "b": "w1~1"}
    cluster.given(m.WorkerRetiring("w1~1"))
    cluster.given(m.WorkerConnected("w1~2", "a3"))
    cluster.given(submit("d"))
    cluster.given(m.SlotsChanged("w1", 1))  # it goes on
    cluster.finish("b")
    assert cluster.where() == {"a": "w1"}
    cluster.finish("a")
    assert cluster.where() == {"d": "w1~2"}


@pytest.mark.parametrize("event", [m.RetireWorkers(["w1"]), m.WorkerRetiring("w1", hands_over=True)])
def test_a_worker_in_the_place_of_one_that_is_restarted_gets_tasks_at_once(event: m.Message) -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.given(event)
    cluster.given(m.WorkerConnected("w1~1", "a2"))
    cluster.given(submit("b"))
    assert cluster.where() == {"a": "w1", "b": "w1~1"}


def test_a_place_is_free_when_its_worker_is_lost() -> None:
    cluster = _with_successor()
    cluster.given(m.WorkerGone("w1"))
    assert cluster.where() == {"a": "w1~1"}  # once more, as it came first


@pytest.mark.parametrize("options", [m.TaskOptions(resources=(("GPU", 1.0),)), m.TaskOptions(workers=("w1",))])
def test_a_demanding_task_waits_for_the_place_too(options: m.TaskOptions) -> None:
    cluster = Cluster(resources={"GPU": 1.0})
    cluster.given(submit("a", options=options))
    cluster.given(m.WorkerRetiring("w1"))
    cluster.given(m.WorkerConnected("w1~1", "a2", resources={"GPU": 1.0}))
    cluster.given(submit("b", options=options))
    assert cluster.where() == {"a": "w1"}
    cluster.finish("a")
    assert cluster.where() == {"b": "w1~1"}


def test_a_worker_that_joins_anew_has_lost_all_it_had() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.expect(m.WorkerConnected("w1", "b1"), runs("w1", run("a", 2), functions=("f",)), waiting("a"))
    assert cluster.task("a").losses == ("on w1: it joined again",)


def test_when_no_worker_can_start_every_task_fails() -> None:
    cluster = Cluster(0)
    cluster.given(submit("a", ("b", ["a"])))
    cluster.expect(m.WorkersBroken(b"broken"), done(failed("a", b"broken"), failed("b", b"broken")))
    cluster.expect(submit("k"), done(failed("k", b"broken")))


def test_what_only_a_client_that_left_wanted_is_dropped() -> None:
    cluster = Cluster()
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit("shared", "done", "running", "queued"))
    cluster.given(submit("shared", client="d"))
    cluster.finish("shared")
    cluster.finish("done", payload=None)
    cluster.expect(m.ClientLeft("c"), drop("w1", "done"), ask_back("w1", ("running", 3)))
    cluster.quiet(m.ClientLeft("c"))
    assert cluster.states() == {"shared": "memory", "running": "assigned"}


def test_the_tasks_of_a_workers_own_client_end_with_the_worker() -> None:
    cluster = Cluster(2)
    cluster.given(m.ClientJoined("w1"))
    cluster.given(submit("child", client="w1"))
    cluster.given(submit("more", client="w1"))
    assert cluster.where() == {"child": "w1", "more": "w2"}
    cluster.expect(m.WorkerGone("w1"), ask_back("w2", ("more", 2)), waiting("child", client="w1"))
    cluster.expect(m.TasksReturned("w2", [("more", 2)]), m.ToWorker("w2", m.ForgetFunctions(["f"])))
    assert not cluster.states() and not cluster.machine.state.functions


def test_a_client_on_a_worker_that_was_stopped_meanwhile_leaves_with_it() -> None:
    cluster = Cluster()
    cluster.given(submit("a"))
    cluster.start("a")
    cluster.given(m.CancelTasks("c", ["a"], force=True))
    cluster.given(m.ClientJoined("w1"))  # was under way
    cluster.given(submit("child", client="w1"))
    cluster.quiet(m.WorkerGone("w1", deliberate=True))
    assert not cluster.states()


# ---------------------------------------------------------------- time


def test_a_task_that_runs_too_long_fails_with_its_worker() -> None:
    cluster = Cluster()
    cluster.expect(
        submit("a", options=TaskOptions(timeout_s=3.0)),
        runs("w1", run("a", 1, flags=REPORT_START), functions=("f",)),
    )
    assert cluster.machine.next_deadline() is None
    cluster.now = 1.0
    cluster.given(m.TasksStarted("w1", [("a", 1)]))
    assert cluster.machine.next_deadline() == 4.0
    cluster.now = 3.9
    cluster.quiet(m.Tick())
    cluster.now = 4.0
    text = "a ran longer than its timeout of 3.0 s"
    cluster.expect(m.Tick(), m.StopWorker("w1", True, text), done(failed("a", {"kind": "TaskTimeout", "text": text})))
    assert cluster.machine.next_deadline() is None


def test_a_timeout_counts_as_a_failure_that_may_be_tried_again() -> None:
    cluster = Cluster(2)
    cluster.given(submit("a", options=TaskOptions(timeout_s=3.0, retries=1)))
    cluster.start("a")
    cluster.now = 3.0
    text = "a ran longer than its timeout of 3.0 s"
    cluster.expect(
        m.Tick(),
        m.StopWorker("w1", True, text),
        runs("w2", run("a", 2, flags=REPORT_START), functions=("f",)),
        waiting("a"),
    )


def test_a_threads_slot_returns_when_the_function_ends_after_a_timeout() -> None:
    cluster = Cluster(killable=False)
    cluster.given(submit("a", options=TaskOptions(timeout_s=3.0)))
    cluster.start("a")
    cluster.now = 3.0
    text = "a ran longer than its timeout of 3.0 s"
    cluster.expect(m.Tick(), done(failed("a", {"kind": "TaskTimeout", "text": text})))
    cluster.expect(m.TasksFinished("w1", [("a", 1, None, 6, 5.0)]), drop("w1", "a"))


def test_deadlines_of_ended_tasks_do_not_pile_up() -> None:
    cluster = Cluster()
    for i in range(3000):
        cluster.machine.handle(submit(f"k{i}", options=TaskOptions(timeout_s=1e6)), 0.0)
        cluster.machine.handle(m.TasksStarted("w1", [(f"k{i}", i + 1)]), 0.0)
        cluster.machine.handle(m.TasksFinished("w1", [(f"k{i}", i + 1, b"", 0, 1.0)]), 0.0)
        cluster.machine.handle(m.ReleaseKeys("c", [f"k{i}"]), 0.0)
    assert len(cluster.machine.state.deadlines) <= 1000


def test_the_durations_of_finitely_many_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MAX_GROUPS", 10)
    cluster = Cluster()
    for i in range(30):
        cluster.given(submit(f"k{i}", function=f"f{i}"))
    assert len(cluster.machine.state.groups) == 10


def test_old_news_of_workers_that_are_gone_is_dropped() -> None:
    cluster = Cluster()
    for event in (
        m.TasksReturned("w9", [("a", 1)]),
        m.WorkerRetiring("w9"),
        m.WorkerGone("w9"),
        m.TasksFinished("w9", []),
        m.ReleaseKeys("c", ["a"]),
        m.Tick(),
    ):
        cluster.quiet(event)
