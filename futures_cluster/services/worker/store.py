"""The results that a worker holds, in memory as long as they fit, otherwise on disk.

Covers: values by key, as objects that were made here, or as payloads (of values that came from elsewhere, and of
results that were pickled when their tasks ended) which are unpickled when a task first uses them, or each time
(scattered data, ``wire.codec.originals``); writing the least recently used ones to disk when together they take more
than ``limit_bytes``.
Does not cover: which results are held (``worker.replicas``), and memory that is not results (``memory``).

A thread of the store writes to disk, never the event loop; the thread that asks for a value reads it. A spill file has
no name: it is unlinked when it is opened, so the system removes it however the process ends.
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
from futures_cluster.services.common.memory import occupied_bytes, trim
from futures_cluster.wire.codec import payloads, pickling, shm
from futures_cluster.wire.codec.originals import Original
from futures_cluster.wire.codec.pickle_codec import PickleCodec
from futures_cluster.wire.codec.sizeof import sizeof

#: ``put`` waits for the disk while values in memory take more than this multiple of their room.
BACKPRESSURE_RATIO = 1.1
#: Smaller results stay in memory: a file for each would cost more than it frees.
MIN_SPILLED_BYTES = 64 * 1024


class _Unloaded:
    """A payload whose value no task has used yet."""

    __slots__ = ("payload",)

    def __init__(self, payload: Payload) -> None:
        self.payload = payload


class _Failed:
    """The error of a value that its holder could not pickle: tasks that need the value get it."""

    __slots__ = ("error",)

    def __init__(self, error: Payload) -> None:
        self.error = error


class _Spilled:
    """A value in a file without a name: the pickle, then its large buffers."""

    __slots__ = ("file", "lengths", "size_bytes")

    def __init__(self, value: Any, folder: str | None) -> None:
        packed = payloads.parts_in_memory(value.payload) if type(value) is _Unloaded else None
        data, buffers = packed or pickling.dumps_apart(pickling.hand_over(value))
        self.lengths = [memoryview(data).nbytes, *(buffer.nbytes for buffer in buffers)]
        self.size_bytes = sum(self.lengths)
        self.file: BinaryIO = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115  # closed with the value
        for part in (data, *buffers):
            view = memoryview(part).cast("B")
            while view.nbytes:
                view = view[os.write(self.file.fileno(), view) :]

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()  # without a ResourceWarning

    def parts(self) -> list[bytearray]:
        """Return the pickle and its large buffers, as ``payloads.dumps_large`` does."""
        parts, offset = [], 0
        for length in self.lengths:
            buffer = bytearray(length)
            view = memoryview(buffer)
            while view.nbytes:
                count = os.preadv(self.file.fileno(), [view], offset)
                if not count:
                    raise OSError("a spill file is shorter than what was written to it")
                view = view[count:]
                offset += count
            parts.append(buffer)
        return parts

    def load(self) -> Any:
        data, *buffers = self.parts()
        return pickling.loads(data, buffers)


def _on_disk_bytes(value: Any) -> int:
    kind = type(value)
    is_on_disk = kind is _Spilled or (kind is Original and value.is_on_disk)
    return int(value.size_bytes) if is_on_disk else 0


class Store:
    """Values by key; all methods are thread-safe.

    Parameters
    ----------
    codec : PickleCodec
        Codec of values and errors.
    limit_bytes : int or None
        Memory that this process may take before values are spilled; None for no limit.
    pool : SegmentPool or None
        Segments for scattered data that came over a network.

    Attributes
    ----------
    folder : str or None
        Folder of spill files; None for that of temporary files.
    memory_bytes : int
        Size of the values in memory.
    spilled_count : int
        Number of spills so far.
    on_disk_bytes : int
        Size of the values on disk.
    spilling_bytes : int
        Size of the value that is being written.
    on_spill : callable
        ``on_spill(key, size_bytes, duration_s)`` is called after each spill.
    """

    def __init__(self, codec: PickleCodec, limit_bytes: int | None = None, pool: shm.SegmentPool | None = None) -> None:
        self._codec = codec
        self.limit_bytes = limit_bytes
        self._pool = pool
        self.folder: str | None = None
        self._room_bytes = limit_bytes or 0  # what the rest of the process leaves of the limit (``_update_room``)
        self._values: dict[Key, Any] = {}
        self._originals: dict[Key, Original] = {}  # the scattered data among the values
        self._sizes: dict[Key, int] = {}  # of values in memory, least recently used first
        self._unpicklable: set[Key] = set()  # stay in memory
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._freed = threading.Condition(self._lock)
        self.memory_bytes = 0
        self.spilled_count = 0
        self.on_disk_bytes = 0
        self.spilling_bytes = 0
        self._is_exhausted = False  # no value in memory can be spilled
        self.on_spill: Callable[[Key, int, float], None] = lambda key, size_bytes, duration_s: None

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: Key, value: Any, pickled: bytes | None = None) -> None:
        """Hold a result of this worker.

        This waits for the disk while there is far too much in memory. ``pickled``: its pickle, if the task's end has
        made one. It is held in the place of the object, which takes several times as much, and which no task may ever
        use.
        """
        if pickled is not None:
            self.put_payload(key, pickled)
        else:
            self._put(key, value, sizeof(value) if self.limit_bytes is not None else 0)
        if self.limit_bytes is not None and self.memory_bytes > self._room_bytes * BACKPRESSURE_RATIO:
            with self._freed:
                while self._thread is not None and self.memory_bytes > self._room_bytes * BACKPRESSURE_RATIO:
                    self._freed.wait()

    def put_payload(self, key: Key, payload: Payload) -> None:
        """Hold a payload: until a task uses its value, or as scattered data."""
        size = payloads.payload_size(payload) if self.limit_bytes is not None else 0
        if payloads.is_private(payload):
            original = Original(payload, self._pool)
            self._put(key, original, 0 if original.is_kept else size)
        else:
            self._put(key, _Unloaded(payload), size)

    def put_error(self, key: Key, error: Payload) -> None:
        """Hold an error in the place of a value."""
        self._put(key, _Failed(error), 0)

    def _put(self, key: Key, value: Any, size: int) -> None:
        with self._lock:
            self._count(key, size)
            self._is_exhausted &= size < MIN_SPILLED_BYTES
            self.on_disk_bytes -= _on_disk_bytes(self._values.get(key))
            self._set(key, value)
            if self.limit_bytes is not None:
                if size >= MIN_SPILLED_BYTES:
                    self._update_room()
                self._spill_soon()

    def _count(self, key: Key, size: int) -> None:
        """Count a value that is in memory now, or has another size; under the lock."""
        self.memory_bytes += size - self._sizes.pop(key, 0)
        self._sizes[key] = size

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
        """Return the original of scattered data; None for any other key."""
        return self._originals.get(key)

    def _update_room(self) -> None:
        """Compute the room for values: what the rest of the process leaves of the limit."""
        assert self.limit_bytes is not None
        others = max(0, self._resident() - self.memory_bytes)
        self._room_bytes = max(self.limit_bytes - others, self.limit_bytes // 8)

    def _resident(self) -> int:
        """Return what the process takes, for values and all else.

        That is modules and running tasks, too.
        """
        return occupied_bytes(self.held_segments_bytes())

    def get(self, key: Key) -> Any:
        """Return the value; of scattered data a new object each time.

        Raises
        ------
        KeyError
            If the worker does not hold it.
        Exception
            What unpickling raises here, or what pickling raised on its holder.
        """
        value = self._values[key]
        kind = type(value)
        if kind is _Failed:
            raise self._codec.load_error(value.error)
        if kind is _Spilled:
            return self._read_back(key, value)
        if kind is _Unloaded:
            loaded = self._codec.load(value.payload)
            with self._lock:
                present = self._values.get(key)
                if present is value:
                    self._values[key] = loaded
                    if self.limit_bytes is not None:  # an object takes more than its pickle
                        self._count(key, sizeof(loaded))
                    self._is_exhausted = False
                elif present is not None and type(present) not in (_Unloaded, _Spilled, _Failed):
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
        which takes time and memory, and may import modules while a task does: two threads can fail at that.
        """
        value = self._values.get(key)
        large: Iterable[Any]
        if type(value) is _Unloaded and (packed := payloads.parts_in_memory(value.payload, mapped=True)) is not None:
            data, large = packed
        elif type(value) is _Spilled:
            data, *large = value.parts()
        else:
            return None
        small = len(data) < pickling.OUT_OF_BAND_BYTES
        return [bytes(data) if small else data, *(memoryview(buffer) for buffer in large)]

    def _read_back(self, key: Key, spilled: _Spilled) -> Any:
        """Return the value of a file; keep it in memory if there is room."""
        with self._lock:
            self._update_room()  # now: while it loads, the value would count as memory of the rest of the process
        value = spilled.load()
        size = spilled.size_bytes
        with self._lock:
            room = self.limit_bytes is not None and self.memory_bytes + size <= self._room_bytes
            if room and self._values.get(key) is spilled:
                self._values[key] = value
                self._count(key, size)
                self._is_exhausted = False
                self.on_disk_bytes -= size
        return value

    def drop(self, keys: Iterable[Key]) -> None:
        """Drop values."""
        with self._lock:
            for key in keys:
                self.on_disk_bytes -= _on_disk_bytes(self._values.pop(key, None))  # its file, if any, goes with it
                self._originals.pop(key, None)
                self.memory_bytes -= self._sizes.pop(key, 0)
                self._unpicklable.discard(key)

    def spilled_keys(self, most: int) -> list[tuple[Key, int]]:
        """Return keys and sizes of up to ``most`` values on disk."""
        if not self.on_disk_bytes:
            return []
        with self._lock:
            found = ((key, size) for key, value in self._values.items() if (size := _on_disk_bytes(value)))
            return list(islice(found, most))

    # ---------------------------------------------------------------- spilling

    def spill_if_full(self) -> None:
        """Spill values if they take more than their room."""
        with self._lock:
            if self.memory_bytes and not self._is_exhausted:
                self._update_room()
                self._spill_soon()

    def _spill_soon(self) -> None:
        """Have a thread write values until the others fit; under the lock."""
        if self.memory_bytes > self._room_bytes and self._thread is None:
            self._thread = threading.Thread(target=self._spill, name="futures_cluster-spill", daemon=True)
            self._thread.start()

    def _spill(self) -> None:
        while True:
            with self._lock:
                found = self._next_to_spill()
                self.spilling_bytes = 0 if found is None else self._sizes[found[0]]  # until it is out of memory
                if found is None:
                    self._thread = None
                    self._freed.notify_all()
                    return
                key, value = found
            start = clocks.perf_counter()
            try:
                spilled = value.spilled(self.folder) if type(value) is Original else _Spilled(value, self.folder)
            except Exception:
                with self._lock:
                    self._unpicklable.add(key)
                continue
            with self._lock:
                if self._values.get(key) is value:
                    self._set(key, spilled)
                    self.memory_bytes -= self._sizes.pop(key, 0)
                    self.spilled_count += 1
                    self.on_disk_bytes += spilled.size_bytes
                    self._freed.notify_all()
            self.on_spill(key, spilled.size_bytes, clocks.perf_counter() - start)
            del value, spilled, found
            trim()  # gives the memory of the value back to the system

    def _next_to_spill(self) -> tuple[Key, Any] | None:
        if self.limit_bytes is None:
            return None
        self._update_room()
        if self.memory_bytes <= self._room_bytes:
            return None
        for key, size in self._sizes.items():
            if size >= MIN_SPILLED_BYTES and key not in self._unpicklable:
                value = self._values[key]
                if type(value) is _Unloaded and payloads.parts_in_memory(value.payload) is None:
                    continue  # in shared memory: it is another process's, and costs this one nothing
                return key, value
        self._is_exhausted = True
        return None
