"""Executing one run: from payloads to a result or an error.

Covers: finding the function, unpickling arguments, the call, pickling the result, turning whatever is raised into an
error for the right future. Does not cover: when and in which thread (``service``).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from futures_cluster import clocks, context
from futures_cluster.messages import KEEP, Key, Payload
from futures_cluster.messages.rows import FunctionId, InputRow
from futures_cluster.services.client.function_table import call
from futures_cluster.services.common import forks
from futures_cluster.wire.codec import payloads, pickle_codec
from futures_cluster.wire.codec.main_modules import RunningProgram, mains
from futures_cluster.wire.codec.sizeof import sizeof

#: A function, and the program that submits it, if that has a ``__main__`` here.
Loaded: TypeAlias = "tuple[Any, RunningProgram | None]"


class Run(Protocol):
    """What is executed: ``worker.runs.Run``, or a call on the workers of another engine."""

    key: Key
    attempt: int
    function: FunctionId
    payload: Payload
    flags: int

    @property
    def inputs(self) -> Sequence[InputRow]: ...


class ResultStore(Protocol):
    """Where inputs without a payload are, and results stay that are too large for a message."""

    def get(self, key: Key) -> Any: ...
    def put(self, key: Key, value: Any, pickled: Payload | None) -> None: ...
    def put_payload(self, key: Key, payload: Payload) -> None: ...


class Executions:
    """What all runs of a worker share: functions by id, the codec, the store."""

    def __init__(self, codec: pickle_codec.PickleCodec, store: ResultStore, has_limit: bool = False) -> None:
        self.codec = codec
        self.store = store
        self.on_failure: Callable[[str, str, BaseException], None] = lambda key, function, error: None
        self.around_loading: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        self.check_client: Callable[[], None] = lambda: None  # may raise: its functions cannot run here
        self.ask_arguments: Callable[[str], Payload | None] = lambda key: None
        self.conflicts: dict[str, Any] = {}  # where some client's cannot
        self._has_limit = has_limit  # of memory
        self._pickled: dict[str, Any] = {}  # results that are being pickled, if so
        self._payloads: dict[str, Payload] = {}
        self._functions: dict[str, Loaded] = {}

    def pickling_bytes(self) -> int:
        """Return bytes of results being pickled; 0 without a memory limit."""
        return sum([sizeof(value) for value in list(self._pickled.values())])

    def register(self, function_id: str, payload: Payload) -> None:
        """Remember a function; its first run unpickles it, and gets the error."""
        self._payloads[function_id] = payload
        self._functions.pop(function_id, None)

    def preload(self, function_id: str, loaded: Loaded) -> None:
        """Remember a function that was unpickled before."""
        self._functions[function_id] = loaded

    def loaded(self, function_id: str) -> Loaded | None:
        """Return a function that was unpickled; None if it is not, or could not be."""
        return self._functions.get(function_id)

    def forget(self, function_ids: Any) -> None:
        """Forget functions, which come again before they are used again."""
        for function_id in function_ids:
            self._payloads.pop(function_id, None)
            self._functions.pop(function_id, None)

    def _prepare(self, run: Run) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        fn, program = self._functions.get(run.function) or self._load(run.function)
        if mains.is_per_thread:
            mains.enter(program)
            if self.conflicts:
                self.check_client()
        payload = run.payload
        if type(payload) is tuple:
            payload = self._arguments(run)
        if not run.inputs:
            args, kwargs = self.codec.load_call(payload, ())
        else:
            codec, store = self.codec, self.store
            values = [store.get(key) if small is None else codec.load(small) for key, _, small, _ in run.inputs]
            args, kwargs = codec.load_call(payload, values)
            fn = self._guard(run, fn, values)
        if program is not None and mains.is_per_thread:
            mains.enter(program)  # an argument may be another program's
        return fn, args, kwargs

    def _arguments(self, run: Run) -> Payload:
        """Return the arguments, mapped or fetched if they are in shared memory."""
        try:
            return payloads.attach(run.payload)
        except OSError:
            payload = self.ask_arguments(run.key)
            if payload is None:
                raise
            run.payload = payload
            return payload

    def _load(self, function_id: str) -> Loaded:
        payload = self._payloads.get(function_id)
        if payload is None:  # another slot has been faster
            return self._functions[function_id]
        mains.enter(None)
        with self.around_loading():
            function = self.codec.load_function(payload)
        self.check_client()
        loaded = self._functions[function_id] = function, mains.running()
        self._payloads.pop(function_id, None)
        context.load_adapters()
        return loaded

    def _guard(self, run: Run, fn: Any, values: list[Any]) -> Any:
        """Return what to call for a function with inputs; see ``input_checks``."""
        return fn

    def execute(self, run: Run, task: context.TaskContext) -> tuple[Any, Any]:
        """Execute a run.

        Returns
        -------
        finished : tuple or None
            ``(key, attempt, payload or None, size_bytes, duration_s)``.
        failed : tuple or None
            ``(key, attempt, error, duration_s)``; the other one is None.
        """
        key, attempt = run.key, run.attempt
        forks_before = forks.count
        start = None
        context.local.task = task
        task.begun_s = context.LOADS
        try:
            fn, args, kwargs = self._prepare(run)
            start = task.begun_s = clocks.perf_counter()
            value = fn(*args, **kwargs)
            if forks.count != forks_before:
                forks.leave()
            duration = clocks.perf_counter() - start
            if self._has_limit:
                self._pickled[key] = value
            payload, size_bytes = self.codec.dump_result(value, bool(run.flags & KEEP))
            stays = payload is None or size_bytes > pickle_codec.INLINE_BYTES
            if type(run.payload) is tuple and payloads.is_private(run.payload):
                payload = self._scattered(key, run.payload, None if stays else payload)
            elif stays:
                self.store.put(key, value, payload)
                payload = None
            return (key, attempt, payload, size_bytes, duration), None
        except BaseException as error:
            duration = 0.0
            if start is not None:
                duration = clocks.perf_counter() - start
                _forget_frame(error)
            if forks.count != forks_before:
                forks.leave(error)
            if start is None:
                error = _did_not_unpickle(error, key)
            self.on_failure(key, run.function, error)
            return None, (key, attempt, self.codec.dump_error(error), duration)
        finally:
            context.local.task = None
            if self._has_limit:
                self._pickled.pop(key, None)
            if mains.is_per_thread:
                mains.enter(None)
            fn = args = kwargs = value = None  # type: ignore[assignment]

    def _scattered(self, key: str, argument: Payload, result: Payload | None) -> Payload | None:
        """Return a result of scattered data, kept as it came for each task."""
        if result is not None:
            return payloads.as_private(result)
        argument = payloads.attach(argument)
        if argument[1][0] == "segment":
            argument = payloads.as_private(argument, payloads.KEPT)
        self.store.put_payload(key, argument)
        return None


def _forget_frame(error: BaseException) -> None:
    """Let the traceback begin in the user's function, not in this module."""
    tb = error.__traceback__
    if tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
        if tb.tb_next is not None and tb.tb_frame.f_code is call.__code__:
            tb = tb.tb_next
        error.with_traceback(tb)  # not by assignment, which a class may forbid


def _did_not_unpickle(error: BaseException, key: str) -> BaseException:
    from futures_cluster.errors import DeserializationError

    text = f"the function or an argument of {key} did not unpickle on the worker: {error!r}"
    if isinstance(error, ModuleNotFoundError):
        text += (
            f"; the worker finds no module {error.name!r} on its sys.path, which is {sys.path}. "
            "Install it there, or on a cluster send it by upload(path)"
        )
    wrapped = DeserializationError(text)
    wrapped.__cause__ = error
    return wrapped
