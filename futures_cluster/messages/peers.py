"""What is said between whoever wants data, and a worker.

Covers: introductions, asking for data and putting it. Does not cover: which data is where.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from futures_cluster.messages.basics import Key, Message, message


@message
class Hello(Message):
    """The first message of a worker or a client on a new connection, and of the scheduler as an answer."""

    role: str
    name: str
    address: str = ""
    pid: int = 0
    versions: dict[str, str] = field(default_factory=dict)  # see wire.versions
    codecs: list[str] = field(default_factory=list)  # what it can decompress; see wire.compress


@message
class GetData(Message):
    """Ask a worker for results it holds. ``request`` comes back with the answer.

    ``codecs``: what the asker can decompress, if it wants that (see ``wire.compress``). ``beside``: the asker cannot
    open the worker's shared segments, so the data has to travel beside the message.
    """

    request: int
    keys: list[Key]
    codecs: list[str] = field(default_factory=list)
    beside: bool = False


@message
class RelayData(Message):
    """A worker asks the program that started it for what it cannot get itself; answered by ``Data``.

    ``address``: of the worker that holds these results; without one, ``keys`` are tasks whose arguments it cannot open.
    """

    worker: str
    request: int
    keys: list[Key]
    address: str = ""


@message
class Data(Message):
    """The answer to ``GetData``: what is there, and why the rest is not."""

    request: int
    found: list[Any]  # (key, payload)
    missing: list[Key] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)  # (key, error payload): results that do not pickle


@message
class PutData(Message):
    """Keep these, which a client scatters.

    The answer is ``Data`` without anything found; ``missing`` were refused, and the keys among ``errors`` are taken.
    """

    request: int
    rows: list[Any]  # (key, payload)


@message
class SegmentsMapped(Message):
    """The asker has opened (or will not open) these shared segments of the answer, so they may be reused."""

    segments: list[int]  # serial numbers
