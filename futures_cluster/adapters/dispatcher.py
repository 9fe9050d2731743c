"""The thread that calls joblib back, one for each ``Parallel`` call.

Covers: calling back, one at a time, until the call has ended. Does not cover: what is done then (``joblib``).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from futures_cluster import context
from futures_cluster.future import Future

#: So long the end of a call waits for a callback that is under way.
STOP_S = 1.0


class Dispatcher(threading.Thread):
    """Calls back for the futures that are done, in a thread of its own, for one ``Parallel`` call.

    After that call nobody is called back: joblib would count a call that was given up, as one of its results was an
    error, for the next call of the same ``Parallel``, while that one begins.
    """

    def __init__(self) -> None:
        super().__init__(name="futures_cluster-joblib", daemon=True)
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls_back = threading.Lock()
        self._stopped = False
        self._task = context.current_task()
        self.start()

    def call_back(self, callback: Callable[[Future], object], future: Future) -> None:
        """Have ``callback(future)`` called, soon."""
        self._done.put((callback, future))

    def stop(self) -> None:
        """End; wait for what is being called, but not for ever: it may take calls from the user's iterator."""
        self._stopped = True
        self._done.put(None)
        if threading.current_thread() is not self and self._calls_back.acquire(timeout=STOP_S):
            self._calls_back.release()

    def run(self) -> None:
        """Until ``stop``."""
        context.local.task = self._task  # what is submitted here are children of the task that called ``Parallel``
        while (item := self._done.get()) is not None:
            callback, future = item
            with self._calls_back:
                if not self._stopped:
                    callback(future)
            del item, callback, future
