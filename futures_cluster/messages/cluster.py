"""What is said in a cluster of machines, besides tasks and data.

Covers: signs of life, how workers ended, users' modules, questions, and what workers say of themselves while a person
looks. Does not cover: programs with workers of their own, which need none of it but modules and reports.
"""

from __future__ import annotations

from typing import Any

from futures_cluster.messages.basics import FRESH, Message
from futures_cluster.messages.rows import FileRow, VersionRow


class Heartbeat(Message):
    """The sender is alive. Sent in both directions, and never answered.

    Each side says how much silence it bears, workers add facts about themselves, managers which of their workers run.
    """

    __slots__ = ("sender", "facts")

    def __init__(self, sender: str, facts: dict[str, Any] = FRESH) -> None:
        self.sender = sender
        self.facts = {} if facts is FRESH else facts


class WorkerEnded(Message):
    """The process that started a worker says how it ended; the fields are those of ``WorkerGone``."""

    __slots__ = ("worker", "attempts", "deliberate", "cause", "unheard", "incarnation")

    def __init__(
        self,
        worker: str,
        attempts: list[int],
        deliberate: bool = False,
        cause: str = "",
        unheard: bool = False,
        incarnation: str = "",
    ) -> None:
        self.worker = worker
        self.attempts = attempts
        self.deliberate = deliberate
        self.cause = cause
        self.unheard = unheard
        self.incarnation = incarnation


class PeersLost(Message):
    """The scheduler has dropped the workers at these addresses; peers stop waiting for their answers."""

    __slots__ = ("addresses",)

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses


class ShareCode(Message):
    """A client's modules: folders of its ``sys.path``, files that it uploads, and what it has loaded."""

    __slots__ = ("client", "paths", "files", "versions")

    def __init__(
        self,
        client: str,
        paths: list[str] = FRESH,
        files: list[FileRow] = FRESH,
        versions: list[VersionRow] = FRESH,
    ) -> None:
        self.client = client
        self.paths = [] if paths is FRESH else paths
        self.files = [] if files is FRESH else files
        self.versions = [] if versions is FRESH else versions


class AskScheduler(Message):
    """A question about the cluster; ``request`` comes back with the answer."""

    __slots__ = ("request", "what", "argument")

    def __init__(self, request: int, what: str, argument: Any = None) -> None:
        self.request = request
        self.what = what
        self.argument = argument


class AskReply(Message):
    """The answer to ``AskScheduler``, of plain values; or why there is none.

    ``request`` 0: the scheduler takes the peer that has joined, or refuses it for the reason in ``error``.
    """

    __slots__ = ("request", "value", "error")

    def __init__(self, request: int, value: Any = None, error: str = "") -> None:
        self.request = request
        self.value = value
        self.error = error


class Observe(Message):
    """The page has viewers, or none: a worker reports at once and then after each interval.

    ``interval_s`` 0: only once; below: no more. ``detail``: also what it holds and waits for. ``profile``: where its
    tasks spend their time. ``output``: what they print.
    """

    __slots__ = ("interval_s", "detail", "profile", "output")

    def __init__(self, interval_s: float, detail: bool = False, profile: bool = False, output: bool = False) -> None:
        self.interval_s = interval_s
        self.detail = detail
        self.profile = profile
        self.output = output


class WorkerReport(Message):
    """What a worker says of itself, of plain values; see ``services.worker.reporter``. Nothing is decided by it.

    ``asked``: it answers an ``Observe`` that wanted one report.
    """

    __slots__ = ("worker", "facts", "asked")

    def __init__(self, worker: str, facts: dict[str, Any] = FRESH, asked: bool = False) -> None:
        self.worker = worker
        self.facts = {} if facts is FRESH else facts
        self.asked = asked
