"""Tasks that come one by one while nothing else is under way, without books for each.

Covers: a task that finds a free slot while nothing is queued, its small result, and its release: what has to be sent
follows at once. Does not cover: all other events; ``SchedulerMachine.handle`` settles first.

    SubmitTasks  -> ``begin``   -> RunTasks to the worker whose turn it is
    TasksFinished -> ``end``    -> TasksDone to the client
    ReleaseKeys  -> ``release``
    anything else -> ``settle``: the machine's books are as if it had handled each of these events

A program that waits for each result before it makes the next call has thousands of such tasks, and no decision depends
on their records. So there are none before something else happens. What later decisions do depend on is kept up to date:
measured durations, the clients' shares, the order of the workers, and the numbers of attempts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from futures_cluster import messages as m
from futures_cluster.messages import DEFAULT_OPTIONS, FINISHED, Key, Message, Payload
from futures_cluster.scheduler.outbox import Command
from futures_cluster.scheduler.records import MEMORY, QUEUED, Function, Task, Worker
from futures_cluster.scheduler.state import State

if TYPE_CHECKING:
    from futures_cluster.scheduler.dispatch import Dispatch

#: Results that are kept without a record. Clients release some hundred keys at a time, so a loop never has more.
MAX_ENDED = 2000


class _Lone:
    """A task without a record."""

    __slots__ = (
        "attempt",
        "depth",
        "function",
        "key",
        "payload",
        "result",
        "since_s",
        "size_bytes",
        "wanted_by",
        "worker",
    )

    def __init__(
        self,
        key: Key,
        function: Function,
        payload: Payload,
        wanted_by: tuple[str, ...],
        depth: int,
        worker: Worker,
        attempt: int,
        since_s: float,
    ) -> None:
        self.key = key
        self.function = function
        self.payload = payload
        self.wanted_by = wanted_by
        self.depth = depth
        self.worker = worker
        self.attempt = attempt
        self.since_s = since_s
        self.result: Payload = None
        self.size_bytes = 0


class LoneTasks:
    """Keeps lone tasks; a part of the machine.

    Attributes
    ----------
    running : _Lone or None
        The one that a worker has.
    ended : dict
        Those whose results were sent to their clients, and are not released.
    """

    __slots__ = ("_dispatch", "_state", "ended", "running")

    def __init__(self, state: State, dispatch: Dispatch) -> None:
        self._state = state
        self._dispatch = dispatch
        self.running: _Lone | None = None
        self.ended: dict[Key, _Lone] = {}

    def handle(self, event: Message, now: float) -> list[Command] | None:
        """What ``SchedulerMachine.handle`` would return, if the event is about a lone task; None if it is to handle it.

        After this the machine's state may lack such tasks: whoever reads it calls ``settle`` before.
        """
        kind = type(event)
        command: Command | None = None
        if kind is m.SubmitTasks:
            command = self.begin(event, now)  # type: ignore[arg-type]
        elif kind is m.TasksFinished:
            command = self.end(event, now)  # type: ignore[arg-type]
        elif kind is m.ReleaseKeys:
            return [] if self.release(event) else None  # type: ignore[arg-type]
        return None if command is None else [command]

    def begin(self, event: m.SubmitTasks, now: float) -> m.ToWorker | None:
        """The command for a task that need not be queued; None if the event has to be handled as others are."""
        state = self._state
        if (
            self.running is not None
            or state.queued
            or state.saturated
            or not state.with_free_slot
            or len(event.tasks) != 1
        ):
            return None
        if (
            event.functions
            or event.wanted is not None
            or event.calls
            or event.option_overrides
            or state.broken is not None
        ):
            return None
        if event.options is not DEFAULT_OPTIONS and event.options != DEFAULT_OPTIONS:
            return None
        key, function_id, payload, dependencies = event.tasks[0]
        function, wanted_by = state.functions.get(function_id), state.clients.get(event.client)
        worker = next(iter(state.with_free_slot))
        if function is None or wanted_by is None or worker.name not in function.known_by:
            return None
        if dependencies or type(payload) is not bytes or key in state.tasks or key in self.ended:
            return None
        attempt = state.attempts + 1
        self.running = _Lone(key, function, payload, wanted_by, event.depth, worker, attempt, now)
        row = (key, attempt, function_id, payload, (0, -event.depth, attempt), (), 0)
        return m.ToWorker(worker.name, m.RunTasks([row]))

    def end(self, event: m.TasksFinished, now: float) -> m.ToClient | None:
        """The command for the small result of the task that runs; None for all others, and for errors."""
        lone, state = self.running, self._state
        if lone is None or event.failed or len(event.finished) != 1 or event.worker != lone.worker.name:
            return None
        key, attempt, payload, size_bytes, duration_s = event.finished[0]
        if attempt != lone.attempt or key != lone.key or payload is None:
            return None
        self.running = None
        self._count(lone)
        state.attempts = attempt
        worker = lone.worker
        state.accepting.move_to_end(worker)
        state.with_free_slot.move_to_end(worker)
        worker.last_progress_s = now
        worker.recently_stolen_from = False
        lone.function.group.measure(duration_s)
        lone.result, lone.size_bytes = payload, size_bytes
        self.ended[key] = lone
        if len(self.ended) > MAX_ENDED:
            self.settle()
        return m.ToClient(lone.wanted_by[0], m.TasksDone([(key, FINISHED, payload, size_bytes, ())]))

    def release(self, event: m.ReleaseKeys) -> bool:
        """Whether all these keys are of lone tasks that have ended; then nothing of them is left."""
        ended, client = self.ended, event.client
        for key in event.keys:
            lone = ended.get(key)
            if lone is None or lone.wanted_by[0] != client:
                return False
        for key in event.keys:
            ended.pop(key, None)  # a key may be there twice
        return True

    def settle(self) -> None:
        """Make the records of all that are left."""
        for lone in self.ended.values():
            task = self._record(lone)
            task.state = MEMORY
            task.fire_and_forget = False
            task.attempt = lone.attempt
            task.payload = None
            task.result, task.size_bytes = lone.result, lone.size_bytes
            task.has_result = True
        self.ended = {}
        if self.running is not None:
            running, self.running = self.running, None
            task = self._record(running)
            task.state = QUEUED
            self._dispatch.commit_lone(task, running.worker, running.since_s)

    def _record(self, lone: _Lone) -> Task:
        state, function = self._state, lone.function
        state.serial += 1
        function.tasks += 1
        lane = state.shares.flow(lone.wanted_by[0], (0, -lone.depth))
        task = Task(lone.key, function, lone.payload, DEFAULT_OPTIONS, lane, state.serial, lone.wanted_by, True)
        state.tasks[lone.key] = task
        return task

    def _count(self, lone: _Lone) -> None:
        """Charge the client for the task, as when it is committed."""
        lane = self._state.shares.flow(lone.wanted_by[0], (0, -lone.depth))
        lane.catch_up()
        lane.charge(lone.function.group.turn_s)
