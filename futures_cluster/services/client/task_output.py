"""On a client that listens to the output of tasks: the lines that they print, with worker and key.

Does not cover: taking the lines on workers (``services.worker.stdout_capture``), and their way here (``reporter`` and
``monitor``).
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from futures_cluster.services.common import forks

log = logging.getLogger("futures_cluster")

#: Seconds between two fetches of lines.
FETCH_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Line:
    """A line that a task has printed."""

    worker: str
    key: str
    text: str


def show(line: Line) -> None:
    """Print a line in the client's own process."""
    print(printable(f"[{line.worker} {line.key}] {line.text}", sys.stdout))


def printable(text: str, stream: Any) -> str:
    """Return the text with escapes in place of what the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class OutputListener:
    """Calls a function with each line, in a thread, until ``close``.

    Parameters
    ----------
    fetch : callable
        ``fetch(last)``: rows ``(worker, key, text)`` since the previous call. With ``last`` the scheduler first asks
        the workers for the lines that they have not reported.
    function : callable
        ``function(line)``.
    """

    def __init__(self, fetch: Callable[[bool], list[Any]], function: Callable[[Line], object]) -> None:
        self._fetch = fetch
        self._function = function
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="futures_cluster-output", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._end.wait(FETCH_INTERVAL_S):
                rows = self._fetch(False)
                with forks.Once():
                    self._hand_over(rows)
        except Exception:
            log.exception("stopped forwarding task output")

    def _hand_over(self, rows: list[Any]) -> None:
        for worker, key, text in rows:
            self._function(Line(worker, key, text))

    def close(self) -> None:
        """Stop after the last lines; raise what the function raises for these."""
        self._end.set()
        self._thread.join()
        self._hand_over(self._fetch(True))
