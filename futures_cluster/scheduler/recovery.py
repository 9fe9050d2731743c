"""What the loss of a worker means for tasks.

Covers: finding what must run again, and whom to blame. Does not cover: changing anything (``machine``).

A result lives on the workers that hold it; when the last one is gone, the task runs again if somebody still
needs its result, and before it those of its inputs that were released meanwhile, as far back as necessary. A
result that the scheduler holds itself (a small one) is never lost.
"""

from __future__ import annotations

from futures_cluster.scheduler.state import RELEASED, Task, Worker

#: So many workers may die under a task before it is blamed.
MOST_DEATHS = 3


def orphaned(worker: Worker) -> list[Task]:
    """Tasks whose results only this worker holds."""
    return [task for task in worker.data.values() if task.holders is not None and len(task.holders) == 1]


def is_needed(task: Task) -> bool:
    """Whether anybody waits for the result."""
    return bool(task.wanted_by) or task.waiters > 0


def released_ancestors(tasks: list[Task]) -> list[Task]:
    """The released tasks that have to run again before these can, inputs first."""
    order: dict[Task, None] = {}
    stack = [(task, False) for task in reversed(tasks)]
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


def suspects(worker: Worker, executing: list[str] | None) -> dict[str, None]:
    """Keys of the tasks that the worker may have died of.

    When nobody knows what it executed: those reported as started, else as many as it has slots.
    """
    if executing is not None:
        return dict.fromkeys(executing)
    started = [key for key, task in worker.assigned.items() if task.started]
    return dict.fromkeys(started or list(worker.assigned)[: worker.slots])


def in_cycles(added: list[Task]) -> list[Task]:
    """Those of the new tasks that could never run, because they need themselves or others that do."""
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
