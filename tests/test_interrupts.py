"""Ctrl-C, wherever it comes: the program that survives it goes on with its executor.

Covers: ``services.common.signals`` and ``locks`` alone, and Ctrl-C at each instruction of the package that the main
thread executes while it submits, waits, cancels. Does not cover: programs that end by it (``test_executor``).
"""

from __future__ import annotations

import _thread
import operator
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from gate import LIMIT_S

import futures_cluster
from futures_cluster import Executor, as_completed, locks
from futures_cluster.engines.inprocess import InProcessEngine
from futures_cluster.services.common.signals import SIGNALS, DeferredSignals

PACKAGE = os.path.dirname(futures_cluster.__file__)


class _Trip:
    """``trip[number]``: a signal comes. Not a call, after which Python would run its handler at once."""

    __getitem__ = _thread.interrupt_main


class AtStep:
    """A trace function: Ctrl-C comes at one instruction of the package (its handler runs where Python next looks)."""

    def __init__(self, step: int, everywhere: bool = False) -> None:
        self.step = step
        self.folder = "" if everywhere else PACKAGE
        self.count = 0
        self._trip: Any = _Trip()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self.folder):
            return None
        frame.f_trace_opcodes = True
        return self._local

    def _local(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.count += 1
        if self.count == self.step:
            up: FrameType | None = frame
            while up is not None:  # no more of this function, or the handler would run at its beginning
                up.f_trace = None
                up = up.f_back
            self._trip[signal.SIGINT]
            return None
        return self._local


def interrupt_at_each_step(use: Callable[[], Any], check: Callable[[], Any], stride: int = 1) -> int:
    """Use something with Ctrl-C at each of its steps, and check it each time; returns how many came through."""
    step, raised, passed = 1, 0, 0
    while True:
        at = AtStep(step)
        try:
            sys.settrace(at)
            try:
                use()
            finally:
                sys.settrace(None)
            for _ in range(10):  # if it came with the last step
                pass
        except KeyboardInterrupt:
            raised += 1
        check()
        # How many steps it takes is not always the same, as other threads may be faster.
        passed = passed + 1 if at.count < at.step else 0
        if passed == 5:
            return raised
        step += stride


@pytest.fixture(params=["threads", "processes"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with Executor(1, backend=request.param) as ex:
        ex.submit(int).result()
        yield ex
    # The end of the block hangs if a future that nobody has is still waited for.


# Python drops what is raised in a finalizer, with or without us.
in_finalizers = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@in_finalizers
def test_submit_and_result(ex: Executor) -> None:
    def check() -> None:
        assert ex.submit(operator.add, 2, 3).result(LIMIT_S) == 5

    # On threads a call has few steps, and fewer if its thread is faster than this one.
    least = 20 if isinstance(ex._engine, InProcessEngine) else 100
    assert interrupt_at_each_step(lambda: ex.submit(operator.add, 1, 2).result(LIMIT_S), check, 3) > least


@in_finalizers
def test_cancel(ex: Executor) -> None:
    def check() -> None:
        assert ex.submit(operator.add, 2, 3).result(LIMIT_S) == 5

    def use() -> None:
        futures = [ex.submit(operator.neg, number) for number in range(2)]
        for future in futures:
            future.cancel()

    assert interrupt_at_each_step(use, check, 7) > 50


@in_finalizers
def test_as_completed_and_map(ex: Executor) -> None:
    def check() -> None:
        assert ex.submit(operator.add, 2, 3).result(LIMIT_S) == 5

    def use() -> None:
        for future in as_completed([ex.submit(operator.neg, number) for number in range(2)]):
            future.result(LIMIT_S)
        list(ex.map(abs, [1, 2], timeout=LIMIT_S))

    assert interrupt_at_each_step(use, check, 17) > 50


@in_finalizers
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_start_and_shutdown(backend: str) -> None:
    made = [Executor(1, backend=backend)]

    def use() -> None:
        made[0].submit(int)
        made[0].shutdown()

    def check() -> None:
        made.pop().shutdown()
        made.append(Executor(1, backend=backend))

    interrupt_at_each_step(use, check, 97 if backend == "threads" else 397)
    made.pop().shutdown()


# ---------------------------------------------------------------- alone


def test_it_comes_at_the_end() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with DeferredSignals():
            signal.raise_signal(signal.SIGINT)
            steps.append("inside")
        steps.append("behind")
    assert steps == ["inside"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_comes_at_once_where_it_may() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with DeferredSignals() as held:
            signal.raise_signal(signal.SIGINT)
            steps.append("held")
            held.is_open = True
            held.call_due()
            steps.append("due")
    with pytest.raises(KeyboardInterrupt):
        with DeferredSignals() as held:
            held.is_open = True
            signal.raise_signal(signal.SIGINT)
            steps.append("open")
    assert steps == ["held"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_inside_another_changes_nothing() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with DeferredSignals():
            with DeferredSignals():
                signal.raise_signal(signal.SIGINT)
            steps.append("inner one ended")
    assert steps == ["inner one ended"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def handlers() -> Iterator[list[tuple[int, FrameType | None]]]:
    """Handlers for all the signals, each of which raises."""
    called: list[tuple[int, FrameType | None]] = []

    def handle(number: int, frame: FrameType | None) -> None:
        called.append((number, frame))
        raise InterruptedError(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield called
        assert all(signal.getsignal(number) is handle for number in SIGNALS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_all_handlers_are_called_though_each_raises(handlers: list[tuple[int, FrameType | None]]) -> None:
    with pytest.raises(InterruptedError):
        with DeferredSignals():
            for number in SIGNALS:
                signal.raise_signal(number)
    assert [number for number, _ in handlers] == list(SIGNALS)
    here = sys._getframe()
    assert all(frame is here for _, frame in handlers)


def test_handlers_are_put_back_wherever_one_raises(handlers: list[tuple[int, FrameType | None]]) -> None:
    def use() -> None:
        with DeferredSignals():
            pass

    def check() -> None:
        assert not any(
            isinstance(getattr(signal.getsignal(number), "__self__", None), DeferredSignals) for number in SIGNALS
        )

    for step in range(1, 400):
        at = AtStep(step)
        try:
            sys.settrace(at)
            try:
                use()
            finally:
                sys.settrace(None)
        except InterruptedError:
            pass
        check()


@pytest.mark.parametrize("kind", [locks.Condition, locks.RLock, locks.Lock])
def test_a_lock_is_never_left_held(kind: Callable[[], Any]) -> None:
    lock = kind()
    begun = []

    def use() -> None:
        begun.append(1)
        with lock:
            pass

    def is_free() -> None:
        found.append(lock.acquire(False))
        lock.release()

    found: list[bool] = []

    for step in range(1, 100):
        try:
            sys.settrace(AtStep(step, everywhere=True))
            try:
                use()
            finally:
                sys.settrace(None)
            for _ in range(10):  # if it came with the last step
                pass
        except KeyboardInterrupt:
            pass
        thread = threading.Thread(target=is_free)  # the one that has a reentrant lock may take it again
        thread.start()
        thread.join()
        assert found.pop()
    assert len(begun) > 50


def test_a_lock_may_be_tried_and_a_reentrant_one_taken_again() -> None:
    lock, again = locks.Lock(), locks.RLock()
    with lock, again, again:
        assert not lock.acquire(False) and not lock.acquire(timeout=0.001) and again.acquire(False)
        again.release()
    assert lock.acquire(False) and again.acquire()


def test_other_threads_are_left_alone() -> None:
    def in_thread() -> None:
        with DeferredSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[Any] = []
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
