"""What one fresh process does to measure one thing on one system.

Each function returns its ``value`` in the unit of its ``Measure``, the raw ``samples``, and under
``references`` what was measured in the same process to divide by. Values are checked on arrival, so that a
system which answers from a cache fails instead of winning. Not covered: assertions about speed.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from . import tasks
from .systems import ProcessPool, System
from .tasks import ARRAY_BYTES, WORKERS, first_pass_over, noop

Result = dict[str, Any]
clock = time.perf_counter


@dataclass(frozen=True, slots=True)
class Measure:
    """A thing to measure: how to run it, what to divide it by, and what futures_cluster aims for."""

    name: str
    title: str
    unit: str
    run: Callable[..., Result]
    references: tuple[str, ...]
    goal: str = ""


def _warm(system: System, functions: Any = tasks) -> None:
    """Start the system and let both workers see some tasks."""
    system.start()
    for _ in range(3):
        system.map(functions.identity, range(50))
        system.call(functions.noop)
    gc.collect()


def _throughput(system: System, quick: bool, run: Callable[[int], list[Any]]) -> Result:
    count = {"fast": 20_000, "medium": 5_000, "slow": 2_000}[system.speed] // (10 if quick else 1)
    samples = []
    run(count // 10)
    for _ in range(3):
        gc.collect()
        begin = clock()
        values = run(count)
        samples.append(count / (clock() - begin))
        if len(values) != count or values[-1] not in (None, count - 1):
            raise RuntimeError("wrong values came back")
        del values
    system.stop()
    return {"value": median(samples), "samples": samples, "tasks": count}


def submit(system: System, quick: bool, functions: Any = tasks) -> Result:
    """Tasks per second: submit all no-ops, then ask for all values."""
    _warm(system, functions)
    noop = functions.noop
    return _throughput(system, quick, lambda n: system.results([system.submit(noop) for _ in range(n)]))


def map_(system: System, quick: bool, functions: Any = tasks) -> Result:
    """Tasks per second of ``list(map(identity, range(n)))``, one task an item."""
    _warm(system, functions)
    return _throughput(system, quick, lambda n: system.map(functions.identity, range(n)))


def roundtrip(system: System, quick: bool, functions: Any = tasks) -> Result:
    """Microseconds from submit to value of one no-op on an idle system."""
    _warm(system, functions)
    noop = functions.noop
    samples = []
    for _ in range(200 if quick else 1_000):
        begin = clock()
        system.call(noop)
        samples.append((clock() - begin) * 1e6)
    system.stop()
    samples.sort()
    quantiles = {f"p{p}": samples[len(samples) * p // 100] for p in (5, 50, 95, 99)}
    return {"value": median(samples), "samples": list(quantiles.values()), "quantiles": quantiles}


def rows_out(system: System, quick: bool) -> Result:
    """Results per second: submit tasks that make Python objects, then read all in order."""
    _warm(system)
    count = 50 if quick else 400
    system.results([system.submit(tasks.make_rows, x) for x in range(count // 10)])
    samples = []
    for _ in range(3):
        gc.collect()
        begin = clock()
        values = system.results([system.submit(tasks.make_rows, x) for x in range(count)])
        samples.append(count / (clock() - begin))
        if len(values) != count or values[-1] != tasks.make_rows(count - 1):
            raise RuntimeError("wrong values came back")
        del values
    system.stop()
    return {"value": median(samples), "samples": samples, "tasks": count}


def _memcpy(source: Any, target: Any) -> float:
    begin = clock()
    target[:] = source
    return (clock() - begin) * 1e3


def _buffers(system: System, quick: bool, once: Callable[[int, Any], tuple[float, float]]) -> Result:
    """Milliseconds of one transfer; between the transfers one warm memcpy of the same size, the reference."""
    import numpy as np

    source = np.ones(ARRAY_BYTES // 8)
    target = np.zeros(ARRAY_BYTES // 8)
    _warm(system)
    system.map(tasks.prepare_result, range(2 * WORKERS))
    for i in range(4):  # segments and page tables
        once(i, source)
    _memcpy(source, target)
    samples, passes, copies, warm_passes = [], [], [], []
    for i in range(10, 13 if quick else 17):
        taken, first_pass = once(i, source)
        samples.append(taken)
        passes.append(first_pass)
        copies.append(_memcpy(source, target))
        warm_passes.append(first_pass_over(target) * 1e3)
    system.stop()
    return {
        "value": median(samples),
        "samples": samples,
        "references": {"memcpy": median(copies)},
        "first_pass_ms": median(passes),
        "warm_pass_ms": median(warm_passes),
    }


def data_in(system: System, quick: bool) -> Result:
    """A 100 MB array as an argument, timed until the task's small result is back."""

    def once(i: int, source: Any) -> tuple[float, float]:
        array = source.copy()  # a new object each time: no system can answer from a cache by identity
        array[0] = i
        begin = clock()
        answer = system.call(tasks.nbytes_of, array)
        taken = (clock() - begin) * 1e3
        if tuple(answer) != (ARRAY_BYTES, float(i)):
            raise RuntimeError(f"the task saw another array: {answer}")
        return taken, system.call(first_pass_over, source.copy()) * 1e3

    return _buffers(system, quick, once)


def data_out(system: System, quick: bool) -> Result:
    """A 100 MB array as a result; the worker made it earlier, so only the way home is timed."""

    def once(i: int, source: Any) -> tuple[float, float]:
        begin = clock()
        array = system.call(tasks.make_result, float(i))
        taken = (clock() - begin) * 1e3
        if (array.nbytes, array[0]) != (ARRAY_BYTES, float(i)):
            raise RuntimeError("another array came back")
        return taken, first_pass_over(array) * 1e3

    return _buffers(system, quick, once)


def startup(system: System, quick: bool) -> Result:
    """Seconds of constructor, first result and shutdown; the package is imported already."""
    begin = clock()
    system.start()
    constructed = clock()
    system.call(noop)
    answered = clock()
    system.stop()
    end = clock()
    parts = {
        "constructor": constructed - begin,
        "first_result": answered - constructed,
        "stop": end - answered,
    }
    return {"value": end - begin, "samples": [end - begin], "parts": parts}


def _interpreter(statement: str) -> float:
    begin = clock()
    subprocess.run([sys.executable, "-c", statement], check=True, stdin=subprocess.DEVNULL)
    return (clock() - begin) * 1e3


def import_(system: System, quick: bool) -> Result:
    """Milliseconds which the import adds to a bare interpreter; pairs of fresh interpreters in turns."""
    statement, stdlib = system.statement, ProcessPool.statement
    for warm in ("pass", statement, stdlib):  # bytecode and page cache
        _interpreter(warm)
    samples, reference = [], []
    for _ in range(4 if quick else 12):
        bare = _interpreter("pass")
        samples.append(_interpreter(statement) - bare)
        reference.append(_interpreter(stdlib) - bare)
    probe = f"{statement}\nimport sys; print(len(sys.modules), 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    modules, numpy = done.stdout.split()
    return {
        "value": median(samples),
        "samples": samples,
        "references": {"processpool": median(reference)},
        "modules": int(modules),
        "numpy": numpy == "True",
    }


def _rss(pids: list[int]) -> int:
    """Resident bytes of this process and of others (of these without what they share)."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        with open("/proc/self/statm", encoding="ascii") as file:
            total = int(file.read().split()[1])
        for pid in pids:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                fields = file.read().split()
            total += int(fields[1]) - int(fields[2])
        return total * page
    except (OSError, AttributeError):
        import psutil

        return sum(psutil.Process(pid).memory_info().rss for pid in [os.getpid(), *pids])


def _settled_rss(pids: list[int]) -> int:
    """Resident bytes once they have stopped growing: some systems take in what was submitted later."""
    gc.collect()
    now, still = _rss(pids), 0
    deadline = clock() + 60
    while still < 3 and clock() < deadline:
        time.sleep(0.3)
        before, now = now, _rss(pids)
        still = still + 1 if abs(now - before) < 0.002 * now else 0
    gc.collect()
    return _rss(pids)


def memory(system: System, quick: bool) -> Result:
    """Bytes by which the client's process grows for each no-op that waits behind busy workers."""
    count = {"fast": 100_000, "medium": 20_000, "slow": 10_000}[system.speed] // (10 if quick else 1)
    _warm(system)
    helpers = system.helpers()
    with tempfile.TemporaryDirectory() as folder:
        release = os.path.join(folder, "release")
        started = [os.path.join(folder, f"started-{i}") for i in range(WORKERS)]
        try:
            blockers = [system.submit(tasks.wait_for_file, name, release) for name in started]
            deadline = clock() + 30
            while not all(os.path.exists(name) for name in started):
                if clock() > deadline:
                    raise RuntimeError("the blocking tasks did not start")
                time.sleep(0.01)
            before = _settled_rss(helpers)
            futures = [system.submit(noop) for _ in range(count)]
            after = _settled_rss(helpers)
        finally:
            with open(release, "w", encoding="ascii"):
                pass
        begin = clock()
        system.results(blockers)
        if len(system.results(futures)) != count:
            raise RuntimeError("results are missing")
        drained = clock() - begin
    system.stop()
    value = (after - before) / count
    return {"value": value, "samples": [value], "tasks": count, "drained_s": drained, "rss_before": before}


MEASURES: dict[str, Measure] = {
    m.name: m
    for m in (
        Measure(
            "submit",
            "No-op throughput by submit",
            "tasks/s",
            submit,
            ("processpool", "distributed"),
            "at least 2.5 x ProcessPoolExecutor and 40 x distributed, aim for 4 x and 100 x",
        ),
        Measure("map", "No-op throughput by map, chunksize 1", "tasks/s", map_, ("processpool", "distributed")),
        Measure(
            "roundtrip",
            "One round trip",
            "us",
            roundtrip,
            ("processpool", "distributed"),
            "at most 1.0 x ProcessPoolExecutor, aim for 0.7 x",
        ),
        Measure(
            "data-in",
            "100 MB array in (argument)",
            "ms",
            data_in,
            ("memcpy", "processpool", "distributed"),
            "at most 8 x memcpy, aim for 3 x",
        ),
        Measure(
            "data-out",
            "100 MB array out (result)",
            "ms",
            data_out,
            ("memcpy", "processpool", "distributed"),
            "at most 8 x memcpy, aim for 3 x",
        ),
        Measure(
            "rows-out",
            "Lists of 3,000 tuples out (results)",
            "tasks/s",
            rows_out,
            ("processpool", "distributed"),
            "at least 1.0 x ProcessPoolExecutor",
        ),
        Measure(
            "startup",
            "Start, first result, stop",
            "s",
            startup,
            ("processpool", "distributed"),
            "at most 0.25 x distributed, aim for 0.1 x",
        ),
        Measure(
            "import",
            "Import, beyond a bare interpreter",
            "ms",
            import_,
            ("processpool",),
            "at most 3 x ProcessPoolExecutor, aim for 2 x, without numpy",
        ),
        Measure(
            "memory",
            "Memory of a queued task, client and scheduler",
            "bytes",
            memory,
            ("processpool", "distributed"),
            "at most 3 KB, aim for 1.5 KB",
        ),
    )
}


def _of_main(measure: Measure) -> Measure:
    """The same measure with the functions of the script that runs, as users have them."""

    def run(system: System, quick: bool) -> Result:
        main = sys.modules["__main__"]
        if main.noop.__module__ != "__main__":
            raise RuntimeError("the script's functions are not those of __main__")
        return measure.run(system, quick, main)

    title = f"{measure.title}, functions of __main__"
    return Measure(measure.name, title, measure.unit, run, ("processpool",))


#: With ``--main`` these are measured in place of those above whose names they have.
MAIN_MEASURES: dict[str, Measure] = {name: _of_main(MEASURES[name]) for name in ("submit", "map", "roundtrip")}
