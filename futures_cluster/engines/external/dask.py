"""The engine on a Dask cluster: ``Executor(backend="dask://host:8786")``, or a ``distributed.Client`` as the backend.

Covers: submitting to distributed's scheduler, its futures and ours, what happens on its workers. Does not cover: what
engines over other people's clusters share (``client``, ``task_runner``, ``payloads``), Dask collections
(``adapters``).

Results are ``payloads.InlineResult`` or ``payloads.StoredResult`` in the memory of its workers; its scheduler counts
and moves them as any other data. Tasks of ours that submit tasks use the worker's own client.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import distributed
from dask.utils import typename

from futures_cluster import clocks, errors, late, locks
from futures_cluster.config import Config
from futures_cluster.engines.base import check_arguments, worker_facts
from futures_cluster.engines.external.client import ExternalClient
from futures_cluster.engines.external.engine import ExternalEngine
from futures_cluster.engines.external.payloads import CallFailed, Envelope, InlineResult, RemoteCall, StoredResult
from futures_cluster.engines.external.task_runner import STARTED, ExternalTaskRunner
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import Key, TaskOptions
from futures_cluster.services.worker import import_hooks

#: What its scheduler tells a client of the type of a small result: the class, or this.
SMALL = typename(InlineResult)
#: Between two looks whether a worker has come.
POLL_INTERVAL_S = 0.05
#: Maximum number of tasks in one question whether they have arrived.
MAX_ASKED = 100
#: Tasks of tasks run first, down to this depth.
MAX_DEPTH = 1000


# ---------------------------------------------------------------- on the workers


class DaskSite:
    """A worker of the Dask cluster, as our tasks see it; one for each worker process."""

    def __init__(self, worker: distributed.Worker) -> None:
        self._worker = worker
        self._lock = locks.Lock()
        self._executor: Any = None
        self.runner = ExternalTaskRunner(self)
        import_hooks.adapt_process(dask_in_tasks=False)  # in a worker Dask has a client of its own

    def executor(self) -> Any:
        """See ``task_runner.HostWorker``."""
        with self._lock:
            if self._executor is None:
                client = distributed.get_client()
                make = late.load(late.EXECUTOR_OVER)
                self._executor = make(lambda make_future: DaskEngine(None, make_future, client))
            return self._executor

    def tell(self, client: str, what: str, keys: list[Key]) -> None:
        """See ``task_runner.HostWorker``; by events to which the client subscribes."""
        worker = self._worker
        worker.loop.add_callback(worker.log_event, _topic(client), {"what": what, "keys": keys})

    def give_up_slot(self) -> None:
        """See ``task_runner.HostWorker``."""
        distributed.secede()

    def take_slot(self) -> None:
        """See ``task_runner.HostWorker``."""
        distributed.rejoin()


_sites: weakref.WeakKeyDictionary[Any, DaskSite] = weakref.WeakKeyDictionary()
_sites_lock = locks.Lock()


def run_call(call: RemoteCall, values: list[Any]) -> InlineResult | StoredResult:
    """Run a call, as the task that distributed sees."""
    worker = distributed.get_worker()
    with _sites_lock:
        site = _sites.get(worker)
        if site is None:
            site = _sites[worker] = DaskSite(worker)
    return site.runner.run(call, tuple(values))


def _topic(client: str) -> str:
    return f"futures_cluster-{client}"


# ---------------------------------------------------------------- in the program


class Handle:
    """A future of distributed's, once it is submitted."""

    __slots__ = ("future", "is_found", "key")

    def __init__(self, key: Key, future: Any = None, is_found: bool = False) -> None:
        self.key = key
        self.future = future
        self.is_found = is_found  # of a task that another client submitted


class DaskLink:
    """The way to the cluster, by a client of distributed (``external.client.ClusterLink``)."""

    can_stop_tasks = False  # they are threads of its workers
    carries_handles = False

    def __init__(self, client: Any, is_own: bool) -> None:
        self.client = client
        self._is_own = is_own
        self._ours: ExternalClient = None  # type: ignore[assignment]
        self._unsent: deque[Any] = deque()
        self._is_awake = False
        self._watching: set[asyncio.Task[None]] = set()

    def connect(self, ours: ExternalClient, listens: bool) -> None:
        """See ``external.client.ClusterLink``."""
        self._ours, self._listens = ours, listens
        if listens:
            self.client.subscribe_topic(_topic(ours.name), self._heard)

    def _heard(self, event: Any) -> None:
        _, news = event
        (self._ours.started if news["what"] == STARTED else self._ours.timed_out)(news["keys"])

    def submit(self, call: RemoteCall, handles: list[Any], options: TaskOptions) -> Any:
        """See ``external.client.ClusterLink``.

        All that waits for the loop goes as one graph.
        """
        handle = Handle(call.key)
        self._unsent.append((call, handles, options, handle))
        if not self._is_awake:
            self._is_awake = True
            self.client.loop.add_callback(self._send)
        return handle

    def _send(self) -> None:
        """Send what was submitted, equal options together; on the loop."""
        self._is_awake = False  # before looking: a thread that submits from now on wakes the loop again
        waiting = [self._unsent.popleft() for _ in range(len(self._unsent))]
        for _, batch in itertools.groupby(waiting, lambda item: (id(item[2]), item[0].depth)):
            self._send_batch(list(batch))

    def _send_batch(self, batch: list[Any]) -> None:
        first, _, options, _ = batch[0]
        keys = [call.key for call, _, _, _ in batch]
        try:
            for _, handles, _, _ in batch:
                for one in handles:
                    if one.future is None:  # of the same batch
                        one.future = distributed.Future(one.key, self.client)
            futures = self.client.map(
                run_call,
                [call for call, _, _, _ in batch],
                [[one.future for one in handles] for _, handles, _, _ in batch],
                key=keys,
                workers=list(options.workers) or None,
                resources=dict(options.resources) or None,
                retries=options.retries or None,
                priority=options.priority + min(first.depth, MAX_DEPTH) / (2 * MAX_DEPTH),  # deeper ones first
                fifo_timeout=0,
                pure=False,
            )
        except Exception as error:
            for key in keys:
                self._ours.failed(key, error)
            return
        for item, future in zip(batch, futures, strict=True):
            item[3].future = future
            self._watch_on_loop(future)

    def _watch_on_loop(self, future: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._watch(future.key, future))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    def watch(self, key: Key, handle: Any) -> None:
        """See ``external.client.ClusterLink``.

        Submitted tasks are watched from their start.
        """
        if handle.future is not None and handle.is_found:
            self.client.loop.add_callback(self._watch_on_loop, handle.future)

    async def _watch(self, key: Key, future: Any) -> None:
        state = future._state
        del future  # the result goes when our future goes
        await state.wait()
        ours = self._ours
        if state.status == "finished":
            ours.finished(key, state.type in (InlineResult, SMALL))
        elif state.status == "error":
            ours.failed(key, _error_of(state.exception))
        elif state.status == "cancelled":
            error = _why_cancelled(state.exception, key)
            if error is None:
                ours.cancelled_there(key)
            else:
                ours.failed(key, error)
        else:
            ours.failed(key, errors.DataLost(f"the cluster lost the result of {key!r}"))

    def put(self, key: Key, parcel: Envelope, options: TaskOptions) -> Any:
        """See ``external.client.ClusterLink``."""
        kept = self.client.scatter({key: parcel}, workers=list(options.workers) or None, hash=False)
        return Handle(key, kept[key])

    def find(self, key: Key) -> Any:
        """See ``external.client.ClusterLink``."""
        future: Any = distributed.Future(key, self.client)
        # As Dask's own futures do when a task unpickles them; otherwise the scheduler does not report the result here.
        self.client._send_to_scheduler({"op": "client-desires-keys", "keys": [key], "client": self.client.id})
        return Handle(key, future, is_found=True)

    def fetch(self, handles: dict[Key, Any]) -> None:
        """See ``external.client.ClusterLink``."""
        self.client.loop.add_callback(self._fetch, handles)

    async def _fetch(self, handles: dict[Key, Any]) -> None:
        try:
            results = await self.client.gather([handle.future for handle in handles.values()], asynchronous=True)
        except BaseException as error:
            if len(handles) == 1:
                for key in handles:
                    self._ours.lost(key, _error_of(error))
                return
            for key, handle in handles.items():  # one of them: find out which
                await self._fetch({key: handle})
            return
        for key, result in zip(handles, results, strict=True):
            self._ours.arrived(key, result)

    def cancel(self, key: Key, handle: Any, force: bool) -> None:
        """See ``external.client.ClusterLink``."""
        self.client.loop.add_callback(self._cancel, handle)

    async def _cancel(self, handle: Any) -> None:
        if self.client.status == "running" and handle.future is not None:
            await self.client.cancel([handle.future], asynchronous=True)

    def explain(self, key: Key) -> str:
        """See ``external.client.ClusterLink``."""
        for worker, keys in self.client.processing().items():
            if key in keys:
                return (
                    f"{key} is with worker {worker}, running or next; see the dashboard: {self.client.dashboard_link}"
                )
        return f"{key} waits for its inputs or for room; see the dashboard: {self.client.dashboard_link}"

    def close(self) -> None:
        """See ``external.client.ClusterLink``; a client that was given stays open."""
        if self._is_own:
            self.client.close()
            self.client._loop_runner.stop()  # ``close`` does not if the client has closed itself
        elif self._listens and self.client.status == "running":
            self.client.unsubscribe_topic(_topic(self._ours.name))


def _why_cancelled(error: BaseException | None, key: Key) -> BaseException | None:
    """Return our error, if it was not a user who cancelled a future of distributed's."""
    reason = getattr(error, "reason", "")
    if reason == "scheduler-connection-lost":
        return errors.SchedulerLost("the Dask scheduler is gone; unfinished tasks are lost")
    if reason == "scheduler-restart":
        return errors.SchedulerLost("the Dask cluster was restarted; unfinished tasks are lost")
    if reason in ("lost dependencies", "already forgotten"):
        return errors.DataLost(f"the Dask cluster has lost data that {key!r} needs; scatter or compute it again")
    return None


def _error_of(error: BaseException) -> BaseException | bytes:
    """Return our error for one of distributed's."""
    if isinstance(error, CallFailed):
        return error.payload
    if isinstance(error, distributed.KilledWorker):
        ours: BaseException = errors.WorkerDied(f"workers of the Dask cluster died while they ran this task: {error}")
    elif isinstance(error, errors.CancelledError):
        ours = errors.DataLost(f"the Dask cluster no longer has the result: {error}")
    else:
        return error
    ours.__cause__ = error
    return ours


class DaskEngine(ExternalEngine):
    """Workers of a Dask cluster."""

    title = "a Dask cluster"
    not_here: ClassVar[dict[str, str]] = {
        "mp_context": "its workers are started by: dask worker",
        "initializer": "start its workers with --preload, or register a worker plugin",
        "max_tasks_per_child": "start its workers with --lifetime",
        "memory_limit": "start its workers with --memory-limit",
        "resources": "start its workers with --resources; with_options(resources=...) works",
        "limits": "use its resources; with_options(resources=...) works",
        "forward_logs": "call forward_logging() of the distributed.Client",
    }

    def __init__(
        self,
        config: Config | None,
        make_future: Callable[[str, Any], Any],
        client: Any = None,
    ) -> None:
        is_own = False
        if config is not None:
            check_arguments(config, self.not_here, f"for workers of {self.title}")
            if isinstance(config.backend, str):
                address = "tcp" + config.backend.removeprefix("dask")
                connect: Any = distributed.Client
                client = connect(address, set_as_default=False, name="futures_cluster")
                is_own = True
            else:
                client = config.backend
        if client is None or client.asynchronous:
            raise errors.NotSupported("an asynchronous distributed.Client cannot be used; make one that is not")
        super().__init__(config, make_future, DaskLink(client, is_own))
        self._dask: Any = client

    @property
    def max_workers(self) -> int:
        """How many tasks run at a time."""
        return sum(self._dask.nthreads().values()) if self._dask.status == "running" else 0

    @property
    def broken(self) -> BaseException | None:
        """See ``Engine``."""
        if self._dask.status != "closed" or self.client.closing:
            return None
        return errors.SchedulerLost("the client of the Dask cluster is closed, or could not reach it again")

    def check_options(self, options: TaskOptions) -> None:
        """See ``ExternalEngine``."""
        super().check_options(options)
        if not options.rerun:
            raise errors.NotSupported("a Dask cluster always runs the tasks of a lost worker again; leave out rerun")

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``."""
        future = super().scatter(value, options, replicas)
        if replicas > 1:
            self._dask.replicate([self.client._handles[future.key].future], n=replicas)
        return future

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``; by their addresses, which ``with_options(workers=...)`` takes.

        As with our own scheduler, the answer comes after all that was submitted before has arrived.
        """
        self._check_open()
        dask = self._dask
        while keys := self.client.pending_keys()[-MAX_ASKED:]:
            status = dask.sync(dask.scheduler.get_task_status, keys=keys)
            if all(status.get(key) is not None for key in keys if key in self.client.pending_keys()):
                break
            clocks.sleep(POLL_INTERVAL_S)
        pids = self._dask.run(os.getpid)
        return {
            address: worker_facts(
                pids.get(address, 0),
                facts["nthreads"],
                len(self._dask.processing([address]).get(address, ())),
                len(self._dask.has_what([address]).get(address, ())),
                facts.get("resources", {}),
            )
            for address, facts in self._dask.scheduler_info(n_workers=-1)["workers"].items()
        }

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``; more workers may come at any time, so one is enough."""
        self._check_open()
        while not (names := list(self._dask.scheduler_info(n_workers=-1)["workers"])):
            clocks.sleep(POLL_INTERVAL_S)
        return names

    def restart_workers(self) -> None:
        """See ``Engine``; Dask computes again what the workers held."""
        self._check_open()
        workers = self._dask.scheduler_info(n_workers=-1)["workers"]
        for address, facts in workers.items():
            if not facts.get("nanny"):
                raise errors.NotSupported(
                    f"the worker {address} of a Dask cluster has no nanny that could start it again; start its workers "
                    "without --no-nanny, or restart them where they were started"
                )
        for address in workers:
            self._dask.restart_workers([address])

    def upload(self, path: str) -> None:
        """See ``Engine``."""
        self._check_open()
        self._dask.upload_file(path)
