"""What happens to work from the moment that all its inputs are there until it has an outcome.

Covers: queueing, preparing the call, returning and raising, retries, timeouts, being taken out. Does not cover:
submitting, and waiting for futures (``engine``), the threads (``slots``), the order (``ready``), how an outcome gets to
its future (``work``).
"""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import Any

from futures_cluster import clocks, errors
from futures_cluster.engines.inprocess.base import InProcessBase
from futures_cluster.engines.inprocess.deadlines import Deadlines
from futures_cluster.engines.inprocess.instrumentation import Instrumentation
from futures_cluster.engines.inprocess.ready import Ready
from futures_cluster.engines.inprocess.slots import Slots
from futures_cluster.engines.inprocess.work import WorkItem
from futures_cluster.messages import TaskOptions


class WorkLifecycle(InProcessBase):
    """Part of ``InProcessEngine``."""

    instrumentation: Instrumentation
    queued: dict[int, WorkItem]  # work that has not begun, by its number; the taker owns it
    _ready: Ready
    _slots: Slots
    _deadlines: Deadlines
    _limited: dict[int, WorkItem]  # running, with a timeout, by number; the taker ends it

    def enqueue(self, work: WorkItem) -> None:
        """Put work in the queue, once all its inputs are there."""
        if work.priority or work.depth or work.resources or work.attempt > 1 or type(work) is not WorkItem:
            self._ready.put_ordered(work)
        else:
            self._ready.put(work)
        self._slots.want()

    # ---------------------------------------------------------------- on its thread

    def prepare(self, work: WorkItem) -> None:
        """Prepare special work for the call of its function, on its thread.

        Raises
        ------
        DeserializationError
            If the values of futures cannot be put in their places.
        """
        work.mark_running()
        if self.instrumentation.is_on:
            self.instrumentation.check_inputs(work)
        if work.timeout_s is not None:
            self._limited[work.number] = work
            self._deadlines.add(work.timeout_s, partial(self._too_long, weakref.ref(work), work.attempt))
        work.resolve_inputs()
        if self.instrumentation.is_on:
            self.instrumentation.begins(work)

    def returned(self, work: WorkItem, value: Any) -> None:
        """Take note that special work has returned."""
        if self.instrumentation.is_on:
            self.instrumentation.ended(work, value, None)
        if work.timeout_s is not None and self._limited.pop(work.number, None) is None:
            self._done_with(work)
            return
        self._done_with(work)
        work.deliver_value(value)

    def raised(self, work: WorkItem, error: BaseException) -> None:
        """Take note that work has raised: try it again, or deliver the error."""
        self.instrumentation.ended(work, None, error)
        if work.special:
            if work.timeout_s is not None and self._limited.pop(work.number, None) is None:
                self._done_with(work)
                return
            if work.retries_left:
                work.retries_left -= 1
                work.attempt += 1
                if work.resources:
                    self._ready.give_back(work)
                work.mark_pending()
                self.queued[work.number] = work
                if work.backoff_s:
                    self._pause(work)
                else:
                    self.enqueue(work)
                return
            self._done_with(work)
        work.deliver_failure(error)

    def _pause(self, work: WorkItem) -> None:
        """Let work wait before its next attempt; it can be cancelled meanwhile."""
        from futures_cluster.scheduler.backoff import backoff_s

        options = TaskOptions(backoff_s=work.backoff_s)
        pause_s = backoff_s(options, work.key, work.attempt - 1, f"{os.getpid()} {self.owner}")
        work.paused_until_s = clocks.monotonic() + pause_s
        self._deadlines.add(pause_s, partial(self._resume, weakref.ref(work)))

    def _resume(self, reference: weakref.ref[WorkItem]) -> None:
        work = reference()
        if work is not None and work.number in self.queued:
            self.enqueue(work)

    def _done_with(self, work: WorkItem) -> None:
        """Give back the resources of work that has ended, and take it from its parent."""
        if work.resources:
            self._ready.give_back(work)
        if work.parent is not None:
            work.parent.children.pop(work.number, None)

    def _too_long(self, reference: weakref.ref[WorkItem], attempt: int) -> None:
        """Fail the future of an attempt whose time is over; its thread goes on."""
        work = reference()
        if work is not None and work.attempt == attempt and self._limited.pop(work.number, None) is not None:
            work.deliver_failure(errors.TaskTimeout(f"{work.key} ran longer than its timeout of {work.timeout_s} s"))

    # ---------------------------------------------------------------- instead of its call

    def fail(self, work: WorkItem, error: BaseException) -> None:
        """Fail work that waits for what has failed."""
        if self.take_out(work):
            work.deliver_failure(error)

    def cancel(self, work: WorkItem) -> None:
        """Cancel work that waits for what was cancelled."""
        if self.take_out(work):
            work.deliver_cancelled()

    def take_out(self, work: WorkItem) -> bool:
        """Take work away that has not begun, and drop its call; False if it has begun."""
        if self.queued.pop(work.number, None) is None:
            return False
        if work.parent is not None:
            work.parent.children.pop(work.number, None)
        self._check_idle()
        work.forget_call()
        return True

    def _check_idle(self) -> None:
        if self.closing:  # most often it is not
            self._slots.look_quiet()
