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

from collections.abc import Callable

from futures_cluster import messages as m
from futures_cluster.services.launch.restart_policy import RestartPolicy
from futures_cluster.testing.simulator.faults import KINDS
from futures_cluster.testing.simulator.network import SCHEDULER, Partition
from futures_cluster.testing.simulator.workers import Offers, SimulatedWorker
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

    def __init__(self, simulation: World, add_worker: Callable[..., object]) -> None:
        self.planned = 0
        self._simulation = simulation
        self._add_worker = add_worker
        self._dice = dice = simulation.dice
        self._silence_s = dice.faults.silence_s
        #: Workers that have lost a connection which the scheduler still believes in.
        self._half_open: dict[str, None] = {}
        self._vanished: dict[str, None] = {}  # workers whose hosts are gone, and refuse no connections
        #: What begins a fault that concerns one worker or client.
        self._begin: dict[str, Callable[[str], None]] = {
            "crash": simulation.crash,
            "host": lambda name: self.lose_host(simulation.network.host(name)),
            "stuck": lambda name: self.hang(name, dice.stuck_s("stuck")),
            "busy": lambda name: self.hold_up(name, dice.stuck_s("busy")),
            "restart": self.restart,
            "reset": lambda name: self.reset(name, unnoticed=dice.tosses("reset")),
            "retire": lambda name: self.retire(name, itself=dice.tosses("retire")),
            "vanish": lambda name: simulation.clients[name].leave(),
        }
        self._restarts = RestartPolicy()
        self._replacements = 0

    # ---------------------------------------------------------------- from time to time

    def plan(self) -> None:
        """Begin, with every kind of fault."""
        for kind in KINDS:
            self._plan(kind)

    def _plan(self, kind: str) -> None:
        pause_s = self._dice.next_s(kind)
        if pause_s is not None:
            self.planned += 1
            self._simulation.after(pause_s, self._happen, kind)

    def _happen(self, kind: str) -> None:
        self.planned -= 1
        simulation, dice = self._simulation, self._dice
        names = list(simulation.workers)
        if kind == "vanish":
            names = [name for name, client in simulation.clients.items() if not client.left]
        if names:
            simulation.report.mishaps += kind != "crash"
            if kind == "partition":
                self.cut_off(*dice.partition(names))
            else:
                self._begin[kind](dice.choose(kind, names))
        self._plan(kind)

    def retire(self, name: str, itself: bool = False) -> None:
        """Retire a worker that has run its maximum (``itself``), or that a user retires."""
        if itself:
            self._simulation.workers[name].retire()
        else:
            self._simulation.to_machine(m.RetireWorkers([name]))

    # ---------------------------------------------------------------- others in the places of workers

    def replace(self, worker: SimulatedWorker) -> None:
        """Replace a worker that takes no more tasks."""
        pause_s = self._dice.faults.replace_after_s
        if pause_s is not None and not worker.replaced:
            worker.replaced = True
            self._replacements += 1
            name = f"{m.place_of(worker.name)}~{self._replacements}"
            self._simulation.after(pause_s, self._start, worker.offers, name)

    def _start(self, offers: Offers, name: str) -> None:
        """Start a new worker, at once or after the pause of a failed start."""
        restarts, now = self._restarts, self._simulation.now
        if now >= restarts.next_s:
            if not self._dice.start_fails():
                restarts.succeeded()
                self._add_worker(name, **vars(offers))
                return
            restarts.failed(now, now)
        self._simulation.at(restarts.next_s, self._start, offers, name)

    def _reborn(self, former: SimulatedWorker) -> SimulatedWorker:
        """Make a removed worker again, empty, under its old name, not joined yet."""
        worker = SimulatedWorker(self._simulation, former.name, former.offers)
        worker.online = False
        self._simulation.workers[former.name] = worker
        return worker

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
                simulation.after(self._silence_s, self._give_up, worker.name)
            self.replace(worker)
        simulation.after(self._silence_s, self._give_up_fetches)

    # ---------------------------------------------------------------- partitions

    def cut_off(self, names: list[str], seconds: float, scheduler: bool = True, peers: bool = True) -> None:
        """Cut workers off from the scheduler, workers and clients for a time."""
        simulation = self._simulation
        partition = Partition(names, scheduler, peers)
        simulation.network.cut(partition)
        simulation.after(seconds, self._heal, partition)
        if scheduler:
            simulation.after(self._silence_s, self._give_up_silent, partition, simulation.now)
        if peers:
            simulation.after(self._silence_s, self._give_up_fetches)

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
            simulation.after(self._dice.noticed_s(), self._notice, worker)
        simulation.network.close(name, SCHEDULER)
        simulation.to_machine(m.WorkerGone(name, None, False, f"silent for {self._silence_s} s", unheard=True))

    def _notice(self, worker: SimulatedWorker) -> None:
        """End a worker that finds its connection gone."""
        simulation = self._simulation
        if not worker.alive or worker.online:
            return
        if worker.is_stuck:
            simulation.at(worker.stuck_until_s, self._notice, worker)
            return
        simulation.remove(worker)
        self._join(worker, self._reborn(worker))

    def _join(self, former: SimulatedWorker, worker: SimulatedWorker) -> None:
        simulation = self._simulation
        if not worker.alive:
            return
        if simulation.network.is_cut(worker.name, SCHEDULER):
            simulation.after(self._silence_s / 2, self._join, former, worker)
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
        if not worker.online or worker.is_stuck:
            return
        worker.online = False
        simulation.network.close(name, SCHEDULER)
        self._half_open[name] = None
        if unnoticed:
            simulation.after(self._silence_s, self._hear_of_reset, name)
        else:
            self._hear_of_reset(name)
        self._notice(worker)

    def lose_connection(self, name: str) -> None:
        """Close a worker's connection by a task, until its parent kills it."""
        simulation = self._simulation
        worker = simulation.workers[name]
        if worker.online:
            worker.online, worker.unheard = False, True
            simulation.after(HUNG_UP_S, self._kill_unheard, worker)

    def _kill_unheard(self, worker: SimulatedWorker) -> None:
        if worker.alive:
            self._simulation.crash(worker.name)

    def restart(self, name: str) -> None:
        """Restart a worker, which joins at once under its name."""
        simulation = self._simulation
        worker = simulation.workers[name]
        if not worker.online or worker.is_stuck:
            return
        worker.replaced = True
        simulation.crash(name)
        successor = self._reborn(worker)
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
        if worker.is_stuck or not worker.online:
            return
        worker.stuck_since_s, worker.stuck_until_s = simulation.now, simulation.now + seconds
        simulation.after(self._silence_s, self._fall_silent, worker, simulation.now)
        simulation.after(self._silence_s, self._give_up_fetches)

    def _fall_silent(self, worker: SimulatedWorker, since_s: float) -> None:
        simulation = self._simulation
        if worker.alive and worker.online and worker.is_stuck and worker.stuck_since_s == since_s:
            simulation.to_machine(m.WorkerSilent(worker.name))
            simulation.at(worker.stuck_until_s, self._speak_again, worker)

    def _speak_again(self, worker: SimulatedWorker) -> None:
        if worker.alive and worker.online and not worker.is_stuck:
            self._simulation.to_machine(m.WorkerSilent(worker.name, False))

    def hang(self, name: str, seconds: float) -> None:
        """Stop a worker's process for a time: it neither computes nor reads nor writes."""
        simulation = self._simulation
        worker = simulation.workers[name]
        if not worker.is_stuck:
            worker.stuck_since_s = simulation.now
        worker.stuck_until_s = max(worker.stuck_until_s, simulation.now + seconds)
        simulation.after(self._silence_s, self._give_up_stuck, worker, simulation.now)
        simulation.after(self._silence_s, self._give_up_fetches)
        # It reads what had arrived before it finds that the connection is closed.
        simulation.at(worker.stuck_until_s + READING_S, self._notice, worker)

    def _give_up_stuck(self, worker: SimulatedWorker, since_s: float) -> None:
        if worker.alive and worker.is_stuck and worker.stuck_since_s <= since_s:
            self._give_up(worker.name)

    # ---------------------------------------------------------------- fetches

    def unreachable(self, asker: str, holder: str) -> bool:
        """Return whether a peer would not answer, and not refuse either."""
        simulation = self._simulation
        if holder in self._vanished or simulation.network.is_cut(asker, holder):
            return True
        worker = simulation.workers.get(holder)
        return worker is not None and worker.is_stuck

    def watch_fetch(self, number: int, asker: str, holder: str) -> None:
        """Give up a fetch that has begun if its holder is gone."""
        if self.unreachable(asker, holder):
            self._simulation.after(self._silence_s, self._give_up_fetch, number)

    def _give_up_fetch(self, number: int) -> None:
        fetch = self._simulation.fetches.get(number)
        if fetch is not None and self.unreachable(fetch[0], fetch[1]):
            self._simulation.fail_fetch(number)

    def _give_up_fetches(self) -> None:
        for number in list(self._simulation.fetches):
            self._give_up_fetch(number)
