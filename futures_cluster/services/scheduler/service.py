"""The scheduler: carries out what its machine decides.

Covers: links to workers and clients, the clock, routing. Does not cover: deciding (``scheduler.machine``), starting
workers (``local``).

Events come as messages, one after the other, under one lock; the commands that follow are grouped by receiver, so
that one event makes at most one frame for each. Nearly all of it happens on the loop's thread. Only a client in this
process whose task could start at once hands it over on the user's own thread (``handle_locked``), because waking the
loop would cost a third of a round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from futures_cluster import locks
from futures_cluster import messages as m
from futures_cluster.errors import NotSendable
from futures_cluster.messages import Message
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.scheduler.state import State
from futures_cluster.services.common import plugin_runner
from futures_cluster.services.common.loop_thread import call_soon
from futures_cluster.services.common.sending import send_apart
from futures_cluster.services.scheduler.log_relay import LogRelay
from futures_cluster.services.scheduler.module_relay import CodeRelay
from futures_cluster.wire.codec.payloads import segment_of

if TYPE_CHECKING:
    from futures_cluster.services.observe.monitor import ClusterMonitor

log = logging.getLogger("futures_cluster")

#: The machine does not get log records, clients' modules, and data on its way.
_RELAYED = frozenset((m.LogRecords, m.LogSettings, m.ShareCode, m.RelayData, m.Data))
#: Events that concern the set of workers, and what these say of themselves.
_WATCHED = frozenset((m.WorkerConnected, m.WorkerRetiring, m.WorkerReport, m.WorkerGone)) | _RELAYED

Receiver = Callable[[list[Message]], None]


class SchedulerService:
    """A scheduler on a loop.

    Parameters
    ----------
    stop_worker : callable
        ``stop_worker(message)``: end a worker, as a ``StopWorker`` says.
    release : callable
        Takes payloads of this process that no task still needs.
    on_broken : callable
        Called with the error once no further worker can start.
    on_event : callable or None
        Called on the loop when workers have joined, retire or are lost, and with data on its way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stop_worker: Callable[[m.StopWorker], None],
        release: Callable[[Any], None],
        on_broken: Callable[[Any], None],
        on_event: Callable[[Message], None] | None = None,
    ) -> None:
        self.machine = SchedulerMachine(seed=os.urandom(8).hex())
        self.lock = locks.Lock()
        self.workers: dict[str, Receiver] = {}
        self.clients: dict[str, Receiver] = {}
        self.logs = LogRelay(self.machine.state, self.workers, self.clients)
        self.code = CodeRelay(self.workers)
        self._loop = loop
        self._time = loop.time
        self._stop_worker = stop_worker
        self._release = release
        self._on_broken = on_broken
        self._on_event = on_event
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._pids: dict[int, str] = {}
        self._plugins = plugin_runner.watch_of_scheduler()
        self.monitor: ClusterMonitor | None = None  # keeps what workers report, for the page

    def handle(self, messages: Iterable[Message]) -> None:
        """Take messages of one sender, in order."""
        with self.lock:
            self.handle_locked(messages)

    def handle_locked(self, messages: Iterable[Message]) -> None:
        """Take messages; the caller holds ``lock``, and may be on any thread."""
        now, lone = self._time(), self.machine.lone
        for message in messages:
            if self._plugins is not None:
                lone.settle()
                if events := plugin_runner.look(message, self.machine.state):
                    self._plugins.post(events)
            elif (commands := lone.handle(message, now)) is not None:
                self._carry_out(commands)
                continue
            kind = type(message)
            if kind in _WATCHED:
                self._handle_watched(message, now)
            else:
                if kind is m.WorkersBroken:  # first: a thread that sees a future fail finds the executor broken
                    self._on_broken(message.error)  # type: ignore[attr-defined]
                self._drive(message, now)

    def _handle_watched(self, message: Message, now: float) -> None:
        """Take a message about the set of workers, or one to pass on."""
        kind = type(message)
        if kind in _RELAYED:
            self._relay(message)
            return
        if self.monitor is not None:
            self.monitor.on_message(message)  # first: a worker must know of viewers before its tasks
        if type(message) is m.WorkerConnected:
            self.logs.tell(message.worker)
            self.code.joined(message.worker)
        self._drive(message, now)
        if type(message) is m.WorkerConnected:
            self._pids[message.pid] = message.worker
        elif type(message) is m.WorkerGone:
            self.logs.lost(message.worker)
            self.code.lost(message.worker)
        if self._on_event is not None and kind is not m.WorkerReport:
            call_soon(self._loop, self._on_event, message)

    def _drive(self, message: Message, now: float) -> None:
        """Give the machine a message, which may change when it wants to be woken."""
        self._carry_out(self.machine.handle(message, now))
        deadline = self.machine.next_deadline()
        if deadline is not None and (self._timer_at is None or deadline < self._timer_at):
            self._timer_at = deadline
            call_soon(self._loop, self._set_timer)

    def settled(self) -> State:
        """Return the machine's state with complete books, on the loop's thread."""
        with self.lock:
            self.machine.lone.settle()
        return self.machine.state

    @contextlib.contextmanager
    def reading(self) -> Iterator[State]:
        """Lend the machine's state with complete books to any thread, under the lock."""
        with self.lock:
            self.machine.lone.settle()
            yield self.machine.state

    def _relay(self, message: Message) -> None:
        if type(message) is m.LogRecords:
            self.machine.lone.settle()  # records go to the client of their task
            self.logs.pass_on(message)
        elif type(message) is m.LogSettings:
            self.logs.want(message)
        elif type(message) is m.ShareCode:
            self.code.share(message)
        elif self._on_event is not None:
            call_soon(self._loop, self._on_event, message)

    def could_start(self) -> bool:
        """Return whether a task that came now would start at once.

        This is a guess, made without the lock.
        """
        state = self.machine.state
        return bool(state.with_free_slot) and not state.queued and self.machine.lone.running is None

    def _carry_out(self, commands: list[Any]) -> None:
        if len(commands) == 1:
            (command,) = commands
            kind = type(command)
            if kind is m.ToWorker:
                self._send_to_worker(command.worker, [command.message])
                return
            if kind is m.ToClient:
                self._send_to_client(command.client, [command.message])
                return
        to_workers: dict[str, list[Message]] = {}
        to_clients: dict[str, list[Message]] = {}
        for command in commands:
            kind = type(command)
            if kind is m.ToWorker:
                to_workers.setdefault(command.worker, []).append(command.message)
            elif kind is m.ToClient:
                to_clients.setdefault(command.client, []).append(command.message)
            elif kind is m.PayloadsFreed:
                self._free(command.payloads)
            else:
                call_soon(self._loop, self._stop_worker, command)
        for name, messages in to_workers.items():
            self._send_to_worker(name, messages)
        for name, messages in to_clients.items():
            self._send_to_client(name, messages)

    def _send_to_worker(self, name: str, messages: list[Message]) -> None:
        send = self.workers.get(name)
        if send is not None:
            try:
                send(messages)
            except NotSendable:
                failed: list[m.FailedRow] = []
                send_apart(send, messages, lambda part, error: failed.extend(_failures(part, error, name)))
                if failed:
                    self._carry_out(self.machine.handle(m.TasksFinished(name, [], failed), self._loop.time()))

    def _send_to_client(self, name: str, messages: list[Message]) -> None:
        send = self.clients.get(name) or self.workers.get(name)  # tasks submit as the client of their worker
        if send is not None:
            try:
                send(messages)
            except NotSendable:
                send_apart(send, messages, lambda part, error: send(_in_its_place(part, error, name)))

    def _free(self, payloads: list[m.Payload]) -> None:
        """Free payloads in shared memory that no task will read again.

        The service tells the process that wrote each of them.
        """
        for payload in payloads:
            segment = segment_of(payload)
            if segment is None:
                continue
            pid, serial = segment
            if pid == os.getpid():
                self._release(payload)
            else:
                send = self.workers.get(self._pids.get(pid, ""))
                if send is not None:
                    send([m.SegmentsMapped([serial])])

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._timer_at is not None:
            self._timer = self._loop.call_at(self._timer_at, self._tick)

    def _tick(self) -> None:
        with self.lock:  # under which others compare their deadlines with the timer's
            self._timer = self._timer_at = None
            self.handle_locked([m.Tick()])

    def watch(self, plugin: plugin_runner.SchedulerPlugin) -> None:
        """Tell a plugin what happens from now on."""
        with self.lock:
            if self._plugins is None:
                self._plugins = plugin_runner.PluginRunner()
            self._plugins.add(plugin)

    def close(self) -> None:
        """Stop the clock.

        The thread of plugins still tells them the rest.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._plugins is not None:
            self._plugins.close()

    def join_plugins(self) -> None:
        """Wait until plugins have the rest, after ``close``."""
        if self._plugins is not None:
            self._plugins.join()


def _failures(part: Message, error: NotSendable, worker: str) -> list[m.FailedRow]:
    """Make the answer to runs that cannot be sent: rows of ``TasksFinished``.

    The worker would have sent it, had it got them.
    """
    if type(part) is not m.RunTasks or not part.runs:
        log.error("a message cannot be sent to worker %s: %s", worker, error)
        return []
    return [(key, attempt, _unsendable(key, error), 0.0) for key, attempt, *_ in part.runs]


def _in_its_place(part: Message, error: NotSendable, client: str) -> list[Message]:
    """Make what a client gets instead of ends of tasks that cannot be sent."""
    if type(part) is not m.TasksDone:
        log.error("a message cannot be sent to client %s: %s", client, error)
        return []
    return [m.TasksDone([(key, m.FAILED, _unsendable(key, error), 0, []) for key, *_ in part.done])]


def _unsendable(key: str, error: NotSendable) -> dict[str, str]:
    return {"kind": "NotSendable", "text": f"task {key}: {error}"}
