"""Times at which something has to be done, on a thread that there is only when it is needed.

Covers: calling functions at their times. Does not cover: what is done then (``lifecycle``).
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from futures_cluster import clocks, locks

log = logging.getLogger("futures_cluster")

#: Seconds without work after which the thread ends.
IDLE_TIMEOUT_S = 1.0


class Deadlines:
    """Calls functions at given times, in a thread of its own."""

    def __init__(self) -> None:
        self._condition = locks.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function after some seconds."""
        with self._condition:
            if self._closed:
                return
            heapq.heappush(self._heap, (clocks.monotonic() + seconds, next(self._numbers), function))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="futures_cluster-deadlines", daemon=True)
                thread.start()  # it waits for the condition, which is held here
                self._thread = thread
            self._condition.notify()

    def _run(self) -> None:
        while (function := self._wait()) is not None:
            try:
                function()
            except Exception:
                log.exception("a deadline could not be kept")
            function = None

    def _wait(self) -> Callable[[], None] | None:
        """Wait for the next function that is due; None at the end."""
        with self._condition:
            while not self._closed:
                if not self._heap:
                    if not self._condition.wait(IDLE_TIMEOUT_S) and not self._heap:
                        break
                    continue
                left = self._heap[0][0] - clocks.monotonic()
                if left <= 0:
                    return heapq.heappop(self._heap)[2]
                self._condition.wait(left)
            self._thread = None
            return None

    def close(self) -> None:
        """End the thread, whatever there is to do."""
        with self._condition:
            self._closed = True
            self._heap.clear()
            self._condition.notify()

    def join(self) -> None:
        """Wait for the thread to end, after ``close``."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
