"""Ready tasks in the order in which they should run.

Covers: a queue by level (higher priority and deeper nesting first), and first come, first served inside a
level.
Does not cover: whether an entry is still valid. Entries are never searched for and removed; the machine checks
whether the task is still to be run, so that cancelling costs nothing here.

Tasks nearly always arrive in the order of their serial number, so a level is a deque with constant costs;
only those that come back (a worker died, a task was stolen) go through a heap.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Generic, Protocol, TypeVar

from sortedcontainers import SortedDict


class Ordered(Protocol):
    """What a queue needs to know of its entries. ``level`` sorts ascending: the smallest runs first."""

    @property
    def level(self) -> tuple[int, ...]: ...

    @property
    def serial(self) -> int: ...


T = TypeVar("T", bound=Ordered)


class _Level(Generic[T]):
    __slots__ = ("fifo", "heap")

    def __init__(self) -> None:
        self.fifo: deque[T] = deque()
        self.heap: list[tuple[int, int, T]] = []


class ReadyQueue(Generic[T]):
    """A queue of ready tasks or runs.

    Attributes
    ----------
    count : int
        Its length; an attribute, because it is asked for with each event.

    Examples
    --------
    >>> from types import SimpleNamespace as Entry
    >>> queue = ReadyQueue()
    >>> for level, serial in [((0,), 1), ((0,), 2), ((-1,), 3), ((0,), 0)]:
    ...     queue.push(Entry(level=level, serial=serial))
    >>> [queue.pop().serial for _ in range(4)]
    [3, 0, 1, 2]
    """

    __slots__ = ("_levels", "_pushes", "_single", "count")

    def __init__(self) -> None:
        self._levels: SortedDict = SortedDict()
        # The only level, as is usual. It stays when it is empty: the next entry most often belongs to it.
        self._single: tuple[tuple[int, ...], _Level[T]] | None = None
        self.count = 0
        self._pushes = 0

    def __len__(self) -> int:
        return self.count

    def push(self, entry: T) -> None:
        """Add an entry; an entry may be in the queue more than once."""
        single = self._single
        if single is not None and single[0] == entry.level:
            level = single[1]
        else:
            if not self.count:
                self._levels.clear()
            level = self._levels.get(entry.level)
            if level is None:
                level = self._levels[entry.level] = _Level()
            self._single = (entry.level, level) if len(self._levels) == 1 else None
        fifo = level.fifo
        if not fifo or fifo[-1].serial <= entry.serial:
            fifo.append(entry)
        else:
            self._pushes += 1
            heapq.heappush(level.heap, (entry.serial, self._pushes, entry))
        self.count += 1

    def extend(self, entries: list[T]) -> None:
        """Add entries of one level, in the order of their serial numbers."""
        if entries:
            self.push(entries[0])
            level = self._levels[entries[0].level]
            if level.fifo and level.fifo[-1] is entries[0]:
                level.fifo.extend(entries[1:])
                self.count += len(entries) - 1
            else:
                for entry in entries[1:]:
                    self.push(entry)

    def first(self) -> T:
        """Return the first entry, which stays.

        Raises
        ------
        IndexError
            When the queue is empty.
        """
        if not self.count:
            raise IndexError("first of an empty ReadyQueue")
        level = self._single[1] if self._single is not None else self._levels.peekitem(0)[1]
        if level.heap and (not level.fifo or level.heap[0][0] < level.fifo[0].serial):
            entry: T = level.heap[0][2]
            return entry
        return level.fifo[0]

    def pop(self) -> T:
        """Take the first entry.

        Raises
        ------
        IndexError
            When the queue is empty.
        """
        if not self.count:
            raise IndexError("pop from an empty ReadyQueue")
        single = self._single
        key, level = single if single is not None else self._levels.peekitem(0)
        fifo, heap = level.fifo, level.heap
        if heap and (not fifo or heap[0][0] < fifo[0].serial):
            entry: T = heapq.heappop(heap)[2]
        else:
            entry = fifo.popleft()
        self.count -= 1
        if single is None and not fifo and not heap:
            del self._levels[key]
        return entry
