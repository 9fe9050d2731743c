"""Garbage at a real listener, at every state of the handshake and after it: nothing is raised, held, kept or unpickled.

The pure parts have their own: test_handshake and test_frames.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import pickle
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from futures_cluster import messages as m
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire import audience, frames, handshake
from futures_cluster.wire.authenticator import Sealer
from futures_cluster.wire.codec.buffers import Buffer
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import Connection, Security
from futures_cluster.wire.transports.tcp import split_host_and_port

SECRET = b"a secret"


class Target:
    """A listener, and a thread whose loop must never be told of an error."""

    def __init__(self) -> None:
        self.thread = LoopThread("test-loop")
        self.thread.start()
        self.loop = self.thread.loop
        self.errors: list[Any] = []
        self.messages: list[m.Message] = []
        self.ended = threading.Semaphore(0)
        self.loop.call_soon_threadsafe(self.loop.set_exception_handler, lambda loop, what: self.errors.append(what))
        self.listener = self.run(registry.listen("tcp://127.0.0.1:0", self.loop, Security(SECRET), self._take))

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def _take(self, connection: Connection) -> None:
        connection.on_messages = self.messages.extend
        connection.on_close = lambda error: self.ended.release()
        connection.start()

    def visit(self, state: int, garbage: bytes) -> None:
        """Go as far into the handshake as ``state`` says, then send garbage; returns when the other side has ended.

        In state 3 it has the tags of a peer that knows the secret.
        """
        with socket.create_connection(split_host_and_port(self.listener.address.partition("://")[2])) as sock:
            sock.settimeout(30)
            meant = audience.of_address(sock.getpeername())
            machine = handshake.Connector(SECRET, os.urandom(32), audience=meant)
            said = machine.start()
            for _ in range(min(state, 2)):
                sock.sendall(said)
                said = machine.receive(sock.recv(handshake.MAX_BYTES))
            assert machine.done == (state >= 2)
            if state == 3:
                keys = machine.session_keys()
                assert keys is not None
                garbage = sealed(keys[0], garbage)
            try:
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            except OSError as error:  # the other side has ended already
                assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
        if state >= 2:
            assert self.ended.acquire(timeout=30)

    def close(self) -> None:
        async def close() -> None:
            self.listener.close()

        self.run(close())
        self.thread.stop()
        self.thread.thread.join()


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    def unpickled(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("what a stranger sent was unpickled")

    target = Target()
    monkeypatch.setattr(pickle, "loads", unpickled)
    yield target
    monkeypatch.undo()
    target.close()


def sealed(key: bytes, garbage: bytes) -> bytes:
    """With the tags of a first frame, where those would be if it were one."""
    length, count = frames.HEAD.unpack_from(garbage) if len(garbage) >= frames.HEAD.size else (0, 0)
    if not 0 < count < 100:
        return Sealer(key).seal(garbage, ())[0]
    stop = frames.HEAD.size + 8 * count + length
    buffers = [Buffer(garbage[stop:]), *[Buffer(b"")] * (count - 1)]
    head, (behind,) = Sealer(key).seal(garbage[:stop], buffers)
    parts = [head]
    while taken := behind.take(1000):
        parts.extend(bytes(view) for view in taken)
    return b"".join(parts)


packed = st.sampled_from(
    [
        frames.pack([m.DropData(["k"])])[0],
        frames.pack([m.Hello("worker", "w")])[0],
        frames.pack([m.Data(1, [("k", b"\x80\x05}\x94.")])])[0],
        frames.HEAD.pack(5, 1) + (2**39).to_bytes(8, "little") + b"\x91\xc7\x00\x01\x90" + b"x" * 100,
        frames.HEAD.pack(2**33, 0) + b"x" * 100,
        handshake._HEAD.pack(handshake.MAGIC, handshake.VERSION, 3, 0) + bytes(32),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(packed))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def test_garbage_at_every_state(target: Target) -> None:
    @SETTINGS
    @given(st.integers(0, 3), st.binary(max_size=1500) | mutated() | st.lists(mutated(), max_size=4).map(b"".join))
    def check(state: int, garbage: bytes) -> None:
        before = len(target.messages)
        target.visit(state, garbage)
        if state < 2:
            assert len(target.messages) == before  # nothing is decoded for who has not passed

    check()
    assert target.errors == []
    # And the others are served.
    connection = target.run(registry.connect(target.listener.address, target.loop, Security(SECRET)))
    count = len(target.messages)
    connection.send([m.DropData(["k"])])
    target.run(asyncio.sleep(0))
    target.loop.call_soon_threadsafe(connection.close)
    assert target.ended.acquire(timeout=30)
    assert len(target.messages) == count + 1


@pytest.mark.parametrize("state", [0, 1, 2, 3])
def test_memory_and_descriptors_do_not_grow(state: int, target: Target) -> None:
    claims = [
        frames.HEAD.pack(5, 1) + (2**39).to_bytes(8, "little") + b"\x91\xc7\x00\x01\x90" + b"x" * 100,
        frames.HEAD.pack(2**32, 0) + b"x" * 100,
        b"\xff" * 5000,
    ]
    for garbage in claims:
        target.visit(state, garbage)
    gc.collect()
    process = psutil.Process()
    memory, descriptors = process.memory_info().rss, process.num_fds()
    for _ in range(30):
        for garbage in claims:
            target.visit(state, garbage)
    target.run(asyncio.sleep(0))
    gc.collect()
    assert process.memory_info().rss - memory < 50 * 2**20
    assert process.num_fds() - descriptors < 5
    assert target.errors == [] and target.messages == []
