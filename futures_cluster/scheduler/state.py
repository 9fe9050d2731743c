"""All that the scheduler knows: its tasks, workers, functions, clients and queues.

Does not cover: the records themselves (``records``), any change: only ``machine`` changes what is here.

Everything is kept in dicts, because they are iterated in the order of insertion, and so the same events give the same
decisions.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from futures_cluster.messages import Key, Payload
from futures_cluster.scheduler.queues.constrained import ConstrainedQueues
from futures_cluster.scheduler.queues.fair import FairQueue
from futures_cluster.scheduler.queues.limits import Limits
from futures_cluster.scheduler.queues.shares import FairShares
from futures_cluster.scheduler.records import (
    FAILED,
    RELEASED,
    WAITING,
    Bandwidth,
    Function,
    FunctionStats,
    Scattered,
    Task,
    TaskStateName,
    Worker,
)

#: The name under which shared objects want results; no client has it.
SHARED = "<shared objects>"


class State:
    """All that the scheduler knows."""

    def __init__(self) -> None:
        self.tasks: dict[Key, Task] = {}
        self.workers: dict[str, Worker] = {}
        self.functions: dict[str, Function] = {}
        self.groups: dict[str, FunctionStats] = {}
        self.clients: dict[str, tuple[str, ...]] = {}  # name -> (name,): the usual ``wanted_by``, made once
        self.unreachable_count: dict[Task, int] = {}  # how often a result could not be had from a worker that lives
        self.recompute_on: dict[Task, str] = {}  # of these, on which worker they are to be made again
        self.calls: dict[Key, str] = {}  # what a key stands for that may be submitted again
        self.refused: dict[tuple[str, Key], Payload] = {}  # (client, key) of failed futures whose key is another's
        self.held: dict[Key, int] = {}  # keys in shared objects, and how often
        self.queued_by_location: dict[Worker, deque[Task]] = {}  # by the worker that holds most of their inputs
        self.co_assigned: dict[Worker, deque[Task]] = {}  # queued tasks without inputs, by the worker for them
        self.shares = FairShares()  # of the clients, where several have tasks of one level
        self.ready = FairQueue()  # tasks that any worker may run
        self.constrained = ConstrainedQueues()  # tasks that ask for something
        self.limits = Limits()  # what all tasks share
        self.reserved: dict[Task, Worker] = {}  # queued tasks that a worker is being emptied for
        self.counts: dict[TaskStateName, int] = {WAITING: 0, FAILED: 0, RELEASED: 0}  # of tasks in these states
        self.queued = 0  # tasks in state QUEUED; the queues may also hold entries that are void
        # Ordered dicts give their first in constant time, also after thousands went from their front.
        self.accepting: OrderedDict[Worker, None] = OrderedDict()  # workers with room
        self.with_free_slot: OrderedDict[Worker, None] = OrderedDict()  # workers with a free slot
        self.saturated: dict[Worker, None] = {}  # workers with more assigned than slots
        self.places: dict[str, list[Worker]] = {}  # the workers of each place, oldest first; usually one
        self.bandwidth = Bandwidth()
        self.scattered: dict[Task, Scattered] = {}
        self.dirty_replicas: dict[Task, None] = {}  # results whose holders have changed, so that they may lack copies
        self.under_replicated: dict[Task, None] = {}  # results of which copies are to be asked for
        self.copying: dict[Task, dict[Worker, None]] = {}  # results of which copies were asked for, and of whom
        self.copies_due = False  # a worker may now be able to make copies that are lacking
        self.draining: dict[Worker, dict[Task, None]] = {}  # workers that are to end -> what only such workers hold
        self.paused: dict[Task, float] = {}  # tasks that pause before they run again, and until when; in state WAITING
        self.deadlines: list[tuple[float, Key, int]] = []  # a heap of (time, key, attempt)
        self.broken: Payload = None  # the error of every task, once no worker can start
        self.serial = 0  # of the newest task
        self.attempts = 0  # assignments so far; each has a number of its own, also if a key comes back
        self.pending_steals_s: dict[Worker, float] = {}  # seconds of work asked back for idle workers, not yet answered
        self.moved = 0  # assignments that were taken back for another worker
        self.event_log: deque[tuple[Any, ...]] = deque(maxlen=1000)  # the last rare events, for people

    def running(self) -> Iterator[Task]:
        """Yield the tasks that have slots: a worker's oldest."""
        for worker in self.workers.values():
            yield from islice(worker.assigned.values(), worker.slots)

    @property
    def unfinished(self) -> int:
        """Tasks that wait, are queued or with a worker; roughly so on another thread than the loop's."""
        return self.queued + self.counts[WAITING] + sum(len(worker.assigned) for worker in list(self.workers.values()))

    def is_program(self, client: str) -> bool:
        """Return whether a client is a program, and not a worker whose tasks ask."""
        return client not in self.workers

    def any_program(self) -> bool:
        """Return whether any program is connected."""
        return any(client not in self.workers for client in self.clients)
