"""What clients and the scheduler say to each other.

Covers: both directions. Does not cover: questions about the cluster (``cluster``).
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from futures_cluster.messages.basics import DEFAULT_OPTIONS, Key, Message, Payload, PlainValue, TaskOptions, message


@message
class ClientJoined(Message):
    """A client asks to be served."""

    client: str


@message
class ClientLeft(Message):
    """A client is gone; what only it wanted is dropped."""

    client: str


@message
class SubmitTasks(Message):
    """New tasks that share their options.

    ``wanted`` is None for submitted tasks: all are wanted, and run even if they are released before. For the
    tasks of a graph it lists the keys whose results the client wants; the others run only while somebody
    needs them. ``apart`` names tasks with options of their own. ``calls`` names those whose key may be submitted more
    than once, because its caller chose it or because it follows from the call: a key that is known already is wanted
    again only if both calls are the same, and every other repetition is an error (``DuplicateKey``).
    """

    client: str
    tasks: list[Any]  # (key, function, payload, dependencies: list of keys)
    functions: list[Any] = field(default_factory=list)  # (function, name, payload); those not told before
    options: TaskOptions = DEFAULT_OPTIONS
    depth: int = 0  # how deep in nested submissions; deeper ones run first, so that waiting parents are few
    wanted: list[Key] | None = None
    apart: list[Any] = field(default_factory=list)  # (key, TaskOptions)
    calls: list[Any] = field(default_factory=list)  # (key, digest of function, arguments and inputs)


@message
class CancelTasks(Message):
    """The client wants no result of these; ``force`` stops them even when they are running."""

    client: str
    keys: list[Key]
    force: bool = False


@message
class ReleaseKeys(Message):
    """The client's last futures of these keys are gone."""

    client: str
    keys: list[Key]


@message
class ReleaseFunctions(Message):
    """The client will not use these functions again without telling them anew."""

    client: str
    functions: list[str]


@message
class ReportMissing(Message):
    """Somebody could not fetch ``key`` from ``worker``, which was said to hold it."""

    reporter: str
    missing: list[Any]  # (key, worker)


@message
class ScatterData(Message):
    """The client has put these onto workers by itself (``PutData``); nothing can make them again.

    ``TasksDone`` follows once each is on ``replicas`` workers, or on all there are.
    """

    client: str
    rows: list[Any]  # (key, size_bytes, worker)
    replicas: int = 1


@message
class RetireWorkers(Message):
    """These workers are to end: they get nothing more, and what only they hold goes to others before."""

    workers: list[str]


@message
class AskShared(Message):
    """Something asked of a shared object (``scheduler.shared``); the answer has the same ``request``, 0: no answer."""

    client: str
    request: int
    kind: str
    name: str
    op: str
    args: list[PlainValue] = field(default_factory=list)


@message
class WithdrawShared(Message):
    """Nobody waits for this answer any more; it comes all the same, if only to say that it was withdrawn."""

    client: str
    request: int


@message
class SharedTaken(Message):
    """The client has futures of its own now of the keys that came with this answer."""

    client: str
    request: int


@message
class TasksRunning(Message):
    """These are being executed."""

    keys: list[Key]


@message
class TasksDone(Message):
    """How tasks ended, or that what was held is to be had again."""

    done: list[Any]  # (key, FINISHED | FAILED | CANCELLED, payload or None, size_bytes, [(worker, address)...])


@message
class TasksRecomputing(Message):
    """The results of these finished tasks were lost with their worker; ``TasksDone`` will come again."""

    keys: list[Key]


@message
class SharedReply(Message):
    """The answer to ``AskShared``.

    ``keys`` are of the tasks in its items: they are kept for the client until it says ``SharedTaken``.
    """

    request: int
    values: list[PlainValue]
    error: Payload = None
    keys: list[Key] = field(default_factory=list)
