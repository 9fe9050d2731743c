"""What a packed value would take of memory, before it is unpacked.

Covers: refusing bodies of msgpack that are small and would become large: millions of empty maps, or lists inside of
lists that each claim as many items as there are bytes. Does not cover: the number of bytes itself (``frames``).

An object of Python takes many times what it takes packed. A text of two signs takes 21 times as much, an empty map 72
times, and a list that claims a million items takes the places for all of them before the first one is read. Our own
messages have some twenty bytes for each container. So nearly all bodies pass by their length, or by a look in C at how
often the bytes occur that begin a container; only suspicious ones are walked through.
"""

from __future__ import annotations

from futures_cluster.errors import ProtocolError

#: Bytes of memory that the containers of any body may take, and that they may take for each byte of it.
FREE_BYTES = 64 * 2**20
MAX_FACTOR = 16
#: Containers inside of each other. The packer takes 511, and what has come may be passed on inside of something more.
MAX_DEPTH = 256
#: Bytes of memory for a container, and for the place of an item in it.
_CONTAINER_BYTES, _PLACE_BYTES = 72, 8

_CONTAINERS = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
_OTHERS = bytes(set(range(256)) - set(_CONTAINERS))
#: A list of up to 15 items says their number in its head; these say it in two, or four, bytes behind it.
_LIST_16, _LIST_32 = b"\xdc", b"\xdd"
_CHUNK_BYTES = 2**20
#: No body up to this length need be checked, as it cannot claim more than is free: it is full of lists that claim as
#: many items as it has bytes.
HARMLESS_BYTES = 4096

#: The lengths of values with a fixed one, by their heads; 0 for all others.
_STEPS = [1] * 0x80 + [0] * 0x20 + [1 + length for length in range(32)] + [1] * 4 + [0] * 6
_STEPS += [5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18] + [0] * 7 + [1] * 0x20
#: Of these: how many bytes say the length, and how many more belong to the head.
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
_SIZED |= {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0), 0xDC: (2, 0), 0xDD: (4, 0), 0xDE: (2, 0), 0xDF: (4, 0)}


def check(body: bytes | bytearray | memoryview) -> None:
    """Refuse a body whose containers would take too much memory.

    Raises
    ------
    ProtocolError
        With the numbers.

    Examples
    --------
    >>> check(b"\\x90" * 10**6)
    >>> check(b"\\xdd\\x00\\x0f\\x00\\x00" * 20 + bytes(10**6))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    futures_cluster.errors.ProtocolError: a body of 1000100 bytes has containers of 86 MB or more, over its limit of ...
    """
    size = len(body)
    places = containers = 0
    for start in range(0, size, _CHUNK_BYTES):  # no copy of a large body
        part = bytes(body[start : start + _CHUNK_BYTES])
        places += part.count(_LIST_16) * min(size, 0xFFFF) + part.count(_LIST_32) * size
        if size * _CONTAINER_BYTES > FREE_BYTES:
            containers += len(part.translate(None, _OTHERS))
    if places * _PLACE_BYTES + containers * _CONTAINER_BYTES > FREE_BYTES + MAX_FACTOR * size:
        _walk(body)


def _walk(raw: bytes | bytearray | memoryview) -> None:
    """Go through a body from head to head, leaving errors to the unpacker."""
    at, end, taken = 0, len(raw), 0
    limit = FREE_BYTES + MAX_FACTOR * end
    left = 1  # items that are still to come, of the present container
    levels: list[int] = []  # and of those around it
    while at < end:
        while not left:
            if not levels:
                return
            left = levels.pop()
        left -= 1
        step = _STEPS[raw[at]]
        if step:
            at += step
            continue
        length, items = _measure(raw, at)
        at += length
        if items is None:
            continue
        taken += _CONTAINER_BYTES + _PLACE_BYTES * items
        if taken > limit:
            raise ProtocolError(
                f"a body of {end} bytes has containers of {taken // 10**6} MB or more, "
                f"over its limit of {limit // 10**6} MB"
            )
        levels.append(left)
        left = items
        if len(levels) > MAX_DEPTH:
            raise ProtocolError(f"a body of {end} bytes has more than {MAX_DEPTH} containers inside of each other")


def _measure(raw: bytes | bytearray | memoryview, at: int) -> tuple[int, int | None]:
    """Return the length of a value or head, and its number of items."""
    head = raw[at]
    if head < 0xA0:
        return 1, (head & 15) * (1 if head >= 0x90 else 2)
    width, more = _SIZED[head]
    number = int.from_bytes(raw[at + 1 : at + 1 + width], "big")
    if head < 0xDC:
        return 1 + width + more + number, None
    return 1 + width, number * (1 if head <= 0xDD else 2)
