"""The engine on a Ray cluster: ``Executor(backend="ray")``, or ``"ray://host:10001"`` by Ray's client.

Covers: submitting to Ray, its references and our futures, what happens on its workers. Does not cover: what engines
over other people's clusters share (``client``, ``task_runner``, ``payloads``).

A task returns two objects. The first is small and comes to the client with the news that the task is done: the result
itself, or that it is the second one, which stays in Ray's object store. So a handle is a pair of references, and a task
that needs the result gets both.

Ray lets others use a worker's slot only while the main thread waits for Ray. Therefore a task of ours runs on a second
thread, and the main one waits for its children where the task would.

Workers report (a task has begun, or runs too long) through an actor, the board, which the client makes.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import ray
import ray.exceptions

from futures_cluster import errors, late, locks
from futures_cluster.config import Config
from futures_cluster.engines.base import check_arguments, worker_facts
from futures_cluster.engines.external.client import ExternalClient
from futures_cluster.engines.external.engine import ExternalEngine
from futures_cluster.engines.external.payloads import CallFailed, Envelope, InlineResult, RemoteCall, StoredResult
from futures_cluster.engines.external.task_runner import STARTED, ExternalTaskRunner
from futures_cluster.messages import Key, TaskOptions
from futures_cluster.services.client.callback_thread import CallbackThread
from futures_cluster.services.worker import import_hooks

#: How long the main thread of a worker waits for children before it looks again whether the task goes on.
POLL_INTERVAL_S = 0.2
#: How long it waits for the task itself before it looks again whether it has missed the end.
WAKE_S = 5.0


def _board_name(client: str) -> str:
    return f"futures_cluster-{client}"


class _Board:
    """An actor that keeps what workers tell a client until that one asks."""

    def __init__(self) -> None:
        import asyncio

        self._news: list[tuple[str, list[Key]]] = []
        self._come = asyncio.Event()

    async def tell(self, what: str, keys: list[Key]) -> None:
        self._news.append((what, keys))
        self._come.set()

    async def news(self) -> list[tuple[str, list[Key]]]:
        await self._come.wait()
        self._come.clear()
        news, self._news = self._news, []
        return news


# ---------------------------------------------------------------- on the workers


class RaySite:
    """A worker process of Ray, as our tasks see it."""

    def __init__(self) -> None:
        self._lock = locks.Lock()
        self._executor: Any = None
        self._todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waits = threading.Event()  # the task has given its slot up
        self.runner = ExternalTaskRunner(self)
        import_hooks.adapt_process()
        threading.Thread(target=self._run, name="futures_cluster-task", daemon=True).start()

    def run(self, call: RemoteCall, values: tuple[Any, ...]) -> InlineResult | StoredResult:
        """Run a call on the other thread, and wait as it does.

        A task that was cancelled too late interrupts this thread, and perhaps during the next one; nothing may be lost
        by that. So the outcome lies in a list, and the queue only says that there is something to see.
        """
        outcomes: list[Any] = []
        self._todo.put((call, values, outcomes))
        while not outcomes:
            try:
                waits = self._waits.is_set() and self._wait_as_it_does()
                self._wake.get(timeout=0.001 if waits else POLL_INTERVAL_S if self._waits.is_set() else WAKE_S)
            except (queue.Empty, KeyboardInterrupt):
                continue
        if isinstance(outcomes[0], BaseException):
            raise outcomes[0]
        return outcomes[0]  # type: ignore[no-any-return]

    def _wait_as_it_does(self) -> bool:
        """Wait for children by Ray's means, without the slot; whether there were any."""
        executor = self._executor
        waiting = [] if executor is None else executor._engine.client.unfinished()
        if waiting:
            ray.wait([handle[0] for handle in waiting], num_returns=1, timeout=POLL_INTERVAL_S, fetch_local=False)
        return bool(waiting)

    def _run(self) -> None:
        while True:
            call, values, outcomes = self._todo.get()
            try:
                outcome: Any = self.runner.run(call, values)
            except BaseException as error:
                outcome = error
            self._waits.clear()
            outcomes.append(outcome)
            self._wake.put(None)
            del call, values, outcome, outcomes

    def executor(self) -> Any:
        """See ``task_runner.HostWorker``."""
        with self._lock:
            if self._executor is None:
                self._executor = late.load(late.EXECUTOR_OVER)(lambda make_future: RayEngine(None, make_future))
            return self._executor

    def tell(self, client: str, what: str, keys: list[Key]) -> None:
        """See ``task_runner.HostWorker``; a task without a board hears nothing."""
        with contextlib.suppress(ValueError):
            ray.get_actor(_board_name(client)).tell.remote(what, keys)

    def give_up_slot(self) -> None:
        """See ``task_runner.HostWorker``."""
        self._waits.set()
        self._wake.put(None)

    def take_slot(self) -> None:
        """See ``task_runner.HostWorker``; Ray returns it when the main thread runs again."""
        self._waits.clear()


_site: RaySite | None = None


def run_call(call: RemoteCall, *values: Any) -> tuple[Any, Any]:
    """Run a call, as the task that Ray sees; of each input it gets both objects."""
    global _site
    if _site is None:
        _site = RaySite()
    inputs = tuple(second if first is None else first for first, second in zip(values[::2], values[1::2], strict=True))
    result = _site.run(call, inputs)
    return (result, None) if type(result) is InlineResult else (None, result)


# ---------------------------------------------------------------- in the program


class RayLink:
    """The way to the cluster (``external.client.ClusterLink``)."""

    can_stop_tasks = True
    carries_handles = True

    def __init__(self, users: _Users | None) -> None:
        self._users = users
        self._ours: ExternalClient = None  # type: ignore[assignment]
        self._board: Any = None
        self._remote: Any = ray.remote(run_call)
        self._closed = False
        self._news = CallbackThread()

    def connect(self, ours: ExternalClient, listens: bool) -> None:
        """See ``external.client.ClusterLink``."""
        self._ours = ours
        if listens:
            board: Any = ray.remote(_Board)
            self._board = board.options(num_cpus=0, name=_board_name(ours.name)).remote()
            self._ask_board()

    def _when_done(self, reference: Any, function: Callable[[Any], None]) -> None:
        """Call it with the future of an object that is there or failed.

        Not on the thread that says so: Ray's client (ray://) needs that one to answer whatever else one asks.
        """

        def tell(future: Any) -> None:
            if not self._closed:
                function(future)

        def done(future: Any) -> None:
            if not self._closed:
                self._news.call(lambda: tell(future))

        reference.future().add_done_callback(done)

    def _ask_board(self) -> None:
        with contextlib.suppress(Exception):  # Ray is gone, and the board with it
            self._when_done(self._board.news.remote(), self._heard)

    def _heard(self, done: Any) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        self._ask_board()
        for what, keys in done.result():
            (self._ours.started if what == STARTED else self._ours.timed_out)(keys)

    def submit(self, call: RemoteCall, handles: list[Any], options: TaskOptions) -> Any:
        """See ``external.client.ClusterLink``."""
        asks: dict[str, Any] = {"name": call.key, "num_returns": 2}
        demands = dict(options.resources)
        for name, option in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
            if name in demands:
                asks[option] = demands.pop(name)
        if demands:
            asks["resources"] = demands
        if options.retries:
            asks |= {"max_retries": options.retries, "retry_exceptions": True}
        elif not options.rerun:
            asks["max_retries"] = 0
        return self._remote.options(**asks).remote(call, *[reference for pair in handles for reference in pair])

    def watch(self, key: Key, handle: Any) -> None:
        """See ``external.client.ClusterLink``."""
        ours = self._ours
        second = handle[1]

        def done(future: Any) -> None:
            error = future.exception()
            if error is not None:  # both have it, and Ray prints errors that no program has read
                self._when_done(second, lambda other: other.exception())
            if error is None:
                first = future.result()
                if first is None:
                    ours.finished(key, False)
                else:
                    ours.finished_here(key, first)
            elif isinstance(error, ray.exceptions.TaskCancelledError):
                ours.cancelled_there(key)
            else:
                ours.failed(key, _error_of(error, key))

        self._when_done(handle[0], done)

    def put(self, key: Key, parcel: Envelope, options: TaskOptions) -> Any:
        """See ``external.client.ClusterLink``."""
        return ray.put(None), ray.put(parcel)

    def find(self, key: Key) -> Any:
        """See ``external.client.ClusterLink``."""
        raise errors.DataLost(f"the future {key!r} came without its reference, and cannot be found on a Ray cluster")

    def fetch(self, handles: dict[Key, Any]) -> None:
        """See ``external.client.ClusterLink``."""
        for key, handle in handles.items():
            self._when_done(handle[1], lambda future, key=key: self._fetched(key, future))  # type: ignore[misc]

    def _fetched(self, key: Key, future: Any) -> None:
        error = future.exception()
        if error is None:
            self._ours.arrived(key, future.result())
        else:
            self._ours.lost(key, _error_of(error, key))

    def cancel(self, key: Key, handle: Any, force: bool) -> None:
        """See ``external.client.ClusterLink``."""
        with contextlib.suppress(Exception):  # it is done, or Ray is gone
            ray.cancel(handle[0], force=force, recursive=False)

    def explain(self, key: Key) -> str:
        """See ``external.client.ClusterLink``."""
        return f"{key} is with Ray, and not done; `ray list tasks --filter name={key}` tells more"

    def close(self) -> None:
        """See ``external.client.ClusterLink``.

        Ray itself ends only if this program started it.
        """
        self._closed = True
        self._news.close()
        if self._board is not None:
            with contextlib.suppress(Exception):
                ray.kill(self._board)
        if self._users is not None:
            self._users.leave()


def _error_of(error: BaseException, key: Key) -> BaseException | bytes:
    """Return our error for one of Ray's."""
    cause: Any = error
    while isinstance(cause, ray.exceptions.RayTaskError) and not isinstance(cause, CallFailed):
        cause = cause.cause
    if isinstance(cause, CallFailed):
        return cause.payload
    if isinstance(cause, (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)):
        died: BaseException = errors.WorkerDied(f"a worker of Ray died while it ran {key}: {error}")
    elif isinstance(cause, ray.exceptions.TaskCancelledError):
        died = errors.CancelledError(str(error))
    elif isinstance(cause, ray.exceptions.ObjectLostError):
        died = errors.DataLost(f"Ray lost the result of {key}: {error}")
    else:
        return cause if isinstance(cause, BaseException) else error
    died.__cause__ = error
    return died


class _Users:
    """The executors of this program that use a Ray which they have connected to; the last one disconnects."""

    def __init__(self) -> None:
        self._lock = locks.Lock()
        self._count = 0

    def enter(self, config: Config) -> bool:
        """Connect, unless this process is; return whether to disconnect at the end."""
        with self._lock:
            if self._count == 0:
                if ray.is_initialized():
                    return False
                _connect(config)
            self._count += 1
            return True

    def leave(self) -> None:
        """Count one executor less."""
        with self._lock:
            self._count -= 1
            if self._count == 0:
                ray.shutdown()


_users = _Users()
_ray: Any = ray  # much of it has no annotations


def _connect(config: Config) -> None:
    if config.backend != "ray":
        ray.init(config.backend, log_to_driver=False)
        return
    quiet: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    try:
        ray.init("auto", **quiet)
    except ConnectionError:  # there is none: one on this machine, for this program
        resources = dict(config.resources) or None
        ray.init("local", num_cpus=config.max_workers, resources=resources, include_dashboard=False, **quiet)


class RayEngine(ExternalEngine):
    """Workers of a Ray cluster."""

    title = "a Ray cluster"
    not_here: ClassVar[dict[str, str]] = {
        "mp_context": "Ray starts its own",
        "initializer": "use Ray's runtime environment with a worker_process_setup_hook",
        "max_tasks_per_child": "Ray keeps its workers as long as they are of use",
        "limits": "use its resources; with_options(resources=...) works",
        "forward_logs": "Ray prints what its workers log, as ray.init(log_to_driver=...) says",
        "memory_limit": "Ray's object store spills by itself; see ray start --object-store-memory",
    }

    def __init__(self, config: Config | None, make_future: Callable[[str, Any], Any]) -> None:
        users = None
        if config is not None:
            check_arguments(config, self.not_here, f"for workers of {self.title}")
            users = _users if _users.enter(config) else None
        super().__init__(config, make_future, RayLink(users))

    @property
    def max_workers(self) -> int:
        """How many tasks run at a time."""
        return int(_ray.cluster_resources().get("CPU", 0)) if ray.is_initialized() else 0

    def check_options(self, options: TaskOptions) -> None:
        """See ``ExternalEngine``."""
        super().check_options(options)
        if options.priority:
            raise errors.NotSupported("Ray has no priorities; submit what is urgent first, or use our own scheduler")
        if options.workers:
            raise errors.NotSupported("Ray does not send tasks to workers by name; use with_options(resources=...)")

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``; Ray's nodes, as its worker processes come and go."""
        self._check_open()
        found = {}
        for node in _ray.nodes():
            if node["Alive"]:
                resources = {k: v for k, v in node["Resources"].items() if not k.startswith("node:")}
                found[node["NodeID"]] = worker_facts(0, int(resources.get("CPU", 0)), 0, 0, resources)
        return found

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``."""
        raise errors.NotSupported("Ray cannot run a call once on each worker; use a worker_process_setup_hook")
