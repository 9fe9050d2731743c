"""Crowds at the door of a process with few descriptors: honest peers get in, and the log stays short."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from futures_cluster.errors import HandshakeError
from futures_cluster.wire import audience, handshake
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import Security
from futures_cluster.wire.transports.tcp import split_host_and_port

SECRET = Security(b"a secret")
SCRIPT = Path(__file__).with_name("crowded_listener.py")

needs_zmq = pytest.mark.skipif(importlib.util.find_spec("zmq") is None, reason="needs the package pyzmq")


class Process:
    """A listener in a process of its own."""

    def __init__(self, address: str, limit: int, *options: str) -> None:
        command = [sys.executable, str(SCRIPT), address, str(limit), *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.address = self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, question: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.communicate("end\n", timeout=60)
        assert self._process.returncode == 0

    def strangers(self, number: int) -> Iterator[socket.socket]:
        """Connections that say nothing."""
        where = split_host_and_port(self.address.partition("://")[2])
        for _ in range(number):
            yield socket.create_connection(where)


@contextlib.contextmanager
def listening(address: str, limit: int, *options: str) -> Iterator[Process]:
    process = Process(address, limit, *options)
    try:
        yield process
    finally:
        process.close()


@contextlib.contextmanager
def many_descriptors(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"no process here may have {number} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(address: str, number: int = 1, timeout_s: float = registry.TIMEOUT_S) -> None:
    """Connect, as a client or a worker does, and close."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        made = await asyncio.gather(*[registry.connect(address, loop, SECRET, timeout_s) for _ in range(number)])
        for connection in made:
            connection.close()

    asyncio.run(run())


@pytest.mark.slow
def test_three_thousand_idle_sockets() -> None:
    """More than the process may have descriptors, and than the system's queue holds."""
    with many_descriptors(4096), listening("tcp://127.0.0.1:0", 1024) as process, contextlib.ExitStack() as crowd:
        for sock in process.strangers(3000):
            crowd.enter_context(sock)
        for _ in range(3):
            connect(process.address)
        assert process.ask("peers") == "3"
        assert int(process.ask("log")) < 10


def test_a_crowd_that_speaks_our_protocol() -> None:
    """Handshakes that end after their opening."""
    with many_descriptors(1024), listening("tcp://127.0.0.1:0", 128) as process, contextlib.ExitStack() as crowd:
        for sock in process.strangers(300):
            meant = audience.of_address(crowd.enter_context(sock).getpeername())
            sock.sendall(handshake.Connector(b"x", bytes(32), audience=meant).start())
        connect(process.address)
        assert process.ask("peers") == "1"


def test_refusals_one_after_the_other_are_few_lines() -> None:
    with listening("tcp://127.0.0.1:0", 256) as process:
        for sock in process.strangers(200):
            with sock:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert sock.recv(1) == b""
        assert int(process.ask("log")) < 10


def test_many_honest_peers_at_once() -> None:
    with many_descriptors(1024), listening("tcp://127.0.0.1:0", 512) as process:
        connect(process.address, 200)
        assert process.ask("peers") == "200"


def test_a_process_without_descriptors_goes_on_when_it_has_some() -> None:
    with listening("tcp://127.0.0.1:0", 64, "eat") as process:
        for sock in process.strangers(2):
            sock.close()
        with pytest.raises(HandshakeError, match="did not answer"):
            connect(process.address, timeout_s=0.3)
        assert process.ask("log") == "1"
        assert process.ask("free") == "free"
        connect(process.address)


@needs_zmq
@pytest.mark.parametrize(("limit", "knocks"), [(1024, 250), (128, 60)])
def test_knocks_at_zeromq_that_nobody_follows(limit: int, knocks: int) -> None:
    import zmq

    with many_descriptors(2048), listening("zmq://127.0.0.1:0", limit) as process:
        context = zmq.Context()
        try:
            with contextlib.ExitStack() as crowd:
                for _ in range(knocks):
                    sock = crowd.enter_context(context.socket(zmq.REQ))
                    sock.setsockopt(zmq.LINGER, 0)
                    sock.setsockopt(zmq.RCVTIMEO, 30_000)
                    sock.setsockopt(zmq.IPV6, 1)
                    sock.connect("tcp" + process.address.removeprefix("zmq"))
                    sock.send(b"open")
                    sock.recv()  # a port, or that there is no room: never nothing
                connect(process.address)
        finally:
            context.term()
        assert process.ask("peers") == "1"
        assert int(process.ask("log")) < 10
