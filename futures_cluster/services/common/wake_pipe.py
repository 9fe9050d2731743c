"""A pipe by which one thread wakes another that waits for descriptors.

Covers: the pipe. Does not cover: the waiting, nor who may close the pipe while others still wake by it.
"""

from __future__ import annotations

import os

from futures_cluster.services.common import descriptors


class WakePipe:
    """A pipe of which neither end ever blocks.

    Attributes
    ----------
    read_fd : int
        Readable once a thread has called ``wake``, until ``drain`` has taken all.
    write_fd : int
        For ``signal.set_wakeup_fd``; -1 once it is closed.
    """

    __slots__ = ("read_fd", "write_fd")

    def __init__(self) -> None:
        self.read_fd, self.write_fd = descriptors.pipe()
        os.set_blocking(self.read_fd, False)
        os.set_blocking(self.write_fd, False)

    def wake(self) -> None:
        """Wake the thread that waits; from any thread."""
        try:
            os.write(self.write_fd, b"x")
        except OSError:  # it is full, which does as well, or closed
            pass

    def drain(self) -> None:
        """Take what has woken the caller; what is left of very much wakes it again."""
        try:
            os.read(self.read_fd, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_fd)
        os.close(self.write_fd)
        self.read_fd = self.write_fd = -1
