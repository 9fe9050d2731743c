"""The scheduler machine's own cost a task, from submit to release; its answers come from simulated workers.

Covers: independent tasks of no work in batches and one by one, and a binary tree whose results stay on the workers.
Does not cover: the wire, the workers and the client (``bench_throughput``), how good the decisions are
(``tests/simulator``).

Only the time inside ``SchedulerMachine.handle`` counts. The garbage collector is on, as in production.

    python -m benchmarks.scheduler_cost
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from typing import Any

from futures_cluster import messages as m
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.testing.simulator import binary_tree, independent

BATCH = 1000
DURATION_S = 1e-5


def cost_per_task(workers: int, tasks: int, tree: bool = False) -> float:
    """Seconds a task; ``tree`` makes the tasks a graph of sums of two."""
    machine = SchedulerMachine()
    machine.handle(m.ClientJoined("c"), 0.0)
    for i in range(workers):
        machine.handle(m.WorkerConnected(f"w{i}", "address"), 0.0)
    rows = binary_tree((tasks + 1) // 2) if tree else independent(tasks)
    events: list[m.Message] = []
    for i in range(0, len(rows), BATCH):
        batch = [(key, "f", b"", dependencies) for key, dependencies in rows[i : i + BATCH]]
        events.append(m.SubmitTasks("c", batch, [("f", "f", b"code")]))
    spent_s = _drive(machine, events, None if tree else b"result")
    assert not machine.state.tasks, "all were to be released"
    return spent_s / len(rows)


def cost_one_by_one(workers: int, tasks: int) -> float:
    """Seconds a task, when each is submitted after the one before has ended and its future is gone."""
    machine = SchedulerMachine()
    machine.handle(m.ClientJoined("c"), 0.0)
    for i in range(workers):
        machine.handle(m.WorkerConnected(f"w{i}", "address"), 0.0)
    machine.handle(m.SubmitTasks("c", [], [("f", "f", b"code")]), 0.0)
    events = [m.SubmitTasks("c", [(f"f-{i}", "f", b"", [])]) for i in range(tasks)]
    return sum(_drive(machine, [event], b"result") for event in events) / tasks


def _drive(machine: SchedulerMachine, events: list[m.Message], payload: bytes | None) -> float:
    """Hand in the events, answer for the workers in batches, release what has ended; the seconds spent."""
    pending = deque(events)
    now = spent_s = 0.0
    while pending:
        event = pending.popleft()
        begin = time.perf_counter()
        commands = machine.handle(event, now)
        spent_s += time.perf_counter() - begin
        now += 1e-5
        released: list[str] = []
        for command in commands:
            _answer(command, pending, released, payload)
        if released:
            pending.appendleft(m.ReleaseKeys("c", released))
    return spent_s


def _answer(command: Any, pending: deque[m.Message], released: list[str], payload: bytes | None) -> None:
    if isinstance(command, m.ToClient):
        if isinstance(command.message, m.TasksDone):
            released += [row[0] for row in command.message.done]
    elif isinstance(command, m.ToWorker):
        name, message = command.worker, command.message
        if isinstance(message, m.RunTasks):
            done = [(row[0], row[1], payload, 1000, DURATION_S) for row in message.runs]
            pending.append(m.TasksFinished(name, done))
        elif isinstance(message, m.ReturnTasks):
            pending.append(m.TasksReturned(name, [], message.runs))  # all have ended by now


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    tasks = 50_000
    print(f"microseconds a task, {tasks} tasks, best of 3")
    print(f"{'workers':>10} {'independent':>12} {'binary tree':>12} {'one by one':>12}")
    for workers in (10, 1_000, 10_000):
        best = [min(cost_per_task(workers, tasks, tree) for _ in range(3)) for tree in (False, True)]
        best.append(min(cost_one_by_one(workers, tasks) for _ in range(3)))
        print(f"{workers:>10} " + " ".join(f"{1e6 * each:>12.2f}" for each in best))


if __name__ == "__main__":
    main()
