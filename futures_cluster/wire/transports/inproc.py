"""``inproc://NAME``: connections inside one process, without sockets.

Covers: frames that go from memory to memory, also between loops. Does not cover: workers that are threads, which hand
over objects without packing them (``inproc``).

It keeps all that other transports promise: messages are packed and checked, buffers belong to their receiver, and the
secret is asked for. So it serves to try out services, and whatever is built on connections, where sockets would be in
the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Iterable
from functools import partial

from futures_cluster import locks
from futures_cluster.messages import Message
from futures_cluster.wire import frames, handshake
from futures_cluster.wire.codec.buffers import Buffer, copy_of
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import Listener, OnConnection, Security
from futures_cluster.wire.transports.sockets import BaseConnection

_Frame = tuple[bytes, list[Buffer]]
_listeners: dict[str, DirectListener] = {}
_lock = locks.Lock()


class DirectConnection(BaseConnection):
    """One end; see ``registry.Connection``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        super().__init__(loop, peer, same_host=True)
        self.other: DirectConnection
        self._inbox: deque[_Frame | None] = deque()  # None: the other end has closed
        self._inbox_bytes = 0
        self._started = False
        self._awake = False

    def start(self) -> None:
        """See ``registry.Connection``."""
        self._started = True
        self._wake()

    def send(self, messages: Iterable[Message]) -> None:
        """See ``registry.Connection``."""
        head, views = frames.pack(messages)
        body = head[frames.HEAD.size + 8 * len(views) :]
        if not self.closed:
            self.other._put((body, [Buffer(copy_of(view), arrived=True) for view in views]))

    def _put(self, frame: _Frame | None) -> None:
        with self._lock:
            if self.closed:
                return
            self._inbox.append(frame)
            self._inbox_bytes += _size(frame)
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._awake or not self._started:
                return
            self._awake = True
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if self.closed or not self._inbox:
                    self._awake = False
                    return
                frame = self._inbox.popleft()
                self._inbox_bytes -= _size(frame)
            if frame is None:
                self._end(None)
            else:
                self._take(_unpack, frame)

    @property
    def pending_bytes(self) -> int:
        """See ``registry.Connection``: what the other end has not taken."""
        return 0 if self.closed else self.other._inbox_bytes

    def fileno(self) -> None:
        """Return None: there is no descriptor."""

    def _give_up(self) -> None:
        self._inbox.clear()  # a closed end takes nothing more
        self._inbox_bytes = 0
        self.other._put(None)


def _unpack(frame: _Frame) -> tuple[list[Message]]:
    return (frames.unpack(*frame),)


def _size(frame: _Frame | None) -> int:
    return 0 if frame is None else len(frame[0]) + sum(map(len, frame[1]))


class DirectListener:
    """See ``registry.Listener``."""

    def __init__(
        self, name: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> None:
        self.address = self.exact_address = f"inproc://{name}"
        self.security = security
        self._name = name
        self._loop = loop
        self._on_connection = on_connection
        with _lock:
            if name in _listeners:
                raise OSError(f"{self.address} is in use by another listener of this process")
            _listeners[name] = self

    def admit(self, connector: handshake.Connector, loop: asyncio.AbstractEventLoop) -> DirectConnection:
        """Shake hands, and make both ends; on the connector's loop."""
        acceptor = handshake.Acceptor(self.security.secret, os.urandom(handshake.NONCE_BYTES))
        said = connector.start()
        while said:
            said = connector.receive(acceptor.receive(said))
        if connector.error is not None:
            raise connector.error
        ours, theirs = DirectConnection(loop, self.address), DirectConnection(self._loop, self.address)
        ours.other, theirs.other = theirs, ours
        self._loop.call_soon_threadsafe(partial(self._on_connection, theirs))
        return ours

    def close(self) -> None:
        """See ``registry.Listener``."""
        with _lock:
            if _listeners.get(self._name) is self:
                del _listeners[self._name]


class DirectTransport:
    """``inproc://NAME``."""

    scheme = "inproc"
    guard = registry.HOST

    async def connect(self, rest: str, loop: asyncio.AbstractEventLoop, security: Security) -> DirectConnection:
        """See ``registry.Transport``."""
        with _lock:
            listener = _listeners.get(rest)
        if listener is None:
            raise ConnectionRefusedError(f"no listener of this process has the address inproc://{rest}")
        return listener.admit(
            handshake.Connector(security.secret, os.urandom(handshake.NONCE_BYTES), insecure=security.insecure), loop
        )

    async def listen(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> Listener:
        """See ``registry.Transport``."""
        return DirectListener(rest, loop, security, on_connection)
