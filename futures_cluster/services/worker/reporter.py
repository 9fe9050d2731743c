"""The reports of a worker while the status page has viewers, or once on request.

Covers: carrying out ``Observe``, collecting facts. Does not cover: what a worker records all the time (``stats``), what
the scheduler knows anyway (tasks and results by worker), showing it.

The scheduler sends ``Observe``, ``WorkerReporter.observe`` starts a timer on the worker's loop, and this sends a
``WorkerReport`` each time. Without a viewer there is no timer, recorder or profiler, and each run costs one comparison
more. Before the first viewer there is no reporter either: a worker starts without loading this module and those that it
imports.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from futures_cluster import clocks, metrics
from futures_cluster import messages as m
from futures_cluster.context import LOADS
from futures_cluster.services.common import log_tail
from futures_cluster.services.common.memory import resident_bytes
from futures_cluster.services.worker.profiler import Profiler
from futures_cluster.services.worker.stats import WorkerStats
from futures_cluster.services.worker.stdout_capture import StdoutCapture
from futures_cluster.services.worker.task_stream import TaskStreamRecorder
from futures_cluster.wire.versions import is_gil_enabled

#: Rows of a list in a detailed report.
MAX_LISTED = 50


class ReportSource(Protocol):
    """What the reporter reads of a worker; ``services.worker.service.WorkerService`` is one."""

    recorder: TaskStreamRecorder | None
    memory_limit: int | None
    store: Any
    peers: Any
    machine: Any
    machine_lock: Any
    stats: WorkerStats
    slots: Any
    tell: Callable[[list[m.Message]], None]

    def executing_threads(self) -> list[int]: ...


_Part = TypeVar("_Part", Profiler, StdoutCapture)


def _switched(part: _Part | None, is_wanted: bool, begin: Callable[[], _Part]) -> _Part | None:
    """Begin a wanted part of the reports, or end another; return it or None."""
    if is_wanted:
        return begin() if part is None else part
    if part is not None:
        part.stop()
    return None


class WorkerReporter:
    """Reports of one worker."""

    def __init__(self, service: ReportSource, loop: Any) -> None:
        self._service = service
        self._loop = loop
        self._logs = log_tail.tail()
        self._stats = service.stats
        self._profiler: Profiler | None = None
        self._capture: StdoutCapture | None = None
        self._reported = [0, 0]  # numbers of the last failure and the last line of the log in a report
        self._request = m.Observe(-1.0)  # no reports; 0 asks for one, other numbers for one at each interval
        self._timer: Any = None
        self._due = 0.0
        self._last_cpu = service.stats.began
        self._closed = False

    def observe(self, request: m.Observe) -> None:
        """Start or stop reporting, or report once, as a message asks.

        The thread that reads from the scheduler calls this, so that tasks of the next message are recorded already.
        """
        if self._closed:
            return
        if request.interval_s >= 0 >= self._request.interval_s:
            self._reported = [0, 0]
        if request.interval_s == 0:  # one report now; those of the timer go on as before
            self._send(request.detail, asked=True)
            request = self._request
        self._request = request
        watched = request.interval_s > 0
        service = self._service
        service.recorder = (service.recorder or TaskStreamRecorder()) if watched else None
        profiles = watched and request.profile
        self._profiler = _switched(self._profiler, profiles, lambda: Profiler(service.executing_threads))
        self._capture = _switched(self._capture, watched and request.output, StdoutCapture)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._schedule)

    def _schedule(self) -> None:
        """Set the timer by the last request; the loop calls this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed or self._request.interval_s <= 0:
            return
        self._due = self._loop.time() + self._request.interval_s
        self._timer = self._loop.call_at(self._due, self._report)

    def _report(self) -> None:
        if self._closed:
            return
        metrics.record("loop_delay", max(0.0, self._loop.time() - self._due))
        self._send(self._request.detail)
        self._schedule()

    def _send(self, detail: bool, asked: bool = False) -> None:
        self._service.tell([m.WorkerReport(self._service.machine.name, self.facts(detail), asked)])

    # ---------------------------------------------------------------- facts

    def facts(self, detail: bool) -> dict[str, Any]:
        """Return the facts of one report, as plain values."""
        service, stats, failures = self._service, self._stats, self._stats.failures
        store, machine = service.store, service.machine
        now, used = clocks.monotonic(), clocks.process_time()
        seconds, before = self._last_cpu
        self._last_cpu = (now, used)
        facts: dict[str, Any] = {
            "now": clocks.time(),
            "pid": os.getpid(),
            "gil_enabled": is_gil_enabled(),
            "cpu": (used - before) / max(now - seconds, 1e-3),
            "memory_bytes": resident_bytes(),
            "memory_limit": service.memory_limit,
            "stored": len(store),
            "spilled": store.spilled_count,
            "spilled_bytes": store.on_disk_bytes,
            "threads": len(service.slots),
            "executing": len(machine.executing),
            "ready": len(machine.ready),
            "received_bytes": stats.received_bytes,
            "sent_bytes": stats.sent_bytes,
            "traffic": [[peer, *row] for peer, row in list(stats.peers.items())],
            "raised": failures.number,
            "metrics": metrics.summary(),
        }
        facts["failures"] = [row[1:] for row in list(failures.rows) if row[0] > self._reported[0]]
        self._reported[0] = failures.number
        facts["logs"] = self._logs.since(self._reported[1])
        self._reported[1] = self._logs.number
        if service.recorder is not None:
            rows, dropped = service.recorder.take()
            names = self._stats.names
            for row in rows:
                row[2] = names.get(row[2], row[2])
            facts["stream"] = rows
            facts["stream_dropped"] = dropped
            facts["running"] = self._running()
        if self._profiler is not None:
            facts["profile"] = self._profiler.take()
        if self._capture is not None:
            runs = service.machine.runs
            facts["output"] = self._capture.take(lambda key: key in runs)
        if detail:
            facts["detail"] = self._detail()
        return facts

    def _running(self) -> list[list[Any]]:
        """Return ``[lane, function, key, start_s]`` of tasks that run for an interval."""
        now_s, moment = clocks.time(), clocks.perf_counter()
        found = []
        for slot in list(self._service.slots):
            task = slot.task
            run = task and task.begun_s != LOADS and self._service.machine.runs.get(task.key)
            if run and (since_s := moment - task.begun_s) > self._request.interval_s:
                name = self._stats.names.get(run.function, run.function)
                found.append([slot.index, name, task.key, now_s - since_s])
        return found

    def _detail(self) -> dict[str, Any]:
        machine = self._service.machine
        with self._service.machine_lock:
            fetching = [
                [replica.key, replica.size_bytes, replica.holders[0][0] if replica.holders else ""]
                for replica in machine.replicas.values()
                if not replica.held
            ][:MAX_LISTED]
            runs = [
                [run.key, self._stats.names.get(run.function, run.function), run.state, run.missing, run.waits]
                for run in list(machine.runs.values())[:MAX_LISTED]
            ]
        on_disk = self._service.store.spilled_keys(MAX_LISTED)
        return {"fetching": fetching, "runs": runs, "on_disk": on_disk, "connections": self._service.peers.number}

    def close(self) -> None:
        """Stop reporting; any thread may call this, and more than one at a time."""
        self._closed = True
        self._service.recorder = None
        for part in (self._profiler, self._capture):
            if part is not None:
                part.stop()
        if self._timer is not None:
            self._timer.cancel()
