"""The messages between a client and its scheduler.

Covers: sending what users' threads hand over, the futures that are not done, delivering their results and errors, the
oldest wait. Does not cover: what is sent (``client``), where the scheduler is: ``transmit`` hands messages to it,
``deliver`` takes its messages; when a wait speaks (``wait_watch``), and what it says (``remote_cluster``, ``cluster``).

Users' threads add to a mailbox, which wakes the loop once a burst. A task that could start at once is sent on the
user's own thread instead, if the lock of its receiver is free. ``deliver`` is called under that lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from futures_cluster import messages as m
from futures_cluster.errors import NotSendable
from futures_cluster.messages import CANCELLED, FAILED, Key, Payload
from futures_cluster.services.client.batching import pack
from futures_cluster.services.client.call_preparation import check_shareable, key_owner
from futures_cluster.services.client.callback_thread import CallbackThread
from futures_cluster.services.client.fetching import Fetching
from futures_cluster.services.client.function_table import FunctionTable
from futures_cluster.services.client.log_receiver import LogReceiver
from futures_cluster.services.client.read_ahead import ReadAhead
from futures_cluster.services.client.shared_objects import SharedObjectClient
from futures_cluster.services.common.log_settings import LogSettingsWatch
from futures_cluster.services.common.loop_thread import Mailbox
from futures_cluster.services.common.peers import Peers
from futures_cluster.services.common.protocols import ClientFuture
from futures_cluster.services.common.sending import send_apart
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.wire.codec.pickle_codec import PickleCodec

if TYPE_CHECKING:
    from futures_cluster.services.client.wait_watch import WaitWatch

log = logging.getLogger("futures_cluster")

#: Tasks handed to the scheduler before the loop looks at its sockets again.
MAX_AT_ONCE = 2000


class ClientMessages:
    """The part of ``Client`` that has its state, sends and delivers.

    Parameters
    ----------
    name : str
        Unique among the clients of the scheduler.
    codec : PickleCodec
        Shared with the workers.
    make_future : callable
        ``make_future(key, client)``.
    loop : asyncio.AbstractEventLoop
        Where ``transmit`` and ``deliver`` are called.
    transmit : callable
        Takes a list of messages for the scheduler; called under ``lock``.
    lock : threading.Lock
        Guards the way to the scheduler.
    send_now : callable
        Whether a task is worth sending on the user's thread.
    incarnation : str
        Tells this client from others that had its name before: keys contain both, so none ever comes again. May be
        empty if the name is never used twice with one scheduler.
    """

    def __init__(
        self,
        name: str,
        codec: PickleCodec,
        make_future: Callable[[Key, Any], Any],
        loop: asyncio.AbstractEventLoop,
        transmit: Callable[[list[m.Message]], None],
        peers: Peers,
        lock: threading.Lock,
        send_now: Callable[[], bool],
        incarnation: str = "",
    ) -> None:
        self.name = name
        self.owner = key_owner(name, incarnation)
        self.codec = codec
        self.lock = lock
        self.joined = False  # the scheduler has been told of this client
        self.closed: BaseException | None = None  # set once the client no longer submits or fetches
        self.broken: BaseException | None = None
        self.forked = False  # this is a forked copy of the process that the client belongs to
        self.can_stop_tasks = True
        self.submitted = 0  # tasks, for people
        #: Called before a thread waits: sees that what comes is read, by the loop if no other thread does.
        self.about_to_wait: Callable[[], None] = lambda: None
        self.leader: Any = None  # lets a thread that waits read for itself, where that is possible
        self.log_settings: LogSettingsWatch | None = None  # where workers' log records come to this client
        self.logs: LogReceiver | None = None
        self.watch: WaitWatch | None = None  # of a program: tasks on workers leave it to theirs
        self._make_future = make_future
        self._loop = loop
        self._transmit = transmit
        self._send_now = send_now
        self._mailbox = Mailbox(loop, self._send_items, lock)
        self._untold_releases = 0
        self._pending: dict[Key, Any] = {}
        self._known: weakref.WeakValueDictionary[Key, Any] = weakref.WeakValueDictionary()  # pure, remote, by name
        self._idle: asyncio.Event | None = None  # of the end: set once nothing is pending
        self._ahead = ReadAhead(self._known)
        self._fetching = Fetching(loop, peers, self._report_missing, codec.load_error, self._ahead)
        self._waits_for_workers: str | None = None
        self.shared = SharedObjectClient(self)
        self.functions = FunctionTable(codec.dump_function, self._function_died, codec.scope)
        self.callbacks = CallbackThread()

    # ---------------------------------------------------------------- to the scheduler

    def send(self, message: m.Message) -> None:
        """Hand a message over, on the caller's thread if possible.

        It is possible if no other thread is handing messages over; else the loop sends it.
        """
        mailbox = self._mailbox
        # After all that this thread has posted: it is gone from there, and its receiver does not hold the lock.
        if not (self.joined and not mailbox.items and self.closed is None and self._transmit_now([message])):
            mailbox.post(message)

    def _transmit_now(self, messages: list[m.Message]) -> bool:
        """Hand messages over on the user's thread, or return False.

        False if another thread is handing messages over. Ctrl-C does not interrupt the handing over.
        """
        with DeferredSignals():
            if not self.lock.acquire(False):
                return False
            try:
                self._transmit_behind_news(messages)
            finally:
                self.lock.release()
        return True

    def send_sync(self, messages: list[m.Message]) -> None:
        """Send messages before anything that is submitted later; waits for the lock."""
        with self.lock:
            self._transmit(messages)

    def flush(self) -> None:
        """Send what waits for the loop now: before this thread says that it waits for it."""
        if self._mailbox.items:
            with DeferredSignals(), self.lock:
                while self._send_items(self._mailbox.items):
                    pass

    def _send_items(self, items: deque[Any]) -> bool:
        """Send what users' threads left in one turn; return whether there is more."""
        messages = pack(self.name, items, MAX_AT_ONCE)
        if messages and self.closed is None:
            self._transmit_behind_news(messages)
        return bool(items)

    def _transmit_behind_news(self, messages: list[m.Message]) -> None:
        """Send messages, after the levels of logging if these have changed.

        All that a thread waits for goes this way, so the watch of waits begins here.
        """
        if self.log_settings is not None and (news := self.log_settings.news()) is not None:
            messages = [news, *messages]
        self.begin_wait()
        try:
            self._transmit(messages)
        except NotSendable:
            send_apart(self._transmit, messages, self._unsendable)

    def _unsendable(self, message: Any, error: NotSendable) -> None:
        """Fail what was to come of a message that cannot be sent."""
        payload = self.codec.dump_error(error)
        if type(message) is m.SubmitTasks:
            keys = [row[0] for row in message.tasks] if message.wanted is None else message.wanted
            self.deliver([m.TasksDone([(key, FAILED, payload, 0, []) for key in keys])])
        elif type(message) is m.AskShared:
            self.deliver([m.SharedReply(message.request, [], payload)])
        else:
            log.error("a message cannot be sent to the scheduler: %s", error)

    def _report_missing(self, key: Key, worker: str) -> None:
        with self.lock:
            self._transmit_behind_news([m.ReportMissing(self.name, [(key, worker)])])

    def _function_died(self, function_id: str) -> None:
        self._mailbox.post(m.ReleaseFunctions(self.name, [function_id]))

    def forward_logs(self, everything: bool, filters: bool) -> m.LogSettings:
        """Get workers' log records from now on; return the message that asks."""
        self.log_settings = LogSettingsWatch(self.name, everything, filters)
        self.logs = LogReceiver()
        return self.log_settings.current

    # ---------------------------------------------------------------- for shared objects

    def futures_of_keys(self, keys: list[Key]) -> dict[Key, Any]:
        """Return futures of keys that came out of a shared object.

        Later messages of this client reach the scheduler after those of this call.
        """
        futures = {}
        rows: list[m.TaskRow] = []
        for key in keys:
            future = self._known.get(key) or self._pending.get(key)
            if future is None:
                future = self._make_future(key, self)
                self._pending[key] = self._known[key] = future
                rows.append((key, "", None, []))
            futures[key] = future
        if rows:
            self._mailbox.post(m.SubmitTasks(self.name, rows))
        return futures

    def share(self, future: ClientFuture) -> None:
        """Note that a future goes into a shared object; see ``check_shareable``."""
        check_shareable(future, self)
        self._known[future.key] = future

    # ---------------------------------------------------------------- what is waited for

    def begin_wait(self) -> None:
        """Take note that the client waits for something from now on."""
        if self.watch is not None and not self.watch.is_armed:
            self.watch.arm()

    @contextlib.contextmanager
    def waiting_for_workers(self, what: str) -> Iterator[None]:
        """Warn meanwhile of silent workers, for all that waits for them."""
        self._waits_for_workers = what
        self.begin_wait()
        try:
            yield
        finally:
            self._waits_for_workers = None

    def what_waits(self, worker: str) -> str | None:
        """Return what waits for a silent worker without a task of this client."""
        key = self._fetching.asked_of(worker)
        return f"the result of {key}" if key is not None else self._waits_for_workers

    def oldest_wait(self) -> str | None:
        """Return the longest wait: for a future, a lost result, or a shared object."""
        while True:
            try:
                return (
                    next(iter(self._pending), None)
                    or self._fetching.oldest_wait()
                    or self.shared.oldest_wait()
                    or self._waits_for_workers
                )
            except RuntimeError:  # another thread has changed it between the two steps
                continue

    # ---------------------------------------------------------------- from the scheduler

    def deliver(self, messages: Iterable[m.Message]) -> None:
        """Take messages from the scheduler."""
        for message in messages:
            kind = type(message)
            if kind is m.TasksDone:
                self._tasks_done(message.done)  # type: ignore[attr-defined]
            elif kind is m.TasksRunning or kind is m.TasksWaiting:
                for key in message.keys:  # type: ignore[attr-defined]
                    future = self._pending.get(key)
                    if type(future) is weakref.ref:
                        future = future()
                    if future is not None:
                        future._deliver_running(kind is m.TasksRunning)
            elif kind is m.SharedReply:
                self.shared.deliver(message)  # type: ignore[arg-type]
            elif kind is m.LogRecords and self.logs is not None:
                self.logs.deliver(message)  # type: ignore[arg-type]
        if self._idle is not None:
            self._check_idle()

    def _tasks_done(self, rows: list[m.DoneRow]) -> None:
        pending = self._pending
        for key, status, payload, size_bytes, holders in rows:
            future = pending.pop(key, None)
            if type(future) is weakref.ref:  # of a graph
                future = future()
            if future is None:
                self._on_result_changed(key, status, payload, size_bytes, holders)
                continue
            if future._parent is not None or future._keepalive is not None:
                self._done_with(future)
            if status == FAILED:
                future._deliver_error(payload)
            elif status == CANCELLED:
                future._deliver_cancelled()
            elif payload is None:
                self._known[key] = future
                self._ahead.add(key, size_bytes)
                future._deliver_remote(holders, size_bytes)
                if future._wants_value():
                    self.prefetch(future)
            else:
                future._deliver_result(payload)

    def _on_result_changed(
        self, key: Key, status: str, payload: Payload, size_bytes: int, holders: Sequence[m.Holder]
    ) -> None:
        """Take news of a finished task.

        It was lost and ran again, or its result is elsewhere now.
        """
        future = self._known.get(key)
        if future is not None and future._holders is not None:  # else its value is here, whatever becomes of the copies
            if status == FAILED:
                future._deliver_error(payload)
            elif payload is None:
                future._deliver_remote(holders, size_bytes)
            else:
                future._deliver_result(payload)
        self._fetching.result_changed(key)

    def prefetch(self, future: ClientFuture) -> None:
        """Start to fetch a result, from any thread; callbacks run when it is here."""
        self._fetching.prefetch(future)

    def _done_with(self, future: ClientFuture) -> None:
        future._keepalive = None
        if future._parent is not None:
            future._parent.children.pop(future.key, None)
            future._parent = None

    def _check_idle(self) -> None:
        if self._idle is not None and not self._pending:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._idle.set)
