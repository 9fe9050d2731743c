"""A gate that tasks wait at, in threads and in other processes: tests say when a task goes on, without any sleep.

Covers: telling the test that a task has begun, and holding the task until the test opens the gate.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT_S = 30.0


class Gate:
    """Two named pipes: one says who has come, the other lets them through. Pickles by their names."""

    def __init__(self, folder: Path) -> None:
        self._come, self._go = str(folder / "come"), str(folder / "go")
        self._fds: list[int] = []
        for path in (self._come, self._go):
            os.mkfifo(path)
            self._fds.append(os.open(path, os.O_RDWR))  # opened both ways, so nobody waits in open()

    def __reduce__(self) -> Any:
        return _reach, (self._come, self._go)

    def hold(self, value: Any = None) -> Any:
        """The task: come to the gate, wait there, return the value (raise it, if it is an exception)."""
        # The way on first: a pipe keeps what is in it as long as somebody has it open, and the test may open the gate
        # and end as soon as it hears of us.
        go = os.open(self._go, os.O_RDONLY)
        try:
            come = os.open(self._come, os.O_WRONLY)
            try:
                os.write(come, b".")
            finally:
                os.close(come)
            os.read(go, 1)
        finally:
            os.close(go)
        if isinstance(value, BaseException):
            raise value
        return value

    def wait_come(self, count: int = 1) -> None:
        """Wait until so many (more) tasks have come."""
        for _ in range(count):
            os.read(self._fds[0], 1)

    def open(self, count: int = 1000) -> None:
        """Let so many tasks through."""
        os.write(self._fds[1], b"." * count)

    def close(self) -> None:
        """Let everybody through, and give the pipes up."""
        if self._fds:
            self.open()
            for path in (self._come, self._go):
                os.unlink(path)  # who comes now fails, and does not wait for ever for the pipe's other end
            for fd in self._fds:
                os.close(fd)
            self._fds = []


def _reach(come: str, go: str) -> Gate:
    gate = Gate.__new__(Gate)
    gate._come, gate._go, gate._fds = come, go, []
    return gate


def wait_until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait for something that is true soon, and stays true, but tells nobody (messages are under way)."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, what or "it did not become true"
        time.sleep(0.001)
