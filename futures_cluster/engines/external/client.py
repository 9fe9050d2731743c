"""Our futures over another engine's: what stands between the users' threads and an external cluster.

Covers: keys, pickling at submit, futures and their states, fetching results when they are asked for, cancelling what
depends on a cancelled task, the end. Does not cover: how a call is submitted and its end is known (``ClusterLink``,
which each engine has), executing calls (``task_runner``), what an engine refuses (``external.engine``).

Each future of ours has a *handle*, the other engine's own future, which keeps the result on its cluster. It is let go
when our last future of the task goes, or, if that has gone before, when the task is done.

A result comes here when the program asks for it. Those that are small (``payloads.InlineResult``) and done are brought
along: asking for a thousand one after the other makes a few requests, not a thousand.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from futures_cluster import context, errors, locks
from futures_cluster.context import submitting_task
from futures_cluster.engines.base import how_it_ended
from futures_cluster.engines.external.payloads import Envelope, ParcelCodec, RemoteCall, ScatteredEnvelope
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import Key, TaskOptions
from futures_cluster.services.client.call_preparation import check_free, find_equal, find_refusal, inherit, pure_key
from futures_cluster.services.client.callback_thread import CallbackThread
from futures_cluster.services.client.function_table import FunctionTable, function_name
from futures_cluster.wire.codec import payloads, pickle_codec
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.codec.pickling import Scope

if TYPE_CHECKING:
    from futures_cluster.services.common.protocols import ClientFuture

#: Maximum number of small results that a fetch brings along with the wanted one.
MAX_ALONG = 5000


class ClusterLink(Protocol):
    """The way to another engine; it tells the client (``finished``, ``failed``, ``arrived`` and so on)."""

    can_stop_tasks: bool
    carries_handles: bool  # futures that stay futures travel with their handles; otherwise a key is enough

    def connect(self, ours: ExternalClient, listens: bool) -> None:
        """Tell this client of ours what happens.

        If it ``listens``, also what workers report of running tasks.
        """

    def submit(self, call: RemoteCall, handles: list[Any], options: TaskOptions) -> Any:
        """Submit a call with these inputs; returns its handle."""

    def watch(self, key: Key, handle: Any) -> None:
        """Tell the client when the task is done."""

    def put(self, key: Key, parcel: Envelope, options: TaskOptions) -> Any:
        """Hand data to the cluster; returns its handle."""

    def find(self, key: Key) -> Any:
        """Return the handle of a key that came inside of an argument."""

    def fetch(self, handles: dict[Key, Any]) -> None:
        """Begin to bring results here, and tell the client of each."""

    def cancel(self, key: Key, handle: Any, force: bool) -> None:
        """Cancel a task; with ``force`` stop it if it runs."""

    def explain(self, key: Key) -> str:
        """Return how a task that is not done stands."""

    def close(self) -> None:
        """Let go of everything, and leave the cluster as it is."""


class ExternalClient:
    """What futures ask; see ``services.client.client.Client``, which does this for our own cluster."""

    leader: Any = None

    def __init__(self, name: str, make_future: Callable[[Key, Any], Any], link: ClusterLink) -> None:
        self.name = self.owner = name  # no other client ever has it
        self.codec = ParcelCodec(Scope(name))
        self.can_stop_tasks = link.can_stop_tasks
        self.closed: BaseException | None = None
        self.closing = False
        self._pid = os.getpid()
        self._make_future = make_future
        self._link = link
        self._numbers = itertools.count(1)
        self._functions = FunctionTable(self.codec.dump_function, self._function_died, self.codec.scope)
        self._function_payloads: dict[str, bytes] = {}
        self._pending: dict[Key, Any] = {}
        self.submitted = 0
        self._handles: dict[Key, Any] = {}
        self._known: weakref.WeakValueDictionary[Key, Any] = weakref.WeakValueDictionary()
        self._dependents: dict[Key, list[Key]] = {}
        self._small: dict[Key, None] = {}  # done, small, and not here yet
        self._fetching: dict[Key, Any] = {}
        self._introduced: dict[Key, Any] = {}
        self._changed = locks.Condition()
        self._ending = locks.RLock()
        self.callbacks = CallbackThread()

    @property
    def forked(self) -> bool:
        """Whether this is a forked copy of the process that the client belongs to."""
        return os.getpid() != self._pid

    # ---------------------------------------------------------------- submitting

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """Submit a call; errors of pickling go to the future.

        Raises
        ------
        ValueError
            When the key is that of another future that is alive.
        """
        parent = submitting_task()
        task = inherit(options.task, parent)
        try:
            function, name, as_argument = self._function(fn)
            if as_argument:
                args = (fn, *args)
            payload, inputs, references = self.codec.dump_call(args, kwargs, options.resolve)
        except Exception as error:
            return self._failed(fn, options.key, error)
        key = options.key
        if key is not None:
            check_free(key, self._known, self._pending)
        elif options.pure:
            key = pure_key(name, function[0], payload, inputs)
            known = find_equal(key, self._known)
            if known is not None:
                return known
        else:
            key = f"{name}-{self.name}-{next(self._numbers)}"
        refusal = find_refusal(references, self)
        if refusal is not None:
            return self._failed(fn, key, refusal)
        future = self._make_future(key, self)
        depth = 0 if parent is None else parent.depth + 1
        carried = {}
        if self._link.carries_handles:
            resolved = set(inputs)
            carried = {r.key: self._handles[r.key] for r in references if r.key not in resolved}
        call = RemoteCall(
            self.name, key, function, Envelope(payload), inputs, carried, depth, task.priority, task.timeout_s
        )  # fmt: skip
        if references:
            future._keepalive = references
            for reference in references:
                other: Any = reference
                if other.cancelled():
                    future._deliver_cancelled()
                    return future
                if not other.done():
                    self._dependents.setdefault(other.key, []).append(key)
        if parent is not None:
            future._parent = parent
            parent.children[key] = None
            parent.host.has_children(parent)
        self._pending[key] = self._known[key] = future
        self.submitted += 1
        try:
            handle = self._handles[key] = self._link.submit(call, [self._handles[one] for one in inputs], task)
        except BaseException:
            self._pending.pop(key, None)
            self._done_with(future)
            raise
        self._link.watch(key, handle)
        return future

    def _function(self, fn: Callable[..., Any]) -> tuple[tuple[str, bytes], str, bool]:
        function_id, name, news, as_argument = self._functions.look_up(fn)
        if news is not None:
            self._function_payloads[function_id] = news[2]
            self._functions.mark_registered(function_id)
        return (function_id, self._function_payloads[function_id]), name, as_argument

    def _function_died(self, function_id: str) -> None:
        self._function_payloads.pop(function_id, None)

    def _failed(self, fn: Callable[..., Any], key: Key | None, error: BaseException) -> Any:
        future = self._make_future(key or f"{function_name(fn)}-{self.name}-{next(self._numbers)}", self)
        future._fail_here(error)
        return future

    def scatter(self, value: Any, options: SubmitOptions) -> Any:
        """Hand data to the cluster."""
        key = options.key
        if key is not None:
            check_free(key, self._known, self._pending)
        else:
            key = f"{type(value).__name__}-{self.name}-{next(self._numbers)}"
        try:
            payload = payloads.dump(value, scope=self.codec.scope)
            parcel = ScatteredEnvelope(payload) if pickle_codec.can_change(value) else Envelope(payload)
        except Exception as error:
            return self._failed(type(value), key, error)
        future = self._make_future(key, self)
        self._known[key] = future
        self._handles[key] = self._link.put(key, parcel, options.task)
        future._deliver_remote([], 0)
        return future

    def introduce(self, handles: dict[Key, Any]) -> None:
        """Remember the handles of keys that are about to arrive in arguments."""
        self._introduced.update(handles)

    def future_of_key(self, key: Key) -> Any:
        """Return a future of a key that came inside of an argument."""
        known = self._known.get(key)
        if known is not None:
            return known
        future = self._make_future(key, self)
        handle = self._introduced.pop(key, None)
        self._handles[key] = self._link.find(key) if handle is None else handle
        self._pending[key] = self._known[key] = future
        self._link.watch(key, self._handles[key])
        return future

    # ---------------------------------------------------------------- told by the link, on its threads

    def finished(self, key: Key, is_small: bool) -> None:
        """Take note that a task is done, with its result on the cluster."""
        future = self._pending.pop(key, None)
        if future is None:
            return
        if is_small:
            self._small[key] = None
        future._deliver_remote([], 0)
        if future._wants_value():
            self.prefetch(future)
        self._settled(future)

    def finished_here(self, key: Key, parcel: Envelope) -> None:
        """Take note that a task is done, with its result."""
        future = self._pending.pop(key, None)
        if future is not None:
            future._deliver_result(parcel)
            self._settled(future)

    def failed(self, key: Key, error: BaseException | bytes) -> None:
        """Take note that a task has failed, by itself or because of the cluster."""
        future = self._pending.pop(key, None)
        if future is None:
            return
        if isinstance(error, bytes):
            future._deliver_error(error)
        else:
            future._fail_here(error)
        self._settled(future)

    def cancelled_there(self, key: Key) -> None:
        """Take note that the cluster has cancelled a task."""
        future = self._pending.pop(key, None)
        if future is not None:
            future._deliver_cancelled()
            self._settled(future)

    def started(self, keys: Iterable[Key]) -> None:
        """Take note that these tasks run."""
        for key in keys:
            future = self._pending.get(key)
            if future is not None:
                future._deliver_running()

    def timed_out(self, keys: Iterable[Key]) -> None:
        """Stop tasks that have been running for too long."""
        for key in keys:
            handle = self._handles.get(key)
            future = self._pending.pop(key, None)
            if future is not None:
                future._fail_here(errors.TaskTimeout(f"{key} ran longer than its timeout"))
                self._cancel_dependents(key)
                if handle is not None and self.can_stop_tasks:
                    self._link.cancel(key, handle, True)
                self._settled(future)

    def _settled(self, future: ClientFuture) -> None:
        self._done_with(future)
        self._dependents.pop(future.key, None)
        with self._changed:
            self._changed.notify_all()
        if self.closing and not self._pending:
            self._end_soon()

    @staticmethod
    def _done_with(future: ClientFuture) -> None:
        parent, future._parent, future._keepalive = future._parent, None, None
        if parent is not None:
            parent.children.pop(future.key, None)

    # ---------------------------------------------------------------- results

    def fetch(self, future: ClientFuture, timeout: float | None) -> None:
        """Bring a result here, and small ones that are done along with it; blocks.

        Raises
        ------
        TimeoutError
            When it takes too long.
        DataLost
            After the end.
        """
        if self.closed is not None:
            raise errors.DataLost(f"the result of {future.key!r} stayed on the cluster, and {self.closed}")
        here = self._begin_fetch(future, MAX_ALONG)
        if not here.wait(timeout):
            raise TimeoutError

    def prefetch(self, future: ClientFuture) -> None:
        """Begin to bring a result here; its callbacks are called then."""
        self._begin_fetch(future, 0)

    def _begin_fetch(self, future: ClientFuture, most_along: int) -> threading.Event:
        wanted = [future]
        with self._changed:
            known = self._fetching.get(future.key)
            if known is not None:
                event: threading.Event = known[1]
                return event
            self._small.pop(future.key, None)
            for key in list(itertools.islice(self._small, most_along)):
                other = self._known.get(key)
                self._small.pop(key, None)
                if other is not None and key not in self._fetching:
                    wanted.append(other)
            handles = {}
            for each in wanted:
                handle = self._handles.get(each.key)
                if handle is not None:
                    handles[each.key] = handle
                    self._fetching[each.key] = (each, threading.Event())
            if future.key not in handles:
                raise errors.DataLost(f"the result of {future.key!r} is gone")
            event = self._fetching[future.key][1]
        self._link.fetch(handles)
        return event

    def arrived(self, key: Key, parcel: Any) -> None:
        """Take a result that was fetched."""
        self._end_fetch(key, lambda future: future._deliver_result(parcel))

    def lost(self, key: Key, error: BaseException | bytes) -> None:
        """Take note that a result will not come."""
        raised = self.codec.load_error(error) if isinstance(error, bytes) else error
        self._end_fetch(key, lambda future: future._fail_here(raised))

    def _end_fetch(self, key: Key, deliver: Callable[[ClientFuture], None]) -> None:
        with self._changed:
            future, event = self._fetching.pop(key, (None, None))
        if future is not None:
            deliver(future)
            event.set()
            with self._changed:
                self._changed.notify_all()
            future._value_is_here()

    # ---------------------------------------------------------------- cancelling and releasing

    def cancelled(self, future: ClientFuture, force: bool) -> None:
        """Cancel all that needs a future that was cancelled."""
        self._pending.pop(future.key, None)
        self._done_with(future)
        handle = self._handles.pop(future.key, None)
        if handle is not None:
            self._link.cancel(future.key, handle, force)
        self._cancel_dependents(future.key)
        self._settled(future)

    def _cancel_dependents(self, key: Key) -> None:
        for dependent in self._dependents.pop(key, ()):
            future = self._pending.pop(dependent, None)
            if future is not None:
                handle = self._handles.pop(dependent, None)
                if handle is not None:
                    self._link.cancel(dependent, handle, False)
                future._deliver_cancelled()
                self._cancel_dependents(dependent)
                self._settled(future)

    def release(self, key: Key, at_once: bool) -> None:
        """Release a key whose last future is gone; ``__del__`` calls it at any time."""
        self._small.pop(key, None)
        self._handles.pop(key, None)

    def pending(self) -> list[Any]:
        """Return the futures that are not done."""
        return list(self._pending.values())

    def count_pending(self) -> int:
        """Return how many futures are not done."""
        return len(self._pending)

    def remember(self, future: ClientFuture) -> None:
        """Keep a future that may be asked for by its key."""
        self._known[future.key] = future

    def explain(self, key: Key) -> str:
        """Return how a task stands."""
        future = self._known.get(key)
        if future is not None and future.done():
            return how_it_ended(future)
        return self._link.explain(key)

    def pending_keys(self) -> list[Key]:
        """Return the keys of futures that are not done, oldest first."""
        return list(self._pending)

    def unfinished(self) -> list[Any]:
        """Return the handles of futures that are not done."""
        return [handle for key in list(self._pending) if (handle := self._handles.get(key)) is not None]

    # ---------------------------------------------------------------- the end

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """Take no more tasks; when all are done, fetch live results, and disconnect."""
        self.closing = True
        if cancel_futures:
            for future in list(self._pending.values()):
                future.cancel()
        if not wait:
            if not self._pending:
                self._end_soon()
            return
        with context.waiting(), self._changed:
            self._changed.wait_for(lambda: not self._pending)
        self._end_if_quiet()
        self.callbacks.join()

    def _end_soon(self) -> None:
        """End on a thread of its own, as a callback may never return."""
        with contextlib.suppress(RuntimeError):  # the interpreter is about to end, and the connection with it
            threading.Thread(target=self._end_if_quiet, name="futures_cluster-end", daemon=True).start()

    def _end_if_quiet(self) -> None:
        with self._ending:  # the end that another thread has begun is waited for
            if not self._pending and self.closed is None:
                self._end()

    def _end(self) -> None:
        for future in list(self._known.values()):
            if future._holders is not None and not future._scattered:
                with contextlib.suppress(errors.DataLost):
                    self._begin_fetch(future, MAX_ALONG)
        with self._changed:
            self._changed.wait_for(lambda: not self._fetching)
        self.close(RuntimeError("the executor was shut down"))

    def close(self, reason: BaseException) -> None:
        """Refuse everything from now on, and fail pending futures with the reason."""
        with self._changed:
            if self.closed is not None:
                return
            self.closed = reason
        for key in list(self._pending):
            self.failed(key, copied(reason))
        for key in list(self._fetching):
            self.lost(key, errors.DataLost(f"the result of {key!r} stayed on the cluster, and {reason}"))
        self._handles.clear()
        self._small.clear()
        self.callbacks.close()
        self._link.close()
