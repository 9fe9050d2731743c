"""What a client waits for, as the watch of waits looks at it.

Covers: the oldest wait of a client, and what waits for a silent worker. Does not cover: when a wait speaks
(``wait_watch``), what it says (``remote_cluster``, ``cluster``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from futures_cluster.messages import Key
from futures_cluster.services.client.fetching import Fetching
from futures_cluster.services.client.shared_objects import SharedObjectClient

if TYPE_CHECKING:
    from futures_cluster.services.client.wait_watch import WaitWatch


class ClientWaits:
    """The waits of one client.

    Parameters
    ----------
    pending : mapping
        From keys to futures that are not done.
    retrieval : Fetching
        Fetches results that stay on workers.
    shared : SharedObjectClient
        Asks shared objects.

    Attributes
    ----------
    watch : WaitWatch or None
        Of a program: tasks on workers leave it to theirs.
    """

    __slots__ = ("_for_workers", "_loop", "_pending", "_fetching", "_shared", "watch")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pending: Mapping[Key, Any],
        retrieval: Fetching,
        shared: SharedObjectClient,
    ) -> None:
        self._loop = loop
        self._pending = pending
        self._fetching = retrieval
        self._shared = shared
        self._for_workers: str | None = None
        self.watch: WaitWatch | None = None

    def speak(
        self,
        ask: Callable[[], Awaitable[list[dict[str, Any]]]],
        advise: Callable[[dict[str, Any]], str],
        describe_silence: Callable[[float], str] | None = None,
    ) -> None:
        """Say from now on what is waited for in vain; see ``WaitWatch``."""
        from futures_cluster.services.client.wait_watch import WaitWatch  # the clients of tasks can do without

        self.watch = WaitWatch(self._loop, self._oldest, ask, advise, describe_silence)

    def begin(self) -> None:
        """Take note that the client waits for something from now on."""
        if self.watch is not None and not self.watch.is_armed:
            self.watch.arm()

    @contextlib.contextmanager
    def for_workers(self, what: str) -> Iterator[None]:
        """Warn meanwhile of silent workers, for all that waits for them."""
        self._for_workers = what
        self.begin()
        try:
            yield
        finally:
            self._for_workers = None

    def what_waits(self, row: dict[str, Any]) -> str | None:
        """Return what waits for a silent worker without a task of this client."""
        key = self._fetching.asked_of(row["silent"])
        return f"the result of {key}" if key is not None else self._for_workers

    def _oldest(self) -> str | None:
        """Return the longest wait: for a future, a lost result, or a shared object."""
        while True:
            try:
                return (
                    next(iter(self._pending), None)
                    or self._fetching.oldest_wait()
                    or self._shared.oldest_wait()
                    or self._for_workers
                )
            except RuntimeError:  # another thread has changed it between the two steps
                continue
