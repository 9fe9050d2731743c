"""The sockets by which the processes of one program speak, which tests that forbid connections cannot reach.

Covers: making them and accepting on them. Does not cover: connections to other machines, which such tests do forbid.

Tests forbid connections by a class in the place of ``socket.socket`` that raises. Functions of the module ``socket``
make sockets of what stands there, and so does asyncio for the pair that wakes its loops. This module keeps the class
itself. Where a library has put sockets of its own there, as gevent does, those are used.
"""

from __future__ import annotations

import _socket
import socket
from typing import Any

_now: Any = socket.socket
#: The class; what forbids connections derives from it.
Socket: type[socket.socket] = next((cls for cls in getattr(_now, "__mro__", ()) if cls.__module__ == "socket"), _now)
_is_plain = Socket.__module__ == "socket" and hasattr(_socket, "socketpair")


def socketpair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """See ``socket.socketpair``."""
    if not _is_plain:
        return socket.socketpair(type=kind)
    one, other = _socket.socketpair(socket.AF_UNIX, kind)
    return Socket(fileno=one.detach()), Socket(fileno=other.detach())


def accept(sock: socket.socket) -> tuple[socket.socket, Any]:
    """See ``socket.socket.accept``; for a socket that does not block."""
    if not _is_plain or not isinstance(sock, Socket):
        return sock.accept()
    fd, address = sock._accept()  # type: ignore[attr-defined]
    return Socket(fileno=fd), address
