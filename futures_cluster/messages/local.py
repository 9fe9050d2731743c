"""Events and commands that stay inside one process.

Covers: what a machine and its service say to each other. Does not cover: anything that is sent.
"""

from __future__ import annotations

from typing import Any

from futures_cluster.messages.basics import FRESH, Key, Message, Payload, Record
from futures_cluster.messages.rows import FailedRow, FinishedRow, SizeRow


class Tick(Message):
    """Time has passed: deadlines are looked at."""

    __slots__ = ()


class DeclareLimits(Message):
    """Limits that all tasks of the cluster share; those that are declared already stay as they are."""

    __slots__ = ("limits",)

    def __init__(self, limits: dict[str, float]) -> None:
        self.limits = limits


class WorkerSilent(Message):
    """A worker says nothing though its process lives, or (``silent`` is False) has spoken again."""

    __slots__ = ("worker", "silent")

    def __init__(self, worker: str, silent: bool = True) -> None:
        self.worker = worker
        self.silent = silent


class ToWorker(Record):
    """A command: send this message to that worker."""

    __slots__ = ("worker", "message")

    def __init__(self, worker: str, message: Message) -> None:
        self.worker = worker
        self.message = message


class ToClient(Record):
    """A command: send this message to that client."""

    __slots__ = ("client", "message")

    def __init__(self, client: str, message: Message) -> None:
        self.client = client
        self.message = message


class PayloadsFreed(Record):
    """A command: no task needs these payloads; their writers may reuse the memory."""

    __slots__ = ("payloads",)

    def __init__(self, payloads: list[Payload]) -> None:
        self.payloads = payloads


class FetchEnded(Message):
    """A worker's own fetch ended: what arrived, and what did not."""

    __slots__ = ("holder", "arrived", "missing", "duration_s")

    def __init__(
        self,
        holder: str,
        arrived: list[SizeRow],
        missing: list[Key] = FRESH,
        duration_s: float = 0.0,  # from asking to having them all; 0 if not measured
    ) -> None:
        self.holder = holder
        self.arrived = arrived
        self.missing = [] if missing is FRESH else missing
        self.duration_s = duration_s


class DataPut(Message):
    """A client has put these into the worker's store."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[SizeRow]) -> None:
        self.rows = rows


class RunsEnded(Message):
    """Executions of this worker ended, in its own threads."""

    __slots__ = ("finished", "failed", "reports")

    def __init__(
        self,
        finished: list[FinishedRow],
        failed: list[FailedRow] = FRESH,
        reports: bool = False,  # tell the scheduler at once, unless another run begins
    ) -> None:
        self.finished = finished
        self.failed = [] if failed is FRESH else failed
        self.reports = reports


class RunWaits(Message):
    """A task gives its slot back while it waits (``waits``), or wants to go on."""

    __slots__ = ("key", "attempt", "waits")

    def __init__(self, key: Key, attempt: int, waits: bool) -> None:
        self.key = key
        self.attempt = attempt
        self.waits = waits


class ExecuteRuns(Record):
    """A worker's command: start these (``worker.runs.Run``) now, each in a slot of its own."""

    __slots__ = ("runs",)

    def __init__(self, runs: list[Any]) -> None:
        self.runs = runs


class FetchData(Record):
    """A worker's command: get these from that peer."""

    __slots__ = ("holder", "address", "keys")

    def __init__(self, holder: str, address: str, keys: list[Key]) -> None:
        self.holder = holder
        self.address = address
        self.keys = keys
