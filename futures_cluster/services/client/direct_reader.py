"""A user's thread that waits for a result reads the workers' connections itself.

Covers: one such thread at a time, the *leader*, for a client that has few futures pending; giving the reading back to
the loop. Does not cover: what is read (``scheduler``), threads that wait behind the leader: they wait for their future.

Why: through the loop's thread a lone result costs one more wake-up and one more hand-over of the interpreter's lock,
about a fifth of a round trip. While the leader waits, the loop does not watch the connections; a timer on the loop
watches them again as soon as no thread leads, or a leader waits for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from threading import get_ident
from typing import Any, Protocol

from futures_cluster import clocks, locks
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.services.common.ticker import Ticker
from futures_cluster.services.common.wake_pipe import WakePipe
from futures_cluster.wire.transports.sockets import SocketConnection

#: The timer looks so often whether the loop should read again.
TICK_S = 0.004
#: A leader that ended less long ago is about to lead again, as in a loop of lone tasks.
BETWEEN_S = 0.001
#: A leader that waits longer is joined by the loop; and so long after the last one the timer goes on.
IDLE_TIMEOUT_S = 0.05
#: No wait is longer. A signal that comes after Python has last looked for one, and before the system waits, ends no
#: wait: Ctrl-C would be noticed with the result.
POLL_INTERVAL_S = 1.0
#: Connections that are read before the leader looks again. For as many as by default each wait takes 12 KB.
MAX_EVENTS = 16

available = hasattr(select, "epoll")


class Awaited(Protocol):
    """What a leader waits for: a future."""

    _awaited_by: Any

    def done(self) -> bool: ...


class DirectReader:
    """The place of the leader, on one loop.

    Parameters
    ----------
    pending : callable
        How many futures are not done.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pending: Callable[[], int]) -> None:
        self._loop = loop
        self._pending = pending
        self._place = locks.Lock()
        self._epoll = select.epoll()
        self._wake_pipe = WakePipe()
        self._epoll.register(self._wake_pipe.read_fd, select.EPOLLIN)
        self._connections: dict[int, SocketConnection] = {}
        self._loop_ident = 0  # the loop's thread must not wait for itself
        self._ident = 0  # of the leader's thread
        # Guards what is registered, as a number may belong to another connection the next moment, and the pipe's
        # ends, which another thread may write to when they are closed.
        self._lock = locks.Lock()
        self._since = 0.0  # when the present leader began, or the last one ended
        self._ticker = Ticker(loop, TICK_S, self._tick, at_once=True)
        self._closed = False

    # ---------------------------------------------------------------- the loop's thread

    def add(self, connection: SocketConnection) -> None:
        """Add a connection to read."""
        self._loop_ident = get_ident()
        with self._lock:
            self._connections[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def remove(self, connection: SocketConnection) -> None:
        """Remove a connection that is about to be closed."""
        with self._lock:
            if self._connections.get(connection.fileno()) is connection:
                del self._connections[connection.fileno()]
                with contextlib.suppress(OSError):
                    self._epoll.unregister(connection.fileno())

    def _tick(self) -> bool:
        """Let the loop read if no thread does; return whether to look again."""
        age_s = clocks.monotonic() - self._since
        leads = not self._closed and age_s < IDLE_TIMEOUT_S and (self._ident != 0 or not self._pending())
        # A thread that waits for one result after the other has just submitted the next task: it is about to read.
        leads_soon = not (leads or self._closed) and age_s < BETWEEN_S
        if not leads_soon:
            self._watch(not leads)
        return leads or leads_soon

    def _watch(self, on: bool) -> None:
        for connection in self._connections.values():
            connection.watch(on)

    def close(self) -> None:
        """Let no thread lead from now on.

        A present leader goes on to wait for its future only.
        """
        with contextlib.suppress(RuntimeError):
            self._watch(True)
        self._closed = True
        self.wake()

    def free(self) -> None:
        """Give up the descriptors; no thread leads from now on."""
        with self._place, self._lock:
            self._epoll.close()
            self._wake_pipe.close()

    # ---------------------------------------------------------------- users' threads

    def hand_back(self) -> None:
        """Let the loop read as well, and not only at the next tick.

        A thread calls this that waits for something other than a future.
        """
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._watch, True)

    def wait_for(self, future: Awaited, timeout: float | None) -> bool:
        """Read until the future is done.

        False if another thread leads, or the time is over.
        """
        if self._closed or get_ident() == self._loop_ident:
            return False
        with DeferredSignals() as held:  # in the main thread Ctrl-C must not cut the handling of a message in half
            if not self._place.acquire(False):
                return False
            try:
                return self._lead(future, timeout, held)
            finally:
                held.is_open = False
                self._leave(future)

    def _lead(self, future: Awaited, timeout: float | None, held: DeferredSignals) -> bool:
        self._since = clocks.monotonic()
        self._ident = get_ident()
        future._awaited_by = self  # from now on the thread that ends it wakes this one
        if not self._ticker.runs:
            self._ticker.start()
        end = None if timeout is None else self._since + timeout
        while not future.done():
            if self._closed:
                return False
            left = POLL_INTERVAL_S if end is None else min(POLL_INTERVAL_S, max(0.0, end - clocks.monotonic()))
            held.is_open = True
            if held.due:
                held.call_due()
            events = self._epoll.poll(left, MAX_EVENTS)
            held.is_open = False
            if not events and end is not None and clocks.monotonic() >= end:
                return future.done()
            for fd, _ in events:
                self._read(fd)
        return True

    def _leave(self, future: Awaited) -> None:
        future._awaited_by = None
        self._ident = 0
        self._since = clocks.monotonic()
        self._place.release()
        if self._pending():  # others wait, and must not wait for the timer
            self.hand_back()

    def _read(self, fd: int) -> None:
        if fd == self._wake_pipe.read_fd:
            self._wake_pipe.drain()
            return
        connection = self._connections.get(fd)
        if connection is not None and not connection.read():
            with self._lock, contextlib.suppress(OSError):
                if self._connections.get(fd) is connection:
                    self._epoll.unregister(fd)  # it has ended; the loop closes it

    def wake(self) -> None:
        """Wake the leader, as another thread has ended its future."""
        if get_ident() != self._ident:
            with self._lock:
                self._wake_pipe.wake()
