"""What clients and workers ask of a worker that holds data, and its answers.

Covers: introductions, asking for data and putting it. Does not cover: which data is where.
"""

from __future__ import annotations

from futures_cluster.messages.basics import FRESH, Key, Message
from futures_cluster.messages.rows import DataRow


class Hello(Message):
    """The first message of a worker or a client on a new connection, and of the scheduler as an answer."""

    __slots__ = ("role", "name", "address", "pid", "versions", "codecs")

    def __init__(
        self,
        role: str,
        name: str,
        address: str = "",
        pid: int = 0,
        versions: dict[str, str] = FRESH,  # see wire.versions
        codecs: list[str] = FRESH,  # what it can decompress; see wire.codec.compress
    ) -> None:
        self.role = role
        self.name = name
        self.address = address
        self.pid = pid
        self.versions = {} if versions is FRESH else versions
        self.codecs = [] if codecs is FRESH else codecs


class GetData(Message):
    """Ask a worker for results it holds. ``request`` comes back with the answer.

    ``codecs``: what the asker can decompress, if it wants that (see ``wire.codec.compress``). ``beside``: the asker
    cannot open the worker's shared segments, so the data has to travel beside the message.
    """

    __slots__ = ("request", "keys", "codecs", "beside")

    def __init__(self, request: int, keys: list[Key], codecs: list[str] = FRESH, beside: bool = False) -> None:
        self.request = request
        self.keys = keys
        self.codecs = [] if codecs is FRESH else codecs
        self.beside = beside


class RelayData(Message):
    """A worker asks the program that started it for what it cannot get itself; answered by ``Data``.

    ``address``: of the worker that holds these results; without one, ``keys`` are tasks whose arguments it cannot open.
    """

    __slots__ = ("worker", "request", "keys", "address")

    def __init__(self, worker: str, request: int, keys: list[Key], address: str = "") -> None:
        self.worker = worker
        self.request = request
        self.keys = keys
        self.address = address


class Data(Message):
    """The answer to ``GetData``: what is there, and why the rest is not."""

    __slots__ = ("request", "found", "missing", "errors")

    def __init__(
        self,
        request: int,
        found: list[DataRow],
        missing: list[Key] = FRESH,
        errors: list[DataRow] = FRESH,  # of results that do not pickle
    ) -> None:
        self.request = request
        self.found = found
        self.missing = [] if missing is FRESH else missing
        self.errors = [] if errors is FRESH else errors


class PutData(Message):
    """Keep these, which a client scatters.

    The answer is ``Data`` without anything found; ``missing`` were refused, and the keys among ``errors`` are taken.
    """

    __slots__ = ("request", "rows")

    def __init__(self, request: int, rows: list[DataRow]) -> None:
        self.request = request
        self.rows = rows


class SegmentsMapped(Message):
    """The asker has opened (or will not open) these shared segments of the answer, so they may be reused."""

    __slots__ = ("segments",)

    def __init__(
        self,
        segments: list[int],  # serial numbers
    ) -> None:
        self.segments = segments
