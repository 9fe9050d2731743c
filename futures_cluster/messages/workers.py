"""What workers and the scheduler say to each other.

Covers: both directions. Does not cover: data between workers (``peers``), heartbeats (``cluster``).
"""

from __future__ import annotations

from futures_cluster.messages.basics import FRESH, Key, Message, Payload
from futures_cluster.messages.rows import AttemptRow, CopyRow, FailedRow, FinishedRow, FunctionId, FunctionRow, RunRow


class WorkerConnected(Message):
    """A worker offers ``slots`` executions at a time. ``killable``: it can be stopped while it runs a task."""

    __slots__ = ("worker", "address", "slots", "killable", "resources", "host", "pid", "manager", "incarnation")

    def __init__(
        self,
        worker: str,
        address: str,
        slots: int = 1,
        killable: bool = True,
        resources: dict[str, float] = FRESH,
        host: str = "",
        pid: int = 0,
        manager: str = "",  # the process that started it, and stops it
        incarnation: str = "",  # tells it from former workers of its name
    ) -> None:
        self.worker = worker
        self.address = address
        self.slots = slots
        self.killable = killable
        self.resources = {} if resources is FRESH else resources
        self.host = host
        self.pid = pid
        self.manager = manager
        self.incarnation = incarnation


class WorkerGone(Message):
    """A worker is gone. ``executing`` are the keys it ran at that moment, None if they are not known.

    ``deliberate``: it was stopped on purpose, so no task is to blame. ``cause`` says in words how it ended.
    ``unheard``: its connection ended before it did, so it may have begun or ended more than it could say.
    """

    __slots__ = ("worker", "executing", "deliberate", "cause", "unheard")

    def __init__(
        self,
        worker: str,
        executing: list[Key] | None = None,
        deliberate: bool = False,
        cause: str = "",
        unheard: bool = False,
    ) -> None:
        self.worker = worker
        self.executing = executing
        self.deliberate = deliberate
        self.cause = cause
        self.unheard = unheard


class WorkerRetiring(Message):
    """A worker takes no more tasks: it has run its maximum, takes much memory, or has loaded modules that are old now.

    It still serves the data it holds. ``hands_over``: what only it holds goes to others, so that it ends soon.
    """

    __slots__ = ("worker", "hands_over")

    def __init__(self, worker: str, hands_over: bool = False) -> None:
        self.worker = worker
        self.hands_over = hands_over


class WorkersBroken(Message):
    """No worker can start (a failing initializer): every task fails with this error, an opaque payload."""

    __slots__ = ("error",)

    def __init__(self, error: Payload) -> None:
        self.error = error


class SlotsChanged(Message):
    """The worker has this many slots now: a task that waits for another has given its slot back."""

    __slots__ = ("worker", "slots")

    def __init__(self, worker: str, slots: int) -> None:
        self.worker = worker
        self.slots = slots


class TasksStarted(Message):
    """These began to run; sent only for those that do not end at once."""

    __slots__ = ("worker", "runs")

    def __init__(self, worker: str, runs: list[AttemptRow]) -> None:
        self.worker = worker
        self.runs = runs


class TasksFinished(Message):
    """Runs that ended."""

    __slots__ = ("worker", "finished", "failed")

    def __init__(self, worker: str, finished: list[FinishedRow], failed: list[FailedRow] = FRESH) -> None:
        self.worker = worker
        self.finished = finished
        self.failed = [] if failed is FRESH else failed


class TasksReturned(Message):
    """Runs given back without having started, asked for by ``ReturnTasks`` or for missing inputs.

    ``refused`` were asked for but had started or ended.
    """

    __slots__ = ("worker", "returned", "refused")

    def __init__(self, worker: str, returned: list[AttemptRow], refused: list[AttemptRow] = FRESH) -> None:
        self.worker = worker
        self.returned = returned
        self.refused = [] if refused is FRESH else refused


class DataAdded(Message):
    """The worker holds copies of these now. What they took on their way, if that was measured, tells the bandwidth."""

    __slots__ = ("worker", "keys", "size_bytes", "duration_s")

    def __init__(self, worker: str, keys: list[Key], size_bytes: int = 0, duration_s: float = 0.0) -> None:
        self.worker = worker
        self.keys = keys
        self.size_bytes = size_bytes
        self.duration_s = duration_s


class RunTasks(Message):
    """Executions assigned to a worker."""

    __slots__ = ("runs", "functions")

    def __init__(self, runs: list[RunRow], functions: list[FunctionRow] = FRESH) -> None:
        self.runs = runs
        self.functions = [] if functions is FRESH else functions


#: ``flags`` of a run: the result stays on the worker however small; the start is reported before the run.
KEEP = 1
REPORT_START = 2


class ReturnTasks(Message):
    """Give these runs back if they have not started (answered by ``TasksReturned``)."""

    __slots__ = ("runs",)

    def __init__(self, runs: list[AttemptRow]) -> None:
        self.runs = runs


class DropData(Message):
    """No task or client needs these results."""

    __slots__ = ("keys",)

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys


class CopyData(Message):
    """Get these from their holders, and keep them; answered by ``DataAdded``, or by ``ReportMissing``.

    Without holders it asks whether the worker has them itself.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: list[CopyRow]) -> None:
        self.rows = rows


class ForgetFunctions(Message):
    """The scheduler will send these functions again if it needs them again."""

    __slots__ = ("functions",)

    def __init__(self, functions: list[FunctionId]) -> None:
        self.functions = functions


class Retire(Message):
    """Take no more tasks, so that another worker is started in this one's place; see ``WorkerRetiring``."""

    __slots__ = ("hands_over",)

    def __init__(self, hands_over: bool = False) -> None:
        self.hands_over = hands_over


class StopWorker(Message):
    """End: at once with ``force`` (whatever runs is lost), else when it holds nothing that is needed.

    ``deliberate`` as in ``WorkerGone``; False: it has lost its connection to the scheduler. With ``incarnation`` it is
    for that worker alone, and not for a successor of the same name.
    """

    __slots__ = ("worker", "force", "reason", "deliberate", "incarnation")

    def __init__(
        self,
        worker: str,
        force: bool = False,
        reason: str = "",
        deliberate: bool = True,
        incarnation: str = "",
    ) -> None:
        self.worker = worker
        self.force = force
        self.reason = reason
        self.deliberate = deliberate
        self.incarnation = incarnation
