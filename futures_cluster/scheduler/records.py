"""What the scheduler knows of one task, worker, function, and of a block of scattered data.

Covers: the records and the table of the legal changes of a task's state. Does not cover: where they are kept
(``state``), any change: only ``machine`` changes what is here.

Records of tasks are small: slots instead of dicts, and None or a shared empty value where most tasks have nothing.
"""

from __future__ import annotations

from typing import Literal

from futures_cluster.messages import DEFAULT_OPTIONS, Amounts, Key, Payload, TaskOptions, WorkerConnected, place_of
from futures_cluster.scheduler.queues.shares import UNKNOWN_TURN_S, Flow, Level

TaskStateName = Literal["waiting", "queued", "assigned", "memory", "failed", "released", "forgotten"]

WAITING: TaskStateName = "waiting"  # some inputs are not in memory yet
QUEUED: TaskStateName = "queued"  # could run, no worker chosen
ASSIGNED: TaskStateName = "assigned"  # a worker has it, and perhaps runs it
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

#: states of the tasks that the scheduler knows
KNOWN_STATES = (WAITING, QUEUED, ASSIGNED, MEMORY, FAILED, RELEASED)
#: states in which a task still has to run
UNFINISHED = (WAITING, QUEUED, ASSIGNED)

#: A function that was never measured counts as long.
UNKNOWN_DURATION_S = 1.0
#: No task costs its worker less than this, whatever was measured around the function alone.
MIN_DURATION_S = 15e-6
#: Weight of the newest measurement in the moving average of durations.
NEWEST_WEIGHT = 0.25

#: Rough rate at which inputs move between workers, before any was measured: shared memory or a local network.
BANDWIDTH_BYTES_S = 1e9
#: Measurements outside of these are not believed.
MIN_BANDWIDTH_BYTES_S = 1e6
MAX_BANDWIDTH_BYTES_S = 2e10
#: Smaller transfers tell the latency and not the bandwidth.
MIN_MEASURED_BYTES = 100_000
#: Weight of the measurements before a transfer, and the bytes that the first guess counts for.
OLDER_WEIGHT = 0.9
GUESS_BYTES = 1e7

#: A task that has lost this many workers runs alone on the next one, so that it alone is to blame for another loss.
MAX_DEATHS_BESIDE_OTHERS = 2

#: What a task asks for beyond a slot: (resources, places of workers, alone, limits). None for nothing, as is usual.
Requirements = tuple[Amounts, tuple[str, ...], bool, Amounts]


class FunctionStats:
    """Measured facts about the functions of one name."""

    __slots__ = ("duration_s", "expected_s", "failed", "finished", "name", "turn_s")

    def __init__(self, name: str) -> None:
        self.name = name
        self.duration_s: float | None = None  # moving average; None before the first measurement
        self.expected_s = UNKNOWN_DURATION_S  # what a task is counted with; follows from ``duration_s``
        self.turn_s = UNKNOWN_TURN_S  # what its client's share is charged with
        self.finished = 0  # executions that had a result
        self.failed = 0  # executions that raised

    def measure(self, duration_s: float) -> None:
        """Take an execution that had a result into account."""
        self.finished += 1
        mean = self.duration_s
        mean = duration_s if mean is None else mean + NEWEST_WEIGHT * (duration_s - mean)
        self.duration_s = mean
        self.expected_s = self.turn_s = mean if mean > MIN_DURATION_S else MIN_DURATION_S


class Bandwidth:
    """How fast data moves between workers: a moving average, in which a transfer counts by its size."""

    __slots__ = ("_bytes", "_seconds", "bytes_s")

    def __init__(self) -> None:
        self.bytes_s = BANDWIDTH_BYTES_S
        self._bytes = GUESS_BYTES
        self._seconds = GUESS_BYTES / BANDWIDTH_BYTES_S

    def measure(self, size_bytes: float, duration_s: float) -> None:
        """Take a transfer into account."""
        if size_bytes < MIN_MEASURED_BYTES or not duration_s > 0:
            return
        rate = min(max(size_bytes / duration_s, MIN_BANDWIDTH_BYTES_S), MAX_BANDWIDTH_BYTES_S)
        self._bytes = OLDER_WEIGHT * self._bytes + size_bytes
        self._seconds = OLDER_WEIGHT * self._seconds + size_bytes / rate
        self.bytes_s = self._bytes / self._seconds


class Scattered:
    """What is known of scattered data beyond what every result has.

    Attributes
    ----------
    replicas : int
        On how many workers it should be.
    unacknowledged_client : str or None
        The client that waits to hear that it is there.
    failed_fetches : int
        Number of fetches that have failed since the last one that did not.
    refused : dict
        How often each worker (by name) could not make a copy.
    """

    __slots__ = ("failed_fetches", "refused", "replicas", "unacknowledged_client")

    def __init__(self, replicas: int, client: str) -> None:
        self.replicas = replicas
        self.unacknowledged_client: str | None = client
        self.failed_fetches = 0
        self.refused: dict[str, int] = {}


class Function:
    """A pickled function, told once by the clients and once to each worker."""

    __slots__ = ("group", "held_by", "id", "known_by", "payload", "tasks")

    def __init__(self, id: str, group: FunctionStats, payload: Payload) -> None:
        self.id = id
        self.group = group
        self.payload = payload
        self.tasks = 0  # records that use it
        self.held_by: dict[str, None] = {}  # clients that may use it again without telling it
        self.known_by: dict[str, None] = {}  # workers that have its payload


class Task:
    """A task, and after it ran its result or where that is.

    Attributes
    ----------
    dependencies : tuple of Task
        Inputs. Empty from the start, or once nothing can make the task run again.
    dependents : dict of Task or None
        The tasks that have this one among their ``dependencies``.
    pending_dependents : int
        Number of dependents that are unfinished.
    unmet_inputs : int
        Number of dependencies that are not in memory; one more while it pauses (``State.paused``).
    wanted_by : tuple of str
        Clients with a future of it; twice one that has two of them, because the key came to it by its name.
    fire_and_forget : bool
        Whether it runs even if no client or task wants it (a submitted task; not a task of a graph).
    attempt : int
        The number of its last assignment to a worker; answers to an older one are dropped.
    """

    __slots__ = (
        "attempt",
        "dependencies",
        "dependents",
        "fire_and_forget",
        "expected_s",
        "function",
        "has_result",
        "holders",
        "key",
        "flow",
        "losses",
        "unmet_inputs",
        "options",
        "payload",
        "result",
        "retries_left",
        "retracting",
        "serial",
        "since_s",
        "size_bytes",
        "started",
        "state",
        "kill_if_started",
        "cancel_requested",
        "pending_dependents",
        "wanted_by",
        "worker",
    )

    def __init__(
        self,
        key: Key,
        function: Function,
        payload: Payload,
        options: TaskOptions,
        flow: Flow,
        serial: int,
        wanted_by: tuple[str, ...],
        detached: bool,
    ) -> None:
        self.key = key
        self.function = function
        self.payload = payload
        self.options = options
        self.flow = flow
        self.serial = serial
        self.wanted_by = wanted_by
        self.fire_and_forget = detached
        self.state: TaskStateName = WAITING
        self.dependencies: tuple[Task, ...] = ()
        self.dependents: dict[Task, None] | None = None
        self.pending_dependents = 0
        self.unmet_inputs = 0
        self.worker: Worker | None = None  # while assigned
        self.attempt = 0
        self.expected_s = 0.0  # what it was counted with in the worker's occupancy
        self.since_s = 0.0  # when it was assigned, or started
        self.started = False  # this attempt was reported as started
        self.retracting = False  # the worker was asked to give it back
        self.cancel_requested = False  # cancelled while assigned: forgotten when the worker answers
        self.kill_if_started = False  # cancelled with force: the worker is stopped if it has started it
        self.retries_left = options.retries
        self.losses: tuple[str, ...] = ()  # how workers were lost while they executed it
        self.result: Payload = None  # of a small result the payload; of a failed task the error
        self.has_result = False  # ``result`` is the result (a payload may well be None)
        self.holders: dict[Worker, None] | None = None  # workers that hold a large one
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"<Task {self.key} {self.state}>"

    @property
    def level(self) -> Level:
        """Priority and depth of nesting; smaller runs first."""
        return self.flow.level

    @property
    def requirements(self) -> Requirements | None:
        """What it asks for beyond a free slot."""
        options, alone = self.options, len(self.losses) >= MAX_DEATHS_BESIDE_OTHERS
        if not alone and (options is DEFAULT_OPTIONS or not (options.resources or options.workers or options.limits)):
            return None
        return (options.resources, tuple(map(place_of, options.workers)), alone, options.limits)


class Worker:
    """A worker, what is assigned to it and what it holds."""

    __slots__ = (
        "address",
        "exclusive_task",
        "assigned",
        "copying",
        "copying_bytes",
        "data",
        "free_resources",
        "held_bytes",
        "host",
        "keeps_place",
        "killable",
        "last_progress_s",
        "name",
        "occupancy_s",
        "only_holder",
        "own_slots",
        "pid",
        "place",
        "resources",
        "retiring",
        "same_place",
        "recently_stolen_from",
        "silent",
        "slots",
        "killing",
        "waits_for_place",
    )

    def __init__(self, joined: WorkerConnected) -> None:
        self.name = joined.worker
        self.place = place_of(joined.worker)
        self.address = joined.address
        self.only_holder = ((joined.worker, joined.address),)  # sent for results with one holder, the usual case
        self.slots = joined.slots  # those included that tasks which wait for others have lent
        self.own_slots = joined.slots
        self.killable = joined.killable
        self.resources = joined.resources
        self.free_resources = dict(joined.resources)
        self.host = joined.host
        self.pid = joined.pid
        self.assigned: dict[Key, Task] = {}  # oldest first
        self.occupancy_s = 0.0  # the expected seconds of work in ``assigned``
        self.data: dict[Key, Task] = {}  # results held
        self.held_bytes = 0  # their size
        self.copying: dict[Task, None] = {}  # results that it was asked to copy
        self.copying_bytes = 0
        self.exclusive_task: Task | None = None  # nothing may run beside it; perhaps still queued
        self.retiring = False
        self.silent = False  # cannot answer just now, and so gets nothing more
        self.same_place: list[Worker] = []  # the workers of its place, this one too, oldest first
        self.keeps_place = False  # has run its maximum, and the one that takes its place waits for its last task
        self.waits_for_place = False  # gets nothing for that reason
        self.killing = False  # must stop at once; kept for the tasks which it may have started
        # It gave work to idle workers, and gets nothing in advance until it has finished something.
        self.recently_stolen_from = False
        self.last_progress_s = 0.0  # when it last finished something, or got work while it had none

    @property
    def plain_address(self) -> str:
        """The address for people: without the identity that binds connections to it."""
        return self.address if self.address.startswith("unix:") else self.address.partition("#")[0]

    def __repr__(self) -> str:
        return f"<Worker {self.name} {len(self.assigned)}/{self.slots}>"
