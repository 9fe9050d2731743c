"""Graphs of real Dask collections, simulated: right, and with less to move and to hold than with random placement."""

from __future__ import annotations

import pytest

from futures_cluster.testing.simulator import Simulation, workloads
from futures_cluster.testing.simulator.baseline import RandomScheduler
from futures_cluster.testing.simulator.report import Report

from . import dask_graphs

pytest.importorskip("dask._task_spec", reason="needs a Dask that describes its tasks")
pytest.importorskip("dask.array", reason="needs dask and numpy")


def run(workload: workloads.Workload, baseline: bool) -> Report:
    simulation = Simulation(1, workload.work, scheduler=RandomScheduler(1) if baseline else None)
    simulation.add_workers(20)
    report: Report = workloads.run(workload, simulation)
    return report


@pytest.mark.parametrize("name", ["array sum", "tensordot", "rechunk", "sliding"])
def test_arrays(name: str) -> None:
    workload = dask_graphs.workload(dask_graphs.collections()[name])
    ours, random = (run(workload, baseline) for baseline in (False, True))
    assert ours.finished == random.finished == len(workload.wanted or ())
    assert ours.moved_bytes < random.moved_bytes and ours.peak_bytes < random.peak_bytes
    assert ours.makespan_s < random.makespan_s


@pytest.mark.parametrize("name", ["shuffle", "groupby"])
def test_frames(name: str) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    workload = dask_graphs.workload(dask_graphs.frames()[name])
    ours, random = (run(workload, baseline) for baseline in (False, True))
    assert ours.finished == random.finished == len(workload.wanted or ())
    assert ours.moved_bytes < random.moved_bytes and ours.makespan_s < random.makespan_s


def test_rows_are_in_order_and_known() -> None:
    for name, collection in dask_graphs.collections().items():
        rows, wanted = dask_graphs.rows_of(collection)
        seen: set[str] = set()
        for key, inputs in rows:
            assert seen.issuperset(inputs), (name, key)
            seen.add(key)
        assert seen.issuperset(wanted) and len(seen) == len(rows) > 300, name
