"""The timer that threads start, and the pipe by which they wake each other."""

from __future__ import annotations

import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from futures_cluster.services.common.ticker import Ticker
from futures_cluster.services.common.wake_pipe import WakePipe


class Loop:
    """A loop that does nothing by itself: the test calls what is due."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], None]] = deque()  # threads add to it
        self.later: list[Callable[[], None]] = []
        self.has_ended = False

    def call_soon_threadsafe(self, call: Callable[[], None]) -> None:
        if self.has_ended:
            raise RuntimeError
        self.soon.append(call)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.later.append(call)

    def turn(self) -> None:
        while self.soon:
            self.soon.popleft()()

    def pass_time(self) -> None:
        due, self.later = self.later, []
        for call in due:
            call()


@pytest.mark.parametrize("at_once", [True, False])
def test_it_ticks_until_there_is_nothing_left(at_once: bool) -> None:
    loop, answers, ticks = Loop(), [True, True, False], []
    ticker = Ticker(loop, 1.0, lambda: not ticks.append(1) and answers.pop(0), at_once)  # type: ignore[arg-type, func-returns-value]
    ticker.start()
    loop.turn()
    assert len(ticks) == int(at_once)
    while len(ticks) < 3:
        assert ticker.runs
        loop.pass_time()
    assert not ticker.runs and not loop.later


def test_two_threads_start_one_timer() -> None:
    loop = Loop()
    ticker = Ticker(loop, 1.0, lambda: True)  # type: ignore[arg-type]
    ticker.start()
    ticker.runs = False  # as the second thread saw it
    ticker.start()
    loop.turn()
    assert len(loop.later) == 1


@pytest.mark.parametrize("answer", [True, False])
def test_what_comes_during_a_tick_is_looked_after(answer: bool) -> None:
    """The function has looked already, and a thread brings something more before it has returned."""
    loop = Loop()

    def tick() -> bool:
        ticker.start()
        return answer

    ticker = Ticker(loop, 1.0, tick)  # type: ignore[arg-type]
    ticker.start()
    loop.turn()
    loop.pass_time()
    loop.turn()
    assert ticker.runs and len(loop.later) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_start_that_fails_is_made_good_by_the_next(error: type[BaseException], monkeypatch: Any) -> None:
    loop = Loop()
    ticker = Ticker(loop, 1.0, lambda: True)  # type: ignore[arg-type]

    def interrupt(call: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_soon_threadsafe", interrupt)
        if error is RuntimeError:  # the loop has ended, and there is no next
            ticker.start()
            return
        with pytest.raises(KeyboardInterrupt):
            ticker.start()
    ticker.start()
    assert len(loop.soon) == 1


def test_nothing_that_threads_bring_is_forgotten() -> None:
    """Threads bring things while the timer comes to rest again and again."""
    loop = Loop()
    things: list[int] = []

    def tick() -> bool:
        del things[: len(things)]
        return False

    def bring() -> None:
        for number in range(2000):
            things.append(number)
            ticker.start()

    ticker = Ticker(loop, 0.0, tick)  # type: ignore[arg-type]
    threads = [threading.Thread(target=bring) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        loop.turn()
        loop.pass_time()
    for _ in range(2):
        loop.turn()
        loop.pass_time()
    assert not things and not loop.soon and not loop.later and not ticker.runs


def test_a_pipe_that_is_full_or_closed_wakes_without_waiting() -> None:
    pipe = WakePipe()
    for _ in range(70_000):
        pipe.wake()
    assert select.select([pipe.read_fd], [], [], 0)[0]
    while select.select([pipe.read_fd], [], [], 0)[0]:
        pipe.drain()
    pipe.drain()  # nothing is there, and it does not wait
    pipe.close()
    pipe.wake()
