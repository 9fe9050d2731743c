"""Connections and sockets in pickles: the other process gets a duplicate of the descriptor, as with multiprocessing.

Covers: ends of ``multiprocessing.Pipe`` and sockets, among arguments and results. Does not cover: descriptors in
objects of other types, which do not pickle.

To the plain pickler a connection is the number of its descriptor, which means something else in another process. So
does multiprocessing pickle it in its own pools: a thread of the sender hands the descriptor over, once, to a process
that has the sender's authentication key; the workers that an executor starts have it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

#: Stands in each plain pickle of a connection.
MARK = b"multiprocessing.connection"


def add_reducers(table: MutableMapping[type, Callable[[Any], Any]], passes: bool) -> None:
    """Let a pickler with this dispatch table pass on or refuse connections.

    A pickle with a connection is read once, if the table passes connections. A pickle that several processes read must
    not have one.
    """
    sockets = sys.modules.get("socket")  # a process without the module has no sockets
    if sockets is not None:
        table[sockets.socket] = _reduce_socket if passes else _refuse
    module = sys.modules.get("multiprocessing.connection")
    if module is not None:
        table[module.Connection] = _reduce_connection if passes else _refuse


def _refuse(obj: Any) -> Any:
    raise TypeError(
        f"cannot pickle {type(obj).__name__!r} object as a part of a function; pass it as an argument, "
        "which hands it to the one worker that runs the task"
    )


def _reduce_connection(connection: Any) -> tuple[Any, ...]:
    arguments = (_duplicate(connection.fileno()), connection.readable, connection.writable)
    return _receive_connection, arguments


def _reduce_socket(plug: socket.socket) -> tuple[Any, ...]:
    return _receive_socket, (_duplicate(plug.fileno()), plug.family, plug.type, plug.proto)


def _duplicate(fd: int) -> Any:
    from multiprocessing import reduction

    return reduction.DupFd(fd)


# ---------------------------------------------------------------- called by the unpickler


def _receive_connection(duplicate: Any, readable: bool, writable: bool) -> Any:
    from multiprocessing.connection import Connection

    return Connection(_receive(duplicate, "connection"), readable, writable)


def _receive_socket(duplicate: Any, family: int, kind: int, protocol: int) -> socket.socket:
    import socket

    return socket.socket(family, kind, protocol, fileno=_receive(duplicate, "socket"))


def _receive(duplicate: Any, what: str) -> int:
    try:
        fd: int = duplicate.detach()
    except Exception as error:
        raise OSError(
            f"the {what} did not reach this process ({error!r}): it passes once, from one process to another of the "
            f"same executor and host, while both live; pass it again for each use, or open it where it is needed"
        ) from error
    return fd
