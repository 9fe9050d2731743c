"""``zmq://HOST:PORT``: frames over ZeroMQ sockets, by the optional package pyzmq. Also an example of a transport.

Covers: a door (a REP socket) that opens a PAIR socket for each connection, the handshake on that, and a connection that
carries the stream of frames in pieces. Does not cover: ZeroMQ's own security; the handshake is ours.

    connector: REQ "open"  ---> door (REP)
               REQ         <--- the port of a new PAIR
               PAIR <---------> PAIR     the handshake, then pieces of at most PIECE_BYTES

Pieces, because ZeroMQ takes whole messages into memory: their size and number are limited, so that a peer that has not
passed the handshake can make nobody take more than ``MOST_QUEUED`` of them. ZeroMQ's sockets may not be used by two
threads at once: each has a lock. Its descriptors only tell of changes, so every use is followed by a look at what else
may be done (``_pump``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from futures_cluster.errors import HandshakeError, ProtocolError
from futures_cluster.messages import Message
from futures_cluster.wire import frames, handshake, transports
from futures_cluster.wire.sockets import ignore
from futures_cluster.wire.streams import MOST_HANDSHAKES, host_identity, log, split_host_and_port
from futures_cluster.wire.transports import TIMEOUT_S, Listener, OnConnection, Security

PIECE_BYTES = 256 * 1024
MOST_QUEUED = 8
#: Pieces that are handled before others have their turn on the loop.
_A_TURN = 64
_OPEN = b"open"
#: A connection that was refused is closed after so long at the latest.
_GRACE_S = 2.0


class _Contexts:
    """One ZeroMQ context for all connections of the process, as long as there are any: each has threads of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
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


_contexts = _Contexts()


def _options(sock: Any) -> None:
    sock.setsockopt(zmq.LINGER, 0)
    sock.setsockopt(zmq.IPV6, 1)
    sock.setsockopt(zmq.RECONNECT_IVL, -1)
    sock.setsockopt(zmq.MAXMSGSIZE, PIECE_BYTES)
    sock.setsockopt(zmq.SNDHWM, MOST_QUEUED)
    sock.setsockopt(zmq.RCVHWM, MOST_QUEUED)


class ZmqConnection:
    """A PAIR socket; see ``transports.Connection``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        self.on_messages: Callable[[list[Message]], None] = ignore
        self.on_close: Callable[[BaseException | None], None] = ignore
        self.on_piece: Callable[[bytes], None] = self._parse
        self.closed = False
        self.same_host = False
        self.peer = peer
        self.is_reading = False
        self.sock = _contexts.take().socket(zmq.PAIR)
        _options(self.sock)
        self._monitor = self.sock.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._loop = loop
        self._lock = threading.Lock()
        self._parser = frames.FrameParser()
        self._outbox: deque[memoryview] = deque()
        self._pending_bytes = 0
        self._awake = False
        self._lost = False
        self._fds = [self.sock.getsockopt(zmq.FD), self._monitor.getsockopt(zmq.FD)]
        loop.add_reader(self._fds[0], self._pump)
        loop.add_reader(self._fds[1], self._watch)
        self._watch()  # a descriptor tells nothing of a socket that was never asked

    def start(self) -> None:
        """See ``transports.Connection``."""
        self.is_reading = True
        self._pump()

    def send(self, messages: Iterable[Message]) -> None:
        """See ``transports.Connection``."""
        self.send_bytes(*frames.pack(messages))

    def send_bytes(self, head: bytes, views: Iterable[memoryview] = ()) -> None:
        """Put bytes into the outbox; from any thread."""
        with self._lock:
            if self.closed or self._lost:
                return
            for view in (memoryview(head), *views):
                for start in range(0, view.nbytes, PIECE_BYTES):
                    self._outbox.append(view[start : start + PIECE_BYTES])
                self._pending_bytes += view.nbytes
            if self._awake:
                return
            self._awake = True
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._pump)

    @property
    def pending_bytes(self) -> int:
        """See ``transports.Connection``."""
        return self._pending_bytes

    @property
    def received_bytes(self) -> int:
        """See ``transports.Connection``."""
        return self._parser.received_bytes

    def fileno(self) -> None:
        """ZeroMQ's descriptor is not readable when there is something to read."""

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
        try:
            for messages in self._parser.feed(piece):
                try:
                    self.on_messages(messages)
                except Exception as error:
                    self._loop.call_exception_handler({"message": "handling messages failed", "exception": error})
                if self.closed:
                    return
        except ProtocolError as error:
            self._end(error)

    def _watch(self) -> None:
        """Whether the peer is gone; what it said before is read first."""
        with self._lock:
            while not self.closed and self._monitor.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                recv_monitor_message(self._monitor, zmq.NOBLOCK)
                self._lost = True
                self._outbox.clear()
                self._pending_bytes = 0
        if self._lost:
            self._pump()

    def _end(self, error: BaseException | None) -> None:
        if not self.closed:
            self.close()
            self.on_close(error)

    def close(self) -> None:
        """See ``transports.Connection``."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._outbox.clear()
            self._pending_bytes = 0
            for fd in self._fds:
                self._loop.remove_reader(fd)
            self.sock.disable_monitor()
            self._monitor.close(0)
            self.sock.close(0)
        _contexts.give_back()

    async def shake_hands(self, machine: handshake.Handshake) -> None:
        """Pass the handshake; the connection is ready to be started then.

        Raises
        ------
        HandshakeError
            When it fails.
        """
        over: asyncio.Future[None] = self._loop.create_future()

        def receive(piece: bytes) -> None:
            said = machine.receive(piece[: handshake.MOST_BYTES])
            if said:
                self.send_bytes(said)
            if machine.done or machine.error is not None:
                self.is_reading = False
                if not over.done():
                    over.set_result(None)

        def lost(error: BaseException | None) -> None:
            if not over.done():
                over.set_exception(HandshakeError("it closed the connection in the middle of the handshake"))

        self.on_piece, self.on_close, self.is_reading = receive, lost, True
        self.send_bytes(machine.start())
        self._pump()
        await over
        self._pump()  # the refusal, if it is one
        self.on_piece, self.on_close = self._parse, ignore
        if machine.error is not None:
            raise machine.error
        self.same_host = machine.same_host


class ZmqListener:
    """The door; see ``transports.Listener``."""

    def __init__(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> None:
        self._host, _ = split_host_and_port(rest)
        self._loop = loop
        self._security = security
        self._on_connection = on_connection
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._refused: dict[ZmqConnection, None] = {}
        self._closed = False
        self._context = zmq.Context()  # of its own: its end is the end of the port
        self._door = self._context.socket(zmq.REP)
        try:
            _options(self._door)
            self._door.bind(f"tcp://{rest}" if not rest.endswith(":0") else f"tcp://{rest[:-2]}:*")
        except zmq.ZMQError as error:
            self._door.close(0)
            self._context.term()
            raise OSError(f"cannot listen at zmq://{rest}: {error}") from None
        self.address = "zmq" + self._door.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp")
        self._fd = int(self._door.getsockopt(zmq.FD))
        loop.add_reader(self._fd, self._answer)

    def _answer(self) -> None:
        while not self._closed and int(self._door.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            asked = self._door.recv(zmq.NOBLOCK)
            if asked != _OPEN or len(self._tasks) >= MOST_HANDSHAKES:
                self._door.send(b"", zmq.NOBLOCK)
                continue
            connection = ZmqConnection(self._loop, self.address)
            host = f"[{self._host}]" if ":" in self._host else self._host
            connection.sock.bind(f"tcp://{host}:*")
            port = connection.sock.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
            task = self._loop.create_task(self._admit(connection))
            self._tasks[task] = None
            task.add_done_callback(partial(self._admitted, connection))
            self._door.send(port.encode(), zmq.NOBLOCK)

    def _admitted(self, connection: ZmqConnection, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if task.cancelled():
            connection.close()

    async def _admit(self, connection: ZmqConnection) -> None:
        machine = handshake.Acceptor(self._security.secret, os.urandom(handshake.NONCE_BYTES), host_identity())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await connection.shake_hands(machine)
        except OSError as error:
            if not self._closed:
                reason = str(error) or f"it has not passed the handshake within {TIMEOUT_S:g} s"
                log.warning("refused a connection to %s: %s", self.address, reason)
            # Closing drops what is unsent, and ZeroMQ does not say when the refusal is: the other side hangs up first.
            connection.on_piece, connection.is_reading = ignore, True
            self._refused[connection] = None
            self._loop.call_later(_GRACE_S, self._forget, connection)
            connection.on_close = lambda error: self._forget(connection)
            return
        except BaseException:
            connection.close()
            raise
        self._on_connection(connection)

    def _forget(self, connection: ZmqConnection) -> None:
        connection.close()
        self._refused.pop(connection, None)

    def close(self) -> None:
        """See ``transports.Listener``."""
        if self._closed:
            return
        self._closed = True
        for connection in list(self._refused):
            self._forget(connection)
        self._loop.remove_reader(self._fd)
        for task in self._tasks:
            task.cancel()
        self._door.close(0)
        self._context.term()


class ZmqTransport:
    """``zmq://HOST:PORT``; needs pyzmq."""

    scheme = "zmq"
    guard = transports.SECRET

    async def connect(self, rest: str, loop: asyncio.AbstractEventLoop, security: Security) -> ZmqConnection:
        """See ``transports.Transport``."""
        split_host_and_port(rest)
        port = (await self._knock(rest, loop)).decode("ascii", "replace")
        if not port.isdecimal():
            raise HandshakeError("the listener has no room for another connection; try again later")
        connection = ZmqConnection(loop, f"zmq://{rest}")
        try:
            connection.sock.connect(f"tcp://{rest.rpartition(':')[0]}:{port}")
            await connection.shake_hands(
                handshake.Connector(security.secret, os.urandom(handshake.NONCE_BYTES), host_identity())
            )
            return connection
        except BaseException:
            connection.close()
            raise

    async def _knock(self, rest: str, loop: asyncio.AbstractEventLoop) -> bytes:
        """Ask the door for a port."""
        sock = _contexts.take().socket(zmq.REQ)
        fd = None
        try:
            _options(sock)
            sock.connect(f"tcp://{rest}")
            sock.send(_OPEN, zmq.NOBLOCK)
            fd = sock.getsockopt(zmq.FD)
            changed = asyncio.Event()
            loop.add_reader(fd, changed.set)
            while not sock.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                await changed.wait()
                changed.clear()
            return bytes(sock.recv(zmq.NOBLOCK))
        except zmq.ZMQError as error:
            raise OSError(f"cannot connect to zmq://{rest}: {error}") from None
        finally:
            if fd is not None:
                loop.remove_reader(fd)
            sock.close(0)
            _contexts.give_back()

    async def listen(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> Listener:
        """See ``transports.Transport``."""
        split_host_and_port(rest)
        return ZmqListener(rest, loop, security, on_connection)
