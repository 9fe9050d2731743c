"""The vocabulary: what clients, the scheduler and the workers say to each other.

Covers: one class a message; the same objects are the events and the commands of the pure machines and,
packed as ``[code, fields...]``, the messages on the wire (see ``wire.frames``). ``Reference`` is the base of
``Future``: a key that stands for a result.
Does not cover: how messages travel, and what they do to the state of a machine.

The way of a task: ``SubmitTasks`` (client to scheduler) -> ``RunTasks`` (scheduler to worker) ->
``TasksStarted``, ``TasksFinished`` (worker to scheduler) -> ``TasksDone`` (scheduler to client) ->
``ReleaseKeys`` (client to scheduler) -> ``DropData`` (scheduler to worker).

Hot messages carry batches, and inside them plain tuples instead of objects (their layout is named beside
each field), because making and packing an object for each task would cost more than scheduling it.

A *payload* is opaque to both machines. Between processes it is ``bytes`` (a pickle) or a list
``[pickle, buffers]`` (see ``wire.serialize``); inside one process it is the object itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

Payload = Any
Key = str
PlainValue = Any  # None, bool, int, float, str, bytes, or tuples and dicts of them; and items (``scheduler.shared``)

#: How a task ended, as told to the client.
FINISHED = "finished"
FAILED = "failed"
CANCELLED = "cancelled"


class Reference:
    """A key that stands for a result which may live somewhere else."""

    key: Key


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What ``Executor.with_options`` can say of a task.

    Attributes
    ----------
    priority : int
        Higher runs first.
    retries : int
        How often a task that raised is run again.
    timeout_s : float or None
        Seconds from the start of one execution after which it is stopped.
    resources : tuple of (str, float)
        What the task takes, of what workers offer, while it runs.
    workers : tuple of str
        Names of the workers which may run it; empty for all.
    rerun : bool
        Whether the task may run again after the death of a worker that was executing it.
    """

    priority: int = 0
    retries: int = 0
    timeout_s: float | None = None
    resources: tuple[tuple[str, float], ...] = ()
    workers: tuple[str, ...] = ()
    rerun: bool = True

    def to_wire(self) -> list[Any]:
        """Plain values, in the order of the fields."""
        return [
            self.priority,
            self.retries,
            self.timeout_s,
            list(self.resources),
            list(self.workers),
            self.rerun,
        ]

    @classmethod
    def from_wire(cls, values: list[Any]) -> TaskOptions:
        """The inverse of ``to_wire``."""
        priority, retries, timeout_s, resources, workers, rerun = values
        pairs = tuple((str(name), float(amount)) for name, amount in resources)
        return cls(int(priority), int(retries), timeout_s, pairs, tuple(workers), bool(rerun))


DEFAULT_OPTIONS = TaskOptions()
#: The options of scattered data, by which the scheduler knows it: to it that is a task which cannot run again.
SCATTERED_OPTIONS = TaskOptions(rerun=False)


class Message:
    """Base of everything in the vocabulary."""

    __slots__ = ()


# ---------------------------------------------------------------- client to scheduler


@dataclass(slots=True)
class ClientJoined(Message):
    """A client asks to be served."""

    client: str


@dataclass(slots=True)
class ClientLeft(Message):
    """A client is gone; what only it wanted is dropped."""

    client: str


@dataclass(slots=True)
class SubmitTasks(Message):
    """New tasks that share their options.

    ``wanted`` is None for submitted tasks: all are wanted, and run even if they are released before. For the
    tasks of a graph it lists the keys whose results the client wants; the others run only while somebody
    needs them.
    """

    client: str
    tasks: list[Any]  # (key, function, payload, dependencies: list of keys)
    functions: list[Any] = field(default_factory=list)  # (function, name, payload); those not told before
    options: TaskOptions = DEFAULT_OPTIONS
    depth: int = 0  # how deep in nested submissions; deeper ones run first, so that waiting parents are few
    wanted: list[Key] | None = None


@dataclass(slots=True)
class CancelTasks(Message):
    """The client wants no result of these; ``force`` stops them even when they are running."""

    client: str
    keys: list[Key]
    force: bool = False


@dataclass(slots=True)
class ReleaseKeys(Message):
    """The client's last futures of these keys are gone."""

    client: str
    keys: list[Key]


@dataclass(slots=True)
class ReleaseFunctions(Message):
    """The client will not use these functions again without telling them anew."""

    client: str
    functions: list[str]


@dataclass(slots=True)
class ReportMissing(Message):
    """Somebody could not fetch ``key`` from ``worker``, which was said to hold it."""

    reporter: str
    missing: list[Any]  # (key, worker)


@dataclass(slots=True)
class ScatterData(Message):
    """The client has put these onto workers by itself (``PutData``); nothing can make them again.

    ``TasksDone`` follows once each is on ``replicas`` workers, or on all there are.
    """

    client: str
    rows: list[Any]  # (key, size_bytes, worker)
    replicas: int = 1


@dataclass(slots=True)
class RetireWorkers(Message):
    """These workers are to end: they get nothing more, and what only they hold goes to others before."""

    workers: list[str]


@dataclass(slots=True)
class AskShared(Message):
    """Something asked of a shared object (``scheduler.shared``); the answer has the same ``request``, 0: no answer."""

    client: str
    request: int
    kind: str
    name: str
    op: str
    args: list[PlainValue] = field(default_factory=list)


@dataclass(slots=True)
class WithdrawShared(Message):
    """Nobody waits for this answer any more; it comes all the same, if only to say that it was withdrawn."""

    client: str
    request: int


@dataclass(slots=True)
class SharedTaken(Message):
    """The client has futures of its own now of the keys that came with this answer."""

    client: str
    request: int


# ---------------------------------------------------------------- worker to scheduler


@dataclass(slots=True)
class WorkerJoined(Message):
    """A worker offers ``slots`` executions at a time. ``killable``: it can be stopped while it runs a task."""

    worker: str
    address: str
    slots: int = 1
    killable: bool = True
    resources: dict[str, float] = field(default_factory=dict)
    host: str = ""
    pid: int = 0
    manager: str = ""  # the process that started it, and is told to stop it


@dataclass(slots=True)
class WorkerLost(Message):
    """A worker is gone. ``executing`` are the keys it ran at that moment, None if nobody knows.

    ``deliberate``: it was stopped on purpose, so no task is to blame. ``cause`` says in words how it ended.
    """

    worker: str
    executing: list[Key] | None = None
    deliberate: bool = False
    cause: str = ""


@dataclass(slots=True)
class WorkerRetiring(Message):
    """A worker takes no more tasks, because it has run its maximum; it still serves the data it holds."""

    worker: str


@dataclass(slots=True)
class WorkersBroken(Message):
    """No worker can start (a failing initializer): every task fails with this error, an opaque payload."""

    error: Payload


@dataclass(slots=True)
class SlotsChanged(Message):
    """The worker has this many slots now: a task that waits for another has given its slot back."""

    worker: str
    slots: int


@dataclass(slots=True)
class TasksStarted(Message):
    """These began to run; sent only for those that do not end at once."""

    worker: str
    runs: list[Any]  # (key, attempt)


@dataclass(slots=True)
class TasksFinished(Message):
    """Runs that ended."""

    worker: str
    finished: list[Any]  # (key, attempt, payload or None if the result stays there, size_bytes, duration_s)
    failed: list[Any] = field(default_factory=list)  # (key, attempt, error payload, duration_s)


@dataclass(slots=True)
class TasksReturned(Message):
    """Runs given back without having started, asked for by ``ReturnTasks`` or for missing inputs.

    ``refused`` were asked for but had started or ended.
    """

    worker: str
    returned: list[Any]  # (key, attempt)
    refused: list[Any] = field(default_factory=list)  # (key, attempt)


@dataclass(slots=True)
class DataAdded(Message):
    """The worker holds copies of these now. What they took on their way, if that was measured, tells the bandwidth."""

    worker: str
    keys: list[Key]
    size_bytes: int = 0
    duration_s: float = 0.0


# ---------------------------------------------------------------- scheduler to worker


@dataclass(slots=True)
class RunTasks(Message):
    """Executions committed to a worker."""

    runs: list[Any]  # (key, attempt, function, payload, priority, inputs, flags)
    functions: list[Any] = field(default_factory=list)  # (function, name, payload)
    # priority: (level..., attempt), so that a worker keeps the order of commitment
    # inputs: (key, size_bytes, payload or None, [(worker, address)...])


#: ``flags`` of a run: the result stays on the worker however small; the start is reported before the run.
KEEP = 1
REPORT_START = 2


@dataclass(slots=True)
class ReturnTasks(Message):
    """Give these runs back if they have not started (answered by ``TasksReturned``)."""

    runs: list[Any]  # (key, attempt)


@dataclass(slots=True)
class DropData(Message):
    """Nobody needs these results any more."""

    keys: list[Key]


@dataclass(slots=True)
class CopyData(Message):
    """Get these from who holds them, and keep them; answered by ``DataAdded``, or by ``ReportMissing``.

    Without holders it asks whether the worker has them itself.
    """

    rows: list[Any]  # (key, size_bytes, [(worker, address)...])


@dataclass(slots=True)
class ForgetFunctions(Message):
    """These functions will be told anew if they come again."""

    functions: list[str]


@dataclass(slots=True)
class StopWorker(Message):
    """End: at once with ``force`` (whatever runs is lost), else when it holds nothing that is needed."""

    worker: str
    force: bool = False
    reason: str = ""


# ---------------------------------------------------------------- scheduler to client


@dataclass(slots=True)
class TasksRunning(Message):
    """These are being executed."""

    keys: list[Key]


@dataclass(slots=True)
class TasksDone(Message):
    """How tasks ended, or that what was held is to be had again."""

    done: list[Any]  # (key, FINISHED | FAILED | CANCELLED, payload or None, size_bytes, [(worker, address)...])


@dataclass(slots=True)
class TasksRecomputing(Message):
    """The results of these finished tasks were lost with their worker; ``TasksDone`` will come again."""

    keys: list[Key]


@dataclass(slots=True)
class SharedReply(Message):
    """The answer to ``AskShared``.

    ``keys`` are of the tasks in its items: they are kept for the client until it says ``SharedTaken``.
    """

    request: int
    values: list[PlainValue]
    error: Payload = None
    keys: list[Key] = field(default_factory=list)


# ---------------------------------------------------------------- between peers: whoever wants data, and a worker


@dataclass(slots=True)
class Hello(Message):
    """The first message of a worker or a client on a new connection, and of the scheduler as an answer."""

    role: str
    name: str
    address: str = ""
    pid: int = 0
    versions: dict[str, str] = field(default_factory=dict)  # see wire.versions
    codecs: list[str] = field(default_factory=list)  # what it can decompress; see wire.compress


@dataclass(slots=True)
class GetData(Message):
    """Ask a worker for results it holds. ``request`` comes back with the answer.

    ``codecs``: what the asker can decompress, if it wants that (see ``wire.compress``).
    """

    request: int
    keys: list[Key]
    codecs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Data(Message):
    """The answer to ``GetData``: what is there, and why the rest is not."""

    request: int
    found: list[Any]  # (key, payload)
    missing: list[Key] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)  # (key, error payload): results that do not pickle


@dataclass(slots=True)
class PutData(Message):
    """Keep these, which a client scatters. The answer is ``Data`` without anything found; ``missing`` were refused."""

    request: int
    rows: list[Any]  # (key, payload)


@dataclass(slots=True)
class SegmentsMapped(Message):
    """The asker has opened (or will not open) these shared segments of the answer, so they may be reused."""

    segments: list[int]


# ---------------------------------------------------------------- of a cluster of machines


@dataclass(slots=True)
class Heartbeat(Message):
    """The sender is alive; workers add facts about themselves. Sent in both directions, and never answered."""

    sender: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class WorkerEnded(Message):
    """Who started a worker says how it ended: the attempts that it executed, and the cause in words."""

    worker: str
    attempts: list[int]
    deliberate: bool = False
    cause: str = ""


@dataclass(slots=True)
class PeersLost(Message):
    """The scheduler has given up the workers at these addresses; nobody need wait for their answers."""

    addresses: list[str]


@dataclass(slots=True)
class ShareCode(Message):
    """Where a client's modules are: folders of its ``sys.path``, and files it uploads as (name, content)."""

    paths: list[str]
    files: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class AskScheduler(Message):
    """A question about the cluster; ``request`` comes back with the answer."""

    request: int
    what: str
    argument: Any = None


@dataclass(slots=True)
class Answer(Message):
    """The answer to ``AskScheduler``, of plain values; or why there is none."""

    request: int
    value: Any = None
    error: str = ""


# ---------------------------------------------------------------- inside one process


@dataclass(slots=True)
class Tick(Message):
    """Time has passed: deadlines are looked at."""


@dataclass(slots=True)
class ToWorker:
    """A command: send this message to that worker."""

    worker: str
    message: Message


@dataclass(slots=True)
class ToClient:
    """A command: send this message to that client."""

    client: str
    message: Message


@dataclass(slots=True)
class PayloadsFreed:
    """A command: no task needs these payloads any more; their writers may use the memory again."""

    payloads: list[Payload]


@dataclass(slots=True)
class DataFetched(Message):
    """A worker's own fetch ended: what arrived, and what did not."""

    holder: str
    arrived: list[Any]  # (key, size_bytes)
    missing: list[Key] = field(default_factory=list)
    duration_s: float = 0.0  # from asking to having them all; 0 if nobody looked at the clock


@dataclass(slots=True)
class DataPut(Message):
    """A client has put these into the worker's store."""

    rows: list[Any]  # (key, size_bytes)


@dataclass(slots=True)
class RunsEnded(Message):
    """Executions of this worker ended, in its own threads."""

    finished: list[Any]  # as in TasksFinished
    failed: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class RunWaits(Message):
    """A task gives its slot back while it waits (``waits``), or wants to go on."""

    key: Key
    attempt: int
    waits: bool


@dataclass(slots=True)
class Retire(Message):
    """The worker is to take no more tasks; what it holds it serves on."""


@dataclass(slots=True)
class ExecuteRuns:
    """A worker's command: start these now, each in a slot of its own."""

    runs: list[Any]


@dataclass(slots=True)
class FetchData:
    """A worker's command: get these from that peer."""

    holder: str
    address: str
    keys: list[Key]


WIRE_MESSAGES: tuple[type[Message], ...] = (
    Hello,
    ClientJoined,
    ClientLeft,
    SubmitTasks,
    CancelTasks,
    ReleaseKeys,
    ReleaseFunctions,
    ReportMissing,
    WorkerJoined,
    WorkerLost,
    WorkerRetiring,
    WorkersBroken,
    SlotsChanged,
    TasksStarted,
    TasksFinished,
    TasksReturned,
    DataAdded,
    RunTasks,
    ReturnTasks,
    DropData,
    ForgetFunctions,
    StopWorker,
    TasksRunning,
    TasksDone,
    TasksRecomputing,
    GetData,
    Data,
    SegmentsMapped,
    Heartbeat,
    WorkerEnded,
    PeersLost,
    ShareCode,
    AskScheduler,
    Answer,
    ScatterData,
    RetireWorkers,
    CopyData,
    PutData,
    AskShared,
    WithdrawShared,
    SharedTaken,
    SharedReply,
)


def field_names(message: type[Message]) -> tuple[str, ...]:
    """The fields of a message class, in the order in which they are packed."""
    return tuple(f.name for f in fields(message))  # type: ignore[arg-type]
