"""The changes of what a worker has, each of which leaves everything that hangs together consistent.

Covers: taking tasks back from a worker, the results that it holds and copies, its place in the lists of workers with
room, joining and leaving. Does not cover: what becomes of the tasks (``transitions``), giving a worker tasks
(``dispatch``), which data moves where (``replication``).
"""

from __future__ import annotations

from futures_cluster import messages as m
from futures_cluster.scheduler import placement
from futures_cluster.scheduler.client_references import ClientReferences
from futures_cluster.scheduler.records import Task, Worker


class WorkerTransitions(ClientReferences):
    """The part of ``Transitions`` about workers."""

    # ---------------------------------------------------------------- its tasks

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
            self.outbox.returns.setdefault(task.worker.name, []).append((task.key, task.attempt))

    def end_reservation(self, task: Task) -> None:
        """Release the worker that was being emptied for the task."""
        worker = self.state.reserved.pop(task, None)
        if worker is not None and worker.exclusive_task is task:
            worker.exclusive_task = None
            self.refresh(worker)

    # ---------------------------------------------------------------- its data

    def hold(self, task: Task, worker: Worker) -> None:
        """Record one more holder of the result."""
        state = self.state
        if task.holders is not None and worker not in task.holders:
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
            self.outbox.drops.setdefault(worker.name, []).append(task.key)

    # ---------------------------------------------------------------- its place in the lists

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
        self.client_left(worker.name, cancel=worker.killing)

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
