"""The scheduler: the one entry that changes its state.

Covers: what each event does to tasks, workers and clients, and the commands that follow.
Does not cover: how the state stays consistent (``transitions``), adding new tasks (``submissions``), assigning tasks
to workers (``dispatch``), where results are held and copied to (``replication``), attempts that end without a result
(``reruns``), choosing workers (``placement``), what to take from busy ones (``stealing``), sending and timing
(``services.scheduler.service``).

Rules. ``handle(event, now)`` is the only way in. It never raises for what a peer said: an event about a task
or worker that is no longer known is old news, and dropped. The outbox collects the commands for each receiver, so
that one event, however large its batch, makes at most one message of a kind for each.

The way of a task: SubmitTasks -> waiting or queued -> (``dispatch``) assigned -> TasksFinished -> memory ->
the last future goes -> released, as long as something made of it might have to be made again -> forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import CANCELLED, FINISHED, AttemptRow, Message
from futures_cluster.scheduler import recovery
from futures_cluster.scheduler.backoff import backoff_s
from futures_cluster.scheduler.dispatch import Dispatch
from futures_cluster.scheduler.lone import LoneTasks
from futures_cluster.scheduler.outbox import Command, Outbox
from futures_cluster.scheduler.records import ASSIGNED, FORGOTTEN, MEMORY, UNFINISHED, Task, Worker
from futures_cluster.scheduler.repeats import Repeats
from futures_cluster.scheduler.replication import Copies
from futures_cluster.scheduler.reruns import Reruns
from futures_cluster.scheduler.shared import channel as channel  # registers itself
from futures_cluster.scheduler.shared.objects import SharedObjects
from futures_cluster.scheduler.shared.pins import Pins
from futures_cluster.scheduler.state import SHARED, State
from futures_cluster.scheduler.submissions import Submissions
from futures_cluster.scheduler.transitions import Transitions


class SchedulerMachine:
    """Decides what runs where.

    Parameters
    ----------
    seed : str
        What random parts of decisions follow from.

    Examples
    --------
    >>> machine = SchedulerMachine()
    >>> _ = machine.handle(m.ClientJoined("c"), 0.0)
    >>> _ = machine.handle(m.WorkerConnected("w", "inproc://w"), 0.0)
    >>> machine.handle(m.SubmitTasks("c", [("k", "f", b"args", [])], [("f", "name", b"code")]), 0.0)
    ... # doctest: +ELLIPSIS
    [ToWorker(worker='w', message=RunTasks(runs=[('k', 1, 'f', b'args', (0, 0, 1), (), 0)], ...
    """

    def __init__(self, seed: str = "") -> None:
        self.state = State()
        self._outbox = Outbox()
        self._transitions = Transitions(self.state, self._outbox)
        self._dispatch = Dispatch(self._transitions)
        self._repeats = Repeats(self._transitions)
        self._submissions = Submissions(self._transitions, self._dispatch, self._repeats)
        self._reruns = Reruns(self._transitions)
        self._copies = Copies(self._transitions, self._repeats)
        self._holds = Pins(self._transitions)
        self.shared = SharedObjects(self._holds, self.state, self._outbox.reply)
        self.lone = LoneTasks(self.state, self._dispatch)
        self._seed = seed
        self._handlers: dict[type[Message], Callable[[Any, float], None]] = {
            m.SubmitTasks: self._submissions.submit,
            m.ReleaseKeys: self._on_release_keys,
            m.CancelTasks: self._on_cancel_tasks,
            m.ReleaseFunctions: self._on_release_functions,
            m.ScatterData: self._copies.scatter,
            m.RetireWorkers: self._copies.retire,
            m.ReportMissing: self._copies.report_missing,
            m.WorkerConnected: self._on_worker_joined,
            m.WorkerGone: self._on_worker_lost,
            m.WorkersBroken: self._on_workers_broken,
            m.ClientJoined: self._on_client_joined,
            m.ClientLeft: lambda event, now: self._forget_client(event.client),
            m.Tick: self._reruns.tick,
            m.DeclareLimits: lambda event, now: self.state.limits.declare(event.limits),
            m.AskShared: self._on_ask_shared,
            m.WithdrawShared: lambda event, now: self.shared.withdraw(event),
            m.SharedTaken: lambda event, now: self.shared.taken(event),
            m.WorkerReport: lambda event, now: None,  # for people only
        }
        # Events of workers, which are old news if the worker is not known; they get its record.
        self._worker_handlers: dict[type[Message], Callable[[Worker, Any, float], None]] = {
            m.TasksFinished: self._on_tasks_finished,
            m.TasksStarted: self._on_tasks_started,
            m.TasksReturned: self._on_tasks_returned,
            m.DataAdded: self._copies.data_added,
            m.SlotsChanged: self._on_slots_changed,
            m.WorkerRetiring: self._on_worker_retiring,
            m.WorkerSilent: self._on_worker_silent,
        }

    # ---------------------------------------------------------------- the entry

    def handle(self, event: Message, now: float) -> list[Command]:
        """Take one event; return what has to be sent or stopped.

        Parameters
        ----------
        event : Message
            From a client, a worker, or the clock.
        now : float
            Seconds on a monotonic clock.
        """
        if not self.lone.is_settled:
            self.lone.settle()
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event, now)
        elif (worker := self.state.workers.get(event.worker)) is not None:  # type: ignore[attr-defined]
            self._worker_handlers[type(event)](worker, event, now)
        if self._transitions.release_candidates:
            self._transitions.release_candidates_now()
        state = self.state
        while state.dirty_replicas or state.copies_due or state.draining:
            self._copies.run()
            if self._transitions.release_candidates:
                self._transitions.release_candidates_now()
            elif not (state.dirty_replicas or state.copies_due):
                break
        self._dispatch.run(now)
        if self._holds.is_used:
            self._holds.drop_news()
        return self._outbox.collect()

    def next_deadline(self) -> float | None:
        """Return when a ``Tick`` is due; None if nothing waits for time to pass."""
        deadline = self.state.deadlines[0][0] if self.state.deadlines else None
        if self._dispatch.steal_at is None:
            return deadline
        return self._dispatch.steal_at if deadline is None else min(deadline, self._dispatch.steal_at)

    # ---------------------------------------------------------------- clients

    def _on_client_joined(self, event: m.ClientJoined, now: float) -> None:
        if event.client != SHARED:
            self.state.clients[event.client] = (event.client,)

    def _forget_client(self, name: str) -> None:
        self._transitions.client_left(name, cancel=True)
        self.shared.client_left(name)
        self._repeats.client_left(name)

    def _on_ask_shared(self, event: m.AskShared, now: float) -> None:
        if event.client in self.state.clients:
            self.shared.ask(event, now)

    def _on_release_keys(self, event: m.ReleaseKeys, now: float) -> None:
        tasks, calls = self.state.tasks, self.state.calls
        client = event.client
        if self.state.refused:
            self._repeats.released(client, event.keys)
        alone = (client,)
        for key in event.keys:
            task = tasks.get(key)
            if task is None:
                continue
            # Usually: one client, a small result, nothing made of it.
            if task.state is MEMORY and task.has_result and not task.dependents and task.wanted_by == alone:
                del tasks[key]
                if calls:
                    calls.pop(key, None)
                task.state = FORGOTTEN
                task.wanted_by = ()
                function = task.function
                function.tasks -= 1
                if not function.tasks:
                    self._transitions.functions.forget_unused(function)
            elif task.wanted_by == alone:
                task.wanted_by = ()
                self._transitions.release_candidates.append(task)
            else:
                self._transitions.drop_reference(task, client)

    def _on_cancel_tasks(self, event: m.CancelTasks, now: float) -> None:
        if self.state.refused:
            self._repeats.released(event.client, event.keys)
        for key in event.keys:
            task = self.state.tasks.get(key)
            if task is None or event.client not in task.wanted_by:
                continue
            alone = len(task.wanted_by) == 1 and not self._transitions.others_need(task, event.client)
            if alone and task.state in UNFINISHED:
                self._cancel(task, event.force, event.client, now)
            else:
                self._transitions.drop_reference(task, event.client)

    def _cancel(self, task: Task, force: bool, client: str, now: float) -> None:
        """Cancel a task and what needs its result, and tell all clients but ``client``."""
        stack = [task]
        while stack:
            victim = stack.pop()
            if victim.state not in UNFINISHED:
                continue
            stack.extend(victim.dependents or ())
            told = tuple(name for name in victim.wanted_by if not (victim is task and name == client))
            for name in told:
                self._outbox.done.setdefault(name, []).append((victim.key, CANCELLED, None, 0, ()))
            victim.wanted_by = ()
            victim.fire_and_forget = False
            if victim.state is ASSIGNED:
                self._transitions.ask_back(victim, unwanted=True)
                if force and victim is task and victim.worker is not None and victim.worker.killable:
                    if victim.started:
                        self._reruns.stop_worker(victim.worker, f"{task.key} was cancelled while it ran", now)
                    else:
                        victim.kill_if_started = True
            self._transitions.release_candidates.append(victim)

    def _on_release_functions(self, event: m.ReleaseFunctions, now: float) -> None:
        for function_id in event.functions:
            function = self.state.functions.get(function_id)
            if function is not None:
                self._transitions.functions.release(function, event.client)

    # ---------------------------------------------------------------- workers

    def _on_worker_joined(self, event: m.WorkerConnected, now: float) -> None:
        if event.worker in self.state.workers:  # it has lost its connection, and all it had
            self._on_worker_lost(m.WorkerGone(event.worker, cause="it joined again", unheard=True), now)
        worker = Worker(event)
        worker.last_progress_s = now
        self.state.event_log.append((now, "worker joined", event.worker))
        self._transitions.add_worker(worker)
        self.state.copies_due = bool(self.state.under_replicated)

    def _on_slots_changed(self, worker: Worker, event: m.SlotsChanged, now: float) -> None:
        more = event.slots > worker.slots
        worker.slots = event.slots
        if more:
            worker.recently_stolen_from = False
            worker.last_progress_s = now
            if self.state.queued:
                self._dispatch.make_room(worker)
        self._transitions.refresh(worker)

    def _attempts(self, worker: Worker, rows: list[AttemptRow]) -> Iterator[Task]:
        """Yield the tasks of these attempts that the worker still has."""
        for key, attempt in rows:
            task = self.state.tasks.get(key)
            if task is not None and task.attempt == attempt and task.worker is worker:
                yield task

    def _on_tasks_started(self, worker: Worker, event: m.TasksStarted, now: float) -> None:
        for task in self._attempts(worker, event.runs):
            task.started = True
            task.since_s = now
            for client in task.wanted_by:
                self._outbox.running.setdefault(client, []).append(task.key)
            if task.options.timeout_s is not None:
                self._transitions.set_deadline(now + task.options.timeout_s, task)
            if task.kill_if_started:
                self._reruns.stop_worker(worker, f"{task.key} was cancelled while it ran", now)

    def _on_tasks_finished(self, worker: Worker, event: m.TasksFinished, now: float) -> None:
        state = self.state
        holders: tuple[tuple[str, str], ...]
        tasks, assigned, all_done = state.tasks, worker.assigned, self._outbox.done
        worker.last_progress_s = now
        worker.recently_stolen_from = False
        for key, attempt, payload, size_bytes, duration_s in event.finished:
            task = tasks.get(key)
            if task is None or task.attempt != attempt or task.worker is not worker:
                if payload is None and (task is None or worker not in (task.holders or ())):
                    self._outbox.drops.setdefault(worker.name, []).append(key)  # the result of an old attempt
                continue
            del assigned[key]
            worker.occupancy_s -= task.expected_s
            task.function.group.measure(duration_s)
            task.worker = None
            task.state = MEMORY
            task.fire_and_forget = False
            task.size_bytes = size_bytes
            if task.options is not m.DEFAULT_OPTIONS or worker.exclusive_task is not None:
                self._transitions.give_back(task, worker)
            if payload is None:
                task.losses = ()  # it may have to run again, but has not lost this worker
                task.holders = {worker: None}
                worker.data[key] = task
                worker.held_bytes += size_bytes
                if state.draining:
                    state.dirty_replicas[task] = None
                holders = worker.only_holder
            else:
                task.result = payload
                task.has_result = True
                if type(task.payload) is tuple:
                    self._outbox.freed.append(task.payload)
                task.payload = None  # never needed again
                holders = ()
            if task.dependencies:
                self._transitions.inputs_used(task)
            if task.cancel_requested:
                task.cancel_requested = task.kill_if_started = False
                self._transitions.release_candidates.append(task)
            for client in task.wanted_by:
                done = all_done.get(client)
                if done is None:
                    done = all_done[client] = []
                done.append((key, FINISHED, payload, size_bytes, holders))
            if task.dependents:
                self._transitions.wake_dependents(task)
            if not task.wanted_by:
                self._transitions.release_candidates.append(task)
        for key, attempt, error, _ in event.failed:
            task = tasks.get(key)
            if task is None or task.attempt != attempt or task.worker is not worker:
                continue
            task.function.group.failed += 1
            self._transitions.unassign(task, worker)
            retry = task.options.retries - task.retries_left + 1
            self._reruns.retry_or_fail(task, error, now, backoff_s(task.options, key, retry, self._seed))
        self._transitions.refresh(worker)

    def _on_tasks_returned(self, worker: Worker, event: m.TasksReturned, now: float) -> None:
        self.state.pending_steals_s.pop(worker, None)
        for task in self._attempts(worker, event.returned):
            self._transitions.unassign(task, worker)
            if not self._transitions.abandon_if_given_up(task):
                self.state.moved += 1
                self._transitions.start_waiting(task)
        for task in self._attempts(worker, event.refused):
            task.retracting = False
            if task.kill_if_started:
                self._reruns.stop_worker(worker, f"{task.key} was cancelled while it ran", now)
        self._transitions.refresh(worker)

    def _on_worker_retiring(self, worker: Worker, event: m.WorkerRetiring, now: float) -> None:
        if event.hands_over:
            self._copies.retire(m.RetireWorkers([worker.name]), now)
        else:
            worker.keeps_place = True
            self._transitions.retire(worker)
            self._transitions.refresh(worker)

    def _on_worker_silent(self, worker: Worker, event: m.WorkerSilent, now: float) -> None:
        """Keep what a silent worker may run, and send the rest elsewhere.

        A timeout or force can still stop a task that is said to run; the worker itself answers nothing.
        """
        if worker.killing:
            return
        worker.silent = event.silent
        if event.silent:
            running = recovery.suspects(worker, None, unheard=True)
            begun = [worker.assigned[key] for key in running if not worker.assigned[key].started]
            rows = [(task.key, task.attempt) for task in begun]
            self._on_tasks_started(worker, m.TasksStarted(worker.name, rows), now)
            for task in [task for key, task in worker.assigned.items() if key not in running and task.options.rerun]:
                self._transitions.ask_back(task, unwanted=task.cancel_requested)
                self._transitions.unassign(task, worker)
                if not self._transitions.abandon_if_given_up(task):
                    self._transitions.start_waiting(task)
        self._transitions.refresh(worker)

    def _on_workers_broken(self, event: m.WorkersBroken, now: float) -> None:
        self.state.broken = event.error
        for task in list(self.state.tasks.values()):
            if task.state in UNFINISHED:
                self._transitions.fail(task, event.error)

    def _on_worker_lost(self, event: m.WorkerGone, now: float) -> None:
        worker = self.state.workers.get(event.worker)
        if worker is None:  # it was stopped, or had nothing left; its own client may have come later
            self._forget_client(event.worker)
            return
        self.state.event_log.append((now, "worker lost", event.worker, event.cause))
        executed = recovery.suspects(worker, event.executing, event.unheard)
        unsure = event.unheard or event.executing is None
        self._transitions.remove_worker(worker)
        self._reruns.lose_tasks(worker, executed, not event.deliberate, event.cause, now, unsure)
        self._forget_client(worker.name)
