"""Events and commands that stay inside one process.

Covers: what a machine and its service say to each other. Does not cover: anything that is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from futures_cluster.messages.basics import Key, Message, Payload, message


@message
class Tick(Message):
    """Time has passed: deadlines are looked at."""


@message
class WorkerSilent(Message):
    """A worker says nothing though its process lives, or (``silent`` is False) has spoken again."""

    worker: str
    silent: bool = True


@dataclass(slots=True)
class ToWorker:
    """A command: send this message to that worker."""

    worker: str
    message: Message


@dataclass(slots=True)
class ToClient:
    """A command: send this message to that client."""

    client: str
    message: Message


@dataclass(slots=True)
class PayloadsFreed:
    """A command: no task needs these payloads any more; their writers may use the memory again."""

    payloads: list[Payload]


@message
class DataFetched(Message):
    """A worker's own fetch ended: what arrived, and what did not."""

    holder: str
    arrived: list[Any]  # (key, size_bytes)
    missing: list[Key] = field(default_factory=list)
    duration_s: float = 0.0  # from asking to having them all; 0 if nobody looked at the clock


@message
class DataPut(Message):
    """A client has put these into the worker's store."""

    rows: list[Any]  # (key, size_bytes)


@message
class RunsEnded(Message):
    """Executions of this worker ended, in its own threads."""

    finished: list[Any]  # as in TasksFinished
    failed: list[Any] = field(default_factory=list)
    reports: bool = False  # tell the scheduler at once, unless another run begins


@message
class RunWaits(Message):
    """A task gives its slot back while it waits (``waits``), or wants to go on."""

    key: Key
    attempt: int
    waits: bool


@dataclass(slots=True)
class ExecuteRuns:
    """A worker's command: start these now, each in a slot of its own."""

    runs: list[Any]


@dataclass(slots=True)
class FetchData:
    """A worker's command: get these from that peer."""

    holder: str
    address: str
    keys: list[Key]
