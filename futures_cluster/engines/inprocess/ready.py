"""Ready work, in the order in which it runs.

Covers: the queue that threads take from; priorities, depths and resources. Does not cover: threads (``slots``).

All that threads wait at is one ``queue.SimpleQueue``. Plain work is in it itself. Work that has an order of its own (a
priority, a depth of nesting, resources) is in a heap, and for each there is a ``TICKET`` in the queue: it stands for
the best work there is. Plain work that a thread takes while better is in the heap changes places with it. So calls
without options never meet a lock, and there are as many items in the queue as there is work.
"""

from __future__ import annotations

import heapq
import queue
from collections.abc import Callable
from typing import Any, TypeAlias

from futures_cluster import locks
from futures_cluster.engines.inprocess.work import WorkItem
from futures_cluster.messages import Amounts

Entry: TypeAlias = tuple[tuple[int, int, int], WorkItem]

#: Stands in the queue for the best work in the heap.
TICKET: Any = object()
#: Number of younger calls that may take the resources that an older one waits for; then they wait until it has them.
MAX_OVERTAKEN = 100
#: Amounts are floats, whose sums are not exact.
TOLERANCE = 1e-9


class Ready:
    """Work that has all that it needs.

    Attributes
    ----------
    get, put : callable
        Of the queue; what ``get`` returns goes through ``choose`` once ``is_ordered``. None is put to wake threads.
    is_ordered : bool
        Whether any work was not plain.
    on_order : callable
        Called when the first such work comes.
    """

    def __init__(self, resources: dict[str, float]) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.get = self._queue.get
        self.put = self._queue.put
        self.size = self._queue.qsize
        self.is_ordered = False
        self.on_order: Callable[[], None] = lambda: None
        self._heap: list[Entry] = []
        self._parked: dict[Amounts, list[Entry]] = {}  # whose resources are in use
        self._overtaken: dict[Amounts, int] = {}  # younger works that have taken of them, by what is parked
        self._free = dict(resources)
        self._lock = locks.RLock()  # a finalizer may come back here

    def put_ordered(self, work: WorkItem) -> None:
        """Add work that is not plain."""
        if not self.is_ordered:
            self.is_ordered = True
            self.on_order()  # before a thread can meet a ticket
        with self._lock:
            heapq.heappush(self._heap, (work.order, work))
        self.put(TICKET)

    def put_back(self, item: Any) -> None:
        """Add what a thread has taken and does not execute, where it was."""
        if item is None or item is TICKET:
            self.put(item)
        else:
            self.put_ordered(item)

    def choose(self, item: Any) -> WorkItem | None:
        """Return the best work for an item of the queue; None if it waits for resources."""
        with self._lock:
            if item is not TICKET:
                heapq.heappush(self._heap, (item.order, item))
            while self._heap:
                entry = heapq.heappop(self._heap)
                amounts = entry[1].resources
                if not amounts:
                    return entry[1]
                if self._is_its_turn(entry) and _take(amounts, self._free):
                    self._count_overtaking(entry)
                    return entry[1]
                heapq.heappush(self._parked.setdefault(amounts, []), entry)
        return None

    def _is_its_turn(self, entry: Entry) -> bool:
        """Return whether no older work that was overtaken too often waits for the same."""
        return not self._overtaken or not any(
            number >= MAX_OVERTAKEN and amounts in self._parked and self._overtakes(entry, amounts)
            for amounts, number in self._overtaken.items()
        )

    def _count_overtaking(self, entry: Entry) -> None:
        self._overtaken.pop(entry[1].resources, None)
        for amounts in self._parked:
            if self._overtakes(entry, amounts):
                self._overtaken[amounts] = self._overtaken.get(amounts, 0) + 1

    def _overtakes(self, entry: Entry, amounts: Amounts) -> bool:
        """Return whether work takes what older parked work waits for."""
        names = [name for name, _ in entry[1].resources]
        return self._parked[amounts][0][0] < entry[0] and any(name in names for name, _ in amounts)

    def give_back(self, work: WorkItem) -> None:
        """Work that has ended needs its resources no more: others may run."""
        found: list[Entry] = []
        with self._lock:
            for name, amount in work.resources:
                self._free[name] += amount
            left = dict(self._free)
            for amounts, parked in sorted(self._parked.items(), key=lambda item: item[1][0][0]):
                while parked and self._is_its_turn(parked[0]) and _take(amounts, left):
                    found.append(heapq.heappop(parked))
                if not parked:
                    del self._parked[amounts]
            for entry in found:
                heapq.heappush(self._heap, entry)
        for _ in found:
            self.put(TICKET)


def _take(amounts: Amounts, free: dict[str, float]) -> bool:
    """Take resources; False if they are not free."""
    if any(free.get(name, 0) < amount - TOLERANCE for name, amount in amounts):
        return False
    for name, amount in amounts:
        free[name] -= amount
    return True
