"""Queued tasks that no worker can take, and what they lack: for the program that waits for them.

Covers: which tasks of a client cannot run on the workers that are there, those included that its tasks have submitted;
which of its tasks are on workers that say nothing.
Does not cover: why one task does not run (``explain``), when a client asks and what it says
(``services.client.wait_watch``).

It only reads. Nothing is noted for each task and no event looks here: a client asks when it has waited for seconds.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from futures_cluster.numbers import listed
from futures_cluster.scheduler import records
from futures_cluster.scheduler.queues.constrained import possible
from futures_cluster.scheduler.queues.fair import FairQueue
from futures_cluster.scheduler.records import Requirements, Worker
from futures_cluster.scheduler.state import State

#: Entries of queues that are looked at; the numbers of tasks are at least what was counted by then.
MAX_COUNTED = 10_000
#: Maximum number of different requirements that are reported.
MAX_ROWS = 5

_NOTHING: Requirements = ((), (), False, ())


def unplaceable(state: State, client: str) -> list[dict[str, Any]]:
    """Return what a client's queued tasks lack, if no worker can take them.

    Parameters
    ----------
    state : State
        Is only read.
    client : str
        The program that asks.

    Returns
    -------
    list of dict
        One for all tasks with equal requirements: their ``count``, ``key`` of one of them, ``resources`` and
        ``workers`` that they ask for; in words, what they ``want`` and ``why`` no worker takes them. Plain values.
        Empty when all tasks only wait for their turn.
    """
    if not state.queued:
        return []
    active = {name: worker for name, worker in state.workers.items() if not worker.retiring}
    queues = [
        (queue.requirements, queue.tasks)
        for queue in state.constrained.queues.values()
        if queue.tasks.count and not possible(queue.requirements, active)
    ]
    if not active:
        queues.insert(0, (_NOTHING, state.ready))
    if not queues:
        return []
    clients = _acting_for(state, client)
    found: dict[Any, dict[str, Any]] = {}
    left = MAX_COUNTED
    for requirements, tasks in queues:
        keys, looked_at = _queued_keys(tasks, clients, left)
        left -= looked_at
        resources, names, *_ = requirements
        row = found.get((resources, names))
        if row is not None:
            row["count"] += len(keys)
        elif keys and len(found) < MAX_ROWS:
            why = _why(state, active, requirements)
            found[resources, names] = _row(keys, dict(resources), list(names), _want(requirements), why)
    return list(found.values())


def unanswered(state: State, client: str, silent_s: dict[str, float]) -> list[dict[str, Any]]:
    """Return what a client's tasks wait for on workers that say nothing.

    Parameters
    ----------
    silent_s : dict of str to float
        The workers that have said nothing, and for how many seconds.

    Returns
    -------
    list of dict
        As ``unplaceable``, one row for each of these workers, with its name as ``silent``. The client may wait for a
        worker that has none of its tasks, so ``count`` may be 0.
    """
    workers = {name: state.workers[name] for name in islice(silent_s, MAX_ROWS) if name in state.workers}
    if not workers:
        return []
    clients = _acting_for(state, client)
    queued: list[str] = []  # which a worker that answers would take
    if all(name in silent_s for name in state.workers):
        queued, _ = _queued_keys(state.ready, clients, MAX_COUNTED)
    rows = []
    for name, worker in workers.items():
        keys = [task.key for task in worker.assigned.values() if any(other in clients for other in task.wanted_by)]
        keys += queued
        why = f"it has said nothing for {silent_s[name]:.0f} s"
        rows.append({**_row(keys, {}, [name], f"the worker {name}", why), "silent": name})
    return rows


def _row(keys: list[str], resources: dict[str, float], workers: list[str], want: str, why: str) -> dict[str, Any]:
    return {
        "count": len(keys),
        "key": keys[0] if keys else "",
        "resources": resources,
        "workers": workers,
        "want": want,
        "why": why,
    }


def _acting_for(state: State, client: str) -> dict[str, None]:
    """Return a client and the workers that run its tasks."""
    clients = {client: None}
    before = 0
    while len(clients) > before:
        before = len(clients)
        for worker in state.workers.values():
            if any(name in clients for task in worker.assigned.values() for name in task.wanted_by):
                clients[worker.name] = None
    return clients


def _queued_keys(tasks: FairQueue, clients: dict[str, None], most: int) -> tuple[list[str], int]:
    """Return keys of tasks to be run, and the number of entries looked at."""
    entries = list(islice(tasks.tasks_of(clients), most))
    keys = {task.key: None for task in entries if task.state == records.QUEUED}  # each once
    return list(keys), len(entries)


def _want(requirements: Requirements) -> str:
    resources, names, *_ = requirements
    which = "a worker"
    if names:
        which = f"the worker {names[0]}" if len(names) == 1 else f"one of the workers {listed(list(names))}"
    return which + (f" with {_amounts(dict(resources))}" if resources else "")


def _why(state: State, active: dict[str, Worker], requirements: Requirements) -> str:
    resources, names, *_ = requirements
    if not state.workers:
        return "there is none" + _last_loss(state)
    if not active:
        number = len(state.workers)
        return "the only worker is about to end" if number == 1 else f"all {number} workers are about to end"
    able = [worker for worker in active.values() if not names or worker.place in names]
    if not able:
        return f"the workers are {listed(list(active))}"
    most = {name: max(worker.resources.get(name, 0.0) for worker in able) for name, _ in resources}
    if all(most[name] >= amount for name, amount in resources):
        return "no worker has all of that together"
    return "the most that a worker has is " + _amounts(most)


def _last_loss(state: State) -> str:
    for _, what, worker, *cause in reversed(state.event_log):
        if what == "worker lost":
            lines = str(cause[0]).splitlines() if cause else []
            return f" (the last one, {worker}: {lines[0].rstrip(':')})" if lines else ""
    return ""


def _amounts(resources: dict[str, float]) -> str:
    return "{" + ", ".join(f"{name!r}: {amount:g}" for name, amount in resources.items()) + "}"
