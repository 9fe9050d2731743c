"""Connections over stream sockets: ``unix://PATH`` and ``tcp://HOST:PORT``.

Covers: making sockets and their options, the handshake on them, connecting. Does not cover: accepting (``listeners``),
what the handshake says (``handshake``, pure), reading and writing frames (``sockets``), ``tls`` (which is built on
this).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from futures_cluster.wire import audience, handshake
from futures_cluster.wire.authenticator import Session
from futures_cluster.wire.transports import admission, local_sockets, registry
from futures_cluster.wire.transports.listeners import StreamListener
from futures_cluster.wire.transports.liveness import TcpConnection
from futures_cluster.wire.transports.registry import Listener, OnConnection, Security
from futures_cluster.wire.transports.socket_users import check_user
from futures_cluster.wire.transports.sockets import SocketConnection

#: Connections that the system keeps until they are accepted.
BACKLOG = 1024
#: While nothing is under way, the kernel asks a silent peer whether it is there: after the first time, then at the
#: second one, and the last number of times. For what is under way see ``liveness``.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 30, 10, 6


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


# ---------------------------------------------------------------- the handshake on a socket


async def until(loop: asyncio.AbstractEventLoop, sock: socket.socket, is_writing: bool) -> None:
    """Wait until the socket may be read, or written."""
    waiter: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not waiter.done():
            waiter.set_result(None)

    fd = sock.fileno()
    if is_writing:
        loop.add_writer(fd, ready)
    else:
        loop.add_reader(fd, ready)
    try:
        await waiter
    finally:
        if is_writing:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)


async def receive(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Return what has come on a plain socket; empty at the end."""
    while True:
        try:
            return sock.recv(handshake.MAX_BYTES)
        except (BlockingIOError, InterruptedError):
            await until(loop, sock, is_writing=False)


async def send_all(loop: asyncio.AbstractEventLoop, sock: socket.socket, data: bytes) -> None:
    """Send on a plain socket."""
    while data:
        try:
            data = data[sock.send(data) :]
        except (BlockingIOError, InterruptedError):
            await until(loop, sock, is_writing=True)


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
        return await shake_hands(
            machine,
            lambda: receive(loop, sock),
            lambda data: send_all(loop, sock, data),
            lambda: self.connection(
                sock,
                loop,
                left_over=machine.left_over,
                same_host=machine.same_host,
                peer=peer,
                session=self._session(machine),
            ),
            self.mismatch,
        )

    def _session(self, machine: handshake.Handshake) -> Session | None:
        keys = machine.session_keys() if self.authenticates_frames else None
        return None if keys is None else Session(keys)

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
        answers_to = self.audiences(sock, identity)
        return handshake.Acceptor(security.secret, os.urandom(handshake.NONCE_BYTES), host_identity(), answers_to)

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
            meant = self.audience(sock, identity)
            machine = handshake.Connector(
                security.secret, os.urandom(handshake.NONCE_BYTES), host_identity(), meant, security.insecure
            )
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


async def shake_hands(
    machine: handshake.Handshake,
    receive: Callable[[], Any],
    send: Callable[[bytes], Any],
    make: Callable[[], SocketConnection],
    mismatch: str = "",
) -> SocketConnection:
    """Run a handshake by these ways to receive and to send.

    A peer that hangs up may do so because of a mismatch, which the error names then.

    Raises
    ------
    HandshakeError
        When it fails.
    """
    data = machine.start()
    while True:
        if data:
            try:
                await send(data)
            except (ConnectionResetError, BrokenPipeError):
                pass  # what it said before it hung up may say why
        if machine.error is not None:
            raise machine.error
        if machine.done:
            return make()
        try:
            came = await receive()
        except (ConnectionResetError, BrokenPipeError):
            came = b""
        if not came:
            raise handshake.hung_up("it", mismatch)
        data = machine.receive(came)


# ---------------------------------------------------------------- unix

#: Paths of unix sockets are no longer than this (108 bytes on Linux, 104 on macOS, with a zero at the end).
_MAX_PATH_BYTES = 100


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


# ---------------------------------------------------------------- tcp


def split_host_and_port(rest: str) -> tuple[str, int]:
    """Return the two parts of ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises
    ------
    OSError
        When there is no host or no port.

    Examples
    --------
    >>> split_host_and_port("[::1]:8786")
    ('::1', 8786)
    """
    host, _, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise OSError(f"{rest!r} is not HOST:PORT; write an IPv6 address in brackets: [{rest}]:8786")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > 65535:
        raise OSError(f"{rest!r} is not HOST:PORT; write it like 127.0.0.1:8786, or [::1]:8786")
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
            except OSError as error:
                sock.close()
                failed = error
            except BaseException:
                sock.close()
                raise
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
