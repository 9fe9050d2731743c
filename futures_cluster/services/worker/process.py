"""The program of a worker process: from its sockets to a ``WorkerService``, until its end.

Covers: the initializer, the loop's thread, the way to the scheduler, the client for tasks that submit.
Does not cover: how the process came to be (``fork_server_main``, or a multiprocessing context in ``launchers``), what
any process needs at its start and its end (``bootstrap``), serving data (``data_server``).

Tasks run on the main thread, because signals, GUIs and MPI need it; the loop is on another. The socket pair that the
process is born with leads to its parent, which started it. In a program of its own the parent is the scheduler as well;
to a scheduler elsewhere (``WorkerSettings.scheduler``) the process has a second connection. When either ends, the
process ends at once, because no process could use its results. The parent may start another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from futures_cluster import context, late, pool_errors
from futures_cluster import messages as m
from futures_cluster.clocks import monotonic, sleep
from futures_cluster.errors import AuthenticationError
from futures_cluster.services.client.client import Client
from futures_cluster.services.common import (
    forks,
    log_tail,
    plugin_runner,
    process_lifetime,
    security,
    system_limits,
)
from futures_cluster.services.common.crash_journal import CrashJournal
from futures_cluster.services.common.heartbeats import Heartbeats
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.services.common.memory import MemoryMonitor, kept_segments_bytes, resident_bytes
from futures_cluster.services.common.modules import loaded
from futures_cluster.services.common.worker_settings import LOST_CODE, WorkerSettings
from futures_cluster.services.worker import bootstrap, borrowed_tracker, import_hooks
from futures_cluster.services.worker.data_server import DataServer
from futures_cluster.services.worker.log_forwarder import LogForwarder
from futures_cluster.services.worker.service import WorkerService
from futures_cluster.services.worker.slots import Disconnected
from futures_cluster.services.worker.uploaded_modules import ClientModules
from futures_cluster.wire.codec import pickle_codec, pickling, programs, shm
from futures_cluster.wire.codec.main_modules import mains
from futures_cluster.wire.transports import registry, sockets
from futures_cluster.wire.transports.local_sockets import Socket

log = logging.getLogger("futures_cluster.worker")

#: How a worker ends that the scheduler refuses.
REFUSED_CODE = 78
#: Maximum time in which a worker that ends sends its last log records.
LAST_LOGS_S = 3.0
#: What a worker hands to the client of its tasks.
FOR_CLIENTS = frozenset((m.TasksDone, m.TasksRunning, m.TasksWaiting, m.TasksRecomputing, m.SharedReply))


class StartFailed(Exception):
    """The worker cannot listen, or does not reach its scheduler; in a sentence, of which a traceback tells no more."""


def main(settings: WorkerSettings, fds: list[int], initializer: Any = None, initargs: tuple[Any, ...] = ()) -> None:
    """Run a worker until it gets the order to stop; never returns.

    Parameters
    ----------
    fds : list of int
        The connection to the parent, the pipe for stderr, the door of the resource tracker, and perhaps the
        black box.
    """
    code = 1
    process: WorkerProcess | None = None
    try:
        connection_fd, stderr_fd, tracker_fd, *crash_journal_fd = fds
        bootstrap.set_up_process(settings, stderr_fd)
        borrowed_tracker.borrow(tracker_fd)
        crash_journal = CrashJournal(*crash_journal_fd) if crash_journal_fd else None
        process = WorkerProcess(settings, Socket(fileno=connection_fd), crash_journal)
        process.run(initializer, initargs)
        code = 0
    except StartFailed as error:
        print(f"worker {settings.name}: {error}", file=sys.stderr, flush=True)
    except BaseException:
        traceback.print_exc()
    finally:
        # The last logs go after the end of threads and exit functions, with what these have logged.
        bootstrap.end_process(code, None if process is None else process.send_last_logs)


def _running_client() -> str:
    """Return the client whose function this thread runs; "" if there is only one."""
    program = mains.running()
    return "" if program is None else program.token_for("").partition(":")[2]


class WorkerProcess:
    """The parts of a worker process and how they hang together."""

    def __init__(self, settings: WorkerSettings, connection: socket.socket, crash_journal: CrashJournal | None) -> None:
        self._settings = settings
        self._thread = LoopThread("futures_cluster-worker")
        self._loop = self._thread.loop
        self._pool = shm.SegmentPool(kept_segments_bytes(settings.memory_limit)) if shm.available else None
        remote = bool(settings.scheduler)
        # Workers of every machine must be able to read the tasks of tasks; peers of this machine fetch through memory.
        self._codec = pickle_codec.PickleCodec(None if remote else self._pool)
        received = self._from_manager if remote else self._from_scheduler
        self._manager = sockets.SocketConnection(connection, self._loop, received, self._lost)
        self._scheduler: Any = self._manager
        self._client: Client | None = None
        self._executor: Any = None
        self._lock = threading.Lock()
        self._modules = ClientModules(settings.folder, loaded, _running_client)
        import_hooks.adapt_process(on_found=self._modules.found)
        if settings.by_reference:  # multiprocessing has imported modules, or they were there at the fork
            loaded.look_after_fork()
        log_tail.tail()  # keeps the lines from now on
        record = None if crash_journal is None else crash_journal.record
        self._service = WorkerService(
            settings, self._codec, self._loop, self._send, self._get_executor, record, self._pool
        )
        if not remote:
            self._service.peers.other_way = self._relay_data
            self._service.executions.ask_arguments = self._ask_arguments
        self._service.executions.check_client = self._modules.check
        self._service.executions.conflicts = self._modules.conflicts
        self._data = DataServer(self._service)
        self._listener: Any = None
        self._heartbeats: Heartbeats | None = None
        self._forked = False
        peers, call_soon = self._service.peers, self._loop.call_soon_threadsafe
        # What a thread that reads the connection does with messages that are not for the machine.
        self._handlers: dict[type[m.Message], Callable[[Any], object]] = {
            m.StopWorker: lambda message: self._service.stop(),
            m.SegmentsMapped: self._unmapped,
            m.Heartbeat: self._heard,
            m.Data: lambda message: call_soon(peers.received, message),
            m.GetData: self._serve_program,
            m.AskReply: self._answered,
            m.PeersLost: lambda message: peers.forget(message.addresses),
            m.ClientLeft: self._client_left,
            m.LogSettings: self._forward_logs,
            m.ShareCode: self._take_modules,
        }
        process_lifetime.register_after_fork(self)

    def run(self, initializer: Any, initargs: tuple[Any, ...]) -> None:
        """Start all, and execute on the calling thread until told to stop."""
        settings, service = self._settings, self._service
        plugin_runner.local.add = service.watch
        if settings.logging is not None:
            self._forward_logs(settings.logging)
        what = ""
        try:
            # First, because an initializer may give up what this needs: the root of the file system, the user. The
            # loop's thread starts after the initializer, as some system calls ask for a process of one thread.
            listening = registry.listen(settings.listen, self._loop, settings.security, self._data.accept)
            self._listener = self._loop.run_until_complete(listening)
            if not self._initialize(initializer, initargs):
                return
            if initializer is not None or settings.initializer is not None:
                what = "it cannot start after its initializer: "
            self._thread.start()
            asyncio.run_coroutine_threadsafe(self._set_up(), self._loop).result()
            slot = service.add_main_slot(self._scheduler)
        except OSError as error:
            raise StartFailed(what + system_limits.in_words(error)) from error
        self._send([self._introduction()])
        try:
            service.run_slot(slot)
        except Disconnected as error:
            self._lost(error)
        service.end_plugins()
        self._modules.close()

    async def _set_up(self) -> None:
        settings = self._settings
        if settings.memory_limit is not None:
            MemoryMonitor(self._loop, settings.memory_limit, self._service).start()
        if not settings.scheduler:
            return
        self._manager.start()
        connection = await registry.connect(settings.scheduler, self._loop, settings.security)
        connection.on_messages, connection.on_close = self._from_scheduler, self._lost
        self._scheduler = connection
        connection.send([security.hello("worker", settings.name)])
        self._heartbeats = Heartbeats(
            self._loop, settings.name, connection, settings.silence_s, lambda: self._lost(None), self._facts
        )
        self._heartbeats.start()

    def _introduction(self) -> m.WorkerConnected:
        settings = self._settings
        resources = dict(settings.resources or {})
        return m.WorkerConnected(
            settings.name,
            self._listener.exact_address,
            settings.slots,
            True,
            resources,
            socket.gethostname(),
            os.getpid(),
            settings.manager,
            settings.incarnation,
        )

    def _facts(self) -> dict[str, Any]:
        """Return what a heartbeat says of this process."""
        store = self._service.store
        return {"memory_bytes": resident_bytes(), "stored": len(store), "spilled": store.spilled_count}

    def _send(self, messages: list[m.Message]) -> None:
        if self._scheduler is not self._manager:
            for message in messages:
                if type(message) is m.WorkerRetiring:  # its manager starts another
                    self._manager.send([message])
        self._scheduler.send(messages)

    def _initialize(self, initializer: Any, initargs: tuple[Any, ...]) -> bool:
        try:
            with forks.Once():
                if self._settings.initializer is not None:
                    with context.loading(), self._service.executions.around_loading():
                        initializer, initargs = pickling.loads(self._settings.initializer)
                if initializer is not None:
                    initializer(*initargs)
        except BaseException as error:
            self._report_broken(error)
            return False
        return True

    def _report_broken(self, error: BaseException) -> None:
        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=error)
        bootstrap.flush_queues()  # with the record just logged, if that goes into one
        failed = pool_errors.InitializerFailed(f"the initializer of worker {self._settings.name} raised {error!r}")
        failed.__cause__ = error
        self._manager.send([m.WorkersBroken(self._codec.dump_error(failed))])

    def _forward_logs(self, settings: m.LogSettings) -> None:
        service = self._service
        if service.logs is None:
            service.logs = LogForwarder(
                self._settings.name,
                self._loop,
                service.send_logs,
                lambda: self._scheduler.pending_bytes,
                is_shared=bool(self._settings.scheduler),
            )
            service.executions.around_loading = service.logs.settings.kept
        service.logs.apply(settings)

    def send_last_logs(self) -> None:
        """Send what was logged after the last task had ended."""
        logs, end = self._service.logs, monotonic() + LAST_LOGS_S
        if logs is None:
            return
        while logs.rows and monotonic() < end:  # a thread that a task has left may go on logging
            self._service.send_logs(is_last=True)
        while self._scheduler.pending_bytes and monotonic() < end:
            sleep(0.001)

    def _get_executor(self) -> Any:
        """Return the executor of the tasks here; on any of their threads."""
        with self._lock:
            if self._executor is None:
                self._client = self._client or self._new_client()
                self._executor = late.load(late.EXECUTOR_IN_TASK)(self._client)
            return self._executor

    def _new_client(self) -> Client:
        client = Client(
            self._settings.name,
            self._codec,
            late.load(late.FUTURE),
            self._loop,
            self._send,
            self._service.peers,
            threading.Lock(),
            lambda: client.count_pending() <= 2,
            self._settings.incarnation,
        )
        client.forked = self._forked
        if not self._forked:
            self._send([m.ClientJoined(client.name)])
        client.joined = True
        client.about_to_wait = self._read_on_loop
        self._service.before_waiting = client.flush
        return client

    def _read_on_loop(self) -> None:
        """Let the loop read at once, as a task is about to wait for the scheduler."""
        if self._scheduler.fileno() is not None:  # else only the loop reads it
            self._loop.call_soon_threadsafe(self._scheduler.watch, True)

    def after_fork_in_child(self) -> None:
        """Keep a forked copy, which a task has made, from speaking for the worker."""
        self._forked = self._manager.closed = self._scheduler.closed = True
        if self._client is not None:
            self._client.forked = True

    # ---------------------------------------------------------------- the scheduler, and the parent

    def _from_scheduler(self, messages: list[m.Message]) -> None:
        if len(messages) == 1 and type(messages[0]) is m.RunTasks:
            self._service.receive(messages)
            return
        mine: list[m.Message] = []
        clients: list[m.Message] = []
        for message in messages:
            handler = self._handlers.get(type(message))
            if handler is not None:
                handler(message)
            elif type(message) in FOR_CLIENTS:
                clients.append(message)
            else:
                mine.append(message)
        if mine:
            self._service.receive(mine)
        if clients and self._client is not None:
            self._client.deliver(clients)

    def _unmapped(self, message: m.SegmentsMapped) -> None:
        """Take back segments that the program has opened."""
        if self._pool is not None:
            for serial in message.segments:
                self._pool.release(serial)

    def _heard(self, message: m.Heartbeat) -> None:
        if self._heartbeats is not None:
            self._heartbeats.heard()
            self._loop.call_soon_threadsafe(self._heartbeats.agree, message.facts)

    def _client_left(self, message: m.ClientLeft) -> None:
        programs.forget(message.client)
        if self._client is not None:
            self._client.functions.forget(message.client)
        self._modules.forget(message.client)

    def _serve_program(self, request: m.GetData) -> None:
        """Answer the program, which asks on this way if it cannot reach the listener."""
        asyncio.run_coroutine_threadsafe(self._data.serve(self._scheduler, request, shared=False), self._loop)

    def _ask_arguments(self, key: m.Key) -> Any:
        """Return a task's arguments that this process cannot open; blocks."""
        data = asyncio.run_coroutine_threadsafe(self._service.peers.get_data("", [key]), self._loop).result()
        return dict(data.found).get(key)

    def _relay_data(self, address: str, question: m.GetData) -> bool:
        """Have the program fetch what this process cannot get."""
        self._send([m.RelayData(self._settings.name, question.request, question.keys, address)])
        self._read_on_loop()
        return True

    def _answered(self, answer: m.AskReply) -> None:
        """Take the scheduler's answer; only then the worker counts as ready."""
        if answer.error:
            print(f"worker {self._settings.name}: {answer.error}", file=sys.stderr, flush=True)
            os._exit(REFUSED_CODE)
        self._manager.send([self._introduction()])

    def _take_modules(self, message: m.ShareCode) -> None:
        """Take news of a client's modules; retire if only a fresh process can load them."""
        reason = self._modules.take(message)
        if reason:
            log.info("a fresh process takes the place of %s: %s", self._settings.name, reason)
            self._service.receive([m.Retire(hands_over=True)])

    def _from_manager(self, messages: list[m.Message]) -> None:
        if any(type(message) is m.StopWorker for message in messages):
            self._service.stop()

    def _lost(self, error: BaseException | None) -> None:
        """End: the scheduler, or the process that started this one, is gone."""
        if isinstance(error, AuthenticationError):
            log.error("the connection to the scheduler ended: %s", error)
        self._modules.close()  # if that was killed, nothing else removes it
        os._exit(LOST_CODE)
