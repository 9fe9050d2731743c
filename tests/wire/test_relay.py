"""A third party between connector and listener: it can pass bytes on, but not choose the listener or say a word."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay import Change, Relay, Tampering, flip_the_last_bit, relaying
from sites import End, Site

from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire import audience, frames, handshake
from futures_cluster.wire.codec.buffers import Buffer
from futures_cluster.wire.transports.certificates import make_certificates
from futures_cluster.wire.transports.registry import Listener, Security

SECRET = Security(b"a secret")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    thread = LoopThread("test-loop")
    thread.start()
    yield thread.loop
    thread.stop()
    thread.thread.join()


@pytest.fixture
def site(loop: asyncio.AbstractEventLoop) -> Iterator[Site]:
    site = Site("tcp://127.0.0.1:0", SECRET, loop)
    yield site
    site.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="futures_cluster.wire")
    return caplog


def identity_of(listener: Listener) -> str:
    return listener.exact_address.partition("#")[2]


def connect_through(site: Site, relay: Relay) -> tuple[End, End]:
    """Both ends of a connection through a relay that the connector knows of."""
    return site.connect(address=f"tcp://127.0.0.1:{relay.port}#{identity_of(site.listener)}")


def data(key: str) -> m.Data:
    return m.Data(1, ((key, b"x"),))


# ---------------------------------------------------------------- which listener


def test_a_relay_leads_nowhere(site: Site, log: pytest.LogCaptureFixture) -> None:
    with relaying(site.listener.address) as relay:
        with pytest.raises(AuthenticationError, match=r"is not the one that was meant: .* \(ssh -L") as caught:
            site.connect(address=f"tcp://127.0.0.1:{relay.port}")
    assert f"tcp://127.0.0.1:{relay.port}" in str(caught.value)
    (record,) = log.records
    assert "it means another listener" in record.getMessage()
    assert not site.accepted


def test_a_forward_is_passed_by_the_identity(site: Site) -> None:
    with relaying(site.listener.address) as relay:
        one, two = connect_through(site, relay)
        one.connection.send([data("there")])
        two.wait_for(1)
        two.connection.send([data("and back")])
        one.wait_for(1)


def test_a_forward_to_another_scheduler_is_refused(site: Site, loop: asyncio.AbstractEventLoop) -> None:
    other = Site("tcp://127.0.0.1:0", SECRET, loop)
    try:
        with relaying(other.listener.address) as relay, pytest.raises(AuthenticationError, match="not the one"):
            connect_through(site, relay)  # with the identity of the one that it does not lead to
        assert not site.accepted and not other.accepted
    finally:
        other.close()


def test_a_relay_cannot_change_who_is_meant(site: Site) -> None:
    """It rewrites the connector's opening, so that the listener takes it for one of its own."""
    port = int(site.listener.address.rpartition(":")[2])

    def change(sent: bytes) -> bytes:
        if sent[10] != 1:  # the opening
            return sent
        start, stop = 12 + handshake.NONCE_BYTES, 12 + handshake.NONCE_BYTES + audience.AUDIENCE_BYTES
        return sent[:start] + audience.of_address(("127.0.0.1", port)) + sent[stop:]

    with relaying(site.listener.address, change) as relay:
        with pytest.raises(AuthenticationError, match="another secret"):
            site.connect(address=f"tcp://127.0.0.1:{relay.port}")
    assert not site.accepted


def test_tls_is_bound_as_well(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """All machines of a cluster may have the same certificates."""
    try:
        files = make_certificates(str(tmp_path / "certificates"), ["127.0.0.1"])
    except RuntimeError as error:
        pytest.skip(str(error))
    site = Site("tls://127.0.0.1:0", Security(b"a secret", files), loop)
    try:
        with relaying(site.listener.address) as relay:
            with pytest.raises(AuthenticationError, match="not the one that was meant"):
                site.connect(address=f"tls://127.0.0.1:{relay.port}")
    finally:
        site.close()


@pytest.mark.skipif(importlib.util.find_spec("zmq") is None, reason="needs the package pyzmq")
def test_zeromq_is_bound_as_well(loop: asyncio.AbstractEventLoop) -> None:
    """A door that answers with a port of another door."""
    import zmq

    site = Site("zmq://127.0.0.1:0", SECRET, loop)
    context = zmq.Context()
    try:
        with context.socket(zmq.REP) as fake, context.socket(zmq.REQ) as knock:
            fake.setsockopt(zmq.RCVTIMEO, 30_000)
            port = fake.bind_to_random_port("tcp://127.0.0.1")
            knock.connect(f"tcp://127.0.0.1:{site.listener.address.rpartition(':')[2]}")

            def pass_on() -> None:
                knock.send(fake.recv())
                fake.send(knock.recv())

            thread = threading.Thread(target=pass_on)
            thread.start()
            with pytest.raises(AuthenticationError, match="not the one that was meant"):
                site.connect(address=f"zmq://127.0.0.1:{port}")
            thread.join()
    finally:
        site.close()
        context.term()


def test_without_a_secret_nothing_is_bound(loop: asyncio.AbstractEventLoop) -> None:
    site = Site("tcp://127.0.0.1:0", Security(insecure=True), loop)
    try:
        with relaying(site.listener.address) as relay:
            one, two = site.connect(address=f"tcp://127.0.0.1:{relay.port}")
            one.connection.send([data("there")])
            two.wait_for(1)
    finally:
        site.close()


# ---------------------------------------------------------------- what is said


def flip_the_first_bit(sent: bytes) -> bytes:
    return bytes([sent[0] ^ 1]) + sent[1:]


def say_twice(sent: bytes) -> bytes:
    return sent + sent


@pytest.mark.parametrize("change", [flip_the_first_bit, flip_the_last_bit, say_twice])
@pytest.mark.parametrize("size", [0, 3_000_000])
def test_changes_on_the_way_to_the_listener(change: Change, size: int, site: Site) -> None:
    tampering = Tampering(change)
    with relaying(site.listener.address, tampering) as relay:
        one, two = connect_through(site, relay)
        one.connection.send([data("good")])
        two.wait_for(1)
        tampering.begin.set()
        payload = (b"pickle", ("raw", [Buffer(bytes(size))])) if size else b"x"
        one.connection.send([m.Data(2, (("bad", payload),))])
        assert two.closed.wait(30) and one.closed.wait(30)
    (reason,) = two.reasons
    assert isinstance(reason, AuthenticationError) and "wrong authentication tag" in str(reason)
    keys = [message.found[0][0] for batch in two.got for message in batch]  # type: ignore[attr-defined]
    assert keys in (["good"], ["good", "bad"] if change is say_twice else ["good"])


def test_changes_on_the_way_to_the_connector(site: Site) -> None:
    tampering = Tampering(flip_the_last_bit)
    with relaying(site.listener.address, to_connector=tampering) as relay:
        one, two = connect_through(site, relay)
        tampering.begin.set()
        two.connection.send([data("bad")])
        assert one.closed.wait(30)
    assert isinstance(one.reasons[0], AuthenticationError) and not one.got


def test_a_frame_of_a_third_party(site: Site) -> None:
    with relaying(site.listener.address) as relay:
        _, two = connect_through(site, relay)
        relay.inject(frames.pack([data("injected")])[0])
        assert two.closed.wait(30)
    assert isinstance(two.reasons[0], AuthenticationError) and not two.got


def test_frames_that_come_with_the_end_of_the_handshake(site: Site) -> None:
    """The relay says something behind the connector's proof: it is taken for the first frame, and found out."""

    def change(sent: bytes) -> bytes:
        return sent + frames.pack([data("injected")])[0] if sent[10:11] == b"\x03" else sent

    with relaying(site.listener.address, change) as relay:
        _, two = connect_through(site, relay)
        assert two.closed.wait(30)
    assert isinstance(two.reasons[0], AuthenticationError) and not two.got
