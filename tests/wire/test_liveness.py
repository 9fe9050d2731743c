"""A peer that is only busy keeps its connection, however long, while data waits for it.

What a host that is unplugged looks like is in ``cluster/test_hosts``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire.transports import liveness, registry, tcp
from futures_cluster.wire.transports.liveness import Acknowledgements, TcpConnection
from futures_cluster.wire.transports.registry import Security

SECRET = Security(b"a secret of some length, for tests")
#: Longer than the half second in which a kernel answers no second probe.
GONE_S = 1.5
FRAMES, FRAME_BYTES = 400, 100_000

#: Connects, says that it is ready, and reads all.
READER = f"""
import asyncio, sys
from futures_cluster.messages import DropData
from futures_cluster.wire.transports import registry as transports

async def main():
    loop = asyncio.get_running_loop()
    connection = await transports.connect(sys.argv[1], loop, transports.Security({SECRET.secret!r}))
    all_came, lengths = loop.create_future(), []

    def received(messages):
        lengths.extend(len(key) for message in messages for key in message.keys)
        if len(lengths) == {FRAMES}:
            all_came.set_result(None)

    connection.on_messages = received
    connection.on_close = lambda error: all_came.set_exception(error or EOFError())
    connection.start()
    connection.send([DropData(["ready"])])
    await all_came
    print(sum(lengths))
    connection.close()

asyncio.run(main())
"""


class Site:
    """A listener, the first connection to it, and how that ended."""

    def __init__(self) -> None:
        self.thread = LoopThread("test-loop")
        self.thread.start()
        self.loop = self.thread.loop
        self.connection: Any = None
        self.ready = threading.Event()
        self.enough = threading.Event()
        self.ended: list[BaseException | None] = []
        self.listener = self.run(registry.listen("tcp://127.0.0.1:0", self.loop, SECRET, self._take))

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def _take(self, connection: Any) -> None:
        self.connection = connection
        connection.on_messages = lambda messages: self.ready.set()
        connection.on_close = self._over
        connection.start()

    def _over(self, error: BaseException | None) -> None:
        self.ended.append(error)
        self.enough.set()

    def close(self) -> None:
        async def close() -> None:
            self.listener.close()
            if self.connection is not None:
                self.connection.close()

        self.run(close())
        self.thread.stop()
        self.thread.thread.join()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("KEEPALIVE_IDLE_S", "KEEPALIVE_INTERVAL_S", "KEEPALIVE_COUNT"):
        monkeypatch.setattr(tcp, name, 1)
    monkeypatch.setattr(liveness, "GONE_S", GONE_S)
    site = Site()
    yield site
    site.close()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="needs Linux's TCP_INFO")
def test_a_stopped_process_keeps_its_connection(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its window is closed, and its kernel says so at each probe."""
    closed = threading.Event()
    questions = 0
    ask = TcpConnection._ask

    def counted(connection: TcpConnection) -> None:
        nonlocal questions
        ask(connection)
        if closed.is_set():
            questions += 1
            if questions > 4 * liveness.QUESTIONS:  # for four times as long as a host may be gone
                site.enough.set()

    monkeypatch.setattr(TcpConnection, "_ask", counted)
    command = [sys.executable, "-c", READER, site.listener.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert site.ready.wait(30)
            os.kill(reader.pid, signal.SIGSTOP)
            for _ in range(FRAMES):
                site.connection.send([m.DropData(["x" * FRAME_BYTES])])
            closed.set()
            assert site.enough.wait(60)
            assert site.ended == [] and site.connection.pending_bytes
            os.kill(reader.pid, signal.SIGCONT)
            assert reader.communicate(timeout=60)[0] == f"{FRAMES * FRAME_BYTES}\n"
        finally:
            reader.kill()


def test_what_counts_as_gone() -> None:
    heard = Acknowledgements(gone_s=90.0)
    assert not heard.is_gone(0.0, 0, 1000.0)  # nothing is under way
    assert not heard.is_gone(100.0, 1, 0.1)
    assert not heard.is_gone(150.0, 0, 0.1)  # it was acknowledged
    assert not heard.is_gone(200.0, 1, 50.1)  # the first question that is unanswered
    assert not heard.is_gone(280.0, 4, 130.1)
    assert heard.is_gone(291.0, 5, 141.1)


def test_probes_that_are_answered_between_two_questions() -> None:
    """The kernel asks a closed window every two minutes at last; each answer begins the time anew."""
    heard = Acknowledgements(gone_s=90.0)
    for now in range(0, 2000, 10):
        since_answer = now % 120
        assert not heard.is_gone(float(now), since_answer == 110, float(since_answer))


def test_this_process_was_stopped_itself() -> None:
    """Between two questions lies a long time; what the kernel says then is true."""
    heard = Acknowledgements(gone_s=90.0)
    assert not heard.is_gone(0.0, 1, 5.0)
    assert not heard.is_gone(500.0, 1, 3.0)
    assert heard.is_gone(600.0, 2, 103.0)
