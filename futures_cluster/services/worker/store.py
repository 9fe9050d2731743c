"""The results that a worker holds, in memory as long as they fit, else on disk.

Covers: values by key, as objects that were made here, or as payloads (of values that came from elsewhere, and of
results that were pickled when their tasks ended) which are unpickled when a task first uses them, or each time
(scattered data, ``wire.codec.originals``); writing the least recently used ones to disk when together they take more
than ``limit_bytes``.
Does not cover: which results are held (``worker.replicas``), and memory that is not results (``memory``).

Writing happens in a thread of its own, never on the event loop; reading in the thread that asks. A spill file has no
name: it is unlinked when it is opened, so nothing is left behind however the process ends.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, BinaryIO

from futures_cluster import clocks
from futures_cluster.messages import Key, Payload
from futures_cluster.wire.codec import payloads, pickling, shm
from futures_cluster.wire.codec.originals import Original
from futures_cluster.wire.codec.sizeof import sizeof

#: Whoever adds a result waits while those in memory take more than this multiple of the limit.
BACKPRESSURE_RATIO = 1.1
#: Smaller results stay in memory: a file for each would cost more than it frees.
MIN_SPILLED_BYTES = 64 * 1024


class _Packed:
    """A payload that no task has used yet."""

    __slots__ = ("payload",)

    def __init__(self, payload: Payload) -> None:
        self.payload = payload


class _Failed:
    """Stands for a value that its holder could not pickle: its users get the holder's error."""

    __slots__ = ("error",)

    def __init__(self, error: Payload) -> None:
        self.error = error


class _Spilled:
    """A value in a file without a name: the pickle, then its large buffers."""

    __slots__ = ("file", "lengths", "size_bytes")

    def __init__(self, value: Any, folder: str | None) -> None:
        packed = payloads.parts_in_memory(value.payload) if type(value) is _Packed else None
        data, buffers = packed or pickling.dumps_apart(pickling.hand_over(value))
        self.lengths = [memoryview(data).nbytes, *(buffer.nbytes for buffer in buffers)]
        self.size_bytes = sum(self.lengths)
        self.file: BinaryIO = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115  # closed with the value
        parts: list[Any] = [data, *buffers]
        for part in parts:
            view = memoryview(part).cast("B")
            while view.nbytes:
                view = view[os.write(self.file.fileno(), view) :]

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()  # quietly; nobody else has it

    def parts(self) -> list[Any]:
        """Return the pickle and its large buffers, as ``payloads.dumps_large`` does."""
        parts, offset = [], 0
        for length in self.lengths:
            parts.append(self._read(length, offset))
            offset += length
        return parts

    def load(self) -> Any:
        data, *buffers = self.parts()
        return pickling.loads(data, buffers)

    def _read(self, length: int, offset: int) -> bytearray:
        buffer = bytearray(length)
        view = memoryview(buffer)
        while view.nbytes:
            count = os.preadv(self.file.fileno(), [view], offset)
            if not count:
                raise OSError("a spill file is shorter than what was written to it")
            view = view[count:]
            offset += count
        return buffer


def _on_disk_bytes(value: Any) -> int:
    kind = type(value)
    is_on_disk = kind is _Spilled or (kind is Original and value.is_on_disk)
    return int(value.size_bytes) if is_on_disk else 0


class Store:
    """Values by key; each method is safe in any thread.

    Parameters
    ----------
    load : callable
        From a payload to its object.
    load_error : callable
        From a payload to its exception.
    limit_bytes : int or None
        What this process may take before values go to disk; None for no limit.
    resident : callable
        What it takes, in bytes: values, and all else (modules, what tasks use while they run).
    trim : callable
        Called after a value was written, to give its memory back to the system.
    pool : SegmentPool or None
        For scattered data that came over a network.
    """

    def __init__(
        self,
        load: Callable[[Payload], Any],
        load_error: Callable[[Payload], BaseException],
        limit_bytes: int | None = None,
        resident: Callable[[], int] = lambda: 0,
        trim: Callable[[], None] = lambda: None,
        pool: shm.SegmentPool | None = None,
    ) -> None:
        self._load = load
        self._load_error = load_error
        self.limit_bytes = limit_bytes
        self._resident = resident
        self._trim = trim
        self._pool = pool
        self.folder: str | None = None  # for values on disk; None: the place for temporary files
        self._room_bytes = limit_bytes or 0  # what of the limit is left for values, when last looked at
        self._values: dict[Key, Any] = {}
        self._originals: dict[Key, Original] = {}  # those among the values
        self._sizes: dict[Key, int] = {}  # of values in memory, least recently used first
        self._pinned: set[Key] = set()  # did not pickle: stay in memory
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._spilled = threading.Condition(self._lock)
        self.memory_bytes = 0
        self.spilled_count = 0  # so far
        self.on_disk_bytes = 0  # now
        self.spilling_bytes = 0  # of the value that is being written
        self._is_exhausted = False  # of what is in memory, nothing can be spilled
        self.on_spill: Callable[[Key, int, float], None] = lambda key, size_bytes, duration_s: None

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def put(self, key: Key, value: Any, pickled: bytes | None = None) -> None:
        """Hold a result of this worker.

        This waits for the disk while there is far too much in memory. ``pickled``: its pickle, if the task's end has
        made one. It is held in the place of the object, which takes several times as much, and which no task may ever
        use.
        """
        if pickled is not None:
            self._put(key, _Packed(pickled), len(pickled))
        else:
            self._put(key, value, sizeof(value) if self.limit_bytes is not None else 0)
        if self.limit_bytes is not None and self.memory_bytes > self._room_bytes * BACKPRESSURE_RATIO:
            with self._spilled:
                while self._thread is not None and self.memory_bytes > self._room_bytes * BACKPRESSURE_RATIO:
                    self._spilled.wait()

    def put_packed(self, key: Key, payload: Payload) -> None:
        """Hold a payload until its value is asked for, or as scattered data."""
        size = payloads.payload_size(payload) if self.limit_bytes is not None else 0
        if payloads.is_private(payload):
            original = Original(payload, self._pool)
            self._put(key, original, 0 if original.is_kept else size)
        else:
            self._put(key, _Packed(payload), size)

    def put_error(self, key: Key, error: Payload) -> None:
        """Hold an error in the place of a value."""
        self._put(key, _Failed(error), 0)

    def _put(self, key: Key, value: Any, size: int) -> None:
        with self._lock:
            self.memory_bytes += size - self._sizes.pop(key, 0)
            self._sizes[key] = size
            self._is_exhausted &= size < MIN_SPILLED_BYTES
            self._leave_disk(self._values.get(key))
            self._set(key, value)
            if self.limit_bytes is None:
                return
            if size >= MIN_SPILLED_BYTES:
                self._look_at_room()
            full = self.memory_bytes > self._room_bytes
        if full:
            self.spill_soon()

    def _set(self, key: Key, value: Any) -> None:
        """Set an entry; under the lock."""
        self._values[key] = value
        if type(value) is Original:
            self._originals[key] = value
        elif self._originals:
            self._originals.pop(key, None)

    def held_segments_bytes(self) -> int:
        """Return the bytes of segments that this process holds, mapped or not."""
        return sum(original.segment_bytes for original in list(self._originals.values()))

    def original(self, key: Key) -> Original | None:
        """Return scattered data as it is kept; None for any other key."""
        return self._originals.get(key)

    def _look_at_room(self) -> None:
        """Compute the room for values: what the rest of the process leaves."""
        assert self.limit_bytes is not None
        others = max(0, self._resident() - self.memory_bytes)
        self._room_bytes = max(self.limit_bytes - others, self.limit_bytes // 8)

    def get(self, key: Key) -> Any:
        """Return the value; of scattered data a new object each time.

        Raises
        ------
        KeyError
            When it is not held.
        Exception
            Whatever unpickling raises, or what its holder raised when it was to pickle it.
        """
        value = self._values[key]
        kind = type(value)
        if kind is _Failed:
            raise self._load_error(value.error)
        if kind is _Spilled:
            return self._read_back(key, value)
        if kind is _Packed:
            loaded = self._load(value.payload)
            with self._lock:
                present = self._values.get(key)
                if present is value:
                    self._values[key] = loaded
                    self._is_exhausted = False
                elif present is not None and type(present) not in (_Packed, _Spilled, _Failed):
                    return present  # another thread was faster: all share one object
            return loaded
        if self.limit_bytes is not None:
            with self._lock:
                if key in self._sizes:
                    self._sizes[key] = self._sizes.pop(key)  # the most recently used
        return value.load() if kind is Original else value

    def parts(self, key: Key) -> list[Any] | None:
        """Return the pickle and the large buffers of a value that is held as such.

        That is in memory or on disk; None for any other value. So a worker sends the value without making the object,
        which takes time and memory.
        """
        value = self._values.get(key)
        if type(value) is _Packed:
            packed = payloads.parts_in_memory(value.payload)
            return None if packed is None else [packed[0], *packed[1]]
        if type(value) is not _Spilled:
            return None
        data, *large = value.parts()
        small = len(data) < pickling.OUT_OF_BAND_BYTES
        return [bytes(data) if small else data, *(memoryview(buffer) for buffer in large)]

    def _read_back(self, key: Key, spilled: _Spilled) -> Any:
        """Return the value of a file; it goes back into memory if there is room."""
        with self._lock:
            self._look_at_room()  # before: while it loads the value is nobody's, and would count twice
        value = spilled.load()
        size = spilled.size_bytes
        with self._lock:
            room = self.limit_bytes is not None and self.memory_bytes + size <= self._room_bytes
            if room and self._values.get(key) is spilled:
                self._values[key] = value
                self._sizes[key] = size
                self._is_exhausted = False
                self.memory_bytes += size
                self._leave_disk(spilled)
        return value

    def drop(self, keys: Iterable[Key]) -> None:
        """Let go of values."""
        with self._lock:
            for key in keys:
                self._leave_disk(self._values.pop(key, None))
                self._originals.pop(key, None)
                self.memory_bytes -= self._sizes.pop(key, 0)
                self._pinned.discard(key)

    def _leave_disk(self, value: Any) -> None:
        """Remove the file of a value that is no longer on disk."""
        self.on_disk_bytes -= _on_disk_bytes(value)

    def spilled_keys(self, most: int) -> list[tuple[Key, int]]:
        """Return keys of values on disk, and their sizes."""
        if not self.on_disk_bytes:
            return []
        with self._lock:
            found = ((key, size) for key, value in self._values.items() if (size := _on_disk_bytes(value)))
            return list(islice(found, most))

    # ---------------------------------------------------------------- spilling

    def spill_if_full(self) -> None:
        """Spill if the values take more than the rest of the process leaves."""
        with self._lock:
            if self._is_exhausted or not self.memory_bytes:
                return
            self._look_at_room()
            full = self.memory_bytes > self._room_bytes
        if full:
            self.spill_soon()

    def spill_soon(self) -> None:
        """Bring what is in memory under the limit, in the thread for that."""
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._spill, name="futures_cluster-spill", daemon=True)
            self._thread.start()

    def _spill(self) -> None:
        while True:
            with self._lock:
                found = self._next_victim()
                self.spilling_bytes = 0 if found is None else self._sizes[found[0]]  # until it is out of memory
                if found is None:
                    self._thread = None
                    self._spilled.notify_all()
                    return
                key, value = found
            start = clocks.perf_counter()
            try:
                spilled = value.spilled(self.folder) if type(value) is Original else _Spilled(value, self.folder)
            except Exception:
                with self._lock:
                    self._pinned.add(key)
                continue
            with self._lock:
                if self._values.get(key) is value:
                    self._set(key, spilled)
                    self.memory_bytes -= self._sizes.pop(key, 0)
                    self.spilled_count += 1
                    self.on_disk_bytes += spilled.size_bytes
                    self._spilled.notify_all()
            self.on_spill(key, spilled.size_bytes, clocks.perf_counter() - start)
            del value, spilled, found
            self._trim()

    def _next_victim(self) -> tuple[Key, Any] | None:
        if self.limit_bytes is None:
            return None
        self._look_at_room()
        if self.memory_bytes <= self._room_bytes:
            return None
        for key, size in self._sizes.items():
            if size >= MIN_SPILLED_BYTES and key not in self._pinned:
                value = self._values[key]
                if type(value) is _Packed and payloads.parts_in_memory(value.payload) is None:
                    continue  # in shared memory: it is another process's, and costs this one nothing
                return key, value
        self._is_exhausted = True
        return None
