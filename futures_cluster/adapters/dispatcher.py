"""The thread that calls joblib back, one for each ``Parallel`` call.

Covers: calling back, one at a time, until the call has ended. Does not cover: what is done then (``joblib``).
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable
from typing import Any

from futures_cluster import context, locks
from futures_cluster.future import Future

#: Seconds between two checks whether a call of ``Parallel`` is over; this thread wakes the waiting one when it ends it.
POLL_INTERVAL_S = 0.1
#: Maximum time that the end of a call waits for a callback that is under way.
STOP_S = 1.0


class _Waiter:
    """Notices at once when a future is done, in the standard library's way, as ``wait`` does."""

    __slots__ = ("_callback", "_done")

    def __init__(self, done: queue.SimpleQueue[Any], callback: Callable[[Any], object]) -> None:
        self._done = done
        self._callback = callback

    def add_result(self, future: Future[Any]) -> None:
        """Take note that the future is done."""
        self._done.put((self._callback, future))

    add_exception = add_cancelled = add_result


class Dispatcher(threading.Thread):
    """The thread of one ``Parallel`` call that calls joblib back when futures are done.

    It stops with that call. Otherwise joblib would count batches of a call that has failed as batches of the next call
    of the same ``Parallel``.

    Parameters
    ----------
    is_over : callable
        ``is_over()``: whether ``Parallel`` has no reason to wait for more callbacks.
    """

    def __init__(self, is_over: Callable[[], bool] = lambda: False) -> None:
        super().__init__(name="futures_cluster-joblib", daemon=True)
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._callback_lock = locks.Lock()
        self._stopped = False
        self._is_over = is_over
        self._over = threading.Event()
        self._task = context.current_task()
        self.start()

    def call_back(self, callback: Callable[[Future[Any]], object], future: Future[Any]) -> None:
        """Have ``callback(future)`` called, soon."""
        self._done.put((callback, future))

    def watch(self, future: Future[Any], callback: Callable[[Future[Any]], object]) -> None:
        """Have ``callback(future)`` called once it is done and its result is here.

        Only if a large result has to be fetched, the executor's own thread for callbacks takes part.
        """
        with future._condition:
            if not future.done():
                future._waiters.append(_Waiter(self._done, callback))
                return
        self.call_back(callback, future)

    def wait(self) -> None:
        """Wait until the call is over, instead of joblib's loop that looks every 10 ms."""
        while not self._is_over():
            self._over.wait(POLL_INTERVAL_S)
            self._over.clear()

    def stop(self) -> None:
        """End the thread, after the callback under way: it may read the user's iterator.

        Waits ``STOP_S`` at most.
        """
        self._stopped = True
        self._done.put(None)
        if threading.current_thread() is not self and self._callback_lock.acquire(timeout=STOP_S):
            self._callback_lock.release()

    def run(self) -> None:
        """Call joblib back until ``stop``."""
        context.local.task = self._task  # what is submitted here are children of the task that called ``Parallel``
        while (item := self._done.get()) is not None:
            callback, future = item
            if isinstance(future, Future) and future.done() and not future._callbacks_are_due():
                future.add_done_callback(functools.partial(self.call_back, callback))
            else:
                with self._callback_lock:
                    if not self._stopped:
                        callback(future)
            if self._is_over():
                self._over.set()
            del item, callback, future
