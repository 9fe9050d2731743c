"""The changes of a task's state, each of which leaves everything that hangs together consistent.

Covers: counters, queues, links between tasks, messages to clients when a task ends, and freeing unneeded results.
Does not cover: what a worker has (``worker_transitions``), which event leads to which change (``machine``), assigning
(``dispatch``).

Only ``machine`` and its parts call these. Freeing is done last: each method that takes away a need puts the
task on ``release_candidates``, and ``release_candidates_now`` looks at each of them once the event has been dealt with.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from futures_cluster import messages as m
from futures_cluster.messages import FINISHED, Key, Payload
from futures_cluster.scheduler import placement, records, recovery
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
)
from futures_cluster.scheduler.state import State
from futures_cluster.scheduler.worker_transitions import WorkerTransitions


def scheduler_error(kind: str, text: str) -> Payload:
    """Return an error of the scheduler, of the class ``kind`` at the client."""
    return {"kind": kind, "text": text}


def unknown_result(key: Key) -> Payload:
    """Return the error of a result whose task was forgotten."""
    return scheduler_error("DataLost", f"the result of {key!r} is no longer known")


SCATTERED_ADVICE = (
    "scattered data cannot be computed again: use scatter(replicas=2), or submit a function that loads it"
)


class Transitions(WorkerTransitions):
    """Changes the state; a part of the machine."""

    def __init__(self, state: State, outbox: Outbox) -> None:
        super().__init__(state, outbox)
        self._deadlines_limit = 1000

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
        is_forward = False
        for dep in dependencies:
            if dep.serial >= task.serial:
                is_forward = True
            if dep.dependents is None:
                dep.dependents = {}
            dep.dependents[task] = None
            dep.pending_dependents += 1
            dep.cancel_requested = dep.kill_if_started = False
        if unknown is not None:
            text = f"the input {unknown!r} of {task.key!r} is no longer known"
            self.fail(task, scheduler_error("DataLost", text))
        return is_forward

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
        revived = recovery.released_ancestors(task) if released else []
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

    # ---------------------------------------------------------------- ended

    def wake_dependents(self, task: Task) -> None:
        for dependent in task.dependents or ():
            if dependent.state is WAITING:
                dependent.unmet_inputs -= 1
                if not dependent.unmet_inputs:
                    self.make_ready(dependent)

    def inputs_used(self, task: Task) -> None:
        """Release the inputs of a task that has run, for good if it never runs again."""
        for_good = task.has_result
        for dep in task.dependencies:
            dep.pending_dependents -= 1
            if for_good and dep.dependents is not None:
                dep.dependents.pop(task, None)
            if not dep.pending_dependents and not dep.wanted_by:
                self.release_candidates.append(dep)
        if for_good:
            task.dependencies = ()

    def _forget_inputs(self, task: Task, has_run: bool) -> None:
        """Release the inputs of a task that will not run, or not again."""
        for dep in task.dependencies:
            if not has_run:
                dep.pending_dependents -= 1
            if dep.dependents is not None:
                dep.dependents.pop(task, None)
            self.release_candidates.append(dep)
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
            self._forget_inputs(victim, has_run=had_finished)
            self.tell_done(victim, victim.wanted_by)
            self.release_candidates.append(victim)
            stack.extend(dependents)

    def tell_done(self, task: Task, clients: tuple[str, ...]) -> None:
        has_failed = task.state is records.FAILED
        holders = tuple((worker.name, worker.address) for worker in task.holders or ())
        size_bytes = 0 if has_failed else task.size_bytes
        row = (task.key, m.FAILED if has_failed else FINISHED, task.result, size_bytes, holders)
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
            self.outbox.drops.setdefault(worker.name, []).append(task.key)
            if worker.retiring:
                if worker in state.draining:
                    state.draining[worker].pop(task, None)
                self.stop_if_empty(worker)
        task.holders = None
        if state.copying or state.under_replicated:
            self.end_copies(task)

    def abandon_if_given_up(self, task: Task) -> bool:
        """Give up a task that was cancelled while assigned, unless it is needed again.

        What it was cancelled with may have become needed again, and with it the task.

        Returns
        -------
        bool
            Whether that was so.
        """
        if task.cancel_requested and recovery.is_needed(task):
            task.cancel_requested = task.kill_if_started = False
        if task.cancel_requested:
            self.abandon(task)
            return True
        return False

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
        self._forget_inputs(task, has_run=not unfinished)
        if task.options is m.SCATTERED_OPTIONS:
            del self.state.scattered[task]
        self.free_payload(task)
        self.functions.leave(task.function)

    def free_payload(self, task: Task) -> None:
        if type(task.payload) is tuple:  # in shared memory, perhaps
            self.outbox.freed.append(task.payload)
        task.payload = None


class Part:
    """Base of the parts of the machine."""

    def __init__(self, transitions: Transitions) -> None:
        self._transitions = transitions
        self._state = transitions.state
        self._outbox = transitions.outbox
