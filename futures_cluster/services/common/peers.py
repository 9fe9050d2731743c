"""Fetching results from the workers that hold them.

Covers: connections to peers, made when first needed and then kept; requests and their answers.
Does not cover: whom to ask (the scheduler says), and what to do when a peer does not answer (the asker's affair).
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

from futures_cluster import messages as m
from futures_cluster import metrics
from futures_cluster.errors import AuthenticationError, DuplicateKey
from futures_cluster.wire.codec import compress, exceptions, payloads
from futures_cluster.wire.repeated import RepeatedWarnings
from futures_cluster.wire.transports import registry

log = logging.getLogger("futures_cluster.wire")

#: What opening a segment raises when it is gone with its writer, or when only its writer may open it.
_GONE = (errno.ENOENT, errno.ESRCH, errno.ESTALE)
_REFUSED = (errno.EACCES, errno.EPERM)
#: What connecting raises when the peer's socket is not to be reached, whether or not the peer lives.
_NO_WAY = (errno.ENOENT, *_REFUSED)

#: Seconds without an answer after which a peer counts as unreachable.
CONNECT_S = 10.0

#: Errors of connecting that a worker leaves behind which has ended: the scheduler says so, too.
_GONE_ALREADY = frozenset((errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOENT))


class PeerLost(ConnectionError):
    """The peer cannot be reached, or went away before it answered."""


class _OtherWay:
    """In the place of a connection to a worker: its questions go by ``Peers.other_way``."""

    same_host = False

    def __init__(self, address: str, ask: Callable[[str, m.GetData], bool]) -> None:
        self.peer = address
        self.closed = False
        self._ask = ask

    def start(self) -> None:
        """Do nothing: answers come by ``Peers.received``."""

    def send(self, messages: list[m.Message]) -> None:
        for message in messages:
            if isinstance(message, m.GetData) and not self._ask(self.peer, message):
                self.closed = True

    def close(self) -> None:
        self.closed = True


class _Peer:
    """A connection to one worker and the requests that are under way on it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_refused = False  # it is another user's now, or not dumpable: its segments cannot be opened
        self.requests: dict[int, asyncio.Future[m.Data]] = {}
        connection.on_messages, connection.on_close = self.received, self.lost
        connection.start()

    def received(self, messages: list[m.Message]) -> None:
        for message in messages:
            if type(message) is m.Data:
                waiter = self.requests.pop(message.request, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(message)

    def lost(self, error: BaseException | None) -> None:
        if isinstance(error, AuthenticationError):
            log.warning("the connection to the worker at %s ended: %s", self.connection.peer, str(error))
        for waiter in self.requests.values():
            if not waiter.done():
                waiter.set_exception(PeerLost(f"the peer closed the connection ({error})"))
        self.requests = {}


class Peers:
    """The peers of one process; used on its loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, security: registry.Security = registry.NO_SECURITY) -> None:
        self._loop = loop
        self._security = security
        self._peers: dict[str, _Peer] = {}
        self._connecting: dict[str, asyncio.Lock] = {}
        self._numbers = itertools.count()
        self._warnings = RepeatedWarnings(log)
        #: ``other_way(address, question)`` asks a worker to whose socket no way leads; False if it cannot.
        self.other_way: Callable[[str, m.GetData], bool] | None = None

    async def get_data(self, address: str, keys: list[m.Key]) -> m.Data:
        """Ask a worker for results; large ones come mapped, free for their writer.

        Results in segments that this process cannot open are asked for again, and come beside the message. Without an
        address the question takes the other way.

        Raises
        ------
        PeerLost
            When there is no answer.
        """
        peer = await self._connect(address)
        data = await self._ask_for(peer, keys)
        found: list[m.DataRow] = []
        segments = []
        missing = list(data.missing)
        failed = list(data.errors)
        again = []
        for key, payload in data.found:
            segment = payloads.segment_of(payload)
            if segment is not None:
                segments.append(segment[1])
            try:
                found.append((key, payloads.attach(payload)))
            except OSError as error:
                if error.errno in _REFUSED or error.errno in _GONE:
                    peer.is_refused = peer.is_refused or error.errno in _REFUSED
                    again.append(key)
                else:  # it is there, and cannot be read: computing it again would not help
                    failed.append((key, exceptions.dump_error(error)))
        if segments:
            peer.connection.send([m.SegmentsMapped(segments)])
        if again:
            try:
                rest = await self._ask_for(peer, again, beside=True)
            except PeerLost:
                rest = m.Data(0, [], again)
            found += rest.found
            missing += rest.missing
            failed += rest.errors
        return m.Data(data.request, found, missing, failed)

    async def _ask_for(self, peer: _Peer, keys: list[m.Key], beside: bool = False) -> m.Data:
        is_near = peer.connection.same_host or type(peer.connection) is _OtherWay
        codecs = [] if is_near else compress.available()
        return await self._ask(peer, m.GetData(next(self._numbers), keys, codecs, beside or peer.is_refused))

    def received(self, answer: m.Data) -> None:
        """Take the answer to a question that went the other way."""
        for peer in self._peers.values():
            peer.received([answer])

    async def put_data(self, address: str, rows: list[m.DataRow]) -> list[m.Key]:
        """Put ``(key, payload)`` rows onto a worker; return the keys that it refused.

        Raises
        ------
        PeerLost
            When there is no answer.
        DuplicateKey
            If the worker holds something else under one of these keys.
        """
        peer = await self._connect(address)
        data = await self._ask(peer, m.PutData(next(self._numbers), rows))
        for key, _ in data.errors:
            raise DuplicateKey(f"the key {key!r} belongs to another result on the same worker; choose another key")
        return list(data.missing)

    async def shares_memory_with(self, address: str) -> bool:
        """Return whether what is put there may lie in shared memory."""
        return bool((await self._connect(address)).connection.same_host)

    async def _ask(self, peer: _Peer, question: m.GetData | m.PutData) -> m.Data:
        waiter: asyncio.Future[m.Data] = self._loop.create_future()
        peer.requests[question.request] = waiter
        peer.connection.send([question])
        try:
            if peer.connection.closed and not waiter.done():
                raise PeerLost(f"the connection to {peer.connection.peer} is closed")
            return await waiter
        finally:
            peer.requests.pop(question.request, None)

    def forget(self, addresses: Iterable[str]) -> None:
        """Fail requests to peers that are gone with ``PeerLost``."""
        for address in addresses:
            peer = self._peers.pop(address, None)
            self._connecting.pop(address, None)
            if peer is not None:
                peer.connection.close()
                peer.lost(None)

    async def _connect(self, address: str) -> _Peer:
        async with self._connecting.setdefault(address, asyncio.Lock()):
            peer = self._peers.get(address)
            if peer is None or peer.connection.closed:
                peer = self._peers[address] = _Peer(await self._new_connection(address))
            return peer

    async def _new_connection(self, address: str) -> Any:
        if not address and self.other_way is not None:
            return _OtherWay(address, self.other_way)
        from futures_cluster.services.common import security  # here: many programs never connect to a peer

        try:
            with metrics.timing("connect"):
                return await registry.connect(address, self._loop, security.at(address, self._security), CONNECT_S)
        except OSError as error:
            if self.other_way is not None and error.errno in _NO_WAY:
                return _OtherWay(address, self.other_way)
            if error.errno not in _GONE_ALREADY and not address.startswith("unix://"):
                text = "cannot connect to the worker at %s, to get data that it has: %s"
                # As text: a log handler that keeps the record must not keep the error's frames.
                self._warnings.warning(address, text, address, str(error))
            raise PeerLost(f"cannot connect to {address}: {error}") from None

    @property
    def number(self) -> int:
        """How many connections there are."""
        return sum(not peer.connection.closed for peer in self._peers.values())

    def close(self) -> None:
        """Close all connections, and fail what waits with ``PeerLost``."""
        self.forget(list(self._peers))
