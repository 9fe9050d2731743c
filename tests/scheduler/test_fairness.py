"""The order of queued tasks: levels, shares of clients, consumers before roots, age."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster import messages as m
from futures_cluster.messages import SCATTERED_OPTIONS, TaskOptions
from futures_cluster.scheduler.queues import fair, shares
from futures_cluster.scheduler.queues.fair import FairQueue
from futures_cluster.scheduler.queues.shares import FairShares

from .builders import Cluster, submit


class Tasks:
    """Makes entries of queues."""

    def __init__(self) -> None:
        self.shares = FairShares()

    def __call__(self, serial: int, client: str = "c", priority: int = 0, consumes: bool = False) -> Any:
        flow = self.shares.flow(client, (-priority, 0))
        inputs = (SimpleNamespace(pending_dependents=1, options=m.DEFAULT_OPTIONS),) if consumes else ()
        return SimpleNamespace(serial=serial, flow=flow, dependencies=inputs, client=client)


def flows(shares: FairShares) -> int:
    return sum(len(level.flows) for level in shares._levels.values())


def filled(entries: list[Any]) -> FairQueue:
    queue = FairQueue()
    for entry in entries:
        queue.push(entry)
    return queue


def taken(queue: FairQueue, number: int | None = None, turn_s: float = 1.0) -> list[Any]:
    """Take tasks, as if they were assigned."""
    entries = []
    for _ in range(queue.count if number is None else number):
        first = queue.first()
        entry = queue.pop()
        assert entry is first
        entry.flow.charge(turn_s)
        entries.append(entry)
    return entries


def test_one_clients_tasks_keep_their_order() -> None:
    make = Tasks()
    queue = filled([make(1), make(2), make(3, priority=1), make(0)])
    assert [entry.serial for entry in taken(queue)] == [3, 0, 1, 2]


def test_clients_take_turns() -> None:
    make = Tasks()
    queue = filled([make(i) for i in range(1000)])
    taken(queue, 100)
    queue.extend([make(2000 + i, "d") for i in range(3)])
    assert sorted(entry.client for entry in taken(queue, 6)) == ["c"] * 3 + ["d"] * 3
    assert len(taken(queue)) == 897


def test_turns_are_of_equal_time_and_not_of_equal_number() -> None:
    make = Tasks()
    queue = filled([make(i, client) for i in range(100) for client in ("short", "long")])
    counts = {"short": 0, "long": 0}
    for _ in range(50):
        entry = queue.pop()
        entry.flow.charge(10.0 if entry.client == "long" else 1.0)
        counts[entry.client] += 1
    assert 4 <= counts["long"] <= 6


def test_who_was_away_saved_nothing_up() -> None:
    make = Tasks()
    queue = filled([make(1, "d"), make(2)])
    taken(queue)
    queue.extend([make(10 + i) for i in range(1000)])
    taken(queue, 500)
    for i in range(100):
        queue.push(make(2000 + i, "d"))
    assert sum(entry.client == "d" for entry in taken(queue, 20)) <= 11


def test_who_worked_alone_owes_nothing() -> None:
    make = Tasks()
    queue = filled([make(i) for i in range(1000)])
    taken(queue, 500)
    queue.extend([make(2000 + i, "d") for i in range(100)])
    assert sum(entry.client == "c" for entry in taken(queue, 20)) >= 9


def test_levels_come_before_shares() -> None:
    make = Tasks()
    queue = filled([make(i, "c", priority=1) for i in range(10)] + [make(20, "d")])
    assert [entry.client for entry in taken(queue)] == ["c"] * 10 + ["d"]


def test_what_uses_results_up_comes_before_what_makes_new_ones() -> None:
    make = Tasks()
    queue = filled([make(1), make(2), make(4, consumes=True), make(3, consumes=True), make(0)])
    assert [entry.serial for entry in taken(queue)] == [3, 4, 0, 1, 2]


@pytest.mark.parametrize(
    ("waiters", "options", "expected"),
    [
        (1, m.DEFAULT_OPTIONS, True),
        (fair.MAX_SHARERS, m.DEFAULT_OPTIONS, True),
        (fair.MAX_SHARERS + 1, m.DEFAULT_OPTIONS, False),
        (1, SCATTERED_OPTIONS, False),
    ],
)
def test_what_will_be_needed_for_long_is_not_used_up(waiters: int, options: TaskOptions, expected: bool) -> None:
    task: Any = SimpleNamespace(dependencies=(SimpleNamespace(pending_dependents=waiters, options=options),))
    assert fair.is_consumer(task) is expected


def test_an_empty_queue_has_no_first() -> None:
    queue = FairQueue()
    for look in (queue.first, queue.pop, queue.order):
        with pytest.raises(IndexError):
            look()


def test_forgotten_levels_leave_no_advantage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "MAX_LEVELS", 3)
    make = Tasks()
    queue = filled([make(i) for i in range(100)])
    taken(queue, 50)
    for priority in range(1, 10):
        make(0, priority=priority)
    assert flows(make.shares) == 3
    queue.extend([make(1000 + i, "d") for i in range(100)])
    assert 9 <= sum(entry.client == "d" for entry in taken(queue, 20)) <= 11


def test_a_client_that_left_is_forgotten() -> None:
    make = Tasks()
    taken(filled([make(1), make(2, "d"), make(3, "d", priority=1)]))
    make.shares.forget("d")
    assert flows(make.shares) == 1
    make.shares.forget("c")
    assert flows(make.shares) == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from("abc"), st.integers(-1, 1), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("extend"), st.sampled_from("abc"), st.integers(-1, 1), st.integers(0, 9), st.just(False)),
        st.tuples(st.just("pop"), st.just(""), st.just(0), st.integers(0, 9), st.just(False)),
    )
)


@given(steps)
def test_it_behaves_as_a_list_that_is_searched(history: list[tuple[str, str, int, int, bool]]) -> None:
    make, queue = Tasks(), FairQueue()
    model: list[tuple[bool, Any]] = []
    for what, client, priority, number, consumes in history:
        if what == "push":
            entry = make(number, client, priority, consumes)
            queue.push(entry)
            model.append((not consumes, entry))
        elif what == "extend":
            entries = [make(number + i, client, priority) for i in range(3)]
            queue.extend(entries)
            model.extend((True, entry) for entry in entries)
        elif model:
            level = min(entry.flow.level for _, entry in model)
            least_s = min(entry.flow.virtual_time_s for _, entry in model if entry.flow.level == level)
            expected_order = queue.order()
            entry = queue.pop()
            assert (entry.flow.level, entry.flow.virtual_time_s) == (level, least_s)
            mine = [(late, other.serial) for late, other in model if other.flow is entry.flow]
            assert min(mine) == (expected_order[2], entry.serial) == expected_order[2:]
            model = [row for row in model if row[1] is not entry]
            entry.flow.charge(float(number))
        assert queue.count == len(model)


# ---------------------------------------------------------------- in the machine


def test_a_million_do_not_starve_ten() -> None:
    cluster = Cluster(2)
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit(*(f"many{i}" for i in range(300))))
    cluster.given(submit(*(f"few{i}" for i in range(3)), client="d"))
    for _ in range(4):
        cluster.finish(*cluster.where())
    assert [key for key in cluster.machine.state.tasks if key.startswith("few") and not cluster.task(key).attempt] == []


def test_those_who_ask_for_something_get_their_turns_among_those_who_do_not() -> None:
    cluster = Cluster(1, resources={"GPU": 1.0})
    cluster.given(m.ClientJoined("d"))
    cluster.given(submit(*(f"plain{i}" for i in range(100))))
    cluster.given(submit("g1", "g2", client="d", options=TaskOptions(resources=(("GPU", 1.0),))))
    for _ in range(5):
        cluster.finish(*cluster.where())
    assert cluster.task("g1").attempt and cluster.task("g2").attempt


def test_a_result_is_used_up_before_the_next_one_is_made() -> None:
    cluster = Cluster(1)
    cluster.given(submit("load0", "load1", "load2"))
    cluster.given(submit(*((f"use{i}", [f"load{i}"]) for i in range(3)), function="g"))
    order = []
    while cluster.where():
        order += cluster.where()
        cluster.finish(*cluster.where(), payload=None)
    assert order == ["load0", "use0", "load1", "use1", "load2", "use2"]


def test_a_lone_task_counts_from_where_the_other_clients_are() -> None:
    cluster = Cluster(workers=1)
    cluster.given(m.ClientJoined("d"))
    shares = cluster.machine.state.shares
    for number in range(5):  # each finds a free slot, and is never queued
        client = "c" if number else "d"
        cluster.given(submit(f"{client}{number}", client=client))
        cluster.finish(f"{client}{number}")
    reached_s = shares._levels[0, 0].system_time_s
    assert reached_s >= 2 > shares.flow("d", (0, 0)).virtual_time_s
    cluster.given(submit("d1", client="d"))
    assert shares.flow("d", (0, 0)).virtual_time_s > reached_s
