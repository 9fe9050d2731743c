"""What workers write to stderr: passed on to this program's own, and its end kept for the report of a death.

Covers: reading the workers' pipes, writing without ever blocking the loop. Does not cover: records of ``logging``, what
tasks print to stdout (``stdout_capture``).

A stopped terminal or a full pipe blocks the thread that writes to it, and other processes share its setting to block or
not. So a separate thread writes; it starts with the first output. It never writes into a file that only has the
number of a closed stream (``descriptors``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections import deque

from futures_cluster.services.common import descriptors

#: Maximum part of a worker's stderr that is shown when it dies.
TAIL_BYTES = 8192
#: Maximum that waits for a stderr that takes nothing; more is dropped.
MAX_WAITING_BYTES = 2**20
#: Seconds that waiting output may take at the end.
DRAIN_S = 1.0


class StderrWriter:
    """Writes to this program's stderr, in a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped_bytes = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def write(self, data: bytes) -> None:
        """Have something written; returns at once."""
        with self._changed:
            if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
                self._dropped_bytes += len(data)
                return
            data = self._what_is_missing() + data
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify_all()
            if self._thread is None:
                # A daemon, because it may be blocked for ever.
                thread = threading.Thread(target=self._run, name="futures_cluster-stderr", daemon=True)
                thread.start()
                self._thread = thread

    def _what_is_missing(self) -> bytes:
        """Return a line about what was dropped before; empty if nothing was."""
        dropped, self._dropped_bytes = self._dropped_bytes, 0
        if not dropped:
            return b""
        return b"\n[%d bytes of the workers' stderr were dropped: this program's stderr took nothing]\n" % dropped

    def close(self) -> None:
        """Write what waits, if it is taken soon; no more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(DRAIN_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                data = self._waiting[0]
            _write_all(data)
            with self._changed:
                self._waiting.popleft()
                self._waiting_bytes -= len(data)
                if not self._waiting and (missing := self._what_is_missing()):
                    self._waiting.append(missing)
                    self._waiting_bytes += len(missing)


def _write_all(data: bytes) -> None:
    """Write to stderr, if there is one."""
    while data and descriptors.is_standard(2):
        try:
            data = data[os.write(2, data) :]
        except BlockingIOError:  # another process has set it so
            select.select([], [2], [])
        except OSError:
            return


class StderrRelay:
    """Passes on what a worker writes to stderr, and keeps the end of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: StderrWriter) -> None:
        self._loop = loop
        self._writer = writer
        self._read_fd, self.write_fd = descriptors.pipe()
        os.set_blocking(self._read_fd, False)
        self._tail = b""
        self._open = True

    def start(self) -> None:
        """Begin to read; on the loop's thread."""
        self._loop.add_reader(self._read_fd, self.read)

    def close_write(self) -> None:
        """Close our copy of the descriptor that the worker has."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def read(self) -> None:
        """Take all there is."""
        while self._open:
            try:
                data = os.read(self._read_fd, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            with contextlib.suppress(RuntimeError):  # the interpreter ends, and starts no thread
                self._writer.write(data)
            self._tail = (self._tail + data)[-TAIL_BYTES:]

    def tail(self) -> str:
        """Return the end of what was written."""
        return self._tail.decode(errors="replace").strip()

    def close(self) -> None:
        """Stop reading."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
        self.close_write()
