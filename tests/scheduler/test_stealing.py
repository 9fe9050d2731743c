"""What idle workers take over from busy ones."""

from __future__ import annotations

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler import stealing

from .builders import Cluster, ask_back, run, runs, submit


def lopsided(number: int = 10, duration_s: float = 0.001) -> Cluster:
    """``w1`` has the tasks ``k0``, ..., which are thought to take so long; ``w2`` joins with nothing."""
    cluster = Cluster(1)
    cluster.measured(duration_s)
    cluster.given(submit(*(f"k{i}" for i in range(number))))
    assert set(cluster.where()) == {f"k{i}" for i in range(number)}
    return cluster


def test_half_of_a_long_queue_is_asked_back_at_once() -> None:
    cluster = lopsided()
    cluster.expect(
        m.WorkerConnected("w2", "a2"), ask_back("w1", ("k5", 7), ("k6", 8), ("k7", 9), ("k8", 10), ("k9", 11))
    )
    cluster.expect(
        m.TasksReturned("w1", [("k7", 9), ("k8", 10), ("k9", 11)], [("k5", 7), ("k6", 8)]),
        runs("w2", run("k7", 12), run("k8", 13), run("k9", 14), functions=("f",)),
    )


def test_a_short_queue_is_not_worth_it_until_the_worker_is_stuck() -> None:
    cluster = lopsided(3)
    cluster.quiet(m.WorkerConnected("w2", "a2"))
    assert cluster.machine.next_deadline() == stealing.STEAL_INTERVAL_S
    cluster.now = stealing.STEAL_INTERVAL_S
    cluster.quiet(m.Tick())
    cluster.now = stealing.STUCK_AFTER_S
    cluster.expect(m.Tick(), ask_back("w1", ("k1", 3), ("k2", 4)))
    cluster.expect(
        m.TasksReturned("w1", [("k1", 3), ("k2", 4)]),
        runs("w2", run("k1", 5), run("k2", 6), functions=("f",)),
    )


def test_a_robbed_worker_gets_nothing_in_advance_until_it_finishes_something() -> None:
    cluster = lopsided(3)
    cluster.given(m.WorkerConnected("w2", "a2"))
    cluster.now = 0.02
    cluster.given(m.Tick())
    assert cluster.worker("w1").recently_stolen_from
    cluster.given(m.TasksReturned("w1", [("k1", 3), ("k2", 4)]))
    cluster.given(submit(*(f"l{i}" for i in range(100))))
    assert len(cluster.worker("w1").assigned) == 1
    cluster.finish("k0", duration_s=0.001)
    assert not cluster.worker("w1").recently_stolen_from and len(cluster.worker("w1").assigned) > 10


def test_nobody_is_robbed_twice_before_it_answers() -> None:
    cluster = lopsided()
    cluster.given(m.WorkerConnected("w2", "a2"))
    cluster.now = 1.0
    cluster.quiet(m.Tick())
    cluster.given(m.TasksReturned("w1", [], [(f"k{i}", 2 + i) for i in range(5, 10)]))
    cluster.now = 2.0
    assert cluster.given(m.Tick())


def test_tasks_that_started_or_name_workers_are_left() -> None:
    cluster = Cluster(1)
    cluster.measured(0.001)
    cluster.given(submit("a", "b", "c"))
    cluster.given(submit("named", options=TaskOptions(workers=("w1",))))
    cluster.start("a", "c")
    cluster.given(m.WorkerConnected("w2", "a2"))
    cluster.now = 1.0
    cluster.expect(m.Tick(), ask_back("w1", ("b", 3)))


def test_no_more_is_taken_than_the_idle_can_do() -> None:
    cluster = Cluster(100)
    cluster.measured(1e-3)
    cluster.given(submit(*(f"k{i}" for i in range(4000))))
    cluster.now = 1.0
    commands = cluster.given(m.WorkerConnected("w101", "a101"))
    taken = [row for command in commands for row in command.message.runs]
    assert 20 <= len(taken) <= 40 and len(commands) == 1


def test_an_unplaceable_task_does_not_end_stealing() -> None:
    cluster = lopsided()
    cluster.quiet(submit("never", options=TaskOptions(resources=(("GPU", 1.0),))))
    assert cluster.given(m.WorkerConnected("w2", "a2"))


def test_input_that_takes_longer_to_move_than_to_wait_for_stays() -> None:
    cluster = Cluster(1)
    cluster.measured(0.02)
    cluster.given(submit("x"))
    cluster.finish("x", payload=None, size_bytes=10_000_000_000, duration_s=0.02)
    cluster.given(submit(("a", ["x"]), ("b", ["x"])))
    cluster.quiet(m.WorkerConnected("w2", "a2"))
    cluster.now = 1.0  # it seems to be stuck, but the input would be on its way for ten seconds
    cluster.quiet(m.Tick())
    cluster.now = 10.2  # by now that is what waiting has cost, too
    cluster.expect(m.Tick(), ask_back("w1", ("b", 4)))


def test_without_idle_workers_nobody_looks() -> None:
    cluster = lopsided()
    assert cluster.machine.next_deadline() is None


def test_a_queue_counts_by_what_is_known_now() -> None:
    """The first of many tasks to end are the short ones: what was assigned then takes longer than was expected."""
    cluster = Cluster(2)
    cluster.measured(1e-5)
    cluster.given(submit(*(f"k{i}" for i in range(40))))
    assert cluster.worker("w1").occupancy_s < stealing.WORTHWHILE_S
    for _ in range(20):
        cluster.machine.state.groups["f"].measure(0.002)
    cluster.machine.state.groups["f"].measure(0.002)
    commands = cluster.given(m.WorkerConnected("w3", "a3"))
    assert sum(len(command.message.runs) for command in commands) >= 10


def test_what_takes_long_to_move_is_left_when_the_network_was_seen_to_be_slow() -> None:
    def asked(measured_s: float) -> int:
        cluster = Cluster(1)
        cluster.measured(0.01)
        cluster.given(submit("x"))
        cluster.finish("x", payload=None, size_bytes=1_000_000, duration_s=0.01)
        cluster.given(m.ScatterData("c", [("y", 50_000_000, "w1")]))
        cluster.given(m.DataAdded("w1", ["y"], 500_000_000, measured_s))
        cluster.given(submit(*((f"k{i}", ["x"]) for i in range(4))))
        return sum(len(command.message.runs) for command in cluster.given(m.WorkerConnected("w2", "a2")))

    assert asked(0.5) > 0  # 1 GB/s: a millisecond
    assert asked(100.0) == 0  # 5 MB/s: 200 ms
