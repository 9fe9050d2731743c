"""A cluster under a virtual clock: the real machines, simulated time, network, work and faults.

Covers: what ``services`` and ``wire`` do in production, replaced by a heap of events; a client that checks what it is
told; the report at the end. Does not cover: deciding anything (``scheduler``, ``worker``), real tasks.

The flow. ``Simulation.run`` takes the earliest event from the heap, hands it to whom it concerns, and sends what that
one answers; each message comes back from the heap when it has arrived. Nothing else moves the clock. The same seed
gives the same history, and a failing run names its seed.

Examples
--------
>>> simulation = Simulation(seed=1, work=lambda key, execution: Work(duration_s=0.1))
>>> simulation.add_workers(10)
>>> client = simulation.add_client("me")
>>> client.submit([(f"k{i}", []) for i in range(100)])
>>> report = simulation.run()
>>> report.finished, report.run_again, round(report.lower_bound_s, 3), report.makespan_s < 1.02
(100, 0, 1.0, True)
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import Key, Message
from futures_cluster.scheduler import invariants as scheduler_invariants
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.testing.clients import SimulatedClient
from futures_cluster.testing.faults import Dice, Faults
from futures_cluster.testing.workers import SimulatedWorker, Work

__all__ = ["Faults", "Report", "SimulatedClient", "SimulatedWorker", "Simulation", "Stuck", "Work"]

SCHEDULER = ""
NO_FAULTS = Faults()


class Stuck(AssertionError):
    """Wanted tasks have not ended, and nothing will ever happen any more, or too much has."""


@dataclass(slots=True)
class Report:
    """How a simulation went.

    Attributes
    ----------
    makespan_s : float
        When the clients heard of the last end of a task.
    lower_bound_s : float
        No schedule could be faster: the work divided by the slots that there were at first, or the longest path
        through the dependencies.
    messages : dict
        Messages sent, by type.
    run_again : int
        Tasks that started more than once.
    """

    seed: int
    makespan_s: float = 0.0
    lower_bound_s: float = 0.0
    messages: dict[str, int] = field(default_factory=dict)
    events: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    run_again: int = 0
    crashes: int = 0
    history: str = ""  # a digest of everything that was sent, and when


class Simulation:
    """A cluster that exists only in a heap of events.

    Parameters
    ----------
    seed : int
        Decides the faults; nothing else is random.
    work : callable
        ``work(key, execution)``: what the task does when it is executed for the ``execution``-th time (from 1).
    latency_s : float
        What a message takes.
    bandwidth_bytes_s : float
        Results that are fetched take their size divided by this, too.
    faults : Faults
        What goes wrong.
    check : int
        The invariants of the machine concerned are checked after each ``check``-th event; 0 for never.
    record : bool
        Make the digest of the history.
    most_events : int
        After so many events the simulation is stuck.
    """

    def __init__(
        self,
        seed: int = 0,
        work: Callable[[Key, int], Work] = lambda key, execution: Work(),
        *,
        latency_s: float = 1e-4,
        bandwidth_bytes_s: float = 1e9,
        faults: Faults = NO_FAULTS,
        check: int = 0,
        record: bool = False,
        most_events: int = 50_000_000,
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.work = work
        self.scheduler = SchedulerMachine()
        self.workers: dict[str, SimulatedWorker] = {}  # those that live
        self.clients: dict[str, SimulatedClient] = {}
        self.executions: dict[Key, int] = {}  # how often each task has started
        self.report = Report(seed)
        self.dice = Dice(faults, seed)
        self.check = check
        self._latency_s = latency_s
        self._bandwidth_bytes_s = bandwidth_bytes_s
        self._most_events = most_events
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._links: dict[tuple[str, str], float] = {}  # when the last message on it arrives
        self._tick_at: float | None = None
        self._digest = hashlib.sha256() if record else None
        self._path_s: dict[Key, float] = {}  # the longest path to the end of each task
        self._work_s = 0.0
        self._slots = 0
        self._names = 0

    # ---------------------------------------------------------------- set up

    def add_workers(self, number: int, offers: dict[str, Any] | None = None) -> None:
        """Workers that join now; ``offers`` as for ``add_worker``."""
        for _ in range(number):
            self.add_worker(**(offers or {}))

    def add_worker(self, name: str | None = None, **offers: Any) -> SimulatedWorker:
        """A worker that joins now; ``offers``: slots, killable, resources, most_runs."""
        if name is None:
            self._names += 1
            name = f"w{self._names}"
        worker = self.workers[name] = SimulatedWorker(self, name, **offers)
        worker.join()
        if not self.report.events:
            self._slots += worker.machine.slots
        return worker

    def add_client(self, name: str, keep: bool = False) -> SimulatedClient:
        """A client that joins now; with ``keep`` it does not release what has ended."""
        client = self.clients[name] = SimulatedClient(self, name, keep)
        client.join()
        return client

    def at(self, time_s: float, do: Callable[..., None], *args: Any) -> None:
        """Call something when the clock shows ``time_s``."""
        self._serial += 1
        heapq.heappush(self._heap, (max(time_s, self.now), self._serial, do, args))

    def count_work(self, key: Key, dependencies: Iterable[Key]) -> None:
        """Take a submitted task into the lower bound."""
        duration_s = self.work(key, 1).duration_s
        self._work_s += duration_s
        before_s = max((self._path_s.get(dep, 0.0) for dep in dependencies), default=0.0)
        self._path_s[key] = before_s + duration_s
        self.report.lower_bound_s = max(self.report.lower_bound_s, self._path_s[key])

    # ---------------------------------------------------------------- the network

    def send(self, sender: str, receiver: str, message: Message, size_bytes: int = 0) -> None:
        """Put a message onto a link, where none overtakes another."""
        kind = type(message).__name__
        self.report.messages[kind] = self.report.messages.get(kind, 0) + 1
        arrival = self.now + self._latency_s + self.dice.extra_delay_s() + size_bytes / self._bandwidth_bytes_s
        link = (sender, receiver)
        arrival = self._links[link] = max(arrival, self._links.get(link, 0.0))
        if self._digest is not None:
            self._digest.update(f"{self.now!r} {sender} {receiver} {message!r}\n".encode())
        self.at(arrival, self._deliver, sender, receiver, message)

    def to_scheduler(self, sender: str, message: Message) -> None:
        """Send something to the scheduler."""
        self.send(sender, SCHEDULER, message)

    def next_request(self) -> int:
        """A number for a request for data."""
        self._serial += 1
        return self._serial

    def _deliver(self, sender: str, receiver: str, message: Message) -> None:
        if receiver == SCHEDULER:
            self._to_machine(message)
            return
        worker = self.workers.get(receiver)
        if worker is not None:
            worker.receive(sender, message)
        elif receiver in self.clients:
            self.clients[receiver].receive(sender, message)
        elif isinstance(message, m.GetData):  # nobody there: the asker's connection breaks
            self.send(receiver, sender, m.Data(message.request, [], message.keys))

    # ---------------------------------------------------------------- the scheduler

    def _to_machine(self, event: Message) -> None:
        machine = self.scheduler
        commands = machine.handle(event, self.now)
        if self.check and self.report.events % self.check == 0:
            scheduler_invariants.check(machine.state)
        for command in commands:
            if isinstance(command, m.ToWorker):
                self.send(SCHEDULER, command.worker, command.message)
            elif isinstance(command, m.ToClient):
                self.send(SCHEDULER, command.client, command.message)
            elif isinstance(command, m.StopWorker):
                self.send(SCHEDULER, command.worker, command)
        deadline = machine.next_deadline()
        if deadline is not None and (self._tick_at is None or deadline < self._tick_at):
            self._tick_at = deadline
            self.at(deadline, self._tick, deadline)

    def _tick(self, deadline: float) -> None:
        if self._tick_at == deadline:  # else an earlier one came between
            self._tick_at = None
            self._to_machine(m.Tick())

    # ---------------------------------------------------------------- faults

    def crash(self, name: str, deliberate: bool = False, known: bool = True) -> None:
        """A worker dies; ``known``: somebody can tell what it executed."""
        worker = self.workers.pop(name, None)
        if worker is None:
            return
        self.report.crashes += not deliberate
        executing = [key for key, _ in worker.machine.executing] if known else None
        # On the worker's link, because what it said before is heard before.
        self.to_scheduler(name, m.WorkerLost(name, executing, deliberate, "it crashed"))
        self.replace(worker)

    def replace(self, worker: SimulatedWorker) -> None:
        """A new worker takes the place of one that takes no more tasks."""
        pause_s = self.dice.faults.replace_after_s
        if pause_s is not None and not worker.replaced:
            worker.replaced = True
            self.at(self.now + pause_s, self.add_workers, 1, worker.offers)

    def _crash_any(self) -> None:
        if self.workers:
            self.crash(self.dice.choose(list(self.workers)))
        self._plan_crash()

    def _plan_crash(self) -> None:
        pause_s = self.dice.next_crash_s()
        if pause_s is not None:
            self.at(self.now + pause_s, self._crash_any)

    # ---------------------------------------------------------------- the clock

    def run(self, until_s: float | None = None) -> Report:
        """Let time pass, until nothing is left to happen and all that clients want has ended, or ``until_s``.

        Raises
        ------
        Stuck
            Nothing will happen any more, or too much has happened, and something wanted has not ended.
        AssertionError
            A machine broke its invariants, or a client was told something wrong. A note has the seed.
        """
        if not self.report.events:
            self._plan_crash()
        try:
            self._run(until_s)
        except BaseException as error:
            error.add_note(f"simulation with seed {self.seed}, at {self.now} s, event {self.report.events}")
            raise
        return self._finish_report()

    def _run(self, until_s: float | None) -> None:
        heap, report = self._heap, self.report
        while heap:
            if until_s is not None and heap[0][0] > until_s:
                self.now = until_s
                return
            if len(heap) == 1 and heap[0][2] == self._crash_any and not self._unfinished():
                break  # workers would go on dying and being replaced
            self.now, _, do, args = heapq.heappop(heap)
            report.events += 1
            do(*args)
            if report.events > self._most_events:
                raise Stuck(f"{report.events} events, and no end: {self._unfinished()}")
        if until_s is None and (unfinished := self._unfinished()):
            raise Stuck(f"nothing will happen any more, but these have not ended: {unfinished}")

    def _unfinished(self) -> list[Key]:
        return [key for client in self.clients.values() for key in client.waiting][:10]

    def _finish_report(self) -> Report:
        report = self.report
        if self._slots:
            report.lower_bound_s = max(report.lower_bound_s, self._work_s / self._slots)
        report.run_again = sum(number > 1 for number in self.executions.values())
        if self._digest is not None:
            report.history = self._digest.hexdigest()
        return report


def independent(number: int, prefix: str = "k") -> list[tuple[Key, list[Key]]]:
    """Rows for ``submit``: tasks without inputs."""
    return [(f"{prefix}{i}", []) for i in range(number)]


def binary_tree(leaves: int, prefix: str = "t") -> list[tuple[Key, list[Key]]]:
    """Rows for ``submit``: leaves, and sums of two until one is left, which is the last."""
    rows: list[tuple[Key, list[Key]]] = [(f"{prefix}{i}", []) for i in range(leaves)]
    level = [key for key, _ in rows]
    while len(level) > 1:
        following = []
        for i in range(0, len(level) - 1, 2):
            key = f"{prefix}{len(rows)}"
            rows.append((key, level[i : i + 2]))
            following.append(key)
        level = following + level[len(level) & ~1 :]
    return rows
