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
>>> from futures_cluster.testing.simulator import Simulation, Work
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

import functools
import heapq
from typing import Any

from futures_cluster.messages import Key
from futures_cluster.testing.simulator.clients import SimulatedClient
from futures_cluster.testing.simulator.mishaps import Mishaps
from futures_cluster.testing.simulator.report import Report
from futures_cluster.testing.simulator.workers import Offers, SimulatedWorker
from futures_cluster.testing.simulator.world import World


class Stuck(AssertionError):
    """Wanted tasks have not ended, and no events are left, or too many have happened."""


class Simulation(World):
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

    workers: dict[str, SimulatedWorker]
    clients: dict[str, SimulatedClient]
    _names = 0

    @functools.cached_property
    def mishaps(self) -> Mishaps:
        """What goes wrong."""
        return Mishaps(self, self.add_worker)

    # ---------------------------------------------------------------- set up

    def add_workers(self, number: int, offers: dict[str, Any] | None = None, per_host: int = 0) -> None:
        """Add workers, ``per_host`` on a host; ``offers`` as for ``add_worker``."""
        for _ in range(number):
            place = {"host": f"host{self._names // per_host}"} if per_host else {}
            self.add_worker(**{**(offers or {}), **place})

    def add_worker(self, name: str | None = None, **offers: Any) -> SimulatedWorker:
        """Add a worker that joins now; ``offers`` are slots, resources, host, speed, ..."""
        if name is None:
            self._names += 1
            name = f"w{self._names}"
        worker = self.workers[name] = SimulatedWorker(self, name, Offers(**{"speed": self.dice.speed(), **offers}))
        if worker.offers.host:
            self.network.hosts[name] = worker.offers.host
        worker.join()
        if not self.report.events:
            self.report.slots += worker.machine.slots
        return worker

    def add_client(self, name: str, keep: bool = False) -> SimulatedClient:
        """Add a client that joins now; with ``keep`` it does not release results."""
        client = self.clients[name] = SimulatedClient(self, name, keep)
        client.join()
        return client

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
        report.lower_bound_s = max(report.path_s, report.spread_s)
        report.run_again = sum(number > 1 for number in self.executions.values())
        if self._digest is not None:
            report.history = self._digest.hexdigest()
        return report
