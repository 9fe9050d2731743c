"""What connections cost: setting one up, small messages, and a large array from process to process.

    python benchmarks/transports.py                 # all, some 60 seconds on two cores
    python benchmarks/transports.py --quick         # shows that all run, no more
    python benchmarks/transports.py --json out.json

Each measurement is done beside what it is compared with, in turns, and the ratio is taken within a round:

- *set-up*: ``connect`` until the connection has passed the handshake with a secret, both ends on one loop;
- *messages*: a second process sends batches of finished tasks, this one counts them; tcp and tls against unix;
- *transfer*: a second process sends an array, this one receives it into memory of its own; against a bare socket's
  ``sendall`` and ``recv_into`` of a buffer that is allocated and warm before. Fresh memory is part of what ours does.

Not covered: two machines, the scheduler, shared memory (``bench_buffers``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from futures_cluster import messages as m
from futures_cluster.wire.codec.buffers import Buffer, reserve
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.certificates import make_certificates
from futures_cluster.wire.transports.registry import Connection, Security

TASKS_A_MESSAGE = 50
_SECRET = b"a secret of forty-three characters, as made"


class Place:
    """Addresses and what is needed to listen there."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.count = 0
        files = make_certificates(os.path.join(folder, "tls"), ["127.0.0.1"])
        self.security = Security(_SECRET, files)

    def address(self, scheme: str) -> str:
        self.count += 1
        return f"unix://{self.folder}/{self.count}" if scheme == "unix" else f"{scheme}://127.0.0.1:0"


# ---------------------------------------------------------------- set-up


async def measure_setup(place: Place, scheme: str, count: int) -> float:
    """Milliseconds a connection."""
    loop = asyncio.get_running_loop()
    accepted: list[Connection] = []
    listener = await registry.listen(place.address(scheme), loop, place.security, accepted.append)
    connections = [await registry.connect(listener.address, loop, place.security)]
    begin = time.perf_counter()
    for _ in range(count):
        connections.append(await registry.connect(listener.address, loop, place.security))
    taken_s = time.perf_counter() - begin
    while len(accepted) < len(connections):
        await asyncio.sleep(0.001)
    for one in [*connections, *accepted, listener]:
        one.close()
    return taken_s / count * 1000


# ---------------------------------------------------------------- with a second process


def in_child(work: Callable[[], None]) -> int:
    """Run something in a forked process; this one waits for it by ``wait_for``."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def wait_for(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError("the second process failed")


async def _until_closed(connection: Connection) -> None:
    closed = asyncio.get_running_loop().create_future()
    connection.on_close = lambda error: closed.done() or closed.set_result(None)
    connection.start()
    await closed


async def receive_from(
    place: Place, scheme: str, send: Callable[[Connection], Any], receive: Callable[[list[m.Message]], bool]
) -> float:
    """Seconds from the first message until ``receive`` says that it was the last."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Connection] = loop.create_future()
    listener = await registry.listen(place.address(scheme), loop, place.security, accepted.set_result)
    address, security = listener.address, place.security

    def work() -> None:
        async def main() -> None:
            connection = await registry.connect(address, asyncio.get_running_loop(), security)
            go = asyncio.get_running_loop().create_future()
            connection.on_messages = go.set_result
            over = asyncio.create_task(_until_closed(connection))
            await go
            await send(connection)
            await over

        asyncio.set_event_loop(None)
        asyncio._set_running_loop(None)
        asyncio.run(main())

    pid = in_child(work)
    connection = await accepted
    done: asyncio.Future[float] = loop.create_future()

    def took(messages: list[m.Message]) -> None:
        if receive(messages) and not done.done():
            done.set_result(time.perf_counter())

    connection.on_messages = took
    connection.start()
    begin = time.perf_counter()
    connection.send([m.DropData(["go"])])
    taken_s = await done - begin
    connection.close()
    listener.close()
    wait_for(pid)
    return taken_s


async def measure_messages(place: Place, scheme: str, count: int) -> float:
    """Tasks a second."""
    finished = [(f"noop-{i:016x}", 1, b"\x80\x05N.", 4, 1e-5) for i in range(TASKS_A_MESSAGE)]
    message = m.TasksFinished("worker-1", finished)
    left = count

    async def send(connection: Connection) -> None:
        for _ in range(count):
            connection.send([message])
            while connection.pending_bytes > 2**20:
                await asyncio.sleep(0)

    def receive(messages: list[m.Message]) -> bool:
        nonlocal left
        left -= len(messages)
        return left == 0

    return count * TASKS_A_MESSAGE / await receive_from(place, scheme, send, receive)


def filled(size: int, value: int) -> memoryview:
    """Memory with something in it."""
    memory = reserve(size)
    chunk = bytes([value]) * 2**20
    for at in range(0, size, len(chunk)):
        memory[at : at + len(chunk)] = chunk[: size - at]
    return memory


def back_memory(size: int) -> None:
    """Take and give back memory, so that the next who takes it gets it from the kernel.

    In a virtual machine the kernel may have to get it from the host first, at a tenth of the speed. That takes some
    seconds after each freeing, and is not what is to be measured.
    """
    filled(size, 0).release()


async def measure_transfer(place: Place, scheme: str, size: int) -> float:
    """Bytes a second."""
    source = Buffer(filled(size, 1))
    back_memory(size)

    async def send(connection: Connection) -> None:
        connection.send([m.Data(1, [("k", (b"pickle", ("raw", [source])))])])

    def receive(messages: list[m.Message]) -> bool:
        (_, (_, (_, (buffer,)))) = messages[0].found[0]  # type: ignore[attr-defined]
        assert len(buffer) == size and buffer.view[-1] == 1
        return True

    return size / await receive_from(place, scheme, send, receive)


def measure_bare(scheme: str, size: int) -> float:
    """Bytes a second of a socket without anything."""
    source = filled(size, 1)
    if scheme == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()

    def work() -> None:
        ours.close()
        theirs.recv(1)
        theirs.sendall(source)
        theirs.recv(1)

    pid = in_child(work)
    theirs.close()
    target = filled(size, 2)
    begin = time.perf_counter()
    ours.sendall(b"x")
    got = 0
    while got < size:
        got += ours.recv_into(target[got:])
    taken_s = time.perf_counter() - begin
    ours.close()
    wait_for(pid)
    return size / taken_s


# ---------------------------------------------------------------- all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=float, default=1e9, help="bytes of the array")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.size = 2, 2e7
    connections, messages = (20, 200) if options.quick else (200, 10_000)
    size = int(options.size)
    seen: dict[str, list[float]] = {}

    def note(name: str, value: float) -> float:
        seen.setdefault(name, []).append(value)
        return value

    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        for _ in range(options.rounds):
            for scheme in ("unix", "tcp", "tls"):
                note(f"set-up, {scheme} (ms)", asyncio.run(measure_setup(place, scheme, connections)))
            unix = note("messages, unix (tasks/s)", asyncio.run(measure_messages(place, "unix", messages)))
            for scheme in ("tcp", "tls"):
                rate = note(f"messages, {scheme} (tasks/s)", asyncio.run(measure_messages(place, scheme, messages)))
                note(f"messages, {scheme} / unix", rate / unix)
            for scheme in ("unix", "tcp"):
                bare = note(f"transfer, {scheme}, bare (GB/s)", measure_bare(scheme, size) / 1e9)
                ours = note(f"transfer, {scheme} (GB/s)", asyncio.run(measure_transfer(place, scheme, size)) / 1e9)
                note(f"transfer, {scheme} / bare", ours / bare)
            ours = note("transfer, tls (GB/s)", asyncio.run(measure_transfer(place, "tls", size)) / 1e9)
    for name, values in seen.items():
        print(f"{name:34} {statistics.median(values):12,.3f}   {min(values):,.3f} .. {max(values):,.3f}")
    if options.json:
        options.json.write_text(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main()
