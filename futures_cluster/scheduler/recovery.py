"""What the loss of a worker means for tasks.

Covers: finding what must run again, and whom to blame. Does not cover: changing anything (``reruns``).

A result lives on the workers that hold it; when the last one is gone, the task runs again if a client or task
still needs its result, and before it those of its inputs that were released meanwhile, as far back as necessary. A
result that the scheduler holds itself (a small one) is never lost.
"""

from __future__ import annotations

from futures_cluster.scheduler.records import RELEASED, Task, Worker

#: A task that has lost this many workers does not run again.
MAX_DEATHS = 3


def orphaned(worker: Worker) -> list[Task]:
    """Return tasks whose results only this worker holds."""
    return [task for task in worker.data.values() if task.holders is not None and len(task.holders) == 1]


def is_needed(task: Task) -> bool:
    """Return whether a client or a task waits for the result."""
    return bool(task.wanted_by) or task.pending_dependents > 0


def released_ancestors(task: Task) -> list[Task]:
    """Return the released tasks that must run before this one can, inputs first."""
    order: dict[Task, None] = {}
    stack = [(task, False)]
    seen: dict[Task, None] = {}
    while stack:
        task, expanded = stack.pop()
        if expanded:
            if task.state == RELEASED:
                order[task] = None
            continue
        if task in seen:
            continue
        seen[task] = None
        stack.append((task, True))
        # Not further: what an unfinished task needs is being computed already.
        stack.extend((dep, False) for dep in task.dependencies if dep.state == RELEASED)
    return list(order)


def suspects(worker: Worker, executing: list[str] | None, unheard: bool = False) -> dict[str, None]:
    """Return the keys of the tasks that may be the reason why the worker was lost.

    Without knowledge of what it executed: those reported as started, else as many as it has slots. With ``unheard``
    those too which may have ended without a word: all that it got before what it executed, or as many as it has slots.
    The others were assigned to the worker, and had not begun.
    """
    assigned = worker.assigned
    first = list(assigned)[: worker.slots]
    if executing is None:
        started = [key for key, task in assigned.items() if task.started]
        return dict.fromkeys([*started, *first] if unheard else started or first)
    if not unheard:
        return dict.fromkeys(executing)
    last = max([assigned[key].attempt for key in executing if key in assigned], default=None)
    return {key: None for key, task in assigned.items() if last is None or task.attempt <= last}


def in_cycles(added: list[Task]) -> list[Task]:
    """Return those of the new tasks that need themselves, directly or not."""
    left = dict.fromkeys(added)
    missing = {task: sum(dep in left for dep in task.dependencies) for task in added}
    stack = [task for task, number in missing.items() if not number]
    while stack:
        task = stack.pop()
        del left[task]
        for dependent in task.dependents or ():
            if dependent in left:
                missing[dependent] -= 1
                if not missing[dependent]:
                    stack.append(dependent)
    return list(left)
