"""What must be true in every simulation, whatever goes wrong; looked at while it runs.

Covers: right results (the value of a task follows from its key and its inputs' values, and is compared with what a
sequential computation gives), answers of old attempts, tasks blamed without guilt.
Does not cover: the invariants of the machines (``scheduler.invariants``, ``worker.invariants``), what a client may be
told twice (``clients``), hanging (``simulation.Stuck``).

The checks do not rely on the machines' own books: they compare messages alone.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from futures_cluster import messages as m
from futures_cluster.messages import FAILED, FINISHED, Key, Message
from futures_cluster.scheduler.recovery import MAX_DEATHS

if TYPE_CHECKING:
    from futures_cluster.worker.machine import WorkerMachine


def value_of(key: Key, inputs: Iterable[int]) -> int:
    """Return what the simulated function computes."""
    return zlib.crc32(" ".join(map(str, inputs)).encode(), zlib.crc32(key.encode()))


class Checks:
    """Follows the messages of one simulation; each method raises AssertionError with the key at fault."""

    def __init__(self) -> None:
        self._inputs: dict[Key, tuple[Key, ...] | None] = {}  # None: submitted with different inputs
        self._rerun: dict[Key, bool] = {}
        self._values: dict[Key, int | None] = {}  # computed when asked for
        self._assigned: dict[Key, tuple[str, int]] = {}  # unanswered: worker, attempt
        self._deaths: Counter[Key] = Counter()  # how often a worker died while it executed the task
        self._lost: Counter[Key] = Counter()  # how often a worker was lost that it was assigned to
        self._made: dict[Key, None] = {}  # keys that workers made for what their tasks submit

    def define(self, key: Key, dependencies: Iterable[Key], rerun: bool) -> None:
        """Take note of a submitted task."""
        inputs = tuple(dict.fromkeys(dependencies))
        if self._inputs.setdefault(key, inputs) != inputs:
            self._inputs[key] = None
            self._values.clear()
        self._rerun[key] = rerun and self._rerun.get(key, True)

    def made(self, key: Key) -> None:
        """Check that no other worker, nor a former one, has made the same key."""
        assert key not in self._made, f"the key {key} comes again"
        self._made[key] = None

    # ---------------------------------------------------------------- values

    def expected(self, key: Key) -> int | None:
        """Return the right result; None if the key was used for different tasks."""
        values = self._values
        stack = [key]
        opened: dict[Key, None] = {}
        while stack:
            last = stack[-1]
            if last in values:
                stack.pop()
                continue
            inputs = self._inputs.get(last)
            unknown = [dep for dep in inputs or () if dep not in values]
            if inputs is None or (unknown and last in opened):  # or it needs itself
                values[last] = None
                continue
            if unknown:
                opened[last] = None
                stack.extend(unknown)
                continue
            given = [value for dep in inputs if (value := values[dep]) is not None]
            values[last] = value_of(last, given) if len(given) == len(inputs) else None
        return values[key]

    def right(self, key: Key, value: int) -> None:
        """Check a result that a client has got."""
        expected = self.expected(key)
        assert expected is None or value == expected, f"{key}: {value} instead of {expected}"

    # ---------------------------------------------------------------- attempts and blame

    def handled(self, event: Message, commands: list[Any]) -> None:
        """Check the scheduler after an event."""
        if isinstance(event, m.TasksFinished):
            self._finished(event, commands)
        elif isinstance(event, (m.WorkerGone, m.WorkerConnected)):  # one that joins has nothing of what it had before
            unknown = isinstance(event, m.WorkerConnected) or (
                not event.deliberate and (event.executing is None or event.unheard)
            )
            for key in self._count_lost(event.worker):
                del self._assigned[key]
                if unknown:  # then the scheduler may suspect any of them
                    self._deaths[key] += 1
        for command in commands:
            if isinstance(command, m.StopWorker):
                self._count_lost(command.worker)  # it may still answer
            elif isinstance(command, m.ToWorker) and isinstance(command.message, m.RunTasks):
                for row in command.message.runs:
                    self._assigned[row[0]] = (command.worker, row[1])
            elif isinstance(command, m.ToClient) and isinstance(command.message, m.TasksDone):
                for key, outcome, payload, _, _ in command.message.done:
                    if outcome == FAILED and isinstance(payload, dict) and payload["kind"] == "WorkerDied":
                        self._blamed(key)

    def _finished(self, event: m.TasksFinished, commands: list[Any]) -> None:
        told = {
            row[0]
            for command in commands
            if isinstance(command, m.ToClient) and isinstance(command.message, m.TasksDone)
            for row in command.message.done
            if row[1] == FINISHED
        }
        rows = event.finished
        current = {key for key, attempt, *_ in rows if self._assigned.get(key) == (event.worker, attempt)}
        for key, attempt, *_ in rows:
            assert key not in told or key in current, f"the answer of an old attempt at {key} was used: {attempt}"
        for key in current:
            del self._assigned[key]

    def _count_lost(self, worker: str) -> list[Key]:
        keys = [key for key, (name, _) in self._assigned.items() if name == worker]
        self._lost.update(keys)
        return keys

    def died(self, machine: WorkerMachine) -> None:
        """Take note that a worker has died by itself, and that an exit report will come."""
        self._deaths.update({key for key, _ in machine.executing})

    def _blamed(self, key: Key) -> None:
        if key not in self._rerun:
            return
        guilty = self._deaths[key] >= MAX_DEATHS or (not self._rerun[key] and self._lost[key])
        inherited = self.expected(key) is None or self._inputs[key]
        assert guilty or inherited, f"{key} is blamed for the death of workers, of {self._deaths[key]} rightly"
