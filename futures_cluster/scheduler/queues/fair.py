"""Queued tasks in the order in which they should run, with a fair share for each client.

Covers: the queue of plain tasks, and of those of one demand. Does not cover: how much of the cluster's time each client
has had (``shares``), whether an entry is still to be run (``dispatch`` checks it, so that cancelling costs nothing
here), and what was committed to workers already: that is at most ``placement.PREFETCH_HORIZON_S`` of work, and stays as
it is.

The order. A level (priority, then depth of nesting) comes before another for all clients. Inside a level each client
has a *flow*, and the flow that has had the least of the cluster's time is next: a client with a million tasks waiting
and one with ten get turns alike. A flow that was away starts where the others are: it saves nothing up. Inside a flow
those tasks come first that free memory by using up results (*consumers*), then the others, both in the order in which
they were submitted. Otherwise all of ``map(load, files)`` would be in memory before the first ``map(process, loaded)``
ran.

With one client all of this is two deques; only tasks that come back go through a heap.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

from sortedcontainers import SortedDict

from futures_cluster.messages import SCATTERED_OPTIONS
from futures_cluster.scheduler.queues.shares import Flow, Level
from futures_cluster.scheduler.records import Task

#: An input that more unfinished tasks than this need is not freed soon, whichever of them runs.
MAX_SHARERS = 8

#: By what the first tasks of two queues are compared: level, time had by the client, consumers first, age.
Order = tuple[Level, float, bool, int]


def is_consumer(task: Task) -> bool:
    """Return whether the task is among the last users of an input of it."""
    for dep in task.dependencies:
        if dep.pending_dependents <= MAX_SHARERS and dep.options is not SCATTERED_OPTIONS:
            return True
    return False


class _Entries:
    """What one flow has in one queue."""

    __slots__ = ("consumers", "consumers_back", "flow", "others", "others_back")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.consumers: deque[Task] = deque()
        self.others: deque[Task] = deque()
        self.consumers_back: list[tuple[int, int, Task]] = []  # heaps of those that came out of order
        self.others_back: list[tuple[int, int, Task]] = []


class _LevelEntries:
    """The flows of one level in one queue; ``heap`` has each, by a time that it had had some time ago."""

    __slots__ = ("flows", "heap")

    def __init__(self) -> None:
        self.flows: dict[Flow, _Entries] = {}
        self.heap: list[tuple[float, int, _Entries]] = []

    def next_flow(self) -> _Entries:
        """Return the flow whose turn it is; it is the first of the heap then."""
        heap = self.heap
        while True:
            spent_s, number, entries = heap[0]
            if entries.flow.virtual_time_s <= spent_s:
                return entries
            heapq.heapreplace(heap, (entries.flow.virtual_time_s, number, entries))


class FairQueue:
    """A queue of tasks.

    Attributes
    ----------
    count : int
        Its length; an attribute, because it is asked for several times for each event.
    """

    __slots__ = ("_levels", "_pushes", "_single", "count")

    def __init__(self) -> None:
        self._levels: SortedDict = SortedDict()
        self._single: _Entries | None = None  # the only flow in here, as is usual; kept while empty
        self.count = 0
        self._pushes = 0

    def __len__(self) -> int:
        return self.count

    def push(self, task: Task) -> None:
        """Add a task; it may be in the queue more than once."""
        flow = task.flow
        entries = self._single
        if entries is None or entries.flow is not flow or not self.count:
            entries = self._entries(flow)
        if task.dependencies and is_consumer(task):
            line, back = entries.consumers, entries.consumers_back
        else:
            line, back = entries.others, entries.others_back
        if not line or line[-1].serial <= task.serial:
            line.append(task)
        else:
            self._pushes += 1
            heapq.heappush(back, (task.serial, self._pushes, task))
        self.count += 1

    def extend(self, tasks: list[Task]) -> None:
        """Add tasks of one flow and without inputs, in the order of their serial numbers."""
        if tasks:
            self.push(tasks[0])
            line = self._entries(tasks[0].flow).others
            if line and line[-1] is tasks[0]:
                line.extend(tasks[1:])
                self.count += len(tasks) - 1
            else:
                for task in tasks[1:]:
                    self.push(task)

    def _entries(self, flow: Flow) -> _Entries:
        """Return what the flow has in here; makes it known if it had nothing."""
        single = self._single
        if not self.count:
            flow.catch_up()
            if single is not None and single.flow is flow:
                return single
            if single is not None:
                del self._levels[single.flow.level]
                self._single = None
        level = self._levels.get(flow.level)
        if level is None:
            level = self._levels[flow.level] = _LevelEntries()
        entries = level.flows.get(flow)
        if entries is None:
            flow.catch_up()
            entries = level.flows[flow] = _Entries(flow)
            self._pushes += 1
            heapq.heappush(level.heap, (flow.virtual_time_s, self._pushes, entries))
            self._single = entries if len(self._levels) == 1 and len(level.flows) == 1 else None
        found: _Entries = entries
        return found

    def _next(self) -> _Entries:
        if not self.count:
            raise IndexError("the queue is empty")
        single = self._single
        if single is not None:
            return single
        level: _LevelEntries = self._levels.peekitem(0)[1]
        return level.next_flow()

    def first(self) -> Task:
        """Return the first task, which stays.

        Raises
        ------
        IndexError
            When the queue is empty.
        """
        entries = self._next()
        line, back = entries.consumers, entries.consumers_back
        if not line and not back:
            line, back = entries.others, entries.others_back
        if back and (not line or back[0][0] < line[0].serial):
            return back[0][2]
        return line[0]

    def order(self) -> Order:
        """Return the order that compares the first task with those of other queues."""
        task, entries = self.first(), self._next()
        consumers = bool(entries.consumers or entries.consumers_back)
        return (entries.flow.level, entries.flow.virtual_time_s, not consumers, task.serial)

    def ahead(self, task: Task) -> int:
        """Return about how many entries are ahead of a task; slow, for people."""
        number = 0
        for level, queued in self._levels.items():
            if level > task.flow.level:
                break
            for flow, entries in queued.flows.items():
                lines = (entries.consumers, entries.others, entries.consumers_back, entries.others_back)
                if level < task.flow.level:
                    number += sum(len(line) for line in lines)
                elif flow is task.flow:
                    rows = (*entries.consumers, *(row[2] for row in entries.consumers_back))
                    others = (*entries.others, *(row[2] for row in entries.others_back))
                    if task in rows:
                        number += sum(other.serial < task.serial for other in rows)
                    else:
                        number += len(rows) + sum(other.serial < task.serial for other in others)
        return number

    def tasks_of(self, clients: dict[str, None] | None = None) -> Iterator[Task]:
        """Yield the tasks of these clients, or all tasks.

        They come in no particular order, void entries among them.
        """
        for queued in self._levels.values():
            for flow, entries in queued.flows.items():
                if clients is None or flow.client in clients:
                    yield from entries.others
                    yield from entries.consumers
                    for row in (*entries.others_back, *entries.consumers_back):
                        yield row[2]

    def pop(self) -> Task:
        """Take the first task.

        Raises
        ------
        IndexError
            When the queue is empty.
        """
        entries = self._single if self._single is not None and self.count else self._next()
        line, back = entries.consumers, entries.consumers_back
        if not line and not back:
            line, back = entries.others, entries.others_back
        if back and (not line or back[0][0] < line[0].serial):
            task = heapq.heappop(back)[2]
        else:
            task = line.popleft()
        self.count -= 1
        if self._single is None and not (line or back) and not (entries.others or entries.others_back):
            self._remove(entries)
        return task

    def _remove(self, entries: _Entries) -> None:
        """Remove an empty flow, which is the first of its level's heap."""
        level = self._levels[entries.flow.level]
        heapq.heappop(level.heap)
        del level.flows[entries.flow]
        if not level.flows:
            del self._levels[entries.flow.level]
        if len(self._levels) == 1:
            (level,) = self._levels.values()
            if len(level.flows) == 1:
                (self._single,) = level.flows.values()
