"""Decisions whose worth shows only over time: memory, shares, durations. The simulator's clock, real machines."""

from __future__ import annotations

import pytest

from futures_cluster.testing.simulator import Simulation, Work, workloads

LARGE = 1_000_000


def most_held(pairs: int, workers: int, slots: int, load_s: float, use_s: float, graph: bool) -> int:
    """Most results held at a time, of ``map(use, map(load, ...))``."""
    most = 0

    def work(key: str, execution: int) -> Work:
        nonlocal most
        most = max(most, sum(len(worker.store) for worker in simulation.workers.values()))
        return Work(load_s, LARGE) if key.startswith("load") else Work(use_s, 10)

    simulation = Simulation(seed=1, work=work, check=97)
    simulation.add_workers(workers, {"slots": slots})
    client = simulation.add_client("c")
    loads = [(f"load{i}", []) for i in range(pairs)]
    uses = [(f"use{i}", [f"load{i}"]) for i in range(pairs)]
    if graph:
        client.submit([*loads, *uses], wanted=[key for key, _ in uses])
    else:
        client.submit(loads, function="load")
        client.submit(uses, function="use")
    assert simulation.run().finished == (pairs if graph else 2 * pairs)
    return most


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize(("load_s", "use_s"), [(0.1, 0.1), (0.1, 0.3), (0.3, 0.05), (0.1, 0.001)])
def test_results_held_do_not_grow_with_the_number_of_roots(load_s: float, use_s: float, graph: bool) -> None:
    assert most_held(400, 4, 2, load_s, use_s, graph) <= 3 * 8


@pytest.mark.parametrize("graph", [True, False])
def test_short_roots_overrun_memory_by_no_more_than_the_horizon(graph: bool) -> None:
    """Of tasks of 4 ms, 10 a worker are assigned in advance."""
    assert most_held(1000, 4, 1, 0.004, 0.004, graph) <= 3 * 40


def test_a_shuffle_moves_what_it_must_and_no_more() -> None:
    """The parts are made where their input is, although all inputs are there at the same time."""
    width = 20
    workload = workloads.make("shuffle", width * (width + 2))
    simulation = Simulation(1, workload.work)
    simulation.add_workers(width)
    report = workloads.run(workload, simulation)
    parts_bytes = width * width * 1_000_000
    assert report.finished == width and report.moved_bytes <= 1.1 * parts_bytes


def test_ten_tasks_do_not_wait_for_a_hundred_thousand() -> None:
    simulation = Simulation(seed=1, work=lambda key, execution: Work(0.01))
    simulation.add_workers(10)
    many, few = simulation.add_client("many"), simulation.add_client("few", keep=True)
    many.submit([(f"m{i}", []) for i in range(100_000)])
    simulation.at(1.0, few.submit, [(f"f{i}", []) for i in range(10)])
    simulation.run(until_s=1.2)
    assert len(few.outcomes) == 10 and len(many.outcomes) > 500
