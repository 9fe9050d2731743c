"""Bodies that are small and would become large: they are refused before they take memory."""

from __future__ import annotations

import random
import tracemalloc

import msgpack
import pytest

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.wire import frames, weight

#: Of lists with a length of two and of four bytes, claiming as many items as the body has bytes.
FILLER = bytes(20_000)
BOMBS = {
    "empty maps": b"\xdd" + (2**17).to_bytes(4, "big") + b"\x80" * 2**17,
    "maps of one": b"\xdd" + (2**17).to_bytes(4, "big") + b"\x81\x01\x01" * 2**17,
    "lists in lists": b"\xdd" + len(FILLER).to_bytes(4, "big") + (b"\xdd\x00\x00\x40\x00" * 250) + FILLER,
    "short lists in lists": b"\xdc\xff\xff" * 1000 + FILLER,
    "behind texts": (b"\x94\xa1x\xc4\x01x\xcb" + bytes(8) + b"\xdc\xff\xff") * 500 + FILLER,
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_bombs(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight, "FREE_BYTES", 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="containers"):
            frames.unpack(body)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [100, weight.HARMLESS_BYTES])
def test_what_a_short_body_can_take(length: int) -> None:
    body = (b"\xdc" + length.to_bytes(2, "big")) * (length // 3)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            frames.unpack(body)
        assert tracemalloc.get_traced_memory()[1] < weight.FREE_BYTES
    finally:
        tracemalloc.stop()


def test_our_own_messages_pass() -> None:
    rng = random.Random(1)
    rows = [(f"function-{i}", i, rng.randbytes(20), 20, 0.001) for i in range(20_000)]
    submitted = [(f"function-{i}", "f", rng.randbytes(20), [f"k-{j}" for j in range(i % 40)]) for i in range(5000)]
    for message in (
        m.TasksFinished("w", rows),
        m.TasksStarted("w", [row[:2] for row in rows]),
        m.SubmitTasks("c", submitted, [], m.TaskOptions(), 0, [row[0] for row in submitted]),
        m.Data(1, [("k", rng.randbytes(3_000_000)), ("l", b"\x80" * 3_000_000), ("m", b"\xdc" * 3_000_000)]),
        m.AskShared("c", 1, "mine", "x", "put", [[(i, {}) for i in range(100_000)]]),
    ):
        body = frames.pack([message])[0][frames.HEAD.size :]
        (found,) = frames.unpack(memoryview(body))
        assert type(found) is type(message)


@pytest.mark.parametrize("seed", range(5))
def test_the_walk_finds_each_container(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    leaves = [None, True, 1, -1, 200, -200, 70_000, -70_000, 2**40, -(2**40), 1.5, "a", "x" * 40, "y" * 300]
    leaves += ["z" * 70_000, b"q", b"q" * 300, b"q" * 70_000, *(msgpack.ExtType(3, b"x" * n) for n in (1, 2, 5, 500))]

    def value(depth: int) -> object:
        kind = rng.random()
        if depth and kind < 0.4:
            return [value(depth - 1) for _ in range(rng.choice((0, 1, 3, 20)))]
        if depth and kind < 0.5:
            return {str(number): value(depth - 1) for number in range(rng.choice((0, 1, 17)))}
        return rng.choice(leaves)

    def count(found: object) -> int:
        if isinstance(found, dict):
            return 1 + sum(map(count, found.values()))
        return 1 + sum(map(count, found)) if isinstance(found, list) else 0

    seen: list[int] = []
    measure = weight._measure

    def watched(raw: bytes, at: int) -> tuple[int, int | None]:
        length, items = measure(raw, at)
        if items is not None:
            seen.append(items)
        return length, items

    monkeypatch.setattr(weight, "_measure", watched)
    for _ in range(20):
        seen.clear()
        whole = [value(4), "the end"]
        weight._walk(msgpack.packb(whole))
        assert len(seen) == count(whole)
