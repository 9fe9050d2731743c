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
from typing import Any

from futures_cluster import clocks, context, errors
from futures_cluster import messages as m
from futures_cluster.config import Config
from futures_cluster.engines.base import check_demand
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import Key, TaskOptions
from futures_cluster.services.callbacks import CallbackThread
from futures_cluster.services.calls import pure_key
from futures_cluster.services.functions import function_name
from futures_cluster.services.shared import LocalObjects, SharedPort
from futures_cluster.wire.exception_state import copied
from futures_cluster.wire.inproc import ObjectCodec
from futures_cluster.wire.tracebacks import call_detached

_numbers = itertools.count(1)  # of keys: one for all executors of a process


class _Local:
    """Stands for the client of a future that is done from the start."""

    can_stop_tasks = False
    forked = False
    name = "sync"

    def __init__(self, keyed: weakref.WeakValueDictionary[Key, Any]) -> None:
        self.codec = ObjectCodec()
        self.shared = SharedPort(self)
        self._keyed = keyed
        self.callbacks = CallbackThread()  # a task may add a callback to its own future
        self._objects = LocalObjects(self.name)

    def adopt_all(self, keys: list[Key]) -> dict[Key, Any]:
        """The futures: whoever put them into a shared object keeps them alive by it."""
        return {key: self._keyed[key] for key in keys}

    def share(self, future: Any) -> None:
        """A future goes into a shared object."""
        if future.client is not self:
            raise ValueError(f"{future!r} was released, or belongs to another executor; put its result() instead")

    def tell(self, message: m.Message) -> None:
        """Do what a scheduler would."""
        self._objects.handle(message, self.shared.deliver)

    def about_to_wait(self) -> None:
        """There is nothing to hurry."""

    def release(self, key: Key, at_once: bool) -> None:
        """Nothing is held elsewhere."""

    def cancelled(self, future: Any, force: bool) -> None:
        """Never: a future is done before anybody could cancel it."""


class SyncEngine:
    """Runs tasks at submit."""

    max_workers = 1
    slots = 0

    def __init__(self, config: Config, make_future: Callable[[str, Any], Any]) -> None:
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

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self._initialize()
        if self.broken is not None:
            raise copied(self.broken)
        self.check_options(options.task)
        call, keys, references = self._client.codec.dump_call(args, kwargs, options.resolve)
        name = function_name(fn)
        if options.pure:
            key = pure_key(name, "", self._client.codec.dump_call((fn, *args), kwargs, options.resolve)[0], keys)
            known = None if key is None else self._keyed.get(key)
            if known is not None:
                return known
        else:
            key = options.key
        key = key or f"{name}-sync-{next(self._numbers)}"
        if key in self._keyed:
            raise errors.DuplicateKey(f"the key {key!r} belongs to another future that is alive; choose another key")
        future = self._make_future(key, self._client)
        self._submitted += 1
        self._keyed[key] = future
        for reference in references:
            if reference.cancelled():  # type: ignore[attr-defined]
                future.deliver_cancelled()
                return future
            error = reference.exception()  # type: ignore[attr-defined]
            if error is not None:
                future.set_exception(reference.copy_error())  # type: ignore[attr-defined]
                return future
        values = {reference.key: reference.result() for reference in references}  # type: ignore[attr-defined]
        try:
            args, kwargs = self._client.codec.load_call(call, [values[key] for key in keys])
        except Exception as error:
            failed = errors.DeserializationError(f"the arguments of {key} could not be put together: {error!r}")
            failed.__cause__ = error
            future.fail_here(failed)
            return future
        self._run(future, fn, args, kwargs, options.task)
        return future

    def check_options(self, options: TaskOptions) -> None:
        """See ``Engine``."""
        check_demand(options, self._config.resources, ["sync"])

    def _run(
        self, future: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: TaskOptions
    ) -> None:
        key = future.key
        outer = context.local.task
        depth = 0 if outer is None else outer.depth + 1
        for tries_left in range(options.retries, -1, -1):
            start = clocks.monotonic()
            context.local.task = context.TaskContext(self, key, 1, depth)
            try:
                # The frames of a failed task must not keep this one alive, which has the future.
                result, error = call_detached(fn, *args, **kwargs)
            finally:
                context.local.task = outer
            if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                raise error
            if error is not None:
                if not tries_left:
                    future.set_exception(error)
                continue
            took = clocks.monotonic() - start
            if options.timeout_s is None or took <= options.timeout_s:
                future.set_result(result)
                break
            if not tries_left:  # nothing could stop it, but the future tells the same as elsewhere
                future.fail_here(errors.TaskTimeout(f"{key} ran longer than its timeout of {options.timeout_s} s"))

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

    def future_of_key(self, key: Key) -> Any:
        """See ``Engine``."""
        return self._keyed[key]

    def shared(self) -> Any:
        """See ``Engine``."""
        if self._closed:
            raise RuntimeError("cannot use shared objects after shutdown")
        return self._client.shared

    def watch(self, plugin: Any) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("backend='sync' has no scheduler to watch; use threads or processes")

    def workers(self) -> dict[str, dict[str, Any]]:
        """See ``Engine``."""
        return {"sync": {"pid": os.getpid(), "slots": 1, "thread": threading.current_thread().name}}

    def count_tasks(self) -> tuple[int, int]:
        """See ``Engine``."""
        return self._submitted, 0

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
        """See ``Engine``; there is nobody to send it to."""

    def explain(self, key: Key) -> list[str]:
        """See ``Engine``."""
        return [f"{key} has run: backend='sync' runs tasks when they are submitted"]

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """See ``Engine``."""
        self._closed = True
        self._client.shared.close(RuntimeError("the executor was shut down"))
        self._client.callbacks.close()

    def stop_workers(self, force: bool) -> None:
        """See ``Engine``."""
        raise errors.NotSupported("backend='sync' has no workers to stop; use shutdown()")

    # ---------------------------------------------------------------- for tasks (``context.TaskHost``)

    def task_waits(self, task: context.TaskContext, waits: bool) -> None:
        """Nothing else could use the time."""

    def has_children(self, task: context.TaskContext) -> None:
        """They are done when they are submitted."""

    def executor(self) -> Any:
        """The executor that made this engine."""
        return self.find_executor()


def _same(value: Any) -> Any:
    return value
