"""The tags that authenticate frames on a connection: no frame can be changed, added, cut off, repeated or reordered.

Pure, over bytes. A session is one connection between two peers that know the same secret; ``handshake`` derives one
key for each direction from the secret and both nonces, so a tag is worth nothing on another connection or in the other
direction. The number of the frame is part of its tags, and is counted on both sides, never sent.

    tag (16 bytes) | body's length, number of buffers | body | tag
    tag (16 bytes) | body's length, number of buffers | the buffers' lengths | tag | body | the buffers | tag

Each tag covers the frame's number and all that comes before the next tag: lengths are checked before the receiver
believes them, and all of the frame before anything is decoded. Tags are keyed BLAKE2b, the fastest for small frames.
Each buffer goes into the last one by its SHA-256, which processors with instructions for it compute twice as fast. The
scheduler, which passes buffers on without handing out their memory, does not hash them again (``Buffer.digest``).
Nothing is encrypted: that is the task of TLS.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from futures_cluster.errors import AuthenticationError
from futures_cluster.wire.codec.buffers import Buffer

TAG_BYTES = 16
#: Length of the part of a frame that has a tag of its own, see ``frames.HEAD``.
HEAD_BYTES = 12
#: Number of buffers that one call of ``SealedBuffers.take`` returns at most.
_MAX_VIEWS = 48
_EMPTY = hashlib.sha256().digest()


class SealedBuffers:
    """The buffers of a frame on their way, and the tag behind them; hashed as they are taken.

    Attributes
    ----------
    nbytes : int
        Number of bytes that are left to take.
    """

    __slots__ = ("_buffers", "_hash", "_mac", "_rest", "nbytes")

    def __init__(self, mac: Any, buffers: Sequence[Buffer]) -> None:
        self._mac = mac
        self._buffers = list(reversed(buffers))  # the next one last
        self._rest: memoryview | None = None  # of the one that is under way
        self._hash: Any = None  # of the same, if it is not known
        self.nbytes: int = sum(map(len, buffers)) + TAG_BYTES

    def take(self, most_bytes: int) -> list[memoryview]:
        """Hash and return up to ``most_bytes``; the tag comes last and alone."""
        taken: list[memoryview] = []
        left = most_bytes
        while left and len(taken) < _MAX_VIEWS and self._buffers:
            if self._rest is None:
                self._rest = self._buffers[-1].memory
                self._hash = None if self._buffers[-1].digest else hashlib.sha256()
            view, self._rest = self._rest[:left], self._rest[left:]
            if self._hash is not None:
                self._hash.update(view)
            if not self._rest.nbytes:
                known = self._buffers.pop().digest
                self._mac.update(known if self._hash is None else self._hash.digest())
                self._rest = None
            if view.nbytes:
                taken.append(view)
                left -= view.nbytes
        if not taken and self.nbytes:
            taken.append(memoryview(self._mac.digest()))
        self.nbytes -= sum(view.nbytes for view in taken)
        return taken


class Sealer:
    """Makes the tags of the frames that one side sends; frames must be sealed in the order in which they are sent."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(key=key, digest_size=TAG_BYTES)
        self._number = 0

    def seal(self, frame: bytes, buffers: Sequence[Buffer]) -> tuple[bytes, Sequence[SealedBuffers]]:
        """Return the bytes to send of a packed frame, and those behind them."""
        mac = self._keyed.copy()
        mac.update(self._number.to_bytes(8, "little") + frame[:HEAD_BYTES])
        self._number += 1
        head_tag = mac.digest()
        body = memoryview(frame)[HEAD_BYTES:]  # no copy of a large one
        if not buffers:
            mac.update(body)
            return b"".join((head_tag, frame, mac.digest())), ()
        table, body = body[: 8 * len(buffers)], body[8 * len(buffers) :]
        mac.update(table)
        table_tag = mac.digest()
        mac.update(body)
        sealed = b"".join((head_tag, frame[:HEAD_BYTES], table, table_tag, body))
        return sealed, (SealedBuffers(mac, buffers),)


class Opener:
    """Checks the tags of the frames that one side receives.

    For each frame ``check_head``, ``update_body`` and ``check_end``. If the head announces buffers, ``check_table``
    comes after the head, and for each of them ``update_buffer`` with all its bytes and ``end_buffer`` before the end.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(key=key, digest_size=TAG_BYTES)
        self._number = 0
        self._mac: Any = None
        self._hash: Any = None  # of the buffer that is under way

    def check_head(self, tag: bytes | bytearray, head: bytes | bytearray) -> None:
        """Begin a frame.

        Raises
        ------
        AuthenticationError
            If the peer did not send this head now.
        """
        self._mac = mac = self._keyed.copy()
        mac.update(self._number.to_bytes(8, "little") + head)
        self._check(tag)

    def check_table(self, table: bytes | bytearray, tag: bytes | bytearray) -> None:
        """Check the lengths of the buffers; raises as ``check_head`` does."""
        self._mac.update(table)
        self._check(tag)

    def update_body(self, data: bytes | memoryview) -> None:
        """Add the body."""
        self._mac.update(data)

    def update_buffer(self, data: memoryview) -> None:
        """Add the next bytes of a buffer."""
        if self._hash is None:
            self._hash = hashlib.sha256()
        self._hash.update(data)

    def end_buffer(self) -> bytes:
        """Complete a buffer; its hash."""
        digest = _EMPTY if self._hash is None else bytes(self._hash.digest())
        self._hash = None
        self._mac.update(digest)
        return digest

    def check_end(self, tag: bytes | bytearray | memoryview) -> None:
        """End the frame.

        Raises
        ------
        AuthenticationError
            If the peer did not send this frame.
        """
        self._check(tag)
        self._number += 1

    def _check(self, tag: bytes | bytearray | memoryview) -> None:
        if not hmac.compare_digest(self._mac.digest(), tag):
            raise AuthenticationError(
                f"frame {self._number} of the connection has a wrong authentication tag: a third party changed, added, "
                "removed or repeated bytes on the way; the connection was closed, and nothing of the frame was used"
            )
