"""Listening stream sockets: accepting, and the handshakes under way on what was accepted.

Does not cover: how sockets are made (``unix``, ``tcp``) and what is said on them (``streams``), which handshakes go
when there are too many (``admission``, pure).

The way in: accepted -> handshake -> ``on_connection``. When too many handshakes are under way, the listener tells the
connectors of some to try again, which they do until their time is over: a crowd of honest peers takes turns, and a
crowd of idle ones cannot keep the others out. Lines of the log ``futures_cluster.wire`` about peers that are refused
are limited (``repeated``).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

from futures_cluster.wire.repeated import RepeatedWarnings
from futures_cluster.wire.transports import addresses, admission, local_sockets
from futures_cluster.wire.transports.registry import TIMEOUT_S, OnConnection, Security

log = logging.getLogger("futures_cluster.wire")

#: When a connection cannot be accepted, because no descriptor is left or for other reasons, the listener tries again
#: after this time.
RETRY_S = 0.2
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Accepting(Protocol):
    """What a listener asks of the transport of its sockets; ``streams.StreamTransport`` has it."""

    def identity(self, address: str) -> str: ...
    def source(self, address: Any) -> str: ...
    def describe_peer(self, address: Any) -> str: ...
    def acceptor(self, sock: socket.socket, identity: str, security: Security) -> Any: ...
    def prepare_socket(self, sock: socket.socket) -> None: ...
    async def shake_hands_on(
        self, sock: socket.socket, machine: Any, loop: asyncio.AbstractEventLoop, security: Security, peer: str
    ) -> Any: ...
    def say_busy(self, sock: socket.socket) -> None: ...


class StreamListener:
    """A listening socket, and the handshakes under way on what it has accepted."""

    def __init__(
        self,
        transport: Accepting,
        sock: socket.socket,
        address: str,
        loop: asyncio.AbstractEventLoop,
        security: Security,
        on_connection: OnConnection,
        clean_up: Callable[[], None],
    ) -> None:
        self.address = address
        self._identity = transport.identity(address)
        self.exact_address = f"{address}#{self._identity}" if self._identity else address
        self._transport = transport
        self._sock = sock
        self._loop = loop
        self._security = security
        self._on_connection = on_connection
        self._clean_up = clean_up
        self._under_way = admission.Admission(admission.places())
        self._tasks: set[asyncio.Task[None]] = set()
        self._warnings = RepeatedWarnings(log)
        self._timer: asyncio.TimerHandle | None = None  # accepts nothing until then
        self._closed = False
        loop.add_reader(sock.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, address = local_sockets.accept(self._sock)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            why = addresses.limit_in_words(error)
            self._warnings.warning("accept", "%s cannot accept a connection now: %s", self.address, why)
            self._make_room(is_urgent=error.errno in _NO_ROOM)
            self._pause(RETRY_S)
            return
        sock.setblocking(False)
        source = self._transport.source(address)
        task = self._loop.create_task(self._admit(sock, self._transport.describe_peer(address), source))
        self._tasks.add(task)
        self._under_way.enter(task, source, self._loop.time())
        task.add_done_callback(lambda task: self._ended(task, sock))
        self._make_room()

    def _pause(self, delay_s: float) -> None:
        """Accept no connection for this time."""
        if self._timer is None:
            self._loop.remove_reader(self._sock.fileno())
            self._timer = self._loop.call_later(delay_s, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._loop.add_reader(self._sock.fileno(), self._accept)
        self._make_room()

    def _make_room(self, is_urgent: bool = False) -> None:
        """End handshakes until there are few enough; wait while all are young."""
        while True:
            victim, wait_s = self._under_way.victim(self._loop.time(), is_urgent)
            if victim is None:
                break
            self._under_way.leave(victim)
            victim.cancel()
            is_urgent = False
        if wait_s:
            self._pause(wait_s)

    def _ended(self, task: asyncio.Task[None], sock: socket.socket) -> None:
        self._tasks.discard(task)
        self._under_way.leave(task)
        if task.cancelled():  # before it began
            sock.close()

    async def _admit(self, sock: socket.socket, peer: str, source: str) -> None:
        try:
            transport, security = self._transport, self._security
            machine = transport.acceptor(sock, self._identity, security)
            async with asyncio.timeout(TIMEOUT_S):
                transport.prepare_socket(sock)
                connection = await transport.shake_hands_on(sock, machine, self._loop, security, peer)
        except BaseException as error:
            reason: Any = error
            if isinstance(error, TimeoutError):
                reason = f"it has not passed the handshake within {TIMEOUT_S:g} s"
            elif isinstance(error, asyncio.CancelledError):
                reason = "too many others wait"
                if not self._closed:
                    transport.say_busy(sock)
            elif not isinstance(error, OSError):
                sock.close()
                raise
            if not self._closed:
                self._warnings.warning(
                    f"{source}: {reason}", "refused a connection to %s from %s: %s", self.address, peer, reason
                )
            sock.close()  # last: a peer that sees the end finds the line in the log
            return
        if security.secret is not None:
            task = asyncio.current_task()
            assert task is not None
            self._under_way.passed(task)
        if self._closed:
            connection.close()
        else:
            self._on_connection(connection)

    def close(self) -> None:
        """See ``registry.Listener``."""
        if self._closed:
            return
        self._closed = True
        self._warnings.close()
        if self._timer is None:
            self._loop.remove_reader(self._sock.fileno())
        else:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._sock.close()
        self._clean_up()
