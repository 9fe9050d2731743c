"""On a worker: log records and warnings of tasks on their way to the clients.

Covers: taking them, keeping them until they are sent, dropping what is too much. Does not cover: which clients get them
(``log_relay``), what of a record travels (``log_records``), levels (``log_settings``).

Records are taken above the root logger, which has no handler of ours: what code on the worker does with logging (an
initializer that calls ``basicConfig``, a module with a handler of its own) means what it means elsewhere. A record that
a handler here has taken is not forwarded, as the client's handlers would show it a second time.

A record is appended to a list, whatever locks the thread holds that logs, and the loop is woken once for all that
follow within ``DELAY_S``. The waiting records also go before any other message of the worker, so the records of a task
come before the news that it has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.context import current_task
from futures_cluster.services.common import log_records
from futures_cluster.services.common.log_settings import LogSettingsOnWorker
from futures_cluster.services.common.log_tail import LogTail

#: Between two messages, while a task logs and nothing else is said.
DELAY_S = 0.02
#: Limits of the records that wait to be sent; the worker drops and counts the rest.
MAX_ROWS = 20_000
MAX_BYTES = 16 * 2**20
#: Rows of one message.
MAX_AT_ONCE = 1000
#: A connection with more than this does not get more records for now.
MAX_PENDING_BYTES = 4 * 2**20


class LogForwarder(logging.Handler):
    """Takes log records and warnings of this process while a client wants them.

    Parameters
    ----------
    worker : str
        Name of the worker.
    send : callable
        Sends what ``take`` returns; called on the loop.
    pending_bytes : callable
        Bytes that the connection to the scheduler still has to send.
    is_shared : bool
        Whether the worker serves other programs, too; then warnings are shown on its stderr as well.
    """

    def __init__(
        self,
        worker: str,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[], None],
        pending_bytes: Callable[[], int],
        is_shared: bool,
    ) -> None:
        super().__init__()
        self._worker = worker
        self._loop = loop
        self._send = send
        self._pending_bytes = pending_bytes
        self._is_shared = is_shared
        self.settings = LogSettingsOnWorker()
        self._guard = threading.RLock()  # also taken by a signal handler or finalizer that logs
        self.rows: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._is_due = False
        self._sent_at = 0.0
        self._everything = False
        self._above = logging.Logger("above the root")
        self._above.addHandler(self)
        self._show_warning: Any = None
        self._basic_config: Any = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._stop)

    def createLock(self) -> None:
        """Do without the lock of ``logging.Handler``, as packing runs users' code."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """See ``logging.Handler``, which would take that lock."""
        self.emit(record)
        return True

    def apply(self, settings: m.LogSettings) -> None:
        """Forward as a message says; on any thread."""
        self.settings.apply(settings)
        self._everything = settings.everything
        if not settings.levels:
            self._stop()
        elif logging.root.parent is None:
            logging.root.parent = self._above
            self._show_warning, warnings.showwarning = warnings.showwarning, self.take_warning
            self._basic_config, logging.basicConfig = logging.basicConfig, self.basic_config

    def _stop(self) -> None:
        """Stop forwarding; also in processes that tasks fork, which have no connection."""
        if logging.root.parent is self._above:
            logging.root.parent = None
        if warnings.showwarning == self.take_warning:
            warnings.showwarning = self._show_warning
        if logging.basicConfig == self.basic_config:
            logging.basicConfig = self._basic_config

    # ---------------------------------------------------------------- on threads that log

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        taken = self._is_taken(record)
        if not taken or self._everything:
            try:
                self._add(log_records.pack_record(record))
            except Exception:
                self.handleError(record)
        last = logging.lastResort
        if self._is_shared and not taken and last is not None and record.levelno >= last.level:
            last.handle(record)

    @staticmethod
    def _is_taken(record: logging.LogRecord) -> bool:
        """Return whether a handler of this process has got the record."""
        logger: Any = logging.root.manager.loggerDict.get(record.name)
        if not isinstance(logger, logging.Logger):
            logger = logging.root
        while logger is not None and logger is not logging.root.parent:
            for handler in logger.handlers:
                if record.levelno >= handler.level and not isinstance(handler, logging.NullHandler | LogTail):
                    return True
            logger = logger.parent
        return False

    def take_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        """Stand in for ``warnings.showwarning``."""
        if file is None:
            self._add(log_records.pack_warning(message, category, filename, lineno))
        if file is not None or self._is_shared:
            self._show_warning(message, category, filename, lineno, file, line)

    def basic_config(self, **options: Any) -> None:
        """Stand in for ``logging.basicConfig``.

        ``logging.info`` and its like call it without arguments where the root logger has no handlers. They need none.
        """
        if options or logging.root.parent is not self._above:
            self._basic_config(**options)

    def _add(self, data: bytes) -> None:
        task = current_task()
        row = ("" if task is None else task.key, data)
        with self._guard:
            if len(self.rows) >= MAX_ROWS or self._bytes + len(data) > MAX_BYTES:
                self._dropped += 1
            else:
                self.rows.append(row)
                self._bytes += len(data)
            if self._is_due:
                return
            self._is_due = True
        try:
            self._loop.call_soon_threadsafe(self._schedule)
        except RuntimeError:  # the loop has ended
            pass

    # ---------------------------------------------------------------- sending

    def _schedule(self) -> None:
        """Send now, or once the last message is old enough; on the loop."""
        self._loop.call_at(self._sent_at + DELAY_S, self._flush)

    def _flush(self) -> None:
        with self._guard:
            self._is_due = False
        self._sent_at = self._loop.time()
        self._send()
        with self._guard:
            if not self.rows or self._is_due:
                return
            self._is_due = True
        if self._is_busy():
            self._schedule()
        else:  # there was more than goes into a message
            self._loop.call_soon(self._flush)

    def _is_busy(self) -> bool:
        return self._pending_bytes() > MAX_PENDING_BYTES

    def take(self, is_last: bool = False) -> list[m.Message]:
        """Return a message with what waits, if there is something and it can be sent now.

        The caller holds the lock under which messages are sent, so that they keep their order.
        """
        if not is_last and self._is_busy():
            return []
        with self._guard:
            rows = [self.rows.popleft() for _ in range(min(MAX_AT_ONCE, len(self.rows)))]
            self._bytes -= sum(len(data) for _, data in rows)
            dropped, self._dropped = self._dropped, 0
        return [m.LogRecords(self._worker, rows, dropped)] if rows or dropped else []
