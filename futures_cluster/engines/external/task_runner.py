"""Our tasks on the workers of another engine.

Covers: executing one call with all that a task of ours may expect (``current_executor()``, errors with their
tracebacks, options), and telling its client that it has begun or runs too long. Does not cover: how the engine starts
it, and how a message reaches the client (``HostWorker``, which each engine has).

Most tasks are short, and nobody asks whether they run: a task is reported only when a tick of the clock finds it
running. So a short one costs nothing, and a cluster that idles has no ticks.
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

#: Between two looks at what runs.
TICK_S = 0.05
#: Maximum number of functions that a worker remembers.
MAX_FUNCTIONS = 1000
#: Characters of an error that the other engine's logs show.
MAX_TEXT = 200

STARTED = "started"
TIMED_OUT = "timed out"


class HostWorker(Protocol):
    """The worker of another engine, as our tasks there see it."""

    def executor(self) -> Any:
        """Return an executor over the engine, for tasks that submit tasks."""

    def tell(self, client: str, what: str, keys: list[Key]) -> None:
        """Let a client know; from any thread, and may be lost."""

    def give_up_slot(self) -> None:
        """Let other tasks run while the task on this thread waits."""

    def take_slot(self) -> None:
        """Take the slot again: the task on this thread goes on."""


class _CallRun:
    """One call as a run (``execution.Run``) whose inputs come as payloads, and the store of its large result."""

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

    def put_packed(self, key: Key, payload: Any) -> None:
        """Raise: data is scattered by the other engine."""
        raise NotImplementedError

    def get(self, key: Key) -> Any:
        """Raise: all inputs come as payloads."""
        raise NotImplementedError


class _Host:
    """The host of one task (``context.TaskHost``)."""

    def __init__(self, site: HostWorker) -> None:
        self._site = site
        self._gave_up = False

    def task_waits(self, task: TaskContext, waits: bool) -> None:
        """Give the slot back, or take it again once all that it submitted is done.

        It may wait for them by means that do not pass by here (``concurrent.futures.wait``).
        """
        if threading.get_ident() != task.thread:
            return
        if waits:
            self._give_up()
        elif self._gave_up and not task.children:
            self._site.take_slot()
            self._gave_up = False

    def has_children(self, task: TaskContext) -> None:
        """Take note that the task submits others, and will probably wait for them."""
        if threading.get_ident() == task.thread:
            self._give_up()

    def _give_up(self) -> None:
        if not self._gave_up:
            self._gave_up = True
            self._site.give_up_slot()

    def executor(self) -> Any:
        """See ``HostWorker``."""
        return self._site.executor()


class ExternalTaskRunner:
    """All that runs for us in one worker process."""

    def __init__(self, site: HostWorker) -> None:
        self._site = site
        mains.become_host(guest=True)
        self._codec = ParcelCodec()
        self._functions: OrderedDict[str, Loaded] = OrderedDict()
        self._clock = CallClock(site)

    def run(self, call: RemoteCall, values: tuple[Any, ...]) -> InlineResult | StoredResult:
        """Execute a call; ``values`` are its inputs, as parcels.

        Raises
        ------
        TaskFailed
            With the error.
        """
        run = _CallRun(call, values)
        executions = Executions(self._codec, run)
        function = self._functions.get(run.function)
        if function is None:
            executions.register(*call.function)
        else:
            executions.preload(run.function, function)
        task = TaskContext(_Host(self._site), call.key, 1, call.depth, call.priority)
        client = self._site.executor()._engine.client if call.carried else None
        if client is not None:
            client.introduce(call.carried)
        start = clocks.monotonic()
        self._clock.begins(call, start)
        try:
            finished, failed = executions.execute(run, task)
        finally:
            self._clock.ends(call)
        self._remember(run.function, executions.loaded(run.function))
        if call.timeout_s is not None and clocks.monotonic() - start > call.timeout_s:
            error = TaskTimeout(f"{call.key} ran longer than its timeout of {call.timeout_s} s")
            raise CallFailed(self._codec.dump_error(error), str(error))
        if failed is not None:
            _, _, payload, _ = failed
            raise CallFailed(payload, f"{call.key}: {headline(payload)[:MAX_TEXT]}")
        _, _, result, size_bytes, _ = finished
        if result is None:
            return StoredResult(run.value, size_bytes)
        try:
            self._codec.load(result)  # who asks for the exception must be told, before anybody fetches the result
        except BaseException as error:
            wrapped = DeserializationError(f"the result of {call.key} does not unpickle: {error!r}")
            wrapped.__cause__ = error
            raise CallFailed(self._codec.dump_error(wrapped), str(wrapped)[:MAX_TEXT]) from None
        return InlineResult(result)

    def _remember(self, function_id: str, function: Loaded | None) -> None:
        if function is not None:
            self._functions[function_id] = function
            self._functions.move_to_end(function_id)
            while len(self._functions) > MAX_FUNCTIONS:
                self._functions.popitem(last=False)


class CallClock:
    """Tells clients what has been running for a tick, and what runs for too long."""

    def __init__(self, site: HostWorker) -> None:
        self._site = site
        self._running: dict[int, tuple[RemoteCall, float]] = {}
        self._told: dict[int, None] = {}
        self._lock = locks.Lock()
        self._begun = threading.Event()
        self._thread: threading.Thread | None = None

    def begins(self, call: RemoteCall, now: float) -> None:
        """Take note that a call starts."""
        self._running[id(call)] = (call, now)
        if not self._begun.is_set():
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._tick, name="futures_cluster-clock", daemon=True)
                    self._thread.start()
                self._begun.set()

    def ends(self, call: RemoteCall) -> None:
        """Take note that the call has ended."""
        del self._running[id(call)]
        self._told.pop(id(call), None)

    def look(self, now: float) -> list[tuple[str, str, list[Key]]]:
        """Return what there is to say now: ``(client, what, keys)``."""
        news: dict[tuple[str, str], list[Key]] = {}
        for identity, (call, start) in list(self._running.items()):
            if identity not in self._told and now - start >= TICK_S / 2:
                self._told[identity] = None
                news.setdefault((call.client, STARTED), []).append(call.key)
            if call.timeout_s is not None and now - start > call.timeout_s:
                news.setdefault((call.client, TIMED_OUT), []).append(call.key)
        return [(client, what, keys) for (client, what), keys in news.items()]

    def _tick(self) -> None:
        while True:
            self._begun.wait()
            clocks.sleep(TICK_S)
            for client, what, keys in self.look(clocks.monotonic()):
                try:
                    self._site.tell(client, what, keys)
                except Exception:  # the client is gone, or the cluster: nobody waits for this
                    continue
            if not self._running:
                self._begun.clear()
                if self._running:
                    self._begun.set()
