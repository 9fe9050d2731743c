"""Plugins, for their authors: the base classes, the events that their methods get, and what registers them.

:meth:`Executor.watch <futures_cluster.Executor.watch>` registers a plugin of one executor; ``watch_schedulers`` and
``watch_worker`` register one in the process of a scheduler or a worker.
"""

from futures_cluster.services.common.plugin_runner import (
    DataFetched,
    RunEnded,
    RunStarted,
    SchedulerPlugin,
    TaskFailed,
    TaskFinished,
    TaskMoved,
    WorkerJoined,
    WorkerLost,
    WorkerPlugin,
    watch_schedulers,
    watch_worker,
)

__all__ = [
    "SchedulerPlugin",
    "WorkerPlugin",
    "watch_schedulers",
    "watch_worker",
    "TaskFinished",
    "TaskFailed",
    "TaskMoved",
    "WorkerJoined",
    "WorkerLost",
    "RunStarted",
    "RunEnded",
    "DataFetched",
]
