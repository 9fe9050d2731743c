"""What must hold of a scheduler's state between two events.

``check`` looks at the whole state, for tests and simulations. It takes time in proportion to the number of tasks, so
production does not run it.
"""

from __future__ import annotations

from collections import Counter, defaultdict

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
    Worker,
)
from futures_cluster.scheduler.state import SHARED, State


def check(state: State) -> None:
    """Raise AssertionError with the task or worker at fault."""
    for key, task in state.tasks.items():
        assert task.key == key and task.state != FORGOTTEN, task
        _check_task(state, task)
    _check_dependencies(state)
    _check_counts(state)
    _check_functions(state)
    _check_shared_objects(state)
    for worker in state.workers.values():
        _check_worker(state, worker)
    _check_queues(state)
    _check_limits(state)
    _check_scattered(state)
    _check_replication(state)
    _check_draining(state)


# ---------------------------------------------------------------- tasks


def _check_task(state: State, task: Task) -> None:
    if task.state == WAITING:
        unmet = sum(dep.state != MEMORY for dep in task.dependencies) + (task in state.paused)
        assert task.unmet_inputs == unmet > 0, (task, task.unmet_inputs, unmet)
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
    if task.state in (RELEASED, FAILED, MEMORY):
        assert task.wanted_by or task.pending_dependents or task.dependents, (task, "kept without a need")
    assert (task in state.scattered) == (task.options is SCATTERED_OPTIONS), (task, "scattered")
    for holder in task.holders or ():
        assert state.workers.get(holder.name) is holder and holder.data.get(task.key) is task, (task, holder)


def _check_dependencies(state: State) -> None:
    pending_dependents: Counter[Task] = Counter()
    for task in state.tasks.values():
        for dep in task.dependencies:
            assert state.tasks.get(dep.key) is dep, (task, "forgotten input", dep)
            assert dep.dependents is not None and task in dep.dependents, (task, dep)
            if task.state in UNFINISHED:
                pending_dependents[dep] += 1
        for dependent in task.dependents or ():
            assert state.tasks.get(dependent.key) is dependent, (task, "forgotten dependent", dependent)
            assert task in dependent.dependencies, (task, dependent)
    for task in state.tasks.values():
        expected = pending_dependents[task]
        assert task.pending_dependents == expected, (task, task.pending_dependents, expected)


def _check_counts(state: State) -> None:
    queued = sum(task.state == QUEUED for task in state.tasks.values())
    assert state.queued == queued, (state.queued, queued)
    for name, number in state.counts.items():
        assert number == sum(task.state == name for task in state.tasks.values()), (name, number)
    for task in state.paused:
        assert state.tasks.get(task.key) is task and task.state == WAITING, (task, "paused")
    assert all(key in state.tasks for key in state.calls), "calls of tasks that are forgotten"


def _check_functions(state: State) -> None:
    tasks = Counter(task.function for task in state.tasks.values())
    for function in state.functions.values():
        assert function.tasks == tasks[function], function.id
        assert function.tasks or function.held_by, (function.id, "kept without a use")


def _check_shared_objects(state: State) -> None:
    assert all(number > 0 for number in state.held.values()), state.held
    for key, task in state.tasks.items():
        assert SHARED not in task.wanted_by or key in state.held, (task, "wanted by no shared object")
        assert task.wanted_by.count(SHARED) <= 1, task


# ---------------------------------------------------------------- workers


def _check_worker(state: State, worker: Worker) -> None:
    for key, task in worker.assigned.items():
        assert task.state == ASSIGNED and task.worker is worker and task.key == key, (worker, task)
    for key, task in worker.data.items():
        assert task.key == key and task.holders is not None and worker in task.holders, (worker, task)
    held_bytes = sum(task.size_bytes for task in worker.data.values())
    assert worker.held_bytes == held_bytes, (worker, worker.held_bytes, held_bytes)
    copying_bytes = sum(task.size_bytes for task in worker.copying)
    assert worker.copying_bytes == copying_bytes, (worker, worker.copying_bytes, copying_bytes)
    assert worker.same_place is state.places[worker.place] and worker in worker.same_place, (worker, "place")
    assert worker.waits_for_place == placement.must_wait_for_place(worker), (worker, "waits for its place")
    count = len(worker.assigned)
    assert (worker in state.saturated) == (count > worker.slots), (worker, "saturated")
    assert (worker in state.accepting) == placement.has_room(worker), (worker, "accepting")
    has_free_slot = count < worker.slots and worker in state.accepting
    assert (worker in state.with_free_slot) == has_free_slot, (worker, "with a free slot")
    expected_s = sum(task.expected_s for task in worker.assigned.values())
    close = abs(worker.occupancy_s - expected_s) < 1e-6
    assert close or not worker.assigned, (worker, worker.occupancy_s, expected_s)
    for name, amount in worker.resources.items():
        used = sum(dict(task.options.resources).get(name, 0.0) for task in worker.assigned.values())
        assert abs(worker.free_resources[name] + used - amount) < 1e-9, (worker, name)


# ---------------------------------------------------------------- queues


def _check_queues(state: State) -> None:
    """Check that each queued task is in a queue, and that an event will start it."""
    for by_worker in (state.queued_by_location, state.co_assigned):
        assert all(state.workers.get(worker.name) is worker for worker in by_worker), "for a worker that is gone"
        assert state.queued or not by_worker, "remembered though nothing is queued"
    for task, worker in state.reserved.items():
        assert task.state == QUEUED and worker.exclusive_task is task, (task, worker, "reserved")
        assert state.workers.get(worker.name) is worker, (task, worker, "reserved, but gone")
    queued = [task for task in state.tasks.values() if task.state == QUEUED]
    for task in queued:
        if task.requirements is None:
            continue
        queue = state.constrained.queues.get(task.requirements)
        assert queue is not None and queue.first() is not None, (task, "in no queue")
        for worker in state.workers.values():
            if placement.fits(worker, task, task.requirements):
                assert worker in queue.candidates, (task, worker, "could run there, and is not looked for")
    for queue in state.constrained.queues.values():
        first = queue.first()
        if first is not None and state.limits.are_free(queue.limits) and queue not in state.constrained.eligible:
            fitting = [worker for worker in queue.candidates if placement.fits(worker, first, queue.requirements)]
            assert not fitting, (first, "could run, and no event would start it", fitting)
    if state.with_free_slot:
        ready = [task for task in queued if task.requirements is None]
        assert not ready, ("queued though a slot is free", ready[0])


def _check_limits(state: State) -> None:
    used: defaultdict[str, float] = defaultdict(float)
    for worker in state.workers.values():
        for task in worker.assigned.values():
            for name, amount in task.options.limits:
                used[name] += amount
    for name, limit in state.limits.by_name.items():
        assert abs(limit.used - used[name]) < 1e-6, (name, limit.used, used)
        assert used[name] <= limit.total + 1e-6, (name, "more than the limit")


# ---------------------------------------------------------------- data


def _check_scattered(state: State) -> None:
    for task, scattered in state.scattered.items():
        assert state.tasks.get(task.key) is task, (task, "scattered, but forgotten")
        if scattered.unacknowledged_client is not None and task.state == MEMORY:
            is_looked_after = task in state.under_replicated or task in state.copying
            assert is_looked_after, (task, "its client will not hear that it is there")


def _check_replication(state: State) -> None:
    is_due = state.dirty_replicas or (state.copies_due and state.under_replicated)
    assert not is_due, "copies were not looked after"
    for task in state.under_replicated:
        assert task.state == MEMORY and task.holders, (task, "lacks copies")
    for task, makers in state.copying.items():
        assert task.state == MEMORY and makers, (task, "copied")
        for worker in makers:
            assert state.workers.get(worker.name) is worker and task in worker.copying, (task, worker, "copies it")
    for worker in state.workers.values():
        assert all(worker in state.copying.get(task, ()) for task in worker.copying), (worker, "copies")


def _check_draining(state: State) -> None:
    for worker, alone in state.draining.items():
        assert state.workers.get(worker.name) is worker and worker.retiring, (worker, "draining")
        assert worker.assigned or alone, (worker, "could end")
        for task in worker.data.values():
            is_alone = all(holder in state.draining for holder in task.holders or ())
            assert (task in alone) == is_alone, (worker, task, "held only by workers that drain")
            will_be_copied = task in state.under_replicated or task in state.copying
            assert not is_alone or will_be_copied, (worker, task, "will not be copied")
        assert all(worker.data.get(task.key) is task for task in alone), (worker, "has to keep data that it lacks")
