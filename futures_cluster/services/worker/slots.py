"""Slots: the threads of a worker that execute.

Covers: how a run gets to a thread, and how a thread waits for one. Does not cover: executing (``execution``), who gets
what (``worker``).

The main thread of a worker process waits for its next run and for messages of the scheduler at the same time, and
reads these itself (``MainSlot``): handing a lone run from the loop's thread to another would cost a fifth of a round
trip. While it executes, the loop's thread reads; ``worker`` sees to that.
"""

from __future__ import annotations

import queue
import select
import threading
from collections import deque

from futures_cluster.context import TaskContext
from futures_cluster.services.common.wake_pipe import WakePipe
from futures_cluster.wire.transports.sockets import SocketConnection
from futures_cluster.worker.runs import Run


class Disconnected(Exception):
    """A task has closed the descriptors that the worker needs."""


class Slot:
    """A thread that executes.

    Attributes
    ----------
    task : TaskContext or None
        What it executes now.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.task: TaskContext | None = None
        self._queue: queue.SimpleQueue[Run | None] = queue.SimpleQueue()

    def give(self, run: Run | None) -> None:
        """Hand over the next run, or None to end; from any thread."""
        self._queue.put(run)

    def take(self) -> Run | None:
        """Wait for the next run."""
        return self._queue.get()


class MainSlot(Slot):
    """The main thread of a worker process.

    Parameters
    ----------
    connection : SocketConnection
        Leads to the scheduler.

    Attributes
    ----------
    waits : bool
        Whether it waits for a run, and so reads.
    has_waited : bool
        Whether it has waited since this was last set to False.
    """

    def __init__(self, index: int, connection: SocketConnection) -> None:
        super().__init__(index)
        self.connection = connection
        self._fd = connection.fileno()
        self._runs: deque[Run | None] = deque()
        self._ident = threading.get_ident()
        self._wake_pipe = WakePipe()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._wake_pipe.read_fd, select.POLLIN)
        self.waits = self.has_waited = False

    def give(self, run: Run | None) -> None:
        """See ``Slot``."""
        self._runs.append(run)
        if threading.get_ident() != self._ident:
            self._wake_pipe.wake()

    def take(self) -> Run | None:
        """See ``Slot``.

        Raises
        ------
        Disconnected
            If a task has closed the connection.
        """
        runs = self._runs
        self.waits = self.has_waited = True
        try:
            while not runs:
                for fd, event in self._poll.poll():
                    if event & select.POLLNVAL:
                        raise Disconnected
                    if fd == self._fd:
                        self.connection.read()
                    else:
                        self._wake_pipe.drain()
            return runs.popleft()
        finally:
            self.waits = False
