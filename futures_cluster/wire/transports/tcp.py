"""``tcp://HOST:PORT``: names, IPv4 addresses, and IPv6 addresses in brackets.

Covers: addresses and what they resolve to, options of sockets, which listener a connector means. Does not cover: what
is the same for all stream sockets (``streams``), encryption (``tls``, which is built on this), a network that goes away
(``liveness``).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

from futures_cluster.wire import audience
from futures_cluster.wire.transports import admission
from futures_cluster.wire.transports.addresses import MalformedAddress
from futures_cluster.wire.transports.liveness import TcpConnection
from futures_cluster.wire.transports.sockets import SocketConnection
from futures_cluster.wire.transports.streams import BACKLOG, StreamTransport

#: While nothing is under way, the kernel asks a silent peer whether it is there: after the first time, then at the
#: second one, and the last number of times. For what is under way see ``liveness``.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 30, 10, 6


def split_host_and_port(rest: str) -> tuple[str, int]:
    """Return the two parts of ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises
    ------
    MalformedAddress
        If there is no host or no port.

    Examples
    --------
    >>> split_host_and_port("[::1]:8786")
    ('::1', 8786)
    """
    host, _, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise MalformedAddress(f"{rest!r} is not HOST:PORT; write an IPv6 address in brackets: [{rest}]:8786")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > 65535:
        raise MalformedAddress(f"{rest!r} is not HOST:PORT; write it like 127.0.0.1:8786, or [::1]:8786")
    return host, int(port)


def join_host_and_port(address: Any) -> str:
    """Return the inverse of ``split_host_and_port``, of what the system says."""
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def resolve(rest: str, loop: asyncio.AbstractEventLoop, flags: int = 0) -> list[Any]:
    """Return what ``socket.getaddrinfo`` says of ``HOST:PORT``."""
    host, port = split_host_and_port(rest)
    try:  # numbers need no resolver, and no thread for it
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags | socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


class TcpTransport(StreamTransport):
    """``tcp://HOST:PORT``: names, IPv4 addresses, and IPv6 addresses in brackets."""

    scheme = "tcp"
    connection: type[SocketConnection] = TcpConnection
    authenticates_frames = True
    mismatch = "it speaks TLS; then write tls://"

    def split(self, rest: str) -> tuple[str, str]:
        return audience.split_identity(rest)

    def identity(self, address: str) -> str:
        return audience.own_identity(split_host_and_port(address.partition("://")[2])[1])

    def audience(self, sock: socket.socket, identity: str) -> bytes:
        return audience.of_identity(identity) if identity else audience.of_address(sock.getpeername())

    def audiences(self, sock: socket.socket, identity: str) -> frozenset[bytes]:
        return frozenset((audience.of_identity(identity), audience.of_address(sock.getsockname())))

    def source(self, address: Any) -> str:
        return admission.source_of(address[0])

    def describe_peer(self, address: Any) -> str:
        """Return host and port."""
        return f"{self.scheme}://{join_host_and_port(address)}"

    def prepare_socket(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
        # No TCP_USER_TIMEOUT: it gives up a peer that is only busy, see ``liveness``.

    async def open_socket(self, rest: str, loop: asyncio.AbstractEventLoop) -> socket.socket:
        failed: OSError | None = None
        for family, kind, protocol, _, address in await resolve(rest, loop):
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
                return sock
            except BaseException as error:
                sock.close()
                if not isinstance(error, OSError):
                    raise
                failed = error
        assert failed is not None
        raise failed

    async def bind_socket(
        self, rest: str, loop: asyncio.AbstractEventLoop
    ) -> tuple[socket.socket, str, Callable[[], None]]:
        family, kind, protocol, _, address = (await resolve(rest, loop, socket.AI_PASSIVE))[0]
        sock = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and address[0] == "::":
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # for IPv4 as well
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
            return sock, join_host_and_port(sock.getsockname()), lambda: None
        except OSError:
            sock.close()
            raise
