"""Bytes that are nearly right, to both sides of the handshake and to the parser of frames.

Both are pure: whatever comes, they say what is wrong, and take no more memory than the bytes.
"""

from __future__ import annotations

import os
import random
import tracemalloc

import msgpack
import pytest

from futures_cluster import messages as m
from futures_cluster.errors import HandshakeError, ProtocolError
from futures_cluster.wire import frames, handshake
from futures_cluster.wire.codec.buffers import Buffer

from .mutations import in_pieces, mutated, mutated_bytes

MANY = int(os.environ.get("FUTURES_CLUSTER_TEST_FUZZ", "5000"))
each_number = pytest.mark.parametrize("number", [500, pytest.param(MANY, marks=pytest.mark.slow)])
SECRET = b"a secret of some length, for tests"


@each_number
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("knows", [True, False], ids=["with the secret", "without it"])
def test_handshakes(number: int, seed: int, knows: bool) -> None:
    rng = random.Random(f"handshake {seed}")
    for turn in range(number):
        theirs = SECRET if knows else rng.choice((None, b"another secret of some length"))
        one = handshake.Connector(theirs, rng.randbytes(handshake.NONCE_BYTES))
        two = handshake.Acceptor(SECRET, rng.randbytes(handshake.NONCE_BYTES))
        machines: list[handshake.Handshake] = [one, two]
        said, turns = one.start(), 0
        while said and turns < 20:
            turns += 1
            assert len(said) <= handshake.MAX_BYTES, (turn, seed)
            receiver = machines[turns % 2]
            data = mutated_bytes(rng, said) if rng.random() < 0.3 else said
            said = b"".join([receiver.receive(piece) for piece in in_pieces(rng, data)])
        for machine in machines:
            assert machine.error is None or isinstance(machine.error, HandshakeError)
            assert knows or not machine.done, (turn, seed)


@each_number
@pytest.mark.parametrize("seed", [1, 2])
def test_handshakes_with_strangers(number: int, seed: int) -> None:
    rng = random.Random(f"strangers {seed}")
    for turn in range(number):
        for machine in (
            handshake.Connector(SECRET, rng.randbytes(handshake.NONCE_BYTES)),
            handshake.Acceptor(SECRET, rng.randbytes(handshake.NONCE_BYTES)),
        ):
            machine.start()
            data = mutated_bytes(rng, rng.choice((b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", rng.randbytes(300))))
            for piece in in_pieces(rng, data):
                assert len(machine.receive(piece)) <= handshake.MAX_BYTES
            assert not machine.done, (turn, seed)


def some_frames() -> list[bytes]:
    batches: list[list[m.Message]] = [
        [m.Hello("client", "c")],
        [m.SubmitTasks("c", [("k", "f", b"args", ["i"])], [("f", "name", b"code")])],
        [m.TasksFinished("w", [("k", 1, b"result", 6, 0.1)]), m.DropData(["a", "b"])],
        [m.Data(1, [("k", (b"pickle", ("raw", [Buffer(b"large" * 50), Buffer(b"")])))])],
        [m.AskShared("c", 1, "channel", "x", "put", [[(b"item", 4, ())]])],
    ]
    found = []
    for batch in batches:
        head, buffers = frames.pack(batch)
        found.append(head + b"".join(buffer.memory for buffer in buffers))
    return found


@each_number
@pytest.mark.parametrize("seed", [1, 2])
def test_frames(number: int, seed: int) -> None:
    rng = random.Random(f"frames {seed}")
    whole = some_frames()
    tracemalloc.start()
    try:
        for turn in range(number):
            data = rng.choice(whole)
            rest = rng.choice(whole) + rng.choice(whole)
            kind = rng.randrange(3)
            if kind == 0:
                data = mutated_bytes(rng, data)
            elif kind == 1 and data[8:12] == bytes(4):
                body = bytearray(mutated_bytes(rng, data[frames.HEAD.size :]))
                data = frames.HEAD.pack(len(body), 0) + body
            parser = frames.FrameParser()
            try:
                for piece in in_pieces(rng, data + rest):
                    for messages in parser.feed(piece):
                        assert all(type(message) in m.WIRE_MESSAGES for message in messages)
            except ProtocolError:
                pass
            except BaseException as error:
                error.add_note(f"turn {turn} of seed {seed}")
                raise
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()


@each_number
@pytest.mark.parametrize("seed", [1, 2])
def test_bodies(number: int, seed: int) -> None:
    rng = random.Random(f"bodies {seed}")
    rows = [
        msgpack.unpackb(frame[frames.HEAD.size :], use_list=True) for frame in some_frames() if frame[8:12] == bytes(4)
    ]
    for _ in range(number):
        try:
            body = msgpack.packb(mutated(rng, rng.choice(rows), rng.randrange(1, 4)))
        except (ValueError, OverflowError):  # too deep, or too large a number, to be packed
            continue
        try:
            messages = frames.unpack(body)
        except ProtocolError:
            continue
        assert all(type(message) in m.WIRE_MESSAGES for message in messages)
