"""The engine that runs each call at submit, in the caller's thread: for debuggers, and as the oracle of tests.

Covers: futures that are done when they are returned, with the semantics of the others (errors go to the future,
futures in arguments are replaced). Does not cover: anything that needs a worker.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, context, errors
from futures_cluster.config import Config
from futures_cluster.engines.base import how_it_ended
from futures_cluster.engines.inprocess.base import InProcessBase
from futures_cluster.engines.inprocess.work import with_values
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import DEFAULT_OPTIONS, Key, TaskOptions
from futures_cluster.scheduler.backoff import backoff_s
from futures_cluster.services.client.shared_objects import SharedObjectClient
from futures_cluster.wire.codec import arguments
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.codec.tracebacks import call_detached, detach

if TYPE_CHECKING:
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin
    from futures_cluster.services.common.protocols import ClientFuture


class _Callbacks:
    """Stands for the thread that calls callbacks: here the engine does, as a task may add one to its own future."""

    is_running = True

    def call(self, function: Callable[[], object]) -> None:
        """Do nothing: the engine calls them when the future is done."""


class _Task(context.TaskContext):
    """The task that runs; its key is made when it is asked for."""

    def __init__(self, host: context.TaskHost, future: ClientFuture) -> None:
        self.host = host
        self._future = future

    @property
    def key(self) -> Key:  # type: ignore[override]
        """The key of the task."""
        key: Key = self._future.key
        return key


class SyncEngine(InProcessBase):
    """Runs tasks at submit."""

    worker = owner = "sync"  # without a name in log records
    client: Any = None
    callbacks = _Callbacks()
    max_workers = 1
    slots = 0
    _numbers = itertools.count(1)  # of keys: one for all executors of a process

    def __init__(self, config: Config, make_future: Callable[[Any, Any], Any]) -> None:
        for name in ("mp_context", "max_tasks_per_child", "memory_limit"):
            if getattr(config, name) is not None:
                raise errors.NotSupported(f"{name} is for processes; backend='sync' runs tasks in the caller's thread")
        super().__init__(config, make_future)
        self._submitted = 0

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        if self.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self._initialize()
        if self.broken is not None:
            raise copied(self.broken)
        if options.task is not DEFAULT_OPTIONS:
            self.check_options(options.task)
        future, is_new = self._future_of_call(fn, args, kwargs, options)
        if not is_new:
            return future
        self._submitted += 1
        if options.resolve and not arguments.are_plain(args, kwargs):
            put = self._put_in_values(future, args, kwargs)
            if put is None:
                return future
            args, kwargs = put
        self._run(future, fn, args, kwargs, options.task)
        return future

    def _put_in_values(self, future: ClientFuture, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the arguments with values of futures.

        None if one of these futures has failed, and the call's future because of it.
        """
        found = arguments.find(args, kwargs)
        given = self._replaceable(found)
        for other in given:
            if other.cancelled():
                future._deliver_cancelled()
                return None
            if other.exception() is not None:
                future._deliver_failure(other._copy_error())
                return None
        try:
            return with_values(args, kwargs, given, found.inside, future)
        except errors.DeserializationError as error:
            future._deliver_failure(detach(error))
            return None

    def _run(
        self, future: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions
    ) -> None:
        outer = context.local.task
        tries_left = options.retries
        while True:
            start = 0.0 if options.timeout_s is None else clocks.monotonic()
            task = context.local.task = _Task(self, future)
            if outer is not None:
                task.depth = outer.depth + 1
            try:
                # The frames of a failed task must not keep this one alive, which has the future.
                result, error = call_detached(fn, *args, **kwargs)
            finally:
                context.local.task = outer
            if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                raise error
            if error is None:
                if options.timeout_s is None or clocks.monotonic() - start <= options.timeout_s:
                    future._deliver_value(result)
                    break
                # Nothing could stop it, but the future tells the same as elsewhere.
                error = errors.TaskTimeout(f"{future.key} ran longer than its timeout of {options.timeout_s} s")
            if not tries_left:
                future._deliver_failure(error)
                break
            if options.backoff_s and not isinstance(error, errors.TaskTimeout):
                retry = options.retries - tries_left + 1
                clocks.sleep(backoff_s(options, future.key, retry, str(os.getpid())))
            tries_left -= 1
        if future._lazy_condition is not None:
            future._invoke_callbacks()

    def _initialize(self) -> None:
        config = self._config
        if config.initializer is not None:
            self._config = config._replace(initializer=None, initargs=())  # once, and futures keep nothing of it
            try:
                config.initializer(*config.initargs)
            except Exception as error:
                self.broken = errors.ThreadInitializerFailed(f"the initializer raised {error!r}")
                self.broken.__cause__ = error

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``."""
        return self.submit(_same, (value,), {}, SubmitOptions(options.task, resolve=False, key=options.key))

    def shared(self) -> SharedObjectClient:
        """See ``Engine``."""
        if self.closing:
            raise RuntimeError("cannot use shared objects after shutdown")
        return self.shared_port

    def watch(self, plugin: SchedulerPlugin) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("backend='sync' has no scheduler to watch; use threads or processes")

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``."""
        return {"sync": {"pid": os.getpid(), "slots": 1, "thread": threading.current_thread().name}}

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``."""
        return self._submitted, 0

    def unfinished_futures(self) -> list[Any]:
        """See ``Engine``; a future is done before the caller has it."""
        return []

    def wait_for_workers(self) -> list[str]:
        """See ``Engine``."""
        return ["sync"]

    def scale(self, minimum: int, maximum: int) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("backend='sync' runs everything in the calling thread; use backend='processes'")

    def restart_workers(self) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("backend='sync' has no workers to restart; use backend='processes'")

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        from futures_cluster.scheduler.views.explain import unknown

        future = self._keyed.get(key)
        if future is None:
            return [unknown(key)]
        return [how_it_ended(future) if future.done() else f"{key!r} runs in the thread that has submitted it"]

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """See ``Engine``."""
        self.closing = True
        self.shared_port.close(RuntimeError("the executor was shut down"))

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("backend='sync' has no workers to stop; use shutdown()")

    # ---------------------------------------------------------------- for tasks (``context.TaskHost``)

    def task_waits(self, task: context.TaskContext, waits: bool) -> None:
        """Do nothing: no other task could use the time."""

    def has_children(self, task: context.TaskContext) -> None:
        """Do nothing: they are done when they are submitted."""


def _same(value: Any) -> Any:
    return value
