"""What the design promises, seen from a client: priorities, blame, retries, timeouts, nesting, spreading, data."""

from __future__ import annotations

from typing import Any

import pytest

from futures_cluster.messages import TaskOptions
from futures_cluster.testing.simulator import Faults, Simulation, Work, binary_tree, independent
from futures_cluster.testing.simulator.workloads import sliding_windows
from futures_cluster.worker import machine as worker_machine

from .scenarios import check_empty


def drained(simulation: Simulation) -> None:
    """Nobody wants anything any more: nothing is left."""
    for client in simulation.clients.values():
        client.release_all()
    simulation.run()
    check_empty(simulation)


# ---------------------------------------------------------------- order


def test_no_task_starves_behind_more_urgent_ones() -> None:
    """Urgent tasks keep coming, at less than the cluster can do: the others end, too."""
    simulation = Simulation(work=lambda key, execution: Work(0.01), check=7)
    simulation.add_workers(4)
    client = simulation.add_client("c")
    client.submit(independent(50, "low"), TaskOptions(priority=-1))
    for i in range(500):
        urgent = [(f"urgent{i}", [])]
        simulation.at(0.004 * i, client.submit, urgent, TaskOptions(priority=1))
    simulation.run(until_s=1.9)
    assert sum(key.startswith("low") for key in client.outcomes) == 50
    simulation.run()
    drained(simulation)


def test_a_suspect_does_not_wait_for_ever_for_an_empty_worker() -> None:
    """It has killed two workers, so it has to run alone, while other tasks never cease to come."""
    simulation = Simulation(work=lambda key, execution: Work(0.01, kills=key == "bad" and execution <= 2), check=7)
    simulation.add_workers(3, {"slots": 2})
    client = simulation.add_client("c")
    for i in range(800):
        simulation.at(0.001 * i, client.submit, independent(2, f"k{i}-"))
    simulation.at(0.01, client.submit, [("bad", [])])
    simulation.run(until_s=0.8)
    assert client.outcomes.get("bad") == "finished"
    simulation.run()
    drained(simulation)


# ---------------------------------------------------------------- failures


def test_after_three_deaths_only_the_guilty_task_fails() -> None:
    simulation = Simulation(work=lambda key, execution: Work(0.01, kills=key == "k13"), check=1)
    simulation.add_workers(3, {"slots": 2})
    client = simulation.add_client("c", keep=True)
    client.submit(independent(60))
    report = simulation.run()
    assert (report.finished, report.failed, report.crashes) == (59, 1, 3)
    assert client.errors["k13"]["kind"] == "WorkerDied" and simulation.executions["k13"] == 3
    drained(simulation)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("duration_s", [1e-4, 0.02])
def test_after_three_closed_connections_only_the_guilty_task_fails(duration_s: float, slots: int) -> None:
    """It ends before its worker is killed, and cannot say so; others run there when the worker dies."""
    simulation = Simulation(work=lambda key, execution: Work(duration_s, closes=key == "k13"), check=1)
    simulation.add_workers(3, {"slots": slots})
    client = simulation.add_client("c", keep=True)
    client.submit([("first", [])])
    simulation.run()  # now it is known how long they take: many are assigned at a time
    client.submit(independent(200))
    report = simulation.run()
    assert [key for key, outcome in client.outcomes.items() if outcome != "finished"] == ["k13"]
    assert client.errors["k13"]["kind"] == "WorkerDied" and client.errors["k13"]["text"].count("on w") == 3
    assert report.crashes == simulation.executions["k13"] == 3
    drained(simulation)


def test_a_task_that_takes_its_host_along_is_not_run_for_ever() -> None:
    """Nobody says anything, and only the silence tells."""
    simulation = Simulation(work=lambda key, execution: Work(10.0), faults=Faults(silence_s=0.5), check=1)
    simulation.add_worker(host="h1")
    client = simulation.add_client("c", keep=True)
    client.submit([("bad", [])])

    def lose_host() -> None:
        simulation.mishaps.lose_host("h1")
        if not client.outcomes:
            simulation.at(simulation.now + 2.0, lose_host)

    simulation.at(1.0, lose_host)
    simulation.run()
    assert client.errors["bad"]["kind"] == "WorkerDied" and simulation.executions["bad"] == 3
    assert client.errors["bad"]["text"].count("silent for 0.5 s") == 3


def test_the_innocent_are_not_blamed_for_company() -> None:
    """Two tasks of every worker's two slots die together; the one that does not kill never fails."""
    simulation = Simulation(work=lambda key, execution: Work(0.01, kills=key == "bad"), check=1)
    simulation.add_workers(1, {"slots": 2})
    client = simulation.add_client("c", keep=True)
    client.submit([("bad", []), ("innocent", [])])
    simulation.run()
    assert client.outcomes == {"bad": "failed", "innocent": "finished"}


@pytest.mark.parametrize(
    ("retries", "outcome", "executions"), [(0, "failed", 1), (2, "finished", 3), (9, "finished", 3)]
)
def test_retries(retries: int, outcome: str, executions: int) -> None:
    simulation = Simulation(work=lambda key, execution: Work(0.01, fails=execution <= 2), check=1)
    simulation.add_worker()
    client = simulation.add_client("c")
    client.submit([("k", [])], TaskOptions(retries=retries))
    simulation.run()
    assert client.outcomes == {"k": outcome} and simulation.executions["k"] == executions


def test_a_task_that_must_not_run_twice_never_does() -> None:
    simulation = Simulation(
        3, lambda key, execution: Work(0.005), faults=Faults(crashes_per_s=50.0, delayed=0.2), check=1
    )
    simulation.add_workers(4, {"slots": 2})
    client = simulation.add_client("c")
    client.submit(independent(300), TaskOptions(rerun=False))
    report = simulation.run()
    assert report.run_again == 0 and report.failed and report.finished > 100
    assert all(error["kind"] == "WorkerDied" for error in client.errors.values())
    drained(simulation)


@pytest.mark.parametrize("killable", [True, False])
def test_timeouts(killable: bool) -> None:
    simulation = Simulation(work=lambda key, execution: Work(10.0 if key == "k3" else 0.01), check=1)
    simulation.add_workers(2, {"killable": killable})
    client = simulation.add_client("c")
    client.submit(independent(10), TaskOptions(timeout_s=0.5))
    simulation.run()
    assert client.errors["k3"]["kind"] == "TaskTimeout"
    assert sum(outcome == "finished" for outcome in client.outcomes.values()) == 9
    assert simulation.report.makespan_s == pytest.approx(0.5, rel=0.2)
    simulation.run()
    drained(simulation)


def test_answers_of_workers_that_were_lost_are_dropped() -> None:
    """The scheduler believes a worker dead whose messages are only late."""
    simulation = Simulation(work=lambda key, execution: Work(0.1), check=1)
    simulation.add_workers(2)
    client = simulation.add_client("c", keep=True)
    client.submit(independent(2))
    simulation.run(until_s=0.05)
    name = next(iter(simulation.workers))
    from futures_cluster import messages as m

    simulation.to_scheduler("", m.WorkerGone(name))
    simulation.run()
    assert client.outcomes == {"k0": "finished", "k1": "finished"}
    assert sum(simulation.executions.values()) == 3


def test_a_worker_that_runs_its_last_task_and_its_successor_have_one_slot_together() -> None:
    simulation = Simulation(faults=Faults(replace_after_s=0.001), work=lambda key, execution: Work(0.1, 100), check=1)
    simulation.add_workers(2, {"most_runs": 1})
    simulation.add_client("c").submit(independent(20))
    report = simulation.run()
    assert report.finished == 20 and report.messages["WorkerRetiring"] == 20
    assert report.makespan_s > 20 / 2 * 0.1


def test_workers_that_run_their_maximum_are_replaced() -> None:
    simulation = Simulation(work=lambda key, execution: Work(0.001, 100_000), check=1)
    simulation.add_workers(2, {"most_runs": 7})
    simulation.add_client("c").submit(independent(100))
    report = simulation.run()
    assert report.finished == 100 and report.run_again == 0 and report.messages["WorkerRetiring"] >= 14
    assert report.crashes == 0
    drained(simulation)


# ---------------------------------------------------------------- nesting


def nested(key: str, execution: int) -> Work:
    """``a...`` has a child ``b...``, and that one two of its own."""
    letter, rest = key[0], key[1:].partition("@")[0]
    children = {"a": (f"b{rest}",), "b": (f"c{rest}", f"d{rest}")}.get(letter, ())
    return Work(1e-3, children=children)


@pytest.mark.parametrize("latency_s", [1e-5, 1e-2])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("number", [1, 30, 300])
def test_nested_tasks_never_wait_for_each_other_for_ever(
    number: int, workers: int, latency_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_machine, "MAX_LENT_SLOTS", 10)
    simulation = Simulation(work=nested, latency_s=latency_s, check=5)
    simulation.add_workers(workers)
    simulation.add_client("c").submit(independent(number, "a"))
    assert simulation.run().finished == number
    drained(simulation)


def test_children_run_before_their_parents_siblings() -> None:
    """So that few parents wait at a time: each costs a thread."""
    most: dict[str, int] = {}
    simulation = Simulation(work=nested, check=5)
    worker = simulation.add_worker()
    simulation.add_client("c").submit(independent(300, "a"))

    def look() -> None:
        most["lent"] = max(most.get("lent", 0), worker.machine.lent_slots)
        if len(worker.machine.executing):
            simulation.at(simulation.now + 1e-3, look)

    simulation.at(0.01, look)
    simulation.run()
    assert 1 <= most["lent"] <= 40


# ---------------------------------------------------------------- speed


def efficiency(rows: list[Any], workers: int, work: Any, **settings: Any) -> float:
    simulation = Simulation(work=work, **settings)
    simulation.add_workers(workers)
    simulation.add_client("c").submit(rows)
    report = simulation.run()
    assert report.run_again == 0
    return report.lower_bound_s / report.makespan_s


@pytest.mark.parametrize(
    ("duration_s", "workers", "least"),
    [(1.0, 10, 0.99), (0.01, 100, 0.97), (1e-3, 10, 0.97), (1e-4, 4, 0.95), (1.5e-5, 2, 0.9)],
)
def test_workers_are_kept_busy(duration_s: float, workers: int, least: float) -> None:
    number = workers * max(20, int(0.1 / duration_s))
    assert efficiency(independent(number), workers, lambda key, execution: Work(duration_s)) > least


def test_work_is_shared_when_the_guess_was_wrong() -> None:
    """Every tenth task takes a hundred times as long as the others of its name."""

    def work(key: str, execution: int) -> Work:
        return Work(0.1 if int(key[1:]) % 10 == 0 else 0.001)

    assert efficiency(independent(2000), 8, work) > 0.9


def test_one_long_task_holds_nobody_up() -> None:
    simulation = Simulation(work=lambda key, execution: Work(1.0 if key == "k500" else 1e-3))
    simulation.add_workers(4)
    simulation.add_client("c").submit(independent(1000))
    assert simulation.run().makespan_s < 1.0 + 0.5 / 4 + 0.05


def test_late_workers_get_their_share() -> None:
    simulation = Simulation(work=lambda key, execution: Work(0.001))
    simulation.add_worker()
    simulation.add_client("c").submit(independent(1000))
    simulation.at(0.1, simulation.add_workers, 9)
    assert simulation.run().makespan_s < 0.1 + 0.9 / 10 * 1.15


def test_work_follows_large_data() -> None:
    """Chains over data that takes ten times as long to move as to compute: it stays where it is."""
    rows = [(f"a{i}-{j}", [f"a{i}-{j - 1}"] if j else []) for j in range(20) for i in range(10)]
    simulation = Simulation(work=lambda key, execution: Work(0.03, 300_000_000))
    simulation.add_workers(5)
    client = simulation.add_client("c")
    client.submit([("first", [])])  # now it is known how long the function takes
    simulation.at(0.1, client.submit, rows)
    report = simulation.run()
    assert report.messages.get("GetData", 0) <= 2
    assert report.makespan_s - 0.1 < 1.2 * 1.1


def test_neighbours_are_together() -> None:
    """Of what each step makes, only the borders between workers are moved: two neighbours for each worker."""
    steps, workers, size_bytes = 5, 10, 10_000_000
    rows = sliding_windows(60, steps)
    simulation = Simulation(work=lambda key, execution: Work(0.05, size_bytes), check=7)
    simulation.add_workers(workers)
    client = simulation.add_client("c", keep=False)
    client.submit(rows, wanted=[key for key, inputs in rows if key.startswith(f"s{steps - 1}-")])
    report = simulation.run()
    assert report.moved_bytes == (steps - 1) * workers * 2 * size_bytes
    drained(simulation)


def test_late_workers_help_with_what_others_were_to_begin_with() -> None:
    simulation = Simulation(work=lambda key, execution: Work(1.0), check=7)
    simulation.add_workers(2)
    client = simulation.add_client("c")
    rows = independent(80)
    client.submit(rows, wanted=[key for key, _ in rows])
    simulation.run(until_s=10.5)
    simulation.add_workers(2)
    assert simulation.run().makespan_s < 26.0
    drained(simulation)


def test_a_chosen_order_of_first_tasks_is_kept() -> None:
    """Each is used before the next one is made, so neighbours are not spread, and little is held."""
    rows = [row for i in range(40) for row in ((f"load-{i}", []), (f"use-{i}", [f"load-{i}"]))]
    works = {"load": Work(0.1, 1_000_000), "use": Work(0.1, 100)}
    simulation = Simulation(work=lambda key, execution: works[key.partition("-")[0]], check=7)
    simulation.add_workers(4)
    client = simulation.add_client("c")
    client.submit(rows, wanted=[key for key, inputs in rows if inputs])
    report = simulation.run()
    assert report.moved_bytes == 0 and report.peak_bytes <= 8_000_000
    drained(simulation)


def test_inputs_are_fetched_while_others_compute() -> None:
    """Each input takes as long to move as its consumer to compute: together they take little longer than one."""
    simulation = Simulation(work=lambda key, execution: Work(0.01, 10_000_000 if key[0] == "x" else 10))
    simulation.add_worker("w1", resources={"A": 1.0})
    simulation.add_worker("w2", resources={"B": 100.0})
    client = simulation.add_client("c")
    client.submit(independent(30, "x"), TaskOptions(resources=(("A", 1.0),)), function="x")
    consumers = [(f"y{i}", [f"x{i}"]) for i in range(30)]
    simulation.at(0.5, client.submit, consumers, TaskOptions(resources=(("B", 1.0),)))
    client.keep = True
    report = simulation.run()
    assert report.messages["GetData"] >= 1
    assert report.makespan_s - 0.5 < 0.01 * 30 * 1.5


def test_a_tree_keeps_up() -> None:
    assert efficiency(binary_tree(2000), 20, lambda key, execution: Work(0.002, 100_000)) > 0.85


def test_a_broadcast_does_not_come_from_one_worker_alone() -> None:
    simulation = Simulation(work=lambda key, execution: Work(0.5, 10_000_000 if key == "x" else 10))
    simulation.add_workers(50)
    client = simulation.add_client("c", keep=True)
    client.submit([("x", []), *((f"y{i}", ["x"]) for i in range(50))])
    assert simulation.run().makespan_s < 1.5
