"""Carries out the faults of a simulation.

Covers: what a crash, a lost host, a partition, a stuck worker look like to the others, and a worker that comes
back after its connection was given up. Does not cover: when they happen (``faults``), held messages (``network``).

The way of a silence: a partition begins -> messages are held -> after ``silence_s`` the scheduler gives the connection
up (``WorkerLost``, deliberate) and its end is closed -> the worker notices, at the latest when it could send again,
drops all that it had, and joins as a new incarnation once the scheduler is to be reached. If the partition heals
before, the messages arrive and nothing else happens. A stuck worker is the same without a partition. After a reset the
worker is first to notice.
"""

from __future__ import annotations

from futures_cluster import messages as m
from futures_cluster.testing.simulator.faults import KINDS
from futures_cluster.testing.simulator.network import SCHEDULER, Partition
from futures_cluster.testing.simulator.workers import SimulatedWorker
from futures_cluster.testing.simulator.world import World

#: A worker that has lost its connection is killed after this time.
HUNG_UP_S = 0.01
#: What a worker that was stuck takes to read what came meanwhile.
READING_S = 1e-6


class Mishaps:
    """What goes wrong in one simulation; tests call the methods themselves, too.

    Attributes
    ----------
    planned : int
        How many events of the simulation's heap only begin further faults.
    """

    def __init__(self, simulation: World) -> None:
        self.planned = 0
        self._simulation = simulation
        self._dice = simulation.dice
        self._silence_s = simulation.dice.faults.silence_s
        self._half_open: dict[
            str, None
        ] = {}  # workers that have lost a connection which the scheduler still believes in
        self._vanished: dict[str, None] = {}  # workers whose hosts are gone, and refuse no connections

    # ---------------------------------------------------------------- from time to time

    def plan(self) -> None:
        """Begin, with every kind of fault."""
        for kind in KINDS:
            self._plan(kind)

    def _plan(self, kind: str) -> None:
        pause_s = self._dice.next_s(kind)
        if pause_s is not None:
            self.planned += 1
            self._simulation.at(self._simulation.now + pause_s, self._happen, kind)

    def _happen(self, kind: str) -> None:
        self.planned -= 1
        simulation, dice = self._simulation, self._dice
        workers = list(simulation.workers)
        if kind == "vanish":
            clients = [name for name, client in simulation.clients.items() if not client.left]
            if clients:
                simulation.report.mishaps += 1
                simulation.clients[dice.choose(kind, clients)].leave()
        elif workers:
            simulation.report.mishaps += kind != "crash"
            if kind == "crash":
                simulation.crash(dice.choose(kind, workers))
            elif kind == "host":
                self.lose_host(simulation.network.host(dice.choose(kind, workers)))
            elif kind == "stuck":
                self.hang(dice.choose(kind, workers), dice.stuck_s())
            elif kind == "busy":
                self.hold_up(dice.choose(kind, workers), dice.busy_s())
            elif kind == "restart":
                self.restart(dice.choose(kind, workers))
            elif kind == "reset":
                self.reset(dice.choose(kind, workers), dice.resets_unnoticed())
            elif kind == "retire":
                self.retire(dice.choose(kind, workers), dice.retires_itself())
            elif kind == "partition":
                names, scheduler, peers, seconds = dice.partition(workers)
                self.cut_off(names, seconds, scheduler, peers)
        self._plan(kind)

    def retire(self, name: str, itself: bool = False) -> None:
        """Retire a worker that has run its maximum (``itself``), or that a user retires."""
        if itself:
            self._simulation.workers[name].retire()
        else:
            self._simulation.to_machine(m.RetireWorkers([name]))

    # ---------------------------------------------------------------- hosts

    def lose_host(self, host: str) -> None:
        """Lose a host with all its workers at once, without a report."""
        simulation = self._simulation
        for worker in list(simulation.workers.values()):
            if simulation.network.host(worker.name) != host:
                continue
            self._vanished[worker.name] = None
            simulation.remove(worker)
            if worker.online or worker.unheard:
                simulation.at(simulation.now + self._silence_s, self._give_up, worker.name)
            simulation.replace(worker)
        simulation.at(simulation.now + self._silence_s, self._give_up_fetches)

    # ---------------------------------------------------------------- partitions

    def cut_off(self, names: list[str], seconds: float, scheduler: bool = True, peers: bool = True) -> None:
        """Cut workers off from the scheduler, workers and clients for a time."""
        simulation = self._simulation
        partition = Partition(names, scheduler, peers)
        simulation.network.cut(partition)
        simulation.at(simulation.now + seconds, self._heal, partition)
        if scheduler:
            simulation.at(simulation.now + self._silence_s, self._give_up_silent, partition, simulation.now)
        if peers:
            simulation.at(simulation.now + self._silence_s, self._give_up_fetches)

    def _give_up_silent(self, partition: Partition, since_s: float) -> None:
        for name in partition.names:
            if self._simulation.network.is_cut(name, SCHEDULER, since_s):
                self._give_up(name)

    def _heal(self, partition: Partition) -> None:
        simulation = self._simulation
        simulation.network.heal(partition)
        for name in partition.names:
            worker = simulation.workers.get(name)
            if worker is not None and not worker.online:  # what it sends now is refused
                self._notice(worker)

    def _give_up(self, name: str) -> None:
        """Let the scheduler drop a worker that was silent for too long."""
        simulation = self._simulation
        worker = simulation.workers.get(name)
        if worker is not None:
            if not worker.online:
                return
            worker.online = False
            simulation.at(simulation.now + self._dice.noticed_s(), self._notice, worker)
        simulation.network.close(name, SCHEDULER)
        simulation.to_machine(m.WorkerGone(name, None, False, f"silent for {self._silence_s} s", unheard=True))

    def _notice(self, worker: SimulatedWorker) -> None:
        """End a worker that finds its connection gone."""
        simulation = self._simulation
        if not worker.alive or worker.online:
            return
        if worker.stuck_until_s > simulation.now:
            simulation.at(worker.stuck_until_s, self._notice, worker)
            return
        simulation.remove(worker)
        self._join(worker, simulation.reborn(worker))

    def _join(self, former: SimulatedWorker, worker: SimulatedWorker) -> None:
        simulation = self._simulation
        if not worker.alive:
            return
        if simulation.network.is_cut(worker.name, SCHEDULER):
            simulation.at(simulation.now + self._silence_s / 2, self._join, former, worker)
            return
        worker.online = True
        worker.join()
        self._half_open.pop(worker.name, None)
        if former.last_report is not None and self._dice.repeats():
            simulation.to_scheduler(worker.name, former.last_report)

    def reset(self, name: str, unnoticed: bool = False) -> None:
        """Break the connection of a worker, which notices at once and joins again.

        ``unnoticed``: the scheduler learns it from the worker that joins under a name which it has already.
        """
        simulation = self._simulation
        worker = simulation.workers[name]
        if not worker.online or worker.stuck_until_s > simulation.now:
            return
        worker.online = False
        simulation.network.close(name, SCHEDULER)
        self._half_open[name] = None
        if unnoticed:
            simulation.at(simulation.now + self._silence_s, self._hear_of_reset, name)
        else:
            self._hear_of_reset(name)
        self._notice(worker)

    def lose_connection(self, name: str) -> None:
        """Close a worker's connection by a task, until its parent kills it."""
        simulation = self._simulation
        worker = simulation.workers[name]
        if worker.online:
            worker.online, worker.unheard = False, True
            simulation.at(simulation.now + HUNG_UP_S, self._kill_unheard, worker)

    def _kill_unheard(self, worker: SimulatedWorker) -> None:
        if worker.alive:
            self._simulation.crash(worker.name)

    def restart(self, name: str) -> None:
        """Restart a worker, which joins at once under its name."""
        simulation = self._simulation
        worker = simulation.workers[name]
        if not worker.online or worker.stuck_until_s > simulation.now:
            return
        worker.replaced = True
        simulation.crash(name)
        successor = simulation.reborn(worker)
        successor.online = True
        successor.join()

    def _hear_of_reset(self, name: str) -> None:
        if name in self._half_open:
            del self._half_open[name]
            self._simulation.to_machine(m.WorkerGone(name, None, False, "its connection broke", unheard=True))

    # ---------------------------------------------------------------- stuck workers

    def hold_up(self, name: str, seconds: float) -> None:
        """Let a task hold up its worker, whose manager knows that the process lives."""
        simulation = self._simulation
        worker = simulation.workers[name]
        if worker.stuck_until_s > simulation.now or not worker.online:
            return
        worker.stuck_since_s, worker.stuck_until_s = simulation.now, simulation.now + seconds
        simulation.at(simulation.now + self._silence_s, self._fall_silent, worker, simulation.now)
        simulation.at(simulation.now + self._silence_s, self._give_up_fetches)

    def _fall_silent(self, worker: SimulatedWorker, since_s: float) -> None:
        simulation = self._simulation
        if worker.alive and worker.online and worker.stuck_until_s > simulation.now and worker.stuck_since_s == since_s:
            simulation.to_machine(m.WorkerSilent(worker.name))
            simulation.at(worker.stuck_until_s, self._speak_again, worker)

    def _speak_again(self, worker: SimulatedWorker) -> None:
        if worker.alive and worker.online and worker.stuck_until_s <= self._simulation.now:
            self._simulation.to_machine(m.WorkerSilent(worker.name, False))

    def hang(self, name: str, seconds: float) -> None:
        """Stop a worker's process for a time: it neither computes nor reads nor writes."""
        simulation = self._simulation
        worker = simulation.workers[name]
        if worker.stuck_until_s <= simulation.now:
            worker.stuck_since_s = simulation.now
        worker.stuck_until_s = max(worker.stuck_until_s, simulation.now + seconds)
        simulation.at(simulation.now + self._silence_s, self._give_up_stuck, worker, simulation.now)
        simulation.at(simulation.now + self._silence_s, self._give_up_fetches)
        # It reads what had arrived before it finds that the connection is closed.
        simulation.at(worker.stuck_until_s + READING_S, self._notice, worker)

    def _give_up_stuck(self, worker: SimulatedWorker, since_s: float) -> None:
        if worker.alive and worker.stuck_until_s > self._simulation.now and worker.stuck_since_s <= since_s:
            self._give_up(worker.name)

    # ---------------------------------------------------------------- fetches

    def unreachable(self, asker: str, holder: str) -> bool:
        """Return whether a peer would not answer, and not refuse either."""
        simulation = self._simulation
        if holder in self._vanished or simulation.network.is_cut(asker, holder):
            return True
        worker = simulation.workers.get(holder)
        return worker is not None and worker.stuck_until_s > simulation.now

    def watch_fetch(self, number: int, asker: str, holder: str) -> None:
        """Give up a fetch that has begun if its holder is gone."""
        if self.unreachable(asker, holder):
            self._simulation.at(self._simulation.now + self._silence_s, self._give_up_fetch, number)

    def _give_up_fetch(self, number: int) -> None:
        fetch = self._simulation.fetches.get(number)
        if fetch is not None and self.unreachable(fetch[0], fetch[1]):
            self._simulation.fail_fetch(number)

    def _give_up_fetches(self) -> None:
        for number in list(self._simulation.fetches):
            self._give_up_fetch(number)
