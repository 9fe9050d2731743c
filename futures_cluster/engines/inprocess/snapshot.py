"""What the engine does at a moment, in the form in which a scheduler's state is shown and explained.

Covers: making a ``scheduler.state.State`` of the work there is. Does not cover: showing it (``monitor``),
explaining it (``scheduler.views.explain``). Only viewers cause this work, and no decision depends on it.
"""

from __future__ import annotations

import os
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks
from futures_cluster.engines.inprocess.work import LIMIT_PREFIX, WorkItem
from futures_cluster.messages import DEFAULT_OPTIONS, TaskOptions
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
    worker = Worker(engine.name, "", engine.max_workers, False, engine.resources, "", os.getpid())
    state.workers[engine.name] = worker
    moment = clocks.perf_counter()
    works: dict[WorkItem, Task] = {}
    by_future: dict[int, Task] = {}
    for work in chain(running, queued):
        if len(works) >= MAX_WORK:
            break
        task = works[work] = by_future[id(work.future)] = _task(state, work)
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
        inputs = [by_future[id(each)] for each in work.unfinished_inputs() if id(each) in by_future]
        task.dependencies = tuple(inputs)
        for each in inputs:
            each.dependents = each.dependents or {}
            each.dependents[task] = None
        if task.state == QUEUED:
            if work.paused_until_s > now:
                task.state = WAITING
                state.counts[WAITING] += 1
                state.paused[task] = work.paused_until_s
                continue
            if inputs:
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
        task = _ended(state, future)
        if future._exception is None:
            task.state, task.has_result = MEMORY, True
        else:
            task.state = FAILED
            state.counts[FAILED] += 1
    return state


def _function(state: State, name: str) -> Function:
    function = state.functions.get(name)
    if function is None:
        group = state.groups.setdefault(name, FunctionStats(name))
        function = state.functions[name] = Function(name, group, None)
    function.tasks += 1
    return function


def _ended(state: State, future: Any) -> Task:
    function = _function(state, future._function_name.rpartition("<locals>.")[2])
    flow = state.shares.flow("main", (0, 0))
    task = Task(future.key, function, None, DEFAULT_OPTIONS, flow, 0, ("main",), True)
    state.tasks[task.key] = task
    return task


def _task(state: State, work: WorkItem) -> Task:
    function = _function(state, work.function)
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
    flow = state.shares.flow("main", (-work.priority, -work.depth))
    state.serial += 1
    task = Task(work.key, function, None, options, flow, state.serial, ("main",), True)
    task.attempt, task.retries_left = work.attempt, work.retries_left
    state.tasks[task.key] = task
    return task
