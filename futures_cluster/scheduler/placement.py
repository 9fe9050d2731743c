"""Which worker gets a task, and how much is assigned to a worker in advance.

Covers: proposals, as pure functions of the state. Does not cover: carrying them out (``machine``).

How much in advance: a worker needs enough work at hand to stay busy until the scheduler hears from it and
answers. That takes well under a millisecond when the scheduler's process is idle, and several times the
interpreter's switch interval (5 ms) when it is busy in Python. So tasks are assigned until the expected
work reaches ``PREFETCH_HORIZON_S``; a task that alone takes longer is assigned only to a free slot, because whatever
waits behind it could have gone elsewhere. Functions that were never measured count as long.
"""

from __future__ import annotations

from itertools import chain, islice

from futures_cluster.scheduler.queues.constrained import ConstrainedQueue, could_meet
from futures_cluster.scheduler.queues.limits import TOLERANCE
from futures_cluster.scheduler.records import QUEUED, Requirements, Task, Worker
from futures_cluster.scheduler.state import State

PREFETCH_HORIZON_S = 0.04
#: Keeps a worker's queue, and what is lost with it, small where tasks take next to nothing.
MAX_AHEAD = 4000
#: A worker may have this much in advance, however few tasks there are.
MIN_AHEAD_S = 0.02
#: Work that is worth a message of its own.
WORTH_A_MESSAGE_S = 1e-4
#: What a transfer takes, however small.
LATENCY_S = 0.5e-3
#: An input of this size is better used where it is, if there is something else to do elsewhere.
FAR_BYTES = 1_000_000
#: Holders of one input that are compared, and workers that are compared for one task with requirements.
MAX_HOLDERS_COMPARED = 16
MAX_COMPARED = 32
#: Workers looked at for one that may have more in advance.
MAX_LOOKED_AT = 8


def has_room(worker: Worker) -> bool:
    """Return whether more may be assigned to the worker."""
    if worker.retiring or worker.silent or worker.waits_for_place:
        return False
    count = len(worker.assigned)
    if worker.exclusive_task is not None:
        # Only what a task here perhaps waits for: otherwise neither might ever end.
        return count < worker.slots and worker.slots > worker.own_slots
    if count < worker.slots:
        return True
    # What ``may_have_more`` says, without a call for each task.
    return (
        not worker.recently_stolen_from
        and worker.occupancy_s < PREFETCH_HORIZON_S * worker.own_slots
        and count < MAX_AHEAD
    )


def must_wait_for_place(worker: Worker) -> bool:
    """Return whether an older worker of its place runs its last tasks.

    This does not count if all of these wait for other tasks. A worker that has run its maximum is replaced while it
    runs its last task. Both together may run no more tasks at once than one of them, and use no more resources: else
    each worker would begin the next task before the former ends.
    """
    for former in worker.same_place:
        if former is worker:
            break
        if former.keeps_place and len(former.assigned) > former.slots - former.own_slots:
            return True
    return False


def may_have_more(worker: Worker, count: int, occupancy_s: float) -> bool:
    """Return whether a worker with that much assigned may have more in advance.

    Lent slots do not count: the tasks that lent them wait for something that has to run first.
    """
    return occupancy_s < PREFETCH_HORIZON_S * worker.own_slots and count < MAX_AHEAD


def share(task: Task, each: int, most: int) -> int:
    """Return the tasks to give a worker at a time, so that few tasks spread.

    ``each`` would be even; ``task`` is the first of them. Those that take no longer than their message go together.
    """
    even = each if each < most else most
    together = int(WORTH_A_MESSAGE_S / task.function.group.expected_s)
    return max(1, even, together)


def most_in_advance(state: State, expected_s: float) -> int:
    """Return the number of plain tasks that a worker may have in advance.

    Not more than its part of all there are, though it is the only one with room just now: the others will have
    room soon, too, and what is made of these tasks will want to stay where it was made.
    """
    part = min(state.ready.count, state.queued) // len(state.workers)
    least = int(MIN_AHEAD_S / expected_s)
    return part if part > least else least


def next_in_advance(state: State, most: int) -> Worker | None:
    """Return the next worker that may have more in advance; only some are looked at."""
    for worker in islice(state.accepting, MAX_LOOKED_AT):
        if len(worker.assigned) - worker.slots < most:
            return worker
    return None


def fits(worker: Worker, task: Task, requirements: Requirements) -> bool:
    """Return whether a worker can take a task with these requirements now."""
    resources, names, alone, _ = requirements
    if alone:
        kept_for = worker.exclusive_task
        if worker.assigned or worker.retiring or worker.silent or worker.waits_for_place:
            return False
        if kept_for is not None and not (kept_for.state == QUEUED and kept_for.requirements == requirements):
            return False
    elif not has_room(worker):
        return False
    if names and worker.place not in names:
        return False
    return all(worker.free_resources.get(name, 0.0) >= amount - TOLERANCE for name, amount in resources)


def held_bytes(task: Task, also: Worker | None = None) -> tuple[dict[Worker, int], int]:
    """Return the bytes of inputs on workers (some, and ``also``), and of all."""
    held: dict[Worker, int] = {}
    total = 0
    for dep in task.dependencies:
        holders = dep.holders
        if holders is None:
            continue
        size = dep.size_bytes or 1
        total += size
        seen = False
        for holder in islice(holders, MAX_HOLDERS_COMPARED):
            held[holder] = held.get(holder, 0) + size
            seen = seen or holder is also
        if also is not None and not seen and also in holders:
            held[also] = held.get(also, 0) + size
    return held, total


def nearest_holder(task: Task) -> Worker | None:
    """Return a worker with the largest input, if moving that would take a while."""
    largest = FAR_BYTES
    nearest: Worker | None = None
    for dep in task.dependencies:
        if dep.size_bytes >= largest and dep.holders:
            largest = dep.size_bytes
            nearest = next(iter(dep.holders))
    return nearest


def is_far(task: Task, worker: Worker) -> bool:
    """Return whether a large input would have to be moved to the worker."""
    for dep in task.dependencies:  # noqa: SIM110, a generator would take twice the time
        if dep.size_bytes >= FAR_BYTES and dep.holders and worker not in dep.holders:
            return True
    return False


def backlog_s(worker: Worker) -> float:
    """Return seconds until a slot will probably be free."""
    if len(worker.assigned) < worker.slots:
        return 0.0
    return worker.occupancy_s / (worker.slots or 1)


def moving_s(size_bytes: int, bytes_s: float) -> float:
    """Return seconds that inputs of this size are on their way."""
    return LATENCY_S + size_bytes / bytes_s if size_bytes else 0.0


def choose_worker(task: Task, first: Worker, bytes_s: float) -> Worker:
    """Return the worker where the task starts soonest: ``first``, or a holder.

    One without room is only chosen if it will be done with what it has sooner than the inputs could be moved.
    """
    if len(first.assigned) < first.slots:
        for dep in task.dependencies:
            if dep.holders is not None and first not in dep.holders:
                break
        else:
            return first  # everything is there, as is usual
    held, total = held_bytes(task, first)
    best, best_s = first, backlog_s(first) + moving_s(total - held.get(first, 0), bytes_s)
    if best_s == 0.0:
        return best
    for worker, size in held.items():
        if worker.retiring or worker.silent or worker.waits_for_place or worker.exclusive_task is not None:
            continue
        if worker.recently_stolen_from and len(worker.assigned) >= worker.slots:
            continue  # when it will have a slot is unknown
        its_s = backlog_s(worker) + moving_s(total - size, bytes_s)
        if its_s < best_s:
            best, best_s = worker, its_s
    return best


def choose_among(task: Task, queue: ConstrainedQueue, bytes_s: float) -> tuple[Worker | None, list[Worker]]:
    """Return the candidate where the task starts soonest, and those that do not fit."""
    requirements = queue.requirements
    held, total = held_bytes(task)
    best: Worker | None = None
    best_s = 0.0
    compared = 0
    unfit: list[Worker] = []
    for worker in chain(held, queue.candidates):
        if not fits(worker, task, requirements):
            unfit.append(worker)
            continue
        its_s = backlog_s(worker) + moving_s(total - held.get(worker, 0), bytes_s)
        if best is None or its_s < best_s:
            best, best_s = worker, its_s
        compared += 1
        if best_s == 0.0 or compared >= MAX_COMPARED:
            break
    return best, unfit


def choose_to_empty(requirements: Requirements, state: State) -> Worker | None:
    """Return the worker to be emptied for a task that has to run alone.

    It gets no more tasks until it is empty.
    """
    able = [
        worker
        for worker in state.workers.values()
        if could_meet(worker, requirements) and not worker.silent and worker.exclusive_task is None
    ]
    return min(able, key=lambda worker: worker.occupancy_s, default=None)
