"""What the scheduler knows, as plain values: for the command line, the status page, and people.

Covers: workers, tasks by state and by function, clients, rare events. Does not cover: single tasks (``explain``),
showing it. It only reads, and costs time in proportion to the workers, functions and clients, not to the tasks.
"""

from __future__ import annotations

from typing import Any

from futures_cluster.scheduler.records import FAILED, RELEASED, WAITING, Worker
from futures_cluster.scheduler.state import State


def snapshot(state: State) -> dict[str, Any]:
    """Return everything at a glance.

    Returns
    -------
    dict
        ``workers``: a dict for each (see ``worker_row``); ``tasks``: number by state, and ``total``; ``functions``: for
        each name the number of tasks there are, in whatever state, how many executions have had a result, and the mean
        duration in seconds, None if it was never measured; ``limits``: for each its name, the ``total``, what running
        tasks have of it (``used``), and how many queued tasks ask for it (``waiting``); ``clients``: their names;
        ``bandwidth_bytes_s``: between workers, as measured; ``events``: the last rare ones, as (time, what, ...).
    """
    workers = [worker_row(state, worker) for worker in state.workers.values()]
    assigned = sum(row["committed"] for row in workers)
    total = len(state.tasks)
    rest = state.queued + assigned + sum(state.counts.values())
    functions: dict[str, dict[str, Any]] = {}
    for function in state.functions.values():
        group = function.group
        row = functions.setdefault(group.name, {"tasks": 0, "finished": group.finished, "duration_s": group.duration_s})
        row["tasks"] += function.tasks
    return {
        "workers": workers,
        "tasks": {
            "total": total,
            "waiting": state.counts[WAITING],
            "queued": state.queued,
            "assigned": assigned,
            "memory": total - rest,
            "failed": state.counts[FAILED],
            "released": state.counts[RELEASED],
        },
        "functions": functions,
        "limits": [
            {"name": name, "total": limit.total, "used": limit.used, "waiting": state.constrained.count_waiting(name)}
            for name, limit in state.limits.by_name.items()
        ],
        "clients": list(state.clients),
        "bandwidth_bytes_s": state.bandwidth.bytes_s,
        "events": [list(event) for event in state.event_log],
    }


def worker_row(state: State, worker: Worker) -> dict[str, Any]:
    """Return one worker.

    ``running`` is how many of the assigned tasks have slots: the newest may not have reached the worker yet.
    """
    status = "stopping" if worker.killing else "leaving" if worker in state.draining else "active"
    if worker.retiring and status == "active":
        status = "retiring"
    return {
        "name": worker.name,
        "address": worker.plain_address,
        "host": worker.host,
        "pid": worker.pid,
        "status": status,
        "slots": worker.slots,
        "running": min(worker.slots, len(worker.assigned)),
        "committed": len(worker.assigned),
        "occupancy_s": worker.occupancy_s,
        "last_progress_s": worker.last_progress_s,
        "results": len(worker.data),
        "held_bytes": worker.held_bytes,
        "copying": len(worker.copying),
        "resources": dict(worker.resources),
        "free_resources": dict(worker.free_resources),
    }
