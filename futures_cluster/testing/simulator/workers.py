"""A worker of the simulator: a real worker machine, and work that takes only simulated time.

Covers: what ``services.worker.service`` does in production: slots, reporting, fetching, serving, lending slots.
Does not cover: deciding (``worker.machine``), time (``simulation``), the network (``network``).

A result is its size, and where results are checked also a value, which is made of the values of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import KEEP, Key, Message
from futures_cluster.services.client.call_preparation import key_owner
from futures_cluster.testing.simulator.checks import value_of
from futures_cluster.testing.simulator.network import SCHEDULER
from futures_cluster.testing.simulator.work import Work
from futures_cluster.testing.simulator.world import World
from futures_cluster.worker import invariants
from futures_cluster.worker.machine import WorkerMachine
from futures_cluster.worker.runs import Run

#: As in ``services.worker.service``: seconds that results of short runs wait for others.
FLUSH_S = 0.004
#: Larger results stay on the worker.
LARGE_BYTES = 50_000

Identity = tuple[Key, int]


@dataclass(frozen=True)
class Offers:
    """What a worker offers."""

    slots: int = 1
    killable: bool = True
    resources: dict[str, float] | None = None
    most_runs: int | None = None
    host: str = ""
    speed: float = 1.0


class SimulatedWorker:
    """One worker; made by ``Simulation.add_worker``."""

    def __init__(self, simulation: World, name: str, offers: Offers) -> None:
        self.name = name
        self.machine = WorkerMachine(name, offers.slots, offers.most_runs)
        self.incarnation = simulation.next_incarnation()
        self.introduced = False  # the scheduler knows it
        self.owner = key_owner(name, self.incarnation)  # of the keys that its tasks make
        self._submitted = 0
        self.store: dict[
            Key, tuple[int, int]
        ] = {}  # results held: size in bytes, and value (0 where nothing is checked)
        self.offers = offers
        self.replaced = False
        self.online = True  # as far as it knows, or rather does not know yet
        self.unheard = False  # a task has closed its connection, and only its parent can tell how it ends
        self.stuck_since_s = self.stuck_until_s = 0.0  # it does nothing at all between these
        self.last_report: m.TasksFinished | None = None
        self._simulation = simulation
        #: Fetches under way: the holder as the machine named it, and since when.
        self._requests: dict[int, tuple[str, float]] = {}
        self._ticking = False
        self._last_flush = 0.0
        self._joined_as_client = False
        self._children: dict[Key, Identity] = {}  # unfinished child -> the task that waits for it
        self._waiting: dict[Identity, tuple[int, Work, float]] = {}  # how many children each waits for, since when

    def join(self) -> None:
        """Tell the scheduler."""
        offers = self.offers
        address, resources = f"sim://{self.name}", dict(offers.resources or {})
        self._tell(
            m.WorkerConnected(
                self.name, address, offers.slots, offers.killable, resources, offers.host, incarnation=self.incarnation
            )
        )

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._simulation.workers.get(self.name) is self

    @property
    def is_stuck(self) -> bool:
        """Whether it does nothing at all now."""
        return self.stuck_until_s > self._simulation.now

    def _tell(self, message: Message) -> None:
        if self.online:  # else the connection is gone, though perhaps the worker does not know
            self._simulation.to_scheduler(self.name, message)

    def retire(self) -> None:
        """Take no more tasks, and end when nothing here is needed."""
        if self.alive and not self.machine.retiring:
            self._handle(m.Retire())

    def receive(self, sender: str, message: Message) -> None:
        """Take a message from the scheduler or a peer."""
        simulation = self._simulation
        if self.is_stuck:
            simulation.at(self.stuck_until_s, self._receive_late, sender, message)
        elif sender == SCHEDULER and not (self.online and self.introduced):
            pass  # not its connection
        elif isinstance(message, m.StopWorker):
            simulation.crash(self.name, deliberate=True)
        elif isinstance(message, m.GetData):
            found = [(key, self.store[key]) for key in message.keys if key in self.store]
            missing = [key for key in message.keys if key not in self.store]
            size_bytes = sum(size for _, (size, _) in found)
            simulation.report.moved_bytes += size_bytes
            simulation.send(self.name, sender, m.Data(message.request, found, missing), size_bytes)
        elif isinstance(message, m.PutData):
            if message.request not in simulation.fetches:
                return  # the client has closed the connection and claims nothing
            for key, (size_bytes, value) in message.rows:
                self._hold(key, size_bytes, value)
            self._handle(m.DataPut([(key, size_bytes) for key, (size_bytes, _) in message.rows]))
            simulation.send(self.name, sender, m.Data(message.request, []))
        elif isinstance(message, m.Data):
            self._fetched(message)
        elif isinstance(message, m.TasksDone):
            self._children_done(message)
        elif isinstance(message, (m.RunTasks, m.ReturnTasks, m.DropData, m.CopyData)):
            self._handle(message)

    def _receive_late(self, sender: str, message: Message) -> None:
        if self.alive:
            self.receive(sender, message)
        else:  # it has lost everything since
            self._simulation.refuse(sender, self.name, message)

    # ---------------------------------------------------------------- the machine

    def _handle(self, event: Message) -> bool:
        """Hand an event to the machine and do what it says; whether a run started."""
        simulation, machine = self._simulation, self.machine
        started = False
        for command in machine.handle(event, simulation.now):
            if isinstance(command, m.ExecuteRuns):
                started = True
                for run in command.runs:
                    self._start(run)
            elif isinstance(command, m.FetchData):
                self._fetch(command)
            elif isinstance(command, m.DropData):
                for key in command.keys:
                    simulation.hold(-self.store.pop(key)[0])
            else:
                self._tell(command)
                if isinstance(command, m.TasksFinished):
                    self.last_report = command
                elif isinstance(command, m.WorkerRetiring):
                    simulation.mishaps.replace(self)
        if simulation.check and simulation.report.events % simulation.check == 0:
            invariants.check(machine)
        if machine.has_unreported and not self._ticking:
            self._ticking = True
            simulation.after(FLUSH_S, self._tick)
        return started

    def _tick(self) -> None:
        if self.is_stuck:
            self._simulation.at(self.stuck_until_s, self._tick)
            return
        self._ticking = False
        if self.alive and self.machine.has_unreported:
            self._flush()

    def _flush(self) -> None:
        self._last_flush = self._simulation.now
        self._handle(m.Tick())

    # ---------------------------------------------------------------- runs

    def _start(self, run: Run) -> None:
        simulation = self._simulation
        for key, _, payload, _ in run.inputs:
            assert payload is not None or key in self.store, f"{run} starts without its input {key}"
        execution = simulation.executions[run.key] = simulation.executions.get(run.key, 0) + 1
        work = simulation.work(run.key, execution)
        if work.children:
            self._submit_children(run, work)
        else:
            self._compute(run, work, simulation.now)

    def _compute(self, run: Run, work: Work, start_s: float) -> None:
        self._simulation.after(work.duration_s / self.offers.speed, self._end, run, work, start_s)

    def _end(self, run: Run, work: Work, start_s: float) -> None:
        if not self.alive:
            return
        simulation = self._simulation
        if self.is_stuck:
            simulation.at(self.stuck_until_s, self._end, run, work, start_s)
            return
        duration_s = simulation.now - start_s
        if work.kills:
            simulation.crash(self.name)
            return
        simulation.report.busy_s += work.duration_s
        if work.closes:
            simulation.mishaps.lose_connection(self.name)
        if work.fails:
            event = m.RunsEnded([], [(run.key, run.attempt, b"error", duration_s)])
        else:
            stays = bool(run.flags & KEEP) or work.size_bytes > LARGE_BYTES
            value = None if simulation.checks is None else self._value(run)
            payload = None if stays else b"result" if value is None else str(value).encode()
            event = m.RunsEnded([(run.key, run.attempt, payload, work.size_bytes, duration_s)])
            if stays:
                self._hold(run.key, work.size_bytes, value or 0)
        started = self._handle(event)
        if not started or simulation.now - self._last_flush > FLUSH_S:
            self._flush()

    def _value(self, run: Run) -> int:
        values = [self.store[key][1] if payload is None else int(payload) for key, _, payload, _ in run.inputs]
        return value_of(run.key, values)

    def _hold(self, key: Key, size_bytes: int, value: int) -> None:
        former_bytes, _ = self.store.get(key, (0, 0))
        self._simulation.hold(size_bytes - former_bytes)
        self.store[key] = (size_bytes, value)

    # ---------------------------------------------------------------- children

    def _submit_children(self, run: Run, work: Work) -> None:
        simulation = self._simulation
        if not self._joined_as_client:
            self._joined_as_client = True
            self._tell(m.ClientJoined(self.name))
        identity = (run.key, run.attempt)
        rows: list[Any] = []
        for child in work.children:
            self._submitted += 1
            key = f"{child}@{self.owner}-{self._submitted}"
            if simulation.checks is not None:
                simulation.checks.made(key)
            simulation.count_work(key, (), rerun=True)
            self._children[key] = identity
            rows.append((key, "child", b"", []))
        self._waiting[identity] = (len(rows), work, simulation.now)
        self._tell(m.SubmitTasks(self.name, rows, [("child", "child", b"")], m.DEFAULT_OPTIONS, 1 - run.priority[1]))
        self._handle(m.RunWaits(run.key, run.attempt, True))

    def _children_done(self, message: m.TasksDone) -> None:
        self._tell(m.ReleaseKeys(self.name, [row[0] for row in message.done]))
        for row in message.done:
            identity = self._children.pop(row[0], None)
            if identity is None:
                continue  # an input that its machine reported as missing
            number, work, start_s = self._waiting.pop(identity)
            if number > 1:
                self._waiting[identity] = (number - 1, work, start_s)
                continue
            run = self.machine.executing[identity]
            self._handle(m.RunWaits(run.key, run.attempt, False))
            self._compute(run, work, start_s)

    # ---------------------------------------------------------------- data

    def _fetch(self, command: m.FetchData) -> None:
        number = self._simulation.fetch(self.name, command.holder, command.keys)
        self._requests[number] = (command.holder, self._simulation.now)

    def _fetched(self, data: m.Data) -> None:
        holder, since_s = self._requests.pop(data.request, ("", None))
        if since_s is None:
            return  # asked for before it lost its connection, and everything
        for key, (size_bytes, value) in data.found:
            self._hold(key, size_bytes, value)
        arrived = [(key, size) for key, (size, _) in data.found]
        self._handle(m.FetchEnded(holder, arrived, data.missing, self._simulation.now - since_s))
