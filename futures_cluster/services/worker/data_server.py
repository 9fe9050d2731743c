"""Serving a worker's results to other workers and to clients.

Covers: answering ``GetData`` and ``PutData``, and the shared segments that each asker may be about to open.
Does not cover: what is held (``store``), asking (``peers``).

Whoever puts data tells the scheduler afterwards. If it goes before, nobody knows of the data. So when it goes, the keys
of all it has put are told, and the scheduler says which to drop.

A payload in shared memory may only be used again once the asker has opened it (``SegmentsMapped``), or has gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError, NotSendable, ProtocolError
from futures_cluster.services.common.sending import failed
from futures_cluster.wire import contents
from futures_cluster.wire.codec import pickle_codec, shm

log = logging.getLogger("futures_cluster.worker")


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
        Tells the scheduler the keys that were put by somebody who has gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[m.GetData, bool], Awaitable[m.Data]],
        keep: Callable[[m.PutData], m.Data],
        pool: shm.SegmentPool | None,
        tell_put: Callable[[list[m.Key]], None],
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._keep = keep
        self._pool = pool
        self._asked: dict[Any, list[int]] = {}  # segments that each asker may be about to open
        self._tell_put = tell_put
        self._put: dict[Any, list[m.Key]] = {}  # by whom
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no reference

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
                    task = self._loop.create_task(self._serve(connection, message))
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

    async def _serve(self, connection: Any, request: m.GetData) -> None:
        try:
            data = await self._answer(request, connection.same_host and not request.beside)
        except Exception as error:  # the asker must not wait for ever
            data = failed(request, error)
        segments = self._asked.get(connection)
        for _, payload in data.found:
            segment = pickle_codec.segment_of(payload)
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
