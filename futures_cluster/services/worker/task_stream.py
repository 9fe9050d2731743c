"""What a worker's threads do, second by second, while the page has viewers.

Covers: runs, transfers and spills as rows for the task stream; short runs of one function that follow each other are
one row, so that a million tasks a second do not become a million rows. Does not cover: sending them (``reporter``).

A row is ``[kind, lane, function, start_s, end_s, number, key, size_bytes, failed]``. The kind is 0 for a run, 1 for a
fetch and 2 for a spill; the lane is the number of the slot, or -1 without one; the times are those of this host's
clock, since 1970; the key is that of the last run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster import clocks

RUN, FETCH, SPILL = 0, 1, 2
#: Runs that are shorter are put together with their neighbours ...
SHORT_S = 0.002
#: ... as long as no more than this is between them,
GAP_S = 0.001
#: and until they are together as long as this.
LONG_S = 0.02
#: Rows that may wait to be taken.
MAX_ROWS = 2000


class TaskStreamRecorder:
    """Rows of one worker; from any thread.

    Parameters
    ----------
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = clocks.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: list[list[Any]] = []
        self._last: dict[int, list[Any]] = {}  # the row of each slot that may still grow
        self.dropped = 0

    def ended(self, slot: int, function: str, key: str, duration_s: float, size_bytes: int, failed: bool) -> None:
        """Record a run that has just ended."""
        end_s = self._clock()
        start_s = end_s - duration_s
        with self._lock:
            last = self._last.get(slot)
            if (
                last is not None
                and duration_s < SHORT_S
                and last[2] == function
                and last[8] == failed
                and start_s - last[4] < GAP_S
                and last[4] - last[3] < LONG_S
            ):
                last[4] = end_s
                last[5] += 1
                last[6] = key
                last[7] += size_bytes
                return
            self._add([RUN, slot, function, start_s, end_s, 1, key, size_bytes, failed])

    def fetched(self, holder: str, keys: Sequence[str], size_bytes: int, duration_s: float) -> None:
        """Record inputs that have just come from another worker."""
        self._happened(FETCH, f"from {holder}", duration_s, len(keys), keys[-1], size_bytes)

    def spilled(self, key: str, size_bytes: int, duration_s: float) -> None:
        """Record a result that has just gone to disk."""
        self._happened(SPILL, "spill", duration_s, 1, key, size_bytes)

    def _happened(self, kind: int, name: str, duration_s: float, number: int, key: str, size_bytes: int) -> None:
        """Add a row; ``name`` stands in the place of a function."""
        end_s = self._clock()
        with self._lock:
            self._add([kind, -1, name, end_s - duration_s, end_s, number, key, size_bytes, False])

    def _add(self, row: list[Any]) -> None:
        if len(self._rows) >= MAX_ROWS:
            self.dropped += 1
            return
        self._rows.append(row)
        if row[0] == RUN:
            self._last[row[1]] = row

    def take(self) -> tuple[list[list[Any]], int]:
        """Return the rows since the last call, and how many found no room."""
        with self._lock:
            rows, self._rows = self._rows, []
            dropped, self.dropped = self.dropped, 0
            self._last = {}
        return rows, dropped
