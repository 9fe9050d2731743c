"""What the status page costs: the scheduler's thread with no page, with nobody looking, and with one viewer.

Covers: processor time of the scheduler's thread for each no-op task, and of the whole process; the size of the page;
the time to make a snapshot of 1,000 simulated workers and 100,000 tasks; the time from a request to the whole page.
Does not cover: what viewers cost the workers (they execute all the same), the browser.

The three take turns in rounds, each in the same kind of executor, so that a machine which gets slower hits them all.
Ratios are of sums over all rounds.

    python -m benchmarks.status_cost           # some 60 seconds
    python -m benchmarks.status_cost --quick   # some 15
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
from typing import Any

from futures_cluster import Executor
from futures_cluster import messages as m
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.scheduler.overview import failures, progress
from futures_cluster.scheduler.snapshot import snapshot
from futures_cluster.status.api import FILES, read_file

TASKS = 20_000
KINDS = ("no page", "nobody looks", "one viewer")
DRAIN = (
    "import sys, urllib.request as u\nr = u.urlopen(sys.argv[1])\nprint('on', flush=True)\nwhile r.read1(65536): pass"
)


def no_op(x: int) -> None:
    """Nothing."""


def thread_cpu_s(ex: Executor) -> float:
    """Processor time of the scheduler's thread."""
    engine: Any = ex._engine
    thread = engine.cluster._thread.thread
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def cost(kind: str, tasks: int) -> tuple[float, float, float]:
    """Seconds of the scheduler's thread, of the process, and of the clock."""
    with Executor(2) as ex:
        ex.submit(no_op, 0).result()
        url = ex.status_url if kind != "no page" else ""
        drain = None
        if kind == "one viewer":
            command = [sys.executable, "-c", DRAIN, url + "api/v1/events"]
            drain = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert drain.stdout is not None
            drain.stdout.readline()
        for future in [ex.submit(no_op, i) for i in range(2000)]:
            future.result()
        begin = thread_cpu_s(ex), time.process_time(), time.perf_counter()
        for future in [ex.submit(no_op, i) for i in range(tasks)]:
            future.result()
        end = thread_cpu_s(ex), time.process_time(), time.perf_counter()
        if drain is not None:
            drain.terminate()
            drain.wait()
            assert drain.stdout is not None
            drain.stdout.close()
    return end[0] - begin[0], end[1] - begin[1], end[2] - begin[2]


def compare(rounds: int, tasks: int) -> None:
    """The table of costs."""
    sums = {kind: [0.0, 0.0, 0.0] for kind in KINDS}
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(rounds):
        order = KINDS if turn % 2 else KINDS[::-1]
        found = {kind: cost(kind, tasks) for kind in order}
        for kind in KINDS:
            sums[kind] = [a + b for a, b in zip(sums[kind], found[kind], strict=True)]
            ratios[kind].append(found[kind][0] / found["no page"][0])
    print(f"{rounds} rounds of {tasks} no-op tasks; microseconds a task")
    print(f"{'':>14} {'scheduler thread':>17} {'ratio':>6} {'median':>7} {'process':>8} {'clock':>7}")
    for kind in KINDS:
        thread, process, clock = (1e6 * value / rounds / tasks for value in sums[kind])
        ratio, middle = sums[kind][0] / sums["no page"][0], sorted(ratios[kind])[rounds // 2]
        print(f"{kind:>14} {thread:>17.2f} {ratio:>6.3f} {middle:>7.3f} {process:>8.2f} {clock:>7.2f}")


def snapshot_time(workers: int, tasks: int, kinds: int, finished: bool) -> float:
    """Processor seconds, the best of five; with ``finished`` half of the tasks have results in memory."""
    machine = SchedulerMachine()
    machine.handle(m.ClientJoined("c"), 0.0)
    for i in range(workers):
        machine.handle(m.WorkerJoined(f"w{i}", "address"), 0.0)
    for kind in range(kinds):
        rows: list[Any] = [(f"k{kind}-{i}", f"f{kind}", b"", []) for i in range(tasks // kinds)]
        machine.handle(m.SubmitTasks("c", rows, [(f"f{kind}", f"function {kind}", b"")]), 0.0)
    done = 0
    while finished and done < tasks // 2:
        for worker in list(machine.state.workers.values()):
            rows = [(task.key, task.attempt, b"result", 100, 0.01) for task in worker.assigned.values()]
            done += len(rows)
            machine.handle(m.TasksFinished(worker.name, rows), 0.0)
    best = float("inf")
    for _ in range(5):
        begin = time.thread_time()  # of the processor: others may use the machine
        seen = snapshot(machine.state)
        seen["functions"] = progress(machine.state)
        failures(machine.state)
        best = min(best, time.thread_time() - begin)
    json.dumps(seen)
    return best


def first_paint() -> float:
    """Seconds to fetch the page and its files, one after the other; the best of five."""
    best = float("inf")
    with Executor(1) as ex:
        url = ex.status_url
        for _ in range(5):
            begin = time.perf_counter()
            for path in FILES:
                with urllib.request.urlopen(url + path.lstrip("/")) as answer:
                    answer.read()
            best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    compare(4 if quick else 20, TASKS)
    size = sum(len(read_file(name)) for name, _ in FILES.values())
    print(f"\nthe page and its files: {size / 1000:.1f} kB, fetched in {1e3 * first_paint():.1f} ms")
    for kinds, finished in ((1, False), (10, False), (10, True), (200, True)):
        spent = snapshot_time(1000, 100_000, kinds, finished)
        what = "half of them done" if finished else "all queued"
        print(f"snapshot of 1,000 workers and 100,000 tasks of {kinds} functions, {what}: {1e3 * spent:.1f} ms")


if __name__ == "__main__":
    main()
