"""Frames over sockets, read by an asyncio loop and written by any thread.

Covers: a connection that hands over the messages of each frame, and sends from whichever thread calls, at once if
the socket takes it; unix sockets that listen and connect.
Does not cover: what messages mean, tcp and tls (not there yet), reconnecting.

Why not asyncio's transports: a worker's executing thread sends its results itself. Through the loop's thread they
would take one more wake-up and one more hand-over of the interpreter's lock, a third of a round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from futures_cluster.errors import ProtocolError
from futures_cluster.messages import Message
from futures_cluster.wire import frames

READ_BYTES = 256 * 1024

#: Whether sockets can carry descriptors to worker processes.
available = hasattr(socket, "AF_UNIX") and hasattr(socket, "send_fds")


class SocketConnection:
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
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_messages: Callable[[list[Message]], None],
        on_close: Callable[[BaseException | None], None],
    ) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._loop = loop
        self._on_messages = on_messages
        self._on_close = on_close
        self._parser = frames.FrameParser()
        self._lock = threading.Lock()
        self._outbox: deque[memoryview] = deque()
        self._writing = False
        self._reading = threading.Lock()
        self._watched = False
        self._ended = False
        self.closed = False
        sock.setblocking(False)

    def start(self) -> None:
        """Begin to read; on the loop's thread."""
        self.watch(True)

    def watch(self, on: bool) -> None:
        """Whether the loop reads; on the loop's thread. Otherwise somebody else calls ``read``."""
        if on != self._watched and not self.closed:
            self._watched = on
            if on:
                self._loop.add_reader(self._fd, self.read)
            else:
                self._loop.remove_reader(self._fd)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._fd

    def read(self) -> bool:
        """Read what has arrived and hand it over; on any thread, and on one at a time. False at the end."""
        if self._ended or self.closed:
            return False
        if self._reading.acquire(False):
            self._read_and_release()
        return not self._ended

    def _read_and_release(self) -> None:
        try:
            self._read()
        finally:
            self._reading.release()
            if self.closed:  # meanwhile
                self._sock.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages in one frame, from any thread; never blocks. After the end they are dropped."""
        data = frames.pack(messages)
        with self._lock:
            if self.closed:
                return
            sent = 0
            if not self._outbox:
                try:
                    sent = self._sock.send(data)
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError:
                    return  # the reader sees the end as well, and reports it
                if sent == len(data):
                    return
            self._outbox.append(memoryview(data)[sent:])
            if self._writing:
                return
            self._writing = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._watch_writes)

    @property
    def pending_bytes(self) -> int:
        """Bytes that the socket has not taken yet."""
        with self._lock:
            return sum(len(part) for part in self._outbox)

    def _watch_writes(self) -> None:
        if not self.closed:
            self._loop.add_writer(self._fd, self._write)

    def _write(self) -> None:
        with self._lock:
            outbox = self._outbox
            while outbox:
                try:
                    sent = self._sock.send(outbox[0])
                except (BlockingIOError, InterruptedError):
                    return
                except OSError:
                    outbox.clear()
                    break
                if sent < len(outbox[0]):
                    outbox[0] = outbox[0][sent:]
                    return
                outbox.popleft()
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if not data:
            self._end(None)
            return
        try:
            for messages in self._parser.feed(data):
                try:
                    self._on_messages(messages)
                except Exception as error:
                    # A mistake of ours; the frames behind this one must not wait for the next bytes.
                    self._loop.call_exception_handler({"message": "handling messages failed", "exception": error})
                if self.closed:
                    return
        except ProtocolError as error:
            self._end(error)

    def drain(self) -> None:
        """Read all that has arrived, until the end or until there is nothing more; on the loop's thread."""
        while not self.closed:
            try:
                data = self._sock.recv(READ_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except OSError:
                with self._reading:  # another thread may just have taken the last of it
                    return
            self._reading.acquire()
            self._read_and_release()
            if not data:
                return

    def _end(self, error: BaseException | None) -> None:
        if not self._ended:
            self._ended = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._close_and_tell, error)

    def _close_and_tell(self, error: BaseException | None) -> None:
        if not self.closed:
            self.close()
            self._on_close(error)

    def close(self) -> None:
        """Close without calling ``on_close``; on the loop's thread."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._outbox.clear()
        with contextlib.suppress(RuntimeError, ValueError):
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
        # Not under a thread that reads: the number of the descriptor may belong to another file at once. That thread
        # closes it.
        if self._reading.acquire(False):
            self._sock.close()
            self._reading.release()


#: Paths of unix sockets are no longer than this (108 bytes on Linux, 104 on macOS, with a zero at the end).
_MOST_PATH_BYTES = 100


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """A path for the same socket that the system takes however long the given one is.

    Folders for temporary files can have long names: those of batch systems, and of tests.
    """
    if len(os.fsencode(path)) <= _MOST_PATH_BYTES or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def listen(path: str) -> socket.socket:
    """A unix socket that listens at ``path``, whose folder must be private (mode 0700).

    Raises
    ------
    PermissionError
        When others can enter the folder.
    """
    folder = os.path.dirname(path)
    status = os.stat(folder)
    mode = status.st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(f"{folder} has mode {mode:o}; a socket is only opened in a folder of mode 700")
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to user {status.st_uid}; a socket is only opened in our own folder")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as short:
            sock.bind(short)
        sock.listen(128)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


#: A listener that does not get round to accepting is asked again for so long.
_BUSY_S = 10.0


async def connect(address: str, loop: asyncio.AbstractEventLoop) -> socket.socket:
    """Connect to ``unix://PATH``.

    Raises
    ------
    OSError
        When nobody listens there.
    """
    kind, _, path = address.partition("://")
    if kind != "unix":
        raise OSError(f"cannot connect to {address!r}: only unix:// is known")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    end = loop.time() + _BUSY_S
    try:
        while True:
            try:
                # Not ``loop.sock_connect``, which takes "the queue of the listener is full" for "under way".
                with _short(path) as short:
                    sock.connect(short)
                return sock
            except BlockingIOError:
                if loop.time() > end:
                    raise
            await asyncio.sleep(0.01)
    except BaseException:
        sock.close()
        raise
