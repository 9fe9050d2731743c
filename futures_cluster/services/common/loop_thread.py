"""A thread with an asyncio loop, and a mailbox into it.

Covers: starting and ending the thread, and handing things over from any thread with one wake-up a burst.
Does not cover: what runs on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from futures_cluster import clocks
from futures_cluster.services.common import descriptors
from futures_cluster.wire.transports import local_sockets


class SelectorLoop(asyncio.SelectorEventLoop):
    """A loop that tests which forbid connections leave alone: asyncio's own is woken by a pair of ``socket.socket``."""

    _ssock: socket.socket
    _csock: socket.socket
    _internal_fds: int

    def _make_self_pipe(self) -> None:
        self._ssock, self._csock = local_sockets.socketpair()
        self._ssock.setblocking(False)
        self._csock.setblocking(False)
        self._internal_fds += 1
        self._add_reader(self._ssock.fileno(), self._read_from_self)  # type: ignore[attr-defined]


def call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> bool:
    """Call a function on a loop soon, from any thread; False if the loop has ended."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        return False
    return True


class LoopThread:
    """A daemon thread that runs an asyncio loop until ``stop``."""

    def __init__(self, name: str) -> None:
        with descriptors.none_standard():
            self.loop = SelectorLoop()  # whatever kind the program has chosen for its own loops
        self.loop.time = clocks.monotonic  # type: ignore[method-assign]  # asyncio's own stands still in frozen time
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            with contextlib.suppress(Exception):
                self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()

    def call(self, function: Callable[..., Any], *args: Any) -> bool:
        """Call a function on the loop soon; False if the loop has ended."""
        return call_soon(self.loop, function, *args)

    def stop(self) -> None:
        """End the loop when it has done what it is doing."""
        self.call(self.loop.stop)


class Mailbox:
    """Things for a loop, from any thread.

    The handler gets the deque itself and takes from its left; it returns whether it left something on purpose,
    and is then called again after others had their turn on the loop. It is called under ``lock``, so that a thread
    which holds the lock may call it instead of waking the loop.
    """

    __slots__ = ("_handler", "_loop", "_lock", "awake", "items", "post_quietly", "wakes_later")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handler: Callable[[deque[Any]], bool], lock: threading.Lock
    ) -> None:
        self.items: deque[Any] = deque()
        self.post_quietly = self.items.append  # hand over with whatever comes next
        self.awake = False  # the loop is to be woken, or works
        self.wakes_later = False  # a timer is set, or about to be
        self._loop = loop
        self._handler = handler
        self._lock = lock

    def post(self, item: Any) -> None:
        """Hand over, and wake the loop; safe in ``__del__`` and signal handlers."""
        self.items.append(item)
        if not self.awake:
            try:
                self.awake = True
                self._loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # the loop has ended
                pass
            except BaseException:  # Ctrl-C: perhaps it did not wake the loop, so the next call has to
                self.awake = False
                raise

    def wake_later(self, seconds: float) -> None:
        """Wake the loop after a time, for what was posted quietly.

        This is safe in ``__del__`` and signal handlers.
        """
        try:
            self.wakes_later = True
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._run_late)
        except RuntimeError:  # the loop has ended
            pass
        except BaseException:
            self.wakes_later = False
            raise

    def _run_late(self) -> None:
        self.wakes_later = False  # first: what is posted from now on has a timer of its own, or is taken below
        if self.items:
            self._run()

    def _run(self) -> None:
        with self._lock:
            # Under the lock: a thread that finds the loop asleep and gets the lock comes after all earlier posts.
            self.awake = False
            left = self._handler(self.items)
        if left and not self.awake:
            self.awake = True
            self._loop.call_soon(self._run)
