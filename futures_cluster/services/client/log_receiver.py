"""At the client: log records and warnings of workers, for this process's own loggers.

Covers: the thread on which users' handlers run, and what waits for it. Does not cover: what of a record travels
(``log_records``).

Handlers are users' code. They may block, raise, and submit tasks, so they run on a thread that the executor does not
need. It starts with the first record.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.clocks import monotonic
from futures_cluster.services.common import forks, log_records

log = logging.getLogger("futures_cluster")

#: Bytes of records that wait for the handlers; the rest is dropped and counted.
MAX_BYTES = 64 * 2**20
#: Between two reports of how many were dropped, while more come.
REPORT_S = 1.0
#: A handler that takes longer than this for a record is not waited for at the end.
HANDLER_TIMEOUT_S = 5.0
#: Locations of warnings that are remembered.
MAX_REMEMBERED = 10_000


class LogReceiver:
    """Hands what workers have logged to this process's loggers, until ``close``."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[str, tuple[Any, ...], int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # Each counter has one writer: ``deliver``, or the thread.
        self._received_bytes = 0
        self._handled_bytes = 0
        self._handled = 0
        self._dropped = 0
        self._reported = 0
        self._reported_at = float("-inf")
        self._registry: dict[Any, Any] = {}  # of warnings that were shown
        self._is_closed = False

    def deliver(self, message: m.LogRecords) -> None:
        """Take records from the scheduler; under the client's lock, on any thread."""
        if self._is_closed:
            return
        rows = tuple(message.rows)
        size = sum(len(row[1]) for row in rows)
        if self._received_bytes - self._handled_bytes + size > MAX_BYTES:
            self._dropped += len(rows)
            rows, size = (), 0
        self._dropped += message.dropped
        self._received_bytes += size
        self._queue.put((message.worker, rows, size))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="futures_cluster-logs", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter is about to end: ``join`` does it
                self._thread.start()

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            worker, rows, size = batch
            for key, data in rows:
                _call(self._handle, data, worker, key)
                self._handled += 1
            self._handled_bytes += size
            if self._dropped > self._reported and monotonic() > self._reported_at + REPORT_S:
                self._report_dropped()
        if self._dropped > self._reported:
            self._report_dropped()

    def _handle(self, data: bytes, worker: str, key: str) -> None:
        with forks.Once():
            log_records.handle(data, worker, key, self._registry)
        if len(self._registry) > MAX_REMEMBERED:
            self._registry.clear()

    def _report_dropped(self) -> None:
        number, self._reported = self._dropped - self._reported, self._dropped
        self._reported_at = monotonic()
        _call(
            log.warning,
            "%d log records of workers were dropped because they came faster than they could be sent or handled; log "
            "less in tasks, or raise the level",
            number,
        )

    def close(self) -> None:
        """Stop taking records; the thread ends when it has handled those that have come."""
        self._is_closed = True
        self._queue.put(None)

    def join(self) -> None:
        """Wait after ``close`` until all records were handled, unless a handler blocks."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        if thread.ident is None:  # could not be started
            self._run()
            return
        handled = -1
        while thread.is_alive() and self._handled != handled:
            handled = self._handled
            thread.join(HANDLER_TIMEOUT_S)
        if thread.is_alive():
            with contextlib.suppress(Exception):
                print(
                    f"futures_cluster: a logging handler has taken more than {HANDLER_TIMEOUT_S:g} s for a record "
                    "of a worker, so the executor does not wait for the records that are left",
                    file=sys.stderr,
                )


def _call(function: Callable[..., object], *args: Any) -> None:
    try:
        function(*args)
    except BaseException:  # of a user's handler or filter; what comes next is handled all the same
        with contextlib.suppress(Exception):
            traceback.print_exc()
