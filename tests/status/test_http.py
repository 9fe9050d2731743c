"""The small HTTP server: what it understands, whom it lets in, and that it leaves nothing open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.status import http
from futures_cluster.status.http import AccessPolicy, BadRequest, HttpRequest, HttpServer, Response, parse


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_refused(head: bytes) -> None:
    try:
        request = parse(head)
    except BadRequest as error:
        assert error.status in (400, 405)
    else:
        assert request.method in ("GET", "HEAD")


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=30),
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=5),
)
def test_names_survive_the_way_through_an_address(name: str, query: dict[str, str]) -> None:
    from urllib.parse import quote, urlencode

    try:
        target = f"/{quote(name)}?{urlencode(query)}"
        request = parse(f"GET {target} HTTP/1.1\r\nHost: x\r\n".encode())
    except (BadRequest, UnicodeEncodeError):
        assert name.startswith("/") or any("\ud800" <= c <= "\udfff" for c in "".join([*query, *query.values()]))
        return
    if not name.startswith("/"):
        assert (request.path, request.query) == ("/" + name, query)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1", 405),
        (b"PUT / HTTP/1.1", 405),
        (b"GET / HTTP/2", 400),
        (b"GET http://elsewhere/ HTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET / HTTP/1.1\r\nno header", 400),
        (b"GET / HTTP/1.1\r\n folded: x", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400),
        (b"GET /%ff HTTP/1.1", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_what_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(head)
    assert refused.value.status == status


@pytest.mark.parametrize("host", ["127.0.0.1:8787", "localhost:1", "localhost", "[::1]:8787", "[::1]", "LOCALHOST:5"])
def test_loopback_names_are_let_in(host: str) -> None:
    assert AccessPolicy().rejection_reason(HttpRequest("GET", "/", {}, {"host": host})) == ""


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8787", "127.0.0.1.evil.example:80", "", "10.0.0.1:8787"]
)
def test_others_are_not(host: str) -> None:
    """A page of another site, whose name its owner lets point to this machine, reads nothing."""
    assert "not allowed" in AccessPolicy().rejection_reason(HttpRequest("GET", "/", {}, {"host": host}))


@pytest.mark.parametrize(
    ("given_token", "is_in"), [("secret", True), ("Secret", False), ("", False), ("sécret", False)]
)
def test_elsewhere_the_address_has_a_token(given_token: str, is_in: bool) -> None:
    gate = AccessPolicy("secret", (), frozenset({"/page.css"}))
    assert (gate.rejection_reason(HttpRequest("GET", "/api", {"token": given_token}, {"host": "any"})) == "") is is_in
    assert gate.rejection_reason(HttpRequest("GET", "/page.css", {}, {"host": "any"})) == ""
    assert "token" in gate.rejection_reason(HttpRequest("GET", "/", {}, {"host": "any"}))


# ---------------------------------------------------------------- with sockets


async def plain(request: HttpRequest) -> Response:
    if request.path == "/fails":
        raise RuntimeError("no answer")
    return Response(f"{request.path} {sorted(request.query.items())}".encode())


async def talk(port: int, text: bytes) -> bytes:
    """Send bytes, read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def serve(
    test: Callable[[HttpServer, int], Awaitable[None]],
    answer: Callable[[HttpRequest], Awaitable[Response]] = plain,
    gate: AccessPolicy | None = None,
) -> None:
    async def run() -> None:
        server = HttpServer(answer, gate or AccessPolicy())
        port = await server.listen("127.0.0.1", 0)
        try:
            await test(server, port)
        finally:
            await server.close()

    asyncio.run(run())


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def test_an_answer_and_its_headers() -> None:
    async def test(server: HttpServer, port: int) -> None:
        head, _, body = (await talk(port, get("/a%20b?c=%3Cd"))).partition(b"\r\n\r\n")
        assert body == b"/a b [('c', '<d')]"
        lines = head.decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 200 OK"
        headers = dict(line.split(": ", 1) for line in lines[1:])
        assert headers["Content-Length"] == str(len(body))
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"

    serve(test)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", b"405"),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
    ],
)
def test_refusals_are_answers(request_bytes: bytes, status: bytes) -> None:
    async def test(server: HttpServer, port: int) -> None:
        answer = await talk(port, request_bytes)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"nosniff" in answer

    serve(test)


def test_head_has_no_body() -> None:
    async def test(server: HttpServer, port: int) -> None:
        answer = await talk(port, b"HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\n")

    serve(test)


def test_a_failure_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def test(server: HttpServer, port: int) -> None:
        answer = await talk(port, get("/fails"))
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"RuntimeError" not in answer

    serve(test)
    assert "could not answer /fails" in caplog.text


def test_events_end_when_the_reader_leaves() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
            begun.set()
            await asyncio.Event().wait()
            yield b"never"
        finally:
            ended.set()

    async def answer(request: HttpRequest) -> Response:
        return Response(kind="text/event-stream", events=events())

    async def test(server: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/events"))
        assert b"data: 1\n\n" in await reader.readuntil(b"data: 1\n\n")
        await asyncio.wait_for(begun.wait(), 20)
        writer.close()
        await asyncio.wait_for(ended.wait(), 20)

    serve(test, answer)


def test_closing_sends_readers_away() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    async def answer(request: HttpRequest) -> Response:
        return Response(kind="text/event-stream", events=events())

    async def test(server: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/events"))
        await reader.readuntil(b"data: 1\n\n")
        await server.close()
        with contextlib.suppress(OSError):
            assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)

    serve(test, answer)


def test_too_many_connections_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them gets events, so none is idle."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)

    async def events() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    async def answer(request: HttpRequest) -> Response:
        return Response(kind="text/event-stream", events=events())

    async def test(server: HttpServer, port: int) -> None:
        viewers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in viewers:
            writer.write(get("/events"))
            await reader.readuntil(b"data: 1\n\n")
        assert (await talk(port, get("/"))).startswith(b"HTTP/1.1 503")
        for _, writer in viewers:
            writer.close()

    serve(test, answer)


def test_idle_connections_make_room_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that asks nothing takes no more than its number of descriptors, and keeps no browser out."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 4)

    async def test(server: HttpServer, port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        for _ in range(10):
            assert (await talk(port, get("/a"))).startswith(b"HTTP/1.1 200")
        assert len(server._connections) <= 4
        ended = await asyncio.wait_for(asyncio.gather(*[reader.read() for reader, _ in idle[:46]]), 20)
        assert ended == [b""] * 46  # the oldest were closed at once, and not after their patience
        for _, writer in idle:
            writer.close()

    serve(test)


def test_connections_are_limited_by_the_descriptors_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_most_descriptors", lambda: 64)

    async def test(server: HttpServer, port: int) -> None:
        assert server._most == 64 // http.DESCRIPTORS_EACH

    serve(test)


def test_a_refusal_of_the_answering_side_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(request: HttpRequest) -> Response:
        raise BadRequest(400, "since must be a whole number")

    async def test(server: HttpServer, port: int) -> None:
        answer = await talk(port, get("/"))
        assert answer.startswith(b"HTTP/1.1 400") and answer.endswith(b"since must be a whole number\n")

    serve(test, refuse)
    assert caplog.text == ""


def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_TIMEOUT_S", 0.05)

    async def test(server: HttpServer, port: int) -> None:
        assert await talk(port, b"GET / HT") == b""

    serve(test)


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        async def run() -> None:
            await HttpServer(plain, AccessPolicy()).listen("127.0.0.1", other.getsockname()[1])

        with pytest.raises(OSError):
            asyncio.run(run())
