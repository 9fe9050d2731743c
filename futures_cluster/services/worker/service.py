"""A worker: carries out the commands of its machine (``worker.machine``).

Covers: the threads that execute tasks (``slots``), reporting their ends, fetching inputs, lending the slots of tasks
that wait. Does not cover: the call of a function (``execution``), serving data to peers (``data_server``), the process
(``process``) and how it is started (``services.launch``).

Two kinds of thread drive the machine, under one lock: that of the loop, which reads messages, and those of slots. A
thread that has ended a run takes the next one from the machine, and sends the report itself if there is none: a short
task costs no switch of threads. While a long one runs, a timer on the loop reports the runs that ended before it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, context, metrics
from futures_cluster import messages as m
from futures_cluster.errors import NotSendable
from futures_cluster.messages import Message
from futures_cluster.services.common import daemons, forks, plugin_runner
from futures_cluster.services.common.memory import SPILL_FRACTION
from futures_cluster.services.common.peers import PeerLost, Peers
from futures_cluster.services.common.sending import send_apart
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.services.common.ticker import Ticker
from futures_cluster.services.common.worker_settings import WorkerSettings
from futures_cluster.services.worker.execution import Executions
from futures_cluster.services.worker.slots import MainSlot, Slot
from futures_cluster.services.worker.stats import WorkerStats
from futures_cluster.services.worker.store import Store
from futures_cluster.wire.codec import payloads, shm
from futures_cluster.worker.machine import WorkerMachine
from futures_cluster.worker.runs import Run

if TYPE_CHECKING:
    from futures_cluster.services.worker.log_forwarder import LogForwarder
    from futures_cluster.services.worker.reporter import WorkerReporter
    from futures_cluster.services.worker.task_stream import TaskStreamRecorder

log = logging.getLogger("futures_cluster.worker")

#: Seconds that results of short runs wait for others, to share a message.
FLUSH_S = 0.004
#: Seconds for which the timer goes on after the last message.
IDLE_TIMEOUT_S = 0.05


class WorkerService:
    """One worker.

    Parameters
    ----------
    settings : WorkerSettings
        What concerns the process in them is not looked at.
    codec : PickleCodec
        Codec of functions, arguments and results.
    loop : asyncio.AbstractEventLoop
        Loop that fetches data, and calls ``receive`` unless the main slot reads messages.
    send : callable
        ``send(messages)`` sends messages to the scheduler; any thread may call it.
    executor : callable
        ``executor()``: the executor with which tasks submit others.
    record : callable or None
        ``record(slot, serial)`` notes which run a slot executes, 0 for none, where it outlives the process: so the
        scheduler learns which tasks a worker executed when it died.
    pool : SegmentPool or None
        Segments for data that peers on this host fetch.

    Attributes
    ----------
    machine : WorkerMachine
        Makes all decisions; other objects may read it under ``machine_lock``.
    is_stopping : bool
        Whether the process is about to end: what fails from now on may fail for that reason.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        codec: Any,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[list[Message]], None],
        executor: Callable[[], Any],
        record: Callable[[int, int], None] | None = None,
        pool: shm.SegmentPool | None = None,
    ) -> None:
        self.machine = WorkerMachine(settings.name, settings.slots, settings.most_runs)
        self.machine_lock = threading.Lock()
        self.memory_limit = memory_limit = settings.memory_limit
        self.store = Store(codec, None if memory_limit is None else int(memory_limit * SPILL_FRACTION), pool)
        self.store.folder = settings.folder
        self.executions = Executions(codec, self.store, memory_limit is not None)
        if settings.debug:
            from futures_cluster.services.worker.input_checks import CheckedExecutions

            self.executions = CheckedExecutions(codec, self.store, memory_limit is not None)
        self.peers = Peers(loop, settings.security)
        self.codec = codec
        self.pool = pool
        self.loop = loop
        self.tell = send
        self.executor = executor  # see ``context.TaskHost``
        self._record = record
        self._idle: list[Slot] = []
        self.slots: list[Slot] = []
        self._tasks: dict[tuple[str, int], context.TaskContext] = {}
        self._parents: dict[context.TaskContext, context.IdleLooks] = {}  # have unfinished children
        self._main: MainSlot | None = None
        self.being_sent_bytes: Callable[[], int] = lambda: 0  # of results on their way to peers
        self.before_waiting: Callable[[], None] = lambda: None  # sends what a task has submitted
        self._last_flush = 0.0
        self._last_message = 0.0
        self._ticker = Ticker(loop, FLUSH_S, self._tick)
        self.is_stopping = False
        self._plugins: plugin_runner.PluginRunner | None = None
        self.stats = WorkerStats()
        self._reporter: WorkerReporter | None = None  # from the first ``Observe`` on
        self.recorder: TaskStreamRecorder | None = None  # while the page has a viewer
        self.logs: LogForwarder | None = None  # from the first client on that wants them
        self.store.on_spill = self._note_spill
        self.executions.on_failure = self.stats.add_failure

    # ---------------------------------------------------------------- the loop's thread

    def receive(self, messages: list[Message]) -> None:
        """Handle messages of the scheduler; one thread at a time may call this."""
        for message in messages:
            kind = type(message)
            if kind is m.RunTasks:
                for function_id, name, payload in message.functions:  # type: ignore[attr-defined]
                    self.executions.register(function_id, payload)
                    self.stats.names[function_id] = name
            elif kind is m.ForgetFunctions:
                self.executions.forget(message.functions)  # type: ignore[attr-defined]
                for function_id in message.functions:  # type: ignore[attr-defined]
                    self.stats.names.pop(function_id, None)
                continue
            elif kind is m.Observe:
                self._report_as(message)  # type: ignore[arg-type]
                continue
            with self.machine_lock:
                self._carry_out(self.machine.handle(message, clocks.monotonic()), None, starts_timer=False)
        self._start_ticking()

    def _start_ticking(self) -> None:
        self._last_message = clocks.monotonic()
        self._ticker.start()

    def _tick(self) -> bool:
        """Report ended runs, lend slots of tasks that wait; return whether to go on."""
        main, waited = self._main, False
        if main is not None:
            # A main slot that executes short tasks reads between them: the loop would wake up for nothing.
            waited, main.has_waited = main.has_waited, False
            if main.waits or not waited:
                main.connection.watch(not main.waits)
        with self.machine_lock:
            machine = self.machine
            if machine.has_unreported:
                self._flush(clocks.monotonic())
            self._lend_slots()
            busy = waited or len(machine.ready) > 0 or machine.has_unreported or bool(self._parents)
            # To stop and restart for each message would cost more than some idle ticks.
            recent = clocks.monotonic() - self._last_message < IDLE_TIMEOUT_S
            return (busy or recent) and not self.is_stopping

    # ---------------------------------------------------------------- commands of the machine

    def _carry_out(self, commands: list[Any], slot: Slot | None, starts_timer: bool = True) -> Run | None:
        """Carry out commands, under the lock.

        Parameters
        ----------
        commands : list
            Commands of the machine.
        slot : Slot or None
            The slot whose thread calls this, if it can execute a run.
        starts_timer : bool
            Whether the timer must run if there is a run to execute. ``receive`` starts it in any case.

        Returns
        -------
        Run or None
            The run for the calling slot.
        """
        mine: Run | None = None
        messages: list[Message] = []
        for command in commands:
            kind = type(command)
            if kind is m.ExecuteRuns:
                for run in command.runs:
                    if slot is not None and mine is None:
                        mine = run
                    else:
                        self._take_idle_slot().give(run)
                if starts_timer and (mine is None or not self._ticker.runs):
                    # Inputs have arrived or a slot was lent: no message of the scheduler has started the timer, which
                    # lets the loop read while the main thread executes.
                    self._start_ticking()
            elif kind is m.FetchData:
                self.loop.call_soon_threadsafe(self._start_fetch, command)
            elif kind is m.DropData:
                self.store.drop(command.keys)
            else:
                messages.append(command)
        if messages:
            if self.logs is not None and self.logs.rows:
                messages = [*self.logs.take(), *messages]  # a task's records before the message that it has ended
            try:
                self.tell(messages)
            except NotSendable:
                send_apart(self.tell, messages, self._unsendable)
        return mine

    def handle(self, event: Message) -> None:
        """Have the machine handle an event of this process; from any thread."""
        with self.machine_lock:
            self._carry_out(self.machine.handle(event, clocks.monotonic()), None)

    def _flush(self, now: float) -> None:
        self._last_flush = now
        self._carry_out(self.machine.handle(m.Tick(), now), None)

    def _unsendable(self, message: Any, error: NotSendable) -> None:
        """Fail the runs whose ends cannot be sent."""
        if type(message) is not m.TasksFinished:
            log.error("a message cannot be sent to the scheduler: %s", error)
            return
        payload = self.codec.dump_error(error)
        rows = message.finished + message.failed
        failed = [(key, attempt, payload, duration_s) for key, attempt, *_, duration_s in rows]
        self.tell([m.TasksFinished(message.worker, [], failed)])

    def send_logs(self, is_last: bool = False) -> None:
        """Send log records that wait."""
        with self.machine_lock:
            if self.logs is not None and (messages := self.logs.take(is_last)):
                self.tell(messages)

    # ---------------------------------------------------------------- inputs

    def _start_fetch(self, command: m.FetchData) -> None:
        self.loop.create_task(self._fetch(command))

    async def _fetch(self, command: m.FetchData) -> None:
        duration_s = 0.0
        try:
            if not command.address:
                raise PeerLost("no worker holds it")
            start = clocks.perf_counter()
            data = await self.peers.get_data(command.address, command.keys)
            duration_s = clocks.perf_counter() - start
        except PeerLost:
            data = m.Data(0, [], command.keys)
        except Exception as error:  # runs that need the data fail with it, and do not wait forever
            payload = self.codec.dump_error(error)
            data = m.Data(0, [], [], [(key, payload) for key in command.keys])
        arrived = []
        for key, payload in data.found:
            self.store.put_payload(key, payload)
            arrived.append((key, payloads.payload_size(payload)))
        for key, payload in data.errors:
            self.store.put_error(key, payload)
            arrived.append((key, 0))
        if arrived:
            keys, size_bytes = tuple(key for key, _ in arrived), sum(size for _, size in arrived)
            self.stats.add_received(command.holder, size_bytes, duration_s)
            if self.recorder is not None:
                self.recorder.fetched(command.holder, keys, size_bytes, duration_s)
            if self._plugins is not None:
                self._plugins.post([plugin_runner.DataFetched(keys, self.name, command.holder, size_bytes)])
        self.handle(m.FetchEnded(command.holder, arrived, list(data.missing), duration_s))

    # ---------------------------------------------------------------- slots

    def _take_idle_slot(self) -> Slot:
        """Return an idle slot, or start one."""
        if self._idle:
            return self._idle.pop()
        slot = Slot(len(self.slots))
        self.slots.append(slot)
        name = f"futures_cluster-slot_{slot.index}"
        threading.Thread(target=self.run_slot, args=(slot,), name=name, daemon=True).start()
        return slot

    def add_main_slot(self, connection: Any) -> Slot:
        """Return the slot of the calling thread, which then calls ``run_slot``.

        While it waits for runs, it reads the connection to the scheduler; without a descriptor only the loop does.
        """
        slot = Slot(len(self.slots))
        if connection.fileno() is None:
            self.loop.call_soon_threadsafe(connection.start)
        else:
            slot = self._main = MainSlot(slot.index, connection)
        self.slots.append(slot)
        self._idle.append(slot)
        return slot

    def run_slot(self, slot: Slot) -> None:
        """Execute runs until None comes; the body of a slot's thread."""
        daemons.start_no_daemons()
        plugin_runner.local.add = self.watch
        forks_before = forks.count
        executions, record = self.executions, self._record
        while True:
            run = slot.take()
            if run is None:
                return
            while run is not None:
                if record is not None:
                    record(slot.index, run.priority[2])
                task = context.TaskContext(self, run.key, run.attempt, -run.priority[1], -run.priority[0])
                self._tasks[run.key, run.attempt] = slot.task = task
                if self._plugins is not None:
                    self._plugins.post([plugin_runner.RunStarted(run.key, self.machine.name)])
                finished, failed = executions.execute(run, task)
                if forks.count != forks_before:  # while the result was pickled
                    forks.leave()
                run = self._end_run(slot, run, finished, failed)
                del finished, failed, task
            try:
                sys.stdout.flush()
            except Exception:  # a task may have put anything there
                pass

    def _end_run(self, slot: Slot, run: Run, finished: Any, failed: Any) -> Run | None:
        """Report the end of a run; return the next one for this thread."""
        now = clocks.monotonic()
        del self._tasks[run.key, run.attempt]
        if self._plugins is not None or self.recorder is not None:
            self._note_end(slot, run, finished, failed)
        rows = [finished] if finished is not None else [], [failed] if failed is not None else []
        with self.machine_lock:
            following = self._carry_out(self.machine.handle(m.RunsEnded(*rows, True), now), slot)
            if following is None:
                self._last_flush = now
                slot.task = None
                self._idle.append(slot)
                if self._record is not None:  # after the scheduler was told of the end
                    self._record(slot.index, 0)
            elif now - self._last_flush > FLUSH_S:
                self._flush(now)
        return following

    def _note_end(self, slot: Slot, run: Run, finished: Any, failed: Any) -> None:
        """Tell plugins and the status page of the end of a run."""
        has_failed = finished is None
        *_, size_bytes, duration_s = (0, failed[-1]) if has_failed else finished
        if self._plugins is not None:
            self._plugins.post([plugin_runner.RunEnded(run.key, self.name, has_failed, duration_s, size_bytes)])
        if (recorder := self.recorder) is not None:
            recorder.ended(slot.index, run.function, run.key, duration_s, size_bytes, has_failed)

    def _note_spill(self, key: str, size_bytes: int, duration_s: float) -> None:
        metrics.record("spill", duration_s)
        metrics.count("spilled_bytes", size_bytes)
        if (recorder := self.recorder) is not None:
            recorder.spilled(key, size_bytes, duration_s)

    def stop(self) -> None:
        """End the threads of all slots after their present runs."""
        self.is_stopping = True
        if self._reporter is not None:
            self._reporter.close()
        for slot in self.slots:
            slot.give(None)

    # ---------------------------------------------------------------- reports and plugins

    def _report_as(self, request: m.Observe) -> None:
        """Report as the scheduler asks; see ``reporter``."""
        if self._reporter is None:
            from futures_cluster.services.worker.reporter import WorkerReporter

            self._reporter = WorkerReporter(self, self.loop)
            if self.is_stopping:  # ``stop`` has not seen this reporter
                self._reporter.close()
        self._reporter.observe(request)

    def executing_threads(self) -> list[int]:
        """Return the identities of the threads that execute tasks."""
        return [task.thread for task in list(self._tasks.values())]

    def watch(self, plugin: plugin_runner.WorkerPlugin) -> None:
        """Call a plugin for all events from now on."""
        with self.machine_lock:
            if self._plugins is None:
                self._plugins = plugin_runner.PluginRunner()
            self._plugins.add(plugin)

    def end_plugins(self) -> None:
        """Close the plugins after their last event, and wait for that."""
        if self._plugins is not None:
            self._plugins.close()
            self._plugins.join()

    # ---------------------------------------------------------------- for the process

    @property
    def name(self) -> str:
        """Name of the worker."""
        return self.machine.name

    def retire(self) -> None:
        """Take no more tasks; the loop calls this."""
        self.receive([m.Retire()])

    def spill(self) -> None:
        """Spill results, if they take too much memory."""
        self.store.spill_if_full()

    def runs_tasks(self) -> bool:
        """Return whether a task runs."""
        return bool(self._tasks)

    def pickling_bytes(self) -> int:
        """Return the bytes of the results that are being pickled, spilled or sent."""
        return self.executions.pickling_bytes() + self.store.spilling_bytes + self.being_sent_bytes()

    # ---------------------------------------------------------------- for tasks

    def task_waits(self, task: context.TaskContext, waits: bool) -> None:
        """See ``context.TaskHost``."""
        if waits:
            self.before_waiting()
        with DeferredSignals(), self.machine_lock:
            self._set_waits(task, waits)

    def _set_waits(self, task: context.TaskContext, waits: bool) -> None:
        event = m.RunWaits(task.key, task.attempt, waits)
        self._carry_out(self.machine.handle(event, clocks.monotonic()), None)

    def _lend_slots(self) -> None:
        """Lend the slots of tasks that have submitted others and use no processor time.

        ``Future.result`` and ``as_completed`` say that they wait. Such a task waits by a call that is not ours
        (``concurrent.futures.wait``).
        """
        for task, looks in self._parents.copy().items():  # tasks add to it in their own threads
            is_running = (task.key, task.attempt) in self._tasks
            if not is_running or not task.children:
                del self._parents[task]
                if is_running and task.children:  # it has submitted one just now
                    self._parents[task] = context.IdleLooks()
                elif is_running and not task.waiting:
                    self._set_waits(task, False)
                continue
            used = clocks.thread_time(task.thread)
            if used is not None and not task.waiting:
                self._set_waits(task, looks.waits(used, FLUSH_S))

    def has_children(self, task: context.TaskContext) -> None:
        """See ``context.TaskHost``."""
        if task not in self._parents:
            self._parents[task] = context.IdleLooks()
        self._start_ticking()
