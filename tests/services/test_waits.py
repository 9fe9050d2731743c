"""Waits that speak, on a virtual clock: when they do, and above all when they do not."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from futures_cluster.services.client import wait_watch
from futures_cluster.services.client.wait_watch import WaitWatch
from futures_cluster.services.common.reminders import Reminder


class Loop:
    """As much of an event loop as the watch needs; time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wakeups = 0
        self._timers: list[Any] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, function: Callable[[], None]) -> Any:
        heapq.heappush(self._timers, (self.now + delay_s, next(self._numbers), function))
        return self._timers

    def call_soon_threadsafe(self, function: Callable[[], None]) -> None:
        self._timers.insert(0, (self.now, -1, function))

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> Any:
        task = Asking(coroutine)
        task.go_on()
        return task

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            due_s, _, function = heapq.heappop(self._timers)
            self.now = max(self.now, due_s)
            self.wakeups += 1
            function()
        self.now = end


class Asking:
    """A task on the loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def go_on(self) -> None:
        try:
            self._coroutine.send(None)
        except StopIteration:
            self._is_done = True


class Unanswered:
    def __await__(self) -> Iterator[None]:
        yield


class World:
    """A client's pending futures, and a scheduler that says what they lack."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = Loop()
        self.pending: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.asked = 0
        self.said: list[tuple[float, str]] = []
        loop: Any = self.loop
        self.silent = False
        self.watch = WaitWatch(
            loop,
            lambda: next(iter(self.pending), None),
            self._ask,
            lambda row: "Do something",
            lambda seconds: f"silent for {seconds:.0f} s",
        )
        monkeypatch.setattr(wait_watch, "_say", lambda lines: self.said.extend((self.loop.now - 100, x) for x in lines))

    async def _ask(self) -> list[dict[str, Any]]:
        self.asked += 1
        if self.silent:
            await Unanswered()
        return self.rows

    def submit(self, *keys: str) -> None:
        """As a client does."""
        self.pending.update(dict.fromkeys(keys))
        if not self.watch.is_armed:
            self.watch.arm()

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.said]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def lack(count: int = 1, want: str = "a worker", why: str = "there is none") -> dict[str, Any]:
    return {"count": count, "key": "k-1", "resources": {}, "workers": [], "want": want, "why": why}


def test_after_5_s_and_then_less_and_less_often(world: World) -> None:
    world.rows = [lack(3)]
    world.submit("a", "b", "c")
    world.loop.run(200)
    assert world.times == [5, 15, 45, 135]
    assert world.said[0][1] == "3 tasks (such as k-1) have waited 5 s for a worker; there is none. Do something"
    assert "have waited 45 s" in world.said[2][1]


def test_the_sentences(world: World) -> None:
    world.rows = [lack(1, "a worker with {'GPU': 1}"), lack(1200, "the worker w7", "the workers are w1")]
    world.submit("a")
    world.loop.run(6)
    assert [line for _, line in world.said] == [
        "1 task (such as k-1) has waited 5 s for a worker with {'GPU': 1}; there is none. Do something",
        "1,200 tasks (such as k-1) have waited 5 s for the worker w7; the workers are w1. Do something",
    ]


def test_tasks_that_run_long_say_nothing(world: World) -> None:
    world.submit("a")
    world.loop.run(1000)
    assert world.said == []
    world.rows = [lack()]  # its worker dies, and no other comes
    world.loop.run(10)
    assert world.times == [1005]


def test_what_is_lacking_for_a_moment_is_not_spoken_of(world: World) -> None:
    world.submit("a")
    for _ in range(20):
        world.rows = [lack()]
        world.loop.run(wait_watch.CHECK_INTERVAL_S)
        world.rows = []
        world.loop.run(wait_watch.CHECK_INTERVAL_S)
    assert world.asked > 20
    assert world.said == []


def test_a_new_lack_has_times_of_its_own(world: World) -> None:
    world.rows = [lack()]
    world.submit("a")
    world.loop.run(20)
    world.rows = [lack(), lack(want="the worker w7")]
    world.loop.run(20)
    assert world.times == [5, 15, 25, 35]
    assert ["w7" in line for _, line in world.said] == [False, False, True, True]


def test_the_scheduler_is_not_asked_while_results_come(world: World) -> None:
    for number in range(1000):
        world.submit(f"k{number}")
        world.pending.pop(f"k{number - 10}", None)
        world.loop.run(0.1)
    assert world.asked == 0
    assert world.loop.wakeups < 2 + 100 / wait_watch.CHECK_INTERVAL_S


def test_one_task_after_the_other_wakes_the_loop_as_seldom(world: World) -> None:
    for _ in range(1000):
        world.submit("k")
        world.pending.clear()
        world.loop.run(0.1)
    assert world.asked == 0
    assert world.loop.wakeups < 2 + 2 * 100 / wait_watch.CHECK_INTERVAL_S


def test_the_timer_ends_with_the_last_future(world: World) -> None:
    world.submit("a")
    world.loop.run(1)
    world.pending.clear()
    world.loop.run(wait_watch.CHECK_INTERVAL_S)
    assert not world.watch.is_armed
    before = world.loop.wakeups
    world.loop.run(1000)
    assert world.loop.wakeups == before
    world.rows = [lack()]
    world.submit("b")
    world.submit("c")
    world.loop.run(6)
    assert len(world.said) == 1


def test_a_scheduler_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> Any:
        raise RuntimeError("this scheduler does not know 'unplaceable'")

    monkeypatch.setattr(world.watch, "_ask", ask)
    world.submit("a")
    world.loop.run(100)
    assert world.said == []


def test_a_scheduler_that_is_silent(world: World) -> None:
    world.silent = True
    world.submit("a")
    world.loop.run(60)
    assert world.said == [(7.5, "silent for 5 s"), (17.5, "silent for 15 s"), (47.5, "silent for 45 s")]
    assert world.asked == 1
    world.silent = False
    asking: Any = world.watch._asking
    asking.go_on()  # its answer
    world.loop.run(100)
    assert len(world.said) == 3 and world.asked > 10


def test_a_client_that_was_stopped_itself(world: World) -> None:
    """The answer is there, and was not read yet."""
    world.silent = True
    world.submit("a")
    world.loop.run(3)
    world.loop.now += 60
    world.loop.run(1)
    asking: Any = world.watch._asking
    asking.go_on()
    world.silent = False
    world.loop.run(60)
    assert world.said == []


def test_a_timer_that_is_called_late_or_early() -> None:
    reminder = Reminder(0.0)
    assert [reminder.is_due(now_s) for now_s in (4.8, 4.99, 5.0, 14.99, 15.0, 1000.0, 1001.0)] == [
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert reminder.left_s(1001.0) == pytest.approx(5 * 3**5 - 1001)


def test_a_handler_that_blocks_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Lines are logged by a thread of their own."""
    entered, leave = threading.Event(), threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            entered.set()
            leave.wait(20)

    logger, handler = logging.getLogger("futures_cluster"), Handler()
    logger.addHandler(handler)
    try:
        wait_watch._say(["a line"])
        assert entered.wait(20)
    finally:
        leave.set()
        logger.removeHandler(handler)
