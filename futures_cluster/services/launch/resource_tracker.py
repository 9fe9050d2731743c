"""The resource tracker of multiprocessing, which workers share with the process that has started them.

Covers: where workers ask for it. Does not cover: asking (``borrowed_tracker``), and tracking, which is
multiprocessing's.

A tracker removes what its processes have left of shared memory and semaphores. Had each worker one of its own, the end
of that worker would remove the segments that its tasks have attached to, from under all others. Few programs use any
of it, and a tracker is one more process: so it is started when the first process asks for it.

Workers ask by a datagram with a socket for the answer, which is the descriptor of the tracker's pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from futures_cluster.services.common import descriptors
from futures_cluster.wire.transports.local_sockets import Socket


class TrackerDoor:
    """Answers workers; on a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ours, self.theirs = descriptors.socketpair(socket.SOCK_DGRAM)
        self._ours.setblocking(False)
        self._reads = False

    def open(self) -> None:
        """Begin to answer; on the loop's thread."""
        if not self._reads:
            self._reads = True
            self._loop.add_reader(self._ours.fileno(), self._answer)

    def _answer(self) -> None:
        with contextlib.suppress(BlockingIOError):
            _, fds, _, _ = socket.recv_fds(self._ours, 1, 1)
            for fd in fds:
                with Socket(fileno=fd) as reply, contextlib.suppress(OSError):
                    from multiprocessing import resource_tracker

                    tracker_fd = resource_tracker._resource_tracker.getfd()
                    assert tracker_fd is not None
                    socket.send_fds(reply, [b"!"], [tracker_fd])

    def close(self) -> None:
        """Answer no more."""
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._ours.fileno())
        self._ours.close()
        self.theirs.close()

    def after_fork_in_child(self) -> None:
        """Close what belongs to the client in a forked copy, without touching its loop."""
        self._ours.close()
