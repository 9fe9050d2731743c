"""``zmq://HOST:PORT``: frames over ZeroMQ sockets, by the optional package pyzmq. Also an example of a transport.

Covers: a door (a REP socket) that opens a PAIR socket for each connection, admission, connecting. Does not cover: the
connection over two of these (``zeromq_connection``); ZeroMQ's own security: the handshake is ours, and so are the
tags of frames (``authenticator``).

    connector: REQ "open"  ---> door (REP)
               REQ         <--- the port of a new PAIR
               PAIR <---------> PAIR     the handshake, then pieces of at most PIECE_BYTES

The door answers every knock, also when it cannot open a socket: a REP socket that owes an answer takes no other
request.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import psutil
import zmq

from futures_cluster.wire import audience, handshake
from futures_cluster.wire.transports import admission, registry
from futures_cluster.wire.transports.listeners import HandshakingListener
from futures_cluster.wire.transports.registry import Listener, OnConnection, Security
from futures_cluster.wire.transports.sockets import ignore
from futures_cluster.wire.transports.streams import new_acceptor, new_connector
from futures_cluster.wire.transports.tcp import join_host_and_port, resolve, split_host_and_port
from futures_cluster.wire.transports.zeromq_connection import ZmqConnection, contexts, set_options

_OPEN = b"open"
#: Maximum number of descriptors of a connection.
_DESCRIPTORS = 8
#: Maximum seconds before a refused connection is closed.
_GRACE_S = 2.0


def _bound_to(sock: Any) -> tuple[str, int]:
    """Return the host and port of a socket.

    With IPv6 on, ZeroMQ maps IPv4 addresses into ``::ffff:``.
    """
    host, port = split_host_and_port(sock.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://"))
    address: Any = ipaddress.ip_address(host)
    return str(getattr(address, "ipv4_mapped", None) or address), port


def _own_addresses() -> list[str]:
    """Return all IP addresses of this machine."""
    families = (socket.AF_INET, socket.AF_INET6)
    return [each.address for many in psutil.net_if_addrs().values() for each in many if each.family in families]


def _peer_of(frame: Any) -> str:
    """Return the IP address of a message's sender; empty if ZeroMQ does not know it."""
    try:
        return str(frame.get("Peer-Address"))
    except (zmq.ZMQError, AttributeError):
        return ""


class ZmqListener(HandshakingListener):
    """The door; see ``registry.Listener``."""

    def __init__(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> None:
        self._host, _ = split_host_and_port(rest)
        self._hanging_up: set[ZmqConnection] = set()
        self._context = zmq.Context()  # of its own: its end is the end of the port
        self._door = self._context.socket(zmq.REP)
        try:
            set_options(self._door)
            self._door.bind(f"tcp://{rest}" if not rest.endswith(":0") else f"tcp://{rest[:-2]}:*")
        except zmq.ZMQError as error:
            self._context.destroy(0)
            raise OSError(f"cannot listen at zmq://{rest}: {error}") from None
        self._bound = _bound_to(self._door)
        address, identity = f"zmq://{join_host_and_port(self._bound)}", audience.own_identity(self._bound[1])
        most = max(2, admission.places() // _DESCRIPTORS)
        super().__init__(address, identity, loop, security, on_connection, most)
        self._fd = int(self._door.getsockopt(zmq.FD))
        loop.add_reader(self._fd, self._answer)

    def _answer(self) -> None:
        while not self._closed and int(self._door.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            asked = self._door.recv(zmq.NOBLOCK, copy=False)
            answer = b""  # no room
            try:
                if asked.bytes == _OPEN:
                    answer = self._open(admission.source_of(_peer_of(asked)))
            except (OSError, zmq.ZMQError) as error:  # no descriptor is left, for example
                self._warnings.warning("open", "%s cannot open a connection now: %s", self.address, str(error))
                self._end_some(is_urgent=True)
            self._door.send(answer, zmq.NOBLOCK)

    def _open(self, source: str) -> bytes:
        """Open a socket for a connection; its port, or nothing if there is no room."""
        place = object()
        self._under_way.enter(place, source, self._loop.time())
        wait_s = self._end_some()
        self._under_way.leave(place)
        if wait_s:
            return b""
        connection = ZmqConnection(self._loop, self.address)
        try:
            host = f"[{self._host}]" if ":" in self._host else self._host
            connection.sock.bind(f"tcp://{host}:*")
            port = connection.sock.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
        except BaseException:
            connection.close()
            raise
        self._begin(self._admit(connection, source), source, connection)
        return bytes(port.encode())

    def _audiences(self) -> frozenset[bytes]:
        """Return the audiences of this listener; ZeroMQ tells no address."""
        host, port = self._bound
        hosts = [host, *(_own_addresses() if ipaddress.ip_address(host).is_unspecified else ())]
        return frozenset([audience.of_identity(self._identity), *[audience.of_address((each, port)) for each in hosts]])

    async def _admit(self, connection: ZmqConnection, source: str) -> None:
        try:
            async with asyncio.timeout(registry.TIMEOUT_S):
                await connection.shake_hands(new_acceptor(self._security, self._audiences()))
        except OSError as error:
            self._refused(source, source, error)
            # Closing drops what is unsent, and ZeroMQ does not say when the refusal is: the other side hangs up first.
            connection.on_piece, connection.is_reading = ignore, True
            self._hanging_up.add(connection)
            self._loop.call_later(_GRACE_S, self._forget, connection)
            connection.on_close = lambda error: self._forget(connection)
            return
        except BaseException:
            connection.close()
            raise
        self._passed(connection)

    def _forget(self, connection: ZmqConnection) -> None:
        connection.close()
        self._hanging_up.discard(connection)

    def _give_up(self) -> None:
        for connection in list(self._hanging_up):
            self._forget(connection)
        self._loop.remove_reader(self._fd)
        self._context.destroy(0)


class ZmqTransport:
    """``zmq://HOST:PORT``; needs pyzmq."""

    scheme = "zmq"
    guard = registry.SECRET

    async def connect(self, rest: str, loop: asyncio.AbstractEventLoop, security: Security) -> ZmqConnection:
        """See ``registry.Transport``."""
        rest, identity = audience.split_identity(rest)
        address = (await resolve(rest, loop))[0][4]
        door = join_host_and_port(address)
        port = (await self._knock(door, loop)).decode("ascii", "replace")
        if not port.isdecimal():
            raise handshake.ListenerBusy("the listener has no room for another connection; try again later")
        meant = audience.of_identity(identity) if identity else audience.of_address(address)
        connection = ZmqConnection(loop, f"zmq://{rest}")
        try:
            connection.sock.connect(f"tcp://{door.rpartition(':')[0]}:{port}")
            await connection.shake_hands(new_connector(security, meant))
            return connection
        except BaseException:
            connection.close()
            raise

    async def _knock(self, rest: str, loop: asyncio.AbstractEventLoop) -> bytes:
        """Ask the door for a port."""
        sock = contexts.take().socket(zmq.REQ)
        fd = None
        try:
            set_options(sock)
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
            contexts.give_back()

    async def listen(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> Listener:
        """See ``registry.Transport``."""
        return ZmqListener(rest, loop, security, on_connection)
