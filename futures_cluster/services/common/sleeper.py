"""A thread that waits for one future of this process, in the cheapest way there is: at a lock of its own.

Covers: waiting, waking. Does not cover: when (``future``). A condition costs some microseconds to make, to wait at and
to notify, which is a tenth of a round trip.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any


class Sleeper:
    """One wait; ``next`` is woken with it."""

    __slots__ = ("_lock", "next")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.next: Any = None

    def wait(self, timeout: float | None) -> bool:
        """Wait until it is woken; False if that takes too long."""
        if timeout is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX))

    def without(self, sleeper: Any) -> Any:
        """Return the first sleeper of the chain without one that no longer waits."""
        before: Any = self
        if before is sleeper:
            return self.next
        while before is not None and before.next is not sleeper:
            before = before.next
        if before is not None:
            before.next = sleeper.next
        return self

    def wake(self) -> None:
        """End the wait; more than once does no harm."""
        sleeper: Any = self
        while sleeper is not None:
            with contextlib.suppress(RuntimeError):  # it is woken already
                sleeper._lock.release()
            sleeper = sleeper.next
