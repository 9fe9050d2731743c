"""The future: a ``concurrent.futures.Future`` whose result may still be on a worker.

Covers: its states, its result or error (unpickled by the first thread that asks for it), waiting, cancelling. Does not
cover: callbacks (``future_callbacks``), where results come from (``services.client.client``).

Two things differ inside from the standard library's class, and neither shows outside. The condition (most of a future's
memory) is made when a thread first needs it. And a result is kept as its payload until it is read.

Changes of state are made under the condition if there is one, else under one lock for all futures; the condition
itself is made under that lock, so no thread can miss a change. What ``concurrent.futures.wait`` and ``as_completed``
use (``_condition``, ``_state``, ``_waiters``) works as they expect.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from futures_cluster import clocks, context, locks, numbers
from futures_cluster.dask_reference import DaskTaskRef
from futures_cluster.future_callbacks import REMOTE as _REMOTE
from futures_cluster.future_callbacks import FutureCallbacks
from futures_cluster.messages import Holder, Key, Payload, Reference
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.services.common.sleeper import Sleeper
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.codec.pickle_codec import current_collector
from futures_cluster.wire.codec.tracebacks import detach

# Reentrant: a collection of garbage may run a finalizer that cancels another future in the middle of a change.
_transition = locks.RLock()


def _after_fork() -> None:
    """Make the lock again in a forked copy, whose holder may be gone."""
    global _transition
    _transition = locks.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

#: A thread that waits reads for itself as long as no more futures than this are pending.
MAX_LED = 8
#: A result that is still on a worker gets this many seconds to come, if a timeout leaves less: its task has ended.
MIN_FETCH_S = 5.0

_NO_TASK = contextlib.nullcontext()
_DONE = (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)
T = TypeVar("T")

# What ``_unread`` is, as long as no thread has read the result; besides there is ``_REMOTE``.
_NOTHING = 0
_RESULT = 1  # a payload
_ERROR = 2  # the payload of an error


class Future(DaskTaskRef, FutureCallbacks[T], Reference):
    """The result of a task, now or later.

    Everything that ``concurrent.futures.Future`` promises, and: it can be an argument of another task, ``await`` works,
    ``cancel(force=True)`` stops a running task, and a large result stays on its worker until the program asks for it.

    Attributes
    ----------
    key : str
        Names the task and its result on the cluster.
    """

    _state: str = PENDING
    _exception: BaseException | None = None
    _traceback: TracebackType | None = None  # the exception's, without what ``result`` adds
    _lazy_condition: threading.Condition | None = None
    _unread: int = _NOTHING
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

    def __repr__(self) -> str:
        if not self.key:
            return super().__repr__()  # made by a user as the standard library's are, for no task
        state = self._state.lower().replace("_and_notified", "")
        return f"<Future {self.key} {state}>"

    # ---------------------------------------------------------------- for users

    def result(self, timeout: float | None = None) -> T:
        """Wait for the task and return its result.

        If the result is still on a worker, this brings it here, and takes some seconds for it in spite of the timeout.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait at most.

        Returns
        -------
        object
            What the task returned.

        Raises
        ------
        TimeoutError
            When it is not here in time.
        CancelledError
            When the task was cancelled.
        BaseException
            Whatever the task raised, with the remote traceback.
        """
        try:
            if self._state != FINISHED or self._unread:
                self._wait_and_read(timeout)
            if self._exception is not None:
                try:
                    # As the task raised it: else each call would add its frames to those of the calls before.
                    raise self._exception.with_traceback(self._traceback)
                finally:
                    # Break the cycle of the exception, its traceback and this frame.
                    self = None  # type: ignore[assignment]
            return self._result
        finally:
            self = None  # type: ignore[assignment]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task and return what it raised.

        This fetches no result from a worker.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait at most.

        Returns
        -------
        BaseException or None
            None if the task has a result.

        Raises
        ------
        TimeoutError
            When it is not done in time.
        CancelledError
            When the task was cancelled.
        """
        if self._state != FINISHED:
            self._wait_done(numbers.wait_s("timeout", timeout))
        if self._unread in (_RESULT, _ERROR):
            self._read_payload()
        return self._exception

    def cancel(self, force: bool = False) -> bool:
        """Cancel the task, unless it runs or is done; never blocks.

        Parameters
        ----------
        force : bool
            Also stop it while it runs: its worker process is replaced, and what else ran there runs again. For a task
            that does not run this makes no difference.

        Returns
        -------
        bool
            Whether it is cancelled. True means that no caller will see a result; a task that was already on its
            way to a worker may still have some effect.

        Raises
        ------
        NotSupported
            For ``force``, if the task runs in a thread, which cannot be stopped.
        """
        first = False
        try:
            with DeferredSignals():
                with self._condition:
                    if self._state == FINISHED:
                        return False
                    if self._state in (CANCELLED, CANCELLED_AND_NOTIFIED):
                        return True
                    if self._state == RUNNING or (self._number and not self._client.withdraw(self)):  # just taken
                        if not force:
                            return False
                        if self._client is not None and not self._client.can_stop_tasks:
                            raise self._unstoppable()
                    with _transition:  # not while ``_deliver_running`` looks
                        self._state = CANCELLED_AND_NOTIFIED
                    first = True
                    self._notify("add_cancelled")
                self._wake_leader()
                if self._client is not None:
                    self._client.cancelled(self, force)
        finally:
            if first:
                self._invoke_callbacks()
        return True

    def _unstoppable(self) -> Exception:
        from futures_cluster.errors import NotSupported

        return NotSupported(
            f"{self.key!r} runs in a thread, which cannot be stopped; wait for its end, or use an Executor with worker "
            "processes"
        )

    def release(self) -> None:
        """Let the cluster forget the result.

        A result that is already in this process can still be read.
        """
        client = self._client
        if client is not None and self._state == FINISHED and self._local_error is None:
            key = self.key  # which a client may have to make
            if self._unread == _REMOTE:
                from futures_cluster.errors import DataLost

                self._set_read(None, DataLost(f"the result of {self.key!r} was released before it was brought here"))
            self._read_payload()
            if self._wants_value():  # which has been on its way here
                self._call_back_soon()
            self._client = None
            client.release(key, True)

    def cancelled(self) -> bool:
        """Return whether the task was cancelled.

        Returns
        -------
        bool
            True also if a task that this one needs was cancelled.
        """
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def running(self) -> bool:
        """Return whether a worker executes the task.

        Returns
        -------
        bool
            True from the start of the task until it is done.
        """
        return self._state == RUNNING

    def done(self) -> bool:
        """Return whether the task has ended or was cancelled.

        Returns
        -------
        bool
            True if ``result`` need not wait for the task; its value may still be on a worker.
        """
        return self._state in _DONE

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """See the standard library's.

        From Python 3.15 on, asyncio reads this once the callbacks run.
        """
        if self._state == FINISHED and self._unread:
            self._wait_and_read(None)
        cancelled = self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)
        return cancelled or self._state == FINISHED, cancelled, self._result, self._exception

    # ---------------------------------------------------------------- waiting and reading

    def _wait_and_read(self, timeout: float | None) -> None:
        timeout = None if timeout is None else numbers.wait_s("timeout", timeout)
        end = None if timeout is None else clocks.monotonic() + timeout
        if self._state != FINISHED:
            self._wait_done(timeout)
        while self._unread:
            if self._unread == _REMOTE:
                with context.waiting():
                    left = None if end is None else max(MIN_FETCH_S, end - clocks.monotonic())
                    try:
                        payload = self._client.fetch(self, left)
                    except TimeoutError:
                        raise TimeoutError from None
                    except (KeyboardInterrupt, SystemExit):
                        raise  # of the thread that waits here: the result can be asked for again
                    except BaseException as error:
                        if not self._done_here():
                            self._set_read(None, detach(error))
                        return
                self._take_fetched(payload)
            else:
                self._read_payload()

    def _is_remote(self) -> bool:
        """Return whether the result is on a worker, and no callback waits for it."""
        return self._state == FINISHED and self._unread == _REMOTE and not self._wants_value()

    def _take_fetched(self, payload: Payload) -> None:
        """Take the result that a worker has sent, unless it is here."""
        with _transition:
            if self._unread == _REMOTE and payload is not None:
                self._payload, self._unread, self._holders = payload, _RESULT, None

    def _done_here(self) -> bool:
        """Return whether the result or the error is in this process."""
        return self._state == FINISHED and not self._unread

    def _wait_done(self, timeout: float | None) -> None:
        client = self._client
        if client is not None and client.forked:
            from futures_cluster.errors import ForkedExecutor

            raise ForkedExecutor(f"{self.key} runs for the parent of this process; only the parent can wait for it")
        if self._number:
            self._sleep(timeout)
        elif client is not None and client.leader is not None and client.count_pending() <= MAX_LED:
            start = clocks.monotonic()
            client.leader.wait_for(self, timeout)
            if timeout is not None:
                timeout = max(0.0, timeout - (clocks.monotonic() - start))
        if self._state == FINISHED:
            return
        condition = self._condition
        with condition:
            if self._state in (PENDING, RUNNING):
                with context.waiting() if context.local.task is not None else _NO_TASK:
                    if not condition.wait_for(self.done, timeout):
                        raise TimeoutError
        if self._state != FINISHED:
            raise CancelledError

    def _sleep(self, timeout: float | None) -> None:
        """Wait for a task of this process."""
        sleeper = Sleeper()
        with _transition:
            sleeper.next = self._awaited_by
            self._awaited_by = sleeper
        if not self.done():  # only now, as the deliverer looks for sleepers only after its change
            with context.waiting() if context.local.task is not None else _NO_TASK:
                if not sleeper.wait(timeout):
                    with _transition:  # a program that polls leaves nothing behind
                        self._awaited_by = self._awaited_by.without(sleeper)
                    raise TimeoutError

    def _wake_leader(self) -> None:
        if (leader := self._awaited_by) is not None:
            leader.wake()

    def _notify(self, method: str) -> None:
        """Tell those that wait, in the standard library's way; under the condition."""
        for waiter in self._waiters:
            getattr(waiter, method)(self)
        self._condition.notify_all()

    def _read_payload(self) -> None:
        """Unpickle, in the thread that asks."""
        kind, payload = self._unread, self._payload
        if kind not in (_RESULT, _ERROR):
            return  # another thread was faster
        codec = self._client.codec
        try:
            if kind == _RESULT:
                self._set_read(codec.load(payload), None)
            else:
                from futures_cluster.errors import make_error

                self._set_read(None, make_error(payload, codec.load_error))
        except KeyboardInterrupt:
            raise  # of the thread that asks: the result can be asked for again
        except BaseException as error:
            from futures_cluster.errors import DeserializationError

            failed = DeserializationError(f"the result of {self.key} did not unpickle here: {error!r}")
            failed.__cause__ = detach(error)
            self._set_read(None, failed)

    def _set_read(self, result: Any, error: BaseException | None) -> None:
        with _transition:
            if not self._unread:
                return  # another thread was faster: all see the same object
            self._result, self._exception = result, error
            self._traceback = error.__traceback__ if error is not None else None
            self._unread = _NOTHING
            self._holders = None
            self._payload = None

    def _take_unread(self) -> Payload:
        """Return the payload that came meanwhile; None if it was read since."""
        return self._payload if self._unread == _RESULT else None

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
        self._deliver(_RESULT, payload, None)

    def _deliver_remote(self, holders: Sequence[Holder], size_bytes: int) -> None:
        """Note which workers keep the result of the task, which has ended.

        A holder is the name and the address of a worker.
        """
        self._was_remote = True
        self._deliver(_REMOTE, None, list(holders))

    def _deliver_error(self, payload: Payload) -> None:
        """Take the error of the task, which has failed."""
        self._deliver(_ERROR, payload, None)

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
        with _transition:
            if self._state == FINISHED:
                if self._unread:
                    self._exception, self._traceback, self._unread = error, error.__traceback__, _NOTHING
                return
            here = self._lazy_condition is None
            if here:
                self._exception, self._traceback = error, error.__traceback__
                self._state = FINISHED
        if not here:
            with self._condition:
                if self._state not in (PENDING, RUNNING):
                    return
                self._exception = error
                self._state = FINISHED
                self._notify("add_exception")
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
            self._notify("add_exception" if kind == _ERROR else "add_result")
        self._wake_leader()
        if kind != _REMOTE:
            self._call_back_soon()

    def _deliver_running(self, runs: bool = True) -> None:
        """Note that a worker executes the task."""
        with _transition:
            if self._state in (PENDING, RUNNING):
                self._state = RUNNING if runs else PENDING

    def _deliver_cancelled(self) -> None:
        """Note that the task is cancelled, because a task that it needs was."""
        with self._condition:
            if self._state not in (PENDING, RUNNING):
                return
            self._state = CANCELLED_AND_NOTIFIED
            self._notify("add_cancelled")
        self._wake_leader()
        self._call_back_soon()

    # ---------------------------------------------------------------- as an argument, and at the end

    def __reduce__(self) -> Any:
        collector = current_collector()
        if collector is not None:
            as_input = collector.reduce(self)
            if as_input is not None:
                return as_input
        return _adopt, (self.key,)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        try:
            client = self._client
            if client is None or self._number or self._state != FINISHED or self._local_error is not None:
                if self._of_graph and self._state in (PENDING, RUNNING):
                    client.drop_unfinished(self)
                return
            client.release(self.key, self._was_remote)  # at once if a worker holds something
        except Exception:
            if not is_finalizing():  # else the globals of modules are gone, perhaps those of this one
                raise


def _adopt(key: Key) -> Future[Any]:
    """Make the future that arrives at a worker inside an argument.

    It has the same key, and belongs to the worker's own client.
    """
    future: Future[Any] = context.current_executor().future_of_key(key)
    return future
