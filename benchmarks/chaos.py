"""Work that goes on while workers are killed: how much longer it takes.

    python benchmarks/chaos.py [--runs 3] [--tasks 20000] [--workers 4]

Tasks of 5 ms in chains of at most 20, on a scheduler and workers that are commands of their own. First undisturbed,
then with one worker killed by SIGKILL every second (its manager starts another). Each run checks every result, that no
task failed, and that no future was resolved twice. It prints the time of each run as a multiple of the undisturbed one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

from futures_cluster import Executor
from futures_cluster.testing.real_cluster import Cluster

TASK_S = 0.005
LONGEST_CHAIN = 20


def step(chain: int, before: int) -> int:
    """One link of a chain."""
    time.sleep(TASK_S)
    return before * 3 + chain & 0xFFFFFFFF


def last(chain: int, length: int) -> int:
    """What the last link of a chain must be."""
    value = chain
    for _ in range(length):
        value = value * 3 + chain & 0xFFFFFFFF
    return value


def lengths(tasks: int, seed: int) -> list[int]:
    """Lengths of chains that make so many tasks."""
    rng = random.Random(seed)
    found: list[int] = []
    while tasks:
        found.append(min(tasks, rng.randint(1, LONGEST_CHAIN)))
        tasks -= found[-1]
    return found


class Killer:
    """Kills a worker process every second."""

    def __init__(self, ex: Executor, seed: int) -> None:
        self.kills = 0
        self._ex = ex
        self._random = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._end.wait(1.0):
            workers = list(self._ex.workers().values())
            if workers:
                os.kill(self._random.choice(workers)["pid"], signal.SIGKILL)
                self.kills += 1

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()


def run(ex: Executor, tasks: int, seed: int) -> float:
    """Run all chains and check them; seconds."""
    chains = lengths(tasks, seed)
    resolved: list[int] = []
    start = time.perf_counter()
    ends = []
    for chain, length in enumerate(chains):
        future = ex.submit(step, chain, chain)
        for _ in range(length - 1):
            future = ex.submit(step, chain, future)
        future.add_done_callback(lambda _, chain=chain: resolved.append(chain))
        ends.append(future)
    results = [future.result(600) for future in ends]
    taken = time.perf_counter() - start
    assert results == [last(chain, length) for chain, length in enumerate(chains)]
    end = time.monotonic() + 60
    while len(resolved) < len(chains) and time.monotonic() < end:
        time.sleep(0.01)  # callbacks are called soon after the results can be had
    assert sorted(resolved) == list(range(len(chains)))
    return taken


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        cluster.add_worker("--workers", str(arguments.workers))
        with cluster.executor() as ex:
            quiet_s = run(ex, arguments.tasks, seed=0)
            print(f"undisturbed: {quiet_s:.1f} s, {arguments.tasks / quiet_s:,.0f} tasks/s", flush=True)
            ratios = []
            for seed in range(1, arguments.runs + 1):
                with Killer(ex, seed) as killer:
                    taken = run(ex, arguments.tasks, seed)
                ratios.append(taken / quiet_s)
                print(f"run {seed}: {taken:.1f} s, {ratios[-1]:.2f} x, {killer.kills} workers killed", flush=True)
    print(f"median {statistics.median(ratios):.2f} x, worst {max(ratios):.2f} x")


if __name__ == "__main__":
    main()
