"""Our tasks on the workers of another engine, such as Dask's or Ray's.

Covers: executing one call with all that a task of ours may expect (``current_executor()``, errors with their
tracebacks, options), and telling its client that it has begun or runs too long. Does not cover: how the engine starts
it, and how a message reaches the client (``HostWorker``, which each engine implements).

Most tasks are so short that no client looks at their state: a task is reported only when a tick of the clock finds it
running. So a short one costs nothing, and an idle cluster has no ticks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Protocol

from futures_cluster import clocks, locks
from futures_cluster.context import TaskContext
from futures_cluster.engines.external.payloads import CallFailed, InlineResult, ParcelCodec, RemoteCall, StoredResult
from futures_cluster.errors import DeserializationError, TaskTimeout
from futures_cluster.messages import Key
from futures_cluster.services.worker.execution import Executions, Loaded
from futures_cluster.wire.codec.exceptions import headline
from futures_cluster.wire.codec.main_modules import mains

#: Seconds between two looks at what runs.
TICK_S = 0.05
#: Maximum number of functions that a worker remembers.
MAX_FUNCTIONS = 1000
#: Characters of an error that the other engine's logs show.
MAX_LOGGED_CHARS = 200

STARTED = "started"
TIMED_OUT = "timed out"


class HostWorker(Protocol):
    """The worker of another engine, as our tasks there use it."""

    def executor(self) -> Any:
        """Return an executor over the engine, for tasks that submit tasks."""

    def tell(self, client: str, what: str, keys: list[Key]) -> None:
        """Tell a client that tasks have begun or run too long; it may be lost.

        Any thread may call this.
        """

    def give_up_slot(self) -> None:
        """Let other tasks run while the task on this thread waits."""

    def take_slot(self) -> None:
        """Take the slot again, when the task on this thread goes on."""


class _CallRun:
    """One call, for ``Executions``: a run whose inputs are payloads, and the store of its large result."""

    attempt = 1
    flags = 0

    def __init__(self, call: RemoteCall, values: tuple[Any, ...]) -> None:
        self.key = call.key
        self.function, _ = call.function
        self.payload = call.arguments.payload
        self.inputs = [(key, 0, value, ()) for key, value in zip(call.inputs, values, strict=True)]
        self.value: Any = None

    def put(self, key: Key, value: Any, pickled: Any) -> None:
        """Keep a result that is too large to travel with the message."""
        self.value = value

    def put_payload(self, key: Key, payload: Any) -> None:
        """Raise: data is scattered by the other engine."""
        raise NotImplementedError

    def get(self, key: Key) -> Any:
        """Raise: all inputs come as payloads."""
        raise NotImplementedError


class _Host:
    """The host of one task (``context.TaskHost``)."""

    def __init__(self, worker: HostWorker) -> None:
        self._worker = worker
        self._gave_up = False

    def task_waits(self, task: TaskContext, waits: bool) -> None:
        """Give the slot back, or take it again once all tasks that it submitted are done.

        Not earlier: it may wait for these by calls that are not ours (``concurrent.futures.wait``).
        """
        if threading.get_ident() != task.thread:
            return
        if waits:
            self._give_up()
        elif self._gave_up and not task.children:
            self._worker.take_slot()
            self._gave_up = False

    def has_children(self, task: TaskContext) -> None:
        """Take note that the task submits others, and will probably wait for them."""
        if threading.get_ident() == task.thread:
            self._give_up()

    def _give_up(self) -> None:
        if not self._gave_up:
            self._gave_up = True
            self._worker.give_up_slot()

    def executor(self) -> Any:
        """See ``context.TaskHost``."""
        return self._worker.executor()


class ExternalTaskRunner:
    """Runs our tasks in one worker process of another engine."""

    def __init__(self, worker: HostWorker) -> None:
        self._worker = worker
        mains.become_host(guest=True)
        self._codec = ParcelCodec()
        self._functions: OrderedDict[str, Loaded] = OrderedDict()
        self._clock = CallClock(worker)

    def run(self, call: RemoteCall, values: tuple[Any, ...]) -> InlineResult | StoredResult:
        """Execute a call; ``values`` are the payloads of its inputs.

        Raises
        ------
        CallFailed
            With the payload of the error, and a text for the other engine's logs.
        """
        run = _CallRun(call, values)
        executions = Executions(self._codec, run)
        function = self._functions.get(run.function)
        if function is None:
            executions.register(*call.function)
        else:
            executions.preload(run.function, function)
        task = TaskContext(_Host(self._worker), call.key, 1, call.depth, call.priority)
        client = self._worker.executor()._engine.client if call.carried else None
        if client is not None:
            client.introduce(call.carried)
        start = clocks.monotonic()
        self._clock.start(call, start)
        try:
            finished, failed = executions.execute(run, task)
        finally:
            self._clock.end(call)
        self._remember(run.function, executions.loaded(run.function))
        if call.timeout_s is not None and clocks.monotonic() - start > call.timeout_s:
            error = TaskTimeout(f"{call.key} ran longer than its timeout of {call.timeout_s} s")
            raise CallFailed(self._codec.dump_error(error), str(error))
        if failed is not None:
            _, _, payload, _ = failed
            raise CallFailed(payload, f"{call.key}: {headline(payload)[:MAX_LOGGED_CHARS]}")
        _, _, result, size_bytes, _ = finished
        if result is None:
            return StoredResult(run.value, size_bytes)
        try:
            self._codec.load(result)  # else ``exception()``, which fetches no result, would not tell of it
        except BaseException as error:
            wrapped = DeserializationError(f"the result of {call.key} does not unpickle: {error!r}")
            wrapped.__cause__ = error
            raise CallFailed(self._codec.dump_error(wrapped), str(wrapped)[:MAX_LOGGED_CHARS]) from None
        return InlineResult(result)

    def _remember(self, function_id: str, function: Loaded | None) -> None:
        if function is not None:
            self._functions[function_id] = function
            self._functions.move_to_end(function_id)
            while len(self._functions) > MAX_FUNCTIONS:
                self._functions.popitem(last=False)


class CallClock:
    """The thread that tells clients which calls have been running for a tick, or too long."""

    def __init__(self, worker: HostWorker) -> None:
        self._worker = worker
        self._running: dict[int, tuple[RemoteCall, float]] = {}
        self._reported: dict[int, None] = {}
        self._lock = locks.Lock()
        self._is_needed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, call: RemoteCall, now: float) -> None:
        """Watch a call that begins."""
        self._running[id(call)] = (call, now)
        if not self._is_needed.is_set():
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._tick, name="futures_cluster-clock", daemon=True)
                    self._thread.start()
                self._is_needed.set()

    def end(self, call: RemoteCall) -> None:
        """Stop watching a call."""
        del self._running[id(call)]
        self._reported.pop(id(call), None)

    def due_messages(self, now: float) -> list[tuple[str, str, list[Key]]]:
        """Return what clients have to hear now: ``(client, what, keys)``."""
        messages: dict[tuple[str, str], list[Key]] = {}
        for identity, (call, start) in list(self._running.items()):
            if identity not in self._reported and now - start >= TICK_S / 2:
                self._reported[identity] = None
                messages.setdefault((call.client, STARTED), []).append(call.key)
            if call.timeout_s is not None and now - start > call.timeout_s:
                messages.setdefault((call.client, TIMED_OUT), []).append(call.key)
        return [(client, what, keys) for (client, what), keys in messages.items()]

    def _tick(self) -> None:
        while True:
            self._is_needed.wait()
            clocks.sleep(TICK_S)
            for client, what, keys in self.due_messages(clocks.monotonic()):
                try:
                    self._worker.tell(client, what, keys)
                except Exception:  # the client is gone, or the cluster
                    continue
            if not self._running:
                self._is_needed.clear()
                if self._running:
                    self._is_needed.set()
