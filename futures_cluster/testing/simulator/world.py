"""The world of a simulation: its clock, network, scheduler and books, without those who live in it.

Covers: the heap of events, which messages arrive where, transfers, what the scheduler is told and answers, what is
counted. Does not cover: what lives (``workers``, ``clients``), what goes wrong (``mishaps``), letting time pass
(``simulation``).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from futures_cluster import clocks
from futures_cluster import messages as m
from futures_cluster.messages import Key, Message
from futures_cluster.scheduler import invariants as scheduler_invariants
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.testing.simulator.checks import Checks
from futures_cluster.testing.simulator.faults import Dice, Faults
from futures_cluster.testing.simulator.network import SCHEDULER, Network, NetworkModel
from futures_cluster.testing.simulator.report import Report
from futures_cluster.testing.simulator.work import Work

NO_FAULTS = Faults()


class SimulatedScheduler(Protocol):
    """What is simulated as scheduler: ``SchedulerMachine``, or something to compare it with."""

    def handle(self, event: Message, now: float) -> list[Any]:
        """Take an event, return commands."""

    def next_deadline(self) -> float | None:
        """Return when a ``Tick`` is due."""


class World:
    """A simulated cluster, as its workers, clients and mishaps see it; the parameters are those of ``Simulation``.

    Attributes
    ----------
    now : float
        Simulated seconds since the start.
    workers, clients : dict
        Those that live, by name.
    executions : dict
        How often each task has started.
    fetches : dict
        Transfers under way: number -> asker, holder, keys.
    mishaps : Mishaps
        What goes wrong.
    """

    mishaps: Any

    def __init__(
        self,
        seed: int = 0,
        work: Callable[[Key, int], Work] = lambda key, execution: Work(),
        *,
        latency_s: float = 1e-4,
        bandwidth_bytes_s: float = 1e9,
        network: NetworkModel | None = None,
        faults: Faults = NO_FAULTS,
        check: int = 0,
        record: bool = False,
        measure: bool = False,
        scheduler: SimulatedScheduler | None = None,
        most_events: int = 500_000_000,
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.work = work
        self.scheduler: Any = SchedulerMachine(str(seed)) if scheduler is None else scheduler
        self.workers: dict[str, Any] = {}
        self.clients: dict[str, Any] = {}
        self.executions: dict[Key, int] = {}
        self.fetches: dict[int, tuple[str, str, list[Key]]] = {}
        self.report = Report(seed)
        self.dice = Dice(faults, seed)
        self.check = check
        self.checks = Checks() if check else None
        model = network or NetworkModel(latency_s, bandwidth_bytes_s=bandwidth_bytes_s)
        self.network = Network(model, self, self._deliver)
        self._most_events = most_events
        self._measure = measure
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._tick_at: float | None = None
        self._digest = hashlib.sha256() if record else None
        self._path_s: dict[Key, float] = {}  # the longest path to the end of each task
        self._held_bytes = 0
        self._incarnations = 0

    def at(self, time_s: float, do: Callable[..., None], *args: Any) -> None:
        """Call something when the clock shows ``time_s``."""
        self._serial += 1
        heapq.heappush(self._heap, (time_s if time_s > self.now else self.now, self._serial, do, args))

    def after(self, delay_s: float, do: Callable[..., None], *args: Any) -> None:
        """Call something after a time."""
        self.at(self.now + delay_s, do, *args)

    def count_work(self, key: Key, dependencies: Iterable[Key], rerun: bool) -> None:
        """Take a submitted task into the lower bound, and into what is checked."""
        report = self.report
        report.tasks += 1
        duration_s = self.work(key, 1).duration_s
        report.work_s += duration_s
        if dependencies:
            path_s = self._path_s
            path_s[key] = duration_s + max([path_s.get(dep) or self.work(dep, 1).duration_s for dep in dependencies])
            duration_s = path_s[key]
        report.path_s = max(report.path_s, duration_s)
        if self.checks is not None:
            self.checks.define(key, dependencies, rerun)

    # ---------------------------------------------------------------- messages

    def send(self, sender: str, receiver: str, message: Message, size_bytes: int = 0) -> None:
        """Put a message onto the network."""
        kind = type(message).__name__
        counts = self.report.messages
        counts[kind] = counts.get(kind, 0) + 1
        if self._digest is not None:
            self._digest.update(f"{self.now!r} {sender} {receiver} {message!r}\n".encode())
        self.network.send(sender, receiver, message, size_bytes, self.dice.extra_delay_s())

    def to_scheduler(self, sender: str, message: Message) -> None:
        """Send something to the scheduler."""
        self.send(sender, SCHEDULER, message)

    def _deliver(self, sender: str, receiver: str, message: Message) -> None:
        if receiver == SCHEDULER:
            self.to_machine(message)
            return
        if isinstance(message, m.Data) and self.fetches.pop(message.request, None) is None:
            return  # it was given up
        worker = self.workers.get(receiver)
        if worker is not None:
            worker.receive(sender, message)
        elif receiver in self.clients:
            self.clients[receiver].receive(sender, message)
        elif not self.mishaps.unreachable(sender, receiver):
            self.refuse(sender, receiver, message)

    def refuse(self, asker: str, holder: str, message: Message) -> None:
        """Refuse a connection to a worker that is gone."""
        if isinstance(message, m.GetData):
            self.send(holder, asker, m.Data(message.request, [], message.keys))
        elif isinstance(message, m.PutData):
            self.send(holder, asker, m.Data(message.request, [], [key for key, _ in message.rows]))

    # ---------------------------------------------------------------- fetches

    def fetch(self, asker: str, holder: str, keys: list[Key]) -> int:
        """Ask a worker for data; the number comes back with the answer."""
        self._serial += 1
        number = self._serial
        self.fetches[number] = (asker, holder, keys)
        if not holder or self.dice.fetch_fails():
            self.after(self.network.model.latency_s, self.fail_fetch, number)
        else:
            self.send(asker, holder, m.GetData(number, keys))
            self.mishaps.watch_fetch(number, asker, holder)
        return number

    def put(self, asker: str, holder: str, rows: list[Any]) -> int:
        """Give rows of key and (size, value) to a worker; the answer has the number."""
        self._serial += 1
        number = self._serial
        self.fetches[number] = (asker, holder, [key for key, _ in rows])
        self.send(asker, holder, m.PutData(number, rows), sum(size for _, (size, _) in rows))
        self.mishaps.watch_fetch(number, asker, holder)
        return number

    def fail_fetch(self, number: int) -> None:
        """Give a fetch up; if its answer comes later it is dropped."""
        fetch = self.fetches.pop(number, None)
        if fetch is None:
            return
        asker, holder, keys = fetch
        receiver = self.workers.get(asker) or self.clients.get(asker)
        if receiver is not None:
            receiver.receive(holder, m.Data(number, [], keys))

    def next_incarnation(self) -> str:
        """Return what tells a worker from all others, also from those that had its name."""
        self._incarnations += 1
        return str(self._incarnations)

    def hold(self, size_bytes: int) -> None:
        """Count bytes that workers hold more, or less."""
        self._held_bytes += size_bytes
        if self._held_bytes > self.report.peak_bytes:
            self.report.peak_bytes = self._held_bytes

    # ---------------------------------------------------------------- the scheduler

    def _handled(self, event: Message) -> list[Any]:
        """Return the machine's answer, by the short way if there is one."""
        machine, commands = self.scheduler, None
        if isinstance(machine, SchedulerMachine):
            commands = machine.lone.handle(event, self.now)
        return machine.handle(event, self.now) if commands is None else commands

    def to_machine(self, event: Message) -> None:
        """Let the scheduler take an event, and send what it answers."""
        machine, report = self.scheduler, self.report
        if isinstance(event, m.WorkerConnected):
            # What was for a former worker of its name went to that one's connection.
            self.network.close_link(SCHEDULER, event.worker)
            worker = self.workers.get(event.worker)
            if worker is not None and worker.incarnation == event.incarnation:
                worker.introduced = True
        if self._measure:
            kind = type(event).__name__
            begin = clocks.perf_counter()
            commands = self._handled(event)
            report.scheduler_s[kind] = report.scheduler_s.get(kind, 0.0) + clocks.perf_counter() - begin
        else:
            commands = self._handled(event)
        if self.checks is not None:
            if report.events % self.check == 0:
                machine.lone.settle()
                scheduler_invariants.check(machine.state)
            self.checks.handled(event, commands)
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
            self.to_machine(m.Tick())

    # ---------------------------------------------------------------- workers come and go

    def remove(self, worker: Any) -> None:
        """Remove a worker, and what it held."""
        del self.workers[worker.name]
        self._held_bytes -= sum(size for size, _ in worker.store.values())

    def crash(self, name: str, deliberate: bool = False, known: bool = True) -> None:
        """Let a worker die; ``known``: its parent can tell what it executed."""
        worker = self.workers.get(name)
        if worker is None:
            return
        self.remove(worker)
        self.report.crashes += not deliberate
        executing = [key for key, _ in worker.machine.executing] if known else None
        if self.checks is not None and known and not deliberate:
            self.checks.died(worker.machine)
        if worker.online or worker.unheard:
            # On the worker's link, because what it said before is heard before.
            self.to_scheduler(name, m.WorkerGone(name, executing, deliberate, "it crashed", worker.unheard))
        self.mishaps.replace(worker)
