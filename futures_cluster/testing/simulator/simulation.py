"""A cluster under a virtual clock: the real machines, simulated time, network, work and faults.

Covers: what ``services`` and ``wire`` do in production, replaced by a heap of events; which processes live, and which
messages they get. Does not cover: deciding anything (``scheduler``, ``worker``), real tasks, how long messages take
(``network``), what goes wrong (``faults``, ``mishaps``), whether all is right (``checks``, besides the invariants of
the machines).

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

The command line runs one of the ``workloads``:

    python -m futures_cluster.testing.simulator --workload tree --workers 100 --tasks 10000 --faults crashes --seed 3
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
from futures_cluster.services.launch.restart_policy import RestartPolicy
from futures_cluster.testing.simulator.checks import Checks
from futures_cluster.testing.simulator.clients import SimulatedClient
from futures_cluster.testing.simulator.faults import Dice, Faults
from futures_cluster.testing.simulator.mishaps import Mishaps
from futures_cluster.testing.simulator.network import SCHEDULER, Network, NetworkModel
from futures_cluster.testing.simulator.report import Report
from futures_cluster.testing.simulator.work import Work
from futures_cluster.testing.simulator.workers import SimulatedWorker
from futures_cluster.testing.simulator.workloads import binary_tree, independent

__all__ = [
    "Faults",
    "NetworkModel",
    "Report",
    "SimulatedClient",
    "SimulatedWorker",
    "Simulation",
    "Stuck",
    "Work",
    "binary_tree",
    "independent",
]

NO_FAULTS = Faults()


class Stuck(AssertionError):
    """Wanted tasks have not ended, and no events are left, or too many have happened."""


class SimulatedScheduler(Protocol):
    """What is simulated as scheduler: ``SchedulerMachine``, or something to compare it with."""

    def handle(self, event: Message, now: float) -> list[Any]:
        """Take an event, return commands."""

    def next_deadline(self) -> float | None:
        """Return when a ``Tick`` is due."""


class Simulation:
    """A cluster that exists only in a heap of events.

    Parameters
    ----------
    seed : int
        Decides the faults and the jitter of the network; nothing else is random.
    work : callable
        ``work(key, execution)``: what the task does when it is executed for the ``execution``-th time (from 1).
    latency_s, bandwidth_bytes_s : float
        Of the network, if ``network`` does not say more.
    network : NetworkModel or None
        How fast the network is.
    faults : Faults
        What goes wrong.
    check : int
        The invariants of the machine concerned are checked after each ``check``-th event, and everything of ``checks``
        always; 0 for neither.
    record : bool
        Make the digest of the history.
    measure : bool
        Measure the real time that the scheduler takes.
    scheduler : SimulatedScheduler or None
        Another one than the real machine; not with ``check``.
    most_events : int
        Number of events after which the simulation is stuck.
    """

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
        self.workers: dict[str, SimulatedWorker] = {}  # those that live
        self.clients: dict[str, SimulatedClient] = {}
        self.executions: dict[Key, int] = {}  # how often each task has started
        self.fetches: dict[int, tuple[str, str, list[Key]]] = {}  # under way: number -> asker, holder, keys
        self.report = Report(seed)
        self.dice = Dice(faults, seed)
        self.check = check
        self.checks = Checks() if check else None
        if network is None:
            network = NetworkModel(latency_s, bandwidth_bytes_s=bandwidth_bytes_s)
        self.network = Network(network, self, self._deliver)
        self.mishaps = Mishaps(self)
        self._most_events = most_events
        self._measure = measure
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._tick_at: float | None = None
        self._digest = hashlib.sha256() if record else None
        self._path_s: dict[Key, float] = {}  # the longest path to the end of each task
        self._held_bytes = 0
        self._names = 0
        self._replacements = 0
        self._restarts = RestartPolicy()
        self._incarnations = 0

    # ---------------------------------------------------------------- set up

    def add_workers(self, number: int, offers: dict[str, Any] | None = None, per_host: int = 0) -> None:
        """Add workers, ``per_host`` on a host; ``offers`` as for ``add_worker``."""
        for i in range(number):
            place = {"host": f"host{self._names // per_host}"} if per_host and i >= 0 else {}
            self.add_worker(**{**(offers or {}), **place})

    def add_worker(self, name: str | None = None, **offers: Any) -> SimulatedWorker:
        """Add a worker that joins now; ``offers`` are slots, resources, host, speed, ..."""
        if name is None:
            self._names += 1
            name = f"w{self._names}"
        offers.setdefault("speed", self.dice.speed())
        worker = self.workers[name] = SimulatedWorker(self, name, **offers)
        if offers.get("host"):
            self.network.hosts[name] = offers["host"]
        worker.join()
        if not self.report.events:
            self.report.slots += worker.machine.slots
        return worker

    def add_client(self, name: str, keep: bool = False) -> SimulatedClient:
        """Add a client that joins now; with ``keep`` it does not release results."""
        client = self.clients[name] = SimulatedClient(self, name, keep)
        client.join()
        return client

    def at(self, time_s: float, do: Callable[..., None], *args: Any) -> None:
        """Call something when the clock shows ``time_s``."""
        self._serial += 1
        heapq.heappush(self._heap, (time_s if time_s > self.now else self.now, self._serial, do, args))

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
            self.at(self.now + self.network.model.latency_s, self.fail_fetch, number)
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

    def remove(self, worker: SimulatedWorker) -> None:
        """Remove a worker, and what it held."""
        del self.workers[worker.name]
        self._held_bytes -= sum(worker.store.values())

    def reborn(self, former: SimulatedWorker) -> SimulatedWorker:
        """Make a removed worker again, empty, under its old name, not joined yet."""
        worker = self.workers[former.name] = SimulatedWorker(self, former.name, **former.offers)
        worker.online = False
        return worker

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
        self.replace(worker)

    def replace(self, worker: SimulatedWorker) -> None:
        """Replace a worker that takes no more tasks."""
        pause_s = self.dice.faults.replace_after_s
        if pause_s is not None and not worker.replaced:
            worker.replaced = True
            self._replacements += 1
            name = f"{m.place_of(worker.name)}~{self._replacements}"
            self.at(self.now + pause_s, self._start, worker.offers, name)

    def _start(self, offers: dict[str, Any], name: str | None = None) -> None:
        """Start a new worker, at once or after the pause of a failed start."""
        restarts = self._restarts
        if self.now >= restarts.next_s:
            if not self.dice.start_fails():
                restarts.succeeded()
                self.add_worker(name, **offers)
                return
            restarts.failed(self.now, self.now)
        self.at(restarts.next_s, self._start, offers, name)

    # ---------------------------------------------------------------- the clock

    def run(self, until_s: float | None = None) -> Report:
        """Let time pass until all has ended, or until ``until_s``.

        Raises
        ------
        Stuck
            If no events are left, or too many have happened, and a wanted task has not ended.
        AssertionError
            If a machine broke its invariants, or a client got a wrong result. A note has the seed.
        """
        if not self.report.events:
            self.mishaps.plan()
        try:
            self._run(until_s)
        except BaseException as error:
            error.add_note(f"simulation with seed {self.seed}, at {self.now} s, event {self.report.events}")
            raise
        return self._finish_report()

    def _run(self, until_s: float | None) -> None:
        heap, report, mishaps = self._heap, self.report, self.mishaps
        pop, most_events = heapq.heappop, self._most_events
        while heap:
            if until_s is not None and heap[0][0] > until_s:
                self.now = until_s
                return
            if len(heap) == mishaps.planned and not self._unfinished():
                break  # workers would go on dying and being replaced
            self.now, _, do, args = pop(heap)
            report.events += 1
            do(*args)
            if report.events > most_events:
                raise Stuck(f"{report.events} events, and no end: {self._unfinished()}")
        if until_s is None and (unfinished := self._unfinished()):
            raise Stuck(f"no event is left, but these tasks have not ended: {unfinished}")

    def _unfinished(self) -> list[Key]:
        return [key for client in self.clients.values() for key in client.waiting][:10]

    def _finish_report(self) -> Report:
        report = self.report
        report.lower_bound_s = max(report.path_s, report.work_s / report.slots if report.slots else 0.0)
        report.run_again = sum(number > 1 for number in self.executions.values())
        if self._digest is not None:
            report.history = self._digest.hexdigest()
        return report
