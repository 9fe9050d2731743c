"""Serving a worker's results to whoever asks: other workers, and clients.

Covers: answering ``GetData`` and ``PutData``, and the shared segments that each asker may be about to open.
Does not cover: what is held (``store``), asking (``peers``).

A payload in shared memory may only be used again once the asker has opened it (``SegmentsMapped``), or has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.wire import serialize, shm


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
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[m.GetData, bool], Awaitable[m.Data]],
        keep: Callable[[m.PutData], m.Data],
        pool: shm.SegmentPool | None,
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._keep = keep
        self._pool = pool
        self._asked: dict[Any, dict[int, None]] = {}  # segments each asker may be about to open
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no reference

    def accept(self, connection: Any) -> None:
        """Somebody has connected."""

        def received(messages: list[m.Message]) -> None:
            for message in messages:
                if type(message) is m.GetData:
                    task = self._loop.create_task(self._serve(connection, message))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                elif type(message) is m.PutData:
                    connection.send([self._keep(message)])
                elif type(message) is m.SegmentsMapped:
                    self._release(connection, message.segments)

        def lost(error: BaseException | None) -> None:
            self._release(connection, list(self._asked.pop(connection, {})))

        connection.on_messages, connection.on_close = received, lost
        self._asked[connection] = {}
        connection.start()

    async def _serve(self, connection: Any, request: m.GetData) -> None:
        data = await self._answer(request, connection.same_host)
        segments = self._asked.get(connection)
        for _, payload in data.found:
            segment = serialize.segment_of(payload)
            if segment is not None:
                if segments is None or connection.closed:
                    assert self._pool is not None
                    self._pool.release(segment[1])
                else:
                    segments[segment[1]] = None
        connection.send([data])

    def _release(self, connection: Any, fds: list[int]) -> None:
        segments = self._asked.get(connection, {})
        for fd in fds:
            segments.pop(fd, None)
            if self._pool is not None:
                self._pool.release(fd)
