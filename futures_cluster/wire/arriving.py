"""The buffers of one frame on their way in: each into memory of its own, where it stays.

Covers: taking that memory as bytes come, and the digests of buffers that are authenticated. Does not cover: the frame
around them (``frames``), and reading from a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from futures_cluster.errors import ProtocolError
from futures_cluster.wire.codec.buffers import COMMIT_BYTES, Buffer, commit, reserve

if TYPE_CHECKING:
    from futures_cluster.wire.authenticator import Opener


class ArrivingBuffers:
    """Takes the bytes behind a frame's body.

    Parameters
    ----------
    body : bytes
        The body.
    lengths : tuple of int
        How long the buffers are.
    opener : Opener or None
        Told of all bytes; the tag of the frame then comes as if it were one more buffer.

    Attributes
    ----------
    whole : list of Buffer
        Those that have come.
    space : memoryview or None
        Where the next bytes belong; None once all have come.
    """

    __slots__ = ("_committed", "_filling", "_lengths", "_opener", "body", "space", "whole")

    def __init__(self, body: bytes, lengths: tuple[int, ...], opener: Opener | None) -> None:
        self.body = body
        self.whole: list[Buffer] = []
        self.space: memoryview | None = None
        self._lengths = lengths
        self._opener = opener
        self._filling = memoryview(b"")  # all of the memory that ``space`` is the rest of
        self._committed = 0  # how much of that is ready
        self._next()

    def take(self, data: memoryview) -> int:
        """Copy bytes to where they belong; return how many belong here."""
        taken = 0
        while self.space is not None and taken < data.nbytes:
            count = min(self.space.nbytes, data.nbytes - taken)
            self.space[:count] = data[taken : taken + count]
            taken += count
            self.advance(count)
        return taken

    def prepared_space(self) -> memoryview:
        """Return ``space``, with its beginning ready to be written to."""
        assert self.space is not None
        at = self._filling.nbytes - self.space.nbytes
        if at + COMMIT_BYTES // 2 > self._committed < self._filling.nbytes:
            self._committed = commit(self._filling, max(at, self._committed))
        return self.space

    def advance(self, count: int) -> None:
        """Take the bytes that have come into ``space``, and go to what is next."""
        assert self.space is not None
        if self._opener is not None and not self._is_at_the_tag():
            self._opener.update_buffer(self.space[:count])
        self.space = self.space[count:]
        if not self.space.nbytes:
            self._add(self._filling)
            self._next()

    def _next(self) -> None:
        """Go to the next buffer that is not empty."""
        while len(self.whole) < len(self._lengths):
            length = self._lengths[len(self.whole)]
            try:
                self._filling = reserve(length)
            except (OSError, MemoryError, OverflowError, ValueError) as error:
                raise ProtocolError(f"no memory for a buffer of {length} bytes: {error}") from None
            if length:
                self.space = self._filling
                self._committed = 0
                return
            self._add(self._filling)
        self.space = None

    def _add(self, memory: memoryview) -> None:
        """Take a buffer that is complete, or the tag behind the last one."""
        digest = b"" if self._opener is None or self._is_at_the_tag() else self._opener.end_buffer()
        self.whole.append(Buffer(memory, arrived=True, digest=digest))

    def _is_at_the_tag(self) -> bool:
        return len(self.whole) == len(self._lengths) - 1
