"""The parts of what workers report: rows of the stream, samples of threads, failures, lines of the log."""

from __future__ import annotations

import logging
import sys
import threading
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.services.common import log_tail
from futures_cluster.services.worker import profiler, stats
from futures_cluster.services.worker.task_stream import LONG_S, MAX_ROWS, TaskStreamRecorder


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_short_runs_of_one_function_are_one_row() -> None:
    clock = Clock()
    recorder = TaskStreamRecorder(clock)
    for i in range(10):
        clock.now += 0.0005
        recorder.ended(0, "f", f"k{i}", 0.0004, 8, False)
    rows, dropped = recorder.take()
    assert dropped == 0
    ((kind, lane, function, start, end, number, key, size, failed),) = rows
    assert (kind, lane, function, number, key, size, failed) == (0, 0, "f", 10, "k9", 80, False)
    assert (start, end) == (pytest.approx(0.0001), pytest.approx(0.005))
    assert recorder.take() == ([], 0)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ((0, "g", 0.0004, False, 0.0005), "another function"),
        ((1, "f", 0.0004, False, 0.0005), "another slot"),
        ((0, "f", 0.0004, True, 0.0005), "it raised"),
        ((0, "f", 0.5, False, 0.5005), "it is long"),
        ((0, "f", 0.0004, False, 0.1), "there is a pause"),
    ],
)
def test_others_are_rows_of_their_own(second: tuple[int, str, float, bool, float], why: str) -> None:
    clock = Clock()
    recorder = TaskStreamRecorder(clock)
    recorder.ended(0, "f", "a", 0.0004, 0, False)
    slot, function, duration_s, failed, pause_s = second
    clock.now += pause_s
    recorder.ended(slot, function, "b", duration_s, 0, failed)
    assert [row[6] for row in recorder.take()[0]] == ["a", "b"], why


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("fgh"), st.floats(0, 0.01), st.booleans()), max_size=60))
def test_nothing_is_lost_and_nothing_overlaps(runs: list[tuple[int, str, float, bool]]) -> None:
    clock = Clock()
    recorder = TaskStreamRecorder(clock)
    ends = {slot: 0.0 for slot in range(3)}
    for slot, function, duration_s, failed in runs:
        clock.now = max(clock.now, ends[slot] + duration_s)
        recorder.ended(slot, function, "k", duration_s, 1, failed)
        ends[slot] = clock.now
    rows, dropped = recorder.take()
    assert sum(row[5] for row in rows) + dropped == len(runs)
    assert sum(row[7] for row in rows) == len(runs)
    for slot in range(3):
        lane = [row for row in rows if row[1] == slot]
        for before, after in pairwise(lane):
            assert before[4] <= after[3] + 1e-9
        assert all(row[4] - row[3] < LONG_S + 0.02 for row in lane)


def test_what_does_not_fit_is_counted() -> None:
    recorder = TaskStreamRecorder(Clock())
    for i in range(MAX_ROWS + 5):
        recorder.fetched("w", [f"k{i}"], 10, 0.1)
    rows, dropped = recorder.take()
    assert (len(rows), dropped) == (MAX_ROWS, 5)


# ---------------------------------------------------------------- profile


def test_the_stack_of_a_task_begins_with_its_function() -> None:
    """Frames of ``services.worker.execution`` and what calls it are not the task's."""
    namespace: dict[str, Any] = {"__name__": "futures_cluster.services.worker.execution"}
    exec("def execute(fn): return fn()", namespace)

    def inner() -> list[str]:
        return profiler.stack_of(sys._getframe())

    def task() -> list[str]:
        return inner()

    stack = namespace["execute"](task)
    assert [frame.split(" ")[0].rpartition(".")[2] for frame in stack] == ["task", "inner"]
    assert stack[0].endswith(f"(test_observing.py:{task.__code__.co_firstlineno})")


def test_a_thread_in_no_task_has_no_stack() -> None:
    assert profiler.stack_of(sys._getframe()) == []
    assert profiler.stack_of(None) == []


def test_children_of_a_frame_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "MAX_CHILDREN", 2)
    tree = profiler.new_tree()
    for name in "abcd":
        profiler.add(tree, [name])
    assert tree == [4, {"a": [1, {}], "b": [1, {}], "(others)": [2, {}]}]


def test_the_profiler_takes_samples_and_ends() -> None:
    namespace: dict[str, Any] = {"__name__": "futures_cluster.services.worker.execution"}
    exec("def execute(fn): return fn()", namespace)
    go, there = threading.Event(), threading.Event()

    def busy() -> None:
        there.set()
        go.wait()

    thread = threading.Thread(target=lambda: namespace["execute"](busy))
    thread.start()
    there.wait()
    sampler = profiler.Profiler(lambda: [thread.ident or 0])
    sampler.sample()
    tree = sampler.take()
    go.set()
    thread.join()
    sampler.stop()
    assert tree[0] >= 1
    (frame,) = tree[1]
    assert "busy" in frame


# ---------------------------------------------------------------- failures and logs


def test_failures_are_kept_as_text() -> None:
    failures = stats.Failures()
    try:
        raise ValueError("a reason")
    except ValueError as error:
        failures.add("k", "f", error)
    ((number, _, key, function, kind, text),) = failures.rows
    assert (number, key, function, kind) == (1, "k", "f", "ValueError")
    assert text.startswith("Traceback") and text.endswith("ValueError: a reason\n")


def test_texts_of_failures_are_made_for_some_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats.clocks, "time", lambda: 5.5)
    failures = stats.Failures()
    for i in range(1000):
        failures.add(f"k{i}", "f", ValueError())
    assert (failures.number, len(failures.rows)) == (1000, stats.FAILURES_A_SECOND)


def test_an_error_whose_text_fails_is_noted_all_the_same() -> None:
    class Bad(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    class Long(Exception):
        pass

    failures = stats.Failures()
    failures.add("k", "f", Bad())
    failures.add("l", "f", Long("x" * 100_000))
    assert failures.rows[0][4] == "Bad"
    assert len(failures.rows[1][5]) < stats.MAX_TEXT_CHARS + 100


def test_bytes_of_more_peers_than_are_told_apart_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MAX_PEERS", 1)
    traffic = stats.WorkerStats()
    for holder in ("a", "b", "c", "a"):
        traffic.add_received(holder, 10, 0.5)
    assert traffic.peers == {"a": [20, 2, 1.0], "(others)": [20, 2, 1.0]}
    assert traffic.received_bytes == 40


def logger_with(tail: log_tail.LogTail, name: str) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.addHandler(tail)
    logger.propagate = False
    return logger


def test_the_last_lines_of_the_log() -> None:
    tail = log_tail.LogTail()
    logger = logger_with(tail, "test_observing.a")
    logger.addHandler(logging.NullHandler())
    logger.warning("number %d", 1)
    logger.error("wrong %d %d", 2)
    try:
        raise OSError("gone")
    except OSError:
        logger.exception("after")
    lines = tail.since(0)
    assert [line[1:3] for line in lines] == [[level, "test_observing.a"] for level in ("WARNING", "ERROR", "ERROR")]
    assert lines[0][3] == "number 1"
    assert "arguments do not fit" in lines[1][3]
    assert lines[2][3] == "after (OSError('gone'))"
    assert tail.since(2) == lines[2:]


def test_warnings_still_reach_stderr_where_nobody_else_hears_them(capsys: pytest.CaptureFixture[str]) -> None:
    tail = log_tail.LogTail()
    logger = logger_with(tail, "test_observing.b")
    logger.warning("heard")
    logger.info("not said")
    assert capsys.readouterr().err == "heard\n"
    logger.addHandler(logging.NullHandler())
    logger.warning("heard by another one")
    assert capsys.readouterr().err == ""
    assert len(tail.since(0)) == 2
