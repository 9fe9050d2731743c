"""What tasks print, with the keys of the tasks, while a client listens.

Covers: on a worker, taking the lines that tasks write to ``sys.stdout`` (``Capture``); at the client, handing them to a
function in a thread of its own (``Listener``). Does not cover: the way between them (``observer``, ``observatory``).

While somebody listens, what tasks print goes there and not to the worker's own output. What is not written by a task,
or not through ``sys.stdout`` (by C code, by programs that a task starts), goes where it always goes.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from futures_cluster.context import current_task
from futures_cluster.services.common import forks

log = logging.getLogger("futures_cluster")

#: Lines that wait to be sent, and characters of one; the rest is left out, and said to be.
MOST_LINES = 5000
MOST_TEXT = 10_000
#: Between two looks at what has come.
LOOK_S = 0.2


@dataclass(frozen=True)
class Line:
    """A line that a task has printed."""

    worker: str
    key: str
    text: str


class Capture(io.TextIOBase):
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
        for _, text in self.take():  # that nobody has fetched
            self._former.write(_printable(text, self._former) + "\n")
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
        if task is None or not self._is_on:  # somebody may have kept this object
            return int(self._former.write(text))
        key = task.key
        with self._lock:
            *lines, rest = (self._begun.pop(key, "") + text).split("\n")
            for line in lines:
                self._add(key, line)
            if rest:
                self._begun[key] = rest[:MOST_TEXT]
        return len(text)

    def _add(self, key: str, line: str) -> None:
        if len(self._lines) < MOST_LINES:
            self._lines.append([key, line[:MOST_TEXT]])
        else:
            self._left_out += 1

    def take(self, running: Callable[[str], bool] = lambda key: False) -> list[list[str]]:
        """The lines since the last call, and what tasks that run no more have left without an end of line."""
        with self._lock:
            for key in [key for key in self._begun if not running(key)]:
                self._add(key, self._begun.pop(key))
            lines, self._lines = self._lines, []
            if self._left_out:
                lines.append(["", f"({self._left_out} more lines are left out)"])
                self._left_out = 0
        return lines


def show(line: Line) -> None:
    """Print a line on this side."""
    print(_printable(f"[{line.worker} {line.key}] {line.text}", sys.stdout))


def _printable(text: str, stream: Any) -> str:
    """The text with escapes in the place of what the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class Listener:
    """Hands lines to a function, until ``close``.

    Parameters
    ----------
    fetch : callable
        ``fetch(last)``: the rows ``(worker, key, text)`` since it was called before; with ``last`` workers are asked
        for what they still have.
    """

    def __init__(self, fetch: Callable[[bool], list[Any]], function: Callable[[Line], object]) -> None:
        self._fetch = fetch
        self._function = function
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="futures_cluster-output", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._end.wait(LOOK_S):
                rows = self._fetch(False)
                with forks.Once():
                    self._hand_over(rows)
        except Exception:
            log.exception("what tasks print is shown no more")

    def _hand_over(self, rows: list[Any]) -> None:
        for worker, key, text in rows:
            self._function(Line(worker, key, text))

    def close(self) -> None:
        """Hand over the rest; what the function raises then is raised here."""
        self._end.set()
        self._thread.join()
        self._hand_over(self._fetch(True))
