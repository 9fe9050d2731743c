"""A scheduler and its workers on this machine, behind one client.

Covers: starting when first used, replacing workers that end, shutting down in the right order, and the end of the
interpreter. Does not cover: the executor that users see (``executor``), scheduling.

Two kinds: worker processes, and one worker whose slots are threads of this process. Either way the scheduler is a
thread of the caller's process with an asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import multiprocessing
import multiprocessing.process
import os
import shutil
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from futures_cluster import errors
from futures_cluster import messages as m
from futures_cluster.config import Config
from futures_cluster.messages import Message
from futures_cluster.services import leader
from futures_cluster.services.client import Client
from futures_cluster.services.folders import make_folder
from futures_cluster.services.interrupts import HeldBack
from futures_cluster.services.launch import ForkServer, MultiprocessingLauncher, WorkerHandle, describe_exit
from futures_cluster.services.loops import LoopThread, Mailbox
from futures_cluster.services.peers import Peers
from futures_cluster.services.scheduler import SchedulerService
from futures_cluster.services.worker import WorkerService
from futures_cluster.services.worker_process import WorkerSettings
from futures_cluster.wire import pickling, serialize, shm, sockets
from futures_cluster.wire.inproc import Cell, ObjectCodec
from futures_cluster.worker.machine import WorkerMachine

#: Workers in a row that may end before they join; then the executor is broken.
MOST_FAILED_STARTS = 3
#: A worker that was asked to end is killed after so long.
GRACE_S = 5.0

_open: weakref.WeakSet[LocalCluster] = weakref.WeakSet()
_exiting = False


class LocalCluster:
    """The native engine's cluster on one machine.

    Parameters
    ----------
    config : Config
        As the executor was made.
    make_future : callable
        ``make_future(key, client)``.
    """

    def __init__(self, config: Config, make_future: Callable[[str, Any], Any]) -> None:
        self.config = config
        self.threads = config.backend == "threads"
        self._make_future = make_future
        self._thread = LoopThread("futures_cluster-scheduler")
        loop = self._thread.loop
        self._loop = loop
        self._pool = shm.SegmentPool() if shm.available and not self.threads else None
        codec: Any = ObjectCodec() if self.threads else serialize.PickleCodec(self._pool)
        self.codec = codec
        self.scheduler = SchedulerService(loop, self._stop_worker, codec.release, self._on_broken, self._watch)
        self._peers = Peers(loop)
        scheduler = self.scheduler
        self.client = Client(
            "main",
            codec,
            make_future,
            loop,
            scheduler.handle_locked,
            self._peers,
            scheduler.lock,
            scheduler.could_start,
        )
        self.handles: dict[str, WorkerHandle] = {}
        self._leader: leader.Leader | None = None
        self._numbers = itertools.count()
        self._failed_starts = 0
        self._folder: str | None = None
        self._launcher: Any = None
        self._service: WorkerService | None = None  # the worker of the threads backend
        self._lock = threading.Lock()
        self._started = False
        self.closing = False
        self._workers_wanted = True
        self._all_ended: asyncio.Event | None = None
        self.forked = False
        self.executor: Callable[[], Any] = lambda: None  # finds the executor, for tasks in threads
        self._initializer: bytes | None = None

    # ---------------------------------------------------------------- start

    def start(self) -> None:
        """Start the scheduler and the workers, once; from a user's thread."""
        with HeldBack(), self._lock:
            if self._started:
                return
            if self.closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            _register_exit()
            _open.add(self)  # now: a process that is forked from here on must let go of what is ours
            if self.threads:
                self._start_threads()
            else:
                self._start_processes()
            self._started = True

    def _start_processes(self) -> None:
        config, loop = self.config, self._loop
        mp_context = config.mp_context
        if mp_context is None and config.initializer is not None:
            try:
                self._initializer = pickling.dumps((config.initializer, config.initargs))
            except RuntimeError as error:
                if "inheritance" not in str(error):
                    raise
                # A lock or queue of multiprocessing: only the processes of its context can have it, and the
                # standard library's pools start these.
                mp_context = multiprocessing.get_context()
        self._folder = make_folder()
        try:
            if mp_context is not None:
                launcher = MultiprocessingLauncher(
                    loop, self._worker_ended, mp_context, config.initializer, config.initargs
                )
                self._launcher = launcher
                # Forked here and not on the loop's thread, which does not run yet: the fewer threads the better.
                for _ in range(config.max_workers):
                    launcher.create(self._new_handle())
            else:
                self._launcher = ForkServer(loop, self._worker_ended, config.worker_environment)
                self._launcher.prepare()
                for _ in range(config.max_workers):
                    self._new_handle()
        except BaseException:
            self._give_up_start()
            raise
        self.scheduler.clients["main"] = self.client.deliver
        if leader.available:
            self._leader = self.client.leader = leader.Leader(loop, self.client.count_pending)
        self._thread.start()
        self._thread.call(self._start_on_loop, list(self.handles.values()))

    def _give_up_start(self) -> None:
        """Starting failed: leave nothing of it."""
        for handle in self.handles.values():
            handle.kill()
            if handle.process is not None:
                handle.process.join()
            handle.connection.close()
            handle.close()
        self.handles = {}
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start_on_loop(self, handles: list[WorkerHandle]) -> None:
        self.scheduler.handle([m.ClientJoined("main")])
        for handle in handles:
            self._start_worker(handle)

    def _start_threads(self) -> None:
        config, loop = self.config, self._loop
        self.scheduler.clients["main"] = self.client.deliver
        inbox = Mailbox(loop, self._from_threads, self.scheduler.lock)
        machine = WorkerMachine("threads", config.max_workers)
        initialize = self._initialize_thread if config.initializer is not None else None
        self._service = WorkerService(
            machine,
            self.codec,
            loop,
            inbox.post,
            lambda: self.executor(),
            initialize=initialize,
            thread_name_prefix=config.thread_name_prefix or "futures_cluster-slot",
            debug=config.debug,
        )
        self.scheduler.workers["threads"] = self._service.receive
        joined = m.WorkerJoined(
            "threads", "", config.max_workers, killable=False, resources=dict(config.resources), pid=0
        )
        self._thread.start()
        self._thread.call(self.scheduler.handle, [m.ClientJoined("main"), joined])

    def _from_threads(self, items: deque[Any]) -> bool:
        while items:
            self.scheduler.handle_locked(items.popleft())
        return False

    def _initialize_thread(self) -> bool:
        try:
            assert self.config.initializer is not None
            self.config.initializer(*self.config.initargs)
        except BaseException as error:
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            broken = errors.ThreadInitializerFailed(f"the initializer raised {error!r}")
            broken.__cause__ = error
            self._thread.call(self.scheduler.handle, [m.WorkersBroken(Cell(broken))])
            return False
        return True

    # ---------------------------------------------------------------- workers

    def _new_handle(self) -> WorkerHandle:
        config = self.config
        assert self._folder is not None
        name = f"worker-{next(self._numbers)}"
        settings = WorkerSettings(
            name,
            os.path.join(self._folder, f"{name}.sock"),
            slots=config.threads_per_worker,
            most_runs=config.max_tasks_per_child,
            memory_limit=config.memory_limit,
            resources=config.resources,
            debug=config.debug,
            sys_path=list(sys.path) if isinstance(self._launcher, ForkServer) else None,
            authkey=bytes(multiprocessing.process.current_process().authkey),
            environment=None if isinstance(self._launcher, ForkServer) else config.worker_environment,
            initializer=self._initializer,
        )
        handle = self.handles[name] = WorkerHandle(settings, self._loop)
        return handle

    def _start_worker(self, handle: WorkerHandle) -> None:
        name = handle.name
        handle.stderr.start()
        connection = sockets.SocketConnection(
            handle.connection, self._loop, self.scheduler.handle, lambda error: self._hung_up(handle)
        )
        handle.link = connection
        self.scheduler.workers[name] = connection.send
        connection.start()
        if self._leader is not None:
            self._leader.add(connection)
        self._launcher.start(handle)

    def _watch(self, event: Message) -> None:
        """Events that concern the set of workers."""
        if type(event) is m.WorkerJoined:
            handle = self.handles.get(event.worker)
            if handle is not None:
                handle.joined = True
                self._failed_starts = 0
        elif type(event) is m.WorkerRetiring:
            handle = self.handles.get(event.worker)
            if handle is not None and not handle.replaced:
                handle.replaced = True
                self._replace()

    def _on_broken(self, error: Any) -> None:
        if self.client.broken is None:
            self.client.broken = errors.make_error(error, self.codec.load_error)
        self._workers_wanted = False

    def is_ready(self, name: str) -> bool:
        """Whether a worker takes tasks; from any thread."""
        worker = self.scheduler.machine.state.workers.get(name)
        return worker is not None and not worker.retiring

    def _replace(self) -> None:
        if self._workers_wanted and not self.closed:
            self._start_worker(self._new_handle())

    def _hung_up(self, handle: WorkerHandle) -> None:
        """The worker closed its connection: it has ended, or soon will have."""
        self._loop.call_later(GRACE_S, handle.kill)

    def _stop_worker(self, command: m.StopWorker) -> None:
        handle = self.handles.get(command.worker)
        if handle is None:
            return
        handle.deliberate = command.reason or "it was stopped"
        if command.force:
            handle.kill()
        else:
            handle.link.send([command])
            self._loop.call_later(GRACE_S, handle.kill)

    def _worker_ended(self, name: str, code: int | None) -> None:
        """A worker process is gone; take what it said last, then tell the scheduler."""
        handle = self.handles.pop(name)
        handle.link.drain()
        handle.stderr.read()
        self.scheduler.workers.pop(name, None)
        if self._leader is not None:
            self._leader.remove(handle.link)
        handle.link.close()
        worker = self.scheduler.machine.state.workers.get(name)
        executing: list[str] | None = None
        if worker is not None and handle.blackbox is not None:
            serials = handle.blackbox.executing()
            executing = [key for key, task in worker.assigned.items() if task.serial in serials]
        cause = describe_exit(code)
        if tail := handle.stderr.tail():
            cause += f"; the end of its stderr:\n{tail}"
        gone: list[Message] = [m.WorkerLost(name, executing, bool(handle.deliberate), cause)]
        if name in self.scheduler.machine.state.clients:
            gone.append(m.ClientLeft(name))  # what its tasks had submitted
        self.scheduler.handle(gone)
        with contextlib.suppress(OSError):
            os.unlink(handle.settings.socket_path)
        handle.close()
        if not handle.joined and not handle.deliberate and self._workers_wanted:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                text = f"{self._failed_starts} worker processes in a row ended before they were ready: it {cause}"
                self.scheduler.handle([m.WorkersBroken({"kind": "InitializerFailed", "text": text})])
        if self._all_ended is not None and not self.handles:
            self._all_ended.set()
        if not handle.replaced:
            self._replace()

    # ---------------------------------------------------------------- end

    closed = False

    def shutdown(self, wait: bool, cancel_futures: bool = False, kill: bool | None = None) -> None:
        """End, once all futures are done; with ``kill`` at once, by SIGKILL (True) or SIGTERM (False)."""
        with HeldBack() as held:
            with self._lock:
                first = not self.closing
                self.closing = True
                started = self._started
            if not started:
                if first:
                    self._thread.loop.close()
                return
            try:
                if kill is not None:
                    self._thread.call(self._kill_workers, kill)
                if cancel_futures:
                    held.is_open = True  # callbacks are called
                    self._cancel_futures()
            finally:
                held.is_open = False
                if first:
                    self._thread.call(lambda: self._loop.create_task(self._close()))
        if wait and threading.current_thread() is not self._thread.thread:
            self._thread.thread.join()
            if self._service is not None:
                for slot in self._service.slots:
                    if slot.thread is not None and slot.thread is not threading.current_thread():
                        slot.thread.join()

    def _cancel_futures(self) -> None:
        """Cancel what does not run.

        Not those either which by now must have begun, though no worker has said so yet: the oldest, one a slot.
        """
        pending = self.client.pending()
        slots = self.config.max_workers * self.config.threads_per_worker
        begun = slots - sum(future.running() for future in pending)
        for future in pending:
            if future.running():
                continue
            if begun > 0 and future.kept is None:
                begun -= 1
            else:
                future.cancel()

    def _kill_workers(self, force: bool) -> None:
        self._workers_wanted = False
        for handle in self.handles.values():
            handle.deliberate = handle.deliberate or "the executor was told to stop its workers"
            handle.kill(force)
        error = errors.WorkerDied("the executor was told to stop its workers before this task had finished")
        self.client.broken = error
        payload = self.codec.dump_error(error)
        self.scheduler.handle([m.WorkersBroken(payload)])

    async def _close(self) -> None:
        try:
            quiet = asyncio.Event()
            self.client.when_quiet(quiet.set)
            await quiet.wait()
            with contextlib.suppress(Exception):
                await self.client.bring_all_home()
            self._workers_wanted = False
            self.closed = True
            if self._leader is not None:
                self._leader.close()
            self.client.close(RuntimeError("the executor was shut down"))
            if self._service is not None:
                self._service.stop()
            else:
                await self._end_processes()
            self._peers.close()
            self.scheduler.close()
            if self._pool is not None:
                self._pool.close()
            if self._leader is not None:
                self._leader.free()
        except BaseException:
            logging.getLogger("futures_cluster").exception("the executor did not shut down cleanly")
        finally:
            _open.discard(self)
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            # What the user gave the workers is not kept until the collector of cycles comes by.
            self.config = dataclasses.replace(self.config, initializer=None, initargs=())
            self._launcher = self._initializer = None
            self._loop.stop()

    async def _end_processes(self) -> None:
        self._all_ended = asyncio.Event()
        for handle in list(self.handles.values()):
            self._stop_worker(m.StopWorker(handle.name, reason="the executor was shut down"))
        if self.handles:
            await self._all_ended.wait()
        await self._launcher.close()

    def forget_in_child(self) -> None:
        """In a forked copy of the process: nothing here works.

        The copy lets go of our ends of the workers' connections; as long as anybody holds them, a worker could not
        see that its client has died.
        """
        self.forked = self.client.forked = True
        for handle in self.handles.values():
            handle.close_client_end()
        if isinstance(self._launcher, ForkServer):
            self._launcher.close_client_end()


_registered = False


def _register_exit() -> None:
    """At the end of the interpreter wait for what was submitted, as the standard library's pools do."""
    global _registered
    if _exiting:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")
    if not _registered:
        try:
            threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
        except RuntimeError:  # the interpreter is about to end, and this is the first executor that is used
            raise RuntimeError("cannot schedule new futures after interpreter shutdown") from None
        _registered = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)


def _at_exit() -> None:
    global _exiting
    _exiting = True
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    try:
        for cluster in list(_open):
            cluster.shutdown(wait=True, cancel_futures=interrupted, kill=True if interrupted else None)
    except KeyboardInterrupt:  # while this waited for what is running
        for cluster in list(_open):
            cluster.shutdown(wait=True, cancel_futures=True, kill=True)
        raise


def interpreter_exits() -> bool:
    """Whether the interpreter is about to end, so that nothing new can be run."""
    return _exiting


def _after_fork() -> None:
    for cluster in list(_open):
        cluster.forget_in_child()
    _open.clear()
