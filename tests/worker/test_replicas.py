"""Results held or fetched, apart from runs."""

from __future__ import annotations

from futures_cluster import messages as m

from .builders import Desk, arrived, ended, remote, row


def test_a_replica_counts_its_users_and_knows_who_waits() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("a", 1, (remote("x", "p"),)), row("b", 1, (remote("x", "p"),))]))
    replica = desk.machine.replicas["x"]
    assert repr(replica) == "<Replica x fetched>"
    assert replica.users == 2 and [run.key for run in replica.runs] == ["a", "b"]
    desk.given(arrived("p", "x"))
    assert repr(replica) == "<Replica x held>"
    assert replica.users == 2 and not replica.runs
    desk.given(ended("a"))
    assert replica.users == 1
    desk.given(ended("b"))
    assert replica.users == 0 and desk.data() == {"x": True}


def test_a_result_and_its_run_are_two_things() -> None:
    desk = Desk()
    desk.given(m.RunTasks([row("x")]))
    assert "x" in desk.machine.runs and not desk.data()
    desk.given(ended("x", payload=None))
    assert not desk.machine.runs and desk.data() == {"x": True}
