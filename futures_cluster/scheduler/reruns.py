"""Attempts that end without a result: which of them are ended early, and whether and when the next one begins.

Covers: losing a worker or stopping one, timeouts, retries, counting lost workers, the pause before the next attempt,
the error of the last one. Every way of losing a worker counts (a death, silence, a closed connection) unless the worker
was stopped on purpose: a task that loses workers in any way must end some day.
Does not cover: which tasks an end is counted against (``recovery.suspects``), how long a task pauses that raised
(``backoff``).

The way of a task: its worker is lost -> ``lose_tasks`` -> it waits for its inputs and for the end of the pause ->
``tick`` -> queued again. After its second loss it pauses and runs alone (``records.MAX_DEATHS_BESIDE_OTHERS``), so that
no other task can be blamed for the third. After the first one it runs again at once. A task that raised comes to
``retry_or_fail``, and from there the same way.
"""

from __future__ import annotations

import heapq

from futures_cluster import messages as m
from futures_cluster.messages import Key, Payload
from futures_cluster.scheduler import recovery
from futures_cluster.scheduler.records import MAX_DEATHS_BESIDE_OTHERS, Task, Worker
from futures_cluster.scheduler.transitions import Part, scheduler_error

#: The pause before a task runs alone: what was wrong with the workers may be over by then.
PAUSE_S = 0.5


def _error_of_last(task: Task) -> Payload:
    """Make the error of a task that has lost as many workers as it may."""
    lines = [f"{number}. {loss}" for number, loss in enumerate(task.losses, 1)]
    text = f"{task.key!r} is not run again, because each of its {len(lines)} attempts ended with its worker:\n"
    return scheduler_error("WorkerDied", text + "\n".join(lines))


class Reruns(Part):
    """Ends attempts that brought no result."""

    def retry_or_fail(self, task: Task, error: Payload, now: float, pause_s: float = 0.0) -> None:
        """Run a task again whose attempt has failed, if it has retries left.

        It waits for the pause before.
        """
        if self._transitions.abandon_if_given_up(task):
            return
        if task.retries_left > 0:
            task.retries_left -= 1
            self._run_again(task, now, pause_s)
        else:
            self._transitions.fail(task, error)

    def _run_again(self, task: Task, now: float, pause_s: float, has_run: bool = True) -> None:
        """Let an unassigned task run again, after a pause."""
        if has_run:
            for client in task.wanted_by:
                self._outbox.waiting.setdefault(client, []).append(task.key)
        if pause_s:
            self._state.paused[task] = now + pause_s
            self._transitions.set_deadline(now + pause_s, task)
        self._transitions.start_waiting(task)

    def stop_worker(self, worker: Worker, reason: str, now: float) -> None:
        """Stop a worker for one of its tasks; the others go elsewhere, unblamed.

        Those that must not run twice stay until the worker has ended, and with it the doubt whether they started.
        """
        if worker.killing:
            return
        self._outbox.stops.append(m.StopWorker(worker.name, force=True, reason=reason))
        self._state.event_log.append((now, "worker stopped", worker.name, reason))
        worker.retiring = worker.killing = True
        self.lose_tasks(worker, {}, False, reason, now)
        self._transitions.refresh(worker)

    def lose_tasks(
        self, worker: Worker, executed: dict[Key, None], blame: bool, cause: str, now: float, unsure: bool = False
    ) -> None:
        """Take back all that a lost worker had.

        ``unsure``: more may have started than was said, because the worker has fallen silent. Only what must not run
        twice is treated as if it had.
        """
        orphans = recovery.orphaned(worker)
        for task in list(worker.data.values()):
            self._transitions.unhold(task, worker)
        for task in list(worker.assigned.values()):
            started = task.started or task.key in executed or (unsure and not task.options.rerun)
            doubtful = not (task.options.rerun or started or task.cancel_requested)
            if doubtful and worker.killing and worker.name in self._state.workers:
                continue
            self._transitions.unassign(task, worker)
            if self._transitions.abandon_if_given_up(task):
                continue
            is_counted = blame and task.key in executed
            if is_counted:
                task.losses = (*task.losses, f"on {worker.name}: {cause}")
            if started and not task.options.rerun:
                text = f"the worker that ran {task.key!r} died (it was submitted with rerun=False): {cause}"
                self._transitions.fail(task, scheduler_error("WorkerDied", text))
            elif len(task.losses) >= recovery.MAX_DEATHS:
                self._transitions.fail(task, _error_of_last(task))
            else:
                pauses = is_counted and len(task.losses) >= MAX_DEATHS_BESIDE_OTHERS
                self._run_again(task, now, PAUSE_S if pauses else 0.0, started)
        self._transitions.lost_results(orphans)

    def tick(self, event: m.Tick, now: float) -> None:
        """End the attempts whose time is over, and the pauses."""
        deadlines = self._state.deadlines
        while deadlines and deadlines[0][0] <= now:
            _, key, attempt = heapq.heappop(deadlines)
            task = self._state.tasks.get(key)
            if task is None or task.attempt != attempt:
                continue
            if task in self._state.paused:
                if self._state.paused[task] <= now:  # else it is the deadline of the attempt that has ended
                    self._resume(task)
                continue
            worker = task.worker
            if worker is None:
                continue
            text = f"{key} ran longer than its timeout of {task.options.timeout_s} s"
            self._transitions.unassign(task, worker)
            if worker.killable:
                self.retry_or_fail(task, scheduler_error("TaskTimeout", text), now)
                self.stop_worker(worker, text, now)
            else:
                # A thread cannot be stopped: the slot returns when the function ends, its answer is dropped.
                self._transitions.fail(task, scheduler_error("TaskTimeout", text))

    def _resume(self, task: Task) -> None:
        """End the pause of a task."""
        del self._state.paused[task]
        task.unmet_inputs -= 1
        if not task.unmet_inputs:
            self._transitions.make_ready(task)
