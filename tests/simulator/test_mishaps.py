"""Partitions, lost hosts, stuck workers: what they look like, and what the machines make of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from futures_cluster.messages import TaskOptions
from futures_cluster.testing.simulator import Faults, NetworkModel, Simulation, Work, binary_tree, independent

from .scenarios import check_empty

SILENCE_S = 0.5


def cluster(workers: int, work: Any, faults: Faults | None = None, **settings: Any) -> Simulation:
    simulation = Simulation(
        work=work, faults=faults or Faults(silence_s=SILENCE_S, replace_after_s=None), check=1, **settings
    )
    simulation.add_workers(workers)
    return simulation


def drained(simulation: Simulation) -> None:
    for client in simulation.clients.values():
        client.release_all()
    simulation.run()
    check_empty(simulation)


def constant(duration_s: float, size_bytes: int = 100) -> Any:
    return lambda key, execution: Work(duration_s, size_bytes)


# ---------------------------------------------------------------- partitions


def test_a_short_partition_only_delays() -> None:
    """The task ends while its worker is cut off; what it reports arrives when the network heals."""
    simulation = cluster(1, constant(0.1))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(1))
    simulation.at(0.05, simulation.mishaps.cut_off, ["w1"], 0.3)
    report = simulation.run()
    assert client.outcomes == {"k0": "finished"} and report.run_again == 0
    assert "WorkerGone" not in report.messages and report.messages["WorkerConnected"] == 1
    assert report.makespan_s == pytest.approx(0.05 + 0.3 + 2e-4)
    drained(simulation)


def test_after_a_long_partition_the_worker_begins_anew() -> None:
    """Its tasks run elsewhere; what it did meanwhile is not used, and it gets work again."""
    simulation = cluster(2, constant(0.1))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(2))
    before = simulation.workers["w1"]
    simulation.at(0.05, simulation.mishaps.cut_off, ["w1"], 2.0)
    simulation.at(3.0, client.submit, independent(2, "late"))
    report = simulation.run()
    assert client.outcomes == {"k0": "finished", "k1": "finished", "late0": "finished", "late1": "finished"}
    assert report.run_again == 1 and report.messages["WorkerConnected"] == 3
    after = simulation.workers["w1"]
    assert after is not before and not before.alive and after.online
    assert report.makespan_s == pytest.approx(3.1, abs=0.01)
    drained(simulation)


def test_a_worker_that_is_cut_off_from_its_peers_only_is_not_lost() -> None:
    """Its results cannot be fetched for a time; the fetch is given up, and the result is made again."""
    simulation = cluster(2, constant(0.1, 1_000_000))
    client = simulation.add_client("c", keep=True)
    client.submit([("x", [])])
    simulation.run()
    ((holder, _),) = client.holders["x"]
    other = "w1" if holder == "w2" else "w2"
    simulation.mishaps.cut_off([holder], 2.0, scheduler=False)
    client.submit([("y", ["x"])], TaskOptions(workers=(other,)))
    report = simulation.run()
    assert client.outcomes == {"x": "finished", "y": "finished"}
    assert report.messages["ReportMissing"] >= 1
    assert "WorkerGone" not in report.messages and report.messages["WorkerConnected"] == 2
    drained(simulation)


def test_what_must_not_run_twice_does_not_after_a_silence() -> None:
    """Nobody knows whether it had started: the reports are held by the partition."""
    simulation = cluster(1, constant(0.01))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(2), TaskOptions(rerun=False))
    simulation.at(2.5e-4, simulation.mishaps.cut_off, ["w1"], 2.0)
    simulation.at(3.0, simulation.add_workers, 1)
    simulation.run()
    assert simulation.executions == {"k0": 1} or simulation.executions == {"k0": 1, "k1": 1}
    assert client.outcomes["k0"] == "failed" and client.errors["k0"]["kind"] == "WorkerDied"
    drained(simulation)


def test_tasks_behind_others_that_must_not_run_twice_do_not_either() -> None:
    """A worker starts several one after another while it is cut off, more than it has slots."""
    simulation = cluster(1, constant(0.001))
    client = simulation.add_client("c", keep=True)
    client.submit([("first", [])])
    simulation.run()  # now it is known that they are short, and several are assigned at a time
    client.submit(independent(5), TaskOptions(rerun=False))
    simulation.at(simulation.now + 2.5e-4, simulation.mishaps.cut_off, ["w1"], 2.0)
    simulation.run()
    assert simulation.executions["k4"] == 1
    assert all(number == 1 for number in simulation.executions.values()), simulation.executions
    drained(simulation)


def test_a_silent_worker_blames_nobody() -> None:
    simulation = cluster(1, constant(0.1))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(1))
    for i in range(5):
        simulation.at(3.0 * i + 0.05, simulation.mishaps.cut_off, ["w1"], 2.0)
        simulation.at(3.0 * i + 2.5, client.submit, independent(1, f"more{i}-"))
    simulation.at(0.1, client.submit, independent(1, "x"))
    simulation.run()
    assert all(outcome == "finished" for outcome in client.outcomes.values()), client.errors
    drained(simulation)


@pytest.mark.parametrize("unnoticed", [False, True])
def test_a_broken_connection(unnoticed: bool) -> None:
    """The worker joins again at once, with nothing; perhaps before the scheduler knows that it was lost."""
    simulation = cluster(1, constant(0.1, 1_000_000))
    client = simulation.add_client("c", keep=True)
    client.submit([("x", []), ("y", ["x"])])
    simulation.at(0.15, simulation.mishaps.reset, "w1", unnoticed)
    report = simulation.run()
    assert client.outcomes == {"x": "finished", "y": "finished"} and simulation.executions == {"x": 2, "y": 2}
    assert report.messages["TasksRecomputing"] == 1 and report.messages["WorkerConnected"] == 2
    drained(simulation)


# ---------------------------------------------------------------- stuck workers


@pytest.mark.parametrize(("seconds", "joined", "again"), [(0.3, 2, 0), (2.0, 3, 1)])
def test_a_stuck_worker(seconds: float, joined: int, again: int) -> None:
    """For a short time it is only slow; after a long one its connection is gone."""
    simulation = cluster(2, constant(0.1))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(2))
    simulation.at(0.05, simulation.mishaps.hang, "w1", seconds)
    report = simulation.run()
    assert report.finished == 2 and report.run_again == again and report.messages["WorkerConnected"] == joined
    drained(simulation)


def test_a_stuck_holder_holds_nobody_up_for_ever() -> None:
    simulation = Simulation(work=constant(0.1, 1_000_000), faults=Faults(silence_s=SILENCE_S), check=1)
    simulation.add_worker("w1")
    client = simulation.add_client("c", keep=True)
    client.submit([("x", [])])
    simulation.run()
    simulation.add_worker("w2")
    client.submit([("y", ["x"])], TaskOptions(workers=("w2",)))
    simulation.at(simulation.now + 3.5e-4, simulation.mishaps.hang, "w1", 100.0)
    simulation.run(until_s=50.0)
    assert client.outcomes == {"x": "finished", "y": "finished"}
    simulation.run()
    drained(simulation)


# ---------------------------------------------------------------- tasks that let no other thread run


def test_a_worker_that_is_known_to_live_keeps_its_task() -> None:
    """Its task runs once, however long it does not answer; what was behind it runs elsewhere."""
    simulation = cluster(1, lambda key, execution: Work(20.0 if key == "long" else 0.001))
    client = simulation.add_client("c", keep=True)
    client.submit([("first", [])])
    simulation.run()  # now it is known that they are short, and several are assigned at a time
    client.submit([("long", []), *independent(5)])
    simulation.at(simulation.now + 0.01, simulation.mishaps.hold_up, "w1", 20.0)
    simulation.at(simulation.now + 0.1, simulation.add_workers, 1)
    simulation.run(until_s=2.0)
    assert set(client.outcomes) == {"first", *(f"k{i}" for i in range(5))}
    assert "long" in client.running
    report = simulation.run()
    assert client.outcomes["long"] == "finished" and report.run_again == 0 and report.messages["WorkerConnected"] == 2
    drained(simulation)


def test_a_task_on_a_worker_that_is_known_to_live_can_be_stopped() -> None:
    simulation = cluster(2, constant(20.0))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(1))
    simulation.at(0.01, simulation.mishaps.hold_up, "w1", 10.0)
    simulation.at(1.0, client.cancel, ["k0"], True)
    report = simulation.run()
    assert report.messages["StopWorker"] == 1 and list(simulation.workers) == ["w2"]
    drained(simulation)


# ---------------------------------------------------------------- workers that begin anew under their name


def parent_and_child(key: str, execution: int) -> Work:
    return Work(0.01) if "@" in key else Work(0.01, children=("child",))


def test_the_tasks_of_a_restarted_worker_make_new_keys() -> None:
    """A client has a child of the first worker, which was the first that it submitted, when the second begins."""
    simulation = cluster(2, parent_and_child)
    client = simulation.add_client("c", keep=True)
    client.submit([("parent0", [])], TaskOptions(workers=("w1",)))
    simulation.run(until_s=0.005)
    (child,) = [key for key in simulation.scheduler.state.tasks if "@" in key]
    client.adopt(child)
    simulation.run()
    simulation.mishaps.restart("w1")
    client.submit([("parent1", [])], TaskOptions(workers=("w1",)))
    simulation.run()
    assert client.outcomes == {"parent0": "finished", child: "finished", "parent1": "finished"}
    assert child in simulation.scheduler.state.tasks
    drained(simulation)


def test_keys_without_an_incarnation_would_come_again() -> None:
    simulation = cluster(1, parent_and_child)
    simulation.next_incarnation = lambda: ""  # type: ignore[method-assign]
    simulation.mishaps.restart("w1")
    client = simulation.add_client("c", keep=True)
    client.submit([("parent0", [])])
    simulation.run()
    simulation.mishaps.restart("w1")
    client.submit([("parent1", [])])
    with pytest.raises(AssertionError, match="comes again"):
        simulation.run()


# ---------------------------------------------------------------- hosts


def test_a_lost_host_is_noticed_by_its_silence() -> None:
    """Two workers vanish at once; what they held is made again on the third."""
    simulation = cluster(0, constant(0.1, 1_000_000))
    simulation.add_workers(2, {"host": "h1"})
    simulation.add_worker(host="h2")
    client = simulation.add_client("c", keep=True)
    client.submit(binary_tree(8))
    simulation.at(0.25, simulation.mishaps.lose_host, "h1")
    report = simulation.run()
    assert report.finished == 15 and report.messages.get("WorkerGone", 0) == 0  # they could not say it
    assert list(simulation.workers) == ["w3"] and list(simulation.scheduler.state.workers) == ["w3"]
    assert report.makespan_s > 0.25 + SILENCE_S
    drained(simulation)


# ---------------------------------------------------------------- repeated messages, slow workers, vanishing clients


def test_repeated_submissions_run_once() -> None:
    simulation = cluster(3, constant(0.01), Faults(repeated=1.0))
    client = simulation.add_client("c", keep=True)
    client.submit(binary_tree(20))
    report = simulation.run()
    assert report.finished == 39 and report.run_again == 0 and report.messages["SubmitTasks"] == 2
    drained(simulation)


def test_a_repeated_report_of_a_former_incarnation_is_dropped() -> None:
    simulation = cluster(2, constant(0.3, 1_000_000), Faults(silence_s=SILENCE_S, repeated=1.0, replace_after_s=None))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(4))
    simulation.at(0.35, simulation.mishaps.cut_off, ["w1"], 2.0)
    report = simulation.run()
    assert report.finished == 4
    drained(simulation)


def test_slow_workers_take_longer() -> None:
    simulation = cluster(4, constant(0.1), Faults(slow=1.0, slowness=3.0))
    simulation.add_client("c").submit(independent(4))
    assert simulation.run().makespan_s == pytest.approx(0.3, abs=0.01)


def test_stealing_relieves_slow_workers() -> None:
    """Half of the workers are ten times slower than the others, which take over what waits there."""
    simulation = Simulation(1, constant(0.02), faults=Faults(slow=0.5), check=10)
    simulation.add_workers(10)
    speeds = [worker.offers.speed for worker in simulation.workers.values()]
    assert min(speeds) < max(speeds)
    simulation.add_client("c").submit(independent(1000))
    report = simulation.run()
    assert report.makespan_s < 1.2 * report.work_s / sum(speeds) + 0.2


def test_what_vanished_clients_wanted_is_dropped() -> None:
    simulation = cluster(2, constant(0.1), Faults(vanishing_per_s=20.0, most_mishaps=1))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(1000))
    report = simulation.run()
    assert client.left and report.makespan_s < 1.0 and report.mishaps == 1
    check_empty(simulation)


def test_hosts_share_a_card() -> None:
    """Two workers of one host send 10 MB each to two other hosts, over a card of 10 MB a second: two seconds."""
    network = NetworkModel(latency_s=0.0, bandwidth_bytes_s=1e9, nic_bytes_s=1e7)
    simulation = Simulation(work=lambda key, execution: Work(0.0, 10_000_000 if key[0] == "x" else 10), network=network)
    for name, host in (("w1", "h1"), ("w2", "h1"), ("w3", "h3"), ("w4", "h4")):
        simulation.add_worker(name, host=host)
    client = simulation.add_client("c", keep=True)
    for i, name in enumerate(("w1", "w2")):
        client.submit([(f"x{i}", [])], TaskOptions(workers=(name,)))
    simulation.run()
    for i, name in enumerate(("w3", "w4")):
        client.submit([(f"y{i}", [f"x{i}"])], TaskOptions(workers=(name,)))
    assert simulation.run().makespan_s == pytest.approx(2.0, abs=0.01)


# ---------------------------------------------------------------- scattered data, retired workers


def test_scattered_data_with_two_replicas_survives_a_crash() -> None:
    simulation = cluster(3, constant(0.1, 1_000_000))
    client = simulation.add_client("c", keep=True)
    client.scatter(["x"], "w1", 1_000_000, replicas=2)
    simulation.run()
    assert client.outcomes == {"x": "finished"} and len(client.holders["x"]) == 2
    simulation.crash("w1")
    client.submit([("y", ["x"])])
    simulation.run()
    assert client.outcomes == {"x": "finished", "y": "finished"}
    drained(simulation)


def test_scattered_data_is_lost_with_its_only_worker() -> None:
    simulation = cluster(2, constant(0.1, 1_000_000))
    client = simulation.add_client("c", keep=True)
    client.scatter(["x"], "w1", 1_000_000)
    simulation.run()
    simulation.crash("w1")
    simulation.run()
    client.submit([("y", ["x"])])
    simulation.run()
    assert client.outcomes["y"] == "failed" and client.errors["y"]["kind"] == "DataLost"
    drained(simulation)


def test_data_cannot_be_put_onto_a_worker_that_is_gone() -> None:
    simulation = cluster(2, constant(0.1))
    client = simulation.add_client("c", keep=True)
    client.submit(independent(1))
    simulation.run()
    simulation.crash("w1")
    client.scatter(["x"], "w1", 1000)
    simulation.run()
    assert client.outcomes["x"] == "failed"
    drained(simulation)


def test_a_retired_worker_hands_over_what_it_holds() -> None:
    """Results and scattered data move, and nothing is computed again."""
    simulation = cluster(2, constant(0.1, 1_000_000))
    client = simulation.add_client("c", keep=True)
    client.scatter(["x"], "w1", 1_000_000)
    client.submit(independent(6))
    simulation.run()
    simulation.mishaps.retire("w1")
    simulation.run()
    assert list(simulation.workers) == ["w2"] and set(simulation.workers["w2"].store) == {"x", *client.outcomes}
    client.submit([("y", ["x", *(f"k{i}" for i in range(6))])])
    report = simulation.run()
    assert client.outcomes["y"] == "finished" and report.run_again == 0
    drained(simulation)


# ---------------------------------------------------------------- starts that fail


@pytest.mark.parametrize("seed", range(5))
def test_workers_that_cannot_be_replaced_for_a_time(seed: int) -> None:
    """The only worker dies and its successors fail to start, again and again: tasks wait, and nothing is lost."""
    faults = Faults(failed_starts=0.8)
    simulation = Simulation(seed, constant(0.1), faults=faults, check=1)
    simulation.add_workers(1)
    client = simulation.add_client("c", keep=True)
    client.submit(independent(3))
    client.submit([("once", ["k0"])], TaskOptions(rerun=False))
    for time_s in (0.05, 1.0, 5.0):
        simulation.at(time_s, lambda: [simulation.crash(name) for name in list(simulation.workers)])
    simulation.run()
    assert set(client.outcomes) == {"k0", "k1", "k2", "once"}
    assert all(client.outcomes[key] == "finished" for key in ("k0", "k1", "k2"))
    drained(simulation)


def test_starts_that_fail_are_repeated_with_pauses() -> None:
    simulation = Simulation(1, constant(0.1), faults=Faults(replace_after_s=0.0, failed_starts=1.0), check=1)
    simulation.add_workers(1)
    client = simulation.add_client("c", keep=True)
    client.submit(independent(1))
    attempts = []
    simulation.dice.start_fails = lambda: attempts.append(simulation.now) or len(attempts) < 6  # type: ignore[method-assign, func-returns-value]
    simulation.at(0.05, simulation.crash, "w1")
    report = simulation.run()
    assert client.outcomes == {"k0": "finished"} and report.messages["WorkerConnected"] == 2
    pauses = [later - sooner for sooner, later in itertools.pairwise(attempts)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])
