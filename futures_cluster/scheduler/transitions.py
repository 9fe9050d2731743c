"""The changes of a task's state, each of which leaves everything that hangs together consistent.

Covers: counters, queues, links between tasks and workers, messages to clients when a task ends, and freeing unneeded
results. Does not cover: which event leads to which change (``machine``), committing (``dispatch``).

Only ``machine`` and its part ``dispatch`` call these. Freeing is done last: each method that takes away a need puts the
task on ``release_candidates``, and ``release_candidates_now`` looks at each of them once the event has been dealt with.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import FINISHED, Key, Payload
from futures_cluster.scheduler import placement, records, recovery
from futures_cluster.scheduler.client_references import ClientReferences
from futures_cluster.scheduler.functions import Functions
from futures_cluster.scheduler.outbox import Outbox
from futures_cluster.scheduler.records import (
    ASSIGNED,
    FORGOTTEN,
    MEMORY,
    QUEUED,
    RELEASED,
    TRANSITIONS,
    UNFINISHED,
    WAITING,
    Task,
    Worker,
)
from futures_cluster.scheduler.state import State


def scheduler_error(kind: str, text: str) -> Payload:
    """Return an error of the scheduler, of the class ``kind`` at the client."""
    return {"kind": kind, "text": text}


SCATTERED_ADVICE = (
    "scattered data cannot be computed again: use scatter(replicas=2), or submit a function that loads it"
)


class Transitions:
    """Changes the state; a part of the machine.

    Attributes
    ----------
    release_candidates : list of Task
        Tasks to look at again: a client or a task that needed them may be gone.
    functions : Functions
        What tasks call.
    client_references : ClientReferences
        Which clients want which tasks.
    """

    def __init__(self, state: State, outbox: Outbox) -> None:
        self.state = state
        self.outbox = outbox
        self.release_candidates: list[Task] = []
        self._deadlines_limit = 1000
        self.functions = Functions(state, outbox)
        self.client_references = ClientReferences(state, self.functions, self.release_candidates)

    # ---------------------------------------------------------------- tasks

    def set_state(self, task: Task, new: records.TaskStateName) -> None:
        old = task.state
        if old is new:
            return
        assert new in TRANSITIONS[old], f"{task.key}: {old} -> {new}"
        if old is QUEUED:
            self.state.queued -= 1
            if self.state.reserved:
                self.end_reservation(task)
        elif new is QUEUED:
            self.state.queued += 1
        counts = self.state.counts
        if old in counts:
            counts[old] -= 1
            if self.state.paused:
                self.state.paused.pop(task, None)
        if new in counts:
            counts[new] += 1
        task.state = new

    def end_reservation(self, task: Task) -> None:
        """Release the worker that was being emptied for the task."""
        worker = self.state.reserved.pop(task, None)
        if worker is not None and worker.exclusive_task is task:
            worker.exclusive_task = None
            self.refresh(worker)

    def link(self, task: Task, keys: Iterable[Key]) -> bool:
        """Put records in the place of the keys of inputs; whether one is not older."""
        tasks = self.state.tasks
        dependencies: dict[Task, None] = {}
        unknown = None
        for key in keys:
            dep = tasks.get(key)
            if dep is None:
                unknown = key
            else:
                dependencies[dep] = None
        task.dependencies = tuple(dependencies)
        for dep in dependencies:
            if dep.dependents is None:
                dep.dependents = {}
            dep.dependents[task] = None
            dep.pending_dependents += 1
            dep.cancel_requested = dep.kill_if_started = False
        if unknown is not None:
            text = f"the input {unknown!r} of {task.key!r} is no longer known"
            self.fail(task, scheduler_error("DataLost", text))
        serial = task.serial
        for dep in dependencies:  # noqa: SIM110, a generator would take twice the time
            if dep.serial >= serial:
                return True
        return False

    def start_waiting(self, task: Task) -> None:
        """Decide what an unfinished, unassigned task waits for."""
        if self.state.broken is not None:
            self.fail(task, self.state.broken)
            return
        missing = 1 if self.state.paused and task in self.state.paused else 0
        released = False
        for dep in task.dependencies:
            state = dep.state
            if state is MEMORY:
                continue
            if state is records.FAILED:
                self.fail(task, dep.result)
                return
            missing += 1
            released = released or state is RELEASED
        task.unmet_inputs = missing
        revived = recovery.released_ancestors([task]) if released else []
        if missing:
            self.set_state(task, WAITING)
        else:
            self.make_ready(task)
        for ancestor in revived:
            if ancestor.state is RELEASED:
                self.run_again(ancestor)

    def make_ready(self, task: Task) -> None:
        if task.state is not QUEUED:
            self.set_state(task, QUEUED)
        requirements = task.requirements
        if requirements is None:
            self.state.ready.push(task)
            if task.dependencies and (nearest := placement.nearest_holder(task)) is not None:
                self.state.queued_by_location.setdefault(nearest, deque()).append(task)
        else:
            self.state.constrained.push(task, requirements, self.state.workers)

    def run_again(self, task: Task) -> None:
        """Let a task run once more that had run."""
        if not task.options.rerun:
            text = f"the result of {task.key!r} was lost and cannot be recomputed because rerun=False"
            if task.options is m.SCATTERED_OPTIONS:
                text = f"{task.key!r} was lost with its last worker; {SCATTERED_ADVICE}"
            self.fail(task, scheduler_error("DataLost", text))
            return
        self.set_state(task, WAITING)
        for dep in task.dependencies:
            dep.pending_dependents += 1
            dep.cancel_requested = dep.kill_if_started = False
        self.start_waiting(task)

    def refuse_limits(self, tasks: list[Task]) -> None:
        """Fail new tasks that ask for limits which they can never have."""
        declared = self.state.limits.totals()
        for task in tasks:
            if task.options.limits and (text := m.limits_complaint(task.options.limits, declared)):
                self.fail(task, scheduler_error("LimitError", text))

    def set_deadline(self, time_s: float, task: Task) -> None:
        """Look at this attempt of a task, or at its rest, at a time."""
        deadlines = self.state.deadlines
        if len(deadlines) >= self._deadlines_limit:  # most are of tasks that have ended
            tasks = self.state.tasks
            deadlines[:] = [row for row in deadlines if row[1] in tasks and tasks[row[1]].attempt == row[2]]
            heapq.heapify(deadlines)
            self._deadlines_limit = max(1000, 2 * len(deadlines))
        heapq.heappush(deadlines, (time_s, task.key, task.attempt))

    # ---------------------------------------------------------------- on a worker

    def unassign(self, task: Task, worker: Worker) -> None:
        """Take a task from its worker; the caller decides what becomes of it."""
        if worker.assigned.pop(task.key, None) is None:
            return
        worker.occupancy_s -= task.expected_s
        task.worker = None
        task.started = task.retracting = False
        self.give_back(task, worker)
        self.refresh(worker)

    def give_back(self, task: Task, worker: Worker) -> None:
        for name, amount in task.options.resources:
            worker.free_resources[name] += amount
        if task.options.limits:
            self.state.limits.give_back(task.options.limits)
            self.state.constrained.limits_free(task.options.limits)
        if worker.exclusive_task is task:
            worker.exclusive_task = None

    def ask_back(self, task: Task, unwanted: bool) -> None:
        task.cancel_requested = unwanted
        if not task.retracting and task.worker is not None and task.worker.name in self.state.workers:
            task.retracting = True
            self.outbox.returns.setdefault(task.worker, []).append((task.key, task.attempt))

    def hold(self, task: Task, worker: Worker) -> None:
        """Record one more holder of the result."""
        state = self.state
        if task.holders is None:
            task.holders = {}
        if worker not in task.holders:
            task.holders[worker] = None
            worker.data[task.key] = task
            worker.held_bytes += task.size_bytes
        if task in state.scattered or state.draining:
            state.dirty_replicas[task] = None

    def unhold(self, task: Task, worker: Worker) -> None:
        """Remove a holder of the result; the caller deals with the loss of the last one."""
        state = self.state
        if task.holders is not None and worker in task.holders:
            del task.holders[worker]
            worker.data.pop(task.key, None)
            worker.held_bytes -= task.size_bytes
        if worker in state.draining:
            state.draining[worker].pop(task, None)
        if task in state.scattered or state.draining:
            state.dirty_replicas[task] = None

    def end_copy(self, task: Task, worker: Worker) -> None:
        """End a copy: the worker has it now, or cannot get it."""
        makers = self.state.copying.get(task)
        if makers is None or worker not in makers:
            return
        del makers[worker]
        if not makers:
            del self.state.copying[task]
        worker.copying.pop(task, None)
        worker.copying_bytes -= task.size_bytes
        self.state.dirty_replicas[task] = None
        self.state.copies_due = True

    def end_copies(self, task: Task) -> None:
        """End all copies of the result."""
        self.state.under_replicated.pop(task, None)
        for worker in list(self.state.copying.get(task, ())):
            self.end_copy(task, worker)
            self.outbox.drops.setdefault(worker, []).append(task.key)

    # ---------------------------------------------------------------- ended

    def wake_dependents(self, task: Task) -> None:
        for dependent in task.dependents or ():
            if dependent.state is WAITING:
                dependent.unmet_inputs -= 1
                if not dependent.unmet_inputs:
                    self.make_ready(dependent)

    def inputs_used(self, task: Task, dependencies: tuple[Task, ...], for_good: bool) -> None:
        """Release the inputs of a task that has run; with ``for_good``, forget them."""
        for dep in dependencies:
            dep.pending_dependents -= 1
            if for_good and dep.dependents is not None:
                dep.dependents.pop(task, None)
            if not dep.pending_dependents and not dep.wanted_by:
                self.release_candidates.append(dep)
        if for_good:
            task.dependencies = ()

    def fail(self, task: Task, error: Payload) -> None:
        """Fail the task, and all that wait for its result, with this error."""
        stack = [task]
        while stack:
            victim = stack.pop()
            if victim.state in (records.FAILED, FORGOTTEN):
                continue
            if victim.state is ASSIGNED and victim.worker is not None:
                self.ask_back(victim, unwanted=False)
                self.unassign(victim, victim.worker)
            had_finished = victim.state in (MEMORY, RELEASED)
            self.set_state(victim, records.FAILED)
            victim.result = error
            self.free_payload(victim)
            dependents = [d for d in victim.dependents or () if d.state in UNFINISHED]
            if had_finished:
                for dep in victim.dependencies:
                    if dep.dependents is not None:
                        dep.dependents.pop(victim, None)
                    self.release_candidates.append(dep)
                victim.dependencies = ()
            else:
                self.inputs_used(victim, victim.dependencies, for_good=True)
            self.tell_done(victim, victim.wanted_by)
            self.release_candidates.append(victim)
            stack.extend(dependents)

    def tell_done(self, task: Task, clients: tuple[str, ...]) -> None:
        if task.state is records.FAILED:
            row: tuple[Any, ...] = (task.key, m.FAILED, task.result, 0, ())
        elif task.has_result:
            row = (task.key, FINISHED, task.result, task.size_bytes, ())
        else:
            holders = tuple((w.name, w.address) for w in task.holders or ())
            row = (task.key, FINISHED, None, task.size_bytes, holders)
        if task.options is m.SCATTERED_OPTIONS and self.state.scattered[task].unacknowledged_client in clients:
            self.state.scattered[task].unacknowledged_client = None
        for client in clients:
            self.outbox.done.setdefault(client, []).append(row)

    def lost_results(self, orphans: list[Task]) -> None:
        """Take note that no worker holds these results any longer."""
        for task in orphans:
            if task.state is not MEMORY or task.holders:
                continue
            task.holders = None
            self.end_copies(task)
            if not recovery.is_needed(task):
                self.set_state(task, RELEASED)
                self.release_candidates.append(task)
                continue
            scattered = self.state.scattered.get(task)
            for client in task.wanted_by:
                if scattered is not None and scattered.unacknowledged_client == client:
                    continue  # it has not heard yet that it was there
                self.outbox.recomputing.setdefault(client, []).append(task.key)
            for dependent in task.dependents or ():
                if dependent.state is QUEUED:
                    self.set_state(dependent, WAITING)
                    dependent.unmet_inputs = 1
                elif dependent.state is WAITING:
                    dependent.unmet_inputs += 1
            self.run_again(task)

    # ---------------------------------------------------------------- no longer needed

    def release_candidates_now(self) -> None:
        """Free what is no longer needed, and in turn what only that needed."""
        loose = self.release_candidates
        while loose:
            task = loose.pop()
            if task.wanted_by or task.pending_dependents > 0:
                continue
            state = task.state
            if state is MEMORY:
                if not task.dependents:
                    self.drop_result(task)
                    self.forget_task(task)
                elif not task.has_result and task.options is not m.SCATTERED_OPTIONS:
                    # Its dependents may have to run again: keep a result that is small or cannot be made again.
                    self.drop_result(task)
                    self.set_state(task, RELEASED)
            elif state is records.FAILED or state is RELEASED:
                if not task.dependents:
                    self.forget_task(task)
            elif state in UNFINISHED and not task.fire_and_forget:
                if state is ASSIGNED:
                    self.ask_back(task, unwanted=True)
                else:
                    self.abandon(task)

    def drop_result(self, task: Task) -> None:
        task.result = None
        task.has_result = False
        state = self.state
        for worker in task.holders or ():
            worker.data.pop(task.key, None)
            worker.held_bytes -= task.size_bytes
            self.outbox.drops.setdefault(worker, []).append(task.key)
            if worker.retiring:
                if worker in state.draining:
                    state.draining[worker].pop(task, None)
                self.stop_if_empty(worker)
        task.holders = None
        if state.copying or state.under_replicated:
            self.end_copies(task)

    def is_given_up(self, task: Task) -> bool:
        """Return whether a task was cancelled while assigned, and is not needed again.

        What it was cancelled with may have become needed again, and with it the task.
        """
        if task.cancel_requested and recovery.is_needed(task):
            task.cancel_requested = task.kill_if_started = False
        return task.cancel_requested

    def abandon(self, task: Task) -> None:
        """Drop an unfinished task without a user, or all but its record."""
        if not task.dependents:
            self.forget_task(task)
            return
        self.set_state(task, RELEASED)
        task.cancel_requested = task.kill_if_started = False
        for dep in task.dependencies:
            dep.pending_dependents -= 1
            self.release_candidates.append(dep)

    def forget_task(self, task: Task) -> None:
        """Remove a task for good; no client or task may need it."""
        if task.state is FORGOTTEN:
            return
        unfinished = task.state in UNFINISHED
        self.set_state(task, FORGOTTEN)
        self.state.tasks.pop(task.key, None)
        if self.state.calls:
            self.state.calls.pop(task.key, None)
        if self.state.unreachable_count:
            self.state.unreachable_count.pop(task, None)
            self.state.recompute_on.pop(task, None)
        for dep in task.dependencies:
            if dep.dependents is not None:
                dep.dependents.pop(task, None)
            if unfinished:
                dep.pending_dependents -= 1
            self.release_candidates.append(dep)
        task.dependencies = ()
        if task.options is m.SCATTERED_OPTIONS:
            del self.state.scattered[task]
        self.free_payload(task)
        self.functions.leave(task.function)

    def free_payload(self, task: Task) -> None:
        if type(task.payload) is tuple:  # in shared memory, perhaps
            self.outbox.freed.append(task.payload)
        task.payload = None

    # ---------------------------------------------------------------- workers

    def refresh(self, worker: Worker, rotate: bool = False) -> None:
        """Put the worker into its lists; with ``rotate`` behind others with room."""
        state = self.state
        if state.workers.get(worker.name) is not worker:
            return  # removed by the same event
        count = len(worker.assigned)
        if rotate:
            state.accepting.pop(worker, None)
            state.with_free_slot.pop(worker, None)
        if placement.has_room(worker):
            state.accepting[worker] = None
            if state.constrained.queues:
                state.constrained.offer(worker)
        else:
            state.accepting.pop(worker, None)
            if worker.exclusive_task is not None and not count:  # it is empty now, for the one that it was emptied for
                state.constrained.offer(worker)
        if count < worker.slots and worker in state.accepting:
            state.with_free_slot[worker] = None
        else:
            state.with_free_slot.pop(worker, None)
        if count > worker.slots:
            state.saturated[worker] = None
        else:
            state.saturated.pop(worker, None)
        if len(worker.same_place) > 1:
            self._refresh_place(worker)
        if worker.retiring:
            self.stop_if_empty(worker)

    def add_worker(self, worker: Worker) -> None:
        """Add a worker that has joined.

        It waits until those whose place it takes run nothing.
        """
        self.state.workers[worker.name] = worker
        worker.same_place = self.state.places.setdefault(worker.place, [])
        worker.same_place.append(worker)
        worker.waits_for_place = placement.must_wait_for_place(worker)
        self.refresh(worker)

    def _refresh_place(self, changed: Worker) -> None:
        for worker in list(changed.same_place):
            waits = placement.must_wait_for_place(worker)
            if waits != worker.waits_for_place:
                worker.waits_for_place = waits
                self.refresh(worker)

    def stop_if_empty(self, worker: Worker) -> None:
        if not worker.retiring or worker.assigned or worker.data or worker in self.state.draining:
            return  # those that leave are looked after by ``replication``
        self.end_worker(worker, "it ran its maximum of tasks")

    def retire(self, worker: Worker) -> None:
        """Give the worker no more tasks."""
        worker.retiring = True
        if worker.exclusive_task is not None and worker.exclusive_task in self.state.reserved:
            self.state.constrained.retry(worker.exclusive_task)
            self.end_reservation(worker.exclusive_task)

    def end_worker(self, worker: Worker, reason: str) -> None:
        """End a worker that has nothing that is needed."""
        if worker.name not in self.state.workers:
            return
        if not worker.killing:
            self.outbox.stops.append(m.StopWorker(worker.name, reason=reason))
        self.remove_worker(worker)
        self.client_references.client_left(worker.name, cancel=worker.killing)

    def want_again(self, task: Task, client: str, another: bool = False) -> None:
        """Record that a client wants a task that is there (a pure one, or by its key).

        With ``another`` the key came to it by its name, and it has perhaps two futures of it now.
        """
        task.cancel_requested = task.kill_if_started = False
        if another or client not in task.wanted_by:
            task.wanted_by = (*task.wanted_by, client)
        if task.state is RELEASED:
            self.run_again(task)
        elif task.state is MEMORY or task.state is records.FAILED:
            self.tell_done(task, (client,))

    def remove_worker(self, worker: Worker) -> None:
        state = self.state
        del state.workers[worker.name]
        for workers in (state.accepting, state.with_free_slot, state.saturated, state.pending_steals_s, state.draining):
            workers.pop(worker, None)
        state.queued_by_location.pop(worker, None)
        state.co_assigned.pop(worker, None)
        worker.same_place.remove(worker)
        if worker.same_place:
            self._refresh_place(worker)
        else:
            del state.places[worker.place]
        for task in list(worker.copying):
            self.end_copy(task, worker)
        state.constrained.withdraw(worker)
        if worker.exclusive_task is not None and state.reserved.pop(worker.exclusive_task, None) is not None:
            state.constrained.retry(worker.exclusive_task)
        for function in state.functions.values():
            function.known_by.pop(worker.name, None)
