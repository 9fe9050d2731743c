"""The thread that calls callbacks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from gate import LIMIT_S

from futures_cluster.services.client.callback_thread import CallbackThread


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def raises(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_function_that_raises_is_logged_and_the_others_are_called(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    callbacks = CallbackThread()
    callbacks.call(lambda: called.append("first"))
    callbacks.call(lambda: raises(kind()))
    callbacks.call(lambda: called.append("last"))
    callbacks.close()
    callbacks.join()
    assert called == ["first", "last"]
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [kind]


def test_the_thread_starts_with_the_first_function_and_is_not_the_callers() -> None:
    callbacks = CallbackThread()
    assert not callbacks.is_running
    threads: list[threading.Thread] = []
    callbacks.call(lambda: threads.append(threading.current_thread()))
    assert callbacks.is_running
    callbacks.close()
    callbacks.join()
    assert not callbacks.is_running
    assert threads[0] is not threading.current_thread() and not threads[0].is_alive()


def test_a_function_handed_over_after_the_end_is_called_on_another_thread() -> None:
    callbacks = CallbackThread()
    callbacks.close()
    threads: list[threading.Thread] = []
    for _ in range(2):
        callbacks.call(lambda: threads.append(threading.current_thread()))
        callbacks.join()
    assert len(threads) == 2 and threading.current_thread() not in threads


def test_functions_handed_over_at_the_end_are_called(fast_switching: None) -> None:
    """No function falls between a thread that ends and the next one."""
    for _ in range(200):
        callbacks = CallbackThread()
        called: list[int] = []
        callbacks.start()
        barrier = threading.Barrier(3)

        def hand_over(first: int, callbacks: CallbackThread = callbacks, called: list[int] = called) -> None:
            barrier.wait(LIMIT_S)
            for number in range(first, first + 5):
                callbacks.call(lambda number=number: called.append(number))  # type: ignore[misc]

        threads = [threading.Thread(target=hand_over, args=(first,)) for first in (0, 5)]
        for thread in threads:
            thread.start()
        barrier.wait(LIMIT_S)
        callbacks.close()
        for thread in threads:
            thread.join()
        while callbacks.is_running:
            callbacks.join()
        callbacks.join()
        assert sorted(called) == list(range(10))


def test_what_is_to_be_called_at_the_end_is_called_last() -> None:
    called: list[str] = []
    callbacks = CallbackThread()
    callbacks.close(lambda: called.append("no thread"))
    assert called == ["no thread"]
    callbacks = CallbackThread()
    go_on = threading.Event()
    callbacks.call(lambda: called.append(str(go_on.wait(LIMIT_S))))
    callbacks.close(lambda: called.append("end"))
    callbacks.call(lambda: called.append("late"))
    go_on.set()
    callbacks.join()
    assert called == ["no thread", "True", "late", "end"]


def test_a_thread_that_cannot_start_calls_nothing_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the interpreter no thread can be started."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    callbacks = CallbackThread()
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError):
        callbacks.start()
    called: list[int] = []
    callbacks.call(lambda: called.append(1))
    assert called == [1]


def test_join_in_a_function_does_not_wait_for_itself() -> None:
    callbacks = CallbackThread()
    done = threading.Event()

    def call() -> None:
        callbacks.join()
        done.set()

    callbacks.call(call)
    assert done.wait(LIMIT_S)
    callbacks.close()
    callbacks.join()
