"""Connections of ``zmq://``: the stream of frames in pieces, over a PAIR socket.

Covers: contexts and options of ZeroMQ's sockets, the handshake on a pair of them, sending and receiving, noticing that
the peer is gone. Does not cover: how the two sockets find each other (``zeromq``).

Pieces, because ZeroMQ takes whole messages into memory: their size and number are limited, so that before the handshake
a peer cannot make another process take more than ``MAX_QUEUED`` of them. ZeroMQ's sockets may not be used by two
threads at once: each has a lock. Its descriptors only tell of changes, so every use is followed by a look at what else
may be done (``_pump``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from futures_cluster import locks
from futures_cluster.messages import Message
from futures_cluster.wire import frames, handshake
from futures_cluster.wire.authenticator import SealedBuffers
from futures_cluster.wire.codec.buffers import Buffer
from futures_cluster.wire.transports.sockets import BaseConnection, ignore

#: Maximum size of a piece, which is a message of ZeroMQ.
PIECE_BYTES = 256 * 1024
#: Maximum number of pieces that ZeroMQ keeps for each direction of a connection.
MAX_QUEUED = 8
#: Pieces that are handled before others have their turn on the loop.
_A_TURN = 64


class _Contexts:
    """One ZeroMQ context for all connections of the process, as long as there are any: each has threads of its own."""

    def __init__(self) -> None:
        self._lock = locks.Lock()
        self._context: Any = None
        self._users = 0

    def take(self) -> Any:
        with self._lock:
            if self._context is None:
                self._context = zmq.Context()
            self._users += 1
            return self._context

    def give_back(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._context.term()
                self._context = None


contexts = _Contexts()


def set_options(sock: Any) -> None:
    """Set the options of a new socket, which limit what a peer can make it keep."""
    sock.setsockopt(zmq.LINGER, 0)
    sock.setsockopt(zmq.IPV6, 1)
    sock.setsockopt(zmq.RECONNECT_IVL, -1)
    sock.setsockopt(zmq.MAXMSGSIZE, PIECE_BYTES)
    sock.setsockopt(zmq.SNDHWM, MAX_QUEUED)
    sock.setsockopt(zmq.RCVHWM, MAX_QUEUED)


class ZmqConnection(BaseConnection):
    """A PAIR socket; see ``registry.Connection``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        super().__init__(loop, peer, same_host=False)
        self.on_piece: Callable[[bytes], None] = self._parse
        self.is_reading = False
        self._awake = False
        self._lost = False
        context = contexts.take()
        with contextlib.ExitStack() as opened:  # closed again if the process has no descriptor left for the next step
            opened.callback(contexts.give_back)
            self.sock = context.socket(zmq.PAIR)
            opened.callback(self.sock.close, 0)
            set_options(self.sock)
            self._monitor = self.sock.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            opened.callback(self._monitor.close, 0)
            opened.callback(self.sock.disable_monitor)
            self._fds = [self.sock.getsockopt(zmq.FD), self._monitor.getsockopt(zmq.FD)]
            self._opened = opened.pop_all()
        loop.add_reader(self._fds[0], self._pump)
        loop.add_reader(self._fds[1], self._watch)
        self._watch()  # a descriptor tells nothing of a socket that was never asked

    def start(self) -> None:
        """See ``registry.Connection``."""
        self.is_reading = True
        self._pump()

    def send(self, messages: Iterable[Message]) -> None:
        """See ``registry.Connection``."""
        self.send_bytes(*frames.pack(messages))

    def send_bytes(self, head: bytes, buffers: Sequence[Buffer] = ()) -> None:
        """Put bytes into the outbox; from any thread."""
        with self._lock:
            if self.closed or self._lost:
                return
            views: Sequence[Any] = [buffer.memory for buffer in buffers]
            if self._seal is not None:
                head, views = self._seal(head, buffers)
            for view in (memoryview(head), *views):
                if type(view) is SealedBuffers:
                    self._outbox.append(view)
                else:
                    self._outbox.extend(
                        view[start : start + PIECE_BYTES] for start in range(0, view.nbytes, PIECE_BYTES)
                    )
                self._pending_bytes += view.nbytes
            if self._awake:
                return
            self._awake = True
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._pump)

    def fileno(self) -> None:
        """Return None: ZeroMQ's descriptor does not say when there is something to read."""

    def _pump(self) -> None:
        """Send and receive what can be; on the loop."""
        for _ in range(_A_TURN):
            piece = None
            with self._lock:
                self._awake = False
                if self.closed:
                    return
                events = self.sock.getsockopt(zmq.EVENTS)
                if self.is_reading and events & zmq.POLLIN:
                    piece = self.sock.recv(zmq.NOBLOCK)
                sends = bool(self._outbox and events & zmq.POLLOUT)
                if sends:
                    self._open_sealed(PIECE_BYTES)
                    view = self._outbox.popleft()
                    self.sock.send(view, zmq.NOBLOCK)
                    self._pending_bytes -= view.nbytes
            if piece is not None:
                self.on_piece(piece)
            elif not sends:
                if self._lost and self.is_reading:
                    self._end(None)
                return
        self._loop.call_soon(self._pump)

    def _parse(self, piece: bytes) -> None:
        self._take(self._parser.feed, piece)

    def _watch(self) -> None:
        """Notice whether the peer is gone, after its last messages."""
        with self._lock:
            while not self.closed and self._monitor.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                recv_monitor_message(self._monitor, zmq.NOBLOCK)
                self._lost = True
                self._outbox.clear()
                self._pending_bytes = 0
        if self._lost:
            self._pump()

    def _give_up(self) -> None:
        for fd in self._fds:
            self._loop.remove_reader(fd)
        self._opened.close()

    async def shake_hands(self, machine: handshake.Handshake) -> None:
        """Pass the handshake; the connection is ready to be started then.

        Raises
        ------
        HandshakeError
            When it fails.
        """
        over: asyncio.Future[None] = self._loop.create_future()

        def receive(piece: bytes) -> None:
            said = machine.receive(piece[: handshake.MAX_BYTES])
            if said:
                self.send_bytes(said)
            if machine.done or machine.error is not None:
                self.is_reading = False
                if not over.done():
                    over.set_result(None)

        def lost(error: BaseException | None) -> None:
            if not over.done():
                over.set_exception(handshake.hung_up("it"))

        self.on_piece, self.on_close, self.is_reading = receive, lost, True
        self.send_bytes(machine.start())
        self._pump()
        await over
        self._pump()  # the refusal, if it is one
        self.on_piece, self.on_close = self._parse, ignore
        if machine.error is not None:
            raise machine.error
        self.same_host = machine.same_host
        keys = machine.session_keys()
        if keys is not None:
            self._authenticate(keys)
