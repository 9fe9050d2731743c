"""Whose process is at the other end of a unix socket.

Covers: asking the system, and refusing processes of other users, on both sides. Does not cover: the mode of the folder
with the socket (``unix``), which keeps others from connecting in the first place.
"""

from __future__ import annotations

import os
import socket
import struct

from futures_cluster.errors import AuthenticationError

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
