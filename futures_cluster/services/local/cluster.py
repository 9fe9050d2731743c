"""A scheduler and its workers on this machine, behind one client.

Covers: starting when first used, reporting ends of workers to the scheduler, shutting down in the right order.
Does not cover: the executor that users see (``executor``), scheduling, the worker processes (``worker_pool``), the end
of the interpreter (``process_lifetime``).

The scheduler is a thread of the caller's process with an asyncio loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import multiprocessing
import multiprocessing.process
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, errors, locks, pool_errors
from futures_cluster import messages as m
from futures_cluster.config import Config
from futures_cluster.messages import Message
from futures_cluster.scheduler.queues.constrained import possible
from futures_cluster.scheduler.records import QUEUED
from futures_cluster.scheduler.unplaceable import unplaceable
from futures_cluster.scheduler.views.explain import explain
from futures_cluster.services.client import direct_reader
from futures_cluster.services.client.client import Client
from futures_cluster.services.client.wait_watch import WaitWatch
from futures_cluster.services.common import process_identity, process_lifetime
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.services.common.peers import Peers
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.services.common.socket_folders import make_folder, remove_folder
from futures_cluster.services.common.worker_settings import WorkerSettings, new_incarnation
from futures_cluster.services.launch.fork_server_process import Template, import_path
from futures_cluster.services.launch.launchers import ForkServerLauncher, MultiprocessingLauncher, WorkerHandle
from futures_cluster.services.launch.worker_pool import WorkerProcesses
from futures_cluster.services.local import late_imports
from futures_cluster.services.local.data_relay import DataRelay
from futures_cluster.services.local.scaling import Scaling
from futures_cluster.services.scheduler.service import SchedulerService
from futures_cluster.wire.codec import pickle_codec, pickling, shm
from futures_cluster.wire.private_files import make_private_folder

if TYPE_CHECKING:
    from futures_cluster.services.observe.program_view import ProgramView


class LocalCluster:
    """The native engine's cluster on one machine.

    Parameters
    ----------
    config : Config
        As the executor was made.
    make_future : callable
        ``make_future(key, client)``.
    template : Template or None
        The process to fork workers from, if it has been started already.
    """

    def __init__(
        self,
        config: Config,
        make_future: Callable[[str, Any], Any],
        template: Template | None = None,
    ) -> None:
        self.config = config
        self._template = template
        self._thread = LoopThread("futures_cluster-scheduler")
        self._loop = loop = self._thread.loop
        self._pool = shm.SegmentPool() if shm.available else None
        self.codec = codec = pickle_codec.PickleCodec(self._pool)
        self.processes = WorkerProcesses(
            loop, self._make_settings, self._messages_of, self._worker_starts, self._worker_ended, self._hopeless
        )
        scheduler = SchedulerService(loop, self.processes.stop, codec.release, self._on_broken, self._watch)
        self.scheduler = scheduler
        if config.limits:
            scheduler.handle([m.DeclareLimits(config.limits)])
        self.scaling = Scaling(loop, self.processes, scheduler, config.max_workers, config.threads_per_worker)
        self._peers = Peers(loop)
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
        self.client.tell_modules()
        self.client.watch = WaitWatch(loop, self.client.oldest_wait, self._find_unplaceable, self._advise)
        self._relay = DataRelay(loop, scheduler, self._peers, self._read_soon)
        self._leader: direct_reader.DirectReader | None = None
        self._numbers, self._extra = itertools.count(), itertools.count(2)
        self._folder: str | None = None
        self._view: ProgramView | None = None
        self._lock = locks.RLock()  # a collection of garbage may run a finalizer that uses this executor
        self._starting = self._started = False
        self._since = clocks.time()
        self.closing = False
        self._initializer: bytes | None = None

    # ---------------------------------------------------------------- start

    def start(self) -> None:
        """Start the scheduler and the workers, once; from a user's thread."""
        with DeferredSignals(), self._lock:
            process_lifetime.refuse_inside(self._starting)
            self._starting = True  # before looking: until here a finalizer may have started it
            try:
                if self._started:
                    return
                if self.closing:
                    # A finalizer may have shut it down since this began, and have left the rest to it.
                    self._close_unstarted()
                    raise RuntimeError("cannot schedule new futures after shutdown")
                process_lifetime.register_cluster(self)
                self._start_processes()
                self._started = True
            finally:
                self._starting = False
            if self.closing:  # a finalizer has shut it down meanwhile
                self._begin_to_close()
                raise RuntimeError("cannot schedule new futures after shutdown")

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
        if self._forwards_logs(mp_context):
            self.scheduler.logs.want(self.client.forward_logs(config.forward_logs is True, filters=True))
        self._folder = make_folder()
        processes = self.processes
        try:
            if mp_context is not None:
                self._drop_template()
                self.codec.scope = pickling.Scope(by_reference=True)  # before anything is submitted
                launcher = MultiprocessingLauncher(
                    loop, processes.process_ended, processes.give_up, mp_context, config.initializer, config.initargs
                )
                processes.launcher = launcher
                # Forked here and not on the loop's thread, which does not run yet: the fewer threads the better.
                for _ in range(config.max_workers):
                    launcher.create(processes.create())
            else:
                self._template = self._template or Template(config.worker_environment)
                processes.launcher = ForkServerLauncher(
                    loop, processes.process_ended, processes.give_up, config.worker_environment, self._template
                )
                for _ in range(config.max_workers):
                    processes.create()
            if direct_reader.available:
                self._leader = direct_reader.DirectReader(loop, self.client.count_waiting)
            self._thread.start()
        except BaseException:
            processes.give_up_start()
            self._drop_template()
            if self._leader is not None:
                self._leader.free()
            remove_folder(self._folder)
            raise
        self.scheduler.clients["main"] = self.client.deliver
        if self._leader is not None:
            self.client.leader = self._leader
            self.client.about_to_wait = self._leader.hand_back
        self._thread.call(self._start_on_loop, list(processes.handles.values()))
        late_imports.load(has_template=mp_context is None)

    def _forwards_logs(self, mp_context: Any) -> bool:
        """Return whether workers forward log records.

        With ``mp_context`` the standard library's rules hold: a forked worker has the caller's handlers, another one
        none of them.
        """
        if mp_context is None:
            return self.config.forward_logs is not False
        return self.config.forward_logs is True and mp_context.get_start_method() != "fork"

    def _close_unstarted(self) -> None:
        """End what there is before the start; more than once does no harm."""
        self._drop_template()
        self._thread.loop.close()
        self.scheduler.close()
        self.scheduler.join_plugins()

    def _drop_template(self) -> None:
        if self._template is not None:
            self._template.kill()
            self._template = None

    def _start_on_loop(self, handles: list[WorkerHandle]) -> None:
        self.scheduler.handle([m.ClientJoined("main")])
        self.client.joined = True
        for handle in handles:
            self.processes.start(handle)

    # ---------------------------------------------------------------- workers

    def _make_settings(self, former: WorkerSettings | None) -> WorkerSettings:
        config = self.config
        assert self._folder is not None
        make_private_folder(self._folder)  # again, if a cleaner of temporary files has removed it
        name = f"{m.place_of(former.name)}~{next(self._extra)}" if former else f"worker-{next(self._numbers)}"
        forks = isinstance(self.processes.launcher, ForkServerLauncher)
        return WorkerSettings(
            name,
            f"unix://{self._folder}/{name}.sock",
            slots=config.threads_per_worker,
            most_runs=config.max_tasks_per_child,
            memory_limit=config.memory_limit,
            resources=config.resources,
            debug=config.debug,
            sys_path=import_path() if forks else None,
            argv=[str(each) for each in getattr(sys, "argv", ())] if forks else None,
            recursion_limit=sys.getrecursionlimit() if forks else None,
            by_reference=not forks,
            **(process_identity.new() if forks else {}),
            authkey=bytes(multiprocessing.process.current_process().authkey),
            environment=None if forks else config.worker_environment,
            initializer=self._initializer,
            logging=self.scheduler.logs.settings_for(name),
            incarnation=new_incarnation(),
        )

    def _messages_of(self, handle: WorkerHandle) -> Callable[[list[Message]], None]:
        return self.scheduler.handle

    def _read_soon(self) -> None:
        if self._leader is not None:
            self._leader.hand_back()

    def _worker_starts(self, handle: WorkerHandle) -> None:
        self.scheduler.workers[handle.name] = handle.link.send
        if self._leader is not None:
            self._leader.add(handle.link)

    def _watch(self, event: Message) -> None:
        """Take events that concern the set of workers."""
        if type(event) is m.WorkerConnected:
            self.processes.joined(event.worker)
        elif type(event) is m.WorkerRetiring:
            self.processes.retires(event.worker)
        elif isinstance(event, m.RelayData | m.Data):
            self._relay.received(event)

    def _on_broken(self, error: Any) -> None:
        if self.client.broken is None:
            self.client.broken = errors.make_error(error, self.codec.load_error)
        self.processes.wanted = False

    def _hopeless(self, text: str) -> None:
        self.scheduler.handle([m.WorkersBroken({"kind": "InitializerFailed", "text": text})])

    def scale(self, minimum: int, maximum: int) -> None:
        """Have ``minimum`` to ``maximum`` workers, as the work wants. From any thread."""
        if minimum == maximum:
            self._thread.call(self.scaling.scale, minimum)
        else:
            self._thread.call(self.scaling.adapt, minimum, maximum)

    def restart_workers(self) -> None:
        """Replace the process of each worker, and wait until all are ready."""
        try:
            asyncio.run_coroutine_threadsafe(self.scaling.restart(), self._loop).result()
        except concurrent.futures.CancelledError:  # the loop has ended
            raise RuntimeError("the executor was shut down while its workers were restarted") from None

    def explain(self, key: str) -> list[str]:
        """See ``scheduler.views.explain``; from any thread."""
        with self.scheduler.reading() as state:
            return explain(state, key, self._loop.time())

    async def _find_unplaceable(self) -> list[dict[str, Any]]:
        with self.scheduler.reading() as state:
            return unplaceable(state, self.client.name)

    def _advise(self, row: dict[str, Any]) -> str:
        if row["workers"]:
            return (
                "Another worker takes the place of one that has died, but not of one that scale() has sent away; give "
                "the tasks up with cancel(force=True)"
            )
        starts = "It goes on starting worker processes" if self.processes.wanted else "No more worker processes start"
        return f"{starts}; shutdown(cancel_futures=True) gives the tasks up"

    # ---------------------------------------------------------------- for people

    def view(self) -> ProgramView:
        """Return what shows the cluster to its program.

        It is made, and its module loaded, by the first call.
        """
        from futures_cluster.services.observe.monitor import ClusterMonitor
        from futures_cluster.services.observe.program_view import ProgramView

        with self._lock:
            if self._view is None:
                monitor = ClusterMonitor(self.scheduler, self._loop, self._about)
                self._view = ProgramView(monitor, lambda: self.closing)
            return self._view

    def _about(self) -> dict[str, Any]:
        return {"addresses": ["processes of this program"], "since": self._since}

    @property
    def known_url(self) -> str:
        """The address of the status page, if it was asked for."""
        return "" if self._view is None else self._view.known_url

    async def _close_view(self) -> None:
        """Close the page without a thread: the ending interpreter starts none."""
        if self._view is not None:
            if (page := self._view.take_page()) is not None:
                await page.close_from_loop()
            self._view.monitor.close()

    def is_ready(self, name: str) -> bool:
        """Return whether a worker takes tasks; from any thread."""
        worker = self.scheduler.machine.state.workers.get(name)
        return worker is not None and not worker.retiring

    def _worker_ended(self, handle: WorkerHandle, cause: str) -> None:
        """Tell the scheduler that a worker process is gone, after its last messages."""
        name = handle.name
        self.scheduler.workers.pop(name, None)
        self._relay.worker_ended(name)
        if self._leader is not None:
            self._leader.remove(handle.link)
        worker = self.scheduler.settled().workers.get(name)
        executing: list[str] | None = None
        if worker is not None and handle.crash_journal is not None:
            attempts = handle.crash_journal.executing()
            executing = [key for key, task in worker.assigned.items() if task.attempt in attempts]
        gone: list[Message] = [m.WorkerGone(name, executing, bool(handle.deliberate), cause, handle.cut_off)]
        if name in self.scheduler.machine.state.clients:
            gone.append(m.ClientLeft(name))  # what its tasks had submitted
        self.scheduler.handle(gone)

    # ---------------------------------------------------------------- end

    def shutdown(self, wait: bool, cancel_futures: bool = False, kill: bool | None = None) -> None:
        """End once all futures are done; with ``kill`` at once, by a signal."""
        with DeferredSignals() as held:
            with self._lock:
                first = not self.closing
                self.closing = True
                started, starting = self._started, self._starting
            if not started:
                if first and not starting:
                    self._close_unstarted()
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
                    self._begin_to_close()
        if wait and threading.current_thread() is not self._thread.thread:
            self._join()
            if kill is None:  # otherwise the caller does not want to wait for anything
                self.client.callbacks.join()

    def _begin_to_close(self) -> None:
        self._thread.call(lambda: self._loop.create_task(self._close()))

    def _join(self) -> None:
        self._thread.thread.join()
        self.scheduler.join_plugins()
        if self.client.logs is not None:
            self.client.logs.join()

    def _cancel_futures(self) -> None:
        """Cancel what does not run.

        Not those either which by now must have begun, though no worker has said so yet: the oldest, one a slot.
        """
        pending = self.client.pending()
        slots = self.scaling.number * self.config.threads_per_worker
        begun = slots - sum(future.running() for future in pending)
        for future in pending:
            if self._is_unplaceable(future.key):
                future.cancel(force=True)  # it may have run, on a worker that is gone
            elif future.running():
                continue
            elif begun > 0 and future._keepalive is None:
                begun -= 1
            else:
                future.cancel()

    def _is_unplaceable(self, key: str) -> bool:
        """Return whether a task waits for workers or resources that are not there."""
        with self.scheduler.reading() as state:
            task = state.tasks.get(key)
            if task is None or task.state is not QUEUED:
                return False
            if not self.processes.handles and not self.processes.wanted:
                return True
            return task.requirements is not None and not possible(task.requirements, state.workers)

    def _kill_workers(self, force: bool) -> None:
        self.processes.kill_all(force, "the program stopped the workers of the executor")
        error = pool_errors.WorkerDied("the program stopped the workers of the executor before this task had finished")
        self.client.broken = error
        self.scheduler.handle([m.WorkersBroken(self.codec.dump_error(error))])

    async def _close(self) -> None:
        try:
            await self.client.finish()
            self.scaling.close()
            self.processes.wanted = False
            if self._leader is not None:
                self._leader.close()
            self.client.close(RuntimeError("the executor was shut down"))
            await self.processes.end("the executor was shut down")
            self._peers.close()
            await self._close_view()
            self.scheduler.close()
            if self._pool is not None:
                self._pool.close()
            if self._leader is not None:
                self._leader.free()
        except BaseException:
            logging.getLogger("futures_cluster").exception("the executor did not shut down cleanly")
        finally:
            self.client.callbacks.close(lambda: process_lifetime.unregister_cluster(self))
            if self.client.logs is not None:
                self.client.logs.close()
            if self._folder is not None:
                remove_folder(self._folder)
            # Let go of the user's objects for workers at once: the collector of cycles may come late.
            self.config = self.config._replace(initializer=None, initargs=())
            self.processes.launcher = self._initializer = None
            self._loop.stop()

    def after_fork_in_child(self) -> None:
        """Let go of everything in a forked copy of the process: nothing works there."""
        self.client.forked = True
        self.processes.after_fork_in_child()
