"""What a scheduler does, function by function and task by task: for the status page and progress bars.

Covers: what a client has left, how far each function's tasks are, the graph of what is in flight, the story of one
task, what has failed.
Does not cover: everything at a glance in time that does not grow with the tasks (``snapshot``), showing it.
It only reads. Functions that look at every task have a bound, because they hold up the scheduler meanwhile.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain, islice
from typing import Any

from futures_cluster.messages import SCATTERED_OPTIONS, Key
from futures_cluster.scheduler import records
from futures_cluster.scheduler.records import Function, FunctionStats, Task, Worker
from futures_cluster.scheduler.state import State
from futures_cluster.scheduler.views.explain import explain

#: Tasks that are looked at one by one; with more, what is known of the rest is their number.
MAX_COUNTED = 200_000
#: Functions that are listed, those with tasks first.
MAX_FUNCTIONS = 200
#: Tasks that a graph shows one by one; more are folded to one node for each function.
MAX_NODES = 150
#: Tasks whose inputs are looked at for the edges of a folded graph.
MAX_FOLDED = 20_000
#: Results on workers whose sizes are added up.
MAX_HELD = 20_000
#: Tasks of one function that are listed, in each state.
MAX_OF_STATE = 40
#: Neighbours of a task that its story names.
MAX_NEIGHBOURS = 50


def unfinished(state: State, client: str) -> int:
    """Return the number of a client's unfinished tasks, or of all clients."""
    if len(state.clients) == 1 or len(state.tasks) > MAX_COUNTED:
        return state.unfinished
    return sum(task.state in records.UNFINISHED and task.flow.client == client for task in state.tasks.values())


def progress(state: State) -> list[dict[str, Any]]:
    """Return how far each function's tasks are.

    Returns
    -------
    list of dict
        ``name``; the number of tasks that are ``waiting``, ``queued``, ``assigned``, in ``memory``, ``failed``,
        ``released`` now, and ``unknown`` ones where there are too many tasks to look at; ``running``: those of the
        assigned ones that have a slot; executions since the start that ``finished`` and that ``raised``;
        ``duration_s``: the moving average, None before the first measurement; ``held_bytes``: of results that workers
        hold, each copy counted, of the first ``MAX_HELD`` of them.
    """
    counts = _counts(state)
    ended = [group for group in state.groups.values() if group.finished or group.failed]
    groups = dict.fromkeys([*counts, *sorted(ended, key=lambda group: -group.finished)])
    running, held = Counter(task.function.group for task in state.running()), _held_bytes(state)
    return [
        {
            "name": group.name,
            **{name: counts[group][name] for name in _COLUMNS},
            "running": running[group],
            "finished": group.finished,
            "raised": group.failed,
            "duration_s": group.duration_s,
            "held_bytes": held[group],
        }
        for group in islice(groups, MAX_FUNCTIONS)
    ]


def _counts(state: State) -> defaultdict[FunctionStats, Counter[str]]:
    """Return tasks in each state, by function.

    Those in the commonest state are not counted but are what is left: that makes a scheduler with a hundred thousand
    queued tasks wait for two milliseconds instead of nine.
    """
    totals = {**state.counts, records.QUEUED: state.queued}
    totals[records.MEMORY] = len(state.tasks) - sum(totals.values())  # with the few that are assigned
    commonest = max(totals, key=lambda name: totals[name])
    counted: defaultdict[Function, Counter[str]] = defaultdict(Counter)
    for task in islice(state.tasks.values(), MAX_COUNTED):
        if task.state != commonest:
            counted[task.function][task.state] += 1
    rest: str = commonest if len(state.tasks) <= MAX_COUNTED else "unknown"
    counts: defaultdict[FunctionStats, Counter[str]] = defaultdict(Counter)
    for function in state.functions.values():
        if function.tasks:
            row, found = counts[function.group], counted[function]
            row.update(found)
            row[rest] += function.tasks - found.total()
    return counts


_COLUMNS = (*records.KNOWN_STATES, "unknown")


def _held_bytes(state: State) -> Counter[FunctionStats]:
    """Sum the bytes of the results that workers hold, by function.

    Small results, which the scheduler keeps, do not count.
    """
    held: Counter[FunctionStats] = Counter()
    for task in islice(chain.from_iterable(worker.data.values() for worker in state.workers.values()), MAX_HELD):
        held[task.function.group] += task.size_bytes
    return held


def failures(state: State, most: int = 100) -> list[dict[str, Any]]:
    """Return tasks in state FAILED, the newest first; ``text`` if it is known."""
    newest = islice(reversed(state.tasks.values()), MAX_COUNTED)
    failed = (task for task in newest if task.state is records.FAILED)
    found = []
    for task in islice(failed, min(most, state.counts[records.FAILED])):
        error = task.result if isinstance(task.result, dict) else {}
        found.append(
            {
                "key": task.key,
                "function": task.function.group.name,
                "kind": str(error.get("kind", "")),
                "text": str(error.get("text", "")),
            }
        )
    return found


def tasks_of(state: State, name: str) -> dict[str, Any]:
    """Return some tasks of a name, the oldest in each state, active ones first.

    Returns
    -------
    dict
        ``name``; ``known``: whether there was ever such a function; ``tasks``: dicts with ``key``, ``state`` and
        ``worker``.
    """
    under_way_first = (records.ASSIGNED, records.QUEUED, records.WAITING, records.FAILED, *records.KNOWN_STATES)
    found: dict[str, list[Task]] = {where: [] for where in under_way_first}
    group = state.groups.get(name)
    for task in islice(state.tasks.values(), MAX_COUNTED) if group is not None else ():
        if task.function.group is group and len(found[task.state]) < MAX_OF_STATE:
            found[task.state].append(task)
    rows = [
        {"key": task.key, "state": task.state, "worker": task.worker.name if task.worker is not None else None}
        for tasks in found.values()
        for task in tasks
    ]
    return {"name": name, "known": group is not None, "tasks": rows}


def graph(state: State) -> dict[str, Any]:
    """Return what is in flight and what it depends on.

    Returns
    -------
    dict
        ``folded``: whether a node is a function and not a task; ``nodes``: dicts with ``id``, ``name``, ``tasks``
        (their number) and that of each state; ``edges``: ``[from, to, number]``, by the nodes' positions; ``tasks``:
        how many of them there are, and ``shown`` how many were looked at for the edges, evenly chosen.
    """
    folded = len(state.tasks) > MAX_NODES
    step = -(-len(state.tasks) // MAX_FOLDED) or 1
    tasks = list(islice(state.tasks.values(), 0, None, step))
    nodes: dict[Any, dict[str, Any]] = {}
    if folded:
        for group, counts in _counts(state).items():
            found = {where: number for where, number in counts.items() if number}
            nodes[group] = {"id": group.name, "name": group.name, "tasks": sum(found.values()), **found}
    else:
        for task in tasks:
            nodes[task] = {"id": task.key, "name": task.function.group.name, "tasks": 1, task.state: 1}
    numbers = {identity: number for number, identity in enumerate(nodes)}
    edges: Counter[tuple[int, int]] = Counter()
    for task in tasks:
        for dep in task.dependencies:
            source, target = (dep.function.group, task.function.group) if folded else (dep, task)
            if source in numbers:  # what has been forgotten is in none of the books
                edges[numbers[source], numbers[target]] += step
    return {
        "folded": folded,
        "nodes": list(nodes.values()),
        "edges": [[source, target, number] for (source, target), number in edges.items()],
        "tasks": len(state.tasks),
        "shown": len(tasks),
    }


def describe_task(state: State, key: Key, now: float) -> dict[str, Any]:
    """Return all that is known of one task, without its arguments and its result.

    Returns
    -------
    dict
        ``explanation``: why it does not run, or its state, as sentences; without a task of this key nothing else
        but ``key`` and ``known``.
    """
    task = state.tasks.get(key)
    lines = explain(state, key, now)
    if task is None:
        return {"key": key, "known": False, "explanation": lines}
    return {
        "key": key,
        "known": True,
        "explanation": lines,
        "function": task.function.group.name,
        "state": task.state,
        "started": task.started,
        "since_s": max(0.0, now - task.since_s) if task.state is records.ASSIGNED else None,
        "worker": task.worker.name if task.worker is not None else None,
        "attempt": task.attempt,
        "deaths": len(task.losses),
        "retries_left": task.retries_left,
        "priority": -task.level[0],
        "depth": -task.level[1],
        "size_bytes": task.size_bytes if task.state is records.MEMORY else None,
        "held_by": [worker.name for worker in islice(task.holders or (), MAX_NEIGHBOURS)],
        "scattered": task.options is SCATTERED_OPTIONS,
        "wanted_by": list(task.wanted_by),
        "inputs": [_neighbour(dep) for dep in islice(task.dependencies, MAX_NEIGHBOURS)],
        "inputs_number": len(task.dependencies),
        "used_by": [_neighbour(user) for user in islice(task.dependents or (), MAX_NEIGHBOURS)],
        "used_by_number": len(task.dependents or ()),
    }


def _neighbour(task: Task) -> dict[str, Any]:
    return {"key": task.key, "function": task.function.group.name, "state": task.state}


def running_on(worker: Worker, now: float, most: int = 200) -> list[dict[str, Any]]:
    """Return a worker's tasks, oldest first: in slots, then waiting."""
    return [
        {
            "key": task.key,
            "function": task.function.group.name,
            "running": place < worker.slots,
            "since_s": max(0.0, now - task.since_s),
            "started": task.started,
        }
        for place, task in enumerate(islice(worker.assigned.values(), most))
    ]


def held_on(worker: Worker, most: int = 100) -> list[dict[str, Any]]:
    """Return the results that a worker holds, those of them that are largest."""
    largest = sorted(islice(worker.data.values(), MAX_FOLDED), key=lambda task: -task.size_bytes)[:most]
    return [
        {
            "key": task.key,
            "function": task.function.group.name,
            "size_bytes": task.size_bytes,
            "copies": len(task.holders or ()),
        }
        for task in largest
    ]
