"""What every transport must do, run on each of them; and finding transports by address."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sites import End, Site

from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.certificates import make_certificates
from futures_cluster.wire.transports.registry import NO_SECURITY, Security, TlsFiles

SECRET = Security(b"a secret")
HOSTS = ["127.0.0.1", "::1", "localhost"]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    thread = LoopThread("test-loop")
    thread.start()
    yield thread.loop
    thread.stop()
    thread.thread.join()


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    try:
        return make_certificates(str(tmp_path_factory.mktemp("certificates")), HOSTS)
    except RuntimeError as error:
        pytest.skip(str(error))


needs_zmq = pytest.mark.skipif(importlib.util.find_spec("zmq") is None, reason="needs the package pyzmq")
KINDS = ["unix", "tcp", "tcp-ipv6", "tls", "inproc", pytest.param("zmq", marks=needs_zmq)]


def address_of(kind: str, private: Path) -> str:
    addresses = {
        "unix": f"unix://{private / 's.sock'}",
        "tcp": "tcp://127.0.0.1:0",
        "tcp-ipv6": "tcp://[::1]:0",
        "tls": "tls://127.0.0.1:0",
        "inproc": "inproc://a name",
        "zmq": "zmq://127.0.0.1:0",
    }
    return addresses[kind]


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, private: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Site]:
    security = SECRET
    if request.param == "tls":
        security = Security(SECRET.secret, request.getfixturevalue("certificates"))
    try:
        site = Site(address_of(request.param, private), security, loop)
    except OSError as error:
        if request.param == "tcp-ipv6":
            pytest.skip(f"no IPv6 here: {error}")
        raise
    yield site
    site.close()


def data(key: str, size: int = 10) -> m.Data:
    return m.Data(1, ((key, b"x" * size),))


def keys(end: End) -> list[str]:
    return [message.found[0][0] for batch in end.got for message in batch]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- every transport


def test_messages_go_both_ways_in_order(site: Site) -> None:
    one, two = site.connect()
    for number in range(100):
        one.connection.send([data(f"a{number}"), data(f"b{number}")])
        two.connection.send([data(str(number))])
    two.wait_for(100)
    one.wait_for(100)
    assert keys(two) == [f"{letter}{number}" for number in range(100) for letter in "ab"]
    assert [len(batch) for batch in two.got] == [2] * 100
    assert keys(one) == [str(number) for number in range(100)]


def test_large_frames(site: Site) -> None:
    one, two = site.connect()
    sizes = [5, 3_000_000, 0, 20_000_000, 100_000, 7]
    for number, size in enumerate(sizes):
        one.connection.send([data(str(number), size)])
    two.wait_for(len(sizes))
    assert keys(two) == ["0", "1", "2", "3", "4", "5"]
    assert [len(batch[0].found[0][1]) for batch in two.got] == sizes  # type: ignore[attr-defined]


def test_both_sides_send_much_at_once(site: Site) -> None:
    """Each must read while it cannot send."""
    one, two = site.connect()
    for number in range(8):
        one.connection.send([data(str(number), 3_000_000)])
        two.connection.send([data(str(number), 3_000_000)])
    one.wait_for(8)
    two.wait_for(8)
    assert keys(one) == keys(two) == [str(number) for number in range(8)]


def test_threads_send_whole_frames(site: Site) -> None:
    one, two = site.connect()
    start = threading.Barrier(6)

    def send(mark: int) -> None:
        start.wait()
        for number in range(50):
            one.connection.send([data(f"{mark}-{number}", 10 + 9973 * (number % 7))])

    threads = [threading.Thread(target=send, args=(mark,)) for mark in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    two.wait_for(300)
    got = keys(two)
    assert len(got) == 300
    for mark in range(6):  # those of each thread are in its order
        assert [key for key in got if key.startswith(f"{mark}-")] == [f"{mark}-{number}" for number in range(50)]


def test_what_a_peer_does_not_read_is_pending_and_sending_does_not_block(site: Site) -> None:
    one, two = site.connect(is_started=False)
    site.call(one.connection.start)
    assert one.connection.pending_bytes == 0
    for number in range(60):
        one.connection.send([data(str(number), 1_000_000)])
    assert one.connection.pending_bytes > 10_000_000
    site.call(two.connection.start)
    two.wait_for(60)
    assert keys(two) == [str(number) for number in range(60)]
    assert one.connection.pending_bytes == 0


def test_what_comes_before_the_start_waits(site: Site) -> None:
    one, two = site.connect(is_started=False)
    one.connection.send([data("early")])
    two.connection.send([data("early, too")])
    site.call(two.connection.start)
    two.wait_for(1)
    assert one.got == []
    site.call(one.connection.start)
    one.wait_for(1)
    assert keys(one) == ["early, too"] and keys(two) == ["early"]


def test_the_peer_sees_the_end_after_the_last_words(site: Site) -> None:
    one, two = site.connect()
    one.connection.send([data("last words")])
    two.wait_for(1)
    site.call(one.connection.close)
    assert two.closed.wait(60)
    assert keys(two) == ["last words"] and two.reasons == [None]
    assert two.connection.closed and one.connection.closed
    assert one.reasons == []  # who closes is not told
    one.connection.send([data("dropped")])
    two.connection.send([data("dropped")])
    assert one.connection.pending_bytes == two.connection.pending_bytes == 0


def test_closing_while_others_send(site: Site) -> None:
    one, two = site.connect()
    stop = threading.Event()

    def send_on() -> None:
        while not stop.is_set():
            one.connection.send([data("k", 50_000)])
            stop.wait(0.0001)

    threads = [threading.Thread(target=send_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    two.wait_for(3)
    site.call(one.connection.close)
    site.call(one.connection.close)
    assert two.closed.wait(60)
    stop.set()
    for thread in threads:
        thread.join()
    assert one.connection.pending_bytes == 0
    assert {len(batch[0].found[0][1]) for batch in two.got} == {50_000}  # type: ignore[attr-defined]


def test_closing_in_a_handler(site: Site) -> None:
    one, two = site.connect()
    handled = threading.Event()

    def close(messages: list[m.Message]) -> None:
        two.receive(messages)
        two.connection.close()
        handled.set()

    two.connection.on_messages = close
    one.connection.send([data("a")])
    one.connection.send([data("b")])
    assert handled.wait(60)
    assert one.closed.wait(60)
    assert keys(two) == ["a"] and two.reasons == []


def test_a_mistake_in_a_handler_does_not_hold_up_what_follows(site: Site) -> None:
    reported: list[Any] = []
    site.call(site.loop.set_exception_handler, lambda loop, context: reported.append(context))
    one, two = site.connect()

    def fail_once(messages: list[m.Message]) -> None:
        two.receive(messages)
        if len(two.got) == 1:
            raise RuntimeError("a mistake")

    two.connection.on_messages = fail_once
    one.connection.send([data("a")])
    one.connection.send([data("b")])
    two.wait_for(2)
    assert keys(two) == ["a", "b"]
    assert [str(context["exception"]) for context in reported] == ["a mistake"]


def test_many_connections_to_one_listener(site: Site) -> None:
    pairs = [site.connect() for _ in range(20)]
    for number, (one, two) in enumerate(pairs):
        one.connection.send([data(str(number))])
        two.connection.send([data(str(-number))])
    for number, (one, two) in enumerate(pairs):
        one.wait_for(1)
        two.wait_for(1)
        assert (keys(one), keys(two)) == ([str(-number)], [str(number)])


def test_connections_outlive_their_listener(site: Site) -> None:
    one, two = site.connect()
    site.call(site.listener.close)
    one.connection.send([data("still there")])
    two.wait_for(1)
    with pytest.raises(OSError):
        site.run(registry.connect(site.listener.address, site.loop, site.security, timeout_s=2))


def test_an_address_is_free_again_when_its_listener_is_closed(site: Site) -> None:
    one, _ = site.connect()
    address = site.listener.address
    site.close()
    again = Site(address, site.security, site.loop)
    try:
        assert again.listener.address == address
        one, two = again.connect()
        one.connection.send([data("k")])
        two.wait_for(1)
    finally:
        again.close()


@needs_zmq
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_zmq_names_an_ipv4_address_as_it_was_typed(host: str, loop: asyncio.AbstractEventLoop) -> None:
    site = Site(f"zmq://{host}:0", SECRET, loop)
    try:
        assert site.listener.address.rpartition(":")[0] == f"zmq://{host}"
    finally:
        site.close()


def test_both_know_that_they_are_on_one_host(site: Site) -> None:
    one, two = site.connect()
    assert one.connection.same_host and two.connection.same_host
    assert one.connection.peer and two.connection.peer


@pytest.mark.parametrize(
    ("theirs", "text"),
    [
        (Security(b"another"), "both sides need the same secret"),
        (Security(insecure=True), "this process is set to use none: drop --insecure"),
    ],
)
def test_nobody_gets_in_without_the_secret(site: Site, theirs: Security, text: str) -> None:
    security = theirs.replace(tls=site.security.tls)
    with pytest.raises(AuthenticationError, match=text):
        site.run(registry.connect(site.listener.address, site.loop, security))
    one, two = site.connect()  # and the others still do
    one.connection.send([data("k")])
    two.wait_for(1)
    assert len(site.accepted) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_the_host_or_certificates_guard_needs_no_secret(
    kind: str, private: Path, loop: asyncio.AbstractEventLoop
) -> None:
    address = address_of(kind, private)
    guard = registry.guard(address)
    assert guard == {"unix": "host", "inproc": "host", "tls": "certificates"}.get(kind, "secret")

    async def listen_and_connect() -> None:
        for refused in (registry.listen(address, loop, NO_SECURITY, print), registry.connect(address, loop)):
            with pytest.raises(AuthenticationError, match=r"needs a secret|needs certificates"):
                await refused

    if guard != "host":
        asyncio.run_coroutine_threadsafe(listen_and_connect(), loop).result(30)


def test_a_transport_that_says_nothing_of_its_guard_needs_a_secret(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        scheme = "other"

    monkeypatch.setitem(registry._transports, "other", Other())  # type: ignore[arg-type]
    with pytest.raises(AuthenticationError, match="needs a secret"):
        asyncio.run_coroutine_threadsafe(registry.connect("other://x", loop), loop).result(30)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize("address", ["nonsense", "", "nowhere://here", "unix:/x"])
def test_addresses_that_are_none(address: str, loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(OSError, match="is not an address; write SCHEME"):
        asyncio.run_coroutine_threadsafe(registry.connect(address, loop), loop).result(30)
    with pytest.raises(OSError, match="is not an address; write SCHEME"):
        asyncio.run_coroutine_threadsafe(
            registry.listen(address, loop, NO_SECURITY, lambda connection: None), loop
        ).result(30)


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(Security(b"very secret"))


def test_a_transport_whose_package_is_missing(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    monkeypatch.delitem(sys.modules, "futures_cluster.wire.transports.zeromq", raising=False)
    monkeypatch.delitem(registry._transports, "zmq", raising=False)
    with pytest.raises(OSError, match=r"zmq:// needs zmq: pip install 'futures-cluster\[zmq\]'"):
        asyncio.run_coroutine_threadsafe(registry.connect("zmq://127.0.0.1:1", loop), loop).result(30)
