"""What clients and the scheduler say to each other.

Covers: both directions. Does not cover: questions about the cluster (``cluster``).
"""

from __future__ import annotations

from futures_cluster.messages.basics import DEFAULT_OPTIONS, FRESH, Key, Message, Payload, PlainValue, TaskOptions
from futures_cluster.messages.rows import (
    CallRow,
    DoneRow,
    FunctionId,
    FunctionRow,
    MissingRow,
    OptionsRow,
    ScatterRow,
    TaskRow,
)


class ClientJoined(Message):
    """A client asks to be served."""

    __slots__ = ("client",)

    def __init__(self, client: str) -> None:
        self.client = client


class ClientLeft(Message):
    """A client is gone; what only it wanted is dropped."""

    __slots__ = ("client",)

    def __init__(self, client: str) -> None:
        self.client = client


class SubmitTasks(Message):
    """New tasks that share their options.

    ``wanted`` is None for submitted tasks: all are wanted, and run even if they are released before. For the tasks of a
    graph it lists the keys whose results the client wants; the others run only while tasks need them.
    ``option_overrides`` names tasks with options of their own. ``calls`` names those whose key may be submitted more
    than once, because its caller chose it or because it follows from the call: a key that is known already is wanted
    again only if both calls are the same, and every other repetition is an error (``DuplicateKey``).
    """

    __slots__ = ("client", "tasks", "functions", "options", "depth", "wanted", "option_overrides", "calls")

    def __init__(
        self,
        client: str,
        tasks: list[TaskRow],
        functions: list[FunctionRow] = FRESH,  # those not told before
        options: TaskOptions = DEFAULT_OPTIONS,
        depth: int = 0,  # how deep in nested submissions; deeper ones run first, so that waiting parents are few
        wanted: list[Key] | None = None,
        option_overrides: list[OptionsRow] = FRESH,
        calls: list[CallRow] = FRESH,
    ) -> None:
        self.client = client
        self.tasks = tasks
        self.functions = [] if functions is FRESH else functions
        self.options = options
        self.depth = depth
        self.wanted = wanted
        self.option_overrides = [] if option_overrides is FRESH else option_overrides
        self.calls = [] if calls is FRESH else calls


class CancelTasks(Message):
    """The client wants no result of these; ``force`` stops them even when they are running."""

    __slots__ = ("client", "keys", "force")

    def __init__(self, client: str, keys: list[Key], force: bool = False) -> None:
        self.client = client
        self.keys = keys
        self.force = force


class ReleaseKeys(Message):
    """The client's last futures of these keys are gone."""

    __slots__ = ("client", "keys")

    def __init__(self, client: str, keys: list[Key]) -> None:
        self.client = client
        self.keys = keys


class ReleaseFunctions(Message):
    """The client will not use these functions again without sending them again."""

    __slots__ = ("client", "functions")

    def __init__(self, client: str, functions: list[FunctionId]) -> None:
        self.client = client
        self.functions = functions


class ReportMissing(Message):
    """A client or a worker could not fetch ``key`` from its holder ``worker``."""

    __slots__ = ("reporter", "missing")

    def __init__(self, reporter: str, missing: list[MissingRow]) -> None:
        self.reporter = reporter
        self.missing = missing


class ScatterData(Message):
    """The client has put these onto workers by itself (``PutData``); nothing can make them again.

    ``TasksDone`` follows once each is on ``replicas`` workers, or on all there are.
    """

    __slots__ = ("client", "rows", "replicas")

    def __init__(self, client: str, rows: list[ScatterRow], replicas: int = 1) -> None:
        self.client = client
        self.rows = rows
        self.replicas = replicas


class RetireWorkers(Message):
    """These workers are to end: they get nothing more, and what only they hold goes to others before."""

    __slots__ = ("workers",)

    def __init__(self, workers: list[str]) -> None:
        self.workers = workers


class AskShared(Message):
    """Something asked of a shared object (``scheduler.shared.objects``).

    The answer has the same ``request``; 0: no answer.
    """

    __slots__ = ("client", "request", "kind", "name", "op", "args")

    def __init__(
        self,
        client: str,
        request: int,
        kind: str,
        name: str,
        op: str,
        args: list[PlainValue] = FRESH,
    ) -> None:
        self.client = client
        self.request = request
        self.kind = kind
        self.name = name
        self.op = op
        self.args = [] if args is FRESH else args


class WithdrawShared(Message):
    """The client no longer waits for this answer, which comes all the same, perhaps as "withdrawn"."""

    __slots__ = ("client", "request")

    def __init__(self, client: str, request: int) -> None:
        self.client = client
        self.request = request


class SharedTaken(Message):
    """The client has futures of its own now of the keys that came with this answer."""

    __slots__ = ("client", "request")

    def __init__(self, client: str, request: int) -> None:
        self.client = client
        self.request = request


class TasksRunning(Message):
    """These are being executed."""

    __slots__ = ("keys",)

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys


class TasksWaiting(Message):
    """The attempts at these have ended, and they wait until they run again."""

    __slots__ = ("keys",)

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys


class TasksDone(Message):
    """How tasks ended, or that a lost result is available again."""

    __slots__ = ("done",)

    def __init__(self, done: list[DoneRow]) -> None:
        self.done = done


class TasksRecomputing(Message):
    """The results of these finished tasks were lost with their worker; ``TasksDone`` will come again."""

    __slots__ = ("keys",)

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys


class SharedReply(Message):
    """The answer to ``AskShared``.

    ``keys`` are of the tasks in its items: they are kept for the client until it says ``SharedTaken``.
    """

    __slots__ = ("request", "values", "error", "keys")

    def __init__(self, request: int, values: list[PlainValue], error: Payload = None, keys: list[Key] = FRESH) -> None:
        self.request = request
        self.values = values
        self.error = error
        self.keys = [] if keys is FRESH else keys
