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
        self._early: list[_Frame | None] | None = []  # what has come before the start

    def start(self) -> None:
        """See ``registry.Connection``."""
        early, self._early = self._early or [], None
        for frame in early:
            self._take_frame(frame)

    def send(self, messages: Iterable[Message]) -> None:
        """See ``registry.Connection``."""
        head, buffers = frames.pack(messages)
        body = head[frames.HEAD.size + 8 * len(buffers) :]
        frame = body, [Buffer(copy_of(buffer.memory), arrived=True) for buffer in buffers]
        with self._lock:
            if self.closed:
                return
            self._pending_bytes += _size(frame)
        self._pass_on(frame)

    def _pass_on(self, frame: _Frame | None) -> None:
        """Have the other end take a frame; None says that this one has closed."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.other._loop.call_soon_threadsafe(self.other._arrived, frame)

    def _arrived(self, frame: _Frame | None) -> None:
        if self._early is None:
            self._take_frame(frame)
        else:
            self._early.append(frame)

    def _take_frame(self, frame: _Frame | None) -> None:
        if frame is not None:
            with self.other._lock:
                self.other._pending_bytes -= 0 if self.other.closed else _size(frame)
        if self.closed:
            return
        if frame is None:
            self._end(None)
        else:
            self._take(_unpack, frame)

    def fileno(self) -> None:
        """Return None: there is no descriptor."""

    def _give_up(self) -> None:
        self._pass_on(None)


def _unpack(frame: _Frame) -> tuple[list[Message]]:
    return (frames.unpack(*frame),)


def _size(frame: _Frame) -> int:
    return len(frame[0]) + sum(map(len, frame[1]))


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
