"""An executor that is used from inside itself: its own tasks end it, finalizers use it while it starts."""

from __future__ import annotations

import concurrent.futures
import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate import LIMIT_S

import futures_cluster
from futures_cluster import Executor, ThreadPoolExecutor
from futures_cluster.services.client.graphs import Graph, GraphTask

PACKAGE = str(Path(futures_cluster.__file__).parent)
LARGE = bytes(600_000)  # travels in shared memory

# ---------------------------------------------------------------- a task that ends its own executor

EACH_POOL = pytest.mark.parametrize(
    "make",
    [
        lambda: concurrent.futures.ThreadPoolExecutor(2),
        lambda: ThreadPoolExecutor(2),
        lambda: Executor(2, backend="threads"),
    ],
    ids=["standard library", "ThreadPoolExecutor", "Executor"],
)


@EACH_POOL
def test_a_task_that_waits_for_the_end_of_its_own_executor_raises(make: Callable[[], Any]) -> None:
    pool = make()
    future = pool.submit(pool.shutdown)
    with pytest.raises(RuntimeError, match="cannot join current thread"):
        future.result(LIMIT_S)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
    pool.shutdown()


@EACH_POOL
def test_others_finish_after_a_task_tried_to_wait_for_the_end(make: Callable[[], Any]) -> None:
    pool = make()
    started: concurrent.futures.Future[None] = concurrent.futures.Future()

    def end(wait: bool) -> None:
        started.result(LIMIT_S)
        pool.shutdown(wait=wait)

    ending = [pool.submit(end, wait) for wait in (True, False)]
    others = [pool.submit(pow, 2, n) for n in range(10)]
    started.set_result(None)
    assert [future.result(LIMIT_S) for future in others] == [2**n for n in range(10)]
    assert ending[1].result(LIMIT_S) is None
    assert isinstance(ending[0].exception(LIMIT_S), RuntimeError)
    pool.shutdown()


# ---------------------------------------------------------------- a finalizer that uses the executor, at any point


#: What traces is held for ever: CPython 3.11 may call a trace function of a thread that has just been given up.
_tracing: list[Any] = []


class AtLine:
    """Calls a function when the package executes its n-th line, as a finalizer would that a collection runs there.

    Parameters
    ----------
    on_main_thread : bool
        Whether lines of this thread are counted, or those of the threads that it starts.
    """

    def __init__(self, number: int, function: Callable[[], Any], on_main_thread: bool) -> None:
        self.lines = 0
        self.outcome: Any = None
        self._number = number
        self._function = function
        self._on_main_thread = on_main_thread
        self._begin, self._on_line = self._trace, self._count
        _tracing.append((self._begin, self._on_line))

    def __enter__(self) -> AtLine:
        self._before = sys.gettrace(), threading.gettrace()
        threading.settrace(self._begin)
        if self._on_main_thread:
            sys.settrace(self._begin)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self._before[0])
        threading.settrace(self._before[1])  # type: ignore[arg-type]

    def _trace(self, frame: Any, event: str, argument: Any) -> Any:
        return self._on_line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _count(self, frame: Any, event: str, argument: Any) -> Any:
        is_main = threading.current_thread() is threading.main_thread()
        if event == "line" and is_main == self._on_main_thread:
            self.lines += 1
            if self.lines == self._number:
                sys.settrace(None)
                try:
                    self.outcome = self._function()
                except BaseException as error:
                    self.outcome = error
                sys.settrace(self._begin)
        return self._on_line


def use_at_line(number: int, backend: str, use: Callable[[Executor], Any], on_main_thread: bool) -> tuple[int, Any]:
    """Submit twice, use the executor meanwhile; how many lines that took, and what the use returned or raised."""
    ex = Executor(1, backend=backend)
    futures = []
    with AtLine(number, lambda: use(ex), on_main_thread) as at_line:
        try:
            futures = [ex.submit(len, LARGE), ex.submit(abs, -1)]
        except RuntimeError as error:
            assert "after shutdown" in str(error)
    results = [future.result(LIMIT_S) for future in futures]
    assert not futures or results == [len(LARGE), 1]
    outcome = at_line.outcome
    if isinstance(outcome, concurrent.futures.Future):
        outcome = outcome.result(LIMIT_S)
    ex.shutdown()
    return at_line.lines, outcome


@pytest.mark.parametrize("on_main_thread", [True, False], ids=["this thread", "other threads"])
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_a_finalizer_that_submits_while_the_executor_starts(backend: str, on_main_thread: bool) -> None:
    """Refused, with a reason, on the thread that starts it; nothing hangs."""

    def use(ex: Executor) -> Any:
        return ex.submit(len, LARGE)

    use_at_line(0, backend, use, on_main_thread)  # imports
    lines, _ = use_at_line(0, backend, use, on_main_thread)
    outcomes = []
    for number in range(1, lines, lines // 15):
        _, outcome = use_at_line(number, backend, use, on_main_thread)
        if isinstance(outcome, RuntimeError):
            assert on_main_thread and "while it starts" in str(outcome), outcome
        else:
            assert outcome in (len(LARGE), None), outcome
        outcomes.append(outcome)
    assert len(LARGE) in outcomes


@pytest.mark.parametrize("on_main_thread", [True, False], ids=["this thread", "other threads"])
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_a_finalizer_that_shuts_down_while_the_executor_starts(backend: str, on_main_thread: bool) -> None:
    """What was submitted before runs; nothing is left behind."""

    def use(ex: Executor) -> Any:
        ex.shutdown(wait=False)
        return "shut down"

    use_at_line(0, backend, use, on_main_thread)  # imports
    lines, _ = use_at_line(0, backend, use, on_main_thread)
    outcomes = [use_at_line(number, backend, use, on_main_thread)[1] for number in range(1, lines, lines // 15)]
    assert "shut down" in outcomes and set(outcomes) <= {"shut down", None}


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_a_finalizer_that_submits_inside_of_a_later_submit(backend: str) -> None:
    with Executor(1, backend=backend) as ex:
        assert ex.submit(len, LARGE).result(LIMIT_S) == len(LARGE)
        number, lines = 0, 1
        while number < lines:  # the number of lines differs a little from time to time
            number += 2
            with AtLine(number, lambda: ex.submit(len, LARGE), on_main_thread=True) as at_line:
                futures = [ex.submit(len, LARGE), ex.submit(abs, -1)]
            assert [future.result(LIMIT_S) for future in futures] == [len(LARGE), 1]
            if number <= at_line.lines:
                assert at_line.outcome.result(LIMIT_S) == len(LARGE)
            lines = at_line.lines


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_collections_of_garbage_that_submit(backend: str) -> None:
    """Garbage whose finalizer submits, collected at as many places as can be."""
    made: list[Any] = []
    refused: list[str] = []

    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            try:
                made.append(ex.submit(abs, -1))
            except RuntimeError as error:
                refused.append(str(error))

    def make_garbage(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and len(made) + len(refused) < 200:
            Garbage()

    threshold = gc.get_threshold()
    gc.callbacks.append(make_garbage)
    try:
        with Executor(1, backend=backend) as ex:
            Garbage()
            gc.set_threshold(1)
            first = ex.submit(abs, -2)
            gc.set_threshold(*threshold)
            assert first.result(LIMIT_S) == 2
            assert [future.result(LIMIT_S) for future in list(made)] == [1] * len(made)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(make_garbage)
    gc.collect()
    assert made or refused
    assert all("while it starts" in text or "after shutdown" in text for text in refused)


def test_a_graph_that_is_submitted_while_the_executor_ends() -> None:
    with Executor(1) as ex:
        assert ex.submit(int).result(LIMIT_S) == 0
        client: Any = ex._engine.client
        make = client._make_future

        def end_first(key: str, owner: Any) -> Any:
            ex.shutdown(wait=True)  # by another thread: it has ended all futures that were pending
            return make(key, owner)

        client._make_future = end_first
        with pytest.raises(RuntimeError, match="after shutdown"):
            client.submit_graph(Graph(len, [GraphTask("key", "len", ((),), [])], ["key"]))
        assert not client.count_pending()
