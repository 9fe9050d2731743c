"""What workers and the scheduler say to each other.

Covers: both directions. Does not cover: data between workers (``peers``), heartbeats (``cluster``).
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from futures_cluster.messages.basics import Key, Message, Payload, message


@message
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
    incarnation: str = ""  # tells it from former workers of its name


@message
class WorkerLost(Message):
    """A worker is gone. ``executing`` are the keys it ran at that moment, None if they are not known.

    ``deliberate``: it was stopped on purpose, so no task is to blame. ``cause`` says in words how it ended.
    ``unheard``: its connection ended before it did, so it may have begun or ended more than it could say.
    """

    worker: str
    executing: list[Key] | None = None
    deliberate: bool = False
    cause: str = ""
    unheard: bool = False


@message
class WorkerRetiring(Message):
    """A worker takes no more tasks: it has run its maximum, takes much memory, or has loaded modules that are old now.

    It still serves the data it holds. ``hands_over``: what only it holds goes to others, so that it ends soon.
    """

    worker: str
    hands_over: bool = False


@message
class WorkersBroken(Message):
    """No worker can start (a failing initializer): every task fails with this error, an opaque payload."""

    error: Payload


@message
class SlotsChanged(Message):
    """The worker has this many slots now: a task that waits for another has given its slot back."""

    worker: str
    slots: int


@message
class TasksStarted(Message):
    """These began to run; sent only for those that do not end at once."""

    worker: str
    runs: list[Any]  # (key, attempt)


@message
class TasksFinished(Message):
    """Runs that ended."""

    worker: str
    finished: list[Any]  # (key, attempt, payload or None if the result stays there, size_bytes, duration_s)
    failed: list[Any] = field(default_factory=list)  # (key, attempt, error payload, duration_s)


@message
class TasksReturned(Message):
    """Runs given back without having started, asked for by ``ReturnTasks`` or for missing inputs.

    ``refused`` were asked for but had started or ended.
    """

    worker: str
    returned: list[Any]  # (key, attempt)
    refused: list[Any] = field(default_factory=list)  # (key, attempt)


@message
class DataAdded(Message):
    """The worker holds copies of these now. What they took on their way, if that was measured, tells the bandwidth."""

    worker: str
    keys: list[Key]
    size_bytes: int = 0
    duration_s: float = 0.0


@message
class RunTasks(Message):
    """Executions committed to a worker."""

    runs: list[Any]  # (key, attempt, function, payload, priority, inputs, flags)
    functions: list[Any] = field(default_factory=list)  # (function, name, payload)
    # priority: (level..., attempt), so that a worker keeps the order of commitment
    # inputs: (key, size_bytes, payload or None, [(worker, address)...])


#: ``flags`` of a run: the result stays on the worker however small; the start is reported before the run.
KEEP = 1
REPORT_START = 2


@message
class ReturnTasks(Message):
    """Give these runs back if they have not started (answered by ``TasksReturned``)."""

    runs: list[Any]  # (key, attempt)


@message
class DropData(Message):
    """Nobody needs these results any more."""

    keys: list[Key]


@message
class CopyData(Message):
    """Get these from who holds them, and keep them; answered by ``DataAdded``, or by ``ReportMissing``.

    Without holders it asks whether the worker has them itself.
    """

    rows: list[Any]  # (key, size_bytes, [(worker, address)...])


@message
class ForgetFunctions(Message):
    """These functions will be told anew if they come again."""

    functions: list[str]


@message
class Retire(Message):
    """Take no more tasks, so that another worker is started in this one's place; see ``WorkerRetiring``."""

    hands_over: bool = False


@message
class StopWorker(Message):
    """End: at once with ``force`` (whatever runs is lost), else when it holds nothing that is needed.

    ``deliberate`` as in ``WorkerLost``; False: it has lost its connection to the scheduler. With ``incarnation`` it is
    for that worker alone, and not for a successor of the same name.
    """

    worker: str
    force: bool = False
    reason: str = ""
    deliberate: bool = True
    incarnation: str = ""
