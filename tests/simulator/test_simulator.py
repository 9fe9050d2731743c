"""The simulator itself: deterministic, honest about time, and loud when something is wrong."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.testing.simulator import Faults, Simulation, Stuck, Work, binary_tree, independent


def tree_with_faults(seed: int) -> Simulation:
    simulation = Simulation(
        seed,
        lambda key, execution: Work(0.003, 200_000),
        faults=Faults(crashes_per_s=20.0, delayed=0.3, failed_fetches=0.1),
        record=True,
        check=1,
    )
    simulation.add_workers(5)
    simulation.add_client("c").submit(binary_tree(60))
    return simulation


def test_the_same_seed_gives_the_same_history() -> None:
    reports = [tree_with_faults(seed).run() for seed in (1, 1, 2)]
    assert reports[0] == reports[1]
    assert reports[0].history and reports[0].history != reports[2].history
    assert reports[0].crashes and reports[0].finished == 119


def test_the_clock_adds_up() -> None:
    """One task: there with the submission, to the worker, its time, and back twice."""
    simulation = Simulation(work=lambda key, execution: Work(2.0), latency_s=0.25)
    simulation.add_worker()
    simulation.add_client("c").submit(independent(1))
    report = simulation.run()
    assert report.makespan_s == 3.0 and report.lower_bound_s == 2.0


def test_data_takes_time() -> None:
    """There, to w1, back, to w2, the request, the answer (a second), back, told: eight messages and three seconds."""
    simulation = Simulation(work=lambda key, execution: Work(1.0, 10_000_000), latency_s=0.125, bandwidth_bytes_s=1e7)
    simulation.add_worker("w1", resources={"A": 1.0})
    simulation.add_worker("w2", resources={"B": 1.0})
    client = simulation.add_client("c")
    client.submit([("x", [])], TaskOptions(resources=(("A", 1.0),)))
    client.submit([("y", ["x"])], TaskOptions(resources=(("B", 1.0),)))
    assert simulation.run().makespan_s == 8 * 0.125 + 3.0


def test_the_report_counts() -> None:
    simulation = Simulation(
        work=lambda key, execution: Work(0.1, fails=key == "k1", kills=key == "k2" and execution == 1)
    )
    simulation.add_workers(3)
    client = simulation.add_client("c", keep=True)
    client.submit(independent(10))
    simulation.at(0.05, client.cancel, ["k9"])
    report = simulation.run()
    assert (report.finished, report.failed, report.cancelled, report.run_again) == (8, 1, 1, 1)
    assert report.crashes == 1 and report.messages["WorkerGone"] == 1
    assert client.errors == {"k1": b"error"} and client.outcomes["k9"] == "cancelled"
    assert report.lower_bound_s == pytest.approx(1.0 / 3)


def test_what_can_never_run_is_found() -> None:
    simulation = Simulation(seed=7)
    simulation.add_worker()
    simulation.add_client("c").submit(independent(1), TaskOptions(workers=("nobody",)))
    with pytest.raises(Stuck) as caught:
        simulation.run()
    assert "simulation with seed 7" in caught.value.__notes__[0]


def test_a_history_without_end_is_found() -> None:
    simulation = Simulation(faults=Faults(crashes_per_s=1000.0, replace_after_s=0.0), most_events=10_000)
    simulation.add_worker()
    simulation.add_client("c").submit(independent(1), TaskOptions(workers=("nobody",)))
    with pytest.raises(Stuck):
        simulation.run()


def test_a_client_notices_what_it_is_told_twice() -> None:
    simulation = Simulation()
    client = simulation.add_client("c", keep=True)
    client.submit(independent(1))
    row = ("k0", m.FINISHED, b"result", 6, ())
    client.receive("", m.TasksDone([row]))
    with pytest.raises(AssertionError, match="reported twice"):
        client.receive("", m.TasksDone([row]))


def test_it_can_be_stopped_and_continued() -> None:
    simulation = Simulation(work=lambda key, execution: Work(1.0))
    simulation.add_worker()
    simulation.add_client("c").submit(independent(10))
    assert simulation.run(until_s=4.5).finished == 4
    assert simulation.now == 4.5
    assert simulation.run().finished == 10


def test_faults_end_with_the_work() -> None:
    simulation = Simulation(faults=Faults(crashes_per_s=100.0))
    simulation.add_workers(3)
    simulation.add_client("c").submit(independent(50))
    simulation.run()
    assert simulation.now < 10


@pytest.mark.parametrize(("tasks", "workers"), [(5000, 50), pytest.param(100_000, 1000, marks=pytest.mark.slow)])
def test_many_tasks_on_many_workers(tasks: int, workers: int) -> None:
    simulation = Simulation(work=lambda key, execution: Work(0.01))
    simulation.add_workers(workers)
    simulation.add_client("c").submit(independent(tasks))
    report = simulation.run()
    assert report.finished == tasks and report.makespan_s < 1.05 * report.lower_bound_s
