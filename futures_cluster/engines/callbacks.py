"""Callbacks on a thread of their own.

Covers: the thread, which begins with the first callback and ends with the engine. Does not cover: whose callbacks, and
what they are called with.

The threads of other engines' clients must not be held up: a callback may ask for another result, which comes by them.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable


class Callbacks:
    """Calls functions on a thread of their own, which is there when it is needed."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def call(self, function: Callable[[], object]) -> None:
        """Have it called, soon; after ``close`` at once, on this thread."""
        with self._lock:
            if not self._closed:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="futures_cluster-callbacks", daemon=True)
                    self._thread.start()
                self._queue.put(function)
                return
        function()

    def close(self) -> None:
        """Let the thread end when it has called all that it was given."""
        with self._lock:
            self._closed = True
            if self._thread is not None:
                self._queue.put(None)

    def join(self) -> None:
        """Wait until all that was to be called has been; after ``close``, and not for oneself."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (function := self._queue.get()) is not None:
            try:
                function()
            except Exception:  # the others must be called all the same
                traceback.print_exc()
            del function
