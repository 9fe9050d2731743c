"""Large buffers in shared memory that cannot leak.

Covers: writing buffers into segments, mapping them in another process of the host, and using segments again.
Does not cover: what the buffers mean (``payloads``), and hosts without ``memfd_create`` (there is no pool there,
and buffers travel in the frames).

A segment is a memfd: memory with a file descriptor and no name. A reader opens ``/proc/PID/fd/N`` of the writer
and maps it privately: it sees the data without a copy, and may write to its own view (copy on write). The kernel
frees the memory with the last descriptor and mapping, also when processes are killed.

Fresh memory costs seven times as much to fill as memory in use (page faults), so segments are used again. When may
one be overwritten? A reader holds a shared ``flock`` on the descriptor that its mapping keeps, so the kernel itself
knows of every reader, and forgets those that die. The writer takes the segment back with ``release`` (by then every
reader that may come has come) and tries for the exclusive lock before it writes again. Fresh memory is filled by
``pwrite``; of a large segment that comes back the writer keeps a mapping, through which it fills it at the speed of a
plain copy, a third of the time. A reader that keeps the descriptor itself (``OpenSegment``) can map the segment any
number of times, each time as it was written.

Each write has a serial number that never comes again. It stands at the end of the segment and in the reference to it:
a reader that comes too late, when the segment was written again or when its writer is gone and another process has its
number, finds another serial number and no data.

Segments in use and mappings cost a descriptor each, and descriptors belong to the program that we are a part of. So a
process that has used up some of those it may open writes no further segments (``write`` raises, and buffers travel in
the frames), and copies what it reads instead of mapping it.

Others cannot open the descriptors of every process: not those of one that has changed its user (the system marks it as
not dumpable), and none by the ``/proc`` of another namespace of pids. A process looks for that whenever it writes,
because a program may change its user at any time, and then writes no segment either.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster import locks

try:
    import fcntl
    import resource
except ImportError:  # Windows: no segments there, and nothing of these is called
    fcntl = resource = None  # type: ignore[assignment]

ALIGNMENT = 64
#: Bytes of free segments that a pool keeps for use again.
MAX_KEPT_BYTES = 512 * 2**20
#: Free segments that a pool keeps, however small.
MAX_KEPT = 64
#: Shares of the process's descriptors that may be open when a segment is written, and when one is mapped.
WRITE_LIMIT, MAP_LIMIT = 0.5, 0.75
#: A free segment is used for a request no smaller than this fraction of it.
MIN_FILL = 0.4
#: Segments from this size on are mapped by their writer when they are used again.
MAPPED_BYTES = 8 * 2**20
_PAGE = 4096
_MAX_BUFFERS_A_CALL = 1000  # below IOV_MAX

#: Behind the buffers: the serial number.
_SERIAL = struct.Struct("<Q")
_serials = (0, itertools.count())  # the process that they are for, and the next one

# ("shm", pid, fd, size, [(offset, length)], serial)
Reference = tuple[str, int, int, int, list[tuple[int, int]], int]

available = fcntl is not None and hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")


def _is_over(limit: float, fd: int) -> bool:
    """Return whether a process has opened more than a part of its descriptors."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most != resource.RLIM_INFINITY and fd >= most * limit


def _check_openable() -> None:
    """Refuse to write where no other process could open our descriptors.

    Raises
    ------
    OSError
        With the reason.
    """
    if os.readlink("/proc/self") != str(os.getpid()):
        raise OSError(errno.ENOTSUP, "/proc belongs to another namespace of processes")
    # The files of a process that is not dumpable belong to root. Root itself may open them in spite of that, mostly.
    if os.stat("/proc/self/fd").st_uid != os.geteuid():
        raise OSError(errno.ENOTSUP, "this process is not dumpable, so no other one of its user may open its files")


def _next_serial() -> int:
    """Return a number that no segment had before, of this process or of another one."""
    global _serials
    pid, numbers = _serials
    if pid != os.getpid():  # the first one here; a forked copy must not go on with its parent's
        numbers = itertools.count(int.from_bytes(os.urandom(7), "little"))
        _serials = (os.getpid(), numbers)
    return next(numbers)


class Segment:
    """One memfd and its size."""

    __slots__ = ("fd", "mapping", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.mapping: mmap.mmap | None = None
        self.fd = os.memfd_create("futures_cluster", os.MFD_CLOEXEC)
        try:
            if _is_over(WRITE_LIMIT, self.fd):
                raise OSError(errno.EMFILE, "the other descriptors are left to the rest of the program")
            os.ftruncate(self.fd, size)
        except OSError:
            os.close(self.fd)
            raise

    def map(self) -> None:
        """Map it for writing, with all its pages, if large and descriptors are left."""
        if self.mapping is not None or self.size < MAPPED_BYTES or not hasattr(mmap, "MAP_POPULATE"):
            return
        if not _is_over(WRITE_LIMIT, _where_a_duplicate_would_be(self.fd)):
            self.mapping = mmap.mmap(self.fd, self.size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)

    def close(self) -> None:
        """Give it up; readers keep what they have mapped."""
        if self.mapping is not None:
            self.mapping.close()
        os.close(self.fd)


class SegmentPool:
    """The segments that this process writes; its methods may be called from any thread.

    Parameters
    ----------
    most_kept_bytes : int
        Of free segments, for use again. Meanwhile this memory is unused.

    Examples
    --------
    >>> if available:
    ...     pool = SegmentPool()
    ...     reference = pool.write([b"abc", b"defg"])
    ...     [bytes(view) for view in open_segment(reference)]
    ...     pool.close()
    [b'abc', b'defg']
    """

    def __init__(self, most_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._most_kept_bytes = most_kept_bytes
        # Not held while data is copied. Reentrant: a collection of garbage may run a finalizer that writes, too.
        self._lock = locks.RLock()
        self._used: dict[int, Segment] = {}  # by serial number
        self._free: list[Segment] = []  # oldest first
        self._lent: dict[int, list[OpenSegment]] = {}  # by serial number; one may be lent several times
        self._closed = False
        self.written = 0  # segments written, for tests
        self.reused = 0  # of these, into memory that was in use before

    def write(self, buffers: Sequence[Any]) -> Reference:
        """Copy buffers into one segment; return what ``open_segment`` needs.

        Raises
        ------
        OSError
            When there is no descriptor or no memory left, or others could not open the segment.
        """
        _check_openable()
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        layout, end = _lay_out(views)
        segment, is_warm = self._take(end + _SERIAL.size)
        serial = _next_serial()
        try:
            if is_warm:
                segment.map()
            if segment.mapping is None:
                _fill(segment.fd, views)
            else:
                with memoryview(segment.mapping) as target:
                    for (start, length), view in zip(layout, views):
                        target[start : start + length] = view
            os.pwrite(segment.fd, _SERIAL.pack(serial), segment.size - _SERIAL.size)
        except BaseException:
            segment.close()
            raise
        with self._lock:
            if self._closed:
                segment.close()
                raise OSError("the pool is closed")
            self._used[serial] = segment
            self.written += 1
        return ("shm", os.getpid(), segment.fd, segment.size, layout, serial)

    def lend(self, segment: OpenSegment) -> Reference:
        """Return a reference to an open segment, to ``release`` once it is used.

        Raises
        ------
        OSError
            When there is no descriptor left, or others could not open it.
        """
        _check_openable()
        fd = os.dup(segment.fd)
        lent = OpenSegment(fd, segment.size, segment.layout, segment.serial)
        with self._lock:
            if self._closed:
                raise OSError("the pool is closed")
            self._lent.setdefault(segment.serial, []).append(lent)
        return ("shm", os.getpid(), fd, segment.size, segment.layout, segment.serial)

    def _take(self, size: int) -> tuple[Segment, bool]:
        """Return a free segment of a fitting size, or a new one; and whether it was used."""
        with self._lock:
            fitting = [segment for segment in self._free if segment.size * MIN_FILL <= size <= segment.size]
            for segment in sorted(fitting, key=lambda segment: segment.size):
                try:
                    place = self._free.index(segment)
                    self._free.remove(segment)
                except ValueError:
                    continue  # a finalizer has taken it meanwhile
                # No other process can take it now; otherwise this would wipe out its next content.
                if _take_back(segment):
                    self.reused += 1
                    return segment, True
                self._free.insert(place, segment)
        return Segment(-(-size // _PAGE) * _PAGE), False

    def release(self, serial: int) -> None:
        """Free a segment for reuse once its present readers are gone."""
        with self._lock:
            lent = self._lent.get(serial)
            if lent is not None:
                lent.pop()
                if not lent:
                    del self._lent[serial]
                return
            segment = self._used.pop(serial, None)
            if segment is None:
                return
            free = self._free
            free.append(segment)
            kept = sum(one.size for one in free)
            while free and (kept > self._most_kept_bytes or len(free) > MAX_KEPT):
                dropped = free.pop(0)
                kept -= dropped.size
                dropped.close()

    def discard(self, serial: int) -> None:
        """Give up a segment that a late reader must not find with other data."""
        with self._lock:
            segment = self._used.pop(serial, None)
        if segment is not None:
            segment.close()

    def close(self) -> None:
        """Give up all segments; readers keep what they have mapped."""
        with self._lock:
            self._closed = True
            for segment in [*self._used.values(), *self._free]:
                segment.close()
            self._used = {}
            self._free = []
            self._lent = {}

    @property
    def used_bytes(self) -> int:
        """Bytes in segments that are not released."""
        with self._lock:
            return sum(segment.size for segment in self._used.values())


def _take_back(segment: Segment) -> bool:
    """Let no more readers in; False if one is there."""
    try:
        fcntl.flock(segment.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    os.pwrite(segment.fd, bytes(_SERIAL.size), segment.size - _SERIAL.size)
    fcntl.flock(segment.fd, fcntl.LOCK_UN)
    return True


def _has_serial(fd: int, size: int, serial: int) -> bool:
    is_whole = os.fstat(fd).st_size >= size
    return is_whole and os.pread(fd, _SERIAL.size, size - _SERIAL.size) == _SERIAL.pack(serial)


def _lay_out(views: list[memoryview]) -> tuple[list[tuple[int, int]], int]:
    """Return the places and sizes of buffers in a segment, and its end."""
    layout, end = [], 0
    for view in views:
        layout.append((end, view.nbytes))
        end += -(-view.nbytes // ALIGNMENT) * ALIGNMENT
    return layout, end


def _fill(fd: int, views: list[memoryview]) -> None:
    parts: deque[memoryview] = deque()
    for view in views:
        parts += view, memoryview(bytes(-view.nbytes % ALIGNMENT))
    offset = 0
    while parts:
        written = os.pwritev(fd, list(itertools.islice(parts, _MAX_BUFFERS_A_CALL)), offset)
        offset += written
        while parts and written >= parts[0].nbytes:
            written -= parts.popleft().nbytes
        if written:  # a call writes at most 2 GiB
            parts[0] = parts[0][written:]


class OpenSegment:
    """A segment that this process has open, locked for reading, and can map any number of times.

    The same is a file with such a layout (``write_file``).
    """

    __slots__ = ("fd", "layout", "serial", "size")

    def __init__(self, fd: int, size: int, layout: Sequence[tuple[int, int]], serial: int) -> None:
        self.fd = fd
        self.size = size
        self.layout = [(offset, length) for offset, length in layout]
        self.serial = serial

    @classmethod
    def find(cls, reference: Sequence[Any]) -> OpenSegment:
        """Open the segment behind a reference.

        Raises
        ------
        OSError
            When the writer or the segment is gone, or no descriptor is left.
        """
        _, pid, fd, size, layout, serial = reference
        own = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Before the lock, because a file of others may be locked for ever; and behind it, where it cannot change.
            found = _has_serial(own, size, serial)
            if found:
                fcntl.flock(own, fcntl.LOCK_SH)
            if not found or not _has_serial(own, size, serial):
                raise OSError(errno.ESTALE, f"descriptor {fd} of process {pid} is something else by now")
        except OSError:
            os.close(own)
            raise
        return cls(own, size, layout, serial)

    @classmethod
    def write_file(cls, buffers: Sequence[Any], folder: str | None) -> OpenSegment:
        """Write buffers to a file without a name, of which the system needs no memory.

        Parameters
        ----------
        folder : str or None
            Where the file lies; None for the place for temporary files.

        Raises
        ------
        OSError
            When there is no room for it.
        """
        import tempfile  # 5 ms that most processes do not need

        views = [memoryview(buffer).cast("B") for buffer in buffers]
        layout, end = _lay_out(views)
        with tempfile.TemporaryFile(buffering=0, dir=folder) as file:
            _fill(file.fileno(), views)
            serial, size = _next_serial(), end + _SERIAL.size
            os.pwrite(file.fileno(), _SERIAL.pack(serial), end)
            return cls(os.dup(file.fileno()), size, layout, serial)

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return sum(length for _, length in self.layout)

    @property
    def has_room(self) -> bool:
        """Whether this process has descriptors left for one more mapping."""
        return not _is_over(MAP_LIMIT, _where_a_duplicate_would_be(self.fd))

    def map(self) -> list[memoryview]:
        """Return the buffers, mapped privately: writes stay in this process.

        The mapping lives as long as any of the views, and with it the reader's lock, also after ``close``. A process
        that has few descriptors left gets copies.

        Raises
        ------
        OSError
            When there is no descriptor or no memory left.
        """
        if not available or not self.has_room:
            return [_read(self.fd, offset, length) for offset, length in self.layout]
        # mmap keeps a duplicate of the descriptor, and the lock belongs to both: it ends with the last of them.
        view = memoryview(mmap.mmap(self.fd, self.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE))
        return [view[offset : offset + length] for offset, length in self.layout]

    def close(self) -> None:
        """Give it up; what is mapped stays."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # else the globals of modules are gone, perhaps those of this one
            self.close()


def open_segment(reference: Sequence[Any]) -> list[memoryview]:
    """Map a segment privately; return its writable buffers; see ``OpenSegment.map``.

    Raises
    ------
    OSError
        When the writer or the segment is gone, or no descriptor is left.
    """
    segment = OpenSegment.find(reference)
    try:
        return segment.map()
    finally:
        segment.close()


def _where_a_duplicate_would_be(fd: int) -> int:
    """Return the descriptor that a mapping would keep, beyond any gap."""
    try:
        duplicate = os.dup(fd)
    except OSError:
        return sys.maxsize
    os.close(duplicate)
    return duplicate


def _read(fd: int, offset: int, length: int) -> memoryview:
    buffer = memoryview(bytearray(length))
    done = 0
    while done < length:
        count = os.preadv(fd, [buffer[done:]], offset + done)
        if not count:
            raise OSError(errno.EIO, "a segment is shorter than its writer said")
        done += count
    return buffer
