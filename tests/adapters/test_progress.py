"""The bar: its text, what it counts, where it is drawn."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

from futures_cluster import Executor
from futures_cluster.adapters.progress import Progress, line

TIMEOUT_S = 30


class Terminal(io.StringIO):
    """Says that it is one; ``drawn`` tells that something was."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.drawn.set()
        return super().write(text)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((0, 0, 0.0), "[########################################] 100% | 0 of 0 tasks | 0.0s"),
        ((0, 3, 1.26), "[                                        ]   0% | 0 of 3 tasks | 1.3s"),
        ((1, 2, 60.0, "half"), "half: [####################                    ]  50% | 1 of 2 tasks | 1min 0.0s"),
        ((999, 1000, 0.0), "[####################################### ]  99% | 999 of 1000 tasks | 0.0s"),
    ],
)
def test_lines(args: Any, text: str) -> None:
    assert line(*args) == text


def test_on_a_terminal() -> None:
    terminal, opened = Terminal(), threading.Event()
    with Executor(1, backend="threads") as ex:
        ex.submit(abs, 1).result()  # not counted: it was before
        with ex.progress(title="work", file=terminal, interval_s=0.001) as progress:
            futures = [ex.submit(abs, 1), ex.submit(opened.wait, TIMEOUT_S)]
            futures[0].result()
            assert terminal.drawn.wait(TIMEOUT_S)
            opened.set()
            assert futures[1].result()
    assert (progress.done, progress.total) == (2, 2)
    first, *_, last = terminal.getvalue().split("\r")
    assert first == "" and last.startswith("work: [####") and "2 of 2 tasks" in last and last.endswith("\n")


def test_elsewhere_only_the_last_line(each: Executor) -> None:
    out = io.StringIO()
    with ex_progress(each, out) as progress:
        list(each.map(abs, range(7)))
    assert out.getvalue().count("\n") == 1 and "7 of 7 tasks" in out.getvalue() and "\r" not in out.getvalue()
    assert progress.done == 7


def test_of_some_futures(each: Executor) -> None:
    out = io.StringIO()
    futures = [each.submit(abs, i) for i in range(5)]
    with each.progress(futures, file=out, interval_s=0.001) as progress:
        each.submit(abs, 1).result()  # another one does not count
        assert progress.total == 5
        assert [future.result() for future in futures] == list(range(5))
    assert (progress.done, progress.total) == (5, 5) and "5 of 5 tasks" in out.getvalue()


def test_of_futures_that_are_not_done() -> None:
    opened = threading.Event()
    with Executor(1, backend="threads") as ex:
        futures = [ex.submit(abs, 1), ex.submit(opened.wait, TIMEOUT_S)]
        futures[0].result()
        with ex.progress(iter(futures), file=io.StringIO(), interval_s=TIMEOUT_S) as progress:
            progress.look()
            assert (progress.done, progress.total) == (1, 2)
            opened.set()
            assert futures[1].result()
        assert progress.done == 2


def ex_progress(ex: Executor, out: Any) -> Progress:
    return ex.progress(file=out, interval_s=0.001)


def test_tasks_that_are_not_done_are_counted() -> None:
    opened = threading.Event()
    with Executor(1, backend="threads") as ex:
        out = io.StringIO()
        with ex.progress(file=out, interval_s=TIMEOUT_S) as progress:
            futures = [ex.submit(opened.wait, TIMEOUT_S) for _ in range(3)]
        assert (progress.done, progress.total) == (0, 3) and "0 of 3" in out.getvalue()
        opened.set()
        assert all(future.result() for future in futures)
        progress.look()
        assert progress.done == 3
    progress.look()  # after shutdown it changes nothing, and does not fail
    assert progress.done == 3


def test_a_file_that_fails_does_no_harm() -> None:
    out = io.StringIO()
    with Executor(backend="sync") as ex:
        with ex.progress(file=out):
            out.close()
            assert ex.submit(abs, -1).result() == 1


def test_tasks_of_graphs(each: Executor) -> None:
    dask = pytest.importorskip("dask")
    out = io.StringIO()
    with ex_progress(each, out):
        assert dask.compute(*[dask.delayed(abs)(i) for i in range(5)], scheduler=each) == tuple(range(5))
    assert "5 of 5 tasks" in out.getvalue()
