"""The program of a worker process: from its sockets to a ``WorkerService``, until it is told to stop.

Covers: putting the process in order (signals, stderr, output), the initializer, the loop's thread, serving data to
peers on a unix socket, the client for tasks that submit, the end.
Does not cover: how the process came to be (``forkserver``, or a multiprocessing context in ``launch``).

Tasks run on the main thread, because signals, GUIs and MPI need it; the loop is on another. When the connection to
the scheduler ends, the process ends at once: nobody could use what it does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import Any

from futures_cluster import context
from futures_cluster import messages as m
from futures_cluster.services.blackbox import BlackBox
from futures_cluster.services.client import Client
from futures_cluster.services.loops import LoopThread
from futures_cluster.services.worker import WorkerService
from futures_cluster.wire import serialize, shm, sockets
from futures_cluster.worker.machine import WorkerMachine

EXECUTOR_FACTORY = "futures_cluster.executor:executor_in_task"
FUTURE_FACTORY = "futures_cluster.future:Future"


@dataclass
class WorkerSettings:
    """What a worker process is told at its start; plain values that pickle."""

    name: str
    socket_path: str
    slots: int = 1
    most_runs: int | None = None
    memory_limit: int | None = None
    resources: dict[str, float] | None = None
    sys_path: list[str] | None = None
    environment: dict[str, str] | None = None
    authkey: bytes | None = None  # of multiprocessing, so that its managers' proxies work in tasks
    debug: bool = False
    initializer: bytes | None = None  # a pickle of (initializer, initargs)


def main(
    settings: WorkerSettings,
    connection: socket.socket,
    stderr_fd: int | None,
    blackbox_fd: int | None,
    initializer: Any = None,
    initargs: tuple[Any, ...] = (),
) -> None:
    """Run a worker until it is told to stop; never returns."""
    code = 1
    try:
        _tidy_process(settings, stderr_fd)
        blackbox = BlackBox(blackbox_fd) if blackbox_fd is not None else None
        process = WorkerProcess(settings, connection, blackbox)
        process.run(initializer, initargs)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        _flush_queues()
        os._exit(code)


def _flush_queues() -> None:
    """Let inherited queues of multiprocessing pass on what tasks have put into them, as at the end of its processes."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        with contextlib.suppress(Exception):
            util._exit_function()


def _tidy_process(settings: WorkerSettings, stderr_fd: int | None) -> None:
    # Ctrl-C goes to the whole group of processes; the client decides what it means. A handler that does nothing,
    # unlike SIG_IGN, is not passed on to programs that tasks start.
    signal.signal(signal.SIGINT, lambda signum, frame: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if stderr_fd is not None:
        os.dup2(stderr_fd, 2)
        os.close(stderr_fd)
        with contextlib.suppress(Exception):
            sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    with contextlib.suppress(Exception):
        # Whole lines, also under PYTHONUNBUFFERED: workers share the caller's terminal.
        sys.stdout.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    if settings.environment:
        for name, value in settings.environment.items():
            os.environ.setdefault(name, value)
    if settings.authkey is not None:
        import multiprocessing.process

        multiprocessing.process.current_process().authkey = settings.authkey
    if settings.sys_path is not None:
        sys.path[:] = settings.sys_path
    with contextlib.suppress(Exception):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each mapped segment keeps a descriptor


class WorkerProcess:
    """The parts of a worker process and how they hang together."""

    def __init__(self, settings: WorkerSettings, connection: socket.socket, blackbox: BlackBox | None) -> None:
        self._settings = settings
        self._thread = LoopThread("futures_cluster-worker")
        self._loop = self._thread.loop
        self._pool = shm.SegmentPool() if shm.available else None
        self._codec = serialize.PickleCodec(self._pool)
        self._scheduler = sockets.SocketConnection(connection, self._loop, self._from_scheduler, self._scheduler_lost)
        self._client: Client | None = None
        self._executor: Any = None
        self._lock = threading.Lock()
        self._asked: dict[sockets.SocketConnection, dict[int, None]] = {}  # segments each peer may be about to open
        machine = WorkerMachine(settings.name, settings.slots, settings.most_runs)
        self._service = WorkerService(
            machine,
            self._codec,
            self._loop,
            self._scheduler.send,
            self._get_executor,
            record=blackbox.record if blackbox is not None else None,
            memory_limit=settings.memory_limit,
            debug=settings.debug,
        )
        self._listener = sockets.listen(settings.socket_path)

    def run(self, initializer: Any, initargs: tuple[Any, ...]) -> None:
        """Start all, and execute on the calling thread until told to stop."""
        settings, service = self._settings, self._service
        context.set_executor_factory(EXECUTOR_FACTORY)
        if not self._initialize(initializer, initargs):
            return
        slot = service.add_main_slot(self._scheduler.fileno(), self._scheduler.read, self._scheduler.watch)
        self._loop.call_soon(self._start)
        self._thread.start()
        self._scheduler.send(
            [
                m.WorkerJoined(
                    settings.name,
                    f"unix://{settings.socket_path}",
                    settings.slots,
                    True,
                    dict(settings.resources or {}),
                    socket.gethostname(),
                    os.getpid(),
                )
            ]
        )
        service.run_slot(slot)

    def _start(self) -> None:
        if self._service.monitor is not None:
            self._service.monitor.start()
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _initialize(self, initializer: Any, initargs: tuple[Any, ...]) -> bool:
        try:
            if self._settings.initializer is not None:
                initializer, initargs = pickle.loads(self._settings.initializer)
            if initializer is not None:
                initializer(*initargs)
        except BaseException as error:
            self._report_broken(error)
            return False
        return True

    def _report_broken(self, error: BaseException) -> None:
        from futures_cluster import errors

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=error)
        _flush_queues()  # with the record just logged, if that goes into one
        failed = errors.InitializerFailed(f"the initializer of worker {self._settings.name} raised {error!r}")
        failed.__cause__ = error
        self._scheduler.send([m.WorkersBroken(self._codec.dump_error(failed))])

    def _get_executor(self) -> Any:
        """The executor of the tasks here; on any of their threads."""
        with self._lock:
            if self._executor is None:
                self._executor = context.make_executor(self._get_client())
            return self._executor

    def _get_client(self) -> Client:
        if self._client is None:
            module, _, name = FUTURE_FACTORY.partition(":")
            make_future = getattr(__import__(module, fromlist=[name]), name)
            client = Client(
                self._settings.name,
                self._codec,
                make_future,
                self._loop,
                self._scheduler.send,
                self._service.peers,
                threading.Lock(),
                lambda: client.count_pending() <= 2,
            )
            self._scheduler.send([m.ClientJoined(client.name)])
            self._client = client
        return self._client

    # ---------------------------------------------------------------- the scheduler

    def _from_scheduler(self, messages: list[m.Message]) -> None:
        if len(messages) == 1 and type(messages[0]) is m.RunTasks:
            self._service.receive(messages)
            return
        mine: list[m.Message] = []
        clients: list[m.Message] = []
        for message in messages:
            kind = type(message)
            if kind is m.StopWorker:
                self._stop()
            elif kind is m.TasksDone or kind is m.TasksRunning or kind is m.TasksRecomputing:
                clients.append(message)
            elif kind is m.SegmentsMapped:
                for fd in message.segments:  # type: ignore[attr-defined]
                    if self._pool is not None:
                        self._pool.release(fd)
            else:
                mine.append(message)
        if mine:
            self._service.receive(mine)
        if clients and self._client is not None:
            self._client.deliver(clients)

    def _scheduler_lost(self, error: BaseException | None) -> None:
        os._exit(0)

    def _stop(self) -> None:
        self._service.stop()

    # ---------------------------------------------------------------- peers

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        connection: sockets.SocketConnection

        def received(messages: list[m.Message]) -> None:
            for message in messages:
                if type(message) is m.GetData:
                    self._loop.create_task(self._answer(connection, message))
                elif type(message) is m.SegmentsMapped:
                    self._release(connection, message.segments)

        def lost(error: BaseException | None) -> None:
            self._release(connection, list(self._asked.pop(connection, {})))

        connection = sockets.SocketConnection(sock, self._loop, received, lost)
        self._asked[connection] = {}
        connection.start()

    async def _answer(self, connection: sockets.SocketConnection, request: m.GetData) -> None:
        data = await self._service.answer(request)
        segments = self._asked.get(connection)
        for _, payload in data.found:
            segment = serialize.segment_of(payload)
            if segment is not None:
                if segments is None or connection.closed:
                    assert self._pool is not None
                    self._pool.release(segment[1])
                else:
                    segments[segment[1]] = None
        connection.send([data])

    def _release(self, connection: sockets.SocketConnection, fds: list[int]) -> None:
        segments = self._asked.get(connection, {})
        for fd in fds:
            segments.pop(fd, None)
            if self._pool is not None:
                self._pool.release(fd)
