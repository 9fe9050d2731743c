"""What the status page costs: the scheduler's thread with no page, with nobody looking, and with one viewer.

Covers: processor time of the scheduler's thread for each no-op task; the size of the page, and the time until a browser
paints it; the time to make a snapshot of 1,000 simulated workers and 100,000 tasks.
Does not cover: what viewers cost the workers (they execute all the same).

All kinds take turns in rounds, each in an executor of its own, so that a machine which gets slower hits them all. What
counts is the median of the ratios to "no page" of the same round, with the quartiles as spread. "No page" itself takes
part twice: how far its ratio is from 1 is what this machine cannot tell apart.

    python -m benchmarks.status_cost           # some two minutes
    python -m benchmarks.status_cost --quick   # some 40 seconds
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

from futures_cluster import Executor
from futures_cluster import messages as m
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.scheduler.views.overview import failures, progress
from futures_cluster.scheduler.views.snapshot import snapshot
from futures_cluster.status.api import FILES, read_file

TASKS = 20_000
KINDS = ("no page", "no page again", "nobody looks", "one viewer")
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


def cost(kind: str, tasks: int) -> float:
    """Seconds of the scheduler's thread."""
    with Executor(2) as ex:
        ex.submit(no_op, 0).result()
        url = "" if kind.startswith("no page") else ex.status_url
        drain = None
        if kind == "one viewer":
            command = [sys.executable, "-c", DRAIN, url + "api/v1/events"]
            drain = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert drain.stdout is not None
            drain.stdout.readline()
        for future in [ex.submit(no_op, i) for i in range(2000)]:
            future.result()
        begin = thread_cpu_s(ex)
        for future in [ex.submit(no_op, i) for i in range(tasks)]:
            future.result()
        spent = thread_cpu_s(ex) - begin
        if drain is not None:
            drain.terminate()
            drain.wait()
            assert drain.stdout is not None
            drain.stdout.close()
    return spent


def compare(rounds: int, tasks: int) -> None:
    """The table of costs."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(rounds):
        first = turn % len(KINDS)  # nobody is always the first of a round, or behind the same
        for kind in (KINDS[first:] + KINDS[:first])[:: -1 if turn % 2 else 1]:
            found[kind].append(cost(kind, tasks))
    print(f"{rounds} rounds of {tasks} no-op tasks; processor time of the scheduler's thread")
    print(f"{'':>14} {'a task':>8} {'ratio':>6} {'quartiles':>14}")
    for kind in KINDS:
        ratios = [one / base for one, base in zip(found[kind], found["no page"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        task_us = 1e6 * statistics.median(found[kind]) / tasks
        print(f"{kind:>14} {task_us:>5.2f} us {middle:>6.3f} {low:>6.3f} - {high:.3f}")


def snapshot_time(workers: int, tasks: int, kinds: int, finished: bool) -> float:
    """Processor seconds, the best of five; with ``finished`` half of the tasks have results in memory."""
    machine = SchedulerMachine()
    machine.handle(m.ClientJoined("c"), 0.0)
    for i in range(workers):
        machine.handle(m.WorkerConnected(f"w{i}", "address"), 0.0)
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


def paints(loads: int) -> tuple[list[float], list[float], float]:
    """Milliseconds until headless Chromium has painted the page, and its icon alone, each time; the kB it has read.

    Raises
    ------
    ImportError
        Without selenium, or without Debian's chromium and chromium-driver.
    """
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        raise ImportError("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument("--" + argument)
    entries = "return performance.getEntriesByType('paint').map(entry => entry.startTime)"
    sizes = (
        "return ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))"
        ".filter(entry => !entry.name.includes('/api/')).reduce((sum, entry) => sum + entry.transferSize, 0)"
    )
    found: dict[str, list[float]] = {"": [], "icon.svg": []}
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        with Executor(1) as ex:
            ex.submit(no_op, 0).result()
            for _ in range(loads):
                for path in ("icon.svg", ""):
                    browser.get("about:blank")
                    browser.get(ex.status_url + path)
                    while not (times := browser.execute_script(entries)):
                        time.sleep(0.01)
                    found[path].append(max(times))  # the first paint, and the first with something in it
            size = float(browser.execute_script(sizes)) / 1000
            browser.get("about:blank")
    finally:
        browser.quit()
    return found[""], found["icon.svg"], size


def show_paints(loads: int) -> None:
    """How long people wait for the page."""
    size = sum(len(read_file(name)) for name, _ in FILES.values()) / 1000
    print(f"\nthe page and its files: {size:.1f} kB")
    try:
        page, icon, read = paints(loads)
    except ImportError as error:
        print(f"painting is not measured: {error}")
        return
    print(f"read by a browser, with headers: {read:.1f} kB")
    for name, times in (("the page", page), ("its icon alone", icon)):
        low, middle, high = statistics.quantiles(times[1:], n=4)
        first = f"{times[0]:.0f} ms in a browser that has just started"
        print(f"first paint of {name}: {middle:.0f} ms ({low:.0f} - {high:.0f}), {first}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    compare(5 if quick else 15, TASKS)
    show_paints(6 if quick else 16)
    print()
    for kinds, finished in ((1, False), (10, False), (10, True), (200, True)):
        spent = snapshot_time(1000, 100_000, kinds, finished)
        what = "half of them done" if finished else "all queued"
        print(f"snapshot of 1,000 workers and 100,000 tasks of {kinds} functions, {what}: {1e3 * spent:.1f} ms")


if __name__ == "__main__":
    main()
