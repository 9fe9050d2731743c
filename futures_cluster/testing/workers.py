"""A worker of the simulator: a real worker machine, and work that takes only simulated time.

Covers: what ``services.worker`` does in production: slots, reporting, fetching, serving, lending slots.
Does not cover: deciding (``worker.machine``), time and the network (``simulator``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from futures_cluster import messages as m
from futures_cluster.messages import KEEP, Key, Message
from futures_cluster.worker import invariants
from futures_cluster.worker.machine import WorkerMachine
from futures_cluster.worker.runs import Run

if TYPE_CHECKING:
    from futures_cluster.testing.simulator import Simulation

#: As in ``services.worker``: results of short runs wait for company so long.
FLUSH_S = 0.004
#: Larger results stay on the worker.
LARGE_BYTES = 50_000

Identity = tuple[Key, int]


@dataclass(frozen=True, slots=True)
class Work:
    """What one execution of a task does.

    Attributes
    ----------
    duration_s : float
        How long it takes, not counting the time in which it waits for children.
    size_bytes : int
        The size of its result.
    fails : bool
        It raises in the end.
    kills : bool
        The worker dies in the end.
    children : tuple of str
        Keys of tasks that it submits at its start, and waits for.
    """

    duration_s: float = 0.001
    size_bytes: int = 100
    fails: bool = False
    kills: bool = False
    children: tuple[Key, ...] = ()


class SimulatedWorker:
    """One worker; made by ``Simulation.add_worker``."""

    def __init__(
        self,
        simulation: Simulation,
        name: str,
        slots: int = 1,
        killable: bool = True,
        resources: dict[str, float] | None = None,
        most_runs: int | None = None,
    ) -> None:
        self.name = name
        self.machine = WorkerMachine(name, slots, most_runs)
        self.store: dict[Key, int] = {}  # results held: key -> size in bytes
        self.offers: dict[str, Any] = {
            "slots": slots,
            "killable": killable,
            "resources": dict(resources or {}),
            "most_runs": most_runs,
        }
        self.replaced = False
        self._simulation = simulation
        self._requests: dict[int, str] = {}  # fetches under way: number -> holder as the machine named it
        self._ticking = False
        self._last_flush = 0.0
        self._joined_as_client = False
        self._children: dict[Key, Identity] = {}  # unfinished child -> who waits for it
        self._waiting: dict[Identity, tuple[int, Work, float]] = {}  # how many children each waits for, since when

    def join(self) -> None:
        """Tell the scheduler."""
        offers = self.offers
        self._tell(
            m.WorkerJoined(self.name, f"sim://{self.name}", offers["slots"], offers["killable"], offers["resources"])
        )

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._simulation.workers.get(self.name) is self

    def _tell(self, message: Message) -> None:
        self._simulation.to_scheduler(self.name, message)

    def retire(self) -> None:
        """Take no more tasks, and end when nothing that it holds is needed; another worker takes its place."""
        if self.alive and not self.machine.retiring:
            self._handle(m.Retire())

    def receive(self, sender: str, message: Message) -> None:
        """Take a message from the scheduler or a peer."""
        if isinstance(message, m.StopWorker):
            self._simulation.crash(self.name, deliberate=True)
        elif isinstance(message, m.GetData):
            found = [(key, self.store[key]) for key in message.keys if key in self.store]
            missing = [key for key in message.keys if key not in self.store]
            size_bytes = sum(size for _, size in found)
            self._simulation.send(self.name, sender, m.Data(message.request, found, missing), size_bytes)
        elif isinstance(message, m.Data):
            self._fetched(message)
        elif isinstance(message, m.TasksDone):
            self._children_done(message)
        elif isinstance(message, (m.RunTasks, m.ReturnTasks, m.DropData, m.CopyData)):
            self._handle(message)

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
                    del self.store[key]
            else:
                self._tell(command)
                if isinstance(command, m.WorkerRetiring):
                    simulation.replace(self)
        if simulation.check and simulation.report.events % simulation.check == 0:
            invariants.check(machine)
        if machine.has_unreported and not self._ticking:
            self._ticking = True
            simulation.at(simulation.now + FLUSH_S, self._tick)
        return started

    def _tick(self) -> None:
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
            simulation.at(simulation.now + work.duration_s, self._end, run, work, simulation.now)

    def _end(self, run: Run, work: Work, start_s: float) -> None:
        if not self.alive:
            return
        duration_s = self._simulation.now - start_s
        if work.kills:
            self._simulation.crash(self.name)
            return
        if work.fails:
            event = m.RunsEnded([], [(run.key, run.attempt, b"error", duration_s)])
        else:
            stays = bool(run.flags & KEEP) or work.size_bytes > LARGE_BYTES
            payload = None if stays else b"result"
            event = m.RunsEnded([(run.key, run.attempt, payload, work.size_bytes, duration_s)])
            if stays:
                self.store[run.key] = work.size_bytes
        started = self._handle(event)
        if not started or self._simulation.now - self._last_flush > FLUSH_S:
            self._flush()

    # ---------------------------------------------------------------- children

    def _submit_children(self, run: Run, work: Work) -> None:
        if not self._joined_as_client:
            self._joined_as_client = True
            self._tell(m.ClientJoined(self.name))
        identity = (run.key, run.attempt)
        rows: list[Any] = []
        for child in work.children:
            key = f"{child}@{run.attempt}"  # a parent that runs again has other children
            self._children[key] = identity
            rows.append((key, "child", b"", []))
        self._waiting[identity] = (len(rows), work, self._simulation.now)
        self._tell(m.SubmitTasks(self.name, rows, [("child", "child", b"")], m.DEFAULT_OPTIONS, 1 - run.level[1]))
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
            self._simulation.at(self._simulation.now + work.duration_s, self._end, run, work, start_s)

    # ---------------------------------------------------------------- data

    def _fetch(self, command: m.FetchData) -> None:
        simulation = self._simulation
        number = simulation.next_request()
        self._requests[number] = command.holder
        if not command.holder or simulation.dice.fetch_fails():
            simulation.send(command.holder, self.name, m.Data(number, [], command.keys))
        else:
            simulation.send(self.name, command.holder, m.GetData(number, command.keys))

    def _fetched(self, data: m.Data) -> None:
        for key, size_bytes in data.found:
            self.store[key] = size_bytes
        holder = self._requests.pop(data.request)
        self._handle(m.DataFetched(holder, data.found, data.missing))
