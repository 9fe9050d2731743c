"""Queued tasks that ask for more than a free slot: resources, certain workers, limits, or to run alone.

Covers: one queue for all tasks with equal requirements, and which workers may meet them. Does not cover: whether these
do so now (``placement.fits``), assigning tasks (``dispatch``).

Looking at every worker for every queue at every event would cost the product of both. So each queue keeps the workers
that have something new to offer, its *candidates*: the scheduler adds a worker when a task frees something on it, and
removes a worker that does not fit. A queue without candidates costs nothing until a worker is offered, and a queue that
waits for a limit costs nothing until tasks give some of it back.
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
#: Empty queues are kept, as tasks with the same requirements will probably come again; but not many more than this.
MAX_EMPTY = 50
#: Stands for the places of workers where a task names none; no worker has it.
ANYWHERE = ""
#: Maximum number of younger tasks that take the resources or limits of an older one before they wait until it has them.
MAX_BYPASSED = 100


class ConstrainedQueue:
    """The queued tasks with the same requirements.

    Attributes
    ----------
    resources, places, alone, limits
        The parts of ``requirements``.
    candidates : dict of Worker
        Workers to look at; the others did not fit when they were looked at, and have got nothing back since.
    bypassed : int
        Number of tasks of other queues that took what the first task here waits for, since it was found not to fit.
    """

    __slots__ = ("alone", "bypassed", "candidates", "limits", "places", "requirements", "resources", "tasks")

    def __init__(self, requirements: Requirements) -> None:
        self.requirements = requirements
        self.resources, self.places, self.alone, self.limits = requirements
        self.tasks = FairQueue()
        self.candidates: dict[Worker, None] = {}
        self.bypassed = 0

    def first(self) -> Task | None:
        """Return the first task to be placed, after dropping void entries."""
        tasks = self.tasks
        while tasks.count:
            task = tasks.first()
            if task.state == "queued" and task.requirements == self.requirements:
                return task
            tasks.pop()
        return None


class ConstrainedQueues:
    """All queues of tasks with requirements.

    Attributes
    ----------
    queues : dict of ConstrainedQueue
        By requirements; empty ones included.
    eligible : dict of ConstrainedQueue
        Queues with tasks and with workers to look at.
    """

    def __init__(self) -> None:
        self.eligible: dict[ConstrainedQueue, None] = {}
        self.queues: dict[Requirements, ConstrainedQueue] = {}
        self._sweep_at = MAX_EMPTY
        self._by_place: dict[str, dict[ConstrainedQueue, None]] = {}  # of workers that they name, or ANYWHERE
        self._limited: dict[str, dict[ConstrainedQueue, None]] = {}  # by the name of a limit

    def push(self, task: Task, requirements: Requirements, workers: dict[str, Worker]) -> None:
        """Add a queued task."""
        queue = self.queues.get(requirements)
        if queue is None:
            queue = self._add(requirements, workers)
        queue.tasks.push(task)
        if queue.candidates:
            self.eligible[queue] = None

    def _add(self, requirements: Requirements, workers: dict[str, Worker]) -> ConstrainedQueue:
        if len(self.queues) >= self._sweep_at:
            for queue in [queue for queue in self.queues.values() if queue.first() is None]:
                self._remove(queue)
            self._sweep_at = len(self.queues) + max(MAX_EMPTY, len(self.queues))
        queue = self.queues[requirements] = ConstrainedQueue(requirements)
        for name, _ in queue.limits:
            self._limited.setdefault(name, {})[queue] = None
        for place in queue.places or (ANYWHERE,):
            self._by_place.setdefault(place, {})[queue] = None
        able = [worker for worker in workers.values() if not queue.places or worker.place in queue.places]
        queue.candidates = dict.fromkeys(able)
        return queue

    def _remove(self, queue: ConstrainedQueue) -> None:
        del self.queues[queue.requirements]
        self.eligible.pop(queue, None)
        for place in queue.places or (ANYWHERE,):
            _drop(self._by_place, place, queue)
        for name, _ in queue.limits:
            _drop(self._limited, name, queue)

    def offer(self, worker: Worker) -> None:
        """Take note that something became free on the worker."""
        for place in (ANYWHERE, worker.place):
            for queue in self._by_place.get(place, ()):
                queue.candidates[worker] = None
                if queue.tasks.count:
                    self.eligible[queue] = None

    def limits_free(self, amounts: Amounts) -> None:
        """Note that tasks have given back some of these limits."""
        for name, _ in amounts:
            for queue in self._limited.get(name, ()):
                if queue.tasks.count:
                    self.eligible[queue] = None

    def count_waiting(self, limit: str) -> int:
        """Count the queued tasks that ask for a limit; slow, for the status page."""
        number = 0
        for queue in self._limited.get(limit, ()):
            seen = list(islice(queue.tasks.tasks_of(), MAX_COUNTED))
            valid = {task: None for task in seen if task.state == "queued" and task.requirements == queue.requirements}
            number += len(valid) + queue.tasks.count - len(seen)
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

    def must_wait(self, queue: ConstrainedQueue, workers: dict[str, Worker]) -> bool:
        """Return whether an older task of another queue was bypassed too often."""
        task = queue.first()
        if task is None or len(self.queues) == 1 or not (queue.resources or queue.limits):
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

    def count_bypassing(self, queue: ConstrainedQueue) -> None:
        """Count a placed task against those that wait for the same resources."""
        queue.bypassed = 0
        if len(self.queues) > 1 and (queue.resources or queue.limits):
            for other in self.queues.values():
                if other is not queue and other.tasks.count and _compete(queue, other):
                    other.bypassed += 1


def _compete(one: ConstrainedQueue, other: ConstrainedQueue) -> bool:
    """Return whether tasks of both take of the same resource or limit."""
    for mine, its in ((one.resources, other.resources), (one.limits, other.limits)):
        names = [name for name, _ in its]
        if any(name in names for name, _ in mine):
            return True
    return False


def _drop(queues: dict[str, dict[ConstrainedQueue, None]], name: str, queue: ConstrainedQueue) -> None:
    found = queues[name]
    found.pop(queue, None)
    if not found:
        del queues[name]


def could_meet(worker: Worker, requirements: Requirements) -> bool:
    """Return whether the worker could meet these requirements if it had nothing else."""
    resources, places, *_ = requirements
    if worker.retiring or (places and worker.place not in places):
        return False
    return all(worker.resources.get(name, 0.0) >= amount for name, amount in resources)


def possible(requirements: Requirements, workers: dict[str, Worker]) -> bool:
    """Return whether some worker could ever meet these requirements."""
    return any(could_meet(worker, requirements) for worker in workers.values())
