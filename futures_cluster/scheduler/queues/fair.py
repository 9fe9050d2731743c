"""Queued tasks in the order in which they should run, with a fair share for each client.

Covers: the queue of tasks that any worker can run, and one of tasks with the same requirements. Does not cover: how
much of the cluster's time each client has had (``shares``); whether an entry is still to be run (``dispatch`` checks
it, so that cancelling costs nothing here); and tasks that were assigned already, at most
``placement.PREFETCH_HORIZON_S`` of work per worker.

The order of the queue: tasks of one level (priority, then depth of nesting) come before those of the next, whichever
client submitted them. Inside a level each client has a *flow*, and the flow that has had the least of the cluster's
time is next: a client with a million tasks and one with ten take turns. Inside a flow the *consumers* come first: tasks
that free memory because they are among the last that need a result. Otherwise all of ``map(load, files)`` would be in
memory before the first ``map(process, loaded)`` ran. Consumers, and then the other tasks, keep the order of submission.

With one client all of this is two deques; only tasks that return to the queue go through a heap.
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
    """Return whether the task is among the last that need one of its inputs."""
    for dep in task.dependencies:
        if dep.pending_dependents <= MAX_SHARERS and dep.options is not SCATTERED_OPTIONS:
            return True
    return False


class _FlowQueue:
    """The tasks of one flow in one queue."""

    __slots__ = ("consumers", "flow", "late_consumers", "late_others", "others")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.consumers: deque[Task] = deque()
        self.others: deque[Task] = deque()
        # Heaps of tasks that came out of order, by serial number and number of the push:
        self.late_consumers: list[tuple[int, int, Task]] = []
        self.late_others: list[tuple[int, int, Task]] = []


class _LevelQueue:
    """The flows of one level in one queue.

    Attributes
    ----------
    heap : list
        Each flow by its virtual time, which may be an earlier one: ``next_flow`` corrects it.
    """

    __slots__ = ("flows", "heap")

    def __init__(self) -> None:
        self.flows: dict[Flow, _FlowQueue] = {}
        self.heap: list[tuple[float, int, _FlowQueue]] = []

    def next_flow(self) -> _FlowQueue:
        """Return the flow that is next, and make it the first of the heap."""
        heap = self.heap
        while True:
            virtual_time_s, number, queue = heap[0]
            if queue.flow.virtual_time_s <= virtual_time_s:
                return queue
            heapq.heapreplace(heap, (queue.flow.virtual_time_s, number, queue))


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
        self._single: _FlowQueue | None = None  # the only flow in here, as is usual; kept while empty
        self.count = 0
        self._pushes = 0

    def push(self, task: Task) -> None:
        """Add a task; it may be in the queue more than once."""
        flow = task.flow
        queue = self._single
        if queue is None or queue.flow is not flow or not self.count:
            queue = self._queue_of(flow)
        if task.dependencies and is_consumer(task):
            in_order, late = queue.consumers, queue.late_consumers
        else:
            in_order, late = queue.others, queue.late_others
        if not in_order or in_order[-1].serial <= task.serial:
            in_order.append(task)
        else:
            self._pushes += 1
            heapq.heappush(late, (task.serial, self._pushes, task))
        self.count += 1

    def extend(self, tasks: list[Task]) -> None:
        """Add at least one task of one flow; in order of age, and without inputs."""
        self.push(tasks[0])
        if len(tasks) == 1:
            return
        in_order = self._queue_of(tasks[0].flow).others
        if in_order and in_order[-1] is tasks[0]:
            in_order.extend(tasks[1:])
            self.count += len(tasks) - 1
        else:
            for task in tasks[1:]:
                self.push(task)

    def _queue_of(self, flow: Flow) -> _FlowQueue:
        """Return the tasks of a flow; add the flow if it had none."""
        single = self._single
        if not self.count:
            flow.catch_up()
            if single is not None and single.flow is flow:
                return single
            if single is not None:
                del self._levels[single.flow.level]
                self._single = None
        level: _LevelQueue | None = self._levels.get(flow.level)
        if level is None:
            level = self._levels[flow.level] = _LevelQueue()
        queue = level.flows.get(flow)
        if queue is None:
            flow.catch_up()
            queue = level.flows[flow] = _FlowQueue(flow)
            self._pushes += 1
            heapq.heappush(level.heap, (flow.virtual_time_s, self._pushes, queue))
            self._single = queue if len(self._levels) == 1 and len(level.flows) == 1 else None
        return queue

    def _next(self) -> _FlowQueue:
        if self._single is not None:
            return self._single
        level: _LevelQueue = self._levels.peekitem(0)[1]
        return level.next_flow()

    def first(self) -> Task:
        """Return the first task, which stays.

        Raises
        ------
        IndexError
            When the queue is empty.
        """
        queue = self._single or self._next()
        in_order, late = queue.consumers, queue.late_consumers
        if not in_order and not late:
            in_order, late = queue.others, queue.late_others
        if late and (not in_order or late[0][0] < in_order[0].serial):
            return late[0][2]
        return in_order[0]

    def order(self) -> Order:
        """Return the order that compares the first task with those of other queues."""
        task, queue = self.first(), self._next()
        consumers = bool(queue.consumers or queue.late_consumers)
        return (queue.flow.level, queue.flow.virtual_time_s, not consumers, task.serial)

    def ahead(self, task: Task) -> int:
        """Return about how many entries are ahead of a task; slow, for explanations."""
        number = 0
        for level, queued in self._levels.items():
            if level > task.flow.level:
                break
            for flow, queue in queued.flows.items():
                parts = (queue.consumers, queue.others, queue.late_consumers, queue.late_others)
                if level < task.flow.level:
                    number += sum(len(part) for part in parts)
                elif flow is task.flow:
                    rows = (*queue.consumers, *(row[2] for row in queue.late_consumers))
                    others = (*queue.others, *(row[2] for row in queue.late_others))
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
            for flow, queue in queued.flows.items():
                if clients is None or flow.client in clients:
                    yield from queue.others
                    yield from queue.consumers
                    for row in (*queue.late_others, *queue.late_consumers):
                        yield row[2]

    def pop(self) -> Task:
        """Take the first task.

        Raises
        ------
        IndexError
            When the queue is empty.
        """
        queue = self._single or self._next()
        in_order, late = queue.consumers, queue.late_consumers
        if not in_order and not late:
            in_order, late = queue.others, queue.late_others
        if late and (not in_order or late[0][0] < in_order[0].serial):
            task = heapq.heappop(late)[2]
        else:
            task = in_order.popleft()
        self.count -= 1
        if self._single is None and not (in_order or late) and not (queue.others or queue.late_others):
            self._remove(queue)
        return task

    def _remove(self, queue: _FlowQueue) -> None:
        """Remove an empty flow, which is the first of its level's heap."""
        level = self._levels[queue.flow.level]
        heapq.heappop(level.heap)
        del level.flows[queue.flow]
        if not level.flows:
            del self._levels[queue.flow.level]
        if len(self._levels) == 1:
            (level,) = self._levels.values()
            if len(level.flows) == 1:
                (self._single,) = level.flows.values()
