"""Tasks that come one by one while nothing else is under way, without books for each.

Covers: a task that finds a free slot while nothing is queued, its small result, and its release: what has to be sent
follows at once. Does not cover: all other events; ``SchedulerMachine.handle`` settles first.

    SubmitTasks  -> ``begin``   -> RunTasks to the worker whose turn it is
    TasksFinished -> ``end``    -> TasksDone to the client
    ReleaseKeys  -> ``release``
    anything else -> ``settle``: the machine's books are as if it had handled each of these events

A program that waits for each result before it makes the next call has thousands of such tasks, and no decision depends
on their records. So there are none before something else happens. ``LoneTasks`` keeps up to date what later decisions
depend on: measured durations, the clients' shares, the order of the workers, and the numbers of attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import messages as m
from futures_cluster.messages import DEFAULT_OPTIONS, FINISHED, Key, Message
from futures_cluster.scheduler.outbox import Command
from futures_cluster.scheduler.queues.shares import Flow
from futures_cluster.scheduler.records import MEMORY, QUEUED, Function, Task, Worker
from futures_cluster.scheduler.state import State

if TYPE_CHECKING:
    from futures_cluster.scheduler.dispatch import Dispatch

#: Results that are kept without a record. Clients release some hundred keys at a time, so a loop never has more.
MAX_ENDED = 2000


class _Series:
    """What lone tasks one after the other have in common, as long as the scheduler hears of nothing else.

    So a task that is like the one before it asks nothing of the machine's state but which worker is next.
    """

    __slots__ = ("client", "depth", "flow", "function", "wanted_by")

    def __init__(self, client: str, wanted_by: tuple[str, ...], function: Function, depth: int, flow: Flow) -> None:
        self.client = client
        self.wanted_by = wanted_by
        self.function = function
        self.depth = depth
        self.flow = flow


#: A task without a record: the row of ``RunTasks`` says the rest.
_Running = tuple[_Series, Worker, tuple[Any, ...], float]  # the last: since when


class LoneTasks:
    """Keeps lone tasks; a part of the machine.

    Attributes
    ----------
    running : tuple or None
        The one that a worker has.
    ended : dict
        Those whose results were sent to their clients, and are not released: (series, row of ``RunTasks``, row of
        ``TasksFinished``).
    is_settled : bool
        Whether the machine's books are complete, so that ``settle`` would change nothing.
    """

    __slots__ = ("_dispatch", "_handlers", "_series", "_state", "ended", "is_settled", "running")

    def __init__(self, state: State, dispatch: Dispatch) -> None:
        self._state = state
        self._dispatch = dispatch
        self._series: _Series | None = None
        self.running: _Running | None = None
        self.ended: dict[Key, tuple[_Series, tuple[Any, ...], tuple[Any, ...]]] = {}
        self.is_settled = True
        self._handlers: dict[type[Message], Callable[[Any, float], list[Command] | None]] = {
            m.SubmitTasks: self.begin,
            m.TasksFinished: self.end,
            m.ReleaseKeys: self.release,
        }

    def handle(self, event: Message, now: float) -> list[Command] | None:
        """Return what ``SchedulerMachine.handle`` would for a lone task's event.

        None if the machine has to handle the event. After this the machine's state may lack such tasks: a caller that
        reads it calls ``settle`` before.
        """
        handler = self._handlers.get(type(event))
        return None if handler is None else handler(event, now)

    def begin(self, event: m.SubmitTasks, now: float) -> list[Command] | None:
        """Send a task that need not be queued.

        None if the machine has to handle the event.
        """
        tasks = event.tasks
        if self.running is not None or len(tasks) != 1:
            return None
        if event.functions or event.wanted is not None or event.calls or event.option_overrides:
            return None
        if event.options is not DEFAULT_OPTIONS and event.options != DEFAULT_OPTIONS:
            return None
        key, function_id, payload, dependencies = tasks[0]
        series = self._series
        if (
            series is None
            or function_id != series.function.id
            or event.client != series.client
            or event.depth != series.depth
        ):
            series = self._begin_series(event.client, function_id, event.depth)
            if series is None:
                return None
        state = self._state
        worker = next(iter(state.with_free_slot))
        if worker.name not in series.function.known_by or dependencies or type(payload) is not bytes:
            return None
        if key in state.tasks or key in self.ended:
            return None
        attempt = state.attempts + 1
        row = (key, attempt, function_id, payload, (0, -event.depth, attempt), (), 0)
        self.running = series, worker, row, now
        return [m.ToWorker(worker.name, m.RunTasks([row]))]

    def _begin_series(self, client: str, function_id: str, depth: int) -> _Series | None:
        """Return the series of a task that need not be queued, or None."""
        state = self._state
        if state.queued or state.saturated or not state.with_free_slot or state.broken is not None:
            return None
        function, wanted_by = state.functions.get(function_id), state.clients.get(client)
        if function is None or wanted_by is None:
            return None
        flow = state.shares.flow(client, (0, -depth))
        self._series = _Series(client, wanted_by, function, depth, flow)
        self.is_settled = False
        return self._series

    def end(self, event: m.TasksFinished, now: float) -> list[Command] | None:
        """Tell the client the small result of the task that runs.

        None for all other tasks, and for errors.
        """
        if self.running is None or event.failed or len(event.finished) != 1:
            return None
        series, worker, row, _ = self.running
        finished = event.finished[0]
        key, attempt, payload, size_bytes, duration_s = finished
        if attempt != row[1] or key != row[0] or payload is None or event.worker != worker.name:
            return None
        self.running = None
        stats = series.function.group
        series.flow.catch_up_and_charge(stats.turn_s)  # as when it is assigned
        stats.measure(duration_s)
        state = self._state
        state.attempts = attempt
        state.accepting.move_to_end(worker)
        state.with_free_slot.move_to_end(worker)
        worker.last_progress_s = now
        worker.recently_stolen_from = False
        self.ended[key] = series, row, finished
        if len(self.ended) > MAX_ENDED:
            self.settle()
        return [m.ToClient(series.client, m.TasksDone([(key, FINISHED, payload, size_bytes, ())]))]

    def release(self, event: m.ReleaseKeys, now: float) -> list[Command] | None:
        """Forget these keys if all are of lone tasks that have ended."""
        ended, client = self.ended, event.client
        for key in event.keys:
            if key not in ended or ended[key][0].client != client:
                return None
        for key in event.keys:
            ended.pop(key, None)  # a key may be there twice
        return []

    def settle(self) -> None:
        """Make the records of all that are left."""
        for series, row, finished in self.ended.values():
            task = self._record(series, row)
            task.state = MEMORY
            task.fire_and_forget = False
            task.attempt = row[1]
            task.payload = None
            _, _, task.result, task.size_bytes, _ = finished
            task.has_result = True
        self.ended = {}
        if self.running is not None:
            (series, worker, row, since_s), self.running = self.running, None
            task = self._record(series, row)
            task.state = QUEUED
            self._dispatch.assign_lone(task, worker, since_s)
        self._series = None  # what follows may change what it knows
        self.is_settled = True

    def _record(self, series: _Series, row: tuple[Any, ...]) -> Task:
        state, function = self._state, series.function
        state.serial += 1
        function.tasks += 1
        task = Task(row[0], function, row[3], DEFAULT_OPTIONS, series.flow, state.serial, series.wanted_by, True)
        state.tasks[row[0]] = task
        return task
