"""Serving a worker's results to other workers and to clients.

Covers: answering ``GetData`` and ``PutData``, and the shared segments that each asker may be about to open.
Does not cover: what is held (``store``), asking (``peers``).

A peer that puts data tells the scheduler afterwards. If the peer goes before, the scheduler does not know of the data.
So when the peer goes, this process tells the scheduler the keys of all that it has put, and the scheduler says which to
drop.

A payload in shared memory may only be used again once the asker has opened it (``SegmentsMapped``), or has gone.

Where memory has a limit, answers take turns: each is in memory from the moment when its values are read, perhaps
from disk, until they are sent, and a client may ask for everything at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from futures_cluster import clocks
from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError, NotSendable, ProtocolError
from futures_cluster.services.common.sending import failed
from futures_cluster.wire import contents
from futures_cluster.wire.codec import payloads, shm

log = logging.getLogger("futures_cluster.worker")

#: Part of a worker's memory limit that answers under way may take.
ANSWERS_FRACTION = 1 / 8
#: Smaller answers do not wait for their turn.
SMALL_BYTES = 64 * 1024
#: An answer whose asker reads nothing gives up its turn after this time.
DRAIN_TIMEOUT_S = 5.0
_DRAIN_INTERVAL_S = 0.002


class Turns:
    """Bounds the bytes of the answers under way; one of them always is, however large.

    Parameters
    ----------
    limit_bytes : int or None
        Maximum of all together; None for no limit.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.taken_bytes = 0

    async def take(self, size_bytes: int) -> None:
        """Wait until there is room; in the order of the calls."""
        while self._limit_bytes is not None and self._is_full(size_bytes):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self.taken_bytes += size_bytes

    def _is_full(self, size_bytes: int) -> bool:
        assert self._limit_bytes is not None
        return bool(self.taken_bytes) and self.taken_bytes + size_bytes > self._limit_bytes

    def give(self, size_bytes: int) -> None:
        """Give room back."""
        self.taken_bytes -= size_bytes
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


class DataServer:
    """The askers of one worker; used on its loop only.

    Parameters
    ----------
    answer : callable
        ``await answer(request, shared)``: the ``Data`` for a ``GetData``; ``shared``: the asker can open our segments.
    keep : callable
        Takes what a client scatters, and returns the answer.
    pool : SegmentPool or None
        Where segments of answers are released.
    tell_put : callable
        Tells the scheduler the keys that were put by a peer that has gone.
    answer_bytes : callable
        ``answer_bytes(request)``: what the values of an answer will take.
    memory_limit : int or None
        Of this process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[m.GetData, bool], Awaitable[m.Data]],
        keep: Callable[[m.PutData], m.Data],
        pool: shm.SegmentPool | None,
        tell_put: Callable[[list[m.Key]], None],
        answer_bytes: Callable[[m.GetData], int] = lambda request: 0,
        memory_limit: int | None = None,
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._keep = keep
        self._pool = pool
        self._asked: dict[Any, list[int]] = {}  # segments that each asker may be about to open
        self._tell_put = tell_put
        self._put: dict[Any, list[m.Key]] = {}  # by whom
        self._answer_bytes = answer_bytes
        self._turns = Turns(None if memory_limit is None else int(memory_limit * ANSWERS_FRACTION))
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no reference

    def being_sent_bytes(self) -> int:
        """Return the bytes of the large answers under way."""
        return self._turns.taken_bytes

    def accept(self, connection: Any) -> None:
        """Accept a peer that has connected."""

        def received(messages: list[m.Message]) -> None:
            for message in messages:
                try:
                    contents.check(message)
                except ProtocolError as error:
                    log.warning("dropping a peer at %s: %s", connection.peer, str(error))
                    connection.close()
                    lost(error)
                    return
                if type(message) is m.GetData:
                    task = self._loop.create_task(self._serve_in_turn(connection, message))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                elif type(message) is m.PutData:
                    self._put.setdefault(connection, []).extend(key for key, _ in message.rows)
                    connection.send([self._keep(message)])
                elif type(message) is m.SegmentsMapped:
                    self._release(connection, message.segments)

        def lost(error: BaseException | None) -> None:
            if isinstance(error, AuthenticationError):
                log.warning("the connection of an asker at %s ended: %s", connection.peer, str(error))
            self._release(connection, list(self._asked.get(connection, ())))
            self._asked.pop(connection, None)
            if keys := self._put.pop(connection, None):
                self._tell_put(keys)

        connection.on_messages, connection.on_close = received, lost
        self._asked[connection] = []
        connection.start()

    async def _serve_in_turn(self, connection: Any, request: m.GetData) -> None:
        size_bytes = self._answer_bytes(request)
        if size_bytes <= SMALL_BYTES:
            await self._serve(connection, request)
            return
        await self._turns.take(size_bytes)
        try:
            await self._serve(connection, request)
            end = clocks.monotonic() + DRAIN_TIMEOUT_S
            while connection.pending_bytes and not connection.closed and clocks.monotonic() < end:
                await asyncio.sleep(_DRAIN_INTERVAL_S)
        finally:
            self._turns.give(size_bytes)

    async def _serve(self, connection: Any, request: m.GetData) -> None:
        try:
            data = await self._answer(request, connection.same_host and not request.beside)
        except Exception as error:  # the asker must not wait for ever
            data = failed(request, error)
        segments = self._asked.get(connection)
        for _, payload in data.found:
            segment = payloads.segment_of(payload)
            if segment is not None:
                if segments is None or connection.closed:
                    assert self._pool is not None
                    self._pool.release(segment[1])
                else:
                    segments.append(segment[1])
        try:
            connection.send([data])
        except NotSendable as error:  # the asker must not wait for ever
            connection.send([failed(request, error)])

    def _release(self, connection: Any, serials: list[int]) -> None:
        """Release segments that a peer has mapped, if they are its own."""
        segments = self._asked.get(connection, [])
        for serial in serials:
            if serial in segments:
                segments.remove(serial)
                if self._pool is not None:
                    self._pool.release(serial)
