"""What a future calls once it is done, and on which thread.

Covers: adding callbacks, calling each of them once, and when they are due. Does not cover: changes of state
(``future_state``), the thread for callbacks (``callback_thread``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future as _StdlibFuture
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, LOGGER
from typing import TYPE_CHECKING, Any, Self, TypeVar

from futures_cluster.services.common import forks

T = TypeVar("T")

#: What ``_unread`` of a future is while its result is still on the workers in ``holders``.
REMOTE = 3


class FutureCallbacks(_StdlibFuture[T]):
    """Part of ``Future``: its callbacks."""

    if TYPE_CHECKING:  # as in ``FutureState``, and as the standard library's is declared
        _client: Any
        _unread: int
        _lazy_condition: threading.Condition | None
        _done_callbacks: list[Callable[[Any], object]]

    def add_done_callback(self, fn: Callable[[Self], object]) -> None:
        """Call ``fn(self)`` once the task is done and its result is here.

        Then ``result()`` returns without the network.

        The executor has a thread for callbacks, which calls them in the order in which futures became done. An
        exception of a callback is logged. As in the standard library, the callback runs in the calling thread if
        the future is done, and in the thread that calls ``cancel()``.

        Parameters
        ----------
        fn : callable
            Takes the future; the executor ignores what it returns.
        """
        client = self._client
        if client is not None and not (client.callbacks.is_running or client.forked or self._callbacks_are_due()):
            client.callbacks.start()  # here, where it may fail: not on the thread that delivers
        with self._condition:
            if self._state not in (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED):
                self._done_callbacks.append(fn)
                return
            remote = self._unread == REMOTE
            if remote:
                self._done_callbacks.append(fn)
        if remote:
            if client.closed is None:
                client.prefetch(self)
            if client.closed is not None:  # no worker sends it: result() raises why
                self._invoke_callbacks()
            return
        try:
            fn(self)
        except Exception:
            LOGGER.exception("exception calling callback for %r", self)

    def _wants_value(self) -> bool:
        """Return whether callbacks wait for the value to be here."""
        return self._lazy_condition is not None and bool(self._done_callbacks)

    def _value_is_here(self) -> None:
        """Let the callbacks run, as the value or error is in this process."""
        if self._client is not None:  # it may have been released meanwhile
            self._call_back_soon()

    def _callbacks_are_due(self) -> bool:
        """Return whether a callback that is added now runs at once."""
        return self._unread != REMOTE and self._state in (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)

    def _call_back_soon(self) -> None:
        """Have the callbacks called on their thread."""
        if self._wants_value():
            self._client.callbacks.call(self._call_back)

    def _call_back(self) -> None:
        """Call each callback once, on the thread for callbacks.

        No error of a callback may end this thread.
        """
        for callback in self._take_callbacks():
            try:
                with forks.Once():
                    callback(self)
            except BaseException:
                LOGGER.exception("exception calling callback for %r", self)

    def _invoke_callbacks(self) -> None:
        """Call each callback once, on the thread that cancels or sets a result."""
        for callback in self._take_callbacks():
            try:
                callback(self)
            except Exception:
                LOGGER.exception("exception calling callback for %r", self)

    def _take_callbacks(self) -> list[Callable[[Any], object]]:
        if self._lazy_condition is None:
            return []  # who adds one from now on sees that the future is done
        with self._condition:
            callbacks, self._done_callbacks = self._done_callbacks, []
        return callbacks
