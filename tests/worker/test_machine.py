"""Each event of the worker machine, and all the commands that follow from it."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import REPORT_START
from futures_cluster.worker import machine as machine_module

from .builders import Desk, arrived, ended, execute, fetch, missing, remote, row

# ---------------------------------------------------------------- runs


def test_runs_start_while_slots_are_free() -> None:
    desk = Desk(slots=2)
    desk.expect(m.RunTasks([row("a"), row("b"), row("c")]), execute(("a", 1), ("b", 1)))
    desk.expect(ended("a"), execute(("c", 1)))
    desk.quiet(ended("b"))
    desk.expect(
        m.Tick(),
        m.TasksStarted("w", [("c", 1)]),
        m.TasksFinished("w", [("a", 1, b"result", 6, 0.1), ("b", 1, b"result", 6, 0.1)], []),
    )
    assert not desk.machine.has_unreported
    desk.quiet(m.Tick())


def test_the_order_is_by_level_and_serial() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("first")]))
    desk.given(
        m.RunTasks(
            [row("d", priority=(0, 0, 9)), row("c", priority=(0, 0, 5)), row("b", priority=(0, -1, 7))]
            + [row("a", priority=(-1, 0, 8))]
        )
    )
    order = ["first"]
    for _ in range(4):
        (command,) = desk.given(ended(order[-1]))
        order.append(command.runs[0][0])
    assert order == ["first", "a", "b", "c", "d"]


def test_the_last_run_that_ends_reports_for_all() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a"), row("b")]))
    desk.expect(m.RunsEnded([("a", 1, b"result", 6, 0.1)], [], reports=True), execute(("b", 1)))
    desk.expect(
        m.RunsEnded([], [("b", 1, b"error", 0.2)], reports=True),
        m.TasksFinished("w", [("a", 1, b"result", 6, 0.1)], [("b", 1, b"error", 0.2)]),
    )
    desk.quiet(m.Tick())


def test_failures_are_reported() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a")]))
    desk.quiet(m.RunsEnded([], [("a", 1, b"error", 0.1)]))
    desk.expect(m.Tick(), m.TasksFinished("w", [], [("a", 1, b"error", 0.1)]))


def test_a_start_is_reported_when_it_lasts_or_when_asked_for() -> None:
    desk = Desk(slots=3)
    desk.expect(
        m.RunTasks([row("a"), row("b", flags=REPORT_START), row("c")]),
        m.TasksStarted("w", [("b", 1)]),
        execute(("a", 1), ("b", 1), ("c", 1)),
    )
    desk.quiet(ended("c"))
    desk.expect(m.Tick(), m.TasksStarted("w", [("a", 1)]), m.TasksFinished("w", [("c", 1, b"result", 6, 0.1)], []))
    desk.quiet(m.Tick())


def test_a_newer_attempt_replaces_one_that_waits() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("first"), row("a", 2, (remote("x", "p"),))]))
    desk.quiet(m.RunTasks([row("a", 3)]))
    desk.expect(ended("first"), execute(("a", 3)))
    desk.expect(arrived("p", "x"), m.DataAdded("w", ["x"]))


def test_two_attempts_at_one_task_may_execute_at_once() -> None:
    desk = Desk(slots=2)
    desk.expect(m.RunTasks([row("a", 1)]), execute(("a", 1)))
    desk.expect(m.RunTasks([row("a", 2)]), execute(("a", 2)))
    desk.quiet(ended("a", 1))
    desk.quiet(ended("a", 2))
    assert not desk.machine.runs and not desk.machine.executing


# ---------------------------------------------------------------- giving back


def test_only_what_has_not_started_is_given_back() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a"), row("b"), row("c", 1, (remote("x", "p"),))]))
    desk.expect(
        m.ReturnTasks([("a", 1), ("b", 1), ("b", 9), ("c", 1), ("unknown", 1)]),
        m.TasksReturned("w", [("b", 1), ("c", 1)], [("a", 1), ("b", 9), ("unknown", 1)]),
    )
    desk.quiet(ended("a"))
    assert not desk.machine.runs


def test_after_its_most_runs_a_worker_retires() -> None:
    desk = Desk(slots=2, most_runs=2)
    desk.expect(m.RunTasks([row("a")]), execute(("a", 1)))
    desk.expect(
        m.RunTasks([row("b"), row("c"), row("d", 1, (remote("x", "p"),))]),
        fetch("p", "x"),
        m.WorkerRetiring("w"),
        m.TasksReturned("w", [("c", 1), ("d", 1)]),
        execute(("b", 1)),
    )
    desk.expect(m.RunTasks([row("e")]), m.TasksReturned("w", [("e", 1)]))
    desk.quiet(ended("a"))


def test_a_worker_may_be_told_to_retire() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a"), row("b")]))
    desk.expect(m.Retire(True), m.WorkerRetiring("w", True), m.TasksReturned("w", [("b", 1)]))
    desk.quiet(m.Retire())
    desk.quiet(ended("a"))


# ---------------------------------------------------------------- slots of tasks that wait


def test_a_task_that_waits_lends_its_slot() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("parent")]))
    desk.quiet(m.RunTasks([row("child", priority=(0, -1, 2))]))
    desk.expect(m.RunWaits("parent", 1, True), m.SlotsChanged("w", 2), execute(("child", 1)))
    desk.quiet(m.RunWaits("parent", 1, True))
    desk.expect(m.RunWaits("parent", 1, False), m.SlotsChanged("w", 1))
    desk.quiet(m.RunWaits("parent", 1, False))
    desk.quiet(m.RunWaits("unknown", 1, True))
    desk.quiet(ended("parent"))


def test_a_lent_slot_comes_back_when_its_task_ends() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("parent")]))
    desk.given(m.RunWaits("parent", 1, True))
    desk.expect(ended("parent"), m.SlotsChanged("w", 1))
    assert desk.machine.lent_slots == 0


def test_when_many_tasks_wait_only_deeper_ones_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "MAX_LENT_SLOTS", 2)
    desk = Desk()
    desk.given(m.RunTasks([row(f"p{i}", priority=(0, 0, i)) for i in range(9)]))
    desk.expect(m.RunWaits("p0", 1, True), m.SlotsChanged("w", 2), execute(("p1", 1)))
    desk.expect(m.RunWaits("p1", 1, True), m.SlotsChanged("w", 3), execute(("p2", 1)))
    desk.expect(m.RunWaits("p2", 1, True), m.SlotsChanged("w", 4))  # p3 would wait as well
    desk.expect(m.RunTasks([row("child", priority=(0, -1, 9))]), execute(("child", 1)))
    desk.expect(m.RunWaits("child", 1, True), m.SlotsChanged("w", 5))
    desk.quiet(m.RunTasks([row("child 2", priority=(0, -1, 10))]))
    desk.expect(m.RunTasks([row("grandchild", priority=(0, -2, 11))]), execute(("grandchild", 1)))


# ---------------------------------------------------------------- inputs


def test_inputs_are_fetched_and_the_run_starts_when_they_are_there() -> None:
    desk = Desk()
    desk.expect(
        m.RunTasks([row("a", 1, (remote("x", "p", "q"), remote("y", "p"), remote("z", "q")))]),
        fetch("p", "x", "y"),
        fetch("q", "z"),
    )
    desk.expect(arrived("p", "x", "y"), m.DataAdded("w", ["x", "y"]))
    desk.expect(arrived("q", "z"), m.DataAdded("w", ["z"]), execute(("a", 1)))


def test_inputs_are_fetched_while_another_run_executes() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("busy")]))
    desk.expect(m.RunTasks([row("a", 1, (remote("x", "p"),))]), fetch("p", "x"))
    desk.expect(arrived("p", "x"), m.DataAdded("w", ["x"]))
    desk.expect(ended("busy"), execute(("a", 1)))


def test_what_is_here_or_on_its_way_is_not_fetched_again() -> None:
    desk = Desk(slots=3)
    desk.given(m.RunTasks([row("x")]))
    desk.given(ended("x", payload=None))
    desk.expect(m.RunTasks([row("a", 1, (remote("x", "w"),))]), execute(("a", 1)))
    desk.expect(m.RunTasks([row("b", 1, (remote("y", "p"),))]), fetch("p", "y"))
    desk.quiet(m.RunTasks([row("c", 1, (remote("y", "p"),))]))
    desk.expect(arrived("p", "y"), m.DataAdded("w", ["y"]), execute(("b", 1), ("c", 1)))


def test_small_inputs_come_with_the_run() -> None:
    Desk().expect(m.RunTasks([row("a", 1, (("x", 3, b"abc", ()),))]), execute(("a", 1)))


def test_the_next_holder_is_asked() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a", 1, (remote("x", "p", "q"),))]))
    desk.expect(missing("p", "x"), m.ReportMissing("w", [("x", "p")]), fetch("q", "x"))
    desk.expect(arrived("q", "x"), m.DataAdded("w", ["x"]), execute(("a", 1)))


def test_without_another_holder_the_run_goes_back_after_the_report() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a", 1, (remote("x", "p"), remote("y", "q")))]))
    desk.expect(missing("p", "x"), m.ReportMissing("w", [("x", "p")]), m.TasksReturned("w", [("a", 1)]))
    desk.expect(arrived("q", "y"), m.DataAdded("w", ["y"]))
    assert desk.data() == {"y": True} and not desk.machine.runs


def test_what_was_said_to_be_here_alone_is_reported_as_missing_here() -> None:
    desk = Desk()
    desk.expect(m.RunTasks([row("a", 1, (remote("x"),))]), fetch("", "x"))
    desk.expect(missing("", "x"), m.ReportMissing("w", [("x", "w")]), m.TasksReturned("w", [("a", 1)]))


def test_nobody_waits_any_more_for_what_is_missing() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a", 1, (remote("x", "p", "q"),))]))
    desk.given(m.ReturnTasks([("a", 1)]))
    desk.expect(missing("p", "x"), m.ReportMissing("w", [("x", "p")]))
    assert not desk.data()
    desk.quiet(missing("p", "x"))


def test_a_result_that_is_made_here_is_not_waited_for_any_more() -> None:
    desk = Desk(slots=2)
    desk.given(m.RunTasks([row("x")]))
    desk.expect(m.RunTasks([row("a", 1, (remote("x", "p"),))]), fetch("p", "x"))
    desk.expect(ended("x", payload=None), execute(("a", 1)))
    desk.quiet(arrived("p", "x"))


# ---------------------------------------------------------------- dropping


def test_dropped_results_go() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("x")]))
    desk.given(ended("x", payload=None))
    desk.expect(m.DropData(["x", "unknown"]), m.DropData(["x"]))
    assert not desk.data()


def test_a_dropped_input_stays_until_the_runs_that_need_it_have_ended() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("x")]))
    desk.given(ended("x", payload=None))
    desk.given(m.RunTasks([row("a", 1, (remote("x", "w"),)), row("b", 1, (remote("x", "w"),))]))
    desk.quiet(m.DropData(["x"]))
    desk.expect(m.ReturnTasks([("b", 1)]), m.TasksReturned("w", [("b", 1)], []))
    desk.expect(ended("a"), m.DropData(["x"]))


def test_what_is_dropped_on_its_way_goes_when_it_arrives() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a", 1, (remote("x", "p"),))]))
    desk.given(m.ReturnTasks([("a", 1)]))
    desk.quiet(m.DropData(["x"]))
    desk.expect(arrived("p", "x"), m.DropData(["x"]))
    desk.expect(arrived("p", "x"), m.DropData(["x"]))
    assert not desk.data()


def test_what_is_dropped_on_its_way_and_needed_again_stays() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a", 1, (remote("x", "p"),))]))
    desk.given(m.ReturnTasks([("a", 1)]))
    desk.given(m.DropData(["x"]))
    desk.quiet(m.RunTasks([row("b", 1, (remote("x", "p"),))]))
    desk.expect(arrived("p", "x"), m.DataAdded("w", ["x"]), execute(("b", 1)))


# ---------------------------------------------------------------- copies


def copy(key: str, *holders: str) -> m.CopyData:
    return m.CopyData([(key, 10, tuple((name, f"at {name}") for name in holders))])


def test_a_copy_is_fetched_though_no_run_needs_it() -> None:
    desk = Desk()
    desk.expect(copy("x", "u", "v"), fetch("u", "x"))
    desk.expect(missing("u", "x"), m.ReportMissing("w", [("x", "u")]), fetch("v", "x"))
    desk.expect(arrived("v", "x"), m.DataAdded("w", ["x"]))
    assert desk.data() == {"x": True}
    desk.expect(m.DropData(["x"]), m.DropData(["x"]))


def test_a_copy_that_nobody_has_is_reported() -> None:
    desk = Desk()
    desk.given(copy("x", "u"))
    desk.expect(missing("u", "x"), m.ReportMissing("w", [("x", "u")]))
    assert not desk.data()


def test_a_copy_that_is_here_already_is_not_fetched() -> None:
    desk = Desk()
    desk.quiet(m.DataPut([("x", 10)]))
    desk.expect(copy("x", "u"), m.DataAdded("w", ["x"]))


def test_who_is_asked_whether_it_has_something_says_so() -> None:
    desk = Desk()
    desk.expect(copy("x"), m.ReportMissing("w", [("x", "w")]))
    desk.quiet(m.DataPut([("x", 10)]))
    desk.expect(copy("x"), m.DataAdded("w", ["x"]))


def test_a_copy_on_its_way_to_a_run_is_fetched_once() -> None:
    desk = Desk()
    desk.expect(m.RunTasks([row("a", 1, (remote("x", "u", "v"),))]), fetch("u", "x"))
    desk.quiet(copy("x", "u", "v"))
    desk.expect(m.ReturnTasks([("a", 1)]), m.TasksReturned("w", [("a", 1)]))
    desk.expect(missing("u", "x"), m.ReportMissing("w", [("x", "u")]), fetch("v", "x"))
    desk.expect(arrived("v", "x"), m.DataAdded("w", ["x"]))


def test_a_copy_that_is_dropped_on_its_way_goes() -> None:
    desk = Desk()
    desk.given(copy("x", "u", "v"))
    desk.quiet(m.DropData(["x"]))
    desk.expect(arrived("u", "x"), m.DropData(["x"]))
    desk.given(copy("y", "u", "v"))
    desk.quiet(m.DropData(["y"]))
    desk.expect(missing("u", "y"), m.ReportMissing("w", [("y", "u")]))
    assert not desk.data()


def test_what_a_client_puts_here_serves_runs() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a", 1, (remote("x", "u"),))]))
    desk.expect(m.DataPut([("x", 10)]), execute(("a", 1)))
    desk.quiet(arrived("u", "x"))
    desk.expect(m.RunTasks([row("b", 2, (remote("x", "u"),))]))
    assert desk.data() == {"x": True}


def test_how_long_a_fetch_took_is_told() -> None:
    desk = Desk()
    desk.given(copy("x", "u"))
    desk.expect(m.FetchEnded("u", [("x", 10)], [], 0.5), m.DataAdded("w", ["x"], 10, 0.5))
