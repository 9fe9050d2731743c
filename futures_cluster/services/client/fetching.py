"""Results that stay on workers: getting them to the client.

Covers: asking the holders, waiting for a result that was lost until it has been computed again, fetching without
a thread that waits. Does not cover: the connections to the holders (``peers``), which results there are (``client``).

The way: ``Future._holders`` lists the holders -> ``peers`` asks the first -> the payload; or no holder could be reached
-> ``ReportMissing`` to the scheduler -> its news of the key (``news``) -> once more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from futures_cluster import errors
from futures_cluster import messages as m
from futures_cluster.messages import Key, Payload
from futures_cluster.services.client.read_ahead import ReadAhead
from futures_cluster.services.common.peers import PeerLost, Peers

if TYPE_CHECKING:
    from futures_cluster.services.common.protocols import ClientFuture


class Fetching:
    """Fetches results for one client.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        Where fetching goes on.
    report : callable
        ``report(key, worker)`` tells the scheduler that a worker did not have a result; called on the loop.
    load_error : callable
        Makes an exception of the payload of an error.
    ahead : ReadAhead
        Tells which results should come along with one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        peers: Peers,
        report: Callable[[Key, str], None],
        load_error: Callable[[Payload], BaseException],
        ahead: ReadAhead,
    ) -> None:
        self._loop = loop
        self._peers = peers
        self._report = report
        self._load_error = load_error
        self._ahead = ahead
        self._going_on: dict[Key, asyncio.Task[Payload]] = {}  # fetches for threads that wait a limited time
        self._along: dict[Key, asyncio.Future[None]] = {}  # results that come along with another
        self._asked: dict[Key, str] = {}  # fetches under way: the workers that were asked last
        self._changed: dict[Key, asyncio.Event] = {}  # fetches that wait for news of a lost result
        self._closed: BaseException | None = None

    def fetch(self, future: ClientFuture, timeout: float | None) -> Payload:
        """Get a result; blocks.

        After a timeout the result is still on its way, so a program that polls gets it.

        Raises
        ------
        TimeoutError
            When it takes too long.
        BaseException
            The error of the task, when the result was lost and running it again failed.
        """
        if self._closed is not None:
            raise errors.DataLost(f"the result of {future.key!r} stayed on a worker, and {self._closed}")
        fetch = self._fetch(future) if timeout is None else self._wait_for_fetch(future)
        waiter = asyncio.run_coroutine_threadsafe(fetch, self._loop)
        try:
            return waiter.result(timeout)
        except TimeoutError:
            waiter.cancel()
            raise

    def prefetch(self, future: ClientFuture) -> None:
        """Start to fetch a result, then call its future's callbacks; from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._bring_home(future)))

    async def bring_all_home(self, futures: list[ClientFuture]) -> None:
        """Fetch all of these."""
        if futures:
            await asyncio.gather(*(self._bring_home(future) for future in futures))

    def result_changed(self, key: Key) -> None:
        """Wake those that wait for a change of a result."""
        event = self._changed.pop(key, None)
        if event is not None:
            event.set()

    def oldest_wait(self) -> Key | None:
        """Return the key of the oldest lost or fetched result that is waited for."""
        return next(iter(self._changed), None) or next(iter(self._asked), None)

    def asked_of(self, worker: str) -> Key | None:
        """Return the key of a result that a worker was asked for last."""
        return next((key for key, name in list(self._asked.items()) if name == worker), None)

    def close(self, reason: BaseException) -> None:
        """Fail all fetches from now on; on the loop's thread."""
        self._closed = reason
        for event in self._changed.values():
            event.set()
        self._changed = {}

    async def _fetch(self, future: ClientFuture) -> Payload:
        try:
            return await self._ask_holders(future)
        finally:
            self._asked.pop(future.key, None)

    async def _wait_for_fetch(self, future: ClientFuture) -> Payload:
        """Wait for a fetch, which goes on if this wait is cancelled."""
        fetch = self._going_on.get(future.key)
        if fetch is None:
            fetch = self._going_on[future.key] = self._loop.create_task(self._fetch(future))
            fetch.add_done_callback(lambda fetch: self._fetched(future, fetch))
        await asyncio.wait((fetch,))
        return fetch.result()

    def _fetched(self, future: ClientFuture, fetch: asyncio.Task[Payload]) -> None:
        """Give a result to its future, as no thread may wait for it by now."""
        self._going_on.pop(future.key, None)
        if not fetch.cancelled() and fetch.exception() is None:
            future._take_fetched(fetch.result())

    async def _ask_holders(self, future: ClientFuture) -> Payload:
        """Ask the holders in turn; when none has it, wait until it runs again."""
        while True:
            if (coming := self._along.get(future.key)) is not None:
                await asyncio.wait((coming,))  # a timeout ends this wait, not that of others
            holders = future._holders
            if holders is None:  # by now it is here, or has failed
                return future._take_unread()
            for worker, address in holders:
                self._asked[future.key] = worker
                data = await self._ask(address, future)
                for key, payload in data.found:
                    if key == future.key:
                        return payload
                for key, error in data.errors:
                    if key == future.key:
                        # Not raised: a SystemExit would end the loop.
                        future._fail_here(self._load_error(error))
                        return None
                event = self._changed.setdefault(future.key, asyncio.Event())
                self._report(future.key, worker)
                if self._closed is not None:
                    raise errors.DataLost(f"the result of {future.key!r} is gone: {self._closed}")
                await event.wait()
                break
            else:
                raise errors.DataLost(f"no worker holds the result of {future.key!r}")

    async def _ask(self, address: str, future: ClientFuture) -> m.Data:
        """Ask a worker for a result, and take those that come along."""
        others = {other.key: other for other in self._ahead.along(future)}
        coming = self._loop.create_future() if others else None
        if coming is not None:
            self._along.update(dict.fromkeys(others, coming))
        try:
            data = await self._peers.get_data(address, [future.key, *others])
            for key, payload in data.found:
                if key in others:
                    others[key]._take_fetched(payload)
            return data
        except PeerLost:
            return m.Data(0, [], [future.key])
        finally:
            if coming is not None:
                for key in others:
                    self._along.pop(key, None)
                coming.set_result(None)

    async def _bring_home(self, future: ClientFuture) -> None:
        """Fetch a result without a waiting thread.

        The client does so for callbacks, and before the workers go.
        """
        try:
            payload = await self._fetch(future)
        except asyncio.CancelledError:
            future._fail_here(errors.DataLost(f"the executor ended before the result of {future.key!r} was here"))
            future._value_is_here()
            raise
        except BaseException as error:
            future._fail_here(error)
        else:
            if payload is not None:
                future._deliver_result(payload)
        future._value_is_here()
