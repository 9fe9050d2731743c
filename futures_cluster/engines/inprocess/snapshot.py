"""What the engine does at a moment, in the form in which a scheduler's state is shown and explained.

Covers: making a ``scheduler.state.State`` of the work there is. Does not cover: showing it (``monitor``),
explaining it (``scheduler.views.explain``). Only viewers cause this work, and no decision depends on it.
"""

from __future__ import annotations

import os
from itertools import chain, islice
from typing import TYPE_CHECKING

from futures_cluster import clocks
from futures_cluster.engines.inprocess.work import LIMIT_PREFIX, WorkItem
from futures_cluster.messages import DEFAULT_OPTIONS, Key, TaskOptions, WorkerConnected
from futures_cluster.scheduler.records import (
    ASSIGNED,
    FAILED,
    MEMORY,
    QUEUED,
    WAITING,
    Function,
    FunctionStats,
    Task,
    Worker,
)
from futures_cluster.scheduler.state import State

if TYPE_CHECKING:
    from futures_cluster.engines.inprocess.host import Host

#: Work that a snapshot has, one by one.
MAX_WORK = 20_000


def take_snapshot(engine: Host, now: float, in_order: bool = False) -> State:
    """Return a state with one worker and its slots.

    Parameters
    ----------
    engine : Host
    now : float
        On the caller's clock.
    in_order : bool
        Also put queued work into the queue, for ``scheduler.views.explain``, which says how much comes before.
    """
    state = State()
    state.limits.declare(engine.limits)
    state.clients["main"] = ("main",)
    queued, running = list(engine.queued.values()), engine.running()
    done = engine.known_results()
    state.groups.update(engine.instrumentation.groups)
    joined = WorkerConnected(
        engine.name, "", engine.max_workers, killable=False, resources=engine.resources, pid=os.getpid()
    )
    worker = state.workers[engine.name] = Worker(joined)
    moment = clocks.perf_counter()
    works: dict[WorkItem, Task] = {}
    by_id: dict[int, Task] = {}  # of work, which nodes of graphs name as inputs, and of its future
    for work in islice(chain(running, queued), MAX_WORK):
        task = works[work] = by_id[id(work)] = by_id[id(work.future)] = _task(state, work)
        if work in running:
            task.state, task.worker, task.started = ASSIGNED, worker, True
            task.since_s = now - (moment - work.begun_s) if work.begun_s else now
            worker.assigned[task.key] = task
            for resource, amount in task.options.resources:
                worker.free_resources[resource] = worker.free_resources.get(resource, 0.0) - amount
            state.limits.take(task.options.limits)
        else:
            task.state = QUEUED
    for work, task in works.items():
        inputs = [by_id[id(each)] for each in work.unfinished_inputs() if id(each) in by_id]
        task.dependencies = tuple(inputs)
        for each in inputs:
            each.dependents = each.dependents or {}
            each.dependents[task] = None
        if task.state == QUEUED:
            if work.paused_until_s > now:
                state.paused[task] = work.paused_until_s
            if inputs or task in state.paused:
                task.state = WAITING
                state.counts[WAITING] += 1
                continue
            state.queued += 1
            if not in_order and not task.options.limits:  # how many tasks wait for a limit is shown
                continue
            if task.requirements is None:
                state.ready.push(task)
            else:
                state.constrained.push(task, task.requirements, state.workers)
    for future in islice(done, MAX_WORK - len(works)):
        task = _add_task(state, future.key, future._function_name.rpartition("<locals>.")[2])
        if future._exception is None:
            task.state, task.has_result = MEMORY, True
        else:
            task.state = FAILED
            state.counts[FAILED] += 1
    return state


def _task(state: State, work: WorkItem) -> Task:
    options = DEFAULT_OPTIONS
    if work.special:
        options = TaskOptions(
            priority=work.priority,
            retries=work.attempt - 1 + work.retries_left,
            timeout_s=work.timeout_s,
            resources=tuple([pair for pair in work.resources if not pair[0].startswith(LIMIT_PREFIX)]),
            limits=tuple([(name[1:], amount) for name, amount in work.resources if name.startswith(LIMIT_PREFIX)]),
            backoff_s=work.backoff_s,
        )
    state.serial += 1
    task = _add_task(state, work.key, work.function, options, (-work.priority, -work.depth), state.serial)
    task.attempt, task.retries_left = work.attempt, work.retries_left
    return task


def _add_task(
    state: State,
    key: Key,
    name: str,
    options: TaskOptions = DEFAULT_OPTIONS,
    level: tuple[int, int] = (0, 0),
    serial: int = 0,
) -> Task:
    function = state.functions.get(name)
    if function is None:
        group = state.groups.setdefault(name, FunctionStats(name))
        function = state.functions[name] = Function(name, group, None)
    function.tasks += 1
    flow = state.shares.flow("main", level)
    task = state.tasks[key] = Task(key, function, None, options, flow, serial, ("main",), True)
    return task
