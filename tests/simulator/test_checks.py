"""The checks find what is wrong, and only that."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.testing.simulator.checks import Checks, value_of

DIED = {"kind": "WorkerDied", "text": ""}


def assigned(checks: Checks, key: str, worker: str, attempt: int) -> None:
    row = (key, attempt, "f", b"", (0, 0, 1), (), 0)
    checks.handled(m.Tick(), [m.ToWorker(worker, m.RunTasks([row]))])


def finished(checks: Checks, key: str, worker: str, attempt: int, told: bool = True) -> None:
    done = [m.ToClient("c", m.TasksDone([(key, m.FINISHED, b"1", 1, ())]))] if told else []
    checks.handled(m.TasksFinished(worker, [(key, attempt, b"1", 1, 0.1)]), done)


def blamed(checks: Checks, key: str) -> None:
    checks.handled(m.Tick(), [m.ToClient("c", m.TasksDone([(key, m.FAILED, DIED, 0, ())]))])


# ---------------------------------------------------------------- values


def test_values_follow_from_the_inputs() -> None:
    checks = Checks()
    checks.define("x", [], True)
    checks.define("y", ["x", "x"], True)
    x = value_of("x", [])
    checks.right("x", x)
    checks.right("y", value_of("y", [x]))
    with pytest.raises(AssertionError, match="y: "):
        checks.right("y", value_of("y", [x + 1]))
    assert value_of("y", [1, 2]) != value_of("y", [2, 1]) != value_of("x", [2, 1])


def test_deep_graphs_have_values() -> None:
    checks = Checks()
    for i in range(5000):
        checks.define(f"k{i}", [f"k{i - 1}"] if i else [], True)
    assert checks.expected("k4999") is not None


def test_what_means_two_things_has_no_value_to_compare() -> None:
    """Nor has what is made of it, nor what needs itself or something unknown."""
    checks = Checks()
    checks.define("x", [], True)
    checks.define("y", ["x"], True)
    assert checks.expected("y") is not None
    checks.define("x", ["z"], True)
    checks.define("a", ["b"], True)
    checks.define("b", ["a"], True)
    assert [checks.expected(key) for key in ("x", "y", "z", "a", "b")] == [None] * 5
    checks.right("y", 1)


# ---------------------------------------------------------------- attempts


def test_the_newest_attempt_is_right() -> None:
    checks = Checks()
    assigned(checks, "x", "w", 1)
    assigned(checks, "x", "v", 2)
    finished(checks, "x", "v", 2)


@pytest.mark.parametrize(("worker", "attempt"), [("w", 1), ("w", 2), ("v", 1)])
def test_an_old_attempt_is_wrong(worker: str, attempt: int) -> None:
    checks = Checks()
    assigned(checks, "x", "w", 1)
    assigned(checks, "x", "v", 2)
    finished(checks, "x", worker, attempt, told=False)
    with pytest.raises(AssertionError, match="old attempt at x"):
        finished(checks, "x", worker, attempt)


@pytest.mark.parametrize("event", [m.WorkerGone("w", None, True), m.WorkerConnected("w", "address")])
def test_what_a_lost_worker_says_is_wrong(event: m.Message) -> None:
    checks = Checks()
    assigned(checks, "x", "w", 1)
    checks.handled(event, [])
    with pytest.raises(AssertionError, match="old attempt"):
        finished(checks, "x", "w", 1)


def test_an_attempt_is_answered_once() -> None:
    checks = Checks()
    assigned(checks, "x", "w", 1)
    finished(checks, "x", "w", 1)
    with pytest.raises(AssertionError, match="old attempt"):
        finished(checks, "x", "w", 1)


# ---------------------------------------------------------------- blame


def test_nobody_is_blamed_for_what_was_stopped_on_purpose() -> None:
    checks = Checks()
    checks.define("x", [], True)
    for attempt in range(5):
        assigned(checks, "x", "w", attempt)
        checks.handled(m.WorkerGone("w", None, True), [])
    with pytest.raises(AssertionError, match="blamed"):
        blamed(checks, "x")


def test_three_silences_are_enough() -> None:
    checks = Checks()
    checks.define("x", [], True)
    for attempt in range(3):
        assigned(checks, "x", "w", attempt)
        checks.handled(m.WorkerGone("w", None, unheard=True), [])
    blamed(checks, "x")


def test_a_key_that_workers_make_twice_is_noticed() -> None:
    checks = Checks()
    checks.made("x")
    with pytest.raises(AssertionError, match="comes again"):
        checks.made("x")


def test_three_deaths_are_enough() -> None:
    """When nobody knows what was executed, any of the tasks may be suspected."""
    checks = Checks()
    checks.define("x", [], True)
    for attempt in range(3):
        assigned(checks, "x", "w", attempt)
        if attempt == 2:
            with pytest.raises(AssertionError, match="blamed"):
                blamed(checks, "x")
        checks.handled(m.WorkerGone("w", None), [])
    blamed(checks, "x")


def test_one_loss_is_enough_for_what_must_not_run_twice() -> None:
    checks = Checks()
    checks.define("x", [], rerun=False)
    with pytest.raises(AssertionError, match="blamed"):
        blamed(checks, "x")
    assigned(checks, "x", "w", 1)
    checks.handled(m.WorkerGone("w", None, True), [])
    blamed(checks, "x")


def test_blame_is_inherited() -> None:
    checks = Checks()
    checks.define("x", [], True)
    checks.define("y", ["x"], True)
    blamed(checks, "y")
