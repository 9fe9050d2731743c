"""The future: a ``concurrent.futures.Future`` whose result may still be on a worker.

Covers: its result or error (unpickled by the first thread that asks for it), waiting, cancelling. Does not cover: its
state and how an outcome is delivered (``future_state``), callbacks (``future_callbacks``), where results come from
(``services.client.client``).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from typing import Any, TypeVar

from futures_cluster import clocks, context, numbers
from futures_cluster.dask_reference import DaskTaskRef
from futures_cluster.future_callbacks import REMOTE
from futures_cluster.future_state import ERROR, RESULT, FutureState
from futures_cluster.messages import Key, Reference
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.services.common.sleeper import Sleeper
from futures_cluster.wire.codec.tracebacks import detach

#: A thread that waits reads for itself as long as no more futures than this are pending.
MAX_LED = 8
#: A result that is still on a worker gets this many seconds to come, if a timeout leaves less: its task has ended.
MIN_FETCH_S = 5.0

_NO_TASK = contextlib.nullcontext()
_DONE = (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)
T = TypeVar("T")


class Future(DaskTaskRef, FutureState[T], Reference):
    """The result of a task, now or later.

    Everything that ``concurrent.futures.Future`` promises, and: it can be an argument of another task, ``await`` works,
    ``cancel(force=True)`` stops a running task, and a large result stays on its worker until the program asks for it.

    Attributes
    ----------
    key : str
        Names the task and its result on the cluster.
    """

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
        if self._unread in (RESULT, ERROR):
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
        changed = False
        try:
            with DeferredSignals():
                changed = self._change(lambda: self._cancel(force))
                if changed:
                    self._wake_leader()
                    if self._client is not None:
                        self._client.cancelled(self, force)
        finally:
            if changed:
                self._invoke_callbacks()
        return self.cancelled()

    def _cancel(self, force: bool) -> bool:
        """Cancel what has not ended, and runs only if that is forced; for ``_change``."""
        if self._state == RUNNING or (self._state == PENDING and self._was_taken()):
            if not force:
                return False
            if self._client is not None and not self._client.can_stop_tasks:
                raise self._unstoppable()
        return self._mark_cancelled()

    def _was_taken(self) -> bool:
        """Withdraw a task of this process; return whether it was too late.

        A thread has just taken it then.
        """
        return bool(self._number) and not self._client.withdraw(self)

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
            if self._unread == REMOTE:
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
            if self._unread == REMOTE:
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
        self._add_sleeper(sleeper)
        if not self.done():  # only now, as the deliverer looks for sleepers only after its change
            with context.waiting() if context.local.task is not None else _NO_TASK:
                if not sleeper.wait(timeout):
                    self._remove_sleeper(sleeper)  # a program that polls leaves nothing behind
                    raise TimeoutError

    def _read_payload(self) -> None:
        """Unpickle, in the thread that asks."""
        kind, payload = self._unread, self._payload
        if kind not in (RESULT, ERROR):
            return  # another thread was faster
        codec = self._client.codec
        try:
            if kind == RESULT:
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

    # ---------------------------------------------------------------- as an argument, and at the end

    def __reduce__(self) -> Any:
        from futures_cluster.wire.codec.pickle_codec import current_collector  # here: it takes 3 ms to import

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
    if context.local.task is None:
        raise RuntimeError(
            f"it has the future {key!r}, which belongs to the worker that submitted it; let the task return "
            "the future's result(), or put the future into a channel"
        )
    future: Future[Any] = context.current_executor().future_of_key(key)
    return future
