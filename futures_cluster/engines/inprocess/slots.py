"""Slots: the threads that execute.

Covers: starting threads when there is work for them, the loop that each is in, other threads in the place of those
whose tasks wait, the end. Does not cover: what comes first (``ready``), what the end of a call means (``lifecycle``).

There are to be ``target`` active threads: as many as the executor has workers, and one more for each task that waits.
As in the standard library a thread is started only when work finds none idle. A thread that is one too many steps
aside with the next work that it takes, and is the first to come back.

A thread says what it has taken (``SlotThread.task``) before it looks whether threads are wanted (``_is_settled``), and
a caller that wants one more says so before it looks at what threads have taken. So no work waits while a thread could
start for it.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from futures_cluster import context, locks
from futures_cluster.engines.inprocess.ready import TICKET, Ready
from futures_cluster.engines.inprocess.work import WorkItem
from futures_cluster.services.common import daemons, forks, plugin_runner
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.wire.codec.tracebacks import without_caller

if TYPE_CHECKING:
    from futures_cluster.engines.inprocess.host import Host


class SlotThread:
    """A thread that executes.

    Attributes
    ----------
    task : WorkItem or None
        What it executes now, or has just taken.
    is_aside : bool
        Whether it takes nothing, until it is wanted again.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.task: Any = None
        self.is_aside = False
        self.wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()  # says when; False at the end
        self.thread: threading.Thread


class Slots:
    """The threads of one engine.

    Parameters
    ----------
    engine : Host
        Gets the calls that end. The thread that takes work out of its ``queued`` owns that work.
    prefix : str
        Begins the names of threads.
    """

    def __init__(self, engine: Host, prefix: str, ready: Ready) -> None:
        self.all: list[SlotThread] = []
        self._engine = engine
        self._prefix = prefix
        self._ready = ready
        self._queued = engine.queued
        self._target = engine.max_workers
        self._active = 0  # threads that run and are not aside
        self._alive = 0
        self.may_grow = True  # there may be more threads than there are
        self._is_settled = False  # as many threads as are wanted, no order, no end: nothing to look at
        self._closing = False
        self._lock = locks.RLock()  # a finalizer may come back here
        ready.on_order = self.settle

    # ---------------------------------------------------------------- how many

    def want(self) -> None:
        """Start a thread if there may be more work than idle threads."""
        if self._active < self._target and self._lacks_threads():
            with DeferredSignals(), self._lock:
                if self._active < self._target and self._lacks_threads():
                    self._start()

    def _lacks_threads(self) -> bool:
        """Return whether there is more work than idle threads."""
        left = self._ready.size()
        for slot in self.all:
            if left <= 0:
                break
            if slot.task is None and not slot.is_aside:
                left -= 1
        return left > 0

    def _start(self) -> None:
        """Have one more thread; under the lock."""
        slot = next((slot for slot in self.all if slot.is_aside), None)
        self._active += 1
        if slot is not None:
            slot.is_aside = False
            slot.wanted.put(True)
        else:
            slot = SlotThread(len(self.all))
            slot.thread = threading.Thread(
                target=self._run, args=(slot,), name=f"{self._prefix}_{slot.index}", daemon=True
            )
            self.all.append(slot)
            self._alive += 1
            try:
                slot.thread.start()
            except BaseException as error:
                self._alive -= 1
                self._active -= 1
                self.all.remove(slot)
                self.settle()
                if not isinstance(error, RuntimeError) or not self._alive:
                    raise
                # The system starts no more threads: those that run do the work.
        self.settle()

    def settle(self) -> None:
        """See again whether threads have to look after anything but work."""
        with self._lock:
            self.may_grow = self._active < self._target
            self._is_settled = self._active == self._target and not (
                self._closing or self._ready.is_ordered or self._engine.instrumentation.is_on
            )

    def lend(self) -> None:
        """Let another thread run in the place of a task that waits."""
        with self._lock:
            self._target += 1
            self.settle()
        self.want()

    def take_back(self) -> None:
        """Take the slot back for a task that goes on."""
        with self._lock:
            self._target -= 1
            self.settle()

    def close(self) -> None:
        """End all threads once nothing is left to do."""
        with self._lock:
            self._closing = True
            self.settle()
            alive = self._alive
        if not alive:
            self._engine.ended()
        self.look_quiet()

    def look_quiet(self) -> None:
        """Wake the threads after ``close`` if nothing is left to do."""
        if self._closing and not self._queued:
            self._ready.put(None)

    def join(self) -> None:
        """Wait for the end of all threads, after ``close``.

        Raises
        ------
        RuntimeError
            On one of them.
        """
        current = threading.current_thread()
        if any(slot.thread is current for slot in self.all):
            raise RuntimeError(
                "cannot join current thread: shutdown(wait=True) was called in a task of this executor and would wait "
                "for that task; call shutdown(wait=False) in tasks"
            )
        for slot in self.all:  # grows meanwhile
            slot.thread.join()

    # ---------------------------------------------------------------- each thread

    def _run(self, slot: SlotThread) -> None:
        daemons.start_no_daemons()
        plugin_runner.local.add = self._engine.instrumentation.watch_worker
        try:
            if self._engine.initialize():
                self._take_and_execute(slot)
        finally:
            slot.task = None
            with self._lock:
                self._active -= 1
                self._alive -= 1
                is_last = not self._alive
                self.settle()
                if self._closing:
                    for other in self.all:
                        if other.is_aside:
                            other.wanted.put(False)
            if self._closing and is_last:
                self._engine.ended()

    def _take_and_execute(self, slot: SlotThread) -> None:
        get, claim, local = self._ready.get, self._queued.pop, context.local
        engine = self._engine
        forks_before = forks.count
        while True:
            work = slot.task = get()
            if not self._is_settled:
                work = self._attend(slot, work)
                if work is None:
                    return
            if claim(work.number, None) is None:  # it was cancelled
                if work.resources:
                    self._ready.give_back(work)
                work = slot.task = None
                continue
            local.task = work
            try:
                if work.special:
                    engine.prepare(work)
                else:
                    work.future._state = "RUNNING"
                value = work.fn(*work.args, **work.kwargs)
            except BaseException as error:
                if forks.count != forks_before:
                    forks.leave(error)
                slot.task = local.task = None
                engine.raised(work, without_caller(error))
            else:
                if forks.count != forks_before:
                    forks.leave()
                slot.task = local.task = None
                if work.special:
                    engine.returned(work, value)
                else:
                    work.future._deliver_value(value)
            work = value = None
            if self._closing:
                self.look_quiet()  # which threads see only once ``_is_settled`` is false

    def _attend(self, slot: SlotThread, item: Any) -> WorkItem | None:
        """Look after all that is not settled; return the work to execute, or None."""
        ready = self._ready
        while True:
            if item is None:
                slot.task = None
                if self._closing and not self._queued:
                    ready.put(None)
                    return None
            elif self._active > self._target and self._steps_aside(slot, item):
                if not slot.wanted.get():
                    with self._lock:
                        self._active += 1  # which the end counts
                    return None
            else:
                if item is TICKET or ready.is_ordered:
                    item = ready.choose(item)
                slot.task = item
                if self._active < self._target:
                    self.want()
                if item is not None:
                    work: WorkItem = item
                    if self._engine.instrumentation.is_on:
                        work.special, work.slot = True, slot.index
                    return work
            item = slot.task = ready.get()

    def _steps_aside(self, slot: SlotThread, item: Any) -> bool:
        """Let others have what this thread has taken, if it is one too many."""
        with self._lock:
            if self._active <= self._target:
                return False
            self._active -= 1
            slot.is_aside = True
            slot.task = None
            self.settle()
        self._ready.put_back(item)
        return True
