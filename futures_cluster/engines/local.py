"""The engine on our own scheduler and workers: processes of this machine.

Covers: making the cluster when it is first used, and handing calls to its client.
Does not cover: the cluster itself (``services.local.cluster``).

The first task of worker processes goes the way ``submit``, ``_check``, ``_make``. The template process is started
first, and the modules of the cluster are imported while it imports its own: a third of the time to the first result.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, context, errors, locks
from futures_cluster.config import Config
from futures_cluster.engines.base import check_demand, check_limits, check_process, check_usable, worker_facts
from futures_cluster.engines.client import ClientEngine
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import DEFAULT_OPTIONS, Key, TaskOptions
from futures_cluster.services.common import process_lifetime, system_limits
from futures_cluster.services.common.reminders import Reminder, speak_if_due
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.services.launch import fork_server_process
from futures_cluster.wire.codec.exception_state import copied

if TYPE_CHECKING:
    from futures_cluster.services.client.client import Client
    from futures_cluster.services.client.shared_objects import SharedObjectClient
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin
    from futures_cluster.services.local.cluster import LocalCluster


class LocalEngine(ClientEngine):
    """Processes on this machine."""

    def __init__(self, config: Config, make_future: Callable[[str, Any], Any]) -> None:
        if not fork_server_process.available:
            raise errors.NotSupported(
                "worker processes need unix sockets, which this system lacks; use backend='threads'"
            )
        self._config = config
        self._make_future = make_future
        # Guards the making, in which a collection of garbage may run a finalizer that uses this executor.
        self._lock = locks.RLock()
        self._making = False
        self._cluster: LocalCluster | None = None
        self._started = False
        self._closed = False  # before there was a cluster
        self._forked = False

    def _make(self, starts: bool = False) -> LocalCluster:
        """Return the cluster, made if need be; ``starts`` also starts its workers."""
        process_lifetime.register_after_fork(self)
        check_process(self._forked)
        with DeferredSignals(), self._lock:
            process_lifetime.refuse_inside(self._making)
            self._making = True  # before looking: until here a finalizer may have made it
            try:
                if self._cluster is None:
                    self._cluster = self._make_cluster(starts)
            finally:
                self._making = False
            return self._cluster

    def _make_cluster(self, starts: bool) -> LocalCluster:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        config, process = self._config, None
        if starts and config.mp_context is None:
            process = fork_server_process.Template(config.worker_environment)
        try:
            from futures_cluster.services.local.cluster import LocalCluster

            cluster = LocalCluster(config, self._make_future, process)
        except BaseException:
            if process is not None:
                process.kill()
            raise
        # The cluster has the user's objects for workers from now on, and lets go of them at its end.
        self._config = config._replace(initializer=None, initargs=())
        if self._closed:  # by a finalizer, meanwhile
            cluster.shutdown(wait=False)
        return cluster

    @property
    def cluster(self) -> LocalCluster:
        """The cluster; there is none before it is used."""
        return self._cluster or self._make()

    @property
    def client(self) -> Client:  # type: ignore[override]
        """The cluster's."""
        return self.cluster.client

    def after_fork_in_child(self) -> None:
        """Let go of everything in a forked copy of the process: nothing works there."""
        self._forked = True

    @property
    def max_workers(self) -> int:
        """See ``Engine``."""
        return self._config.max_workers if self._cluster is None else self._cluster.scaling.number

    @property
    def slots(self) -> int:
        """See ``Engine``."""
        return self.max_workers * self._config.threads_per_worker

    @property
    def broken(self) -> BaseException | None:
        """See ``Engine``."""
        return None if self._cluster is None else self._cluster.client.broken

    @property
    def is_closed(self) -> bool:
        """See ``Engine``."""
        return self._closed

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        cluster = self._cluster
        if cluster is None or cluster.closing or not self._started or cluster.client.broken or self._forked:
            cluster = self._check()
        task = options.task
        if task is not DEFAULT_OPTIONS:
            self.check_options(task)
        return cluster.client.submit(fn, args, kwargs, task, options.resolve, options.pure, options.key)

    def check_options(self, options: TaskOptions) -> None:
        """See ``Engine``."""
        check_limits(options, self._config.limits)
        if options.resources or options.workers:
            cluster = self._check()
            check_demand(options, cluster.config.resources, list(cluster.processes.handles))

    def shared(self) -> SharedObjectClient:
        """See ``Engine``."""
        return self._check().client.shared

    def _check(self) -> LocalCluster:  # type: ignore[override]
        """Start when first used; otherwise say why nothing can be submitted."""
        cluster = self._cluster
        check_usable(self._forked, self.broken, self._closed or (cluster is not None and cluster.closing))
        context.check_not_loading()
        try:
            cluster = cluster or self._make(starts=True)
            cluster.start()
        except OSError as error:
            raise system_limits.refuse_start(error) from None
        self._started = True
        return cluster

    def watch(self, plugin: SchedulerPlugin) -> None:
        """See ``Engine``."""
        if self._closed or self.cluster.closing:
            raise RuntimeError("cannot watch an executor after shutdown")
        self.cluster.scheduler.watch(plugin)

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``."""
        return {
            name: worker_facts(worker.pid, worker.slots, len(worker.assigned), len(worker.data), worker.resources)
            for name, worker in list(self._check().scheduler.settled().workers.items())
        }

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``."""
        if self._cluster is None or self._forked:
            return 0, 0
        left = self.cluster.scheduler.settled().unfinished
        return self.client.submitted, max(left, self.client.count_pending())

    def unfinished_futures(self) -> list[Any]:
        """See ``Engine``."""
        return [] if self._cluster is None else super().unfinished_futures()

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``."""
        self._check()
        reminder = Reminder(clocks.monotonic())
        while True:
            if self.client.broken is not None:
                raise copied(self.client.broken)
            joined = [name for name in self.workers() if self.cluster.is_ready(name)]
            if len(joined) >= self.max_workers:
                return joined
            speak_if_due(reminder, partial(self._workers_sentence, len(joined)))
            clocks.sleep(0.002)

    def _workers_sentence(self, ready: int, seconds: float) -> str:
        return (
            f"run() has waited {seconds:.0f} s for all worker processes; {ready} of {self.max_workers} are ready. "
            "An initializer that takes long is one reason, a machine without memory or processors to spare another"
        )

    def shutdown(self, wait: bool, cancel_futures: bool, kill: bool | None = None) -> None:
        """See ``Engine``; ``kill`` also ends the workers now, by SIGKILL or by SIGTERM."""
        if self._forked:
            return
        with self._lock:
            self._closed = True
        if self._cluster is not None:
            self._cluster.shutdown(wait, cancel_futures, kill)

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        self.shutdown(True, cancel_futures=False, kill=force)

    def scale(self, minimum: int, maximum: int) -> None:
        """See ``Engine``."""
        self._check().scale(minimum, maximum)

    def restart_workers(self) -> None:
        """See ``Engine``."""
        self._check().restart_workers()

    def upload(self, path: str) -> None:
        """See ``Engine``; workers of this machine read the files where they are."""

    def listen(self) -> AbstractContextManager[Callable[[bool], list[Any]]]:
        """See ``Observed``."""
        return self._check().view().listen()

    def status_url(self) -> str:
        """See ``Observed``."""
        return self._check().view().status_url()

    @property
    def known_url(self) -> str:
        """See ``Observed``."""
        return "" if self._cluster is None else self._cluster.known_url

    def observe(self) -> AbstractContextManager[Callable[[], dict[str, Any]]]:
        """See ``Observed``."""
        return self._check().view().observe()

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        return self._check().explain(key)
