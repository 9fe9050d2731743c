"""Serving a worker's results to other workers and to clients.

Covers: answering peers and clients that ask for results (``GetData``), taking what clients scatter (``PutData``), and
the shared segments that each asker may be about to open. Does not cover: what is held (``store``), asking (``peers``).

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
from typing import Any

from futures_cluster import clocks
from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError, NotSendable, ProtocolError
from futures_cluster.services.common.sending import failed
from futures_cluster.services.worker.service import WorkerService
from futures_cluster.wire import contents
from futures_cluster.wire.codec import compress, payloads, shm

log = logging.getLogger("futures_cluster.worker")

#: Answers from this size on are pickled in a thread, not on the loop.
LARGE_BYTES = 2 * 2**20
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
        while self._is_full(size_bytes):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self.taken_bytes += size_bytes

    def _is_full(self, size_bytes: int) -> bool:
        if self._limit_bytes is None or not self.taken_bytes:
            return False
        return self.taken_bytes + size_bytes > self._limit_bytes

    def give(self, size_bytes: int) -> None:
        """Give room back."""
        self.taken_bytes -= size_bytes
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


class DataServer:
    """The askers of one worker; used on its loop only."""

    def __init__(self, service: WorkerService) -> None:
        self._service = service
        self._asked: dict[Any, list[int]] = {}  # segments that each asker may be about to open
        self._put: dict[Any, list[m.Key]] = {}  # by whom
        limit = service.memory_limit
        self._turns = Turns(None if limit is None else int(limit * ANSWERS_FRACTION))
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no reference
        service.being_sent_bytes = lambda: self._turns.taken_bytes

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
                    task = self._service.loop.create_task(self._serve_in_turn(connection, message))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                elif type(message) is m.PutData:
                    self._put.setdefault(connection, []).extend(key for key, _ in message.rows)
                    connection.send([self.keep(message)])
                elif type(message) is m.SegmentsMapped:
                    self._release(connection, message.segments)

        def lost(error: BaseException | None) -> None:
            if isinstance(error, AuthenticationError):
                log.warning("the connection of an asker at %s ended: %s", connection.peer, str(error))
            self._release(connection, list(self._asked.get(connection, ())))
            self._asked.pop(connection, None)
            if keys := self._put.pop(connection, None):
                self._service.tell([m.DataAdded(self._service.name, keys)])

        connection.on_messages, connection.on_close = received, lost
        self._asked[connection] = []
        connection.start()

    async def _serve_in_turn(self, connection: Any, request: m.GetData) -> None:
        shared = connection.same_host and not request.beside
        size_bytes = self._answer_bytes(request)
        if size_bytes <= SMALL_BYTES:
            await self.serve(connection, request, shared)
            return
        await self._turns.take(size_bytes)
        try:
            await self.serve(connection, request, shared)
            end = clocks.monotonic() + DRAIN_TIMEOUT_S
            while connection.pending_bytes and not connection.closed and clocks.monotonic() < end:
                await asyncio.sleep(_DRAIN_INTERVAL_S)
        finally:
            self._turns.give(size_bytes)

    async def serve(self, connection: Any, request: m.GetData, shared: bool) -> None:
        """Answer a request.

        A thread pickles large values. ``shared``: the asker can open our segments.
        """
        pool = self._service.pool if shared else None
        try:
            if self._answer_bytes(request) > LARGE_BYTES:
                data = await asyncio.to_thread(self._answer, request, pool)
            else:
                data = self._answer(request, pool)
        except Exception as error:  # the asker must not wait for ever
            data = failed(request, error)
        if data.errors and self._service.is_stopping:
            # Perhaps not the data's errors: thread pools have ended, files are gone. Another worker has the data, or
            # will have it again.
            data = m.Data(data.request, data.found, [*data.missing, *[key for key, _ in data.errors]])
        segments = self._asked.get(connection)
        for _, payload in data.found:
            segment = payloads.segment_of(payload)
            if segment is not None:
                if segments is None or connection.closed:
                    assert pool is not None
                    pool.release(segment[1])
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
                assert self._service.pool is not None
                self._service.pool.release(serial)

    # ---------------------------------------------------------------- values

    def _answer_bytes(self, request: m.GetData) -> int:
        """Return the size of the values that a peer asks for."""
        replicas = self._service.machine.replicas
        return sum([replicas[key].size_bytes for key in request.keys if key in replicas])

    def _answer(self, request: m.GetData, pool: shm.SegmentPool | None) -> m.Data:
        store, codec = self._service.store, compress.choose(request.codecs)
        found: list[m.DataRow] = []
        missing: list[m.Key] = []
        errors: list[m.DataRow] = []
        for key in request.keys:
            try:
                if (original := store.original(key)) is not None:
                    payload = original.dump(pool, codec)
                elif (parts := store.parts(key)) is not None:
                    payload = payloads.pack(parts, pool, codec=codec)
                else:
                    try:
                        value = store.get(key)
                    except KeyError:
                        missing.append(key)
                        continue
                    payload = payloads.dump(value, pool, copy=False, codec=codec)
                found.append((key, payload))
            except BaseException as error:  # the value does not pickle, or what is stored does not unpickle
                errors.append((key, self._service.codec.dump_error(error)))
        self._service.stats.sent_bytes += sum(payloads.payload_size(payload) for _, payload in found)
        return m.Data(request.request, found, missing, errors)

    def keep(self, message: m.PutData) -> m.Data:
        """Store data that a client scatters; return which was refused, or here already."""
        rows, refused, taken = [], [], []
        for key, payload in message.rows:
            replica = self._service.machine.replicas.get(key)
            if replica is not None and replica.held:  # never replaced: a task may be reading it
                taken.append((key, b""))
                continue
            try:
                payload = payloads.attach(payload)
            except (OSError, OverflowError, ValueError):  # its segment is gone, or never was one
                refused.append(key)
                continue
            self._service.store.put_payload(key, payload)
            rows.append((key, payloads.payload_size(payload)))
        self._service.handle(m.DataPut(rows))
        return m.Data(message.request, [], refused, taken)
