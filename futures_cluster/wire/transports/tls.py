"""``tls://HOST:PORT``: tcp, encrypted, with certificates on both sides.

Covers: contexts made of a set of certificates (``certificates`` makes one), the TLS handshake, and a connection whose
reading and writing threads take turns. Does not cover: the secret, which is asked for as well if there is one
(``handshake``, inside of TLS).

An SSL object may be used by one thread at a time, so all uses are under the connection's lock; none blocks. It may hold
bytes that it has decrypted, of which the descriptor knows nothing: ``read`` therefore goes on until it holds none, and
the descriptor can be watched as that of any socket. Only TLS 1.3 is spoken: there a write never waits for a read.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from futures_cluster.errors import AuthenticationError, HandshakeError
from futures_cluster.wire import handshake
from futures_cluster.wire.private_files import check_is_private
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.liveness import TcpConnection
from futures_cluster.wire.transports.registry import Listener, OnConnection, Security, TlsFiles
from futures_cluster.wire.transports.sockets import READ_BYTES, SocketConnection
from futures_cluster.wire.transports.streams import shake_hands
from futures_cluster.wire.transports.tcp import TcpTransport, split_host_and_port

#: Given to SSL at a time: what it could not send has to be given again, as it was.
_CHUNK_BYTES = 256 * 1024


def _context(security: Security, is_listener: bool) -> ssl.SSLContext:
    files = security.tls
    if files is None:
        raise AuthenticationError(
            "tls:// needs certificates on both sides: make a set by `futures-cluster certificates`, and name its folder"
        )
    try:
        times = []
        for path in (files.authority, files.certificate, files.key):
            status = os.stat(path)
            check_is_private(path, status, "Make a new set of certificates", 0o077 if path == files.key else 0o022)
            times.append(status.st_mtime_ns)
        return _make_context(files, is_listener, tuple(times))
    except PermissionError as error:
        raise AuthenticationError(str(error)) from None
    except ssl.SSLError as error:
        raise AuthenticationError(f"cannot use the certificates {files}: {error}") from None


@lru_cache(maxsize=8)
def _make_context(files: TlsFiles, is_listener: bool, times: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_listener else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(files.authority)
    context.load_cert_chain(files.certificate, files.key)
    context.verify_mode = ssl.CERT_REQUIRED
    if is_listener:
        context.num_tickets = 0  # sessions are not resumed
    return context


async def _until(
    sock: socket.socket, watch: Callable[[int, Callable[[], None]], None], forget: Callable[[int], object]
) -> None:
    """Wait until the socket may be read, or written, by these methods of the loop."""
    ready, fd = asyncio.Event(), sock.fileno()
    watch(fd, ready.set)
    try:
        await ready.wait()
    finally:
        forget(fd)


def _hung_up(other: str) -> HandshakeError:
    return handshake.hung_up(other, "it does not speak TLS; then write tcp://")


def _describe(error: ssl.SSLError, other: str) -> HandshakeError:
    """Return what a failure of TLS with the other side means, and what to do."""
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthenticationError(
            f"the certificate of the other side was not accepted: {error.verify_message}; both sides need certificates "
            "of one authority, made for the names by which they connect (`futures-cluster certificates`)"
        )
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return AuthenticationError(
            f"{other} did not accept our certificate, or has none itself ({reason}); both sides need certificates of "
            "one authority"
        )
    if reason == "UNEXPECTED_EOF_WHILE_READING":
        return _hung_up(other)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return HandshakeError(f"{other} does not speak TLS; write tcp:// if both sides are not to use it ({reason})")
    return HandshakeError(f"TLS failed: {error}")


class TlsConnection(TcpConnection):
    """See ``SocketConnection``."""

    _sock: ssl.SSLSocket
    _waits = (*TcpConnection._waits, ssl.SSLWantReadError, ssl.SSLWantWriteError)

    def _receive(self) -> bytes:
        with self._lock:
            self._check_open()
            return self._sock.recv(READ_BYTES)

    def _receive_into(self, space: memoryview) -> int:
        with self._lock:
            self._check_open()
            return self._sock.recv_into(space[:_CHUNK_BYTES])

    def _check_open(self) -> None:
        if self.closed:
            raise ConnectionAbortedError("closed by another thread")

    def _send_first(self, data: bytes) -> int:
        return self._sock.send(memoryview(data)[:_CHUNK_BYTES])

    def _send_some(self) -> int:
        return self._sock.send(self._outbox[0][:_CHUNK_BYTES])

    def _read(self) -> bool:
        while super()._read():
            with self._lock:
                if self.closed:
                    return False
                if not self._sock.pending():  # what SSL holds would not wake the loop
                    return True
        return False


class TlsTransport(TcpTransport):
    """``tls://HOST:PORT``; ``Security.tls`` names the certificates."""

    scheme = "tls"
    guard = registry.CERTIFICATES
    authenticates_frames = False  # TLS does

    def say_busy(self, sock: socket.socket) -> None:
        """Do nothing: it could not be said before the handshake of TLS."""

    async def listen(
        self, rest: str, loop: asyncio.AbstractEventLoop, security: Security, on_connection: OnConnection
    ) -> Listener:
        """See ``registry.Transport``."""
        _context(security, is_listener=True)  # raises now what is wrong with it, instead of at each connection
        return await super().listen(rest, loop, security, on_connection)

    async def connect(self, rest: str, loop: asyncio.AbstractEventLoop, security: Security) -> SocketConnection:
        """See ``registry.Transport``."""
        _context(security, is_listener=False)
        return await super().connect(rest, loop, security)

    async def shake_hands_on(
        self,
        sock: socket.socket,
        machine: handshake.Handshake,
        loop: asyncio.AbstractEventLoop,
        security: Security,
        peer: str,
    ) -> SocketConnection:
        is_listener = isinstance(machine, handshake.Acceptor)
        other = "it" if is_listener else "the listener"
        host = None if is_listener else split_host_and_port(peer.partition("://")[2])[0]
        tls = _context(security, is_listener).wrap_socket(
            sock, server_side=is_listener, do_handshake_on_connect=False, server_hostname=host
        )  # which owns the socket from now on
        try:

            async def call(function: Callable[..., Any], *args: Any) -> Any:
                while True:
                    try:
                        return function(*args)
                    except ssl.SSLWantReadError:
                        await _until(tls, loop.add_reader, loop.remove_reader)
                    except ssl.SSLWantWriteError:
                        await _until(tls, loop.add_writer, loop.remove_writer)

            try:
                await call(tls.do_handshake)
            except (ConnectionResetError, BrokenPipeError):  # the system says so when the peer leaves bytes unread
                raise _hung_up(other) from None
            await shake_hands(machine, lambda: call(tls.recv, handshake.MAX_BYTES), lambda data: call(tls.send, data))
            return TlsConnection(tls, loop, left_over=machine.left_over, same_host=machine.same_host, peer=peer)
        except BaseException as error:
            tls.close()
            if isinstance(error, ssl.SSLError):
                raise _describe(error, other) from None
            raise
