"""What the scheduler knows: tasks, workers, functions and clients.

Covers: the data and the table of the legal changes of a task's state. Does not cover: any change; only
``machine`` changes what is here.

Two rules of this file. Everything is kept in dicts, because they are iterated in the order of insertion, and
so the same events give the same decisions. What is kept for each task is kept small: slots instead of dicts,
and None or a shared empty value where most tasks have nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

from futures_cluster.messages import DEFAULT_OPTIONS, Key, Payload, TaskOptions
from futures_cluster.scheduler.demands import Demands
from futures_cluster.scheduler.queue import ReadyQueue

TaskStateName = Literal["waiting", "queued", "assigned", "memory", "failed", "released", "forgotten"]

WAITING: TaskStateName = "waiting"  # some inputs are not in memory yet
QUEUED: TaskStateName = "queued"  # could run, no worker chosen
ASSIGNED: TaskStateName = "assigned"  # committed to a worker, perhaps running
MEMORY: TaskStateName = "memory"  # the result is held, by workers or (a small one) here
FAILED: TaskStateName = "failed"  # the error is held here
RELEASED: TaskStateName = "released"  # the result is gone; kept so that what was made of it can be made again
FORGOTTEN: TaskStateName = "forgotten"  # no longer in the state

#: state -> states that may follow
TRANSITIONS: dict[TaskStateName, tuple[TaskStateName, ...]] = {
    WAITING: (QUEUED, FAILED, RELEASED, FORGOTTEN),
    QUEUED: (ASSIGNED, WAITING, FAILED, RELEASED, FORGOTTEN),
    ASSIGNED: (MEMORY, FAILED, QUEUED, WAITING, RELEASED, FORGOTTEN),
    MEMORY: (RELEASED, WAITING, FAILED, FORGOTTEN),
    FAILED: (FORGOTTEN,),
    RELEASED: (WAITING, FAILED, FORGOTTEN),
    FORGOTTEN: (),
}

#: states in which a task still has to run
UNFINISHED = (WAITING, QUEUED, ASSIGNED)

#: A function that was never measured counts as long.
UNKNOWN_DURATION_S = 1.0
#: No task costs its worker less than this, whatever was measured around the function alone.
LEAST_DURATION_S = 15e-6
#: Weight of the newest measurement in the moving average of durations.
NEWEST_WEIGHT = 0.25

#: A task under which so many workers died runs alone on a worker, so that it alone is to blame if that dies.
MOST_DEATHS_BESIDE_OTHERS = 2

#: The name under which shared objects want results; no client has it.
SHARED = "<shared objects>"

Level = tuple[int, int]
#: What a task asks of a worker beyond a slot: (resources, workers, alone). None for nothing, as is usual.
Demand = tuple[tuple[tuple[str, float], ...], tuple[str, ...], bool]


class Group:
    """Measured facts about the functions of one name."""

    __slots__ = ("duration_s", "expected_s", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.duration_s: float | None = None  # moving average; None before the first measurement
        self.expected_s = UNKNOWN_DURATION_S  # what a task is counted with; follows from ``duration_s``

    def measure(self, duration_s: float) -> None:
        """Take a measurement into account."""
        mean = self.duration_s
        mean = duration_s if mean is None else mean + NEWEST_WEIGHT * (duration_s - mean)
        self.duration_s = mean
        self.expected_s = mean if mean > LEAST_DURATION_S else LEAST_DURATION_S


class Function:
    """A pickled function, told once by the clients and once to each worker."""

    __slots__ = ("group", "held_by", "id", "known_by", "payload", "tasks")

    def __init__(self, id: str, group: Group, payload: Payload) -> None:
        self.id = id
        self.group = group
        self.payload = payload
        self.tasks = 0  # records that use it
        self.held_by: dict[str, None] = {}  # clients that may use it again without telling it
        self.known_by: dict[str, None] = {}  # workers that were told


class Task:
    """A task, and after it ran its result or where that is.

    Attributes
    ----------
    dependencies : tuple of Task
        Inputs. Empty from the start, or once nothing can make the task run again.
    dependents : dict of Task or None
        The tasks that have this one among their ``dependencies``.
    waiters : int
        How many of the dependents are unfinished.
    missing : int
        How many dependencies are not in memory.
    wanted_by : tuple of str
        Clients with a future of it; twice one that has two of them, because the key came to it by its name.
    detached : bool
        Runs even if nobody wants it (a submitted task; not a task of a graph).
    attempt : int
        The number of its last commitment to a worker; answers to an older one are dropped.
    """

    __slots__ = (
        "attempt",
        "deaths",
        "dependencies",
        "dependents",
        "detached",
        "expected_s",
        "function",
        "has_result",
        "holders",
        "key",
        "level",
        "missing",
        "options",
        "payload",
        "result",
        "retries_left",
        "returning",
        "serial",
        "size_bytes",
        "started",
        "state",
        "stop_when_refused",
        "unwanted",
        "waiters",
        "wanted_by",
        "worker",
    )

    def __init__(
        self,
        key: Key,
        function: Function,
        payload: Payload,
        options: TaskOptions,
        level: Level,
        serial: int,
        wanted_by: tuple[str, ...],
        detached: bool,
    ) -> None:
        self.key = key
        self.function = function
        self.payload = payload
        self.options = options
        self.level = level
        self.serial = serial
        self.wanted_by = wanted_by
        self.detached = detached
        self.state: TaskStateName = WAITING
        self.dependencies: tuple[Task, ...] = ()
        self.dependents: dict[Task, None] | None = None
        self.waiters = 0
        self.missing = 0
        self.worker: Worker | None = None  # while assigned
        self.attempt = 0
        self.expected_s = 0.0  # what it was counted with in the worker's occupancy
        self.started = False  # this attempt was reported as started
        self.returning = False  # the worker was asked to give it back
        self.unwanted = False  # cancelled while assigned: forgotten when the worker answers
        self.stop_when_refused = False  # cancelled with force: the worker is stopped if it has started it
        self.retries_left = options.retries
        self.deaths = 0  # workers that died while they executed it
        self.result: Payload = None  # of a small result the payload; of a failed task the error
        self.has_result = False  # ``result`` is the result (a payload may well be None)
        self.holders: dict[Worker, None] | None = None  # workers that hold a large one
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"<Task {self.key} {self.state}>"

    @property
    def demand(self) -> Demand | None:
        """What it asks of a worker beyond a free slot."""
        options, alone = self.options, self.deaths >= MOST_DEATHS_BESIDE_OTHERS
        if (options is DEFAULT_OPTIONS or not (options.resources or options.workers)) and not alone:
            return None
        return (options.resources, options.workers, alone)


class Worker:
    """A worker, what is committed to it and what it holds."""

    __slots__ = (
        "address",
        "alone",
        "assigned",
        "data",
        "free_resources",
        "host",
        "killable",
        "last_progress_s",
        "name",
        "occupancy_s",
        "own_slots",
        "pid",
        "resources",
        "retiring",
        "robbed",
        "slots",
        "stopping",
    )

    def __init__(
        self,
        name: str,
        address: str,
        slots: int,
        killable: bool,
        resources: dict[str, float],
        host: str,
        pid: int,
    ) -> None:
        self.name = name
        self.address = address
        self.slots = slots  # those included that tasks which wait for others have lent
        self.own_slots = slots
        self.killable = killable
        self.resources = resources
        self.free_resources = dict(resources)
        self.host = host
        self.pid = pid
        self.assigned: dict[Key, Task] = {}  # oldest first
        self.occupancy_s = 0.0  # the expected seconds of work in ``assigned``
        self.data: dict[Key, Task] = {}  # results held
        self.alone: Task | None = None  # nothing may run beside it; perhaps still queued
        self.retiring = False
        self.stopping = False  # was told to stop at once; kept for the tasks which it may have started
        self.robbed = False  # gave work to idle workers; gets nothing in advance until it has finished something
        self.last_progress_s = 0.0  # when it last finished something, or got work while it had none

    def __repr__(self) -> str:
        return f"<Worker {self.name} {len(self.assigned)}/{self.slots}>"


class State:
    """All that the scheduler knows."""

    def __init__(self) -> None:
        self.tasks: dict[Key, Task] = {}
        self.workers: dict[str, Worker] = {}
        self.functions: dict[str, Function] = {}
        self.groups: dict[str, Group] = {}
        self.clients: dict[str, tuple[str, ...]] = {}  # name -> (name,): the usual ``wanted_by``, made once
        self.held: dict[Key, int] = {}  # keys in shared objects, and how often
        self.ready: ReadyQueue[Task] = ReadyQueue()  # tasks that any worker may run
        self.demands = Demands()  # tasks that ask for something
        self.reserved: dict[Task, Worker] = {}  # queued tasks that a worker is being emptied for
        self.queued = 0  # tasks in state QUEUED; the queues may also hold entries that are void
        self.idle: dict[Worker, None] = {}  # workers with room
        self.free: dict[Worker, None] = {}  # workers with a free slot
        self.crowded: dict[Worker, None] = {}  # workers with more committed than slots
        self.deadlines: list[tuple[float, Key, int]] = []  # a heap of (time, key, attempt)
        self.broken: Payload = None  # the error of every task, once no worker can start
        self.serial = 0  # of the newest task
        self.attempts = 0  # commitments so far; each has a number of its own, also if a key comes back
        self.asked: dict[Worker, float] = {}  # seconds of work asked back for idle workers, not yet answered
        self.story: deque[tuple[Any, ...]] = deque(maxlen=1000)  # the last rare events, for people

    def is_program(self, client: str) -> bool:
        """Whether a client is a program, and not a worker whose tasks ask."""
        return client not in self.workers

    def any_program(self) -> bool:
        """Whether any program is connected."""
        return any(client not in self.workers for client in self.clients)
