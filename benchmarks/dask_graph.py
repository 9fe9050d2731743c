"""Dask's graphs on futures_cluster, beside Dask's threads and a local distributed cluster.

    python benchmarks/dask_graph.py              # 3 rounds: two to four minutes on two cores
    python benchmarks/dask_graph.py --quick      # small graphs, one round: shows that all run, no more

Covers: a tree of 8,191 tiny tasks, and a sum over 40 x 40 chunks. Does not cover: data frames (``dataframes``).

Each measurement is a process of its own, and the systems take turns. There are two workers with one thread each; the
time is that of ``compute`` alone, on a graph that was not computed before, after a small one has warmed everything up.
It is the better of two. Values are checked.
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

SYSTEMS = ("futures_cluster", "dask threads", "distributed")
CASES = ("tree", "chunks")


def inc(x: int) -> int:
    """A task."""
    return x + 1


def add(x: int, y: int) -> int:
    """Another one."""
    return x + y


def tree(leaves: int, first: int) -> tuple[Any, Any]:
    """A reduction of ``2 * leaves - 1`` tasks, and its value."""
    from dask import delayed

    parts = [delayed(inc)(first + i) for i in range(leaves)]
    while len(parts) > 1:
        parts = [delayed(add)(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0], leaves * (first + 1) + leaves * (leaves - 1) // 2


def chunks(number: int, first: int) -> tuple[Any, Any]:
    """``(x + x.T).sum()`` on number x number chunks of 100 x 100, and its value."""
    import dask.array as da

    size = 100 * number
    x = da.full((size, size), first + 1, chunks=(100, 100))
    return (x + x.T).sum(), 2 * (first + 1) * size * size


@contextlib.contextmanager
def scheduler_of(system: str) -> Iterator[Any]:
    """What ``compute(scheduler=...)`` takes."""
    if system == "futures_cluster":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from futures_cluster import Executor

        with Executor(2) as executor:
            yield executor
    elif system == "distributed":
        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as c:
            yield c
    else:
        import dask

        with dask.config.set(num_workers=2):
            yield "threads"


def measure(system: str, case: str, size: int) -> dict[str, float]:
    """One process's measurement: seconds, and tasks per second of the tree."""
    make = tree if case == "tree" else chunks
    with scheduler_of(system) as scheduler:
        for _ in range(2):
            make(16 if case == "tree" else 4, 3)[0].compute(scheduler=scheduler)
        times = []
        for first in (10, 20):
            collection, expected = make(size, first)
            start = time.perf_counter()
            found = collection.compute(scheduler=scheduler)
            times.append(time.perf_counter() - start)
            assert found == expected, (system, case, found, expected)
    return {"seconds": min(times)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("SYSTEM", "CASE", "SIZE"), help="one measurement, as JSON")
    options = parser.parse_args()
    if options.one:
        system, case, size = options.one
        print(json.dumps(measure(system, case, int(size))))
        return
    sizes = {"tree": 256, "chunks": 8} if options.quick else {"tree": 4096, "chunks": 40}
    rounds = 1 if options.quick else options.rounds
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(1, rounds + 1):
        for case in CASES:
            for system in SYSTEMS:
                print(f"{case}, round {number} of {rounds}: {system}", file=sys.stderr, flush=True)
                command = [sys.executable, __file__, "--one", system, case, str(sizes[case])]
                done = subprocess.run(command, capture_output=True, text=True, timeout=600)
                if done.returncode:
                    print(f"{system}, {case} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
                    continue
                seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
                found.setdefault((case, system), []).append(seconds)
    print_table(found, sizes, rounds)


def print_table(found: dict[tuple[str, str], list[float]], sizes: dict[str, int], rounds: int) -> None:
    """Medians over rounds; the ratios are medians of those inside each round."""
    print(f"two workers, one thread each; median of {rounds} round(s); more than 1 x: futures_cluster is faster\n")
    print(f"{'graph':<30}{'system':<18}{'seconds':>9}{'us/task':>9}{'min .. max':>17}{'futures_cluster is':>21}")
    for case in CASES:
        ours = found.get((case, "futures_cluster"), [])
        number = 2 * sizes["tree"] - 1 if case == "tree" else sizes["chunks"] ** 2
        name = f"tree of {number:,} tasks" if case == "tree" else f"(x + x.T).sum(), {number:,} chunks"
        for system in SYSTEMS:
            times = found.get((case, system))
            if not times:
                print(f"{name:<30}{system:<18}{'failed':>9}")
                continue
            ratio = statistics.median(theirs / mine for theirs, mine in zip(times, ours, strict=False)) if ours else 0
            span = f"{min(times):.2f} .. {max(times):.2f}"
            median = statistics.median(times)
            print(f"{name:<30}{system:<18}{median:>9.3f}{median / number * 1e6:>9.0f}{span:>17}{ratio:>19.1f} x")
            name = ""


if __name__ == "__main__":
    main()
