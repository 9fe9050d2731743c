"""Workloads have the shape that their names promise, and run."""

from __future__ import annotations

import statistics

import pytest

from futures_cluster.testing.simulator import Simulation, workloads
from futures_cluster.testing.simulator.baseline import RandomScheduler

from .scenarios import check_empty


def dependents(rows: workloads.Rows) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {key: [] for key, _ in rows}
    for key, inputs in rows:
        for dep in inputs:
            found[dep].append(key)
    return found


def test_every_input_is_listed_before_who_needs_it() -> None:
    for name in workloads.WORKLOADS:
        seen: set[str] = set()
        for key, inputs in workloads.make(name, 500).rows:
            assert key not in seen and seen.issuperset(inputs), (name, key)
            seen.add(key)


@pytest.mark.parametrize("leaves", [1, 2, 7, 64])
def test_a_tree_has_one_end(leaves: int) -> None:
    rows = workloads.binary_tree(leaves)
    assert len(rows) == 2 * leaves - 1
    assert [key for key, needed_by in dependents(rows).items() if not needed_by] == [rows[-1][0]]


def test_a_shuffle_goes_from_everywhere_to_everywhere() -> None:
    rows = dict(workloads.shuffle(5))
    assert len(rows) == 5 + 25 + 5
    for j in range(5):
        assert sorted(rows[part][0] for part in rows[f"out-{j}"]) == [f"in-{i}" for i in range(5)]


def test_windows_overlap() -> None:
    rows = dict(workloads.sliding_windows(6, 3))
    assert rows["s1-0"] == ["s0-0", "s0-1", "s0-2"] and rows["s2-5"] == ["s1-5", "s1-0", "s1-1"]
    assert dict(workloads.sliding_windows(2, 2))["s1-0"] == ["s0-0", "s0-1"]


def test_chains_and_pairs() -> None:
    assert workloads.chains(2, 2) == [("c0-0", []), ("c1-0", []), ("c0-1", ["c0-0"]), ("c1-1", ["c1-0"])]
    assert workloads.pairs(1) == [("load-0", []), ("process-0", ["load-0"])]


def test_messy_durations_have_the_mean_that_was_asked_for() -> None:
    keys = [f"k{i}" for i in range(20_000)]
    work = workloads.log_normal(keys, seed=1, mean_s=2.0)
    durations = [work(key, 1).duration_s for key in keys]
    assert statistics.mean(durations) == pytest.approx(2.0, rel=0.05)
    assert statistics.median(durations) == pytest.approx(2.0 * 0.6065, rel=0.05)
    again = workloads.log_normal(keys, seed=1, mean_s=2.0)
    assert [again(key, 2).duration_s for key in keys[:100]] == durations[:100]
    assert workloads.log_normal(keys, seed=2)("k0", 1) != work("k0", 1)


@pytest.mark.parametrize("baseline", [False, True], ids=["ours", "random"])
@pytest.mark.parametrize("name", list(workloads.WORKLOADS))
def test_workloads_run(name: str, baseline: bool) -> None:
    """With the real scheduler and the one it is compared with; nothing is left at the end."""
    workload = workloads.make(name, 200, seed=3)
    simulation = Simulation(
        3, workload.work, check=0 if baseline else 1, scheduler=RandomScheduler(3) if baseline else None
    )
    simulation.add_workers(5, {"slots": 2})
    report = workloads.run(workload, simulation)
    assert report.finished == len(workload.wanted or workload.rows) and report.run_again == 0
    assert report.stretch >= 1.0 or name == "nested"  # slots that were lent are used twice for a moment
    if baseline:
        assert all(not worker.store and not worker.machine.replicas for worker in simulation.workers.values())
    else:
        simulation.clients["client"].release_all()
        simulation.run()
        check_empty(simulation)


def test_random_placement_is_random_by_its_seed() -> None:
    def history(seed: int) -> str:
        workload = workloads.make("tree", 100)
        simulation = Simulation(0, workload.work, scheduler=RandomScheduler(seed, in_advance=1), record=True)
        simulation.add_workers(4)
        history: str = workloads.run(workload, simulation).history
        return history

    assert history(1) == history(1) != history(2)


def test_random_placement_leaves_no_slot_free() -> None:
    workload = workloads.Workload(workloads.independent(100), workloads.constant(1.0))
    simulation = Simulation(work=workload.work, scheduler=RandomScheduler())
    simulation.add_workers(10)
    assert workloads.run(workload, simulation).stretch < 1.01
