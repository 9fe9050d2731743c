"""Descriptors 0 to 2: whether they are the standard streams, and keeping everything else away from them.

Covers: programs whose standard streams are closed (``script 2>&-``, daemons). The next file that such a program opens
gets the number of the closed stream, and so may a socket of ours. Does not cover: what is written to the streams
(``stderr``).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator

from futures_cluster.wire.transports import local_sockets


def is_standard(fd: int) -> bool:
    """Return whether a descriptor from 0 to 2 is a standard stream.

    The interpreter has found it open at its start, and programs inherit it: neither a stream that was closed nor a
    file that Python opens (PEP 446) passes on to them. A stream that was redirected by ``dup2`` does.
    """
    stream = (sys.__stdin__, sys.__stdout__, sys.__stderr__)[fd]
    try:
        return stream is not None and os.get_inheritable(fd)
    except OSError:
        return False


def is_open(fd: int) -> bool:
    """Return whether the number belongs to any file."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def fill_standard() -> None:
    """Open the null device in the place of each standard stream that is closed."""
    for fd in range(3):
        if not is_open(fd):
            null = os.open(os.devnull, os.O_RDWR)
            if null == fd:
                os.set_inheritable(fd, True)
            else:
                os.dup2(null, fd)
                os.close(null)


@contextlib.contextmanager
def none_standard() -> Iterator[None]:
    """Give all that is opened in the block numbers above 2."""
    with contextlib.ExitStack() as fillers:
        for fd in range(3):
            if not is_open(fd):
                fillers.callback(os.close, os.open(os.devnull, os.O_RDWR))
        yield


def above_standard(fd: int) -> int:
    """Return the same file under a number above 2; closes the given one."""
    if fd > 2:
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def socketpair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Return a pair of unix sockets, whose numbers are above 2."""
    ours, theirs = local_sockets.socketpair(kind)
    return _above(ours), _above(theirs)


def _above(sock: socket.socket) -> socket.socket:
    return sock if sock.fileno() > 2 else local_sockets.Socket(fileno=above_standard(sock.detach()))


def pipe() -> tuple[int, int]:
    """Return a pipe, as ``os.pipe`` makes it, whose numbers are above 2."""
    read_fd, write_fd = os.pipe()
    return above_standard(read_fd), above_standard(write_fd)


def file_with(data: bytes) -> int:
    """Return a descriptor above 2 of a nameless file, to be read from its beginning."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("futures_cluster-start", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as nameless:
            fd = os.dup(nameless.fileno())
    fd = above_standard(fd)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
