"""Shuffles of Dask's data frames on futures_cluster, beside a local distributed cluster.

    python benchmarks/shuffle.py                                  # 5 GB, two workers of 1 GB: long
    python benchmarks/shuffle.py --gigabytes 0.2 --rounds 1       # shows that all run, no more

Covers: ``set_index`` with known divisions, and an inner merge of two frames of half the size each, of rows that the
workers make. Does not cover: finding divisions, reading files, arrays.

Each measurement is a process of its own, and the systems take turns. The time is that of ``compute``, which returns a
few numbers of each partition: rows are made, shuffled and counted on the workers. Values are checked. ``our stages`` is
how an executor shuffles what Dask would by files or p2p, ``tasks`` is Dask's own graph of tasks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SYSTEMS = {
    "futures_cluster, our stages": "disk",
    "futures_cluster, tasks": "tasks",
    "distributed, p2p": "p2p",
    "distributed, tasks": "tasks",
}
CASES = ("set_index", "merge")
ROW_BYTES = 40  # of numbers; the index is a range
PRIME = 1_000_003


def make(number: int, rows: int, total: int) -> Any:
    """A partition: each key of ``range(total)`` is in one of the partitions, and nothing is in order."""
    import numpy as np
    import pandas as pd

    key = (np.arange(number * rows, (number + 1) * rows, dtype=np.int64) * PRIME) % total
    random = np.random.default_rng(number)
    return pd.DataFrame({"key": key, **{name: random.random(rows) for name in "abcd"}})


def look(part: Any) -> Any:
    """What is checked of a partition that has been shuffled: its rows, and whether they are in their place."""
    import pandas as pd

    in_order = part.index.name != "key" or part.index.is_monotonic_increasing
    return pd.DataFrame({"rows": [len(part)], "in_order": [in_order]})


def frame(partitions: int, rows: int, total: int) -> Any:
    """A lazy frame."""
    import dask.dataframe as dd

    return dd.from_map(make, range(partitions), rows=rows, total=total, meta=make(0, 1, 1))


def collection(case: str, partitions: int, rows: int) -> tuple[Any, int]:
    """What is computed, and the rows that it must find."""
    meta = look(make(0, 1, 1))
    if case == "set_index":
        total = partitions * rows
        divisions = [total * i // partitions for i in range(partitions)] + [total - 1]
        shuffled = frame(partitions, rows, total).set_index("key", divisions=divisions)
        return shuffled.map_partitions(look, meta=meta), total
    half = partitions // 2
    total = half * rows
    left, right = (frame(half, rows, total) for _ in range(2))
    merged = left.merge(right[["key", "a"]].rename(columns={"a": "e"}), on="key")
    return merged.map_partitions(look, meta=meta), total


@contextlib.contextmanager
def scheduler_of(system: str, memory: str) -> Iterator[Any]:
    """What ``compute(scheduler=...)`` takes."""
    if system.startswith("futures_cluster"):
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from futures_cluster import Executor

        with Executor(2, memory_limit=memory) as executor:
            executor.run(abs, 1)
            yield executor
    else:
        from distributed import Client, LocalCluster

        limits = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": memory, "dashboard_address": ":0"}
        with LocalCluster(**limits) as cluster, Client(cluster) as client:
            yield client


def measure(system: str, case: str, partitions: int, rows: int, memory: str) -> float:
    """Seconds."""
    import dask

    with scheduler_of(system, memory) as scheduler, dask.config.set({"dataframe.shuffle.method": SYSTEMS[system]}):
        collection(case, 4, 100)[0].compute(scheduler=scheduler)
        lazy, expected = collection(case, partitions, rows)
        start = time.perf_counter()
        found = lazy.compute(scheduler=scheduler)
        seconds = time.perf_counter() - start
        assert found.rows.sum() == expected, (system, case, found.rows.sum(), expected)
        assert found.in_order.all(), (system, case)
    return seconds


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=5.0, help="of all rows together (default: 5)")
    parser.add_argument("--partition", type=float, default=50.0, help="megabytes of a partition (default: 50)")
    parser.add_argument("--memory", default="1GB", help="limit of each of the two workers (default: 1GB)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="systems whose names begin so, separated by semicolons")
    parser.add_argument("--case", default="", help="only this one")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one measurement")
    parser.add_argument("--one", nargs=2, metavar=("SYSTEM", "CASE"), help="one measurement, as JSON")
    options = parser.parse_args()
    rows = int(options.partition * 1e6 / ROW_BYTES)
    partitions = max(4, round(options.gigabytes * 1e3 / options.partition))
    if options.one:
        print(json.dumps(measure(*options.one, partitions, rows, options.memory)))
        return
    found: dict[tuple[str, str], list[float]] = {}
    cases = [case for case in CASES if case.startswith(options.case)]
    systems = [system for system in SYSTEMS if system.startswith(tuple(options.only.split(";")))]
    for number in range(1, options.rounds + 1):
        for case in cases:
            for system in systems:
                print(f"{case}, round {number} of {options.rounds}: {system}", file=sys.stderr, flush=True)
                command = [sys.executable, __file__, *sys.argv[1:], "--one", system, case]
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit)
                except subprocess.TimeoutExpired:
                    print(f"{system}, {case}: longer than {options.limit:.0f} s", file=sys.stderr)
                    continue
                if done.returncode:
                    print(f"{system}, {case} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
                    continue
                found.setdefault((case, system), []).append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{options.gigabytes:g} GB in {partitions} partitions, two workers of {options.memory}, one thread each;")
    print(f"seconds, median of {options.rounds} round(s)\n")
    print(f"{'shuffle':<12}{'system':<30}{'seconds':>9}{'min .. max':>20}")
    for case in cases:
        name = case
        for system in systems:
            times = found.get((case, system))
            span = f"{min(times):.2f} .. {max(times):.2f}" if times else ""
            median = f"{statistics.median(times):.2f}" if times else "failed"
            print(f"{name:<12}{system:<30}{median:>9}{span:>20}")
            name = ""


if __name__ == "__main__":
    main()
