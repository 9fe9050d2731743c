"""A timer that calls a function again and again while there is something to look after.

Covers: starting it from any thread, without a lock, for little while it runs. Does not cover: what it looks after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Ticker:
    """Calls a function on a loop at an interval until the function returns False.

    A thread that brings something to look after changes its state first, and then calls ``start``, which looks at
    ``runs``. The loop sets ``runs`` to False first, and then calls the function, which looks at that state. So in any
    order either the thread starts the ticker again, or the function has seen the change and returns True.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        Where the function is called.
    interval_s : float
        Seconds from one call to the next.
    tick : callable
        Returns whether it is to be called again.
    at_once : bool
        Whether ``start`` calls it soon, and not only after an interval.
    """

    __slots__ = ("_at_once", "_interval_s", "_is_due", "_loop", "_tick", "runs")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, interval_s: float, tick: Callable[[], bool], at_once: bool = False
    ) -> None:
        self.runs = False
        self._loop = loop
        self._interval_s = interval_s
        self._tick = tick
        self._at_once = at_once
        self._is_due = False  # the loop has a timer; only the loop's thread looks at this

    def start(self) -> None:
        """Begin to call the function, unless it is called already; from any thread."""
        if self.runs:
            return
        self.runs = True
        try:
            self._loop.call_soon_threadsafe(self._begin)
        except RuntimeError:  # the loop has ended
            pass
        except BaseException:  # Ctrl-C: perhaps the loop was not told, so the next caller has to
            self.runs = False
            raise

    def _begin(self) -> None:
        if self._is_due:  # two threads have started it
            return
        if self._at_once:
            self._call()
        else:
            self._call_later()

    def _call_later(self) -> None:
        self._is_due = True
        self._loop.call_later(self._interval_s, self._call)

    def _call(self) -> None:
        self._is_due = self.runs = False
        if self._tick():
            self.runs = True
            self._call_later()
