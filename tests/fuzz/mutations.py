"""Values that are nearly right: a seeded mutator of what msgpack packs.

Covers: plain values of any depth, and bytes. Does not cover: what the values mean. Everything follows from the
``random.Random`` that is handed in, so a failing test names its seed and its number, and can be run again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgpack

NAN, INF = float("nan"), float("inf")


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


#: What numbers, texts and containers must not be mistaken for.
ODD: tuple[Callable[[], Any], ...] = (
    *(lambda value=value: value for value in (None, True, False, 0, 1, -1, 2**31, 2**63 - 1, 2**64 - 1, -(2**63))),
    *(lambda value=value: value for value in (NAN, INF, -INF, 0.5, -0.5, 1e308, 5e-324)),
    *(lambda value=value: value for value in ("", "x", "\x00", "é\n\x1b[2J", "x" * 5000, b"", b"\x00", b"x" * 5000)),
    lambda: [],
    lambda: {},
    lambda: [[]],
    lambda: [None] * 50,
    lambda: {"": None, "x": []},
    lambda: {1: 2, NAN: b""},
    lambda: nested(20),
    lambda: nested(300),
    lambda: msgpack.ExtType(1, b""),
    lambda: msgpack.ExtType(5, b"x"),
    lambda: msgpack.Timestamp(1, 2),
)


def mutated(rng: random.Random, value: Any, times: int) -> Any:
    """A value with some changes anywhere in it."""
    holder = [_copied(value)]
    for _ in range(times):
        _change(rng, holder)
    return holder[0]


def _copied(value: Any) -> Any:
    if type(value) in (list, tuple):
        return [_copied(item) for item in value]
    if type(value) is dict:
        return {name: _copied(item) for name, item in value.items()}
    return value


def _change(rng: random.Random, holder: list[Any]) -> None:
    """Go down to some place, and change what is there."""
    container: Any = holder
    place: Any = 0
    while type(container[place]) in (list, dict) and container[place] and rng.random() < 0.8:
        container = container[place]
        place = rng.choice(list(container)) if type(container) is dict else rng.randrange(len(container))
    value = container[place]
    kind = rng.randrange(8)
    if kind == 0 and container is not holder:
        del container[place]
    elif kind == 1 and type(container) is list and container is not holder:
        container.insert(place, _copied(value))
    elif kind == 2 and type(container) is list and container is not holder:
        container.insert(place, rng.choice(ODD)())
    elif kind == 3:
        container[place] = [value]
    elif kind == 4 and type(value) is list and value:
        container[place] = value * rng.choice((0, 2, 100))
    elif kind == 5 and type(value) in (int, float):
        container[place] = rng.choice((-value, value + 1, value - 1, value * 1e9, float(value), str(value)))
    elif kind == 6 and type(value) in (str, bytes):
        container[place] = value.encode() if type(value) is str else value.decode("latin-1")
    else:
        container[place] = rng.choice(ODD)()


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes with some changes: flipped, left out, said twice, cut off."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 1:
            del changed[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3:
            changed[at:at] = changed[: rng.randrange(len(changed) + 1)]
        elif kind == 4 and rng.random() < 0.2:
            del changed[at:]
    return bytes(changed)


def in_pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """The same bytes, cut anywhere."""
    pieces = []
    while data:
        length = rng.choice((1, 3, 12, 100, len(data)))
        pieces.append(data[:length])
        data = data[length:]
    return pieces
