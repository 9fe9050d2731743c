"""What is said in a cluster of machines, besides tasks and data.

Covers: signs of life, how workers ended, users' modules, questions, and what workers say of themselves while a person
looks. Does not cover: programs with workers of their own, which need none of it but modules and reports.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from futures_cluster.messages.basics import Message, message


@message
class Heartbeat(Message):
    """The sender is alive. Sent in both directions, and never answered.

    Each side says how much silence it bears, workers add facts about themselves, managers which of their workers run.
    """

    sender: str
    facts: dict[str, Any] = field(default_factory=dict)


@message
class WorkerEnded(Message):
    """The process that started a worker says how it ended; the fields are those of ``WorkerLost``."""

    worker: str
    attempts: list[int]
    deliberate: bool = False
    cause: str = ""
    unheard: bool = False
    incarnation: str = ""


@message
class PeersLost(Message):
    """The scheduler has given up the workers at these addresses; nobody need wait for their answers."""

    addresses: list[str]


@message
class ShareCode(Message):
    """A client's modules: folders of its ``sys.path``, files that it uploads, and what it has loaded."""

    client: str
    paths: list[str] = field(default_factory=list)
    files: list[Any] = field(default_factory=list)  # (name, content)
    versions: list[Any] = field(default_factory=list)  # (module, file, changed_ns, size, digest)


@message
class AskScheduler(Message):
    """A question about the cluster; ``request`` comes back with the answer."""

    request: int
    what: str
    argument: Any = None


@message
class Answer(Message):
    """The answer to ``AskScheduler``, of plain values; or why there is none.

    ``request`` 0: the scheduler takes the peer that has joined, or refuses it for the reason in ``error``.
    """

    request: int
    value: Any = None
    error: str = ""


@message
class Observe(Message):
    """Somebody looks, or looks no more: a worker says what it does, at once and then after each interval.

    ``interval_s`` 0: only once; below: no more. ``detail``: also what it holds and waits for. ``profile``: where its
    tasks spend their time. ``output``: what they print.
    """

    interval_s: float
    detail: bool = False
    profile: bool = False
    output: bool = False


@message
class WorkerReport(Message):
    """What a worker says of itself, of plain values; see ``services.observer``. Nothing is decided by it.

    ``asked``: it answers an ``Observe`` that wanted one report.
    """

    worker: str
    facts: dict[str, Any] = field(default_factory=dict)
    asked: bool = False
