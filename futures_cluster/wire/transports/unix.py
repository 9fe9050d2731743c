"""``unix://PATH``: sockets of this host, in folders that only this user can enter.

Covers: the folder and its mode, and whose process is at the other end. Does not cover: the handshake and all else that
is the same for stream sockets (``streams``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from futures_cluster.errors import AuthenticationError
from futures_cluster.wire.transports import local_sockets, registry
from futures_cluster.wire.transports.streams import BACKLOG, StreamTransport

#: Paths of unix sockets are no longer than this (108 bytes on Linux, 104 on macOS, with a zero at the end).
_MAX_PATH_BYTES = 100
_CREDENTIALS = struct.Struct("3i")  # pid, uid and gid, as Linux tells them


def check_user(sock: socket.socket) -> None:
    """Refuse a unix socket whose other end belongs to neither this user nor root.

    The system notes whose process connected or began to listen. Where it cannot be asked, nothing is checked.

    Raises
    ------
    AuthenticationError
        With both users.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return
    _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid not in (os.geteuid(), 0):
        raise AuthenticationError(
            f"the other end of the unix socket belongs to user {uid}, and this process to user {os.geteuid()}; unix "
            "sockets are for processes of one user, others need tcp:// with a secret, or tls://"
        )


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """Yield a path for the same socket that is short enough for the system.

    Folders for temporary files can have long names: those of batch systems, and of tests.
    """
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


class UnixTransport(StreamTransport):
    """``unix://PATH``: a socket in a folder that only this user can enter (mode 0700), with this user at both ends."""

    scheme = "unix"
    guard = registry.HOST

    def describe_peer(self, address: Any) -> str:
        """Return the same for all: they have no addresses."""
        return "a process of this host"

    def prepare_socket(self, sock: socket.socket) -> None:
        check_user(sock)

    async def open_socket(self, rest: str, loop: asyncio.AbstractEventLoop) -> socket.socket:
        sock = local_sockets.Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            while True:
                try:
                    # Not ``loop.sock_connect``, which takes "the queue of the listener is full" for "under way".
                    with _short(rest) as short:
                        sock.connect(short)
                    return sock
                except BlockingIOError:
                    await asyncio.sleep(0.01)
        except BaseException:
            sock.close()
            raise

    async def bind_socket(
        self, rest: str, loop: asyncio.AbstractEventLoop
    ) -> tuple[socket.socket, str, Callable[[], None]]:
        folder = os.path.dirname(rest)
        status = os.stat(folder)
        mode = status.st_mode & 0o777
        if mode & 0o077:
            raise PermissionError(f"{folder} has mode {mode:o}; a socket is only opened in a folder of mode 700")
        if status.st_uid != os.geteuid():
            raise PermissionError(
                f"{folder} belongs to user {status.st_uid}; a socket is only opened in our own folder"
            )
        sock = local_sockets.Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(rest) as short:
                sock.bind(short)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise

        def clean_up() -> None:
            with contextlib.suppress(OSError):
                os.unlink(rest)

        return sock, rest, clean_up
