"""A worker's memory limit.

Covers: looking at the process's memory from time to time, and what follows from it. Does not cover: spilling results
(``store``).

Above ``SPILL_FRACTION`` of the limit the worker spills results. It also does so while a task runs, as the task takes
the room that the results had. Memory that is not results cannot be spilled: what tasks use, what they leak, what the
allocator keeps. Above ``RETIRE_FRACTION`` the worker takes no more tasks and another is started; it goes on serving the
results it holds.

Above ``DIE_FRACTION`` it ends itself, with words on stderr that say why, before the kernel picks a victim: other
workers run its tasks again, and compute the results that it held. Two things do not end it, as the end would lose what
they save:

- Pickling. To report, spill or send a result of Python objects takes about the result's size for a moment. The limit
  allows this on top.
- Results that it holds when no task runs. It has retired by then and delivers them. Without a task it ends only above
  ``IDLE_DIE_FRACTION``: then a thread that a task left behind takes more and more.

A worker that is above ``RETIRE_FRACTION`` before its first task ends itself as well: its successors would be no better,
and this way they are starts that fail (``restart_policy``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Protocol

from futures_cluster.wire.codec import shm

SPILL_FRACTION = 0.6
RETIRE_FRACTION = 0.8
DIE_FRACTION = 0.95
IDLE_DIE_FRACTION = 1.5
#: Memory that pickling takes, in sizes of the value; measured: 1.15 for tuples of small objects.
PICKLING_RATIO = 1.5
#: Shared segments for use again take at most this part of the limit: memory that is neither results nor a task's.
SEGMENTS_FRACTION = 1 / 16
CHECK_INTERVAL_S = 0.1
EXIT_CODE = 77


def resident_bytes() -> int:
    """Return memory of this process that is in RAM and not shared."""
    try:
        with open("/proc/self/statm") as file:
            fields = file.read().split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        import psutil

        return int(psutil.Process().memory_info().rss)


def occupied_bytes(held_bytes: int = 0) -> int:
    """Return this process's memory in RAM, with the shared segments it has mapped.

    Results that came from another process lie there; so this, less the results, is what all else takes. ``held_bytes``
    are in segments that it holds for results, and that are not always mapped.
    """
    try:
        with open("/proc/self/status") as file:
            text = file.read()
        own, mapped = [int(text.split(name, 1)[1].split(maxsplit=1)[0]) * 1024 for name in ("RssAnon:", "RssShmem:")]
        return own + max(mapped, held_bytes)
    except (OSError, ValueError, IndexError):
        return resident_bytes()


def kept_segments_bytes(limit_bytes: int | None) -> int:
    """Return the bytes of segments that a worker with this limit may reuse."""
    if limit_bytes is None:
        return shm.MAX_KEPT_BYTES
    return min(shm.MAX_KEPT_BYTES, int(limit_bytes * SEGMENTS_FRACTION))


def trim() -> None:
    """Ask the allocator to give free memory back to the system."""
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


class MonitoredWorker(Protocol):
    """What a monitor asks a worker, and tells it; on the loop."""

    def retire(self) -> None:
        """Take no more tasks."""

    def spill(self) -> None:
        """Move results to disk, if there are any to move."""

    def runs_tasks(self) -> bool:
        """Return whether a task runs."""

    def pickling_bytes(self) -> int:
        """Return the bytes of the results that are being pickled, spilled or sent."""


class MemoryMonitor:
    """Watches one worker process.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        Where it looks.
    limit_bytes : int
        What the process may take.
    worker : MonitoredWorker
        What it asks and tells.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_bytes: int, worker: MonitoredWorker) -> None:
        self._loop = loop
        self._limit = limit_bytes
        self._worker = worker
        self._retired = False

    def start(self) -> None:
        """Begin to look, before the first task; on the loop's thread."""
        used = resident_bytes()
        if used > RETIRE_FRACTION * self._limit:
            self._die(used, RETIRE_FRACTION, "before its first task; give workers more")
        self._loop.call_later(CHECK_INTERVAL_S, self._look)

    def _die(self, used: int, fraction: float, advice: str) -> None:
        print(
            f"this worker used {used / 1e6:.0f} MB, over {fraction:.0%} of its memory_limit of "
            f"{self._limit / 1e6:.0f} MB, and ended itself {advice}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(EXIT_CODE)

    def _look(self) -> None:
        # Asked twice, because pickling can end, or begin, while this thread reads what is used.
        pickling = self._worker.pickling_bytes()
        used = resident_bytes()
        pickling = max(pickling, self._worker.pickling_bytes())
        fraction = DIE_FRACTION if self._worker.runs_tasks() else IDLE_DIE_FRACTION
        if used > fraction * self._limit + PICKLING_RATIO * pickling:
            self._die(used, fraction, "to save the others; give workers more, or tasks less")
        if used > RETIRE_FRACTION * self._limit and not self._retired:
            self._retired = True
            self._worker.retire()
        if used > SPILL_FRACTION * self._limit:
            self._worker.spill()
        self._loop.call_later(CHECK_INTERVAL_S, self._look)
