"""Slots of tasks that wait: others execute in their place.

Covers: which tasks wait. Does not cover: the threads (``slots``).

``Future.result`` and ``as_completed`` say that they wait. For ``concurrent.futures.wait`` it is seen that a task with
unfinished children has used no processor time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks, context, locks

if TYPE_CHECKING:
    from futures_cluster.engines.inprocess.deadlines import Deadlines
    from futures_cluster.engines.inprocess.slots import Slots

#: Between two looks at tasks with unfinished children.
POLL_INTERVAL_S = 0.004


class Lending:
    """The tasks of one engine that wait, or may wait."""

    def __init__(self, slots: Slots, deadlines: Deadlines) -> None:
        self._slots = slots
        self._deadlines = deadlines
        self._lent: dict[context.TaskContext, None] = {}  # whose slots others have
        self._parents: dict[context.TaskContext, context.IdleLooks] = {}
        self._looking = False
        self._lock = locks.RLock()

    def waits(self, task: context.TaskContext, waits: bool) -> None:
        """Take note that a task waits from now on, or does not."""
        with self._lock:
            if waits == (task in self._lent):
                return
            if waits:
                self._lent[task] = None
            else:
                del self._lent[task]
        if waits:
            self._slots.lend()
        else:
            self._slots.take_back()

    def look_after(self, task: context.TaskContext) -> None:
        """Take note that a task has submitted others; the task calls it."""
        if task in self._parents:
            return
        task.thread = threading.get_ident()
        with self._lock:
            self._parents[task] = context.IdleLooks()
            if self._looking:
                return
            self._looking = True
        self._deadlines.add(POLL_INTERVAL_S, self._look)

    def _look(self) -> None:
        for task, looks in list(self._parents.items()):
            if not task.children or not self._executes(task):
                with self._lock:
                    self._parents.pop(task, None)
                if not task.waiting:
                    self.waits(task, False)
                continue
            used = clocks.thread_time(task.thread)
            if used is None or task.waiting:
                continue
            self.waits(task, looks.waits(used, POLL_INTERVAL_S))
        with self._lock:
            self._looking = bool(self._parents)
        if self._looking:
            self._deadlines.add(POLL_INTERVAL_S, self._look)

    def _executes(self, task: Any) -> bool:
        return any(slot.task is task for slot in self._slots.all)
