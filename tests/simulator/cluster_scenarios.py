"""Random histories of a cluster over a network: everything of ``scenarios``, and what only a network can do.

Covers: partitions, lost hosts, stuck and slow workers, repeated submissions and reports, jitter, shared network cards.

    python -m tests.simulator.cluster_scenarios 17        # play seed 17 again
    python -m tests.simulator.cluster_scenarios 0 10000   # play these seeds, and list those that fail
"""

from __future__ import annotations

import random as random_module
import sys
import traceback
from collections.abc import Container
from dataclasses import replace
from typing import Any

from futures_cluster.messages import TaskOptions
from futures_cluster.testing.simulator import Faults, NetworkModel, Simulation, Work

from .scenarios import Scenario

#: One history in so many is a long one.
LONG = 20


class ClusterScenario(Scenario):
    """One history; always with faults. In some most tasks must not run twice."""

    UNKNOWN_INPUTS = 0.002
    careful: bool | None = None

    def draw_faults(self) -> Faults:
        random = self.random
        starts = random_module.Random(repr(random.getstate()))  # of their own: what else is drawn stays as it was
        return Faults(
            crashes_per_s=random.choice([0.0, 0.0, 1.0, 20.0]),
            most_crashes=5,
            replace_after_s=0.01,
            delayed=random.choice([0.0, 0.2]),
            delay_s=random.choice([0.001, 0.05]),
            failed_fetches=random.choice([0.0, 0.2]),
            host_losses_per_s=random.choice([0.0, 2.0, 10.0]),
            partitions_per_s=random.choice([0.0, 5.0, 30.0]),
            longest_partition_s=random.choice([0.02, 0.3]),
            stuck_per_s=random.choice([0.0, 5.0, 30.0]),
            longest_stuck_s=random.choice([0.02, 0.3]),
            silence_s=random.choice([0.01, 0.1]),
            busy_per_s=random.choice([0.0, 5.0]),
            restarts_per_s=random.choice([0.0, 5.0]),
            resets_per_s=random.choice([0.0, 5.0]),
            retirements_per_s=random.choice([0.0, 3.0]),
            vanishing_per_s=random.choice([0.0, 0.0, 2.0]),
            slow=random.choice([0.0, 0.3]),
            repeated=random.choice([0.0, 0.5]),
            most_mishaps=6,
            failed_starts=starts.choice([0.0, 0.0, 0.7]),
        )

    def draw_network(self) -> NetworkModel:
        random = self.random
        return NetworkModel(
            latency_s=random.choice([1e-5, 1e-4, 1e-4, 1e-2]),
            jitter_s=random.choice([0.0, 1e-4, 1e-2]),
            nic_bytes_s=random.choice([None, 2e9]),
        )

    def draw_worker(self) -> dict[str, Any]:
        return {**super().draw_worker(), "host": self.random.choice(["", "h1", "h2"])}

    def draw_event(self, time_s: float) -> None:
        """Now and then a client scatters something, which tasks that are submitted later need."""
        super().draw_event(time_s)
        if self.random.random() < 0.15:
            client = self.random.choice(self.clients)
            key = f"s{len(self.keys)}"
            self.keys.append(key)
            self.inputs[key] = []
            self.once.append(key)  # not to be submitted as a task
            size_bytes, replicas = self.random.choice([100, 60_000, 5_000_000]), self.random.choice([1, 1, 2, 3])
            self.simulation.at(time_s, self.unless_left, client, self.scatter, client, key, size_bytes, replicas)

        if self.random.random() < 0.05:
            client = self.random.choice(self.clients)
            self.simulation.at(time_s, self.unless_left, client, self.adopt, client)

    def adopt(self, client: Any) -> None:
        """A client gets a key, by a channel perhaps, of what a worker's task has submitted."""
        children = [key for key in self.simulation.scheduler.state.tasks if "@" in key]
        if children:
            client.adopt(self.random.choice(children))

    def scatter(self, client: Any, key: str, size_bytes: int, replicas: int) -> None:
        if self.simulation.workers:
            worker = self.random.choice(list(self.simulation.workers))
            client.scatter([key], worker, size_bytes, replicas)

    def unclaimed(self) -> Container[str]:
        """Data that was put on a worker, while its client vanished, or was told that the worker is not known.

        The scheduler has never heard that it is there. A real worker tells it when that client's connection ends
        (``services.worker.data_server``); a simulated one has no connections.
        """
        keys = {}
        for client in self.clients:
            for key in self.inputs:
                if key.startswith("s") and (client.left or client.outcomes.get(key) in ("failed", "cancelled")):
                    keys[key] = None
        return keys

    def draw_options(self) -> TaskOptions:
        """Seldom what makes tasks fail, so that there is something to go wrong with."""
        options = super().draw_options()
        if self.careful is None:
            self.careful = self.random.random() < 0.2
        rerun = self.random.random() < 0.3 if self.careful else options.rerun or self.random.random() < 0.7
        timeout_s = options.timeout_s if self.random.random() < 0.3 else None
        return options._replace(rerun=rerun, timeout_s=timeout_s)

    def draw_work(self, options: TaskOptions) -> list[Work]:
        """More large results than elsewhere: what is small lies with the scheduler, and nobody has to fetch it."""
        works = super().draw_work(options)
        if self.random.random() < 0.02:
            works = [replace(works[0], fails=False, closes=True)] * self.random.randint(1, 3) + [works[-1]]
        if works[0].fails and self.random.random() < 0.8:
            works = [replace(work, fails=False) for work in works]
        large = self.random.random() < 0.5
        return [replace(work, size_bytes=self.random.choice([60_000, 5_000_000])) if large else work for work in works]


def scenario(seed: int) -> ClusterScenario:
    """One history from a seed, not yet played."""
    random = random_module.Random(f"cluster {seed}")
    tasks = 120 if seed % LONG == LONG - 1 else random.randint(1, 25)
    return ClusterScenario(random, tasks, True, seed)


def play(seed: int) -> Simulation:
    """One history from a seed."""
    return scenario(seed).play()


def main(argv: list[str]) -> int:
    """Play one seed or many; the number of those that fail."""
    first = int(argv[0])
    failed = 0
    for seed in range(first, int(argv[1]) if len(argv) > 1 else first + 1):
        try:
            report = play(seed).report
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error} {getattr(error, '__notes__', '')}", flush=True)
            if len(argv) == 1:
                traceback.print_exc()
        else:
            if len(argv) == 1:
                print(report.table())
    print(f"{failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
