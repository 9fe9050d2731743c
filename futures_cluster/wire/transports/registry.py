"""Connections by address: the interface of transports, and the list of them.

Covers: what a connection and a listener offer whatever carries them, what both sides must know of each other
(``Security``), and finding the transport of an address. Does not cover: any transport (``unix``, ``tcp``, ``tls``,
``inproc``, ``zeromq``), and what messages mean.

An address is ``scheme://rest``; what the rest means is the transport's affair. A transport is one class with the
methods of ``Transport`` and one line, ``register(TheClass)``. Those that come with the package are imported when an
address first asks for them, so that no process pays for what it does not use.
"""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from futures_cluster.errors import AuthenticationError, HandshakeError
from futures_cluster.messages import Message
from futures_cluster.messages.basics import Record
from futures_cluster.wire.handshake import ListenerBusy
from futures_cluster.wire.transports.addresses import MalformedAddress, in_words

#: A listener that has too many handshakes under way is asked again after about this time.
_TRY_AGAIN_S = 0.2
#: A connection must be made, with its handshake, within this time.
TIMEOUT_S = 10.0

#: What keeps others out of a transport's connections: the host (folder modes and user ids, or memory of one process),
#: certificates on both sides, or nothing but the secret.
HOST, CERTIFICATES, SECRET = "host", "certificates", "secret"


class TlsFiles(NamedTuple):
    """Paths of the files that one side of ``tls://`` needs.

    Attributes
    ----------
    authority : str
        Certificate of the authority that has signed the other side's certificate.
    certificate, key : str
        This side's own.
    """

    authority: str
    certificate: str
    key: str


class Security(Record):
    """What both sides of a connection must have.

    Attributes
    ----------
    secret : bytes or None
        Proved by both sides before anything else is decoded; see ``handshake``.
    tls : TlsFiles or None
        For ``tls://`` only.
    insecure : bool
        Whether a network address may be used without a secret, which lets in any process that can reach it.
    """

    __slots__ = ("secret", "tls", "insecure")

    def __init__(self, secret: bytes | None = None, tls: TlsFiles | None = None, insecure: bool = False) -> None:
        self.secret: bytes | None = secret
        self.tls: TlsFiles | None = tls
        self.insecure: bool = insecure

    def __repr__(self) -> str:
        return f"Security(tls={self.tls!r}, insecure={self.insecure})"  # no secret must get into any log


NO_SECURITY = Security()


class Connection(Protocol):
    """One connection between two peers, which have passed the handshake.

    Set ``on_messages`` and ``on_close``, then call ``start`` on the loop's thread. ``on_messages`` gets the list of
    messages of each frame; ``on_close`` is called once, with the error that ended the connection or None when the
    peer has closed it. Neither is called after ``close``.

    Attributes
    ----------
    closed : bool
        Whether the connection has ended, and drops messages.
    same_host : bool
        Whether both processes may open each other's descriptors, and so share memory.
    peer : str
        The other side, for logs.
    """

    on_messages: Callable[[list[Message]], None]
    on_close: Callable[[BaseException | None], None]
    closed: bool
    same_host: bool
    peer: str

    def start(self) -> None:
        """Start to read; call it on the loop's thread."""

    def send(self, messages: Iterable[Message]) -> None:
        """Send messages in one frame, from any thread, without blocking.

        Parameters
        ----------
        messages : iterable of Message
            Messages of the frame; a closed connection drops them.
        """

    def close(self) -> None:
        """Close without ``on_close``, and drop unsent messages; on the loop's thread."""

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not sent yet; a sender may wait until there are fewer."""

    @property
    def received_bytes(self) -> int:
        """Bytes that have come, also of a frame that is not complete."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable when there is something to read.

        Returns
        -------
        int or None
            The descriptor; None for a connection without one.
        """


class Listener(Protocol):
    """Takes connections until it is closed.

    Attributes
    ----------
    address : str
        Where it really listens: with the port, if it was asked for port 0.
    exact_address : str
        The same with the listener's identity, if it has one (see ``audience``): for peers that other peers name.
    """

    address: str
    exact_address: str

    def close(self) -> None:
        """Accept no more connections, and keep those there are; on the loop's thread."""


OnConnection = Callable[[Connection], None]


class Transport(Protocol):
    """How connections of one scheme are made; ``rest`` is the address without the scheme.

    Both methods run on the loop, and raise ``OSError`` when it cannot be done. The connections have passed the
    handshake, and are not started.

    Attributes
    ----------
    guard : str
        ``HOST``, ``CERTIFICATES`` or ``SECRET``; ``SECRET`` for a transport without this attribute.
    """

    scheme: str
    guard: str

    async def connect(self, rest: str, loop: asyncio.AbstractEventLoop, security: Security) -> Connection:
        """Connect to a listener.

        Parameters
        ----------
        rest : str
            Address without its scheme.
        loop : asyncio.AbstractEventLoop
            Loop that reads and writes.
        security : Security
            Secret and certificates of this side.

        Returns
        -------
        Connection
            A connection that has passed the handshake, not started.
        """

    async def listen(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> Listener:
        """Listen for connections.

        Parameters
        ----------
        rest : str
            Address without its scheme.
        loop : asyncio.AbstractEventLoop
            Loop that reads and writes.
        security : Security
            Secret and certificates of this side.
        on_connection : callable
            Called on the loop with each connection that has passed the handshake.

        Returns
        -------
        Listener
            What closes it.
        """


_HERE = __name__.rpartition(".")[0]
#: The module and the class of those that come with the package.
_OURS = {
    "unix": "unix:UnixTransport",
    "tcp": "tcp:TcpTransport",
    "tls": "tls:TlsTransport",
    "inproc": "inproc:DirectTransport",
    "zmq": "zeromq:ZmqTransport",  # by an optional package
}
_transports: dict[str, Transport] = {}


def register(transport: type[Transport]) -> None:
    """Register a transport under its scheme, in the place of an earlier one.

    Parameters
    ----------
    transport : type
        Class of the transport; it is made without arguments.
    """
    _transports[transport.scheme] = transport()


def schemes() -> list[str]:
    """Return the schemes that have a transport.

    Returns
    -------
    list of str
        Schemes of the package, then registered ones.
    """
    return list(dict.fromkeys([*_OURS, *_transports]))


def _find(address: str) -> tuple[Transport, str]:
    scheme, separator, rest = address.partition("://")
    if not separator or (scheme not in _transports and scheme not in _OURS):
        raise MalformedAddress(f"{address!r} is not an address; write SCHEME://..., where SCHEME is one of {schemes()}")
    if scheme not in _transports:
        module, _, name = _OURS[scheme].partition(":")
        try:
            register(getattr(importlib.import_module(f"{_HERE}.{module}"), name))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == _HERE.partition(".")[0]:
                raise OSError(
                    f"{scheme}:// needs {error.name}, which this process cannot read: has it changed its user or its "
                    "root folder? Connect before it does, or install futures_cluster where it may read it"
                ) from None
            raise OSError(f"{scheme}:// needs {error.name}: pip install 'futures-cluster[{scheme}]'") from None
    return _transports[scheme], rest


def guard(address: str) -> str:
    """Return the guard of an address: ``HOST``, ``CERTIFICATES`` or ``SECRET``.

    Raises
    ------
    OSError
        If no transport is known for it.
    """
    return _guard(_find(address)[0])


def _guard(transport: Transport) -> str:
    return getattr(transport, "guard", SECRET)


def _check(address: str, transport: Transport, security: Security) -> None:
    """Refuse an address that is open to any process, unless that is wanted."""
    if _guard(transport) == SECRET and security.secret is None and not security.insecure:
        raise AuthenticationError(
            f"{address} is a network address, which needs a secret on both sides; set FUTURES_CLUSTER_SECRET, or say "
            "that it may be insecure"
        )


async def connect(
    address: str,
    loop: asyncio.AbstractEventLoop,
    security: Security = NO_SECURITY,
    timeout_s: float = TIMEOUT_S,
) -> Connection:
    """Connect to a listener.

    Parameters
    ----------
    address : str
        Address with its scheme, such as ``"tcp://host:8786"``.
    loop : asyncio.AbstractEventLoop
        Loop that reads and writes.
    security : Security
        Secret and certificates of this side.
    timeout_s : float
        Maximum time until the handshake is done, in seconds.

    Returns
    -------
    Connection
        A connection that has passed the handshake; set its callbacks, and start it.

    Raises
    ------
    HandshakeError
        When the two sides do not agree; it says what to do.
    AuthenticationError
        When a network address is to be used without a secret.
    OSError
        If nothing listens there, or the host cannot be reached; in a sentence.
    """
    transport, rest = _find(address)
    _check(address, transport, security)
    busy: Exception | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await transport.connect(rest, loop, security)
                except ListenerBusy as error:
                    busy = error
                    await asyncio.sleep(random.uniform(0.5, 1) * _TRY_AGAIN_S)
    except TimeoutError:
        if busy is not None:
            raise HandshakeError(f"cannot connect to {address} within {timeout_s:g} s: {busy}") from None
        raise HandshakeError(
            f"{address} did not answer in {timeout_s:g} s; "
            "is it the address of a scheduler or a worker, and is that busy?"
        ) from None
    except HandshakeError as error:
        raise type(error)(f"cannot connect to {address}: {error}") from None
    except OSError as error:
        raise in_words(error, address) from None


async def listen(
    address: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
) -> Listener:
    """Listen at an address.

    Parameters
    ----------
    address : str
        Address with its scheme; port 0 stands for any free port.
    loop : asyncio.AbstractEventLoop
        Loop that reads and writes.
    security : Security
        Secret and certificates of this side.
    on_connection : callable
        Called on the loop with each connection that has passed the handshake.

    Returns
    -------
    Listener
        What closes it, and has the address with the port.

    Raises
    ------
    OSError
        If that is not possible, in a sentence; ``PermissionError`` or ``AuthenticationError`` if it would not be safe.
    """
    transport, rest = _find(address)
    _check(address, transport, security)
    try:
        return await transport.listen(rest, loop, security, on_connection)
    except OSError as error:
        raise in_words(error, address, listens=True) from None
