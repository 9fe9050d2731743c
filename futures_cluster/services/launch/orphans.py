"""Processes that tasks have started, after the end of their worker.

Covers: in the process that forks workers, ending what a worker leaves that was stopped or died; ending what a worker of
a multiprocessing context has started, when it is stopped. Does not cover: what a worker leaves that ends in order, and
processes with a session of their own: both live on, as without this package.

The kernel hands the children of a process that ends to its nearest ancestor that has asked for them, and so to this
one. It does so before that process can be waited for: what has come by then, and was not here before, belongs to it.

A session or a process group for each worker would mark its processes just as well. But in one of its own a worker is
out of the terminal's reach: Ctrl-Z would stop the program and not its tasks, nothing a task starts could ask the user,
and a kill of the program's group would miss it all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable

#: Whether the process that forks workers gets what they leave.
available = sys.platform == "linux"
_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Ask something of the kernel for this process, where it can be asked."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(option, value)


class Orphans:
    """The children of this process that it has not forked itself; it has one thread."""

    def __init__(self) -> None:
        self._session = os.getsid(0)
        self._spared: set[int] = set()
        self._doomed: set[int] = set()  # killed, and not waited for yet
        self._path = f"/proc/self/task/{os.getpid()}/children"
        if available:
            prctl(_SET_CHILD_SUBREAPER, 1)

    def present(self) -> set[int]:
        """Return the children of this process."""
        with contextlib.suppress(OSError), open(self._path) as file:
            return set(map(int, file.read().split()))
        return set()

    def spare(self, pids: set[int]) -> None:
        """Never end these processes."""
        self._spared = pids

    def ended(self, pid: int) -> bool:
        """Take note of a child's end; whether to end what it leaves, as it was killed."""
        self._spared.discard(pid)
        was_doomed = pid in self._doomed
        self._doomed.discard(pid)
        return was_doomed

    def end(self, workers: Iterable[int]) -> None:
        """Kill what a worker left: all but workers and what was here before."""
        for pid in self.present().difference(workers, self._spared, self._doomed):
            (self._doomed if self._kill(pid) else self._spared).add(pid)

    def _kill(self, pid: int) -> bool:
        """Kill a process, unless it has a session of its own or belongs to another user."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == self._session:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def end_all(self, is_forced: bool) -> None:
        """Kill what killed workers left, and what that leaves, until all is gone.

        Otherwise only see that what was killed before has gone with all that it leaves.
        """
        if is_forced:
            self.end(())
        while self._doomed:
            pid = next(iter(self._doomed))
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            self.ended(pid)
            self.end(())


def kill_with_descendants(pid: int, number: int) -> None:
    """Signal a worker that was not forked here, and kill its descendants.

    It no longer finds descendants that have lost their parent, and none when the worker has died by itself.
    """
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        session = os.getsid(pid)
        started = psutil.Process(pid).children(recursive=True)
        os.kill(pid, number)
        for process in started:
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == session:
                    process.kill()
