"""Frames over real sockets: however little the system takes at a time, and whoever sends."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire import frames
from futures_cluster.wire.transports import sockets
from futures_cluster.wire.transports.sockets import SocketConnection


class End:
    """One side: what it got, and how it ended."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.got: list[list[m.Message]] = []
        self.reasons: list[BaseException | None] = []
        self.closed = threading.Event()
        self.enough = threading.Event()
        self.wanted = 10**9
        self.connection = SocketConnection(sock, loop, self.receive, self.close)
        loop.call_soon_threadsafe(self.connection.start)

    def receive(self, messages: list[m.Message]) -> None:
        self.got.append(messages)
        if len(self.got) >= self.wanted:
            self.enough.set()

    def close(self, error: BaseException | None) -> None:
        self.reasons.append(error)
        self.closed.set()

    def wait_for(self, count: int) -> None:
        self.wanted = count
        if len(self.got) < count:
            assert self.enough.wait(30), len(self.got)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    thread = LoopThread("test-loop")
    thread.start()
    yield thread.loop
    thread.stop()
    thread.thread.join()


Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends that take only a few kilobytes at a time."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    yield ours, theirs
    ours.close()
    theirs.close()


def on(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> Any:
    """Call on the loop's thread, and wait."""

    async def call() -> Any:
        return function(*args)

    return asyncio.run_coroutine_threadsafe(call(), loop).result(30)


def data(key: str, size: int = 10) -> m.Data:
    return m.Data(1, ((key, b"x" * size),))


def pack(batch: list[m.Message]) -> bytes:
    head, buffers = frames.pack(batch)
    return head + b"".join(buffer.memory for buffer in buffers)


def keys(batches: list[list[m.Message]]) -> list[str]:
    return [message.found[0][0] for batch in batches for message in batch]  # type: ignore[attr-defined]


@pytest.fixture
def ends(pair: Pair, loop: asyncio.AbstractEventLoop) -> Iterator[tuple[End, End]]:
    one, two = End(pair[0], loop), End(pair[1], loop)
    on(loop, lambda: None)
    yield one, two
    for end in (one, two):
        on(loop, end.connection.close)


def test_messages_go_both_ways(ends: tuple[End, End]) -> None:
    one, two = ends
    one.connection.send([data("a"), data("b")])
    two.connection.send([data("c")])
    two.wait_for(1)
    one.wait_for(1)
    assert two.got == [[m.Data(1, (("a", b"x" * 10),), (), ()), m.Data(1, (("b", b"x" * 10),), (), ())]]
    assert keys(one.got) == ["c"]


def test_a_frame_larger_than_the_socket_takes(ends: tuple[End, End]) -> None:
    one, two = ends
    sizes = [5, 3_000_000, 0, 100_000, 7]
    for number, size in enumerate(sizes):
        one.connection.send([data(str(number), size)])
    two.wait_for(len(sizes))
    assert keys(two.got) == ["0", "1", "2", "3", "4"]
    assert [len(batch[0].found[0][1]) for batch in two.got] == sizes  # type: ignore[attr-defined]
    assert one.connection.pending_bytes == 0


def test_sending_never_blocks_and_order_is_kept_while_the_peer_does_not_read(
    pair: Pair, loop: asyncio.AbstractEventLoop
) -> None:
    one = End(pair[0], loop)
    for number in range(200):
        one.connection.send([data(str(number), 1000)])
    assert one.connection.pending_bytes > 100_000
    two = End(pair[1], loop)
    two.wait_for(200)
    assert keys(two.got) == [str(number) for number in range(200)]
    on(loop, one.connection.close)
    on(loop, two.connection.close)


def test_threads_send_whole_frames(ends: tuple[End, End]) -> None:
    one, two = ends
    start = threading.Barrier(6)

    def send(mark: int) -> None:
        start.wait()
        for number in range(50):
            one.connection.send([data(f"{mark}-{number}", 10 + 997 * (number % 7))])

    threads = [threading.Thread(target=send, args=(mark,)) for mark in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    two.wait_for(300)
    got = keys(two.got)
    assert len(got) == 300
    for mark in range(6):  # those of each thread are in its order
        assert [key for key in got if key.startswith(f"{mark}-")] == [f"{mark}-{number}" for number in range(50)]


def test_bytes_that_come_one_by_one(pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    one = End(pair[0], loop)
    for byte in pack([data("a")]) + pack([data("b")]):
        pair[1].send(bytes([byte]))
    one.wait_for(2)
    assert keys(one.got) == ["a", "b"]
    on(loop, one.connection.close)


# ---------------------------------------------------------------- the end


def test_the_peer_closes(ends: tuple[End, End], loop: asyncio.AbstractEventLoop) -> None:
    one, two = ends
    one.connection.send([data("last words")])
    two.wait_for(1)
    on(loop, one.connection.close)
    assert two.closed.wait(30)
    assert two.reasons == [None]
    assert two.connection.closed
    assert one.reasons == []  # who closes is not told
    two.connection.send([data("dropped")])


def test_last_words_arrive_before_the_end(pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    pair[1].sendall(pack([data("last words")]))
    pair[1].close()
    one = End(pair[0], loop)
    assert one.closed.wait(30)
    assert keys(one.got) == ["last words"] and one.reasons == [None]


def test_closing_while_much_is_unsent(ends: tuple[End, End], loop: asyncio.AbstractEventLoop) -> None:
    one, two = ends
    stop = threading.Event()

    def send_on() -> None:
        while not stop.is_set():
            one.connection.send([data("k", 50_000)])

    threads = [threading.Thread(target=send_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    two.wait_for(3)
    on(loop, one.connection.close)
    assert two.closed.wait(30)
    stop.set()
    for thread in threads:
        thread.join()
    assert one.connection.pending_bytes == 0
    assert {len(batch[0].found[0][1]) for batch in two.got} == {50_000}  # type: ignore[attr-defined]


def test_the_peer_is_gone_while_much_is_unsent(pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    one = End(pair[0], loop)
    for _ in range(50):
        one.connection.send([data("k", 50_000)])
    pair[1].close()
    assert one.closed.wait(30)
    assert len(one.reasons) == 1
    assert one.connection.pending_bytes == 0


@pytest.mark.parametrize("garbage", [b"\xff" * 12, b"\x01" + bytes(11) + b"\xc1", b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_ends_the_connection(garbage: bytes, pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    one = End(pair[0], loop)
    pair[1].sendall(pack([data("good")]) + garbage)
    assert one.closed.wait(30)
    assert keys(one.got) == ["good"]
    assert [type(reason) for reason in one.reasons] == [ProtocolError]
    assert pair[1].recv(1) == b""


def test_a_mistake_in_a_handler_does_not_hold_up_what_follows(pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    reported: list[Any] = []
    on(loop, loop.set_exception_handler, lambda loop, context: reported.append(context))
    one = End(pair[0], loop)

    def fail_once(messages: list[m.Message]) -> None:
        End.receive(one, messages)
        if len(one.got) == 1:
            raise RuntimeError("a mistake")

    one.connection.on_messages = fail_once
    pair[1].sendall(pack([data("a")]) + pack([data("b")]))
    one.wait_for(2)
    assert keys(one.got) == ["a", "b"]
    assert [str(context["exception"]) for context in reported] == ["a mistake"]
    on(loop, one.connection.close)


def test_closing_in_a_handler_stops_the_rest(pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    one = End(pair[0], loop)
    handled = threading.Event()

    def close(messages: list[m.Message]) -> None:
        End.receive(one, messages)
        one.connection.close()
        loop.call_soon(handled.set)

    one.connection.on_messages = close
    pair[1].sendall(pack([data("a")]) + pack([data("b")]))
    assert handled.wait(30)
    assert keys(one.got) == ["a"] and one.reasons == []


def test_drain_reads_what_a_dead_peer_left(pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    """More than one read takes, while the loop does something else."""
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * sockets.READ_BYTES)
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * sockets.READ_BYTES)
    got: list[list[m.Message]] = []
    ends: list[BaseException | None] = []
    connection = SocketConnection(pair[0], loop, got.append, ends.append)
    pair[1].setblocking(False)
    sent = 0
    frame = pack([data("k", 1000)])
    while True:
        try:
            if pair[1].send(frame) < len(frame):
                break
            sent += 1
        except BlockingIOError:
            break
    pair[1].close()
    on(loop, connection.drain)
    assert len(got) == sent and ends == [None]


def test_drain_of_a_living_peer_returns(pair: Pair, loop: asyncio.AbstractEventLoop) -> None:
    got: list[list[m.Message]] = []
    connection = SocketConnection(pair[0], loop, got.append, lambda error: None)
    pair[1].sendall(pack([data("k")]))
    on(loop, connection.drain)
    assert keys(got) == ["k"] and not connection.closed
    on(loop, connection.close)
    on(loop, connection.close)
    on(loop, connection.drain)
