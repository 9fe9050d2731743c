"""All that is known of a scheduler and its workers, for viewers and reports.

Covers: telling workers to report while there are viewers, keeping what they report, putting it together with the
scheduler's own books. Does not cover: serving it (``status.http``, ``status.api``), deciding anything: it only reads.

The way: a viewer enters -> ``Observe`` to each worker -> ``WorkerReport`` -> ``on_message`` (on whatever thread drives
the machine, under the service's lock, so it only puts things away) -> ``snapshot`` and the others, called by the thread
of the status page. Without viewers the workers send nothing, and the monitor keeps only what it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from itertools import takewhile
from typing import Any, Protocol

from futures_cluster import clocks, locks, metrics
from futures_cluster import messages as m
from futures_cluster.scheduler.state import State
from futures_cluster.scheduler.views import overview
from futures_cluster.scheduler.views.remaining import running_tasks, seconds_left
from futures_cluster.scheduler.views.snapshot import snapshot
from futures_cluster.services.common import log_tail
from futures_cluster.services.common.loop_thread import call_soon
from futures_cluster.services.common.memory import resident_bytes
from futures_cluster.services.observe.pending_replies import PendingReplies
from futures_cluster.status import profiles
from futures_cluster.wire.versions import is_gil_enabled, own_versions

#: Version of what ``/api`` says.
VERSION = 1
#: Between two reports of a worker while the page has a viewer; many workers report less often.
REPORT_INTERVAL_S = 0.5
REPORTS_A_SECOND = 400
#: Rows of the task stream, failures and lines of the log that are kept.
MAX_ROWS = 20_000
MAX_FAILURES = 200
MAX_LOGS = 400
#: Trees of samples that wait until a viewer asks for a profile, or the monitor makes a snapshot.
MAX_SAMPLES = 1000
#: Lines that tasks have printed, while a client or a viewer reads them.
MAX_LINES = 20_000
#: Executions of the stream that have not ended.
MAX_RUNNING = 5000
#: Pairs of workers between whom bytes have moved.
MAX_TRANSFERS = 400
#: A single question waits at most this long for the workers' answers, and takes earlier answers up to this age.
ANSWER_TIMEOUT_S = 2.0
MAX_ANSWER_AGE_S = 0.4


class SchedulerView(Protocol):
    """What the monitor reads of a scheduler; ``services.scheduler.service.SchedulerService`` has it."""

    monitor: Any
    lock: Any

    @property
    def machine(self) -> Any: ...
    @property
    def workers(self) -> Mapping[str, Callable[[list[m.Message]], None]]: ...
    def reading(self) -> contextlib.AbstractContextManager[State]: ...


class ClusterMonitor:
    """What people may know of one scheduler.

    Parameters
    ----------
    service : SchedulerView
        Is only read, under its lock.
    about : callable
        Facts about the scheduler itself: addresses, when it began.
    facts_of : callable
        What is known of a worker by its heartbeats.
    """

    def __init__(
        self,
        service: SchedulerView,
        loop: asyncio.AbstractEventLoop,
        about: Callable[[], dict[str, Any]],
        facts_of: Callable[[str], dict[str, Any]] = lambda name: {},
    ) -> None:
        self._service = service
        self._loop = loop
        self._about = about
        self._facts_of = facts_of
        self._logs = log_tail.tail()
        self._lock = locks.Lock()
        self._looks: list[tuple[str, bool]] = []  # of each viewer: a worker that it sees in detail, and ``output``
        self._watched: dict[str, m.Observe] = {}  # workers that report, and their orders
        self._reports: dict[str, dict[str, Any]] = {}
        self._heard: dict[str, float] = {}
        self._offsets: dict[str, float] = {}
        self._rates: dict[str, tuple[float, float]] = {}  # bytes a second in and out
        self._stream: deque[tuple[int, str, float, list[Any]]] = deque()
        self._rows = 0
        self._chunks = 0
        self._dropped = 0
        self._failures: dict[tuple[Any, ...], list[Any]] = {}
        self._worker_logs: dict[tuple[Any, ...], None] = {}
        self._samples: deque[tuple[str, profiles.Tree]] = deque()  # what no profile has taken in yet
        self._profile = profiles.new_tree()
        self._profiles: dict[str, profiles.Tree] = {}
        self._output: deque[tuple[int, str, str, str]] = deque(maxlen=MAX_LINES)
        self._lines = 0
        self._rounds = PendingReplies()
        self._asked_at = float("-inf")
        self._all_asked = self._rounds.begin(())
        self._loop_timer: asyncio.TimerHandle | None = None
        self._loop_delay_s = 0.0
        self._cpu = (clocks.monotonic(), clocks.process_time(), 0.0)
        service.monitor = self

    # ---------------------------------------------------------------- viewers

    @contextlib.contextmanager
    def viewer(self, worker: str = "", output: bool = False) -> Iterator[None]:
        """Let workers report as long as the block runs.

        Parameters
        ----------
        worker : str
            The worker that the viewer sees in detail; "" for none.
        output : bool
            Whether the viewer wants what tasks print, and not where they spend their time.
        """
        look = (worker, output)
        with self._lock:
            self._looks.append(look)
        call_soon(self._loop, self._tell_workers)
        try:
            yield
        finally:
            with self._lock:
                self._looks.remove(look)
            call_soon(self._loop, self._tell_workers)

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._looks)

    def _tell_workers(self) -> None:
        """Bring every worker to report as the viewers want it; on the loop."""
        names = list(self._service.machine.state.workers)
        interval_s = max(REPORT_INTERVAL_S, len(names) / REPORTS_A_SECOND)
        for name in names:
            order = self._order(name, interval_s)
            if self._watched.get(name, m.Observe(-1.0)) != order:
                self._send(name, order)
        self._watched = {name: self._watched[name] for name in names if name in self._watched}
        if self._looks and self._loop_timer is None:
            self._measure_delay(self._loop.time())
        elif not self._looks:
            self.close()

    def _order(self, name: str, interval_s: float) -> m.Observe:
        """Return how a worker is to report, as the viewers want it."""
        looks = list(self._looks)
        return m.Observe(
            interval_s if looks else -1.0,
            detail=any(worker == name for worker, _ in looks),
            profile=any(not output for _, output in looks),
            output=any(output for _, output in looks),
        )

    def _send(self, name: str, order: m.Observe) -> None:
        send = self._service.workers.get(name)
        if send is not None:
            if order.interval_s:
                self._watched[name] = order
            send([order])

    def _measure_delay(self, due: float) -> None:
        self._loop_delay_s = max(0.0, self._loop.time() - due)
        metrics.record("loop_delay", self._loop_delay_s)
        due = self._loop.time() + REPORT_INTERVAL_S
        self._loop_timer = self._loop.call_at(due, self._measure_delay, due)

    def on_message(self, message: m.Message) -> None:
        """Take a report, or a join or loss of a worker; under the service's lock."""
        if type(message) is m.WorkerReport:
            self._put_away(message.worker, message.facts)
            if message.asked:
                self._rounds.answered(message.worker)
        elif type(message) is m.WorkerGone:
            self._rounds.answered(message.worker)
        elif type(message) is m.WorkerConnected:
            self._reports.pop(message.worker, None)
            self._watched.pop(message.worker, None)
            order = self._order(message.worker, REPORT_INTERVAL_S)
            if order.interval_s > 0:
                self._send(message.worker, order)

    def _put_away(self, name: str, facts: dict[str, Any]) -> None:
        now = clocks.time()
        # The clocks of other hosts: a report takes some time on its way, so the smallest difference is the best guess.
        offset = now - facts.get("now", now)
        offset = self._offsets[name] = min(offset, self._offsets.get(name, offset))
        rows = facts.pop("stream", None)
        if rows:
            self._chunks += 1
            self._stream.append((self._chunks, name, offset, rows))
            self._rows += len(rows)
            while self._rows > MAX_ROWS and len(self._stream) > 1:
                self._rows -= len(self._stream.popleft()[3])
        self._dropped += facts.pop("stream_dropped", 0)
        for when, *rest in facts.pop("failures", ()):
            self._failures[name, when, rest[0]] = [when + offset, name, *rest]
        while len(self._failures) > MAX_FAILURES:
            del self._failures[next(iter(self._failures))]
        for when, level, logger, text in facts.pop("logs", ()):
            self._worker_logs[when + offset, name, level, logger, text] = None
        while len(self._worker_logs) > MAX_LOGS:
            del self._worker_logs[next(iter(self._worker_logs))]
        if (tree := facts.pop("profile", None)) is not None:
            self._samples.append((name, tree))
            if len(self._samples) > MAX_SAMPLES:
                self._merge_samples()
        for key, text in facts.pop("output", ()):
            self._lines += 1
            self._output.append((self._lines, name, key, text))
        before = self._reports.get(name)
        if before is not None and (seconds := now - self._heard[name]) > 0.05:
            received = facts.get("received_bytes", 0) - before.get("received_bytes", 0)
            sent = facts.get("sent_bytes", 0) - before.get("sent_bytes", 0)
            self._rates[name] = (received / seconds, sent / seconds)
        self._reports[name] = facts
        self._heard[name] = now

    async def refresh(self, worker: str = "") -> None:
        """Ask workers once for figures if there are no viewers, and wait a little."""
        if worker:
            await asyncio.wrap_future(self.ask_workers(worker))
        elif not self._looks:
            now = clocks.monotonic()
            if now - self._asked_at >= MAX_ANSWER_AGE_S:
                self._asked_at, self._all_asked = now, self.ask_workers()
            await asyncio.wrap_future(self._all_asked)

    def ask_workers(self, worker: str = "") -> Future[None]:
        """Have all workers report now, or one of them in detail.

        The future is done, on any thread, when they have answered; after ``ANSWER_TIMEOUT_S`` in any case.
        """
        connected = self._service.workers
        names = [name for name in ([worker] if worker else list(connected)) if name in connected]
        done = self._rounds.begin(names)
        if names:
            call_soon(self._loop, self._ask, names, m.Observe(0.0, detail=bool(worker)), done)
        return done

    def _ask(self, names: list[str], order: m.Observe, done: Future[None]) -> None:
        self._loop.call_later(ANSWER_TIMEOUT_S, self._rounds.end, done)
        for name in names:
            self._send(name, order)

    # ---------------------------------------------------------------- what there is to see

    def snapshot(self) -> dict[str, Any]:
        """Return everything at a glance; see docs/guides/status.md."""
        with self._service.reading() as state:
            found = snapshot(state)
            found["functions"] = overview.progress(state)
            slots = sum(worker.slots for worker in state.workers.values())
            running = running_tasks(state, self._loop.time())
            found["left_s"] = seconds_left(found["functions"], running, slots)
            failed = overview.failures(state)
            found["stealing"] = {"moved": state.moved}
            reports, heard = dict(self._reports), dict(self._heard)
            recorded, worker_logs = list(self._failures.values()), list(self._worker_logs)
            loop_now = self._loop.time()
        now = clocks.time()
        names = {row["name"] for row in found["workers"]}
        self._merge_samples()
        with self._lock:  # what is left of workers that have gone
            for books in (self._reports, self._heard, self._offsets, self._rates, self._profiles):
                for name in [name for name in list(books) if name not in names]:
                    books.pop(name, None)
        for row in found["workers"]:
            row.update(self._worker_facts(row, reports.get(row["name"], {}), heard.get(row["name"]), now))
        found["version"] = VERSION
        found["time"] = now
        found["viewers"] = self.viewers
        found["scheduler"] = self._scheduler_facts()
        found["compression"] = self._compression(reports)
        found["transfers"] = self._transfers(reports)
        found["stream_dropped"] = self._dropped
        found["events"] = [[now - (loop_now - event[0]), *event[1:]] for event in found["events"][-200:]]
        found["failures"] = _failures(failed, recorded)
        own = [[when, "scheduler", level, logger, text] for when, level, logger, text in self._logs.since(0)]
        found["logs"] = sorted([*own, *(list(line) for line in worker_logs)])[-MAX_LOGS:]
        found["metrics"] = metrics.summary()
        return found

    def _worker_facts(
        self, row: dict[str, Any], report: dict[str, Any], heard: float | None, now: float
    ) -> dict[str, Any]:
        facts = {**self._facts_of(row["name"])}
        for name in ("cpu", "memory_bytes", "memory_limit", "spilled", "spilled_bytes", "threads", "raised"):
            facts[name] = report.get(name, facts.get(name))
        facts["gil_enabled"] = report.get("gil_enabled")
        spilled_bytes = facts["spilled_bytes"] or 0
        facts["managed_bytes"] = max(0, row["held_bytes"] - spilled_bytes)
        memory_bytes = facts["memory_bytes"]
        facts["unmanaged_bytes"] = None if memory_bytes is None else max(0, memory_bytes - facts["managed_bytes"])
        facts["in_bytes_s"], facts["out_bytes_s"] = self._rates.get(row["name"], (0.0, 0.0))
        facts["received_bytes"], facts["sent_bytes"] = report.get("received_bytes", 0), report.get("sent_bytes", 0)
        facts["report_age_s"] = None if heard is None else max(0.0, now - heard)
        timings = report.get("metrics", {}).get("timings", {})
        facts["loop_delay_s"] = timings.get("loop_delay", {}).get("minute", {}).get("p99")
        return facts

    def _scheduler_facts(self) -> dict[str, Any]:
        monotonic, used = clocks.monotonic(), clocks.process_time()
        before, used_before, cpu = self._cpu
        if monotonic - before > 0.2:
            cpu = (used - used_before) / (monotonic - before)
            self._cpu = (monotonic, used, cpu)
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cpu": cpu,
            "memory_bytes": resident_bytes(),
            "loop_delay_s": self._loop_delay_s,
            "versions": own_versions(),
            "gil_enabled": is_gil_enabled(),
            **self._about(),
        }

    def _compression(self, reports: dict[str, Any]) -> dict[str, float]:
        # Threads share the process, and its counts, with the scheduler.
        by_process = {os.getpid(): metrics.summary(), **{r.get("pid"): r.get("metrics", {}) for r in reports.values()}}
        counts = [summary.get("counts", {}) for summary in by_process.values()]
        return {
            f"{when}_bytes": sum(each.get(f"compressed_bytes_{when}", {}).get("start", 0.0) for each in counts)
            for when in ("before", "after")
        }

    @staticmethod
    def _transfers(reports: dict[str, Any]) -> list[list[Any]]:
        rows = [[holder, name, *row] for name, r in reports.items() for holder, *row in r.get("traffic", ())]
        rows.sort(key=lambda row: -row[2])
        return rows[:MAX_TRANSFERS]

    def stream(self, since: int = 0) -> dict[str, Any]:
        """Return the task stream after this chunk's number; see docs/guides/status.md."""
        with self._service.lock:
            chunks = list(takewhile(lambda chunk: chunk[0] > since, reversed(self._stream)))[::-1]
            last = self._chunks
            running = [
                [name, *row, start_s + self._offsets[name]]
                for name, report in self._reports.items()
                for *row, start_s in report.get("running", ())
            ]
        chunks_of_workers = [[worker, offset, rows] for _, worker, offset, rows in chunks]
        return {"last": last, "chunks": chunks_of_workers, "running": running[:MAX_RUNNING]}

    def output(self, since: int) -> tuple[int, list[tuple[str, str, str]]]:
        """Return the last line's number, and the lines after this one."""
        with self._service.lock:
            rows = [(name, key, text) for number, name, key, text in self._output if number > since >= 0]
            return self._lines, rows

    def worker(self, name: str) -> dict[str, Any]:
        """Return one worker in detail."""
        with self._service.reading() as state:
            worker = state.workers.get(name)
            report = self._reports.get(name, {})
            tasks = [] if worker is None else overview.running_on(worker, self._loop.time())
            held = [] if worker is None else overview.held_on(worker)
        keep = ("metrics", "detail", "traffic", "now", "pid", "executing", "ready", "stored")
        known = worker is not None
        return {"name": name, "known": known, "tasks": tasks, "held": held, **{k: report.get(k) for k in keep}}

    def task(self, key: str) -> dict[str, Any]:
        """Return the story of one task."""
        with self._service.reading() as state:
            found = overview.describe_task(state, key, self._loop.time())
            chunks = list(self._stream)
            texts = [row for row in self._failures.values() if row[2] == key]
        found["runs"] = [
            [worker, row[3] + offset, row[4] + offset, row[5], row[7], row[8]]
            for _, worker, offset, rows in chunks
            for row in rows
            if row[6] == key and not row[0]
        ]
        found["failures"] = [dict(zip(_FAILURE, row, strict=True)) for row in texts]
        return found

    def function(self, name: str) -> dict[str, Any]:
        """Return tasks of one function."""
        with self._service.reading() as state:
            return overview.tasks_of(state, name)

    def graph(self) -> dict[str, Any]:
        """Return what is in flight."""
        with self._service.reading() as state:
            return overview.graph(state)

    def profile(self, worker: str = "") -> profiles.Tree:
        """Return where tasks spent their time, on all workers or on one."""
        self._merge_samples()
        with self._lock:
            tree = self._profile if not worker else self._profiles.get(worker, profiles.new_tree())
            return profiles.copy(tree)

    def _merge_samples(self) -> None:
        """Take samples into the profiles; not on the scheduler's own thread."""
        with self._lock:
            while self._samples:
                name, tree = self._samples.popleft()
                profiles.merge(self._profile, tree)
                profiles.merge(self._profiles.setdefault(name, profiles.new_tree()), tree)

    def worker_metrics(self) -> dict[str, Any]:
        """Return the counters and timings of each worker."""
        return {name: report.get("metrics", {}) for name, report in list(self._reports.items())}

    @property
    def last_chunk(self) -> int:
        """The number of the newest rows of the stream."""
        return self._chunks

    def everything(self, since: int = 0) -> dict[str, Any]:
        """Return what a report is made of; of the stream what came after this chunk."""
        return {
            "snapshot": self.snapshot(),
            "stream": self.stream(since),
            "profile": self.profile(),
            "graph": self.graph(),
            "workers": {name: self.worker(name) for name in list(self._reports)[:100]},
        }

    def close(self) -> None:
        """End all reports; on the loop."""
        if self._loop_timer is not None:
            self._loop_timer.cancel()
            self._loop_timer = None


_FAILURE = ("time", "worker", "key", "function", "kind", "text")


def _failures(failed: list[dict[str, Any]], recorded: list[list[Any]]) -> list[dict[str, Any]]:
    """Return failed tasks and executions that raised, the newest first."""
    rows = [{**dict(zip(_FAILURE, row, strict=True)), "final": False} for row in reversed(recorded)]
    by_key = {row["key"]: row for row in reversed(rows)}  # the newest of each
    extra = []
    for task in failed:
        known = by_key.get(task["key"])
        if known is not None:
            known["final"] = True
        else:
            extra.append({"time": None, "worker": "", **task, "final": True})
    return [*extra, *rows][:MAX_FAILURES]
