"""Statistics that a worker keeps from its start, for later viewers of the status page.

Covers: names of functions, bytes that went between workers, the last failures as text. Does not cover: records made
only while the page has a viewer, and sending all of them (``reporter``, which the first viewer loads).

Failures are kept always because users look at the page after them; the worker makes texts of ``FAILURES_A_SECOND`` and
only counts the others. The rest costs an addition each, or concerns rare events.
"""

from __future__ import annotations

import traceback
from collections import deque
from typing import Any

from futures_cluster import clocks

#: Number of failures that are kept, and maximum number of those in one second.
MAX_FAILURES = 100
FAILURES_A_SECOND = 20
#: Maximum number of characters of the text of one.
MAX_TEXT_CHARS = 20_000
#: Maximum number of peers whose bytes are counted separately.
MAX_PEERS = 1000


class Failures:
    """The last failures of tasks on a worker, as text."""

    def __init__(self) -> None:
        self.rows: deque[list[Any]] = deque(maxlen=MAX_FAILURES)  # [number, time, key, function, kind, text]
        self.number = 0
        self._second = 0
        self._in_second = 0

    def add(self, key: str, function: str, error: BaseException) -> None:
        """Record that a task has raised."""
        now = clocks.time()
        self.number += 1
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
        self._in_second += 1
        if self._in_second > FAILURES_A_SECOND:
            return
        try:
            text = "".join(traceback.format_exception(error))
        except Exception as other:
            text = f"(its text cannot be made: {type(other).__name__})"
        if len(text) > MAX_TEXT_CHARS:
            text = f"{text[: MAX_TEXT_CHARS // 2]}\n[...]\n{text[-MAX_TEXT_CHARS // 2 :]}"
        self.rows.append([self.number, now, key, function, type(error).__name__, text])


class WorkerStats:
    """The statistics of one worker."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.names: dict[str, str] = {}  # of functions, by their ids
        self.began = (clocks.monotonic(), clocks.process_time())
        self.received_bytes = 0  # from other workers
        self.sent_bytes = 0
        self.peers: dict[str, list[float]] = {}  # worker -> [bytes, fetches, seconds]

    def add_received(self, holder: str, size_bytes: int, duration_s: float) -> None:
        """Record a fetch that has ended; the loop calls this."""
        self.received_bytes += size_bytes
        if holder not in self.peers and len(self.peers) >= MAX_PEERS:
            holder = "(others)"
        row = self.peers.setdefault(holder, [0, 0, 0.0])
        row[0] += size_bytes
        row[1] += 1
        row[2] += duration_s

    def add_failure(self, key: str, function_id: str, error: BaseException) -> None:
        """Record that a task has raised."""
        self.failures.add(key, self.names.get(function_id, function_id), error)
