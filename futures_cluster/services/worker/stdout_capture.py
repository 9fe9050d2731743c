"""On a worker: takes the lines that tasks print, while a client listens to the output of tasks.

These lines go to the client and not to the worker's own output. All other text still goes to the worker's output: what
other threads print, and what tasks write past ``sys.stdout`` (C code, programs that a task starts).

Does not cover: sending the lines (``reporter`` and ``monitor``), and what the client does with them
(``services.client.task_output``).
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any

from futures_cluster.context import current_task
from futures_cluster.services.client.task_output import printable

#: Number of lines that are kept between two reports. A last line says how many were dropped.
MAX_LINES = 5000
#: Characters of a line; the rest of it is dropped.
MAX_LINE_CHARS = 10_000


class StdoutCapture(io.TextIOBase):
    """Replaces ``sys.stdout``, and takes what tasks write, until ``stop``; all threads may write to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unfinished: dict[str, str] = {}  # key -> a line without its end
        self._lines: list[list[str]] = []  # [key, text]
        self._dropped = 0
        self._is_on = True
        self._original, sys.stdout = sys.stdout, self

    def stop(self) -> None:
        """Restore ``sys.stdout``, and write the lines there that no report has taken."""
        self._is_on = False
        if sys.stdout is self:
            sys.stdout = self._original
        for _, text in self.take():
            self._original.write(printable(text, self._original) + "\n")
        self._original.flush()

    def write(self, text: str) -> int:
        """Keep the lines of a task for ``take``; pass other text on."""
        task = current_task()
        if task is None or not self._is_on:  # code of the user may have kept this object beyond ``stop``
            return int(self._original.write(text))
        key = task.key
        with self._lock:
            *lines, rest = (self._unfinished.pop(key, "") + text).split("\n")
            for line in lines:
                self._add(key, line)
            if rest:
                self._unfinished[key] = rest[:MAX_LINE_CHARS]
        return len(text)

    def take(self, is_running: Callable[[str], bool] = lambda key: False) -> list[list[str]]:
        """Return rows ``[key, line]`` since the last call, for a report.

        Parameters
        ----------
        is_running : callable
            ``is_running(key)``: whether the task may still finish its last line, which is kept then.
        """
        with self._lock:
            for key in [key for key in self._unfinished if not is_running(key)]:
                self._add(key, self._unfinished.pop(key))
            lines, self._lines = self._lines, []
            if self._dropped:
                lines.append(["", f"({self._dropped} more lines are left out)"])
                self._dropped = 0
        return lines

    def _add(self, key: str, line: str) -> None:
        if len(self._lines) < MAX_LINES:
            self._lines.append([key, line[:MAX_LINE_CHARS]])
        else:
            self._dropped += 1

    # ---------------------------------------------------------------- the rest of a text stream: the original's

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the original stream."""
        return getattr(self._original, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        """Return True; see ``io.IOBase``."""
        return True

    def close(self) -> None:
        """Do nothing.

        A finalizer calls this, and cannot flush an original that is closed by then.
        """

    def flush(self) -> None:
        """Flush the original stream; lines of tasks go with the next report."""
        self._original.flush()
