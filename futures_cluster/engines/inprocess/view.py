"""The engine for people: its status page, reports, and what tasks print.

Covers: standing for a scheduler and its one worker to ``services.observe.monitor`` and ``services.worker.reporter``.
Does not cover: what is noted (``instrumentation``), what is shown of it (``monitor``). The first look loads it, and
starts its thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, locks
from futures_cluster import messages as m
from futures_cluster.engines.inprocess.snapshot import take_snapshot
from futures_cluster.engines.inprocess.work import WorkItem
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.services.observe.monitor import ClusterMonitor
from futures_cluster.services.observe.program_view import ProgramView
from futures_cluster.services.worker.reporter import WorkerReporter

if TYPE_CHECKING:
    from futures_cluster.engines.inprocess.host import Host
    from futures_cluster.scheduler.state import State


class SchedulerStandIn:
    """What ``ClusterMonitor`` asks of ``services.scheduler.service.SchedulerService``."""

    def __init__(self, engine: Host, now: Callable[[], float]) -> None:
        self.lock = locks.Lock()
        self.monitor: Any = None
        self.workers: dict[str, Callable[[list[m.Message]], None]] = {}
        self._engine = engine
        self._now = now

    @property
    def machine(self) -> SchedulerStandIn:
        """Where the state is."""
        return self

    @property
    def state(self) -> State:
        """A snapshot of what there is."""
        return take_snapshot(self._engine, self._now())

    @contextlib.contextmanager
    def reading(self) -> Iterator[State]:
        """Yield the same, under the lock."""
        with self.lock:
            yield self.state

    def take(self, messages: list[m.Message]) -> None:
        """Take what the worker reports."""
        with self.lock:
            for message in messages:
                if self.monitor is not None:
                    self.monitor.on_message(message)


class WorkerStandIn:
    """What ``WorkerReporter`` asks of ``services.worker.service.WorkerService``; all slots are one worker."""

    memory_limit = None

    def __init__(self, engine: Host, tell: Callable[[list[m.Message]], None]) -> None:
        self.name = engine.name
        self.tell = tell
        self.machine_lock = locks.Lock()
        self.peers = SimpleNamespace(number=0)
        self.store = _NothingStored()
        self.stats = engine.instrumentation.stats
        self._engine = engine

    @property
    def recorder(self) -> Any:
        """Rows of the task stream."""
        return self._engine.instrumentation.recorder

    @recorder.setter
    def recorder(self, recorder: Any) -> None:
        self._engine.instrumentation.recorder = recorder

    @property
    def slots(self) -> list[Any]:
        """Each with the ``task`` that it executes."""
        return [
            SimpleNamespace(index=slot.index, task=slot.task if isinstance(slot.task, WorkItem) else None)
            for slot in self._engine.threads
        ]

    @property
    def machine(self) -> Any:
        """The runs that there are."""
        runs = {
            work.key: SimpleNamespace(
                key=work.key, function=work.function, state="executing", missing=0, waits=bool(work.waiting)
            )
            for work in self._engine.running()
        }
        return SimpleNamespace(
            name=self.name, runs=runs, executing=runs, ready=range(len(self._engine.queued)), replicas={}
        )

    def executing_threads(self) -> list[int]:
        """Return the identities of the threads that execute tasks."""
        return [
            slot.thread.ident for slot in self._engine.threads if isinstance(slot.task, WorkItem) and slot.thread.ident
        ]


class _NothingStored:
    """Results are in their futures."""

    spilled_count = on_disk_bytes = 0

    def __len__(self) -> int:
        return 0

    def spilled_keys(self, most: int) -> list[Any]:
        """Return no keys: no value is on disk."""
        return []


class EngineView(ProgramView):
    """Looks at one engine, from the first on until its end."""

    def __init__(self, engine: Host) -> None:
        self._thread = LoopThread("futures_cluster-observatory")
        loop = self._thread.loop
        self._since = clocks.time()
        self._closed = False
        scheduler = SchedulerStandIn(engine, loop.time)
        super().__init__(ClusterMonitor(scheduler, loop, self._about), lambda: self._closed)
        worker: Any = WorkerStandIn(engine, scheduler.take)
        self._reporter = WorkerReporter(worker, loop)
        scheduler.workers[engine.name] = self._receive
        self._thread.start()
        engine.instrumentation.begin_to_measure()

    def _about(self) -> dict[str, Any]:
        return {"addresses": ["threads of this program"], "since": self._since}

    def _receive(self, messages: list[m.Message]) -> None:
        for message in messages:
            if type(message) is m.Observe:
                self._reporter.observe(message)

    @contextlib.contextmanager
    def observe(self) -> Iterator[Callable[[], dict[str, Any]]]:
        """See ``ProgramView``."""
        with super().observe() as everything:
            self.ask()  # so that what is submitted from now on is recorded
            yield everything

    def close(self) -> None:
        """Stop recording; on the last thread of the engine, or that of its caller."""
        self._closed = True
        page = self.take_page()
        self._reporter.close()
        if page is not None:
            page.close()
        self._thread.call(self.monitor.close)
        self._thread.stop()

    def join(self) -> None:
        """Wait for the end of the thread, after ``close``."""
        self._thread.thread.join()
