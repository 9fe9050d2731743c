"""What idle workers should take over from busy ones.

Covers: a proposal of which assignments to ask back. Does not cover: asking (``dispatch``), or the worker's answer: it
returns only what it has not started, so nothing ever runs twice because of stealing.

A worker is robbed when it has more assigned than it can run at once, and either its queue is long or it has not
finished anything for a while: the guess that its tasks are short was wrong. No more is taken than the idle workers
can do in ``WANTED_S``, and only some workers are looked at each time, in turn: a look costs time in proportion to the
free slots and not to the size of the cluster.
"""

from __future__ import annotations

from itertools import islice

from futures_cluster.scheduler.placement import backlog_s, moving_s
from futures_cluster.scheduler.records import Task, Worker
from futures_cluster.scheduler.state import State

#: A worker that finished nothing for this long is stuck on a task longer than it was thought to be.
STUCK_AFTER_S = 0.01
#: Seconds between two looks.
STEAL_INTERVAL_S = 0.002
#: Queues shorter than this are not worth the messages.
WORTHWHILE_S = 0.005
#: Seconds of work, by expectation, to get for each free slot, and the minimum number of tasks.
WANTED_S = 0.02
WANTED_TASKS = 1
#: Workers looked at each time: some, and some for each free worker.
LOOKS = 32
LOOKS_PER_FREE = 4
#: Free workers counted each time.
MAX_FREE_COUNTED = 100


def propose(state: State, now: float) -> list[tuple[Worker, list[Task]]]:
    """Return assignments to ask back, by worker.

    The newest half of what waits there for a slot, all if it is stuck. Every worker that was looked at is listed,
    those without anything to take with an empty list. Only makes sense while some worker has a free slot.
    """
    free = list(islice(state.with_free_slot, MAX_FREE_COUNTED))
    free_slots = sum(worker.slots - len(worker.assigned) for worker in free)
    wanted_s = WANTED_S * free_slots - sum(state.pending_steals_s.values())
    wanted_tasks = WANTED_TASKS * free_slots
    looked: list[tuple[Worker, list[Task]]] = []
    if wanted_s <= 0:
        return looked
    for victim in islice(state.saturated, LOOKS + LOOKS_PER_FREE * len(free)):
        stuck_s = now - victim.last_progress_s
        taken = _spare(victim, stuck_s, state.bandwidth.bytes_s) if victim not in state.pending_steals_s else []
        looked.append((victim, taken))
        wanted_tasks -= len(taken)
        wanted_s -= sum(task.function.group.expected_s for task in taken)
        if wanted_s <= 0 and wanted_tasks <= 0:
            break
    return looked


def _spare(victim: Worker, stuck_s: float, bytes_s: float) -> list[Task]:
    """Return the newest assignments of a worker that wait for a slot.

    Moving inputs must take less time than waiting. How long a worker will stay stuck is not known: the guess that it
    takes as long again as it has taken costs at most twice the best one.
    """
    stuck = stuck_s >= STUCK_AFTER_S
    waiting_s = _backlog_s(victim)
    if not stuck and waiting_s * victim.slots < WORTHWHILE_S:
        return []
    behind = len(victim.assigned) - victim.slots
    number = behind if stuck else (behind + 1) // 2
    if stuck:
        waiting_s = max(waiting_s, stuck_s)
    newest = []
    for task in islice(reversed(victim.assigned.values()), behind):
        if task.started or task.retracting or task.options.workers:
            continue
        if task.dependencies and _moving_s(task, victim, bytes_s) > waiting_s:
            continue
        newest.append(task)
        if len(newest) == number:
            break
    newest.reverse()
    return newest


def _backlog_s(victim: Worker) -> float:
    """Return seconds until a slot will probably be free, by what is known now.

    The first of many tasks to end are the short ones, so what was assigned early was expected to take less.
    """
    newest = next(reversed(victim.assigned.values()))
    grown = newest.function.group.expected_s / newest.expected_s if newest.expected_s else 1.0
    return backlog_s(victim) * max(1.0, grown)


def _moving_s(task: Task, victim: Worker, bytes_s: float) -> float:
    """Return what it costs to move the inputs that only the victim has."""
    alone = {victim: None}
    return moving_s(sum(dep.size_bytes for dep in task.dependencies if dep.holders == alone), bytes_s)
