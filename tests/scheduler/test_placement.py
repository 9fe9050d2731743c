"""Which worker gets a task, and how much of it."""

from __future__ import annotations

import pytest

from futures_cluster import messages as m
from futures_cluster.messages import TaskOptions
from futures_cluster.scheduler import placement
from futures_cluster.scheduler.records import Bandwidth

from .builders import Cluster, ask_back, run, runs, submit


def assigned(cluster: Cluster) -> dict[str, int]:
    """How many tasks each worker has."""
    return {worker.name: len(worker.assigned) for worker in cluster.machine.state.workers.values()}


# ---------------------------------------------------------------- how much in advance


@pytest.mark.parametrize(
    ("duration_s", "ahead"),
    [(1.0, 1), (0.05, 1), (0.039, 2), (0.01, 4), (0.001, 40), (1e-4, 400), (1e-9, 2667)],
)
def test_what_is_assigned_in_advance_follows_the_measured_duration(duration_s: float, ahead: int) -> None:
    cluster = Cluster(1)
    cluster.measured(duration_s)
    cluster.given(submit(*(f"k{i}" for i in range(5000))))
    assert assigned(cluster) == {"w1": pytest.approx(ahead, abs=1)}


def test_functions_that_were_never_measured_go_one_to_a_slot() -> None:
    cluster = Cluster(2, slots=3)
    cluster.given(submit(*(f"k{i}" for i in range(100))))
    assert assigned(cluster) == {"w1": 3, "w2": 3}


def test_tiny_tasks_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "MAX_AHEAD", 50)
    cluster = Cluster(1)
    cluster.measured(1e-6)
    cluster.given(submit(*(f"k{i}" for i in range(100))))
    assert assigned(cluster) == {"w1": 50}


# ---------------------------------------------------------------- spreading


@pytest.mark.parametrize("duration_s", [1e-3, 1.0])
@pytest.mark.parametrize("number", [5, 10, 20, 40])
def test_few_tasks_are_spread_evenly(number: int, duration_s: float) -> None:
    cluster = Cluster(10, slots=4)
    cluster.measured(duration_s)
    cluster.given(submit(*(f"k{i}" for i in range(number))))
    counts = assigned(cluster).values()
    assert sum(counts) == number and max(counts) - min(counts) <= 1


def test_tasks_shorter_than_their_message_go_together() -> None:
    cluster = Cluster(10)
    cluster.measured(1e-5)
    commands = cluster.given(submit(*(f"k{i}" for i in range(12))))
    assert [len(command.message.runs) for command in commands] == [6, 6]


def test_free_workers_come_before_busy_ones() -> None:
    cluster = Cluster(3)
    cluster.measured(1e-3)
    cluster.given(submit("a", "b"))
    busy = list(cluster.where().values())
    cluster.given(submit("c"))
    assert cluster.where()["c"] not in busy


# ---------------------------------------------------------------- data


def with_input(size_bytes: int) -> tuple[Cluster, str, str]:
    """Two workers: one that holds ``x`` and executes something, and one that is idle."""
    cluster = Cluster(2)
    cluster.measured(0.03)
    cluster.given(submit("x"))
    holder = cluster.where()["x"]
    cluster.finish("x", payload=None, size_bytes=size_bytes, duration_s=0.03)
    cluster.given(submit("busy", options=TaskOptions(workers=(holder,))))
    return cluster, holder, "w1" if holder == "w2" else "w2"


def test_a_task_waits_where_its_large_input_is() -> None:
    cluster, holder, _ = with_input(size_bytes=1_000_000_000)
    cluster.given(submit(("y", ["x"])))
    assert cluster.where()["y"] == holder


def test_a_small_input_is_moved_to_an_idle_worker() -> None:
    cluster, _, idle = with_input(size_bytes=1000)
    cluster.given(submit(("y", ["x"])))
    assert cluster.where()["y"] == idle


def test_a_task_goes_where_most_of_its_input_is() -> None:
    cluster = Cluster(3)
    cluster.given(submit("a", "b", "c"))
    for key, size_bytes in (("a", 100_000), ("b", 900_000), ("c", 300_000)):
        cluster.finish(key, payload=None, size_bytes=size_bytes)
    cluster.given(submit(("y", ["a", "b", "c"])))
    assert cluster.where()["y"] == cluster_of(cluster, "b")


def cluster_of(cluster: Cluster, key: str) -> str:
    holders = cluster.task(key).holders
    assert holders
    return next(iter(holders)).name


@pytest.mark.parametrize(("size_bytes", "begins_with"), [(50_000_000, "y1"), (1000, "x2")])
def test_a_worker_begins_with_what_lies_there(size_bytes: int, begins_with: str) -> None:
    """Not with the oldest task, if its input is large and far away."""
    cluster = Cluster(2)
    cluster.given(submit("a", "b"))
    where = cluster.where()
    cluster.finish("a", "b", payload=None, size_bytes=size_bytes)
    for key in ("a", "b"):
        cluster.given(submit(f"busy-{key}", options=TaskOptions(workers=(where[key],)), function="unknown"))
    cluster.given(submit(("x1", ["a"]), ("x2", ["a"]), ("x3", ["a"]), ("y1", ["b"]), ("y2", ["b"]), function="new"))
    cluster.finish("busy-a")
    assert cluster.where() == {"x1": where["a"], "busy-b": where["b"]}
    cluster.finish("busy-b")
    assert cluster.where() == {"x1": where["a"], begins_with: where["b"]}
    for key in ("x1", begins_with):  # all the others run, each once
        cluster.finish(key)
    while assigned := list(cluster.where()):
        cluster.finish(assigned[0])
    assert set(cluster.states().values()) == {"memory"} and not cluster.machine.state.queued_by_location


def test_no_task_follows_its_data_to_a_worker_that_is_stuck() -> None:
    cluster, holder, idle = with_input(size_bytes=1_000_000_000)
    cluster.given(submit(("y", ["x"])))
    assert cluster.where()["y"] == holder
    cluster.now = 0.9
    cluster.quiet(m.Tick())
    cluster.now = 1.1  # it would be there by now, had it been moved
    cluster.expect(m.Tick(), ask_back(holder, ("y", 4)))
    cluster.given(m.TasksReturned(holder, [("y", 4)]))
    assert cluster.where()["y"] == idle


def test_of_many_holders_some_are_named_and_not_the_same_to_all() -> None:
    first: dict[str, None] = {}
    cluster = Cluster(20, slots=2)
    cluster.given(submit("x"))
    cluster.finish("x", payload=None)
    for i in range(2, 19):
        cluster.given(m.DataAdded(f"w{i}", ["x"]))
    for i in range(10):
        for command in cluster.given(submit((f"y{i}", ["x"]))):
            ((_, _, _, holders),) = command.message.runs[0][5]
            assert len(holders) == 4
            first[holders[0][0]] = None
    assert len(first) >= 5


def test_comparing_workers_has_a_limit() -> None:
    cluster = Cluster(200)
    cluster.given(submit("x"))
    cluster.finish("x", payload=None)
    for i in range(2, 201):
        cluster.given(m.DataAdded(f"w{i}", ["x"]))
    cluster.given(submit(("y", ["x"])))
    held, total = placement.held_bytes(cluster.task("y"), cluster.worker("w150"))
    assert len(held) == placement.MAX_HOLDERS_COMPARED + 1 and total == 6


# ---------------------------------------------------------------- resources and places


GPU = TaskOptions(resources=(("GPU", 1.0),))
TWO = TaskOptions(resources=(("GPU", 2.0),))


def test_a_task_takes_resources_while_it_is_assigned() -> None:
    cluster = Cluster(1, slots=4, resources={"GPU": 2.0})
    commands = cluster.given(submit("a", "b", "c", options=GPU))
    assert [row[0] for row in commands[0].message.runs] == ["a", "b"]
    assert cluster.worker("w1").free_resources == {"GPU": 0.0}
    cluster.given(submit("plain"))
    assert cluster.where() == {"a": "w1", "b": "w1", "plain": "w1"}
    commands = cluster.finish("a")
    assert commands[0] == runs("w1", run("c", 4))


def test_amounts_that_are_no_exact_numbers_add_up() -> None:
    cluster = Cluster(1, slots=4, resources={"GPU": 0.3})
    tenth = TaskOptions(resources=(("GPU", 0.1),))
    cluster.given(submit("a", "b", "c", "d", options=tenth))
    assert set(cluster.where()) == {"a", "b", "c"}
    cluster.finish("a", "b", "c", "d")
    cluster.given(submit("all", options=TaskOptions(resources=(("GPU", 0.3),))))
    assert set(cluster.where()) == {"all"}


def test_what_no_worker_offers_waits_for_one_and_holds_nobody_up() -> None:
    cluster = Cluster(1, slots=2)
    cluster.quiet(submit("a", options=GPU))
    cluster.given(submit("b"))
    assert cluster.where() == {"b": "w1"}
    cluster.expect(m.WorkerConnected("w2", "a2", resources={"GPU": 1.0}), runs("w2", run("a", 2), functions=("f",)))


def test_a_task_runs_on_the_workers_that_it_names() -> None:
    cluster = Cluster(3)
    options = TaskOptions(workers=("w3", "w4"))
    cluster.given(submit("a", "b", options=options))
    assert cluster.where() == {"a": "w3"}
    cluster.given(m.WorkerConnected("w4", "a4"))
    assert cluster.where() == {"a": "w3", "b": "w4"}


def test_demanding_tasks_wait_for_urgent_plain_ones() -> None:
    cluster = Cluster(0)
    cluster.given(submit("gpu", options=GPU))
    cluster.given(submit("urgent", options=TaskOptions(priority=1)))
    cluster.given(submit("gpu first", options=TaskOptions(priority=2, resources=(("GPU", 1.0),))))
    commands = cluster.given(m.WorkerConnected("w1", "a1", slots=3, resources={"GPU": 2.0}))
    assert [row[0] for row in commands[0].message.runs] == ["gpu first", "urgent", "gpu"]


def test_demanding_and_plain_tasks_share_a_slot_by_age() -> None:
    cluster = Cluster(1, resources={"GPU": 1.0})
    cluster.given(submit("running"))
    cluster.given(submit("plain"))
    cluster.given(submit("gpu", options=GPU))
    cluster.given(submit("younger"))
    order = []
    for _ in range(3):
        cluster.finish(*cluster.where())
        order += list(cluster.where())
    assert order == ["plain", "gpu", "younger"]


def test_two_take_turns_for_the_resources_of_both() -> None:
    """A task that needs both is not overtaken for ever by those that need one."""
    cluster = Cluster(1, slots=4, resources={"GPU": 2.0})
    cluster.given(submit("s0", "s1", options=GPU))
    cluster.given(submit("both", options=TWO))
    serial = 2
    for _ in range(200):
        key = next(key for key in cluster.where() if key.startswith("s"))
        cluster.given(submit(f"s{serial}", options=GPU))
        serial += 1
        cluster.finish(key)
        if "both" in cluster.where():
            break
    assert "both" in cluster.where()
    cluster.finish("both")
    assert len(cluster.where()) == 2


def test_an_impossible_demand_does_not_hold_up_the_possible_ones() -> None:
    cluster = Cluster(1, resources={"GPU": 2.0})
    cluster.given(submit("never", options=TaskOptions(resources=(("GPU", 3.0),))))
    for i in range(300):
        cluster.given(submit(f"k{i}", options=GPU))
        cluster.finish(f"k{i}")
    assert cluster.states()["never"] == "queued"


# ---------------------------------------------------------------- bandwidth


def test_bandwidth_is_measured_by_what_was_moved() -> None:
    bandwidth = Bandwidth()
    assert bandwidth.bytes_s == 1e9
    for _ in range(50):
        bandwidth.measure(10_000_000, 0.1)
    assert bandwidth.bytes_s == pytest.approx(1e8, rel=0.05)


@pytest.mark.parametrize(("size_bytes", "duration_s"), [(10, 1.0), (0, 0.0), (10**9, 0.0), (10**9, -1.0), (-5, 1.0)])
def test_what_tells_nothing_about_bandwidth_is_not_counted(size_bytes: int, duration_s: float) -> None:
    bandwidth = Bandwidth()
    bandwidth.measure(size_bytes, duration_s)
    assert bandwidth.bytes_s == 1e9


@pytest.mark.parametrize(("duration_s", "limit"), [(1e-12, 2e10), (1e12, 1e6)])
def test_bandwidth_stays_within_reason(duration_s: float, limit: float) -> None:
    bandwidth = Bandwidth()
    for _ in range(200):
        bandwidth.measure(10**9, duration_s)
    assert bandwidth.bytes_s == pytest.approx(limit, rel=0.01)


@pytest.mark.parametrize(("seconds", "moves"), [(0.001, True), (1.0, False)])
def test_a_slow_network_keeps_tasks_where_their_input_is(seconds: float, moves: bool) -> None:
    cluster, holder, idle = with_input(size_bytes=10_000_000)
    for _ in range(50):
        cluster.given(m.DataAdded(idle, [], 10_000_000, seconds))
    cluster.given(submit(("y", ["x"])))
    assert cluster.where()["y"] == (idle if moves else holder)
