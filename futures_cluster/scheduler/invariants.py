"""What must hold between two events.

Covers: a check of the whole state of a scheduler, for tests and simulations. Costs time in proportion to the
number of tasks, so production does not run it.
"""

from __future__ import annotations

from futures_cluster.messages import SCATTERED_OPTIONS
from futures_cluster.scheduler import placement
from futures_cluster.scheduler.records import (
    ASSIGNED,
    FAILED,
    FORGOTTEN,
    MEMORY,
    QUEUED,
    RELEASED,
    UNFINISHED,
    WAITING,
    Task,
)
from futures_cluster.scheduler.state import SHARED, State


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
        assert task.pending_dependents == waiters.get(task, 0), (task, task.pending_dependents, waiters.get(task, 0))
        for dependent in task.dependents or ():
            assert state.tasks.get(dependent.key) is dependent, (task, "forgotten dependent", dependent)
            assert task in dependent.dependencies, (task, dependent)
        if task.state in (RELEASED, FAILED, MEMORY):
            needed = task.wanted_by or task.pending_dependents or task.dependents
            assert needed, (task, "kept without a need")
    assert state.queued == queued, (state.queued, queued)
    for name, number in state.counts.items():
        assert number == sum(task.state == name for task in state.tasks.values()), (name, number)
    for function in state.functions.values():
        assert function.tasks == function_tasks.get(function.id, 0), function.id
        assert function.tasks or function.held_by, (function.id, "kept without a use")
    assert all(number > 0 for number in state.held.values()), state.held
    for key, task in state.tasks.items():
        assert SHARED not in task.wanted_by or key in state.held, (task, "wanted by no shared object")
        assert task.wanted_by.count(SHARED) <= 1, task
    for task in state.paused:
        assert state.tasks.get(task.key) is task and task.state == WAITING, (task, "paused")
    assert all(key in state.tasks for key in state.calls), "calls of tasks that are forgotten"
    _check_workers(state)
    _check_copies(state)


def _check_task(state: State, task: Task) -> None:
    if task.state == WAITING:
        missing = sum(dep.state != MEMORY for dep in task.dependencies) + (task in state.paused)
        assert task.unmet_inputs == missing > 0, (task, task.unmet_inputs, missing)
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
        held_bytes = sum(task.size_bytes for task in worker.data.values())
        assert worker.held_bytes == held_bytes, (worker, worker.held_bytes, held_bytes)
        assert worker.same_place is state.places[worker.place] and worker in worker.same_place, (worker, "place")
        assert worker.waits_for_place == placement.must_wait_for_place(worker), (worker, "waits for its place")
        count = len(worker.assigned)
        assert (worker in state.saturated) == (count > worker.slots), (worker, "crowded")
        assert (worker in state.accepting) == placement.has_room(worker), (worker, "idle")
        free = count < worker.slots and worker in state.accepting
        assert (worker in state.with_free_slot) == free, (worker, "free")
        expected = sum(task.expected_s for task in worker.assigned.values())
        assert abs(worker.occupancy_s - expected) < 1e-6 or not worker.assigned, (
            worker,
            worker.occupancy_s,
            expected,
        )
        for name, amount in worker.resources.items():
            used = sum(dict(task.options.resources).get(name, 0.0) for task in worker.assigned.values())
            assert abs(worker.free_resources[name] + used - amount) < 1e-9, (worker, name)
    for chosen in (state.queued_by_location, state.co_assigned):
        assert all(state.workers.get(worker.name) is worker for worker in chosen), "chosen for a worker that is gone"
        assert state.queued or not chosen, "remembered though nothing is queued"
    _check_limits(state)
    for task, worker in state.reserved.items():
        assert task.state == QUEUED and worker.exclusive_task is task, (task, worker, "reserved")
        assert state.workers.get(worker.name) is worker, (task, worker, "reserved, but gone")
    for task in state.tasks.values():
        demand = task.requirements
        if task.state == QUEUED and demand is not None:
            queue = state.constrained.queue(demand)
            assert queue is not None and queue.first() is not None, (task, "in no queue")
            for worker in state.workers.values():
                open_to = worker in queue.candidates or not placement.fits(worker, task, demand)
                assert open_to, (task, worker, "could run there, and is not looked for")
    if state.with_free_slot and state.ready:
        ready = [t for t in state.tasks.values() if t.state == QUEUED and t.requirements is None]
        assert not ready, ("queued though a slot is free", ready[0])


def _check_limits(state: State) -> None:
    used: dict[str, float] = {}
    for worker in state.workers.values():
        for task in worker.assigned.values():
            for name, amount in task.options.limits:
                used[name] = used.get(name, 0.0) + amount
    for name, limit in state.limits.by_name.items():
        assert abs(limit.used - used.get(name, 0.0)) < 1e-6, (name, limit.used, used)
        assert used.get(name, 0.0) <= limit.total + 1e-6, (name, "more than the limit")
    for queue in state.constrained.queues.values():
        first = queue.first()
        if (
            first is not None
            and state.limits.are_free(queue.requirements[3])
            and queue not in state.constrained.eligible
        ):
            fitting = [worker for worker in queue.candidates if placement.fits(worker, first, queue.requirements)]
            assert not fitting, (first, "could run, and no event would start it", fitting)


def _check_copies(state: State) -> None:
    assert not state.dirty_replicas and not (state.copies_due and state.under_replicated), (
        "copies were not looked after"
    )
    for task in state.tasks.values():
        assert (task in state.scattered) == (task.options is SCATTERED_OPTIONS), (task, "scattered")
        for holder in task.holders or ():
            assert state.workers.get(holder.name) is holder and holder.data.get(task.key) is task, (task, holder)
    for task, scattered in state.scattered.items():
        assert state.tasks.get(task.key) is task, (task, "scattered, but forgotten")
        if scattered.unacknowledged_client is not None and task.state == MEMORY:
            assert task in state.under_replicated or task in state.copying, (
                task,
                "its client will not hear that it is there",
            )
    for task, makers in state.copying.items():
        assert task.state == MEMORY and makers, (task, "copied")
        for worker in makers:
            assert state.workers.get(worker.name) is worker and task in worker.copying, (task, worker, "copies it")
    for worker in state.workers.values():
        assert all(worker in state.copying.get(task, ()) for task in worker.copying), (worker, "copies")
        copying_bytes = sum(task.size_bytes for task in worker.copying)
        assert worker.copying_bytes == copying_bytes, (worker, worker.copying_bytes, copying_bytes)
    for task in state.under_replicated:
        assert task.state == MEMORY and task.holders, (task, "lacks copies")
    for worker, alone in state.draining.items():
        assert state.workers.get(worker.name) is worker and worker.retiring, (worker, "leaves")
        assert worker.assigned or alone, (worker, "could end")
        for task in worker.data.values():
            sole = all(holder in state.draining for holder in task.holders or ())
            assert (task in alone) == sole, (worker, task, "held only by those that leave")
            assert not sole or task in state.under_replicated or task in state.copying, (task, "will not be copied")
        assert all(worker.data.get(task.key) is task for task in alone), (worker, "keeps what it does not have")
