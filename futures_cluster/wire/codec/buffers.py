"""Large buffers on their way: beside the messages of a frame, not inside of them.

Covers: what stands for a buffer in a message (``Buffer``), and memory for those that arrive. Does not cover: how they
are cut out of a stream (``frames``), what they mean (``payloads``).

A buffer goes from where it lies to the socket, and from the socket to where it stays; a process that passes a message
on passes the buffer on, without looking at it. Memory for one that arrives is reserved when its length is known, but
the system only commits what is written to: a length that is a lie costs nothing.
"""

from __future__ import annotations

import mmap
from typing import Any

#: No frame has more buffers.
MAX_BUFFERS = 2**18
#: Memory from this size on is mapped by itself: only what is written to is taken.
MAPPED_BYTES = 2**20
#: Memory that is asked of the system at once, just before it is written to.
COMMIT_BYTES = 4 * 2**20

_ANONYMOUS = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
#: "Have the pages ready for writing"; Linux has it since 5.14, Python has no name for it.
_POPULATE_WRITE = 23


class Buffer:
    """Memory that a message holds.

    Parameters
    ----------
    data : bytes-like object
        Contiguous bytes that do not change as long as the message is under way.
    arrived : bool
        Whether it came with a message: it is writable, and belongs to whom the message was for.
    digest : bytes
        SHA-256 of the bytes, for processes that pass the buffer on unchanged; empty if not known.

    Attributes
    ----------
    memory : memoryview
        The bytes, for code that only reads them.
    """

    __slots__ = ("arrived", "digest", "memory")

    def __init__(self, data: Any, arrived: bool = False, digest: bytes = b"") -> None:
        self.memory = memoryview(data).cast("B")
        self.arrived = arrived
        self.digest = digest

    @property
    def view(self) -> memoryview:
        """The bytes, for code that may write to them: the buffer forgets its hash."""
        self.digest = b""
        return self.memory

    def __len__(self) -> int:
        return self.memory.nbytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Buffer) and self.memory == other.memory

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Buffer of {len(self)} bytes"


def reserve(size: int) -> memoryview:
    """Return memory of that size, all zeros; it is taken as it is written to.

    Raises
    ------
    OSError, MemoryError
        When there can never be as much.
    """
    if size < MAPPED_BYTES:
        return memoryview(bytearray(size))
    return memoryview(mmap.mmap(-1, size, **_ANONYMOUS))


def commit(memory: memoryview, start: int) -> int:
    """Have the next ``COMMIT_BYTES`` of what was reserved ready; where that ends.

    Pages that are asked for one by one, while a socket is read into them, cost as much as reading. All at once would
    be faster still, and would give a lie about the length what it claims. Huge pages were no gain where the system is a
    virtual machine: those are what it has given back to its host.
    """
    kept: Any = memory.obj
    end = min(start + COMMIT_BYTES, memory.nbytes)
    if isinstance(kept, mmap.mmap) and hasattr(kept, "madvise"):
        first = start - start % mmap.PAGESIZE
        try:
            kept.madvise(_POPULATE_WRITE, first, end - first)
        except OSError:
            return memory.nbytes  # the system cannot do it
    return end


def copy_of(view: memoryview) -> memoryview:
    """Return a copy in memory of its own."""
    copy, source = reserve(view.nbytes), view.cast("B")
    start = 0
    while start < copy.nbytes:
        end = commit(copy, start)
        copy[start:end] = source[start:end]
        start = end
    return copy
