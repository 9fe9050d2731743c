"""Frames over sockets, read by an asyncio loop and written by any thread.

Covers: what the connections of all transports have in common, and one over a socket, which sends from whichever thread
calls, at once if the socket takes it. Does not cover: how sockets are made (``unix``, ``tcp``), what messages mean,
reconnecting.

Why not asyncio's transports: a worker's executing thread sends its results itself. Through the loop's thread they
would take one more wake-up and one more hand-over of the interpreter's lock, a third of a round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from futures_cluster import locks
from futures_cluster.errors import AuthenticationError, ProtocolError
from futures_cluster.messages import Message
from futures_cluster.wire import frames

#: Read at once. For a larger piece the allocator would ask the system for memory, each time: 12 us a message.
READ_BYTES = 64 * 1024
#: Maximum bytes of large buffers read or written before others have their turn, on the loop and with the lock.
TURN_BYTES = 4 * 2**20
#: Buffers are hashed in pieces of this size, just before each is sent: it is still in the processor's cache then.
HASHED_BYTES = 2**20
#: Parts that one call may send; the system takes 1024.
_MAX_PARTS = 64


def ignore(_: object) -> None:
    """Do nothing, in the place of a callback that is not set yet."""


class BaseConnection:
    """What the connections of all transports have in common; see ``registry.Connection``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str, same_host: bool) -> None:
        self.on_messages: Callable[[list[Message]], None] = ignore
        self.on_close: Callable[[BaseException | None], None] = ignore
        self.closed: bool = False
        self.same_host = same_host
        self.peer = peer
        self._loop = loop
        self._lock = locks.Lock()
        self._seal: Any = None
        self._parser = frames.FrameParser()
        self._outbox: deque[Any] = deque()  # memoryview; SealedBuffers, if frames have tags
        self._pending_bytes = 0

    def _authenticate(self, keys: tuple[bytes, bytes]) -> None:
        """Put tags on all frames from now on, and check those of the peer.

        ``keys``: of what this side sends, and of what it receives (``handshake.Handshake.session_keys``).
        """
        from futures_cluster.wire.authenticator import Opener, Sealer  # here, because most connections have no tags

        self._seal, self._parser = Sealer(keys[0]).seal, frames.FrameParser(Opener(keys[1]))

    def _open_sealed(self, most_bytes: int) -> None:
        """Put the next views of sealed buffers that come first in front of them."""
        first = self._outbox[0]
        if type(first) is not memoryview:
            views = first.take(most_bytes)
            if not first.nbytes:
                self._outbox.popleft()
            self._outbox.extendleft(reversed(views))

    @property
    def pending_bytes(self) -> int:
        """See ``registry.Connection``."""
        return self._pending_bytes

    @property
    def received_bytes(self) -> int:
        """See ``registry.Connection``."""
        return self._parser.received_bytes

    def _take(self, parse: Callable[[Any], Iterable[list[Message]]], what: Any) -> None:
        """Give the parser what came, and hand over the messages of each frame."""
        try:
            for messages in parse(what):
                try:
                    self.on_messages(messages)
                except Exception as error:
                    # A mistake of ours; the frames behind this one must not wait for the next bytes.
                    self._loop.call_exception_handler({"message": "handling messages failed", "exception": error})
                if self.closed:
                    return
        except (ProtocolError, AuthenticationError) as error:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Close, and say so; on the loop's thread."""
        if not self.closed:
            self.close()
            self.on_close(error)

    def close(self) -> None:
        """Close without calling ``on_close``; on the loop's thread."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._outbox.clear()
            self._pending_bytes = 0
        self._give_up()

    def _give_up(self) -> None:
        """Close what carries the connection; called once."""
        raise NotImplementedError


class SocketConnection(BaseConnection):
    """One socket between two peers.

    Parameters
    ----------
    sock : socket.socket
        Connected; owned by the connection from now on.
    loop : asyncio.AbstractEventLoop
        Reads, and writes what the socket did not take at once.
    on_messages : callable
        Called on the loop with the messages of each frame.
    on_close : callable
        Called once on the loop, when the peer has closed, or with the error that ended the connection.
    left_over : bytes
        What was read from the socket already.
    keys : tuple of bytes or None
        By which each frame is authenticated, where others could get at the bytes on their way.

    See ``registry.Connection`` for what all connections have in common.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_messages: Callable[[list[Message]], None] = ignore,
        on_close: Callable[[BaseException | None], None] = ignore,
        *,
        left_over: bytes = b"",
        same_host: bool = True,
        peer: str = "",
        keys: tuple[bytes, bytes] | None = None,
    ) -> None:
        super().__init__(loop, peer, same_host)
        self.on_messages = on_messages
        self.on_close = on_close
        if keys is not None:
            self._authenticate(keys)
        self._sock = sock
        self._fd = sock.fileno()
        self._left_over = left_over
        self._writing = False
        self._reading = locks.Lock()
        self._watched = False
        self._ended = False
        sock.setblocking(False)

    def start(self) -> None:
        """Begin to read; on the loop's thread."""
        self.watch(True)
        left_over, self._left_over = self._left_over, b""
        if left_over:
            with self._reading:
                self._take(self._parser.feed, left_over)
            if self.closed:  # meanwhile
                self._sock.close()

    def watch(self, on: bool) -> None:
        """Let the loop read, or another thread by ``read``; on the loop's thread."""
        if on != self._watched and not self.closed:
            self._watched = on
            if on:
                self._loop.add_reader(self._fd, self.read)
            else:
                self._loop.remove_reader(self._fd)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._fd

    def read(self) -> bool:
        """Read and hand over what has arrived; one thread at a time. False at the end."""
        if self._ended or self.closed:
            return False
        if self._reading.acquire(False):
            try:
                self._read()
            finally:
                self._reading.release()
                if self.closed:  # meanwhile
                    self._sock.close()
        return not self._ended

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages in one frame, from any thread; drops them after the end."""
        data, buffers = frames.pack(messages)
        parts: Sequence[Any] = [buffer.memory for buffer in buffers] if buffers else ()
        with self._lock:
            if self.closed:
                return
            if self._seal is not None:  # under the lock: frames are numbered in the order in which they are sent
                data, parts = self._seal(data, buffers)
            sent = 0
            if not self._outbox and not parts:
                try:
                    sent = self._send_first(data)
                except self._waits:
                    pass
                except OSError:
                    return  # the reader sees the end as well, and reports it
                if sent == len(data):
                    return
            self._outbox.append(memoryview(data)[sent:])
            self._pending_bytes += len(data) - sent
            for part in parts:
                if part.nbytes:
                    self._outbox.append(part)
                    self._pending_bytes += part.nbytes
            if self._writing:
                return
            if parts and self._send_outbox():
                return
            self._writing = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._watch_writes)

    def _send_outbox(self) -> bool:
        """Send what waits, under the lock; False if the loop has to go on with it."""
        outbox = self._outbox
        left = TURN_BYTES
        while outbox:
            if left <= 0:
                return False
            try:
                sent = self._send_some()
            except self._waits:
                return False
            except OSError:
                outbox.clear()
                self._pending_bytes = 0
                break
            self._pending_bytes -= sent
            left -= sent
            while sent and sent >= outbox[0].nbytes:
                sent -= outbox.popleft().nbytes
            if sent:
                outbox[0] = outbox[0][sent:]
        return True

    # What ``tls`` does in another way. All of these raise one of ``_waits`` if they would have to wait.

    _waits: tuple[type[OSError], ...] = (BlockingIOError, InterruptedError)

    def _receive(self) -> bytes:
        return self._sock.recv(READ_BYTES)

    def _receive_into(self, space: memoryview) -> int:
        return self._sock.recv_into(space)

    def _send_first(self, data: bytes) -> int:
        """Hand bytes to the socket while nothing else waits; how many it took."""
        return self._sock.send(data)

    def _send_some(self) -> int:
        """Hand the first parts of the outbox to the socket; how many bytes it took."""
        if self._seal is not None:
            self._open_sealed(HASHED_BYTES)
        parts = list(itertools.islice(self._outbox, _MAX_PARTS))
        if self._seal is not None:
            parts = list(itertools.takewhile(lambda part: type(part) is memoryview, parts))
        if len(parts) == 1:
            return self._sock.send(parts[0])
        return self._sock.sendmsg(parts)

    def _watch_writes(self) -> None:
        if not self.closed:
            self._loop.add_writer(self._fd, self._write)

    def _write(self) -> None:
        with self._lock:
            if self._send_outbox():
                self._writing = False
                self._loop.remove_writer(self._fd)

    def _read(self) -> bool:
        """Read some of what has arrived; False when there is no more for now, or ever."""
        parser = self._parser
        try:
            if parser.arriving is None:
                data = self._receive()
                if not data:
                    self._end(None)
                    return False
                self._take(parser.feed, data)
                return not self._ended
            left = TURN_BYTES
            while left > 0 and parser.arriving is not None and not self.closed:
                count = self._receive_into(parser.arriving.prepared_space())
                if not count:
                    self._end(None)
                    return False
                left -= count
                self._take(parser.filled, count)
        except self._waits:
            return False
        except OSError as error:
            self._end(error)
        return not self._ended

    def drain(self) -> None:
        """Read until nothing is left or the end has come; on the loop's thread."""
        with self._reading:
            while not self.closed and not self._ended and self._read():
                pass
        if self.closed:  # meanwhile
            self._sock.close()

    def _end(self, error: BaseException | None) -> None:
        """End the connection soon; from any thread."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(super()._end, error)

    def _give_up(self) -> None:
        with contextlib.suppress(RuntimeError, ValueError):
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
        # Not under a thread that reads: the number of the descriptor may belong to another file at once. That thread
        # closes it.
        if self._reading.acquire(False):
            self._sock.close()
            self._reading.release()
