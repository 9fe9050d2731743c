"""Assigning tasks to workers: carrying out what ``placement`` and ``stealing`` propose.

Covers: taking queued tasks in their order, the message of an assignment, asking assignments back for idle
workers.
Does not cover: which worker is best and how much it gets (``placement``), whom to rob (``stealing``).
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import islice
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import KEEP, REPORT_START
from futures_cluster.scheduler import placement, stealing
from futures_cluster.scheduler.queues.constrained import ConstrainedQueue
from futures_cluster.scheduler.queues.fair import Order
from futures_cluster.scheduler.records import ASSIGNED, MAX_DEATHS_BESIDE_OTHERS, QUEUED, Task, Worker
from futures_cluster.scheduler.transitions import Part, Transitions

#: Maximum number of holders of an input in a run, and of holders passed over so that not all workers ask the first.
MAX_ADDRESSES = 4
MAX_SKIPPED = 32


class Dispatch(Part):
    """Moves tasks between the queues and the workers.

    Attributes
    ----------
    steal_at : float or None
        When to look again whether idle workers should take something over.
    """

    def __init__(self, transitions: Transitions) -> None:
        super().__init__(transitions)
        self.steal_at: float | None = None

    def run(self, now: float) -> None:
        """Do what room and tasks allow; called after each event."""
        state = self._state
        if state.queued:
            if state.constrained.eligible:
                self._place_all(now)
            elif state.accepting:
                self._place(now, None)
        if not state.queued and (state.queued_by_location or state.co_assigned):
            state.queued_by_location.clear()
            state.co_assigned.clear()
        if not (state.with_free_slot and state.saturated):
            self.steal_at = None
        elif self.steal_at is None or now >= self.steal_at:
            self._steal(now)

    def _place_all(self, now: float) -> None:
        """Assign tasks with and without requirements, in their common order."""
        state = self._state
        heap: list[tuple[Order, int, ConstrainedQueue]] = []
        for queue in list(state.constrained.eligible):
            task = queue.first()
            if task is None:
                del state.constrained.eligible[queue]
            else:
                heap.append((queue.tasks.order(), len(heap), queue))
        heapq.heapify(heap)
        while heap:
            order, number, queue = heap[0]
            if queue.first() is not None and (now_order := queue.tasks.order()) > order:
                heapq.heapreplace(heap, (now_order, number, queue))  # its client has had turns meanwhile
                continue
            has_room = self._place(now, order)
            others = [entry[0] for entry in heap[1:3]]  # the next one is among these
            if has_room:
                others.append(state.ready.order())
            again = self._place_constrained(queue, min(others, default=None), now)
            if again is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (again, number, queue))
        self._place(now, None)

    def _place(self, now: float, before: Order | None) -> bool:
        """Assign plain tasks in order, to one worker after the other.

        Returns
        -------
        bool
            Whether one comes after ``before`` that has room. All that are left otherwise have none.
        """
        state = self._state
        ready, accepting, free = state.ready, state.accepting, state.with_free_slot
        if not ready.count or not accepting:
            return False
        in_advance = placement.most_in_advance(state, ready.first().function.group.expected_s)
        turns = each = 0
        while ready.count and accepting:
            worker = next(iter(free)) if free else placement.next_in_advance(state, in_advance)
            if worker is None:
                return False  # the rest is for those that are busy now, and for later
            if not turns:  # all workers have had one
                turns = len(accepting)
                each = min(ready.count, state.queued) // turns  # some entries are void
            turns -= 1
            if not self._fill(worker, each, in_advance, before, now):
                return True
        return False

    def _fill(self, worker: Worker, each: int, in_advance: int, before: Order | None, now: float) -> bool:
        """Assign the next plain tasks to a worker, as many as it gets at a time.

        False at one that is after ``before``.

        A task whose inputs are elsewhere goes to another worker meanwhile.
        """
        state = self._state
        ready, refresh = state.ready, self._transitions.refresh
        message: m.RunTasks | None = None
        share = 1  # until the first of them tells
        while share and ready.count:
            if before is not None and ready.order() > before:
                refresh(worker)
                return False
            nearer = self._nearer(worker) if state.queued_by_location or state.co_assigned else None
            task = nearer or ready.pop()
            if task.state is not QUEUED or (task.losses and len(task.losses) >= MAX_DEATHS_BESIDE_OTHERS):
                continue  # cancelled, or placed through another entry
            if nearer is None and (task.dependencies or (state.recompute_on and task in state.recompute_on)):
                chosen = self._preferred(task) or placement.choose_worker(task, worker, state.bandwidth.bytes_s)
                if chosen is not worker:
                    self._assign(task, chosen, self._message(chosen, now), now)
                    refresh(chosen)
                    continue
            if message is None:
                message = self._message(worker, now)
                share = placement.share(task, each, worker.slots - len(worker.assigned) + in_advance)
            self._assign(task, worker, message, now)
            share -= 1
            if share and not placement.has_room(worker):
                break
        refresh(worker, rotate=True)
        return True

    def assign_lone(self, task: Task, worker: Worker, since_s: float) -> None:
        """Note that a worker has a task without a record; see ``lone``."""
        task.flow.catch_up()
        self._state.queued += 1
        self._begin_work(worker, since_s)
        self._assign(task, worker, m.RunTasks([]), since_s)
        self._transitions.refresh(worker, rotate=True)

    def spread(self, roots: list[Task]) -> None:
        """Choose the workers of a graph's tasks without inputs: neighbours together.

        Their dependents most often need neighbours, and then find them on one worker. This concerns only tasks that
        follow each other: an order with other tasks between them says when they are needed, and more at a time would
        only fill the memory.
        """
        begin = 0
        for end in range(1, len(roots) + 1):
            if end == len(roots) or roots[end].serial != roots[end - 1].serial + 1:
                if end - begin > len(self._state.workers) > 0:
                    self._spread(roots[begin:end])
                begin = end

    def _spread(self, roots: list[Task]) -> None:
        workers = [worker for worker in self._state.workers.values() if not worker.retiring]
        each, more = divmod(len(roots), max(len(workers), 1))
        end = 0
        for number, worker in enumerate(workers):
            begin, end = end, end + each + (number < more)
            self._state.co_assigned.setdefault(worker, deque()).extend(roots[begin:end])

    def _nearer(self, worker: Worker) -> Task | None:
        """Return a task with inputs on the worker, whose entry becomes void.

        If the inputs of the first are far from the worker, one whose inputs it has: so that a worker which ends its
        part of a step first does not begin with what lies at others, while they come for what lies here. If the first
        has no inputs, one that the worker was to begin with.
        """
        state = self._state
        first = state.ready.first()
        if first.state is not QUEUED:
            return None
        if not first.dependencies:
            return self._take(state.co_assigned, worker, first)
        return self._take(state.queued_by_location, worker, first) if placement.is_far(first, worker) else None

    def _take(self, chosen: dict[Worker, deque[Task]], worker: Worker, first: Task) -> Task | None:
        """Return the first task co-assigned to the worker, if its flow has its turn."""
        tasks = chosen.get(worker)
        if tasks is None:
            return None
        while tasks:
            task = tasks[0]
            alone = len(task.losses) >= MAX_DEATHS_BESIDE_OTHERS
            if task.state is not QUEUED or alone or task in self._state.recompute_on:
                tasks.popleft()
            elif task.flow is first.flow:
                return tasks.popleft()
            else:
                return None
        del chosen[worker]
        return None

    def _preferred(self, task: Task) -> Worker | None:
        """Return where to make a result again for a user that cannot get it."""
        if not self._state.recompute_on:
            return None
        worker = self._state.workers.get(self._state.recompute_on.pop(task, ""))
        if worker is None or worker.retiring or worker.silent or worker.waits_for_place:
            return None
        if worker.exclusive_task is not None:
            return None
        return worker

    def _place_constrained(self, queue: ConstrainedQueue, before: Order | None, now: float) -> Order | None:
        """Assign a queue's tasks in turn; return the order of the next one."""
        state = self._state
        constrained = state.constrained
        while True:
            task = queue.first()
            if task is None or not state.limits.are_free(queue.limits):
                constrained.eligible.pop(queue, None)
                return None
            order = queue.tasks.order()
            if before is not None and order > before:
                return order
            if constrained.must_wait(queue, state.workers):
                return None
            worker, unfit = placement.choose_among(task, queue, state.bandwidth.bytes_s)
            for useless in unfit:
                queue.candidates.pop(useless, None)
            if worker is None:
                constrained.eligible.pop(queue, None)
                if queue.alone:
                    self._reserve(task, queue)
                return None
            queue.tasks.pop()
            constrained.count_bypassing(queue)
            if state.reserved:
                self._transitions.end_reservation(task)
            self._assign(task, worker, self._message(worker, now), now)
            for name, amount in task.options.resources:
                worker.free_resources[name] -= amount
            state.limits.take(task.options.limits)
            if queue.alone:
                if worker.exclusive_task is not None:  # it was emptied for another one of this queue
                    state.reserved.pop(worker.exclusive_task, None)
                worker.exclusive_task = task
            queue.candidates.pop(worker, None)
            self._transitions.refresh(worker, rotate=True)

    def _reserve(self, task: Task, queue: ConstrainedQueue) -> None:
        """Empty a worker for a task that must run alone."""
        state = self._state
        if task not in state.reserved:
            worker = placement.choose_to_empty(queue.requirements, state)
            if worker is not None:
                state.reserved[task] = worker
                worker.exclusive_task = task
                self._transitions.refresh(worker)

    def make_room(self, worker: Worker) -> None:
        """Ask for the newest assignments back until a task has room."""
        count, occupancy_s = len(worker.assigned), worker.occupancy_s
        for task in reversed(worker.assigned.values()):
            if count < worker.slots or placement.may_have_more(worker, count, occupancy_s):
                return
            if not (task.started or task.retracting):
                self._transitions.ask_back(task, unwanted=task.cancel_requested)
                count -= 1
                occupancy_s -= task.expected_s

    @staticmethod
    def _begin_work(worker: Worker, now: float) -> None:
        """Take note that a worker is about to get a task, perhaps after a time with none."""
        if not worker.assigned:
            worker.occupancy_s = 0.0  # no rounding error stays for long
            worker.last_progress_s = now

    def _message(self, worker: Worker, now: float) -> m.RunTasks:
        """Return the message that takes assignments to the worker after this event."""
        self._begin_work(worker, now)
        message = self._outbox.runs.get(worker.name)
        if message is None:
            message = self._outbox.runs[worker.name] = m.RunTasks([])
        return message

    def _assign(self, task: Task, worker: Worker, message: m.RunTasks, now: float) -> None:
        state = self._state
        function = task.function
        state.queued -= 1
        state.attempts = attempt = state.attempts + 1
        task.state = ASSIGNED
        task.worker = worker
        task.attempt = attempt
        task.since_s = now
        task.started = task.retracting = False
        group = function.group
        task.expected_s = expected_s = group.expected_s
        worker.occupancy_s += expected_s
        worker.assigned[task.key] = task
        if worker.name not in function.known_by:
            function.known_by[worker.name] = None
            message.functions.append((function.id, group.name, function.payload))
        inputs: tuple[Any, ...] = ()
        if task.dependencies:
            inputs = tuple(
                [(dep.key, dep.size_bytes, dep.result, _addresses(dep, attempt)) for dep in task.dependencies]
            )
        flags = 0
        if not task.fire_and_forget and not task.wanted_by:
            flags |= KEEP
        options = task.options
        if options is not m.DEFAULT_OPTIONS and (options.timeout_s is not None or not options.rerun):
            flags |= REPORT_START
        flow = task.flow
        flow.charge(group.turn_s)
        high, deep = flow.level
        message.runs.append((task.key, attempt, function.id, task.payload, (high, deep, attempt), inputs, flags))

    def _steal(self, now: float) -> None:
        """Ask busy workers for what idle ones could take over."""
        state = self._state
        for victim, tasks in stealing.propose(state, now):
            state.saturated[victim] = state.saturated.pop(victim)  # others are looked at first, next time
            if not tasks:
                continue
            for task in tasks:
                task.retracting = True
            rows = self._outbox.returns.setdefault(victim.name, [])
            rows.extend((task.key, task.attempt) for task in tasks)
            state.pending_steals_s[victim] = sum(task.function.group.expected_s for task in tasks)
            victim.recently_stolen_from = True
            self._transitions.refresh(victim)
        self.steal_at = now + stealing.STEAL_INTERVAL_S


def _addresses(dep: Task, attempt: int) -> tuple[tuple[str, str], ...]:
    """Return some of the holders of an input, not the same for all workers."""
    holders = dep.holders
    if not holders:
        return ()
    if len(holders) == 1:
        (worker,) = holders
        return worker.only_holder
    if len(holders) <= MAX_ADDRESSES:
        return tuple((worker.name, worker.address) for worker in holders)
    first = attempt % min(len(holders) - MAX_ADDRESSES + 1, MAX_SKIPPED)
    return tuple((worker.name, worker.address) for worker in islice(holders, first, first + MAX_ADDRESSES))
