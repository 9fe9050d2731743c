"""Greedy random placement: what the scheduler is compared with.

Covers: a scheduler that gives each ready task to a random worker with a free slot, oldest first, and knows nothing of
data, durations or stealing. It never leaves a slot free while a task is ready, as far as it knows. Does not cover:
failures, options, cancelling: it is for undisturbed simulations only.

``in_advance`` tasks are assigned to each slot beyond the one that runs: then a slot does not wait for the scheduler's
answer, but what is assigned stays there however long it waits.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import FAILED, FINISHED, KEEP, Key, Message


class _Task:
    __slots__ = ("attempt", "dependencies", "dependents", "holders", "missing", "needed", "result", "row", "size_bytes")

    def __init__(self, row: Any, dependencies: list[_Task]) -> None:
        self.row = row
        self.dependencies = dependencies
        self.dependents: list[_Task] = []
        self.missing = 0  # inputs that are not there yet
        self.needed = 0  # the client, if it wants it, and dependents that have not ended
        self.attempt = 0
        self.holders: dict[str, None] | None = None
        self.result: Any = None
        self.size_bytes = 0

    @property
    def done(self) -> bool:
        return self.holders is not None


class RandomScheduler:
    """Stands in for ``SchedulerMachine`` in a ``Simulation``.

    Parameters
    ----------
    seed : int
        Decides the placement.
    in_advance : int
        Tasks for each slot beyond the one that it executes.
    """

    def __init__(self, seed: int = 0, in_advance: int = 0) -> None:
        self._random = random.Random(seed)
        self._in_advance = in_advance
        self._tasks: dict[Key, _Task] = {}
        self._ready: deque[_Task] = deque()
        self._room: dict[str, int] = {}
        self._open: list[str] = []  # workers with room
        self._addresses: dict[str, str] = {}
        self._functions: dict[str, Any] = {}
        self._known: dict[str, dict[str, None]] = {}
        self._slots: dict[str, int] = {}
        self._attempts = 0
        self._runs: dict[str, m.RunTasks] = {}
        self._done: dict[str, list[Any]] = {}
        self._drops: dict[str, list[Key]] = {}
        self._owners: dict[Key, str] = {}
        self._handlers: dict[type[Message], Callable[[Any], None]] = {
            m.SubmitTasks: self._on_submit_tasks,
            m.TasksFinished: self._on_tasks_finished,
            m.ReleaseKeys: self._on_release_keys,
            m.DataAdded: self._on_data_added,
            m.SlotsChanged: self._on_slots_changed,
            m.WorkerConnected: self._on_worker_joined,
        }

    def handle(self, event: Message, now: float) -> list[Any]:
        """Take an event, return commands; ignore unknown events."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)
        self._place()
        commands: list[Any] = [m.ToWorker(name, m.DropData(keys)) for name, keys in self._drops.items()]
        commands += [m.ToWorker(name, message) for name, message in self._runs.items()]
        commands += [m.ToClient(name, m.TasksDone(rows)) for name, rows in self._done.items()]
        self._drops, self._runs, self._done = {}, {}, {}
        return commands

    def next_deadline(self) -> float | None:
        """Return None: it never waits for time to pass."""
        return None

    # ---------------------------------------------------------------- workers

    def _on_worker_joined(self, event: m.WorkerConnected) -> None:
        self._addresses[event.worker] = event.address
        self._known[event.worker] = {}
        self._slots[event.worker] = event.slots
        self._give_room(event.worker, event.slots * (1 + self._in_advance))

    def _on_slots_changed(self, event: m.SlotsChanged) -> None:
        more = event.slots - self._slots[event.worker]
        self._slots[event.worker] = event.slots
        self._give_room(event.worker, more)

    def _give_room(self, worker: str, room: int) -> None:
        before = self._room.get(worker, 0)
        self._room[worker] = before + room
        if before <= 0 < before + room:
            self._open.append(worker)

    def _place(self) -> None:
        ready, candidates = self._ready, self._open
        while ready and candidates:
            i = self._random.randrange(len(candidates))
            worker = candidates[i]
            if self._room[worker] > 0:  # else a lent slot was given back
                self._room[worker] -= 1
                self._assign(ready.popleft(), worker)
            if self._room[worker] <= 0:
                candidates[i] = candidates[-1]
                candidates.pop()

    def _assign(self, task: _Task, worker: str) -> None:
        key, function, payload, _ = task.row
        self._attempts += 1
        task.attempt = self._attempts
        message = self._runs.get(worker)
        if message is None:
            message = self._runs[worker] = m.RunTasks([])
        if function not in self._known[worker]:
            self._known[worker][function] = None
            message.functions.append(self._functions[function])
        inputs = []
        for dep in task.dependencies:
            holders = list(dep.holders or ())
            self._random.shuffle(holders)
            peers = [(name, self._addresses[name]) for name in holders[:4]]
            inputs.append((dep.row[0], dep.size_bytes, dep.result, peers))
        flags = 0 if key in self._owners else KEEP
        message.runs.append((key, task.attempt, function, payload, (0, 0, task.attempt), inputs, flags))

    # ---------------------------------------------------------------- tasks

    def _on_submit_tasks(self, event: m.SubmitTasks) -> None:
        for function in event.functions:
            self._functions[function[0]] = function
        wanted = None if event.wanted is None else dict.fromkeys(event.wanted)
        added = []
        for row in event.tasks:
            task = self._tasks[row[0]] = _Task(row, [])
            added.append(task)
            if wanted is None or row[0] in wanted:
                task.needed = 1
                self._owners[row[0]] = event.client
        for task in added:
            task.dependencies = [self._tasks[key] for key in task.row[3]]
            for dep in task.dependencies:
                dep.dependents.append(task)
                dep.needed += 1
                task.missing += not dep.done
            if not task.missing:
                self._ready.append(task)

    def _on_tasks_finished(self, event: m.TasksFinished) -> None:
        for key, _, payload, size_bytes, _ in event.finished:
            task = self._tasks[key]
            task.result, task.size_bytes = payload, size_bytes
            task.holders = {} if payload is not None else {event.worker: None}
            peers = [(name, self._addresses[name]) for name in task.holders]
            self._ended(task, (key, FINISHED, payload, size_bytes, peers))
            for dependent in task.dependents:
                dependent.missing -= 1
                if not dependent.missing:
                    self._ready.append(dependent)
        for key, _, error, _ in event.failed:
            self._tasks[key].holders = {}
            self._ended(self._tasks[key], (key, FAILED, error, 0, ()))
        self._give_room(event.worker, len(event.finished) + len(event.failed))

    def _ended(self, task: _Task, row: Any) -> None:
        if row[0] in self._owners:
            self._done.setdefault(self._owners[row[0]], []).append(row)
        for dep in task.dependencies:
            dep.needed -= 1
            self._free(dep)
        self._free(task)

    def _on_release_keys(self, event: m.ReleaseKeys) -> None:
        for key in event.keys:
            task = self._tasks.get(key)
            if task is not None and self._owners.pop(key, None) is not None:
                task.needed -= 1
                self._free(task)

    def _on_data_added(self, event: m.DataAdded) -> None:
        for key in event.keys:
            task = self._tasks.get(key)
            if task is not None and task.holders is not None:
                task.holders[event.worker] = None
            else:
                self._drops.setdefault(event.worker, []).append(key)

    def _free(self, task: _Task) -> None:
        if task.done and not task.needed and self._tasks.pop(task.row[0], None) is not None:
            for worker in task.holders or ():
                self._drops.setdefault(worker, []).append(task.row[0])
