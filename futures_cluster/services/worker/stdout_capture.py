"""On a worker: the lines that tasks write to ``sys.stdout``, with the keys of the tasks, while a client listens.

Does not cover: their way to the client (``reporter``, ``monitor``), and what it does with them
(``services.client.task_output``).

While a client listens, the prints of tasks go there and not to the worker's own output. Text that is not written by a
task, or not through ``sys.stdout`` (by C code, by programs that a task starts), goes to the worker's output as always.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any

from futures_cluster.context import current_task
from futures_cluster.services.client.task_output import printable

#: Lines that wait to be sent, and characters of one; the rest is left out, and said to be.
MAX_LINES = 5000
MAX_TEXT = 10_000


class StdoutCapture(io.TextIOBase):
    """Stands in the place of ``sys.stdout`` between ``start`` and ``stop``; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._former: Any = None
        self._begun: dict[str, str] = {}  # key -> the beginning of a line
        self._lines: list[list[str]] = []  # [key, text]
        self._left_out = 0
        self._is_on = False

    def start(self) -> None:
        """Take what tasks write from now on."""
        self._former, sys.stdout = sys.stdout, self
        self._is_on = True

    def stop(self) -> None:
        """Let it go where it went before."""
        self._is_on = False
        if sys.stdout is self:
            sys.stdout = self._former
        for _, text in self.take():  # that no report has taken
            self._former.write(printable(text, self._former) + "\n")
        self._former.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._former, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of what stood here before."""
        return getattr(self._former, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """See ``io.IOBase``."""
        return True

    def flush(self) -> None:
        """See ``io.IOBase``; lines of tasks are sent from time to time."""
        self._former.flush()

    def write(self, text: str) -> int:
        """See ``io.TextIOBase``."""
        task = current_task()
        if task is None or not self._is_on:  # a user's module may have kept this object
            return int(self._former.write(text))
        key = task.key
        with self._lock:
            *lines, rest = (self._begun.pop(key, "") + text).split("\n")
            for line in lines:
                self._add(key, line)
            if rest:
                self._begun[key] = rest[:MAX_TEXT]
        return len(text)

    def _add(self, key: str, line: str) -> None:
        if len(self._lines) < MAX_LINES:
            self._lines.append([key, line[:MAX_TEXT]])
        else:
            self._left_out += 1

    def take(self, running: Callable[[str], bool] = lambda key: False) -> list[list[str]]:
        """Return the lines since the last call, and incomplete ones of ended tasks."""
        with self._lock:
            for key in [key for key in self._begun if not running(key)]:
                self._add(key, self._begun.pop(key))
            lines, self._lines = self._lines, []
            if self._left_out:
                lines.append(["", f"({self._left_out} more lines are left out)"])
                self._left_out = 0
        return lines
