"""A small HTTP server that only answers GET.

Covers: reading requests, refusing what is no business of ours, headers, streams of server-sent events. Does not cover:
what is answered (``api``), in which thread this runs (``services.observe.page_thread``).

Only what a browser, curl and Prometheus send is understood: a request line and headers up to 16 kB, no body. Each
connection has one answer. Access: on loopback the server lets in requests that address this machine by a loopback name
(those of another site's page whose name resolves to 127.0.0.1 do not); elsewhere, requests with the token of the
address.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

log = logging.getLogger("futures_cluster.status")

MAX_HEADER_BYTES = 16 * 1024
#: A request must be complete within this time, and a reader must take an answer within it.
REQUEST_TIMEOUT_S = 10.0
#: Connections at a time, and how many descriptors the process may have for each of them: others need theirs.
MAX_CONNECTIONS = 100
DESCRIPTORS_EACH = 8
#: A request that finds as many under way must be complete within this time to hear so.
BRIEF_S = 1.0
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

#: The browser loads nothing from elsewhere, runs nothing inline, shows the page in no frame, and stores nothing.
SECURITY_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cache-Control", "no-store"),
)


@dataclass(frozen=True)
class HttpRequest:
    """A request that was understood."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Response:
    """An answer; with ``events`` it is a stream of server-sent events that goes on until the reader leaves."""

    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    events: AsyncGenerator[bytes, None] | None = None


@dataclass
class AccessPolicy:
    """The rules by which a server answers or rejects requests.

    Attributes
    ----------
    token : str
        What an address must have as ``?token=``; "" admits every client that reaches the port.
    names : tuple of str
        Names by which the server may be addressed; empty for any. Against pages of other sites.
    """

    token: str = ""
    names: tuple[str, ...] = LOOPBACK_NAMES
    public: frozenset[str] = field(default_factory=frozenset)  # paths without secrets

    def rejection_reason(self, request: HttpRequest) -> str:
        """Return why a request is refused; "" if it is not.

        Examples
        --------
        >>> gate = AccessPolicy()
        >>> gate.rejection_reason(HttpRequest("GET", "/", {}, {"host": "127.0.0.1:8787"}))
        ''
        >>> gate.rejection_reason(HttpRequest("GET", "/", {}, {"host": "evil.example"}))
        'host evil.example is not allowed'
        """
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.names and name.lower() not in self.names:
            return f"host {name[:100]} is not allowed"
        if self.token and request.path not in self.public:
            given = request.query.get("token", "")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return "the token of the address is missing or wrong; use the address that the scheduler printed"
        return ""


def _most_descriptors() -> int:
    """Return descriptors that this process may have open."""
    if os.name != "posix":
        return 1024
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**20 if soft == resource.RLIM_INFINITY else soft


class BadRequest(Exception):
    """What came is no request that this server understands."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def parse(head: bytes) -> HttpRequest:
    """Return a request of the bytes before its empty line.

    Raises
    ------
    BadRequest
        For anything else.

    Examples
    --------
    >>> parse(b"GET /a?b=c HTTP/1.1\\r\\nHost: x\\r\\n")
    HttpRequest(method='GET', path='/a', query={'b': 'c'}, headers={'host': 'x'})
    """
    try:
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        if not version.startswith("HTTP/1.") or not target.startswith("/"):
            raise ValueError
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, max_num_fields=20))
        path = unquote(parts.path, errors="strict")
    except (ValueError, IndexError):
        raise BadRequest(400, "malformed HTTP request") from None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if line and (not colon or name != name.strip()):
            raise BadRequest(400, "this is no header")
        if line:
            if name.lower() in headers and name.lower() == "host":
                raise BadRequest(400, "two hosts")
            headers[name.lower()] = value.strip()
    if method not in ("GET", "HEAD"):
        raise BadRequest(405, "only GET is answered: this page reads and changes nothing")
    return HttpRequest(method, path, query, headers)


def head_of(response: Response, length: int | None) -> bytes:
    """Return the first lines of an answer."""
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines.append(f"Content-Type: {response.kind}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name}: {value}" for name, value in (*SECURITY_HEADERS, *response.headers)]
    lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class HttpServer:
    """Answers requests on one port; used on its loop only.

    Parameters
    ----------
    answer : callable
        ``await answer(request)``: the response.
    """

    def __init__(self, answer: Callable[[HttpRequest], Awaitable[Response]], gate: AccessPolicy) -> None:
        self._answer = answer
        self._gate = gate
        self._server: asyncio.Server | None = None
        self._most = 0
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self._waiting: dict[asyncio.StreamWriter, None] = {}  # for a request that is not complete; oldest first

    async def listen(self, host: str, port: int) -> int:
        """Begin; returns the port.

        Raises
        ------
        OSError
            When the port is taken, or not ours to take.
        """
        descriptors = _most_descriptors()
        self._most = max(1, min(MAX_CONNECTIONS, descriptors // DESCRIPTORS_EACH))
        # The system accepts this many connections before the server looks at the first of them.
        backlog = max(1, min(MAX_CONNECTIONS, descriptors // 4))
        self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_HEADER_BYTES, backlog=backlog)
        return int(self._server.sockets[0].getsockname()[1])

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        try:
            if len(self._connections) > self._most and not self._send_away_oldest():
                # Read the request first: closing a socket with unread bytes takes the answer back.
                with contextlib.suppress(asyncio.LimitOverrunError):
                    await self._read_head(reader, writer, BRIEF_S)
                await self._send(writer, "GET", Response(b"too many connections\n", status=503))
            else:
                await self._serve(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # it left, or we do
        except Exception:
            log.exception("a request to the status page failed")
        finally:
            self._connections.pop(writer, None)
            writer.transport.abort() if writer.is_closing() else writer.close()

    def _send_away_oldest(self) -> bool:
        """Close the connection that has waited longest for a request; False if none does.

        A crowd of connections that ask nothing can thus neither keep a browser out nor take all descriptors.
        """
        for writer in self._waiting:
            task = self._connections.get(writer)
            writer.transport.abort()
            if task is not None:
                task.cancel()
            del self._waiting[writer]
            return True
        return False

    async def _read_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float) -> bytes:
        self._waiting[writer] = None
        try:
            async with asyncio.timeout(patience_s):
                return await reader.readuntil(b"\r\n\r\n")
        finally:
            self._waiting.pop(writer, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = "GET"
        try:
            try:
                head = await self._read_head(reader, writer, REQUEST_TIMEOUT_S)
            except asyncio.LimitOverrunError:
                raise BadRequest(431, "the header is too large") from None
            request = parse(head[:-4])
            method = request.method
            reason = self._gate.rejection_reason(request)
            if reason:
                raise BadRequest(403, reason)
            try:
                response = await self._answer(request)
            except BadRequest:
                raise
            except Exception:
                log.exception("the status page could not answer %s", request.path)
                raise BadRequest(500, "this could not be answered; the log says why") from None
        except BadRequest as error:
            extra = (("Allow", "GET, HEAD"),) if error.status == 405 else ()
            response = Response(f"{error}\n".encode(), status=error.status, headers=extra)
        await self._send(writer, method, response)
        if response.events is not None and method == "GET":
            gone = asyncio.ensure_future(reader.read(1))  # a reader that leaves is noticed at once
            sent = asyncio.ensure_future(self._stream(writer, response.events))
            try:
                await asyncio.wait((gone, sent), return_when=asyncio.FIRST_COMPLETED)
                if sent.done():
                    await sent
            finally:
                gone.cancel()
                sent.cancel()
                await asyncio.gather(gone, sent, return_exceptions=True)

    async def _send(self, writer: asyncio.StreamWriter, method: str, response: Response) -> None:
        length = len(response.body) if response.events is None else None
        writer.write(head_of(response, length))
        if method != "HEAD":
            writer.write(response.body)
        # Not wait_for: before Python 3.12 it may swallow that this task is cancelled.
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, events: AsyncGenerator[bytes, None]) -> None:
        async with contextlib.aclosing(events):
            async for event in events:
                writer.write(event)
                # A reader that does not keep up gets the next event when it has taken this one.
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    await writer.drain()

    async def close(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
        tasks = [task for task in self._connections.values() if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=REQUEST_TIMEOUT_S)
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.sleep(0)  # aborted transports close their sockets in the next round
        if self._server is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 1.0)
