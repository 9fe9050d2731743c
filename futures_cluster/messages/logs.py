"""What is said about log records and warnings of tasks.

Covers: what a client wants to get, and what workers send. Does not cover: when it is sent
(``services.worker.log_forwarder``).
"""

from __future__ import annotations

from futures_cluster.messages.basics import Message, Payload
from futures_cluster.messages.rows import LevelRow, LogRow


class LogSettings(Message):
    """Which log records are to be forwarded: from a client to the scheduler, and from there to the workers.

    ``levels`` is empty if none are. ``everything``: also records that a handler on the worker has taken. ``filters``
    are those of ``warnings``, opaque to the scheduler; None leaves the worker's own.
    """

    __slots__ = ("client", "levels", "disabled", "everything", "filters")

    def __init__(
        self,
        client: str,
        levels: list[LevelRow],  # "" is the root, and is always there
        disabled: int = 0,  # as logging.disable() has it
        everything: bool = False,
        filters: Payload = None,
    ) -> None:
        self.client = client
        self.levels = levels
        self.disabled = disabled
        self.everything = everything
        self.filters = filters


class LogRecords(Message):
    """Log records and warnings, from a worker to the scheduler, and from there to the clients that want them."""

    __slots__ = ("worker", "rows", "dropped")

    def __init__(
        self,
        worker: str,
        rows: list[LogRow],
        dropped: int = 0,  # records that were not sent, since the last message
    ) -> None:
        self.worker = worker
        self.rows = rows
        self.dropped = dropped
