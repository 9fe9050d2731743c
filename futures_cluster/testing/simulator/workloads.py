"""Graphs of tasks for simulations and benchmarks.

Covers: the shapes that schedulers meet (independent tasks, trees, shuffles, windows, chains, pairs of load and process,
nested submission), how long their tasks take and how large their results are. Does not cover: submitting them.

Rows are ``(key, keys of the inputs)``, as ``SimulatedClient.submit`` takes them. ``WORKLOADS`` makes complete workloads
by name, for the command line and the benchmarks; the same seed gives the same durations.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from futures_cluster.messages import Key
from futures_cluster.testing.simulator.work import Work

Rows = list[tuple[Key, list[Key]]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Tasks, and what they do.

    Attributes
    ----------
    rows : list of (str, list of str)
        Keys, and keys of inputs.
    work : callable
        As ``Simulation`` takes it.
    function : callable
        The name of the function, by key; durations are learned by this name.
    wanted : list of str or None
        For a graph: the keys whose results are wanted. None: all are submitted tasks.
    """

    rows: Rows
    work: Callable[[Key, int], Work]
    function: Callable[[Key], str] = lambda key: "f"
    wanted: list[Key] | None = None


# ---------------------------------------------------------------- shapes


def independent(number: int, prefix: str = "k") -> Rows:
    """Return tasks without inputs."""
    return [(f"{prefix}{i}", []) for i in range(number)]


def binary_tree(leaves: int, prefix: str = "t") -> Rows:
    """Make leaves, and sums of two until one is left, which is the last."""
    rows: Rows = [(f"{prefix}{i}", []) for i in range(leaves)]
    level = [key for key, _ in rows]
    while len(level) > 1:
        following = []
        for i in range(0, len(level) - 1, 2):
            key = f"{prefix}{len(rows)}"
            rows.append((key, level[i : i + 2]))
            following.append(key)
        level = following + level[len(level) & ~1 :]
    return rows


def shuffle(width: int) -> Rows:
    """Make ``width`` tasks that each need a part of each of ``width`` others."""
    rows: Rows = [(f"in-{i}", []) for i in range(width)]
    rows += [(f"part-{i}-{j}", [f"in-{i}"]) for i in range(width) for j in range(width)]
    rows += [(f"out-{j}", [f"part-{i}-{j}" for i in range(width)]) for j in range(width)]
    return rows


def sliding_windows(width: int, steps: int) -> Rows:
    """Make steps whose tasks need three neighbours each, as a stencil on a ring."""
    rows: Rows = [(f"s0-{i}", []) for i in range(width)]
    for step in range(1, steps):
        for i in range(width):
            neighbours = dict.fromkeys(f"s{step - 1}-{(i + offset) % width}" for offset in range(3))
            rows.append((f"s{step}-{i}", list(neighbours)))
    return rows


def chains(number: int, length: int) -> Rows:
    """Return chains beside each other, listed step by step."""
    return [(f"c{i}-{j}", [f"c{i}-{j - 1}"] if j else []) for j in range(length) for i in range(number)]


def pairs(number: int) -> Rows:
    """Make large loads, all listed first, and something small of each."""
    rows: Rows = [(f"load-{i}", []) for i in range(number)]
    return rows + [(f"process-{i}", [f"load-{i}"]) for i in range(number)]


# ---------------------------------------------------------------- durations


def constant(duration_s: float, size_bytes: int = 100) -> Callable[[Key, int], Work]:
    """Return all the same."""
    work = Work(duration_s, size_bytes)
    return lambda key, execution: work


def log_normal(
    keys: Iterable[Key], seed: int, mean_s: float = 1.0, size_bytes: int = 100
) -> Callable[[Key, int], Work]:
    """Return durations of a mean; one in a hundred is six times longer."""
    dice = random.Random(seed)
    durations_s = {key: dice.lognormvariate(math.log(mean_s) - 0.5, 1.0) for key in keys}
    return lambda key, execution: Work(durations_s[key], size_bytes)


def by_prefix(works: Mapping[str, Work]) -> Callable[[Key, int], Work]:
    """Return durations by the part of a key before its first "-"."""
    return lambda key, execution: works[key.partition("-")[0]]


def prefix(key: Key) -> str:
    """Return what comes before the first "-" in a key."""
    return key.partition("-")[0]


# ---------------------------------------------------------------- workloads by name


def _independent(tasks: int, seed: int) -> Workload:
    return Workload(independent(tasks), constant(0.1))


def _messy(tasks: int, seed: int) -> Workload:
    rows = independent(tasks)
    return Workload(rows, log_normal([key for key, _ in rows], seed))


def _tree(tasks: int, seed: int) -> Workload:
    return Workload(binary_tree((tasks + 1) // 2), constant(0.1, 1_000_000))


def _shuffle(tasks: int, seed: int) -> Workload:
    rows = shuffle(max(1, int(math.sqrt(tasks + 1)) - 1))
    works = {"in": Work(0.5, 100_000_000), "part": Work(0.005, 1_000_000), "out": Work(0.5, 100_000_000)}
    return Workload(rows, by_prefix(works), prefix, [key for key, _ in rows if key.startswith("out")])


def _windows(tasks: int, seed: int) -> Workload:
    steps = max(1, int(math.sqrt(tasks) / 4))
    rows = sliding_windows(max(1, tasks // steps), steps)
    last = [key for key, _ in rows if key.startswith(f"s{steps - 1}-")]
    return Workload(rows, constant(0.05, 10_000_000), lambda key: "step", last)


def _chains(tasks: int, seed: int) -> Workload:
    rows = chains(max(1, tasks // 20), 20)
    keys = [key for key, _ in rows]
    last = [key for key in keys if key.endswith("-19")]
    return Workload(rows, log_normal(keys, seed, 0.05, 50_000_000), lambda key: "link", last)


def _pairs(tasks: int, seed: int) -> Workload:
    rows = pairs(max(1, tasks // 2))
    works = {"load": Work(0.1, 100_000_000), "process": Work(0.1, 1000)}
    wanted = [key for key, _ in rows if key.startswith("process")]
    return Workload(rows, by_prefix(works), prefix, wanted)


def _nested(tasks: int, seed: int) -> Workload:
    """Make tasks that each submit three others, and wait for them."""
    parent, child = Work(0.05, children=("child-a", "child-b", "child-c")), Work(0.05)

    def work(key: Key, execution: int) -> Work:
        return child if key.startswith("child") else parent

    return Workload(independent(max(1, tasks // 4), "parent-"), work, prefix)


WORKLOADS: dict[str, Callable[[int, int], Workload]] = {
    "independent": _independent,
    "messy": _messy,
    "tree": _tree,
    "shuffle": _shuffle,
    "windows": _windows,
    "chains": _chains,
    "pairs": _pairs,
    "nested": _nested,
}


def make(name: str, tasks: int, seed: int = 0) -> Workload:
    """Return a workload of about ``tasks`` tasks."""
    return WORKLOADS[name](tasks, seed)


def run(workload: Workload, simulation: Any) -> Any:
    """Submit a workload from one client, let time pass, and return the report."""
    client = simulation.add_client("client")
    client.submit(workload.rows, wanted=workload.wanted, function=workload.function)
    return simulation.run()
