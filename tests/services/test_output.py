"""What tasks print: lines with their keys, from threads, processes and a cluster, and nothing else."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from futures_cluster import Executor, NotSupported, context
from futures_cluster.services.client.task_output import Line
from futures_cluster.services.worker import stdout_capture
from futures_cluster.services.worker.stdout_capture import StdoutCapture


class Host:
    """A worker, as far as a task's context needs one."""


@contextlib.contextmanager
def capturing() -> Iterator[tuple[StdoutCapture, io.StringIO]]:
    """A capture in the place of an output of our own, for a part of a test; pytest itself puts others in between."""
    former = io.StringIO()
    with contextlib.redirect_stdout(former):
        capture = StdoutCapture()
        try:
            yield capture, former
        finally:
            capture.stop()
        assert sys.stdout is former


def in_task(key: str, *texts: str, end: str = "\n") -> None:
    host: Any = Host()
    context.local.task = context.TaskContext(host, key, 1, 0)
    try:
        for text in texts:
            print(text, end=end)
    finally:
        context.local.task = None


def test_lines_of_tasks_are_taken_others_pass() -> None:
    with capturing() as (taken, former):
        in_task("a", "one", "two\nthree")
        print("not a task's")
        assert taken.take() == [["a", "one"], ["a", "two"], ["a", "three"]]
        assert taken.take() == []
    assert former.getvalue() == "not a task's\n"


def test_a_line_without_an_end_comes_when_its_task_has_ended() -> None:
    with capturing() as (taken, _):
        in_task("a", "some", "thing", end="")
        in_task("b", "else", end="")
        assert taken.take(lambda key: True) == []
        assert taken.take(lambda key: key == "b") == [["a", "something"]]
        in_task("b", " and the end")
        assert taken.take() == [["b", "else and the end"]]


def test_threads_do_not_mix() -> None:
    with capturing() as (taken, _):
        threads = [threading.Thread(target=in_task, args=(key, *["x" + key] * 50)) for key in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = taken.take()
    assert len(lines) == 200
    assert all(text == "x" + key for key, text in lines)


def test_too_many_lines_are_left_out_and_long_ones_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdout_capture, "MAX_LINES", 2)
    monkeypatch.setattr(stdout_capture, "MAX_LINE_CHARS", 3)
    with capturing() as (taken, _):
        in_task("a", "12345", "b", "c", "d")
        assert taken.take() == [["a", "123"], ["a", "b"], ["", "(2 more lines are left out)"]]


def test_what_nobody_has_fetched_goes_where_it_went_before() -> None:
    with capturing() as (taken, former):
        in_task("a", "too late for the client")
        kept = sys.stdout
    assert former.getvalue() == "too late for the client\n"
    with contextlib.redirect_stdout(kept):
        in_task("a", "later")
    assert former.getvalue() == "too late for the client\nlater\n"
    assert taken.take() == []
    assert (kept.writable(), kept.encoding) == (True, "utf-8")


def speak(i: int) -> int:
    print("task", i)
    print("says", i, end="")
    return i


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_what_tasks_print_comes_here(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[Line] = []
    with Executor(2, backend=backend) as ex:
        with ex.output(lines.append):
            futures = [ex.submit(speak, i) for i in range(4)]
            for future in futures:
                future.result()
            print("the program's own")
        found = {(line.key, line.text) for line in lines}
        assert found == {(future.key, f"{what} {i}") for i, future in enumerate(futures) for what in ("task", "says")}
        assert {line.worker for line in lines} <= set(ex.workers())
        ex.submit(speak, 9).result()  # nobody listens any more
    assert len(lines) == 8
    out = capfd.readouterr().out
    assert "the program's own\n" in out and "task 9\n" in out and "task 1\n" not in out


def test_without_a_function_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with Executor(1, backend="threads") as ex:
        with ex.output():
            future = ex.submit(speak, 1)
            future.result()
    assert f"[threads {future.key}] task 1\n[threads {future.key}] says 1\n" in capsys.readouterr().out


def test_a_function_that_fails_at_the_end_is_told() -> None:
    def fail(line: Line) -> None:
        raise ValueError("no more")

    with Executor(1, backend="threads") as ex, pytest.raises(ValueError, match="no more"):
        with ex.output(fail):
            ex.submit(speak, 1).result()
            assert isinstance(logging.getLogger(), logging.Logger)


def test_a_capture_may_outlive_the_stream_that_it_has_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stream)
    capture = StdoutCapture()
    capture.stop()
    stream.close()
    capture.close()  # as its finalizer does


def test_where_nobody_can_listen() -> None:
    with Executor(backend="sync") as ex, pytest.raises(NotSupported), ex.output():
        pass
