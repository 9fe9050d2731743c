"""The simulator's command line: runs one workload and prints how it went.

Covers: arguments, the table, what to type to see a failing run again. Does not cover: the simulation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from futures_cluster import numbers
from futures_cluster.testing.simulator import workloads
from futures_cluster.testing.simulator.baseline import RandomScheduler
from futures_cluster.testing.simulator.faults import PRESETS
from futures_cluster.testing.simulator.network import NetworkModel
from futures_cluster.testing.simulator.report import scheduler_bytes_per_task
from futures_cluster.testing.simulator.simulation import Simulation

#: Tasks of the workload whose memory in the scheduler is measured.
MEASURED_TASKS = 20_000


def _whole(least: int, text: str) -> int:
    """Return the value of an option; argparse adds the option's name to the error."""
    try:
        return numbers.whole("", int(text), least)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).strip()) from None


def parser() -> argparse.ArgumentParser:
    """Return all arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m futures_cluster.testing.simulator",
        description="Run the real scheduler and worker machines with simulated work, network and faults.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--workload", choices=list(workloads.WORKLOADS), default="independent")
    at_least_1 = partial(_whole, 1)
    parser.add_argument("--tasks", type=at_least_1, default=10_000, help="approximate number of tasks")
    parser.add_argument("--workers", type=at_least_1, default=10)
    parser.add_argument("--slots", type=at_least_1, default=1, help="slots of each worker")
    parser.add_argument("--per-host", type=at_least_1, default=1, help="workers that share a host and its network card")
    parser.add_argument("--seed", type=int, default=0, help="decides durations, faults and jitter")
    parser.add_argument("--faults", choices=list(PRESETS), default="none")
    parser.add_argument("--latency", type=float, default=1e-4, metavar="SECONDS")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="SECONDS", help="at most")
    parser.add_argument("--bandwidth", type=float, default=1e9, metavar="BYTES_PER_S", help="of one connection")
    parser.add_argument("--nic", type=float, default=None, metavar="BYTES_PER_S", help="of one host; default: no limit")
    parser.add_argument(
        "--check", type=partial(_whole, 0), default=0, metavar="N", help="check everything at every N-th event"
    )
    parser.add_argument("--compare", action="store_true", help="run it with greedy random placement, too")
    parser.add_argument("--memory", action="store_true", help="measure the scheduler's memory for a queued task, too")
    return parser


def simulation(arguments: argparse.Namespace, workload: workloads.Workload, baseline: bool) -> Simulation:
    """Return the cluster that was asked for."""
    simulation = Simulation(
        arguments.seed,
        workload.work,
        network=NetworkModel(arguments.latency, arguments.jitter, arguments.bandwidth, arguments.nic),
        faults=PRESETS["none" if baseline else arguments.faults],
        check=0 if baseline else arguments.check,
        measure=True,
        scheduler=RandomScheduler(arguments.seed) if baseline else None,
    )
    simulation.add_workers(arguments.workers, {"slots": arguments.slots}, arguments.per_host)
    return simulation


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 1 if something was wrong."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser().parse_args(argv)
    workload = workloads.make(arguments.workload, arguments.tasks, arguments.seed)
    try:
        print(workloads.run(workload, simulation(arguments, workload, baseline=False)).table())
    except AssertionError as error:
        for line in [f"FAILED: {error}", *getattr(error, "__notes__", ())]:
            print(line, file=sys.stderr)
        print(f"see it again: python -m futures_cluster.testing.simulator {' '.join(argv)}", file=sys.stderr)
        return 1
    if arguments.compare:
        print("\nwith greedy random placement, undisturbed:")
        print(workloads.run(workload, simulation(arguments, workload, baseline=True)).table())
    if arguments.memory:
        rows = workloads.make(arguments.workload, MEASURED_TASKS, arguments.seed).rows
        print(f"\nthe scheduler's memory for a queued task: {scheduler_bytes_per_task(rows):.0f} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
