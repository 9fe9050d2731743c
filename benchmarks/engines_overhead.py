"""What our API costs on other people's clusters: the same calls by us and by the engine's own client, side by side.

Covers: tiny calls and a lone round trip on a local Dask cluster (and on a local Ray, with --ray). Does not cover: calls
that compute: the engine runs them alike.

    python benchmarks/engines_overhead.py           # some two minutes; --quick: half a minute; --ray: a minute more

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

from futures_cluster import Executor


def square(x: int) -> int:
    """The call."""
    return x * x


def compare(title: str, plain: Callable[[int], Any], ours: Callable[[int], Any], calls: int, rounds: int) -> None:
    """Print one row for many calls, one for a lone one."""
    for name, n, repeat in ((f"{calls} calls", calls, 1), ("one round trip", 1, 50)):
        seconds: dict[str, list[float]] = {"plain": [], "ours": []}
        for number in range(rounds + 1):
            for which, run in (("plain", plain), ("ours", ours))[:: 1 if number % 2 else -1]:
                start = time.perf_counter()
                for _ in range(repeat):
                    assert run(n) == [i * i for i in range(n)]
                if number:  # the first round is to warm up
                    seconds[which].append((time.perf_counter() - start) / repeat)
        ratio = statistics.median(b / a for a, b in zip(seconds["plain"], seconds["ours"]))
        times = " | ".join(f"{statistics.median(values) * 1e3:8.1f}" for values in seconds.values())
        print(f"| {title:8} | {name:16} | {times} | {ratio:5.2f} |", flush=True)


def dask(calls: int, rounds: int) -> None:
    """On a LocalCluster of two processes."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
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


def ray_(calls: int, rounds: int) -> None:
    """On a local Ray of two CPUs."""
    import ray

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
    ray.shutdown()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ray", action="store_true")
    arguments = parser.parse_args()
    calls, rounds = (300, 3) if arguments.quick else (1000, 9)
    print("milliseconds, medians; x: our time divided by the engine's own client's\n")
    print(f"| {'engine':8} | {'what':16} | {'plain':>8} | {'ours':>8} | {'x':>5} |")
    print(f"| :{'-' * 7} | :{'-' * 15} | {'-' * 7}: | {'-' * 7}: | ----: |")
    dask(calls, rounds)
    if arguments.ray:
        ray_(calls, rounds)


if __name__ == "__main__":
    main()
