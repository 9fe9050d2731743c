"""At the scheduler: which workers forward log records, and which client gets them.

Covers: telling workers what clients want, passing records on. Does not cover: reading a record, which is opaque here
(``log_records``), and taking it (``log_forwarder``).

A client gets the records of its own tasks. It also gets those that belong to no program's task: of a worker's threads,
and of tasks that other tasks have submitted, of which the scheduler knows only the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import messages as m
from futures_cluster.services.common.log_settings import merge

if TYPE_CHECKING:
    from futures_cluster.scheduler.state import State

#: A client whose connection has more than this to send gets no more records for now.
MAX_PENDING_BYTES = 16 * 2**20


class LogRelay:
    """Log records between workers and clients; called under the service's lock.

    Parameters
    ----------
    state : State
        Of the scheduler; is only read.
    workers, clients : dict
        What sends messages to each.
    """

    def __init__(self, state: State, workers: dict[str, Any], clients: dict[str, Any]) -> None:
        self._state = state
        self._workers = workers
        self._clients = clients
        self._wanted: dict[str, m.LogSettings] = {}  # by client
        self._dropped: dict[str, int] = {}  # by client, what it has not been told
        self._told: dict[str, m.LogSettings] = {}  # by worker
        self._merged: m.LogSettings | None = None
        self.pending_bytes: Callable[[str], int] = lambda client: 0

    def settings_for(self, worker: str) -> m.LogSettings | None:
        """Return the settings for the start of a worker, which counts as told."""
        if self._merged is not None:
            self._told[worker] = self._merged
        return self._merged

    def want(self, settings: m.LogSettings) -> None:
        """Take what a client wants, and tell all workers."""
        settings.levels = [(name, level) for name, level in settings.levels if isinstance(level, int)]
        self._wanted.pop(settings.client, None)
        if settings.levels:
            self._wanted[settings.client] = settings
        self._changed()

    def forget(self, client: str) -> None:
        """Forget a client that has left."""
        if self._wanted.pop(client, None) is not None:
            self._dropped.pop(client, None)
            self._changed()

    def _changed(self) -> None:
        self._merged = merge(self._wanted.values()) if self._wanted else m.LogSettings("", [])
        for worker in list(self._workers):
            self.tell(worker)

    def lost(self, worker: str) -> None:
        """Forget a worker."""
        self._told.pop(worker, None)

    def tell(self, worker: str) -> None:
        """Tell a worker what clients want, if it does not know yet."""
        send, merged = self._workers.get(worker), self._merged
        if send is not None and merged is not None and self._told.get(worker) != merged:
            if merged.levels or worker in self._told:
                send([merged])
            self._told[worker] = merged

    def pass_on(self, message: m.LogRecords) -> None:
        """Send records to the clients that want them."""
        if not self._wanted:
            return
        by_client: dict[str, list[m.LogRow]] = {client: [] for client in self._wanted}
        for row in message.rows:
            if type(row[1]) is not bytes:
                continue
            task = self._state.tasks.get(row[0])
            owner = task.flow.client if task is not None else ""
            if owner in by_client:
                by_client[owner].append(row)
            elif not owner or owner in self._state.workers:
                for rows in by_client.values():
                    rows.append(row)
        for client, rows in by_client.items():
            self._send(client, message.worker, rows, message.dropped)

    def _send(self, client: str, worker: str, rows: list[m.LogRow], dropped: int) -> None:
        send = self._clients.get(client)
        if send is None:
            return
        if self.pending_bytes(client) > MAX_PENDING_BYTES:
            self._dropped[client] = self._dropped.get(client, 0) + len(rows) + dropped
            return
        dropped += self._dropped.pop(client, 0)
        if rows or dropped:
            send([m.LogRecords(worker, rows, dropped)])
