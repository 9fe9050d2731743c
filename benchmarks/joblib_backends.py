"""joblib on loky's backend and on ours, side by side in one run.

Covers: many tiny calls, a large input that all calls share (the first time, and later), nested calls. Does not cover:
calls that compute: both backends run them in as many processes.

    python benchmarks/joblib_backends.py            # some two minutes; --quick: half a minute, shows that all runs

The systems take turns, so that a machine which gets slower hits both. The median of the rounds is shown, and the median
of the ratios inside each round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import joblib
import numpy as np
from joblib import Parallel, delayed, parallel_config

import futures_cluster.adapters.joblib as adapter

BACKENDS = ("loky", "futures_cluster")
JOBS = 2


def item(array: Any, index: int) -> float:
    """Read one number of a shared input."""
    return float(array[index])


def mean(array: Any, index: int) -> float:
    """Read all of it."""
    return float(array.mean()) + index


def inside(n: int) -> int:
    """A call that makes calls."""
    return sum(Parallel(n_jobs=JOBS)(delayed(pow)(i, 2) for i in range(n)))


def tiny(calls: int) -> None:
    """Calls that do next to nothing."""
    assert Parallel()(delayed(sqrt)(i) for i in range(calls)) == [sqrt(i) for i in range(calls)]


def shared(array: Any, function: Callable[..., float], calls: int) -> None:
    """Calls with the same large input."""
    Parallel()(delayed(function)(array, i) for i in range(calls))


def nested(calls: int) -> None:
    """Calls that make calls."""
    Parallel()(delayed(inside)(i) for i in range(calls))


def measure(function: Callable[..., None], *args: Any) -> float:
    """Seconds."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, help="how often each measure is taken (default: 9, or 3 with --quick)")
    arguments = parser.parse_args()
    rounds, megabytes = (3, 50) if arguments.quick else (9, 200)
    rounds = arguments.rounds or rounds
    array = np.ones(megabytes * 125_000)
    measures: dict[str, tuple[Any, ...]] = {
        "10,000 tiny calls": (tiny, 10_000),
        "100,000 tiny calls": (tiny, 100_000),
        f"20 calls share {megabytes} MB, read an item": (shared, array, item, 20),
        f"20 calls share {megabytes} MB, read all": (shared, array, mean, 20),
        "20 nested calls": (nested, 20),
    }
    seconds: dict[tuple[str, str], list[float]] = {}
    for backend in BACKENDS:  # the first call starts the workers; the first large one takes fresh memory
        with parallel_config(backend=backend, n_jobs=JOBS):
            tiny(1000)
            seconds[f"the first call with {megabytes} MB", backend] = [measure(shared, array, item, 20)]
    for _ in range(rounds):
        for name, call in measures.items():
            for backend in BACKENDS:
                with parallel_config(backend=backend, n_jobs=JOBS):
                    seconds.setdefault((name, backend), []).append(measure(*call))
    adapter.close()
    print(
        f"joblib {joblib.__version__}, {JOBS} jobs, median of {rounds} rounds in ms; x: loky's time divided by ours\n"
    )
    print(f"| {'':42} | {'loky':>6} | {'ours':>6} | {'x':>5} |\n| :{'-' * 41} | -----: | -----: | ----: |")
    for name in dict.fromkeys(name for name, _ in seconds):
        loky, ours = (seconds[name, backend] for backend in BACKENDS)
        ratio = statistics.median(a / b for a, b in zip(loky, ours))
        times = " | ".join(f"{statistics.median(values) * 1e3:6.0f}" for values in (loky, ours))
        print(f"| {name:42} | {times} | {ratio:5.2f} |")


if __name__ == "__main__":
    main()
