"""Sockets and their listeners: where they open, whom they refuse and what they say then, and crowds."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster.errors import AuthenticationError, HandshakeError, VersionMismatch
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire import audience, handshake
from futures_cluster.wire.transports import admission, registry, streams
from futures_cluster.wire.transports.addresses import MalformedAddress
from futures_cluster.wire.transports.registry import NO_SECURITY, Connection, Listener, Security
from futures_cluster.wire.transports.tcp import join_host_and_port, split_host_and_port

SECRET = Security(b"a secret")
INSECURE = Security(insecure=True)


class Runner:
    """A loop in a thread, and what was opened on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.opened: list[Any] = []
        self.arrived = threading.Semaphore(0)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        async def call() -> Any:
            return function(*args)

        return self.run(call())

    def _take(self, connection: Connection) -> None:
        self.opened.append(connection)
        self.arrived.release()

    def listen(self, address: str, security: Security = INSECURE) -> Listener:
        listener: Listener = self.run(registry.listen(address, self.loop, security, self._take))
        self.opened.append(listener)
        return listener

    def connect(self, address: str, security: Security = INSECURE, timeout_s: float = 10.0) -> Connection:
        connection: Connection = self.run(registry.connect(address, self.loop, security, timeout_s))
        self.opened.append(connection)
        return connection


@pytest.fixture
def runner() -> Iterator[Runner]:
    thread = LoopThread("test-loop")
    thread.start()
    runner = Runner(thread.loop)
    yield runner
    for one in runner.opened:
        runner.call(one.close)
    thread.stop()
    thread.thread.join()


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="futures_cluster.wire")
    return caplog


def stranger(address: str) -> socket.socket:
    """A plain socket that is connected to a tcp listener."""
    sock = socket.create_connection(split_host_and_port(address.partition("://")[2]))
    sock.settimeout(30)
    return sock


def read_to_the_end(sock: socket.socket) -> bytes:
    parts = []
    try:
        while part := sock.recv(4096):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


# ---------------------------------------------------------------- unix


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_folders_that_others_can_enter_are_refused(mode: int, tmp_path: Path, runner: Runner) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match=f"has mode {mode:o}"):
        runner.listen(f"unix://{folder / 's.sock'}")
    assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["s.sock", "x" * 60 + ".sock"])
@pytest.mark.parametrize("depth", [0, 5])
def test_long_paths(name: str, depth: int, tmp_path: Path, runner: Runner) -> None:
    """Also where the path is longer than the system takes."""
    folder = tmp_path.joinpath(*["a long name of a folder"] * depth, "private")
    folder.mkdir(mode=0o700, parents=True)
    path = str(folder / name)
    listener = runner.listen(f"unix://{path}")
    assert listener.address == f"unix://{path}"
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    runner.connect(f"unix://{path}")
    with pytest.raises(OSError):
        runner.listen(f"unix://{path}")
    runner.call(listener.close)
    assert os.listdir(folder) == []


def test_nobody_listens(tmp_path: Path, runner: Runner) -> None:
    with pytest.raises(OSError):
        runner.connect(f"unix://{tmp_path / 'nowhere' / 's'}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OSError):
        runner.connect(f"tcp://127.0.0.1:{port}")


# ---------------------------------------------------------------- without a secret


def test_a_network_address_without_a_secret_is_refused_on_both_sides(runner: Runner) -> None:
    for refused in (runner.listen, runner.connect):
        with pytest.raises(AuthenticationError, match="is a network address, which needs a secret on both sides"):
            refused("tcp://127.0.0.1:0", NO_SECURITY)


def test_a_connector_with_a_secret_does_not_join_a_listener_without(runner: Runner) -> None:
    listener = runner.listen("tcp://127.0.0.1:0", INSECURE)
    runner.connect(listener.address, INSECURE)
    with pytest.raises(AuthenticationError, match="the listener has no secret"):
        runner.connect(listener.address, SECRET)


def test_a_unix_listener_that_is_slow_to_accept(tmp_path: Path, runner: Runner) -> None:
    """More peers than its queue has room for: they wait, and none believes that it is connected."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen(1)
        connecting = [
            asyncio.run_coroutine_threadsafe(registry.connect(f"unix://{folder / 's'}", runner.loop), runner.loop)
            for _ in range(10)
        ]
        runner.call(lambda: None)
        for _ in connecting:
            listener.accept()[0].close()
        for one in connecting:
            with pytest.raises(HandshakeError):
                one.result(30)


# ---------------------------------------------------------------- tcp


@pytest.mark.parametrize(
    ("rest", "parts"), [("a.b:1", ("a.b", 1)), ("[::1]:0", ("::1", 0)), ("127.0.0.1:65535", ("127.0.0.1", 65535))]
)
def test_hosts_and_ports(rest: str, parts: tuple[str, int]) -> None:
    assert split_host_and_port(rest) == parts
    assert join_host_and_port(parts) == rest


@pytest.mark.parametrize("rest", ["", "host", ":80", "host:", "host:-1", "host:65536", "::1:80", "host:٣", "host:1x"])
def test_what_is_no_host_and_port(rest: str) -> None:
    with pytest.raises(MalformedAddress, match="is not HOST:PORT"):
        split_host_and_port(rest)


def test_options_of_tcp_sockets(runner: Runner) -> None:
    listener = runner.listen("tcp://127.0.0.1:0")
    one = runner.connect(listener.address)
    assert runner.arrived.acquire(timeout=30)
    two = runner.opened[-1] if runner.opened[-1] is not one else runner.opened[-2]
    for connection in (one, two):
        sock = connection._sock  # type: ignore[attr-defined]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.get_inheritable()


def test_names_are_resolved(runner: Runner) -> None:
    listener = runner.listen("tcp://127.0.0.1:0")
    port = split_host_and_port(listener.address.partition("://")[2])[1]
    runner.connect(f"tcp://localhost:{port}")  # perhaps after ::1, where nobody listens


# ---------------------------------------------------------------- who is refused


@pytest.mark.parametrize(
    ("ours", "theirs", "error", "said", "logged"),
    [
        (SECRET, INSECURE, AuthenticationError, "the listener wants a secret", "it has no secret"),
        (SECRET, Security(b"x"), AuthenticationError, "the listener has another secret", "it has another secret"),
        (INSECURE, SECRET, AuthenticationError, "the listener has no secret", "it has a secret, and there is none"),
    ],
)
def test_refusals_are_told_to_both(
    ours: Security,
    theirs: Security,
    error: type[Exception],
    said: str,
    logged: str,
    runner: Runner,
    refusals: pytest.LogCaptureFixture,
) -> None:
    listener = runner.listen("tcp://127.0.0.1:0", ours)
    with pytest.raises(error, match=said):
        runner.connect(listener.address, theirs)
    (record,) = refusals.records
    assert record.levelno == logging.WARNING
    assert logged in record.getMessage() and "tcp://127.0.0.1:" in record.getMessage()


@pytest.mark.parametrize(
    ("bytes_sent", "logged"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "it speaks HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), "it speaks TLS"),
        (b"\0" * 600, "it does not speak the protocol"),
        (handshake.MAGIC + b"\x03\x00" + bytes(500), "speaks version 3 of the protocol, newer"),
    ],
)
def test_strangers_are_refused(
    bytes_sent: bytes, logged: str, runner: Runner, refusals: pytest.LogCaptureFixture
) -> None:
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    with stranger(listener.address) as sock:
        sock.sendall(bytes_sent)
        read_to_the_end(sock)
    (record,) = refusals.records
    assert logged in record.getMessage()
    runner.connect(listener.address, SECRET)


def test_who_hangs_up_is_logged(runner: Runner, refusals: pytest.LogCaptureFixture) -> None:
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    with stranger(listener.address) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert read_to_the_end(sock) == b""
    (record,) = refusals.records
    assert "closed the connection in the middle of the handshake" in record.getMessage()


def test_who_hangs_up_on_this_host_is_no_warning(
    runner: Runner, refusals: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """It is a process that has ended, as a worker that was retired; who started it says so."""
    refusals.set_level(logging.INFO, "futures_cluster.wire")
    path = tmp_path / "s"
    runner.listen(f"unix://{path}", SECRET)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.shutdown(socket.SHUT_WR)
        read_to_the_end(sock)
    (record,) = refusals.records
    assert "closed the connection in the middle of the handshake" in record.getMessage()
    assert record.levelno == logging.INFO


class Fake:
    """A listener that is none of ours: it says what it is told to whoever connects, and hangs up."""

    def __init__(self, said: bytes, often: bool = False) -> None:
        self._often = often
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._said = said
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:  # closed
                return
            with sock, contextlib.suppress(OSError):  # a client whose time is over has closed the connection
                sock.recv(4096)
                sock.sendall(self._said)
                sock.shutdown(socket.SHUT_WR)
                read_to_the_end(sock)
            if not self._often:
                return

    def close(self) -> None:
        if self._often:
            self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()


@pytest.mark.parametrize(
    ("said", "error", "text"),
    [
        (b"", HandshakeError, "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", HandshakeError, "it speaks HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", HandshakeError, "it speaks TLS; write tls://"),
        (b"220 mail.example ESMTP", HandshakeError, "does not speak the protocol of futures_cluster"),
        (handshake.MAGIC + b"\x09\x00\x05\x01", VersionMismatch, "version 9 .* install the same version"),
    ],
)
def test_listeners_that_are_none_of_ours(said: bytes, error: type[Exception], text: str, runner: Runner) -> None:
    fake = Fake(said)
    try:
        with pytest.raises(error, match=text):
            runner.connect(fake.address, SECRET)
    finally:
        fake.close()


def test_a_listener_that_says_nothing(runner: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(HandshakeError, match=r"did not answer in 0\.05 s"):
            runner.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.05)


# ---------------------------------------------------------------- crowds


def test_peers_that_say_nothing_are_dropped(
    runner: Runner, refusals: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "TIMEOUT_S", 0.05)
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    with stranger(listener.address) as sock:
        assert read_to_the_end(sock) == b""
    assert "it has not passed the handshake within 0.05 s" in refusals.records[0].getMessage()


def test_idle_peers_do_not_keep_the_others_out(
    runner: Runner, refusals: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "places", lambda: 4)
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    idle = [stranger(listener.address) for _ in range(12)]
    try:
        runner.connect(listener.address, SECRET)
        assert handshake.busy() == read_to_the_end(idle[0])  # the first had to go, and is told that it may come again
        assert len(listener._under_way) <= 4  # type: ignore[attr-defined]
    finally:
        for sock in idle:
            sock.close()
    assert "too many others wait" in refusals.messages[0]
    crowded = [message for message in refusals.messages if "too many others wait" in message]
    assert len(crowded) == 1  # the others are counted


def test_a_burst_of_honest_peers_gets_in(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "places", lambda: 4)
    monkeypatch.setattr(admission, "GRACE_S", 0.01)
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    connecting = [
        asyncio.run_coroutine_threadsafe(registry.connect(listener.address, runner.loop, SECRET), runner.loop)
        for _ in range(60)
    ]
    runner.opened.extend(one.result(30) for one in connecting)
    for _ in connecting:
        assert runner.arrived.acquire(timeout=30)


def test_who_is_told_to_come_again_does(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that has no room at first."""
    monkeypatch.setattr(registry, "_TRY_AGAIN_S", 0.01)
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    refused = iter([True, True])
    receive = handshake.Acceptor.receive

    def busy_at_first(self: handshake.Acceptor, data: bytes) -> bytes:
        if next(refused, False):
            self.error = handshake.ListenerBusy("no room")
            return handshake.busy()
        return receive(self, data)

    monkeypatch.setattr(handshake.Acceptor, "receive", busy_at_first)
    runner.connect(listener.address, SECRET)
    assert next(refused, None) is None


def test_a_listener_without_room_is_named_in_the_end(runner: Runner) -> None:
    fake = Fake(handshake.busy(), often=True)
    try:
        with pytest.raises(HandshakeError, match=r"within 0\.5 s: the listener has too many handshakes under way"):
            runner.connect(fake.address, SECRET, timeout_s=0.5)
    finally:
        fake.close()


class WithoutDescriptors:
    """A listening socket that cannot accept at first."""

    def __init__(self, sock: Any, number: int, errors: list[int]) -> None:
        self._sock = sock
        self._errors = [number] * 3
        self.tried = errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def accept(self) -> Any:
        if self._errors:
            self.tried.append(self._errors[-1])
            raise OSError(self._errors.pop(), "cannot")
        return self._sock.accept()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM])
def test_a_listener_that_cannot_accept_tries_again(
    number: int, runner: Runner, refusals: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RETRY_S", 0.01)
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    tried: list[int] = []
    listener._sock = WithoutDescriptors(listener._sock, number, tried)  # type: ignore[attr-defined]
    runner.connect(listener.address, SECRET)
    assert tried == [number] * 3
    (line,) = refusals.messages
    assert "cannot accept a connection now" in line
    assert ("ulimit -n" in line) == (number == errno.EMFILE)


def test_closing_a_listener_while_peers_shake_hands(runner: Runner) -> None:
    listener = runner.listen("tcp://127.0.0.1:0", SECRET)
    with stranger(listener.address) as sock:
        meant = audience.of_address(sock.getpeername())
        sock.sendall(handshake.Connector(b"a secret", bytes(32), audience=meant).start())
        assert sock.recv(1)
        runner.call(listener.close)
        runner.call(listener.close)
        read_to_the_end(sock)
    assert runner.opened == [listener]


def test_processes_of_other_users_or_hosts_share_nothing(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = runner.listen("tcp://127.0.0.1:0")
    assert runner.connect(listener.address).same_host is (streams.host_identity() != handshake.NO_HOST)
    hosts = iter([b"a" * 32, b"b" * 32])
    monkeypatch.setattr(streams, "host_identity", lambda: next(hosts))
    assert not runner.connect(listener.address).same_host
    monkeypatch.setattr(streams, "host_identity", lambda: handshake.NO_HOST)
    assert not runner.connect(listener.address).same_host
