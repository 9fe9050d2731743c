"""In a worker process: the resource tracker of the process that has started it (see ``resource_tracker``).

Covers: asking for it when multiprocessing first needs one. Does not cover: processes of multiprocessing's own, which
get theirs from their parent ('spawn', 'forkserver').
"""

from __future__ import annotations

import contextlib
import os
import socket
from multiprocessing import resource_tracker
from typing import Any

from futures_cluster.services.common import descriptors
from futures_cluster.wire.transports.local_sockets import Socket

#: The loop that answers is never busy for this time. Without an answer the worker starts its own tracker.
ANSWER_TIMEOUT_S = 10.0


class BorrowedTracker(resource_tracker.ResourceTracker):
    """Asks for the descriptor of the tracker's pipe when that is first looked at."""

    _door: socket.socket | None = None

    @property
    def _fd(self) -> int | None:
        fd: int | None = self.__dict__.get("_fd")
        if fd is None and self._door is not None:
            with self._door as door, contextlib.suppress(OSError):
                self._door = None
                fd = self.__dict__["_fd"] = _ask(door)
        return fd

    @_fd.setter
    def _fd(self, fd: int | None) -> None:
        self.__dict__["_fd"] = fd


def _ask(door: socket.socket) -> int | None:
    ours, theirs = descriptors.socketpair()
    with ours:
        with theirs:
            door.settimeout(ANSWER_TIMEOUT_S)
            socket.send_fds(door, [b"?"], [theirs.fileno()])
        ours.settimeout(ANSWER_TIMEOUT_S)
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        for fd in fds:
            os.set_inheritable(fd, False)
        return fds[0] if fds else None


def borrow(door_fd: int) -> None:
    """Use the tracker of the process behind the door, unless there is one."""
    door = Socket(fileno=door_fd)
    tracker: Any = resource_tracker._resource_tracker
    if tracker._fd is not None:
        door.close()
        return
    tracker.__class__ = BorrowedTracker
    tracker._door = door
