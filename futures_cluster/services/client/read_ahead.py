"""Results that come along with one that is fetched.

Covers: which results a client fetches together. Does not cover: fetching them (``fetching``).

A worker's loop answers when the thread that executes tasks there lets go of the interpreter, which takes up to 1 ms in
pure Python (``worker.bootstrap.SWITCH_INTERVAL_S``), for each piece that the socket takes. A program that reads its
results one after the other (``map``, a loop over futures) would wait that long for each. So, as a file system reads
ahead, a client that asks for its oldest unread results in turn gets the next ones in the same answer: one more, then
two, up to ``MAX_RESULTS`` and ``MAX_BYTES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from futures_cluster.messages import Key
    from futures_cluster.services.common.protocols import ClientFuture

#: Results, and their bytes, that come along with one.
MAX_RESULTS = 16
MAX_BYTES = 4 * 1024 * 1024
#: An unread result is one of the oldest up to this place: workers end tasks in another order than a program reads them.
NEAR = 16
#: Unread results that are looked at, and that are remembered.
MAX_LOOKED_AT = 4 * MAX_RESULTS
MAX_REMEMBERED = 4096


class ReadAhead:
    """What one client has not read yet, in the order in which it became done.

    Parameters
    ----------
    known : mapping
        The client's futures by key.
    """

    def __init__(self, known: Mapping[Key, Any]) -> None:
        self._known = known
        self._unread: dict[Key, int] = {}  # their sizes
        self._window = 0

    def __len__(self) -> int:
        return len(self._unread)

    def add(self, key: Key, size_bytes: int) -> None:
        """Remember a result that has stayed on a worker."""
        self._unread[key] = size_bytes
        if len(self._unread) > MAX_REMEMBERED:  # read never, or in another order
            self._drop(list(islice(self._unread, MAX_REMEMBERED // 2)))

    def along(self, future: ClientFuture) -> list[ClientFuture]:
        """Return the futures whose results its first holder should send along.

        They are forgotten then, and so is this one.
        """
        holders = future._holders
        try:
            oldest = list(islice(self._unread.items(), MAX_LOOKED_AT))
        except RuntimeError:  # a finalizer or another thread adds one at this moment
            return []
        near = any(key == future.key for key, _ in oldest[:NEAR])
        self._drop([future.key])
        if not near or not holders:
            self._window = 0
            return []
        room = MAX_BYTES
        found: list[ClientFuture] = []
        for key, size_bytes in oldest:
            if len(found) == self._window:
                break
            other = self._known.get(key)
            if other is None or not other._is_remote():  # released, or read
                self._drop([key])
            elif other is not future and other._holders[:1] == holders[:1] and size_bytes <= room:
                room -= size_bytes
                found.append(other)
        self._drop([other.key for other in found])
        self._window = min(2 * self._window or 1, MAX_RESULTS)
        return found

    def _drop(self, keys: list[Key]) -> None:
        for key in keys:
            self._unread.pop(key, None)
