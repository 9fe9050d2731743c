"""A worker's data: which results it holds, and which are on their way.

Covers: the record of one result. Does not cover: executions (``runs``): whether a task runs here and whether
its result lies here are two questions, and a result may have come from another worker. The values themselves
are in ``services.worker.store``.
"""

from __future__ import annotations

from futures_cluster.messages import Key
from futures_cluster.worker.runs import Run


class Replica:
    """A result that the worker holds, or fetches for runs that need it.

    Attributes
    ----------
    holders : list of (str, str)
        While it is fetched: the peers (name, address) to ask, the present one first.
    runs : dict of Run
        Runs that wait for it.
    users : int
        Runs here that have not ended and have it among their inputs, those that wait for it included.
    copy : bool
        While it is fetched: the scheduler wants it to be here, whether or not runs need it.
    dropped : bool
        The scheduler has said meanwhile that it is not needed; it goes once it has no users.
    """

    __slots__ = ("copy", "dropped", "held", "holders", "key", "runs", "size_bytes", "users")

    def __init__(self, key: Key, size_bytes: int, held: bool, holders: list[tuple[str, str]]) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self.held = held
        self.holders = holders
        self.runs: dict[Run, None] = {}
        self.users = 0
        self.copy = False
        self.dropped = False

    def __repr__(self) -> str:
        return f"<Replica {self.key} {'held' if self.held else 'fetched'}>"
