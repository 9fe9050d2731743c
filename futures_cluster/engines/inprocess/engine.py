"""The engine whose workers are threads of this process.

Covers: submitting, what the futures of its tasks ask (it is their client), the end. Does not cover: what happens to a
call then (``lifecycle``), the threads (``slots``), the order (``ready``), facts (``introspection``).

A call without options, without futures among its arguments and outside of tasks takes the short way: ``submit`` makes a
future and a work, puts both away, and a thread calls the function and delivers. All else is *special* work. Each work
is in ``queued`` until it begins. The thread or call of ``cancel`` that takes it out owns it, so this needs no lock.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster import context, errors, locks
from futures_cluster.config import Config
from futures_cluster.engines.base import check_usable
from futures_cluster.engines.inprocess.deadlines import Deadlines
from futures_cluster.engines.inprocess.instrumentation import Instrumentation
from futures_cluster.engines.inprocess.introspection import EngineIntrospection
from futures_cluster.engines.inprocess.lending import Lending
from futures_cluster.engines.inprocess.ready import Ready
from futures_cluster.engines.inprocess.slots import Slots
from futures_cluster.engines.inprocess.work import LIMIT_PREFIX, InputWaiter, WorkItem
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.messages import DEFAULT_OPTIONS, Key
from futures_cluster.services.client.call_preparation import (
    check_free,
    find_refusal,
    inherit,
)
from futures_cluster.services.client.callback_thread import CallbackThread
from futures_cluster.services.client.function_table import function_name
from futures_cluster.services.client.shared_objects import SharedObjectClient
from futures_cluster.services.common import forks, process_lifetime
from futures_cluster.services.common.signals import DeferredSignals
from futures_cluster.wire.codec import arguments
from futures_cluster.wire.codec.exception_state import copied

if TYPE_CHECKING:
    from futures_cluster.services.client.graphs import Graph
    from futures_cluster.services.common.protocols import ClientFuture

_engines = itertools.count(1)


class InProcessEngine(EngineIntrospection):
    """Threads of this process."""

    name = worker = "threads"
    supports_graphs = True

    def __init__(self, config: Config, make_future: Callable[[Any, Any], Any]) -> None:
        if config.mp_context is not None:
            raise errors.NotSupported("mp_context is for processes; leave it out with backend='threads'")
        if config.max_tasks_per_child is not None:
            raise errors.NotSupported("max_tasks_per_child is for processes; threads are not replaced")
        if config.memory_limit is not None:
            raise errors.NotSupported("memory_limit is for processes; threads share this process's memory")
        super().__init__(config, make_future)
        self.max_workers = config.max_workers
        self.slots = config.max_workers * config.threads_per_worker
        self.owner = f"{self.name}{next(_engines)}"
        self.callbacks = CallbackThread()
        # To users each thread is a worker, and offers what they say.
        self.resources = {name: amount * config.max_workers for name, amount in config.resources.items()}
        self.limits = config.limits
        self._ready = Ready(self.resources | {LIMIT_PREFIX + name: amount for name, amount in self.limits.items()})
        self.queued: dict[int, WorkItem] = {}
        prefix = config.thread_name_prefix or "futures_cluster-slot"
        self.instrumentation = Instrumentation(self.name, self.max_workers, lambda: self._slots.settle(), config.debug)
        self._slots = Slots(self, prefix, self._ready)
        self._deadlines = Deadlines()
        self._lending = Lending(self._slots, self._deadlines)
        self._limited = {}
        self._numbers = itertools.count(1)
        self._usual: SubmitOptions | None = None  # the options of the short way
        self._is_open = False  # the short way is open: started, not closing, not broken, not forked
        self._started = self._has_ended = False
        self._lock = locks.RLock()  # a finalizer may come back here

    # ---------------------------------------------------------------- submitting

    def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """See ``Engine``."""
        if options is not self._usual or not self._is_open or context.local.task is not None:
            return self._submit(fn, args, kwargs, options)
        if options.resolve and (args or kwargs) and not arguments.are_plain(args, kwargs):
            return self._submit(fn, args, kwargs, options)
        number = next(self._numbers)
        future = self._make_future(None, self)
        future._number = number
        try:
            future._function_name = fn.__qualname__
        except AttributeError:
            future._function_name = function_name(fn)
        work = WorkItem(self, number, future, fn, args, kwargs)
        try:
            self.queued[number] = work
            self._ready.put(work)
            if self._slots.may_grow:
                self._slots.want()
            if self.closing:
                self._refuse_late(number)
        except BaseException:  # Ctrl-C among others: the caller never gets this future, so nothing may wait for it
            self.queued.pop(number, None)
            self._check_idle()
            raise
        return future

    def _submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: SubmitOptions
    ) -> Any:
        """Submit any call."""
        self._check()
        asked = options.task
        if asked is not DEFAULT_OPTIONS:
            self.check_options(asked)
        if asked is DEFAULT_OPTIONS and not options.pure and options.key is None:
            self._usual = options
        parent = context.submitting_task()
        found = arguments.find(args, kwargs) if options.resolve else arguments.Found()
        given = self._replaceable(found)
        future, is_new = self._future_of_call(fn, args, kwargs, options)
        if not is_new:
            return future
        refusal = find_refusal(given, self) if given else None
        if refusal is not None:
            future._fail_here(refusal)
            return future
        work = WorkItem(self, future._number, future, fn, args, kwargs)
        if parent is not None:
            work.special, work.parent, work.depth = True, parent, parent.depth + 1
            asked = inherit(asked, parent)
            parent.children[work.number] = None
        if asked is not DEFAULT_OPTIONS:
            work.apply_options(asked)
        if given:
            work.special, work.futures, work.containers = True, given, found.inside
        self._admit(work, given)
        if parent is not None:
            self.has_children(parent)
        return future

    def _admit(self, work: WorkItem, given: list[Any]) -> None:
        """Let work run once all its inputs are there."""
        with DeferredSignals():
            try:
                self.queued[work.number] = work
                missing = [other for other in given if other._state != "FINISHED" or other._exception is not None]
                if missing:
                    self.wait_for(work, missing)
                else:
                    self.enqueue(work)
                if self.closing:
                    self._refuse_late(work.number)
            except BaseException:
                self.queued.pop(work.number, None)
                self._done_with(work)
                self._check_idle()
                raise

    def wait_for(self, work: WorkItem, missing: list[Any]) -> None:
        """Let work wait for futures; end it at once if one has failed or was cancelled."""
        waiter = InputWaiter(self, work, len(missing))
        for future in missing:
            with future._condition:
                state = future._state
                if state in ("PENDING", "RUNNING"):
                    future._waiters.append(waiter)
                    continue
            if state != "FINISHED":
                waiter.add_cancelled(future)
            elif future._exception is not None:
                waiter.add_exception(future)
            else:
                waiter.add_result(future)

    def _refuse_late(self, number: int) -> None:
        """Withdraw work that came while the executor closed.

        Raises
        ------
        RuntimeError
            Unless a thread has taken the work already.
        """
        if self.queued.pop(number, None) is not None:
            self._check_idle()
            raise RuntimeError("cannot schedule new futures after shutdown")

    def scatter(self, value: Any, options: SubmitOptions, replicas: int = 1) -> Any:
        """See ``Engine``; all share the object itself."""
        self._check()
        if options.key is not None:
            check_free(options.key, self._keyed)
        future = self._make_future(options.key, self)
        future._number, future._function_name = next(self._numbers), "scatter"
        if options.key is not None:
            self._keyed[options.key] = future
        future._deliver_value(value)
        return future

    def _check(self) -> None:
        """Start when first used; otherwise say why nothing can be submitted."""
        check_usable(self.forked, self.broken, self.closing)
        if not self._started:
            with DeferredSignals(), self._lock:
                process_lifetime.register_cluster(self)
                self.instrumentation.joined(os.getpid())
                self._started = self._is_open = True
                if self.closing:  # by a finalizer, meanwhile
                    self._is_open = False
                    process_lifetime.unregister_cluster(self)
                    raise RuntimeError("cannot schedule new futures after shutdown")

    # ---------------------------------------------------------------- graphs

    def submit_graph(self, graph: Graph) -> dict[Key, Any]:
        """See ``Engine``."""
        from futures_cluster.engines.inprocess.graphs import submit_graph

        self._check()
        return submit_graph(self, graph)

    def next_number(self) -> int:
        """Return the next number of a call."""
        return next(self._numbers)

    def make_future(self, key: Key, work: Any) -> Any:
        """Make the future of a call in a graph, to which the call refers weakly."""
        future = self._keyed[key] = self._make_future(key, self)
        future._number, future._function_name, future._of_graph = work.number, work.function, True
        work.future = future
        return future

    def admit_graph(self, works: list[Any]) -> None:
        """Let the calls of a graph run once all their inputs are there."""
        for work in works:
            self.queued[work.number] = work
        if works and works[0].parent is not None:
            self.has_children(works[0].parent)
        for work in works:
            if not work.missing:
                self.enqueue(work)
        if self.closing:
            for work in works:
                self.cancel(work)
            raise RuntimeError("cannot schedule new futures after shutdown")

    def drop_unfinished(self, future: ClientFuture) -> None:
        """Drop an unfinished call of a graph with its last future; ``__del__`` calls it."""
        work: Any = self.queued.get(future._number)
        if work is not None and not self.forked:
            work.withdraw()

    # ---------------------------------------------------------------- what futures ask (their client)

    @property
    def client(self) -> InProcessEngine:
        """What stands for the client of its futures."""
        return self

    def withdraw(self, future: ClientFuture) -> bool:
        """Take the work of a future away, unless a thread has it."""
        work = self.queued.get(future._number)
        return work is not None and work.withdraw()

    def cancelled(self, future: ClientFuture, force: bool) -> None:
        """Take note that a future was cancelled, and its work withdrawn."""
        self._check_idle()

    def shared(self) -> SharedObjectClient:
        """See ``Engine``."""
        self._check()
        return self.shared_port

    # ---------------------------------------------------------------- for tasks (``context.TaskHost``)

    def task_waits(self, task: context.TaskContext, waits: bool) -> None:
        """See ``context.TaskHost``."""
        with DeferredSignals():
            self._lending.waits(task, waits)

    def has_children(self, task: context.TaskContext) -> None:
        """See ``context.TaskHost``."""
        if task.host is self:
            self._lending.look_after(task)

    def initialize(self) -> bool:
        """Call the initializer on a new thread; False if it failed."""
        if self._config.initializer is None:
            return True
        try:
            with forks.Once():
                self._config.initializer(*self._config.initargs)
        except BaseException as error:
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            broken = errors.ThreadInitializerFailed(f"the initializer raised {error!r}")
            broken.__cause__ = error
            self.broken, self._is_open = broken, False
            for work in list(self.queued.values()):
                self.fail(work, copied(broken))
            return False
        return True

    # ---------------------------------------------------------------- the end

    def shutdown(self, wait: bool, cancel_futures: bool = False, kill: bool | None = None) -> None:
        """See ``Engine``; nothing can be killed."""
        if self.forked:
            return
        with DeferredSignals() as held:
            with self._lock:
                first, self.closing, self._is_open = not self.closing, True, False
            try:
                if cancel_futures:
                    held.is_open = True  # callbacks are called
                    for work in list(self.queued.values()):
                        if work.future is not None:
                            work.future.cancel()
            finally:
                held.is_open = False
                if first:
                    self._slots.close()
        if wait:
            self._slots.join()
            self._deadlines.join()
            self.instrumentation.join()
            if self._view is not None:
                self._view.join()
            self.callbacks.join()

    def ended(self) -> None:
        """Finish after ``shutdown``, on the last thread, or else on the caller's."""
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
        self.shared_port.close(RuntimeError("the executor was shut down"))
        self._deadlines.close()
        self.instrumentation.close()
        if self._view is not None:
            self._view.close()
        # Let go of the user's objects for threads at once: the collector of cycles may come late.
        self._config = self._config._replace(initializer=None, initargs=())
        self.callbacks.close(lambda: process_lifetime.unregister_cluster(self))

    def after_fork_in_child(self) -> None:
        """Let go of everything in a forked copy of the process: nothing works there."""
        self.forked, self._is_open = True, False
