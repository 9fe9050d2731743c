"""The thread that calls users' callbacks, one for each client.

The loop, a thread that waits for a result and another engine's client must not run users' code: a callback may sleep,
raise ``SystemExit`` or wait for another result, which arrives by these very threads. They hand a finished future to
this thread instead, which calls the callbacks in that order.

Callbacks delay each other, and with them ``await`` on futures of the same client and ``shutdown(wait=True)``. They
delay no task, no ``result()``, and no ``shutdown(wait=False)``.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

from futures_cluster import locks
from futures_cluster.services.common import daemons

logger = logging.getLogger("futures_cluster")


class CallbackThread:
    """A thread that calls functions in the order in which they are handed over.

    Attributes
    ----------
    is_running : bool
        Whether the thread takes functions; otherwise ``call`` starts it.
    """

    def __init__(self) -> None:
        self.is_running = False
        # Handing over takes no lock: a finalizer may do it, at any point of any thread.
        self._queue: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = locks.RLock()  # guards starting and ending
        self._closing = False
        self._at_end: Callable[[], object] | None = None

    def start(self) -> None:
        """Start the thread unless it runs.

        Raises
        ------
        RuntimeError
            If the system starts no more threads.
        """
        with self._lock:
            if self.is_running:
                return
            self.is_running = True
            self._thread = threading.Thread(target=self._run, name="futures_cluster-callbacks", daemon=True)
            try:
                self._thread.start()
            except BaseException:
                self.is_running, self._thread = False, None
                raise

    def call(self, function: Callable[[], object]) -> None:
        """Have ``function`` called soon; from any thread."""
        self._queue.put(function)
        if not self.is_running:  # the queue first: a thread that is about to end looks in the opposite order
            try:
                self.start()
            except RuntimeError:  # the interpreter is about to end: late is better than never
                self._call_all()

    def close(self, at_end: Callable[[], object] | None = None) -> None:
        """End the thread once it has called everything; it calls ``at_end`` last."""
        with self._lock:
            self._closing = True
            if self.is_running:
                self._at_end = at_end
                self._queue.put(lambda: None)  # wakes the thread
                return
        if at_end is not None:
            at_end()

    def join(self) -> None:
        """Wait after ``close`` until all are called; a callback does not wait for itself."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        daemons.start_no_daemons()
        while not self._closing:
            _call(self._queue.get())
        while not self._has_ended():
            self._call_all()

    def _call_all(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                _call(self._queue.get_nowait())

    def _has_ended(self) -> bool:
        with self._lock:
            self.is_running = False
            if not self._queue.empty():  # perhaps handed over by a thread that has seen this one run
                self.is_running = True
                return False
            at_end, self._at_end = self._at_end, None
        if at_end is not None:
            _call(at_end)
        return True


def _call(function: Callable[[], object]) -> None:
    try:
        function()
    except BaseException:  # the others must be called all the same
        logger.exception("a callback failed: %r", function)
