"""What our API costs on other people's clusters: the same calls by us and by the engine's own client, side by side.

Covers: tiny calls, a lone round trip and Dask's graphs on a local Dask cluster (and on a local Ray, with --ray, where
the other side of the graphs is Ray's own scheduler for Dask). Does not cover: calls that compute, which are run alike.

    python benchmarks/engines_overhead.py           # some four minutes; --quick: half a minute; --ray: as much again

Both take turns on the same cluster. The median of the rounds is shown, and the median of the ratios inside each round:
1.00 is no overhead, and less is possible, as small results that are done come together.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.dask_graph import chunks, tree
from futures_cluster import Executor


def square(x: int) -> int:
    """The call."""
    return x * x


def compare(title: str, plain: Callable[[int], Any], ours: Callable[[int], Any], calls: int, rounds: int) -> None:
    """Print one row for many calls, one for a lone one."""
    runs = {"plain": plain, "ours": ours}
    for name, n, repeat in ((f"{calls} calls", calls, 1), ("one round trip", 1, 50)):

        def measure(which: str, turn: int, n: int = n, repeat: int = repeat) -> float:
            start = time.perf_counter()
            for _ in range(repeat):
                assert runs[which](n) == [i * i for i in range(n)]
            return (time.perf_counter() - start) / repeat

        print_row(title, name, take_turns(measure, rounds))


def compare_graphs(title: str, plain: Any, ours: Any, size: int, rounds: int) -> None:
    """Print one row for a tree of tiny tasks, one for a sum over blocks; both are Dask's schedulers."""
    schedulers = {"plain": plain, "ours": ours}
    for name, make, number in (("tree", tree, 32 * size), ("(x + x.T).sum()", chunks, size)):

        def measure(which: str, turn: int, make: Any = make, number: int = number) -> float:
            collection, expected = make(number, 2 * turn + (which == "ours"))  # never the same graph twice
            start = time.perf_counter()
            assert collection.compute(scheduler=schedulers[which]) == expected
            return time.perf_counter() - start

        nodes = 2 * number - 1 if make is tree else number**2
        print_row(title, f"{name}, {nodes:,}", take_turns(measure, rounds))


def take_turns(measure: Callable[[str, int], float], rounds: int) -> dict[str, list[float]]:
    """Seconds of both sides in each round, which begin in turns; the first round is to warm up."""
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(rounds + 1):
        for which in ("plain", "ours")[:: 1 if turn % 2 else -1]:
            took = measure(which, turn)
            if turn:
                seconds[which].append(took)
    return seconds


def print_row(title: str, name: str, seconds: dict[str, list[float]]) -> None:
    """Medians, and the median of the ratios inside each round."""
    ratio = statistics.median(b / a for a, b in zip(seconds["plain"], seconds["ours"]))
    times = " | ".join(f"{statistics.median(values) * 1e3:8.1f}" for values in seconds.values())
    print(f"| {title:8} | {name:22} | {times} | {ratio:5.2f} |", flush=True)


def dask(calls: int, rounds: int, size: int) -> None:
    """On a LocalCluster of two processes."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        Executor(backend=client) as ex,
    ):
        compare(
            "dask://",
            lambda n: client.gather([client.submit(square, i, pure=False) for i in range(n)]),
            lambda n: ex.gather([ex.submit(square, i) for i in range(n)]),
            calls,
            rounds,
        )
        compare_graphs("dask://", client, ex, size, min(rounds, 5))


def ray_(calls: int, rounds: int, size: int) -> None:
    """On a local Ray of two CPUs."""
    import ray
    from ray.util.dask import ray_dask_get

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    task: Any = ray.remote(square)
    with Executor(backend="ray") as ex:
        compare(
            "ray",
            lambda n: ray.get([task.remote(i) for i in range(n)]),
            lambda n: ex.gather([ex.submit(square, i) for i in range(n)]),
            calls,
            rounds,
        )
        compare_graphs("ray", ray_dask_get, ex, size, min(rounds, 5))
    ray.shutdown()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ray", action="store_true")
    arguments = parser.parse_args()
    calls, rounds, size = (300, 3, 8) if arguments.quick else (1000, 9, 32)
    print("milliseconds, medians; x: our time divided by the engine's own client's\n")
    print(f"| {'engine':8} | {'what':22} | {'plain':>8} | {'ours':>8} | {'x':>5} |")
    print(f"| :{'-' * 7} | :{'-' * 21} | {'-' * 7}: | {'-' * 7}: | ----: |")
    dask(calls, rounds, size)
    if arguments.ray:
        ray_(calls, rounds, size)


if __name__ == "__main__":
    main()
