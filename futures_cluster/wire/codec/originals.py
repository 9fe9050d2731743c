"""Scattered data as a worker keeps it: packed, so that each task gets an object of its own.

Covers: loading a value any number of times over private mappings of the same memory, moving that memory to a file,
handing it to others. Does not cover: which keys are scattered data (``payloads.is_private``), when something goes
to disk (``services.worker.store``).

The kernel copies the pages that a task writes to, and only these. The worker moves data that came over a network to a
segment of its own when the first task takes it; where there are no segments, each task gets a copy. Large pickles cost
each task their unpickling: objects of Python itself cannot be shared and private at once.
"""

from __future__ import annotations

from typing import Any

from futures_cluster import locks
from futures_cluster.messages import Payload
from futures_cluster.wire.codec import payloads, pickling, shm
from futures_cluster.wire.codec.buffers import copy_of


class Original:
    """A value as it was scattered.

    Parameters
    ----------
    payload : Payload
        As ``payloads.as_private`` marks it; a segment must be attached. Its memory belongs to this object.
    pool : SegmentPool or None
        Where memory of this process alone is moved to.

    Examples
    --------
    >>> original = Original(payloads.as_private(payloads.dump([1, 2])))
    >>> original.load().append(3)
    >>> original.load()
    [1, 2]
    """

    __slots__ = ("_lock", "_mark", "_parts", "_pool", "_segment", "is_on_disk", "size_bytes")

    def __init__(self, payload: Payload, pool: shm.SegmentPool | None = None) -> None:
        self.size_bytes = payloads.payload_size(payload)
        self.is_on_disk = False
        self._mark = payload[2]
        self._lock = locks.Lock()
        self._pool = pool
        self._segment: shm.OpenSegment | None = None
        self._parts: list[Any] = []  # the pickle and the large buffers, as long as there is no segment
        if payload[1][0] == "segment":
            self._segment = payload[1][1]
        else:
            data, buffers = payloads.parts_in_memory(payload)  # type: ignore[misc]  # neither mapped nor elsewhere
            self._parts = [data, *buffers]

    @property
    def is_kept(self) -> bool:
        """Whether the memory is its client's, which keeps it whatever this process does."""
        return bool(self._mark == payloads.KEPT)

    @property
    def segment_bytes(self) -> int:
        """What this process holds in a segment, mapped or not."""
        return 0 if self._segment is None or self.is_on_disk or self.is_kept else self.size_bytes

    def load(self) -> Any:
        """Return a new object, of which the caller may change everything.

        Raises
        ------
        Exception
            Whatever unpickling raises; ``OSError`` when there is no memory for a mapping.
        """
        segment = self._in_segment()
        if segment is not None:
            data, *buffers = segment.map()
        else:
            data, *buffers = self._parts
            buffers = [copy_of(memoryview(buffer)) for buffer in buffers]
        return pickling.loads(data, buffers)

    def _in_segment(self) -> shm.OpenSegment | None:
        """Return the segment, moved from private memory if large, or None."""
        if self._segment is None and self._pool is not None and self.size_bytes >= payloads.SHARED_BYTES:
            with self._lock:  # others wait: they need the parts, or the segment
                if self._pool is not None:
                    self._move(self._pool)
                    self._pool = None
        return self._segment

    def _move(self, pool: shm.SegmentPool) -> None:
        try:
            reference = pool.write(self._parts)
        except OSError:
            return  # no descriptor or no memory for a segment
        try:
            self._segment = shm.OpenSegment.find(reference)
            self._parts = []
        except OSError:
            pass
        finally:
            pool.discard(reference[5])  # the memory lives as long as the descriptor that we have opened

    def _views(self) -> list[Any]:
        """Return the pickle and the large buffers where they lie; not to be written to."""
        segment = self._in_segment()
        return self._parts if segment is None else segment.map()

    def dump(self, pool: shm.SegmentPool | None, codec: str | None = None) -> Payload:
        """Return a payload for others; with a pool, for processes of this machine.

        See ``payloads.pack_large``. The pool wants a shared segment back (``SegmentPool.release``).
        """
        segment = self._in_segment()
        if pool is not None and segment is not None:
            try:
                return (None, pool.lend(segment), self._mark)
            except OSError:
                pass  # no descriptor left: through the socket then
        data, *large = self._views()
        if len(data) < pickling.OUT_OF_BAND_BYTES:
            data = bytes(data)
        return payloads.as_private(payloads.pack_large([data, *large], None, codec=codec))

    def spilled(self, folder: str | None = None) -> Original:
        """Return the same in a nameless file, in this or the temporary folder.

        Raises
        ------
        OSError
            When there is no room on the disk.
        """
        segment = shm.OpenSegment.write_file(self._views(), folder)
        original = Original((None, ("segment", segment), self._mark))
        original.is_on_disk = True
        return original
