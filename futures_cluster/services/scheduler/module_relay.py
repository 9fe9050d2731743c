"""At the scheduler: what clients say of their modules, for all workers, also for those that are still to come.

Covers: keeping it as long as the client is there, passing it on. Does not cover: looking into it
(``uploaded_modules``).
"""

from __future__ import annotations

from typing import Any

from futures_cluster import messages as m


class CodeRelay:
    """What clients have said of their modules; called under the service's lock.

    Parameters
    ----------
    workers : dict
        What sends messages to each.
    """

    def __init__(self, workers: dict[str, Any]) -> None:
        self._workers = workers
        self._joined: dict[str, None] = {}
        self._known: dict[str, m.ShareCode] = {}  # by client

    def share(self, message: m.ShareCode) -> None:
        """Take what a client says, and tell all workers."""
        known = self._known.setdefault(message.client, m.ShareCode(message.client))
        known.paths = list(dict.fromkeys([*known.paths, *message.paths]))
        known.files = _renewed(known.files, message.files)
        known.versions = _renewed(known.versions, message.versions)
        for worker in self._joined:
            if (send := self._workers.get(worker)) is not None:
                send([message])

    def joined(self, worker: str) -> None:
        """Tell a worker that has joined, before it gets tasks, as it may retire."""
        self._joined[worker] = None
        send = self._workers.get(worker)
        if send is not None and self._known:
            send([m.ShareCode(each.client, each.paths, each.files, each.versions) for each in self._known.values()])

    def lost(self, worker: str) -> None:
        """Forget a worker."""
        self._joined.pop(worker, None)

    def forget(self, client: str) -> None:
        """Forget a client that has left."""
        self._known.pop(client, None)


def _renewed(rows: list[Any], newer: list[Any]) -> list[Any]:
    """Return rows by their first value, the newer ones in the place of others."""
    return list({row[0]: row for row in [*rows, *newer]}.values())
