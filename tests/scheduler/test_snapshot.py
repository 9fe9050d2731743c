"""The state at a glance: right, of plain values, and cheap."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from typing import Any

from simulator.scenarios import Scenario

from futures_cluster import messages as m
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.scheduler.views.snapshot import snapshot

from .builders import Cluster, submit


def test_a_worker() -> None:
    cluster = Cluster(1, slots=2, resources={"GPU": 1.0}, host="node7", pid=12)
    cluster.given(submit("a", "b", "c"))
    cluster.finish("a", payload=None, size_bytes=1000, duration_s=0.5)
    (row,) = snapshot(cluster.machine.state)["workers"]
    assert row == {
        "name": "w1",
        "address": "a1",
        "host": "node7",
        "pid": 12,
        "status": "active",
        "slots": 2,
        "running": 2,
        "committed": 2,
        "occupancy_s": row["occupancy_s"],
        "last_progress_s": 0.0,
        "results": 1,
        "held_bytes": 1000,
        "copying": 0,
        "resources": {"GPU": 1.0},
        "free_resources": {"GPU": 1.0},
    }


def test_the_status_of_workers() -> None:
    cluster = Cluster(4)
    cluster.given(m.ScatterData("c", [("x", 10, "w2"), ("y", 10, "w3")]))
    cluster.given(m.WorkerRetiring("w3"))
    cluster.given(m.RetireWorkers(["w2"]))
    status = {row["name"]: row["status"] for row in snapshot(cluster.machine.state)["workers"]}
    assert status == {"w1": "active", "w2": "leaving", "w3": "retiring", "w4": "active"}


def test_functions_clients_and_events() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a", "b"))
    cluster.given(submit("c", function="g"))
    cluster.finish("a", duration_s=0.25)
    seen = snapshot(cluster.machine.state)
    assert seen["functions"] == {
        "f": {"tasks": 2, "finished": 1, "duration_s": 0.25},
        "g": {"tasks": 1, "finished": 0, "duration_s": None},
    }
    assert seen["clients"] == ["c"]
    assert seen["events"] == [[0.0, "worker joined", "w1"]]
    assert seen["bandwidth_bytes_s"] == 1e9


def test_tasks_are_counted_by_state_at_every_moment() -> None:
    """Against the state itself, while random histories are played."""
    for seed in range(20):
        scenario = Scenario(random.Random(seed), 20, faulty=seed % 2 == 0, seed=seed)
        machine: Any = scenario.simulation.scheduler
        handle = machine.handle

        def checked(event: m.Message, now: float, machine: Any = machine, handle: Any = handle) -> Any:
            commands = handle(event, now)
            seen = snapshot(machine.state)
            counts = Counter(task.state for task in machine.state.tasks.values())
            assert seen["tasks"].pop("total") == len(machine.state.tasks)
            assert {name: number for name, number in seen["tasks"].items() if number} == dict(counts)
            json.dumps(seen)
            return commands

        machine.handle = checked
        scenario.play()


def test_its_cost_does_not_follow_the_number_of_tasks() -> None:
    def calls(tasks: int) -> int:
        machine = SchedulerMachine()
        machine.handle(m.ClientJoined("c"), 0.0)
        machine.handle(m.WorkerConnected("w", "a"), 0.0)
        machine.handle(submit(*(f"k{i}" for i in range(tasks))), 0.0)
        number = 0

        def count(frame: Any, what: str, argument: Any) -> None:
            nonlocal number
            number += what in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            snapshot(machine.state)
        finally:
            sys.setprofile(before)
        return number

    assert calls(10) == calls(5000)
