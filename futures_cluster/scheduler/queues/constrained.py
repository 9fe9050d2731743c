"""Queued tasks that ask for more than a free slot: resources, certain workers, limits, or to run alone.

Covers: one queue for each demand, and which workers may have what it asks for. Does not cover: whether they have it
now (``placement.fits``), committing (``dispatch``).

Looking at every worker for every demand at every event would cost the product of both. So each queue keeps the
workers that have something new to offer: the scheduler adds a worker when a task frees something on it, and removes a
worker that does not fit. A queue whose workers have all been found not to fit costs nothing until one is offered, and
a queue that waits for a limit costs nothing until tasks give some of it back.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from futures_cluster.messages import Amounts
from futures_cluster.scheduler.queues.fair import FairQueue

if TYPE_CHECKING:
    from futures_cluster.scheduler.records import Requirements, Task, Worker

#: Entries of a queue that are looked at to count its tasks; those behind them are taken for tasks.
MAX_COUNTED = 2000
#: Empty queues are kept, as the same demand will probably come again; but not many more than this.
MAX_EMPTY = 50
#: Maximum number of younger tasks that take the resources or limits of an older one before they wait until it has them.
MAX_BYPASSED = 100


class DemandQueue:
    """The queued tasks of one demand.

    Attributes
    ----------
    candidates : dict of Worker
        Workers to look at; the others did not fit when they were looked at, and have got nothing back since.
    bypassed : int
        Tasks that took, since the first in this queue was found not to fit, what it waits for.
    """

    __slots__ = ("bypassed", "candidates", "requirements", "tasks")

    def __init__(self, demand: Requirements) -> None:
        self.requirements = demand
        self.tasks = FairQueue()
        self.candidates: dict[Worker, None] = {}
        self.bypassed = 0

    def first(self) -> Task | None:
        """Return the first task to be placed, after dropping void entries."""
        tasks = self.tasks
        while len(tasks):
            task = tasks.first()
            if task.state == "queued" and task.requirements == self.requirements:
                return task
            tasks.pop()
        return None


class ConstrainedQueues:
    """All queues of demanding tasks.

    Attributes
    ----------
    queues : dict of DemandQueue
        By demand; empty ones included.
    eligible : dict of DemandQueue
        Queues with tasks and with workers to look at.
    """

    def __init__(self) -> None:
        self.eligible: dict[DemandQueue, None] = {}
        self.queues: dict[Requirements, DemandQueue] = {}
        self._sweep_at = MAX_EMPTY
        self._anywhere: dict[DemandQueue, None] = {}  # those that name no worker
        self._named: dict[str, dict[DemandQueue, None]] = {}  # by the place of a worker
        self._limited: dict[str, dict[DemandQueue, None]] = {}  # by the name of a limit

    def __len__(self) -> int:
        return sum(len(queue.tasks) for queue in self.queues.values())

    def queue(self, demand: Requirements) -> DemandQueue | None:
        """Return the queue of a demand, if there is one."""
        return self.queues.get(demand)

    def push(self, task: Task, demand: Requirements, workers: dict[str, Worker]) -> None:
        """Add a queued task."""
        queue = self.queues.get(demand)
        if queue is None:
            queue = self._add(demand, workers)
        queue.tasks.push(task)
        if queue.candidates:
            self.eligible[queue] = None

    def _add(self, demand: Requirements, workers: dict[str, Worker]) -> DemandQueue:
        if len(self.queues) >= self._sweep_at:
            for queue in [queue for queue in self.queues.values() if queue.first() is None]:
                self._remove(queue)
            self._sweep_at = len(self.queues) + max(MAX_EMPTY, len(self.queues))
        queue = self.queues[demand] = DemandQueue(demand)
        for name, _ in demand[3]:
            self._limited.setdefault(name, {})[queue] = None
        names = demand[1]
        if names:
            for name in names:
                self._named.setdefault(name, {})[queue] = None
            queue.candidates = dict.fromkeys(worker for worker in workers.values() if worker.place in names)
        else:
            self._anywhere[queue] = None
            queue.candidates = dict.fromkeys(workers.values())
        return queue

    def _remove(self, queue: DemandQueue) -> None:
        del self.queues[queue.requirements]
        self._anywhere.pop(queue, None)
        self.eligible.pop(queue, None)
        for name in queue.requirements[1]:
            _drop(self._named, name, queue)
        for name, _ in queue.requirements[3]:
            _drop(self._limited, name, queue)

    def offer(self, worker: Worker) -> None:
        """Take note that something became free on the worker."""
        for queues in (self._anywhere, self._named.get(worker.place, {})):
            for queue in queues:
                queue.candidates[worker] = None
                if len(queue.tasks):
                    self.eligible[queue] = None

    def limits_free(self, amounts: Amounts) -> None:
        """Note that tasks have given back some of these limits."""
        for name, _ in amounts:
            for queue in self._limited.get(name, ()):
                if len(queue.tasks):
                    self.eligible[queue] = None

    def count_waiting(self, limit: str) -> int:
        """Count the queued tasks that ask for a limit; slow, for people."""
        number = 0
        for queue in self._limited.get(limit, ()):
            seen = list(islice(queue.tasks.tasks_of(), MAX_COUNTED))
            valid = {task: None for task in seen if task.state == "queued" and task.requirements == queue.requirements}
            number += len(valid) + len(queue.tasks) - len(seen)
        return number

    def retry(self, task: Task) -> None:
        """Look at a queued task again though no worker has anything new to offer."""
        queue = self.queues.get(task.requirements) if task.requirements is not None else None
        if queue is not None:
            self.eligible[queue] = None

    def withdraw(self, worker: Worker) -> None:
        """Forget a worker that is gone."""
        for queue in self.queues.values():
            queue.candidates.pop(worker, None)

    def must_wait(self, queue: DemandQueue, workers: dict[str, Worker]) -> bool:
        """Return whether an older task of another queue was bypassed too often."""
        task = queue.first()
        if task is None or len(self.queues) == 1 or not (queue.requirements[0] or queue.requirements[3]):
            return False
        for other in self.queues.values():
            if other is queue or other.bypassed < MAX_BYPASSED or not _compete(queue, other):
                continue
            older = other.first()
            if older is None:
                other.bypassed = 0
            elif (older.level, older.serial) < (task.level, task.serial) and possible(other.requirements, workers):
                return True
        return False

    def count_bypassing(self, queue: DemandQueue) -> None:
        """Count a placed task against those that wait for the same resources."""
        queue.bypassed = 0
        if len(self.queues) > 1 and (queue.requirements[0] or queue.requirements[3]):
            for other in self.queues.values():
                if other is not queue and len(other.tasks) and _compete(queue, other):
                    other.bypassed += 1


def _compete(one: DemandQueue, other: DemandQueue) -> bool:
    """Return whether tasks of both take of the same resource or limit."""
    for mine, its in ((one.requirements[0], other.requirements[0]), (one.requirements[3], other.requirements[3])):
        names = [name for name, _ in its]
        if any(name in names for name, _ in mine):
            return True
    return False


def _drop(queues: dict[str, dict[DemandQueue, None]], name: str, queue: DemandQueue) -> None:
    found = queues[name]
    found.pop(queue, None)
    if not found:
        del queues[name]


def possible(demand: Requirements, workers: dict[str, Worker]) -> bool:
    """Return whether some worker could ever take tasks of this demand."""
    resources, names, *_ = demand
    return any(
        (not names or worker.place in names)
        and not worker.retiring
        and all(worker.resources.get(name, 0.0) >= amount for name, amount in resources)
        for worker in workers.values()
    )
