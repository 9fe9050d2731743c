"""When a wait says that it waits, and to whom.

Covers: the times at which a wait speaks, saying a sentence, waiting for a coroutine's result aloud. Does not cover:
what is waited for (``wait_watch`` for tasks that no worker can take; each other wait has its sentence where it waits).

A wait that ends soon says nothing. The sentences go to the package's logger as warnings; where no handler takes them,
``logging`` itself prints them to stderr.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable
from typing import TypeVar

from futures_cluster import clocks

log = logging.getLogger("futures_cluster")

T = TypeVar("T")

#: Seconds after which a wait speaks for the first time.
FIRST_S = 5.0
#: A wait speaks again when it has lasted this many times as long as when it last spoke.
GROWTH = 3.0
#: A timer may call a little early.
EARLY_S = 0.1


class Reminder:
    """When a wait speaks: after 5 s, 15 s, 45 s and so on. It reads no clock.

    Parameters
    ----------
    since_s : float
        When the wait began, on any monotonic clock.

    Examples
    --------
    >>> reminder = Reminder(100.0)
    >>> [reminder.is_due(now_s) for now_s in (104.0, 105.0, 106.0, 115.0, 300.0, 301.0)]
    [False, True, False, True, True, False]
    """

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self._next_s = FIRST_S

    def left_s(self, now_s: float) -> float:
        """Return seconds until it is due."""
        return max(0.0, self.since_s + self._next_s - now_s)

    def is_due(self, now_s: float) -> bool:
        """Return whether to speak now: once for all of its times that have passed."""
        waited_s = now_s - self.since_s + EARLY_S
        if waited_s < self._next_s:
            return False
        while self._next_s <= waited_s:
            self._next_s *= GROWTH
        return True


def result_aloud(future: concurrent.futures.Future[T], sentence: Callable[[float], str]) -> T:
    """Return the result of a future; while a thread waits for it, it speaks.

    Parameters
    ----------
    sentence : callable
        ``sentence(seconds)``: what is waited for, and what to do.
    """
    reminder = Reminder(clocks.monotonic())
    while True:
        try:
            return future.result(reminder.left_s(clocks.monotonic()))
        except TimeoutError:
            if future.done():
                raise
        speak_if_due(reminder, sentence)


def speak_if_due(reminder: Reminder, sentence: Callable[[float], str]) -> None:
    """Say a sentence if it is time; on a thread that may run users' logging handlers."""
    now_s = clocks.monotonic()
    if reminder.is_due(now_s):
        log.warning("%s", sentence(now_s - reminder.since_s))
