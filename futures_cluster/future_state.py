"""The state of a future, and how the outcome of its task is delivered.

Covers: the lock and the condition, changes of state, what a client or an engine tells a future. Does not cover: what
users call (``future``), callbacks (``future_callbacks``).

Two things differ inside from the standard library's class, and neither shows outside. The condition (most of a future's
memory) is made when a thread first needs it. And a result is kept as its payload until it is read.

Changes of state are made under the condition if there is one, else under one lock for all futures; the condition
itself is made under that lock, so no thread can miss a change. What ``concurrent.futures.wait`` and ``as_completed``
use (``_condition``, ``_state``, ``_waiters``) works as they expect.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from futures_cluster import locks
from futures_cluster.future_callbacks import REMOTE, FutureCallbacks
from futures_cluster.messages import Holder, Key, Payload
from futures_cluster.services.common.sleeper import Sleeper
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.codec.tracebacks import detach

T = TypeVar("T")

# Reentrant: a collection of garbage may run a finalizer that cancels another future in the middle of a change.
_transition = locks.RLock()


def _after_fork() -> None:
    """Make the lock again in a forked copy, whose holder may be gone."""
    global _transition
    _transition = locks.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# What ``_unread`` is, as long as no thread has read the result; besides there is ``REMOTE``.
NOTHING = 0
RESULT = 1  # a payload
ERROR = 2  # the payload of an error


class FutureState(FutureCallbacks[T]):
    """Part of ``Future``: its state, and the outcome once it is delivered."""

    _state: str = PENDING
    _exception: BaseException | None = None
    _traceback: TracebackType | None = None  # the exception's, without what ``result`` adds
    _lazy_condition: threading.Condition | None = None
    _unread: int = NOTHING
    _payload: Payload = None
    _delivered: bool = False  # of a task in this process: the outcome is here
    _watched: bool = False  # there is a condition, or is about to be

    # Clients, engines and adapters of this package use the attributes that follow, and the methods ``_deliver_*`` and
    # those beside them (``services.common.protocols.ClientFuture`` lists them). The underscore keeps them from users.
    _client: Any = None  # the client or engine that the task was submitted to; None after ``release``
    _holders: list[Holder] | None = None  # workers that keep the result, until it is here
    _parent: Any = None  # the task that submitted this one
    _keepalive: Any = None  # objects that must live until the task is done, such as the futures in its arguments
    _scattered: bool = False  # this is data, and no task computes it
    _was_remote: bool = False  # a worker may still keep the result
    _number: int = 0  # of a task in this process: its number, and the name of its function
    _function_name: str = ""
    _of_graph: bool = False  # its task stops when this goes
    _awaited_by: Any = None  # a leader that waits for it (``services.client.direct_reader``), or sleepers
    _local_error: BaseException | None = None  # one that the cluster has not reported, such as of pickling

    def __init__(self, key: Key | None = "", client: Any = None) -> None:
        if key is not None:  # not the stdlib's __init__, which makes what is made here when it is needed
            self.key = key
        self._client = client

    if TYPE_CHECKING:  # as the standard library's is declared
        _condition: threading.Condition
        _waiters: list[Any]
        _done_callbacks: list[Callable[[Any], object]]
        _result: T
    else:
        _result = None

        @functools.cached_property
        def key(self) -> Key:
            """The key of a task in this process, of which nothing is made before it is asked for."""
            return self._client.name_future(self)

        @property
        def _condition(self) -> threading.Condition:
            condition = self._lazy_condition
            if condition is None:
                with _transition:
                    condition = self._lazy_condition
                    if condition is None:
                        self._waiters = []
                        self._done_callbacks = []
                        self._watched = True
                        if self._delivered:  # by a thread that may have looked before
                            self._state = FINISHED
                        # Last, because other threads use it without the lock.
                        condition = self._lazy_condition = locks.Condition()
            return condition

    # ---------------------------------------------------------------- changes that the future itself makes

    def _mark_cancelled(self) -> bool:
        """Cancel what has not ended; for ``_change``."""
        with _transition:  # not while ``_deliver_running`` reads the state
            if self._state not in (PENDING, RUNNING):
                return False
            self._state = CANCELLED_AND_NOTIFIED
        self._notify("add_cancelled")
        return True

    def _add_sleeper(self, sleeper: Sleeper) -> None:
        with _transition:
            sleeper.next = self._awaited_by
            self._awaited_by = sleeper

    def _remove_sleeper(self, sleeper: Sleeper) -> None:
        with _transition:
            self._awaited_by = self._awaited_by.without(sleeper)

    def _is_remote(self) -> bool:
        """Return whether the result is on a worker, and no callback waits for it."""
        return self._state == FINISHED and self._unread == REMOTE and not self._wants_value()

    def _take_fetched(self, payload: Payload) -> None:
        """Take the result that a worker has sent, unless it is here."""
        with _transition:
            if self._unread == REMOTE and payload is not None:
                self._payload, self._unread, self._holders = payload, RESULT, None

    def _done_here(self) -> bool:
        """Return whether the result or the error is in this process."""
        return self._state == FINISHED and not self._unread

    def _wake_leader(self) -> None:
        if (leader := self._awaited_by) is not None:
            leader.wake()

    def _change(self, change: Callable[[], bool]) -> bool:
        """Call ``change`` while no other thread changes the state.

        Returns what it returns, which is whether it has changed the state.

        A task of this process is changed under the condition: withdrawing it runs finalizers of its arguments, which
        may take locks of the user's.
        """
        with _transition:
            if self._lazy_condition is None and not self._number:
                return change()
        with self._condition:
            return change()

    def _notify(self, method: str) -> None:
        """Tell those that wait; under the condition, if there is one.

        They are told in the standard library's way.
        """
        if self._lazy_condition is not None:
            for waiter in self._waiters:
                getattr(waiter, method)(self)
            self._condition.notify_all()

    def _set_read(self, result: Any, error: BaseException | None) -> None:
        with _transition:
            if not self._unread:
                return  # another thread was faster: all see the same object
            self._result, self._exception = result, error
            self._traceback = error.__traceback__ if error is not None else None
            self._unread = NOTHING
            self._holders = None
            self._payload = None

    def _take_unread(self) -> Payload:
        """Return the payload that came meanwhile; None if it was read since."""
        return self._payload if self._unread == RESULT else None

    # ---------------------------------------------------------------- for the engine of this process
    #
    # Only one thread delivers, the one that has taken the task from the engine, and without a lock. It says that the
    # outcome is here before it looks for a condition, and a thread that makes one looks in the opposite order.

    def _deliver_value(self, value: Any) -> None:
        """Take what the task has returned."""
        self._result = value
        self._delivered = True
        if self._watched:
            self._tell_waiters()
        else:
            self._state = FINISHED
        if self._awaited_by is not None:
            self._wake_leader()

    def _deliver_failure(self, error: BaseException) -> None:
        """Take what the task has raised."""
        self._traceback = error.__traceback__
        self._exception = error
        self._deliver_value(None)

    def _tell_waiters(self) -> None:
        with self._condition:
            if self._state == FINISHED:  # before another thread could wait
                return
            self._state = FINISHED
            self._notify("add_result" if self._exception is None else "add_exception")
        self._call_back_soon()

    # ---------------------------------------------------------------- for the client
    #
    # The client's loop delivers, or a user's thread that waits for some other future, perhaps while it holds locks of
    # the user's. So callbacks are left to the client's thread for callbacks.

    def _deliver_result(self, payload: Payload) -> None:
        """Take the result of the task, which has ended."""
        self._deliver(RESULT, payload, None)

    def _deliver_remote(self, holders: Sequence[Holder], size_bytes: int) -> None:
        """Note which workers keep the result of the task, which has ended.

        A holder is the name and the address of a worker.
        """
        self._was_remote = True
        self._deliver(REMOTE, None, list(holders))

    def _deliver_error(self, payload: Payload) -> None:
        """Take the error of the task, which has failed."""
        self._deliver(ERROR, payload, None)

    def set_exception(self, exception: BaseException | None) -> None:
        """See ``concurrent.futures.Future.set_exception``."""
        self._traceback = exception.__traceback__ if exception is not None else None
        super().set_exception(exception)

    def _copy_error(self) -> BaseException:
        """Copy the error, for another future that fails because of it."""
        assert self._exception is not None
        return copied(self._exception).with_traceback(self._traceback)

    def _fail_here(self, error: BaseException) -> None:
        """Fail before the task came to the cluster, or because of the cluster."""
        detach(error)
        if self._state == PENDING:
            self._local_error = error

        def fail() -> bool:
            with _transition:
                was_pending = self._state in (PENDING, RUNNING)
                if was_pending or (self._state == FINISHED and self._unread):
                    self._exception, self._traceback, self._unread = error, error.__traceback__, NOTHING
                    self._state = FINISHED
            if was_pending:
                self._notify("add_exception")
            return was_pending

        if self._change(fail):
            self._call_back_soon()
            self._wake_leader()

    def _deliver(self, kind: int, payload: Payload, holders: list[Holder] | None) -> None:
        with _transition:
            condition = self._lazy_condition
            if condition is None or self._state == FINISHED:
                if self._state in (PENDING, RUNNING) or (self._state == FINISHED and self._unread):
                    self._unread = kind
                    self._payload = payload
                    self._holders = holders
                    self._state = FINISHED
                if (leader := self._awaited_by) is not None:
                    leader.wake()
                return
        with condition:
            if self._state not in (PENDING, RUNNING):
                return
            self._unread, self._payload, self._holders = kind, payload, holders
            self._state = FINISHED
            self._notify("add_exception" if kind == ERROR else "add_result")
        self._wake_leader()
        if kind != REMOTE:
            self._call_back_soon()

    def _deliver_running(self, runs: bool = True) -> None:
        """Note that a worker executes the task."""
        with _transition:
            if self._state in (PENDING, RUNNING):
                self._state = RUNNING if runs else PENDING

    def _deliver_cancelled(self) -> None:
        """Note that the task is cancelled, because a task that it needs was."""
        if self._change(self._mark_cancelled):
            self._wake_leader()
            self._call_back_soon()
