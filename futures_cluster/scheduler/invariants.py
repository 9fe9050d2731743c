"""What must hold between two events.

Covers: a check of the whole state of a scheduler, for tests and simulations. Costs time in proportion to the
number of tasks, so production does not run it.
"""

from __future__ import annotations

from futures_cluster.scheduler import placement
from futures_cluster.scheduler.state import (
    ASSIGNED,
    FAILED,
    FORGOTTEN,
    MEMORY,
    QUEUED,
    RELEASED,
    SHARED,
    UNFINISHED,
    WAITING,
    State,
    Task,
)


def check(state: State) -> None:
    """Raise AssertionError with the task or worker at fault."""
    waiters: dict[Task, int] = {}
    function_tasks: dict[str, int] = {}
    queued = 0
    for key, task in state.tasks.items():
        assert task.key == key and task.state != FORGOTTEN, task
        function_tasks[task.function.id] = function_tasks.get(task.function.id, 0) + 1
        queued += task.state == QUEUED
        for dep in task.dependencies:
            assert state.tasks.get(dep.key) is dep, (task, "forgotten input", dep)
            assert dep.dependents is not None and task in dep.dependents, (task, dep)
            if task.state in UNFINISHED:
                waiters[dep] = waiters.get(dep, 0) + 1
        _check_task(state, task)
    for task in state.tasks.values():
        assert task.waiters == waiters.get(task, 0), (task, task.waiters, waiters.get(task, 0))
        for dependent in task.dependents or ():
            assert state.tasks.get(dependent.key) is dependent, (task, "forgotten dependent", dependent)
            assert task in dependent.dependencies, (task, dependent)
        if task.state in (RELEASED, FAILED, MEMORY):
            needed = task.wanted_by or task.waiters or task.dependents
            assert needed, (task, "kept though nobody needs it")
    assert state.queued == queued, (state.queued, queued)
    for function in state.functions.values():
        assert function.tasks == function_tasks.get(function.id, 0), function.id
        assert function.tasks or function.held_by, (function.id, "kept though nobody uses it")
    assert all(number > 0 for number in state.held.values()), state.held
    for key, task in state.tasks.items():
        assert SHARED not in task.wanted_by or key in state.held, (task, "wanted by no shared object")
        assert task.wanted_by.count(SHARED) <= 1, task
    _check_workers(state)


def _check_task(state: State, task: Task) -> None:
    if task.state == WAITING:
        missing = sum(dep.state != MEMORY for dep in task.dependencies)
        assert task.missing == missing > 0, (task, task.missing, missing)
        for dep in task.dependencies:
            assert dep.state in (*UNFINISHED, MEMORY), (task, "waits for", dep)
    elif task.state == QUEUED:
        assert all(dep.state == MEMORY for dep in task.dependencies), task
    elif task.state == MEMORY:
        assert task.has_result != bool(task.holders), (task, "has neither or both kinds of result")
        assert not (task.has_result and task.dependencies), (task, "can never run again, yet holds inputs")
    elif task.state == FAILED:
        assert not task.dependencies, task
    if task.state == ASSIGNED:
        assert task.worker is not None and task.worker.assigned.get(task.key) is task, task
        assert state.workers.get(task.worker.name) is task.worker, (task, "on a worker that is gone")
    else:
        assert task.worker is None, task
    if task.state != MEMORY:
        assert not task.holders and not task.has_result, (task, "result of an unfinished task")


def _check_workers(state: State) -> None:
    for worker in state.workers.values():
        for key, task in worker.assigned.items():
            assert task.state == ASSIGNED and task.worker is worker and task.key == key, (worker, task)
        for key, task in worker.data.items():
            assert task.key == key and task.holders is not None and worker in task.holders, (worker, task)
        count = len(worker.assigned)
        assert (worker in state.crowded) == (count > worker.slots), (worker, "crowded")
        assert (worker in state.idle) == placement.has_room(worker), (worker, "idle")
        free = count < worker.slots and worker in state.idle
        assert (worker in state.free) == free, (worker, "free")
        expected = sum(task.expected_s for task in worker.assigned.values())
        assert abs(worker.occupancy_s - expected) < 1e-6 or not worker.assigned, (
            worker,
            worker.occupancy_s,
            expected,
        )
        for name, amount in worker.resources.items():
            used = sum(dict(task.options.resources).get(name, 0.0) for task in worker.assigned.values())
            assert abs(worker.free_resources[name] + used - amount) < 1e-9, (worker, name)
    for task, worker in state.reserved.items():
        assert task.state == QUEUED and worker.alone is task, (task, worker, "reserved")
        assert state.workers.get(worker.name) is worker, (task, worker, "reserved, but gone")
    for task in state.tasks.values():
        demand = task.demand
        if task.state == QUEUED and demand is not None:
            queue = state.demands.queue(demand)
            assert queue is not None and queue.first() is not None, (task, "in no queue")
            for worker in state.workers.values():
                open_to = worker in queue.open or not placement.fits(worker, task, demand)
                assert open_to, (task, worker, "could run there, and nobody would look")
    if state.free and state.ready:
        ready = [t for t in state.tasks.values() if t.state == QUEUED and t.demand is None]
        assert not ready, ("queued though a slot is free", ready[0])
