"""The commands of one event: batched, and what frees something first."""

from __future__ import annotations

from futures_cluster import messages as m
from futures_cluster.scheduler.outbox import Outbox


def test_the_order_is_stops_frees_drops_runs_reports() -> None:
    outbox = Outbox()
    outbox.done["c"] = [1]
    outbox.running["c"] = ["r"]
    outbox.runs["w"] = m.RunTasks([2])
    outbox.returns["w"] = [3]
    outbox.forget["w"] = ["f"]
    outbox.drops["w"] = ["d"]
    outbox.recomputing["c"] = ["a"]
    outbox.freed.append("p")
    outbox.stops.append(m.StopWorker("x"))
    outbox.waiting["c"] = ["q"]
    assert outbox.collect() == [
        m.StopWorker("x"),
        m.PayloadsFreed(["p"]),
        m.ToClient("c", m.TasksRecomputing(["a"])),
        m.ToWorker("w", m.DropData(["d"])),
        m.ToWorker("w", m.ForgetFunctions(["f"])),
        m.ToWorker("w", m.ReturnTasks([3])),
        m.ToWorker("w", m.RunTasks([2])),
        m.ToClient("c", m.TasksWaiting(["q"])),
        m.ToClient("c", m.TasksRunning(["r"])),
        m.ToClient("c", m.TasksDone([1])),
    ]
    assert outbox.collect() == []
