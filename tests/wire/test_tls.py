"""TLS: who is refused and what is said then, and what is different about reading and writing through it.

What it has in common with all transports is in test_transports.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import wait_until

from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError, HandshakeError
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.certificates import make_certificates
from futures_cluster.wire.transports.registry import NO_SECURITY, Connection, Security, TlsFiles


def make(folder: Path, hosts: list[str]) -> TlsFiles:
    try:
        return make_certificates(str(folder), hosts)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make(tmp_path_factory.mktemp("ours"), ["127.0.0.1", "localhost"])


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Of another authority, or for another host."""
    return make(tmp_path_factory.mktemp("others"), ["10.1.2.3"])


class Runner:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.opened: list[Any] = []
        self.accepted: list[Connection] = []
        self.arrived = threading.Semaphore(0)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        async def call() -> Any:
            return function(*args)

        return self.run(call())

    def _take(self, connection: Connection) -> None:
        self.accepted.append(connection)
        self.arrived.release()

    def listen(self, security: Security, scheme: str = "tls") -> str:
        listener = self.run(registry.listen(f"{scheme}://127.0.0.1:0", self.loop, security, self._take))
        self.opened.append(listener)
        return str(listener.address)

    def connect(self, address: str, security: Security) -> Any:
        connection = self.run(registry.connect(address, self.loop, security))
        self.opened.append(connection)
        return connection


@pytest.fixture
def runner() -> Iterator[Runner]:
    thread = LoopThread("test-loop")
    thread.start()
    runner = Runner(thread.loop)
    yield runner
    for one in [*runner.opened, *runner.accepted]:
        runner.call(one.close)
    thread.stop()
    thread.thread.join()


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="futures_cluster.wire")
    return caplog


def test_it_is_encrypted_by_tls_1_3_with_a_certificate_on_both_sides(runner: Runner, ours: TlsFiles) -> None:
    connection = runner.connect(runner.listen(Security(tls=ours)), Security(tls=ours))
    assert runner.arrived.acquire(timeout=30)
    for end in (connection, runner.accepted[0]):
        tls = end._sock  # type: ignore[attr-defined]
        assert isinstance(tls, ssl.SSLSocket)
        assert tls.version() == "TLSv1.3" and tls.getpeercert()


def test_the_secret_is_asked_for_as_well(runner: Runner, ours: TlsFiles, refusals: pytest.LogCaptureFixture) -> None:
    address = runner.listen(Security(b"secret", ours))
    with pytest.raises(AuthenticationError, match="the listener has another secret"):
        runner.connect(address, Security(b"other", ours))
    wait_until(lambda: len(refusals.records) > 0)
    assert "it has another secret" in refusals.records[0].getMessage()
    runner.connect(address, Security(b"secret", ours))


@pytest.mark.parametrize("scheme_is_tls", [True, False])
def test_without_certificates_nothing_begins(scheme_is_tls: bool, runner: Runner) -> None:
    with pytest.raises(AuthenticationError, match=r"needs certificates on both sides: make a set"):
        runner.listen(NO_SECURITY)
    with pytest.raises(AuthenticationError, match="needs certificates on both sides"):
        runner.connect("tls://127.0.0.1:1", NO_SECURITY)


def test_files_that_are_no_certificates(runner: Runner, ours: TlsFiles, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(AuthenticationError, match="cannot use the certificates"):
        runner.listen(Security(tls=ours._replace(authority=str(empty))))
    with pytest.raises(FileNotFoundError):
        runner.listen(Security(tls=ours._replace(key=str(tmp_path / "nowhere"))))


@pytest.mark.parametrize(
    ("name", "mode", "done"),
    [
        ("key", 0o640, "read"),
        ("key", 0o604, "read"),
        ("key", 0o666, "changed"),
        ("certificate", 0o620, "changed"),
        ("authority", 0o646, "changed"),
    ],
)
def test_files_that_others_can_reach_are_refused(
    name: str, mode: int, done: str, runner: Runner, ours: TlsFiles, tmp_path: Path
) -> None:
    exposed = TlsFiles(*(shutil.copy(path, tmp_path) for path in (ours.authority, ours.certificate, ours.key)))
    address = runner.listen(Security(tls=ours))
    runner.connect(address, Security(tls=exposed))
    os.chmod(getattr(exposed, name), mode)
    complaint = rf"{name}\.pem has mode {mode:o}: others may have {done} it\. .* chmod 600"
    with pytest.raises(AuthenticationError, match=complaint):
        runner.listen(Security(tls=exposed))
    with pytest.raises(AuthenticationError, match=complaint):
        runner.connect(address, Security(tls=exposed))


@pytest.mark.parametrize("name", ["key", "certificate", "authority"])
def test_a_fifo_in_the_place_of_a_file_is_refused_at_once(
    name: str, runner: Runner, ours: TlsFiles, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(AuthenticationError, match="fifo is a FIFO and not a file"):
        runner.listen(Security(tls=ours._replace(**{name: str(tmp_path / "fifo")})))


def test_a_listener_of_another_authority(
    runner: Runner, ours: TlsFiles, others: TlsFiles, refusals: pytest.LogCaptureFixture
) -> None:
    address = runner.listen(Security(tls=others))
    with pytest.raises(AuthenticationError, match=r"was not accepted: .* certificates of one authority"):
        runner.connect(address, Security(tls=ours))
    runner.call(lambda: None)


def test_a_connector_of_another_authority_is_refused(
    runner: Runner, ours: TlsFiles, others: TlsFiles, refusals: pytest.LogCaptureFixture
) -> None:
    """It trusts us; we do not trust it."""
    address = runner.listen(Security(tls=ours))
    theirs = TlsFiles(ours.authority, others.certificate, others.key)
    with pytest.raises((AuthenticationError, HandshakeError)):
        runner.connect(address, Security(tls=theirs))
    wait_until(lambda: refusals.records)  # OpenSSL tells the peer before the listener writes its line
    (record,) = refusals.records
    assert "was not accepted" in record.getMessage()
    assert runner.accepted == []


def test_a_connector_without_a_certificate_is_refused(
    runner: Runner, ours: TlsFiles, refusals: pytest.LogCaptureFixture
) -> None:
    address = runner.listen(Security(tls=ours))
    context = ssl.create_default_context(cafile=ours.authority)
    host, _, port = address.partition("://")[2].partition(":")

    async def visit() -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        try:
            return await reader.read()
        except ssl.SSLError:
            return b""
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    assert asyncio.run(visit()) == b""
    wait_until(lambda: refusals.records)  # OpenSSL tells the peer before the listener writes its line
    (record,) = refusals.records
    assert "did not accept our certificate, or has none itself" in record.getMessage()


def test_a_certificate_for_other_hosts(runner: Runner, others: TlsFiles) -> None:
    address = runner.listen(Security(tls=others))
    with pytest.raises(AuthenticationError, match="made for the names by which they connect"):
        runner.connect(address, Security(tls=others))


def test_tcp_to_tls_and_back(runner: Runner, ours: TlsFiles, refusals: pytest.LogCaptureFixture) -> None:
    both = Security(b"secret", ours)
    address = runner.listen(both)
    with pytest.raises(HandshakeError, match=r"it speaks TLS; (then )?write tls://"):
        runner.connect(address.replace("tls://", "tcp://"), both)
    wait_until(lambda: len(refusals.records) > 0)
    assert "does not speak TLS; write tcp://" in refusals.records[0].getMessage()
    address = runner.listen(both, "tcp")
    with pytest.raises(HandshakeError, match=r"does not speak TLS|closed the connection"):
        runner.connect(address.replace("tcp://", "tls://"), both)
    wait_until(lambda: len(refusals.records) > 1)
    assert "it speaks TLS" in refusals.records[1].getMessage()


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_listener_that_ends_is_not_taken_for_one_of_another_kind(scheme: str, runner: Runner, ours: TlsFiles) -> None:
    """The likeliest cause comes first: a process that was killed closes its connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def end() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=end)
        thread.start()
        with pytest.raises(HandshakeError) as caught:
            runner.connect(f"{scheme}://127.0.0.1:{server.getsockname()[1]}", Security(b"secret", ours))
        thread.join()
    said = str(caught.value)
    assert 0 < said.index("its process may have ended (look whether it runs") < said.index("TLS; then write"), said


def test_a_listener_that_hangs_up_on_the_first_bytes(runner: Runner, ours: TlsFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            other, _ = server.accept()
            with other:
                other.recv(1)  # the rest is never read, and the system resets the connection

        thread = threading.Thread(target=hang_up)
        thread.start()
        ended = r"the listener closed the connection .*: its process may have ended .*, or it does not speak TLS; then"
        with pytest.raises(HandshakeError, match=ended):
            runner.connect(f"tls://127.0.0.1:{server.getsockname()[1]}", Security(b"secret", ours))
        thread.join()


def test_new_files_are_used_at_the_next_connection(runner: Runner, tmp_path: Path) -> None:
    files = make(tmp_path / "set", ["127.0.0.1"])
    address = runner.listen(Security(tls=files))
    runner.connect(address, Security(tls=files))
    for name in os.listdir(tmp_path / "set"):
        os.unlink(tmp_path / "set" / name)
    make(tmp_path / "set", ["127.0.0.1"])
    runner.connect(address, Security(tls=files))  # both have the new ones


def test_another_thread_can_read_by_the_descriptor(runner: Runner, ours: TlsFiles) -> None:
    """As a worker's main thread does: nothing that SSL has decrypted may wait for the descriptor."""
    connection = runner.connect(runner.listen(Security(tls=ours)), Security(tls=ours))
    assert runner.arrived.acquire(timeout=30)
    got: list[list[m.Message]] = []
    connection.on_messages = got.append
    runner.call(runner.accepted[0].start)
    for number in range(30):
        runner.accepted[0].send([m.DropData([str(number)]), m.DropData(["x" * 20_000])])
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    while len(got) < 30:
        assert poll.poll(30_000)
        assert connection.read()
    assert [batch[0] for batch in got] == [m.DropData((str(number),)) for number in range(30)]
    runner.call(connection.drain)
    assert not connection.closed


def test_reading_after_the_end(runner: Runner, ours: TlsFiles) -> None:
    connection = runner.connect(runner.listen(Security(tls=ours)), Security(tls=ours))
    assert runner.arrived.acquire(timeout=30)
    runner.call(runner.accepted[0].send, [m.DropData(["last words"])])
    runner.call(runner.accepted[0].close)
    got: list[list[m.Message]] = []
    closed = threading.Event()
    connection.on_messages, connection.on_close = got.append, lambda error: closed.set()
    runner.call(connection.start)
    assert closed.wait(30)
    assert got == [[m.DropData(("last words",))]]
    assert not connection.read()
