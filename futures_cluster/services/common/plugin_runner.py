"""Plugins: they hear what a scheduler or a worker has done, and can change nothing.

Covers: the events, the base classes of plugins, handing events over to them. Does not cover: where things happen
(``services.scheduler.service`` and ``services.worker.service`` post them), shared objects
(``scheduler.shared.objects``).

Events are plain facts, so a plugin has nothing to change. It runs in a thread of its own: a slow one delays nothing
but itself, and what it cannot keep up with is dropped and counted. One that raises is switched off, with one line in
the log. Where there is no plugin, an event costs one comparison with None.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from futures_cluster import messages as m
from futures_cluster.messages import Message
from futures_cluster.services.common import forks

if TYPE_CHECKING:
    from futures_cluster.scheduler.records import Task
    from futures_cluster.scheduler.state import State

logger = logging.getLogger("futures_cluster")

#: Events that may wait for the plugins of one scheduler or worker.
MAX_EVENTS = 100_000
#: Maximum time that the end of an executor waits for plugins to take all events.
CLOSE_S = 10.0


# ---------------------------------------------------------------- events


class TaskFinished(NamedTuple):
    """A task has a result.

    Attributes
    ----------
    key : str
        Key of the task.
    function : str
        Name of the function that the task calls.
    worker : str
        Name of the worker.
    duration_s : float
        Duration of the call in seconds.
    size_bytes : int
        Estimated size of the result.
    """

    key: str
    function: str
    worker: str
    duration_s: float
    size_bytes: int


class TaskFailed(NamedTuple):
    """A task has raised; it may be retried.

    Attributes
    ----------
    key : str
        Key of the task.
    function : str
        Name of the function that the task calls.
    worker : str
        Name of the worker.
    duration_s : float
        Duration of the call in seconds.
    """

    key: str
    function: str
    worker: str
    duration_s: float


class TaskMoved(NamedTuple):
    """The scheduler took a task back that a worker had not started, for another worker.

    Attributes
    ----------
    key : str
        Key of the task.
    function : str
        Name of the function that the task calls.
    worker : str
        Name of the worker that had the task.
    """

    key: str
    function: str
    worker: str


class WorkerJoined(NamedTuple):
    """A worker is ready.

    Attributes
    ----------
    worker : str
        Name of the worker.
    host : str
        Host on which it runs.
    pid : int
        Its process.
    slots : int
        Maximum number of tasks that it runs at a time.
    """

    worker: str
    host: str
    pid: int
    slots: int


class WorkerLost(NamedTuple):
    """A worker has ended.

    Attributes
    ----------
    worker : str
        Name of the worker.
    deliberate : bool
        Whether the executor or the cluster stopped it.
    cause : str
        Reason, in words.
    """

    worker: str
    deliberate: bool
    cause: str


class RunStarted(NamedTuple):
    """On a worker: a task starts to run.

    Attributes
    ----------
    key : str
        Key of the task.
    worker : str
        Name of the worker.
    """

    key: str
    worker: str


class RunEnded(NamedTuple):
    """On a worker: a task has stopped running.

    Attributes
    ----------
    key : str
        Key of the task.
    worker : str
        Name of the worker.
    failed : bool
        Whether it raised.
    duration_s : float
        Duration of the call in seconds.
    size_bytes : int
        Estimated size of the result.
    """

    key: str
    worker: str
    failed: bool
    duration_s: float
    size_bytes: int


class DataFetched(NamedTuple):
    """On a worker: results have come from another worker.

    Attributes
    ----------
    keys : tuple of str
        Keys of the results.
    worker : str
        Name of the worker that fetched them.
    holder : str
        Address of the worker that sent them.
    size_bytes : int
        Size of their payloads.
    """

    keys: tuple[str, ...]
    worker: str
    holder: str
    size_bytes: int


Event = TaskFinished | TaskFailed | TaskMoved | WorkerJoined | WorkerLost | RunStarted | RunEnded | DataFetched


# ---------------------------------------------------------------- plugins


class SchedulerPlugin:
    """Base class of plugins of a scheduler, which calls one method for each event."""

    def task_finished(self, event: TaskFinished) -> None:
        """Take note that a task has a result.

        Parameters
        ----------
        event : TaskFinished
            Facts about it.
        """

    def task_failed(self, event: TaskFailed) -> None:
        """Take note that a task has raised.

        Parameters
        ----------
        event : TaskFailed
            Facts about it.
        """

    def task_moved(self, event: TaskMoved) -> None:
        """Take note that the scheduler took a task back from a worker.

        Parameters
        ----------
        event : TaskMoved
            Facts about it.
        """

    def worker_joined(self, event: WorkerJoined) -> None:
        """Take note that a worker is ready.

        Parameters
        ----------
        event : WorkerJoined
            Facts about it.
        """

    def worker_lost(self, event: WorkerLost) -> None:
        """Take note that a worker has ended.

        Parameters
        ----------
        event : WorkerLost
            Facts about it.
        """

    def close(self) -> None:
        """Close the plugin: no more events come."""


class WorkerPlugin:
    """Base class of plugins of a worker, which live in its process; see ``watch_worker``."""

    def run_started(self, event: RunStarted) -> None:
        """Take note that a task starts to run.

        Parameters
        ----------
        event : RunStarted
            Facts about it.
        """

    def run_ended(self, event: RunEnded) -> None:
        """Take note that a task has stopped running.

        Parameters
        ----------
        event : RunEnded
            Facts about it.
        """

    def data_fetched(self, event: DataFetched) -> None:
        """Take note that results have come from another worker.

        Parameters
        ----------
        event : DataFetched
            Facts about it.
        """

    def close(self) -> None:
        """Close the plugin: no more events come."""


Plugin = SchedulerPlugin | WorkerPlugin

_METHODS: dict[type[Any], str] = {
    TaskFinished: "task_finished",
    TaskFailed: "task_failed",
    TaskMoved: "task_moved",
    WorkerJoined: "worker_joined",
    WorkerLost: "worker_lost",
    RunStarted: "run_started",
    RunEnded: "run_ended",
    DataFetched: "data_fetched",
}


class PluginRunner:
    """The plugins of one scheduler or worker, and the thread that tells them.

    Attributes
    ----------
    dropped : int
        Events that no plugin got, because too many waited.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.plugins: tuple[Plugin, ...] = ()
        self._events: queue.SimpleQueue[list[Event] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="futures_cluster-plugins", daemon=True)
        self._thread.start()

    def add(self, plugin: Plugin) -> None:
        """Add a plugin, unless it is there."""
        if not any(other is plugin for other in self.plugins):
            self.plugins = (*self.plugins, plugin)

    def post(self, events: list[Event]) -> None:
        """Hand events over; from any thread."""
        if self._waiting > MAX_EVENTS:
            self.dropped += len(events)
            return
        self._waiting += len(events)  # a guess is enough: threads may count at the same time
        self._events.put(events)

    def _run(self) -> None:
        warned = False
        while True:
            events = self._events.get()
            if self.dropped and not warned:  # here: a handler of the user's may block, and must not block the scheduler
                warned = True
                logger.warning("plugins are too slow: events are dropped")
            if events is None:
                break
            for event in events:
                self._tell(_METHODS[type(event)], event)
            self._waiting -= len(events)
        self._tell("close")

    def _tell(self, method: str, *args: Any) -> None:
        for plugin in self.plugins:
            try:
                with forks.Once():
                    getattr(plugin, method)(*args)
            except BaseException:
                logger.exception("the plugin %r failed in %s and is switched off", plugin, method)
                self.plugins = tuple(other for other in self.plugins if other is not plugin)

    def close(self) -> None:
        """Close the plugins once they have heard all events."""
        self._events.put(None)

    def join(self, timeout: float | None = CLOSE_S) -> None:
        """Wait until plugins have been told everything, after ``close``."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)


# ---------------------------------------------------------------- what happens on a scheduler


def look(message: Message, state: State) -> list[Event]:
    """Return a message's events, before the scheduler deals with it.

    Looked at before that, because afterwards a task may be forgotten.
    """
    events: list[Event] = []
    if isinstance(message, m.TasksFinished):
        for task, (key, *_, size_bytes, duration_s) in _current(message.finished, message.worker, state):
            events.append(TaskFinished(key, task.function.group.name, message.worker, duration_s, size_bytes))
        for task, (key, *_, duration_s) in _current(message.failed, message.worker, state):
            events.append(TaskFailed(key, task.function.group.name, message.worker, duration_s))
    elif isinstance(message, m.TasksReturned):
        for task, (key, _) in _current(message.returned, message.worker, state):
            if not task.cancel_requested:
                events.append(TaskMoved(key, task.function.group.name, message.worker))
    elif isinstance(message, m.WorkerConnected):
        events.append(WorkerJoined(message.worker, message.host, message.pid, message.slots))
    elif isinstance(message, m.WorkerGone):
        events.append(WorkerLost(message.worker, message.deliberate, message.cause))
    return events


def _current(rows: Iterable[Any], worker: str, state: State) -> Iterator[tuple[Task, Any]]:
    """Yield the rows of present attempts on a worker, each with its task."""
    for row in rows:
        task = state.tasks.get(row[0])
        if task is not None and task.attempt == row[1] and task.worker is not None and task.worker.name == worker:
            yield task, row


_for_all_schedulers: list[SchedulerPlugin] = []


def watch_schedulers(plugin: SchedulerPlugin) -> None:
    """Send a plugin the events of each scheduler that this process makes from now on.

    For a module that the scheduler's command loads; with an executor of this process, ``Executor.watch`` is simpler.

    Parameters
    ----------
    plugin : SchedulerPlugin
        Plugin to call.
    """
    _for_all_schedulers.append(plugin)


def watch_of_scheduler() -> PluginRunner | None:
    """Return what a new scheduler begins with."""
    if not _for_all_schedulers:
        return None
    watch = PluginRunner()
    for plugin in _for_all_schedulers:
        watch.add(plugin)
    return watch


# ---------------------------------------------------------------- what happens on a worker


class _Local(threading.local):
    add: Callable[[WorkerPlugin], None] | None = None


local = _Local()


def watch_worker(plugin: WorkerPlugin) -> None:
    """Send a plugin the events of the worker that runs this task or initializer.

    Parameters
    ----------
    plugin : WorkerPlugin
        Plugin to call.

    Raises
    ------
    RuntimeError
        If this is not a worker.
    """
    if local.add is None:
        raise RuntimeError("watch_worker() is for tasks and initializers; elsewhere use Executor.watch()")
    local.add(plugin)
