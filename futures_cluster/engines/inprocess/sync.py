"""The engine that runs each call at submit, in the caller's thread: for debuggers, and as the oracle of tests.

Covers: futures that are done when they are returned, with the semantics of the others (errors go to the future,
futures in arguments are replaced). Does not cover: anything that needs a worker.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, context, errors
from futures_cluster import messages as m
from futures_cluster.config import Config
from futures_cluster.engines.base import EngineBase, check_demand, check_limits, how_it_ended
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import DEFAULT_OPTIONS, Key, TaskOptions
from futures_cluster.scheduler.backoff import backoff_s
from futures_cluster.services.client.call_preparation import check_free, find_equal, pure_key
from futures_cluster.services.client.function_table import function_name
from futures_cluster.services.client.shared_objects import LocalObjects, SharedObjectClient
from futures_cluster.wire.codec import arguments
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.codec.object_codec import ObjectCodec
from futures_cluster.wire.codec.tracebacks import call_detached

if TYPE_CHECKING:
    from futures_cluster.services.common.plugin_runner import SchedulerPlugin
    from futures_cluster.services.common.protocols import ClientFuture

_numbers = itertools.count(1)  # of keys: one for all executors of a process


class _Callbacks:
    """Stands for the thread that calls callbacks: here the engine does, as a task may add one to its own future."""

    is_running = True

    def call(self, function: Callable[[], object]) -> None:
        """Do nothing: the engine calls them when the future is done."""


class _Local:
    """Stands for the client of a future that is done from the start."""

    can_stop_tasks = False
    forked = False
    leader: Any = None
    name = "sync"

    def __init__(self, keyed: weakref.WeakValueDictionary[Key, Any]) -> None:
        self.codec = ObjectCodec()
        self.shared = SharedObjectClient(self)
        self._keyed = keyed
        self.callbacks = _Callbacks()
        self._objects = LocalObjects(self.name)

    def futures_of_keys(self, keys: list[Key]) -> dict[Key, Any]:
        """Return the futures, which the shared object keeps alive."""
        return {key: self._keyed[key] for key in keys}

    def name_future(self, future: ClientFuture) -> Key:
        """Make the key of a future, by which it can be found from now on."""
        name = future._function_name.rpartition("<locals>.")[2]
        key = f"{name}-sync-{future._number}"
        self._keyed[key] = future
        return key

    def share(self, future: ClientFuture) -> None:
        """Take note that a future goes into a shared object."""
        if future._client is not self:
            raise ValueError(f"{future!r} was released, or belongs to another executor; put its result() instead")

    def send(self, message: m.Message) -> None:
        """Do what a scheduler would."""
        self._objects.handle(message, self.shared.deliver)

    def about_to_wait(self) -> None:
        """Do nothing: there is nothing to hurry."""

    def release(self, key: Key, at_once: bool) -> None:
        """Do nothing: no other process holds a result."""

    def withdraw(self, future: ClientFuture) -> bool:
        """Return False: it runs already."""
        return False

    def cancelled(self, future: ClientFuture, force: bool) -> None:
        """Do nothing: a future is done before a caller could cancel it."""


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


class SyncEngine(EngineBase):
    """Runs tasks at submit."""

    shares_memory = True
    client: Any = None
    max_workers = 1
    slots = 0

    def __init__(self, config: Config, make_future: Callable[[Any, Any], Any]) -> None:
        for name in ("mp_context", "max_tasks_per_child", "memory_limit"):
            if getattr(config, name) is not None:
                raise errors.NotSupported(f"{name} is for processes; backend='sync' runs tasks in the caller's thread")
        self._config = config
        self._make_future = make_future
        self._numbers = _numbers
        self._keyed: weakref.WeakValueDictionary[Key, Any] = weakref.WeakValueDictionary()
        self._client = _Local(self._keyed)
        self._closed = False
        self._submitted = 0
        self._initialized = False
        self.broken: BaseException | None = None
        self.find_executor: Callable[[], Any] = lambda: None

    def lend_executor(self, find: Callable[[], Any]) -> None:
        """See ``Engine``."""
        self.find_executor = find

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self._initialize()
        if self.broken is not None:
            raise copied(self.broken)
        if options.task is not DEFAULT_OPTIONS:
            self.check_options(options.task)
        key = options.key
        if key is not None:
            check_free(key, self._keyed)
        elif options.pure:
            call, keys, _ = self._client.codec.dump_call((fn, *args), kwargs, options.resolve)
            key = pure_key(function_name(fn), "", call, keys)
            known = find_equal(key, self._keyed)
            if known is not None:
                return known
        future = self._make_future(key, self._client)
        future._number = next(self._numbers)
        future._function_name = getattr(fn, "__qualname__", None) or function_name(fn)
        self._submitted += 1
        if key is not None:
            self._keyed[key] = future
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
        call, keys, found = self._client.codec.dump_call(args, kwargs, True)
        references: list[Any] = found  # all of them futures
        for reference in references:
            if reference.cancelled():
                future._deliver_cancelled()
                return None
            if reference.exception() is not None:
                future._deliver_failure(reference._copy_error())
                return None
        values = {reference.key: reference.result() for reference in references}
        try:
            return self._client.codec.load_call(call, [values[key] for key in keys])
        except Exception as error:
            failed = errors.DeserializationError(f"the arguments of {future.key} could not be put together: {error!r}")
            failed.__cause__ = error
            future._fail_here(failed)
            return None

    def check_options(self, options: TaskOptions) -> None:
        """See ``Engine``."""
        check_limits(options, self._config.limits)
        check_demand(options, self._config.resources, ["sync"])

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
        if not self._initialized:
            self._initialized = True
            if self._config.initializer is not None:
                try:
                    self._config.initializer(*self._config.initargs)
                except Exception as error:
                    self.broken = errors.ThreadInitializerFailed(f"the initializer raised {error!r}")
                    self.broken.__cause__ = error

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``."""
        return self.submit(_same, (value,), {}, SubmitOptions(options.task, resolve=False, key=options.key))

    @property
    def is_closed(self) -> bool:
        """See ``Engine``."""
        return self._closed

    def future_of_key(self, key: Key) -> Any:
        """See ``Engine``."""
        return self._keyed[key]

    def shared(self) -> SharedObjectClient:
        """See ``Engine``."""
        if self._closed:
            raise RuntimeError("cannot use shared objects after shutdown")
        return self._client.shared

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

    def upload(self, path: str) -> None:
        """See ``Engine``; there is no process to send it to."""

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        from futures_cluster.scheduler.views.explain import unknown

        future = self._keyed.get(key)
        if future is None:
            return [unknown(key)]
        return [how_it_ended(future) if future.done() else f"{key!r} runs in the thread that has submitted it"]

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """See ``Engine``."""
        self._closed = True
        self._client.shared.close(RuntimeError("the executor was shut down"))

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("backend='sync' has no workers to stop; use shutdown()")

    # ---------------------------------------------------------------- for tasks (``context.TaskHost``)

    def task_waits(self, task: context.TaskContext, waits: bool) -> None:
        """Do nothing: no other task could use the time."""

    def has_children(self, task: context.TaskContext) -> None:
        """Do nothing: they are done when they are submitted."""

    def executor(self) -> Any:
        """Return the executor that made this engine."""
        return self.find_executor()


def _same(value: Any) -> Any:
    return value
