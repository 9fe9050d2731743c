"""A client of the simulator: it submits, cancels and releases, and checks what it hears.

Covers: what ``services.client.client`` does in production, the promise that nothing is reported twice, and that results
are right. The client may submit its tasks again, if the faults say so.
Does not cover: time and the network (``simulation``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import CANCELLED, FAILED, FINISHED, Key, Message, Payload, TaskOptions
from futures_cluster.testing.simulator.checks import value_of
from futures_cluster.testing.simulator.world import World

#: Maximum number of tasks in a message.
BATCH = 1000


class SimulatedClient:
    """One client; made by ``Simulation.add_client``.

    Attributes
    ----------
    waiting : dict of str
        Keys that are wanted and have not ended.
    outcomes : dict
        How each ended, by key: "finished", "failed" or "cancelled"; the last one, if the key came more than once.
    errors : dict
        The errors of those that failed.
    running : dict of str
        Keys that were reported as running.
    """

    def __init__(self, simulation: World, name: str, keep: bool = False) -> None:
        self.name = name
        self.keep = keep
        self.waiting: dict[Key, None] = {}
        self.outcomes: dict[Key, str] = {}
        self.errors: dict[Key, Payload] = {}
        self.running: dict[Key, None] = {}
        self.holders: dict[Key, list[Any]] = {}  # of results that stayed on workers
        self._held: dict[Key, None] = {}  # keys it has futures of
        self._known: dict[Key, None] = {}  # keys it ever had futures of
        self._resubmitted: dict[Key, None] = {}  # what was said of their former selves may be under way
        self._may_come_again: dict[Key, int] = {}  # how often reported as missing, or as being recomputed
        self._fetching: dict[int, tuple[Key, str]] = {}
        self._putting: dict[int, m.ScatterData] = {}
        self._simulation = simulation
        self.left = False

    def join(self) -> None:
        """Tell the scheduler."""
        self._tell(m.ClientJoined(self.name))

    def _tell(self, message: Message) -> None:
        self._simulation.to_scheduler(self.name, message)

    def submit(
        self,
        rows: Iterable[tuple[Key, list[Key]]],
        options: TaskOptions = m.DEFAULT_OPTIONS,
        wanted: list[Key] | None = None,
        function: str | Callable[[Key], str] = "f",
    ) -> None:
        """Submit tasks (key, keys of inputs); ``wanted`` as in ``SubmitTasks``.

        ``function`` names the function of all of them, or of each key.
        """
        assert not self.left
        tasks: list[Any] = []
        for key, dependencies in rows:
            if key in self._held:
                continue  # the same future once more
            self._simulation.count_work(key, dependencies, options.rerun)
            tasks.append((key, function if isinstance(function, str) else function(key), b"arguments", dependencies))
            if wanted is None:
                self._want(key)
        for key in wanted or ():
            self._count_again(key, key in self._held)
            self._want(key)
        size = BATCH if wanted is None else max(1, len(tasks))  # a graph comes in one piece
        for i in range(0, len(tasks), size):
            rows_sent = tasks[i : i + size]
            functions = [(name, name, b"code") for name in dict.fromkeys(row[1] for row in rows_sent)]
            calls = [(key, f"{name} of {dependencies}") for key, name, _, dependencies in rows_sent]
            message = m.SubmitTasks(self.name, rows_sent, functions, options, 0, wanted, calls=calls)
            self._tell(message)
            if options.rerun and self._simulation.dice.repeats():
                self._tell(message)
                for key in wanted if wanted is not None else [row[0] for row in rows_sent]:
                    self._count_again(key, 2)  # the usual report, and one for the repetition

    def adopt(self, key: Key) -> None:
        """Get a future of a key that came here by its name."""
        if key not in self._held:
            self._count_again(key, 1)
            self._want(key)
            self._tell(m.SubmitTasks(self.name, [(key, "", None, [])]))

    def _want(self, key: Key) -> None:
        if key in self._held:
            return
        if key in self._known:
            self._resubmitted[key] = None
        self._held[key] = self._known[key] = None
        self.waiting[key] = None

    def cancel(self, keys: list[Key], force: bool = False) -> None:
        """Cancel those which have not ended."""
        unfinished = [key for key in keys if key in self.waiting]
        for key in unfinished:
            self._ended(key, CANCELLED)
            self._held.pop(key, None)
        if unfinished:
            self._tell(m.CancelTasks(self.name, unfinished, force))

    def release(self, keys: list[Key]) -> None:
        """Drop the futures."""
        mine = [key for key in keys if key in self._held]
        for key in mine:
            del self._held[key]
            self.waiting.pop(key, None)
            self.holders.pop(key, None)
        if mine:
            self._tell(m.ReleaseKeys(self.name, mine))

    def release_all(self) -> None:
        """Drop all futures, and forget all functions."""
        self.release(list(self._held))
        self._tell(m.ReleaseFunctions(self.name, list(self._simulation.scheduler.state.functions)))

    def leave(self) -> None:
        """End the client's process."""
        self.left = True
        self._held, self.waiting = {}, {}
        self._tell(m.ClientLeft(self.name))

    def fetch(self, key: Key) -> None:
        """Get a result from the first worker that holds it."""
        holders = self.holders.get(key)
        if holders:
            number = self._simulation.fetch(self.name, holders[0][0], [key])
            self._fetching[number] = (key, holders[0][0])

    def scatter(self, keys: list[Key], worker: str, size_bytes: int, replicas: int = 1) -> None:
        """Put data onto a worker, and tell the scheduler once it is there."""
        checks = self._simulation.checks
        rows = []
        for key in keys:
            assert key not in self._held
            if checks is not None:
                checks.define(key, (), rerun=True)
            rows.append((key, (size_bytes, value_of(key, ()))))
            self._want(key)
        number = self._simulation.put(self.name, worker, rows)
        self._putting[number] = m.ScatterData(self.name, [(key, size_bytes, worker) for key in keys], replicas)

    def _put(self, scattered: m.ScatterData, missing: list[Key]) -> None:
        self._tell(scattered)
        for key in missing:  # refused, or without an answer, and perhaps there: so the scheduler knows nevertheless
            if key in self.waiting:
                self._ended(key, FAILED)
            self._held.pop(key, None)
        unwanted = [row[0] for row in scattered.rows if row[0] not in self._held]
        if unwanted:  # or released meanwhile
            self._tell(m.ReleaseKeys(self.name, unwanted))

    def receive(self, sender: str, message: Message) -> None:
        """Take a message."""
        if self.left:
            return
        if isinstance(message, m.TasksDone):
            self._done(message.done)
        elif isinstance(message, m.TasksRunning):
            self.running.update(dict.fromkeys(message.keys))
        elif isinstance(message, m.TasksWaiting):
            for key in message.keys:
                self.running.pop(key, None)
        elif isinstance(message, m.TasksRecomputing):
            for key in message.keys:
                if key in self._held:
                    finished = key not in self.waiting or key in self._resubmitted
                    assert finished, f"{key} is recomputed, but had not finished"
                    self._count_again(key, 1)
                    self.waiting[key] = None
        elif isinstance(message, m.Data) and message.request in self._putting:
            self._put(self._putting.pop(message.request), message.missing)
        elif isinstance(message, m.Data):
            key, holder = self._fetching.pop(message.request)
            if message.found and self._simulation.checks is not None:
                self._simulation.checks.right(key, message.found[0][1][1])
            if message.missing and key in self._held:
                self._count_again(key, 1)
                self._tell(m.ReportMissing(self.name, [(key, holder)]))

    def _done(self, rows: list[Any]) -> None:
        ended = []
        for key, outcome, payload, _, holders in rows:
            if key not in self._held:
                continue  # released or cancelled while the message was under way
            if key not in self.waiting and key not in self._resubmitted:
                twice = f"{key} is reported twice: {self.outcomes.get(key)}, {outcome}"
                assert self._may_come_again.get(key, 0) > 0, twice
            self._count_again(key, -1)
            self._ended(key, outcome)
            if outcome == FAILED:
                self.errors[key] = payload
            elif outcome == FINISHED and payload is None:
                assert holders, f"{key} has no holders"
                self.holders[key] = list(holders)
            elif outcome == FINISHED and self._simulation.checks is not None:
                self._simulation.checks.right(key, int(payload))
            ended.append(key)
        if not self.keep:
            self.release(ended)

    def _count_again(self, key: Key, change: int) -> None:
        self._may_come_again[key] = max(0, self._may_come_again.get(key, 0) + change)

    def _ended(self, key: Key, outcome: str) -> None:
        self.waiting.pop(key, None)
        if key not in self.outcomes:
            report = self._simulation.report
            report.finished += outcome == FINISHED
            report.failed += outcome == FAILED
            report.cancelled += outcome == CANCELLED
        self.outcomes[key] = outcome
        self._simulation.report.makespan_s = self._simulation.now
