"""Which executor and task the running code belongs to.

Covers: the task that this thread executes, the executor that the task may use, the one that other libraries use by
default, and telling them of it. Does not cover: making executors, which the host of a task does.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from futures_cluster import late

#: What a library has once it is fully imported, and the function ``"module:function"`` that tells it of our executor.
ADAPTERS = {("joblib", "parallel_config"): late.JOBLIB}
_adapted: set[str] = set()


def load_adapters() -> None:
    """Adapt the libraries that are loaded by now; cheap, called after imports."""
    for (library, name), adapter in ADAPTERS.items():
        if adapter not in _adapted and hasattr(sys.modules.get(library), name):
            with contextlib.suppress(ImportError):  # a version that we know nothing of
                adapt = late.load(adapter, None)
                if adapt is not None:  # else the adapter is what has imported the library: the next time
                    adapt()
                    _adapted.add(adapter)


#: In the place of a task's beginning: its function and arguments are still being unpickled.
LOADS = -1.0


class TaskHost(Protocol):
    """The worker that executes a task, as the task sees it."""

    def task_waits(self, task: TaskContext, waits: bool) -> None:
        """Give the slot of a task back while it waits for others, or take one again."""

    def has_children(self, task: TaskContext) -> None:
        """Take note that the task has begun to submit tasks."""

    def executor(self) -> Any:
        """Return an executor over the cluster that runs the task."""


#: A task with unfinished children waits for them if this many looks in a row find that it has used no processor. On a
#: busy machine a single look finds that of a task that only had to let others run.
IDLE_LOOKS = 3


class IdleLooks:
    """Looks at the processor time of one task with unfinished children."""

    __slots__ = ("_number", "_used_s")

    def __init__(self) -> None:
        self._used_s: float | None = None
        self._number = 0  # in a row that have found no use

    def waits(self, used_s: float, interval_s: float) -> bool:
        """Take a look, some time after the last; return whether the task waits."""
        if self._used_s is not None:
            self._number = self._number + 1 if used_s - self._used_s < interval_s / 4 else 0
        self._used_s = used_s
        return self._number >= IDLE_LOOKS


class TaskContext:
    """The task that a thread executes.

    Attributes
    ----------
    depth : int
        How many submissions deep: 0 for a task that was not submitted by another.
    priority : int
        What it was submitted with; the tasks that it submits begin from there.
    children : int
        Unfinished tasks that this one has submitted.
    begun_s : float
        When its function was called, by ``time.perf_counter``; before that ``LOADS``, on engines that pickle.
    """

    attempt = 1
    depth = 0
    priority = 0
    waiting = 0  # how many of its calls wait, one inside the other
    begun_s = 0.0

    def __init__(self, host: TaskHost, key: str, attempt: int, depth: int, priority: int = 0) -> None:
        self.host = host
        self.key = key
        self.attempt = attempt
        self.depth = depth
        self.priority = priority
        self.thread = threading.get_ident()

    @functools.cached_property
    def children(self) -> dict[Any, None]:
        """The keys of unfinished tasks that this one has submitted."""
        return {}


class _Local(threading.local):
    task: TaskContext | None = None
    loads = False  # an initializer is being unpickled


local = _Local()


def current_task() -> TaskContext | None:
    """Return the task that this thread executes, if any."""
    return local.task


def submitting_task() -> TaskContext | None:
    """Return the task that submits another in this thread, if any.

    Raises
    ------
    RuntimeError
        When the task does not run yet: see ``check_not_loading``.
    """
    task = local.task
    if task is not None and task.begun_s == LOADS:
        _refuse()
    return task


def check_not_loading() -> None:
    """Check that this thread is not importing the modules of what it is to run.

    Raises
    ------
    RuntimeError
        If it is. A module that uses an executor while it is imported would do so in each worker that imports it, and
        so would the workers of that executor, without end.
    """
    process = sys.modules.get("multiprocessing.process")
    if local.loads or (process is not None and getattr(process.current_process(), "_inheriting", False)):
        _refuse()
    submitting_task()


def _refuse() -> None:
    raise RuntimeError(
        "a module uses an executor while a worker process imports it, before its first task runs; each worker would "
        "import the module again and do the same, without end. Put the lines that use the executor into a function, "
        'or under: if __name__ == "__main__":'
    )


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Mark that this thread unpickles what a worker runs besides tasks."""
    local.loads = True
    try:
        yield
    finally:
        local.loads = False


def current_executor() -> Any:
    """Return an executor of the cluster that runs the present task.

    Returns
    -------
    Executor
        An executor whose tasks run on the same workers.

    Raises
    ------
    RuntimeError
        If no task runs in this thread.
    """
    task = local.task
    if task is None:
        raise RuntimeError("current_executor() can only be called inside a task; elsewhere use your Executor")
    return task.host.executor()


#: Those that are the default of this process (``Executor.as_default``): the last of them is.
defaults: list[Any] = []


def default_executor() -> Any:
    """Return the executor that other libraries use by default, or None."""
    return defaults[-1] if defaults else None


_NO_TASK = contextlib.nullcontext()


def waiting() -> contextlib.AbstractContextManager[None]:
    """Give the slot of the present task back while it waits for others."""
    return _NO_TASK if local.task is None else _waits(local.task)


@contextlib.contextmanager
def _waits(task: TaskContext) -> Iterator[None]:
    task.waiting += 1
    if task.waiting == 1:
        task.host.task_waits(task, True)
    try:
        yield
    finally:
        task.waiting -= 1
        if task.waiting == 0:
            task.host.task_waits(task, False)
