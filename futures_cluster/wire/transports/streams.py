"""Connections over stream sockets: what ``unix``, ``tcp`` and ``tls`` have in common.

Covers: the handshake on a socket, connecting, accepting, the base class of these transports. Does not cover: making
sockets and their options (``unix``, ``tcp``), the handshakes under way at a listener (``listeners``), what they say
(``handshake``, pure), reading and writing frames (``sockets``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

from futures_cluster.wire import audience, handshake
from futures_cluster.wire.transports import addresses, admission, local_sockets, registry
from futures_cluster.wire.transports.listeners import HandshakingListener
from futures_cluster.wire.transports.registry import Listener, OnConnection, Security
from futures_cluster.wire.transports.sockets import SocketConnection

#: Connections that the system keeps until they are accepted.
BACKLOG = 1024
#: When a connection cannot be accepted, because no descriptor is left or for other reasons, the listener tries again
#: after this time.
RETRY_S = 0.2
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def host_identity() -> bytes:
    """Return an id of processes that may open each other's descriptors.

    That takes the same running kernel, the same namespace of pids (and of users), and the same user and group, which
    a program may change.
    """
    try:
        return _host_identity(os.getresuid(), os.getresgid())
    except AttributeError:
        return handshake.NO_HOST


@cache
def _host_identity(users: tuple[int, ...], groups: tuple[int, ...]) -> bytes:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read().strip()
        spaces = [os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "user")]
        text = repr((boot, spaces, users, groups))
    except OSError:
        return handshake.NO_HOST
    return hashlib.sha256(text.encode()).digest()


# ---------------------------------------------------------------- the handshake


def new_connector(security: Security, meant: bytes) -> handshake.Connector:
    """Make the part of the side that connects, and means a listener of this audience."""
    nonce = os.urandom(handshake.NONCE_BYTES)
    return handshake.Connector(security.secret, nonce, host_identity(), meant, security.insecure)


def new_acceptor(security: Security, answers_to: frozenset[bytes]) -> handshake.Acceptor:
    """Make the part of the side that listens, and answers to these audiences."""
    return handshake.Acceptor(security.secret, os.urandom(handshake.NONCE_BYTES), host_identity(), answers_to)


async def shake_hands(
    machine: handshake.Handshake,
    receive: Callable[[], Any],
    send: Callable[[bytes], Any],
    mismatch: str = "",
) -> None:
    """Run a handshake by these ways to receive and to send.

    A peer that hangs up may do so because of a mismatch, which the error names then.

    Raises
    ------
    HandshakeError
        When it fails.
    """
    data = machine.start()
    while True:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # what it said before that may say why
            if data:
                await send(data)
        if machine.error is not None:
            raise machine.error
        if machine.done:
            return
        came = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            came = await receive()
        if not came:
            raise handshake.hung_up("it", mismatch)
        data = machine.receive(came)


# ---------------------------------------------------------------- transports


class StreamTransport:
    """Base class of transports over stream sockets: unix, tcp and tls."""

    scheme = ""
    guard = registry.SECRET
    connection: type[SocketConnection] = SocketConnection
    #: Whether others may get at the bytes on their way, so that each frame has to be authenticated.
    authenticates_frames = False
    #: Why a peer may hang up that understands another transport; for errors.
    mismatch = ""

    # ---- what differs

    async def open_socket(self, rest: str, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Open a socket to a listener.

        Parameters
        ----------
        rest : str
            Address without its scheme.
        loop : asyncio.AbstractEventLoop
            Loop that reads and writes.

        Returns
        -------
        socket.socket
            A connected socket that does not block.
        """
        raise NotImplementedError

    async def bind_socket(
        self, rest: str, loop: asyncio.AbstractEventLoop
    ) -> tuple[socket.socket, str, Callable[[], None]]:
        """Bind a listening socket.

        Parameters
        ----------
        rest : str
            Address without its scheme.
        loop : asyncio.AbstractEventLoop
            Loop that reads and writes.

        Returns
        -------
        tuple
            A listening socket that does not block, its address, and a function to call when it is closed.
        """
        raise NotImplementedError

    def prepare_socket(self, sock: socket.socket) -> None:
        """Set the options of a socket.

        Parameters
        ----------
        sock : socket.socket
            A socket that was connected or accepted.
        """

    async def shake_hands_on(
        self,
        sock: socket.socket,
        machine: handshake.Handshake,
        loop: asyncio.AbstractEventLoop,
        security: Security,
        peer: str,
    ) -> SocketConnection:
        """Run the handshake on a socket, and make a connection of it.

        Parameters
        ----------
        sock : socket.socket
            The socket.
        machine : Handshake
            This side's part of the handshake.
        loop : asyncio.AbstractEventLoop
            Loop that reads and writes.
        security : Security
            Secret and certificates of this side.
        peer : str
            The other side, for logs.

        Returns
        -------
        SocketConnection
            A connection, not started.
        """
        await shake_hands(
            machine,
            lambda: loop.sock_recv(sock, handshake.MAX_BYTES),
            lambda data: loop.sock_sendall(sock, data),
            self.mismatch,
        )
        keys = machine.session_keys() if self.authenticates_frames else None
        left_over, same_host = machine.left_over, machine.same_host
        return self.connection(sock, loop, left_over=left_over, same_host=same_host, peer=peer, keys=keys)

    def audience(self, sock: socket.socket, identity: str) -> bytes:
        """Return the listener that the connector of this socket means.

        Parameters
        ----------
        sock : socket.socket
            The socket.
        identity : str
            The listener's identity; empty if unknown.

        Returns
        -------
        bytes
            The audience; see the module ``audience``.
        """
        return audience.UNBOUND

    def audiences(self, sock: socket.socket, identity: str) -> frozenset[bytes]:
        """Return the audiences to which the listener of an accepted socket answers.

        Parameters
        ----------
        sock : socket.socket
            The socket.
        identity : str
            The listener's identity; empty if unknown.

        Returns
        -------
        frozenset of bytes
            Accepted audiences; empty for any.
        """
        return frozenset()

    def acceptor(self, sock: socket.socket, identity: str, security: Security) -> handshake.Acceptor:
        """Make the listener's part of the handshake on an accepted socket.

        Parameters
        ----------
        sock : socket.socket
            The socket.
        identity : str
            The listener's identity; empty if unknown.
        security : Security
            Secret and certificates of this side.

        Returns
        -------
        Acceptor
            A machine in its first state.
        """
        return new_acceptor(security, self.audiences(sock, identity))

    def split(self, rest: str) -> tuple[str, str]:
        """Split an address into the place and the listener's identity.

        Parameters
        ----------
        rest : str
            Address without its scheme.

        Returns
        -------
        tuple of str
            Where to connect, and the identity or ``""``.
        """
        return rest, ""

    def identity(self, address: str) -> str:
        """Return the identity of a listener.

        Parameters
        ----------
        address : str
            Address at which it listens.

        Returns
        -------
        str
            Its identity; empty if it has none.
        """
        return ""

    def source(self, address: Any) -> str:
        """Return the source that ``admission`` counts an accepted connection to.

        Parameters
        ----------
        address : object
            Address of the other side, as the socket gives it.

        Returns
        -------
        str
            The source; the empty string counts all connections together.
        """
        return ""

    def say_busy(self, sock: socket.socket) -> None:
        """Tell a connector to try again later, if the socket takes it at once.

        Parameters
        ----------
        sock : socket.socket
            An accepted socket.
        """
        with contextlib.suppress(OSError):
            sock.send(handshake.busy())

    # ---- what is the same

    async def connect(self, rest: str, loop: asyncio.AbstractEventLoop, security: Security) -> SocketConnection:
        """See ``registry.Transport``."""
        rest, identity = self.split(rest)
        sock = await self.open_socket(rest, loop)
        try:
            self.prepare_socket(sock)
            machine = new_connector(security, self.audience(sock, identity))
            return await self.shake_hands_on(sock, machine, loop, security, f"{self.scheme}://{rest}")
        except BaseException:
            sock.close()
            raise

    async def listen(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> Listener:
        """See ``registry.Transport``."""
        sock, address, clean_up = await self.bind_socket(rest, loop)
        return StreamListener(self, sock, f"{self.scheme}://{address}", loop, security, on_connection, clean_up)

    def describe_peer(self, address: Any) -> str:
        """Describe the other side of an accepted connection, for logs.

        Parameters
        ----------
        address : object
            Its address, as the socket gives it.

        Returns
        -------
        str
            A text such as ``"tcp://host:port"``.
        """
        return f"{self.scheme}://{address}"


# ---------------------------------------------------------------- accepting


class StreamListener(HandshakingListener):
    """A listening socket, and the handshakes under way on what it has accepted."""

    def __init__(
        self,
        transport: StreamTransport,
        sock: socket.socket,
        address: str,
        loop: asyncio.AbstractEventLoop,
        security: Security,
        on_connection: OnConnection,
        clean_up: Callable[[], None],
    ) -> None:
        super().__init__(address, transport.identity(address), loop, security, on_connection, admission.places())
        self._transport = transport
        self._sock = sock
        self._clean_up = clean_up
        self._timer: asyncio.TimerHandle | None = None  # accepts nothing until then
        loop.add_reader(sock.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, address = local_sockets.accept(self._sock)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            why = addresses.limit_in_words(error)
            self._warnings.warning("accept", "%s cannot accept a connection now: %s", self.address, why)
            self._make_room(is_urgent=error.errno in _NO_ROOM)
            self._pause(RETRY_S)
            return
        sock.setblocking(False)
        source = self._transport.source(address)
        self._begin(self._admit(sock, self._transport.describe_peer(address), source), source, sock)
        self._make_room()

    def _pause(self, delay_s: float) -> None:
        """Accept no connection for this time."""
        if self._timer is None:
            self._loop.remove_reader(self._sock.fileno())
            self._timer = self._loop.call_later(delay_s, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._loop.add_reader(self._sock.fileno(), self._accept)
        self._make_room()

    def _make_room(self, is_urgent: bool = False) -> None:
        if wait_s := self._end_some(is_urgent):
            self._pause(wait_s)

    async def _admit(self, sock: socket.socket, peer: str, source: str) -> None:
        try:
            transport, security = self._transport, self._security
            machine = transport.acceptor(sock, self._identity, security)
            async with asyncio.timeout(registry.TIMEOUT_S):
                transport.prepare_socket(sock)
                connection = await transport.shake_hands_on(sock, machine, self._loop, security, peer)
        except BaseException as error:
            reason: Any = error
            if isinstance(error, asyncio.CancelledError):
                reason = "too many others wait"
                if not self._closed:
                    transport.say_busy(sock)
            elif not isinstance(error, OSError):
                sock.close()
                raise
            self._refused(peer, source, reason)
            sock.close()  # last: a peer that sees the end finds the line in the log
            return
        self._passed(connection)

    def _give_up(self) -> None:
        if self._timer is None:
            self._loop.remove_reader(self._sock.fileno())
        else:
            self._timer.cancel()
        self._sock.close()
        self._clean_up()
