"""A drop-in ``concurrent.futures.Executor`` for all cores of a machine.

Covers: the public names, each loaded when it is first used. Does not cover: anything else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from futures_cluster.as_completed import as_completed  # not lazily: its module has the same name

__version__ = "0.1.0"

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "DataLost",
    "Executor",
    "Future",
    "InvalidStateError",
    "NotSupported",
    "ProcessPoolExecutor",
    "TaskLogFilter",
    "TaskTimeout",
    "ThreadPoolExecutor",
    "TimeoutError",
    "WorkerDied",
    "as_completed",
    "current_executor",
    "wait",
]

_MODULES = {
    "Executor": "futures_cluster.executor",
    "ThreadPoolExecutor": "futures_cluster.executor.pools",
    "ProcessPoolExecutor": "futures_cluster.executor.pools",
    "Future": "futures_cluster.future",
    "current_executor": "futures_cluster.context",
    "TaskLogFilter": "futures_cluster.log_filter",
    "NotSupported": "futures_cluster.errors",
    "WorkerDied": "futures_cluster.errors",
    "TaskTimeout": "futures_cluster.errors",
    "DataLost": "futures_cluster.errors",
}  # all others are the standard library's own

if TYPE_CHECKING:
    from concurrent.futures import (
        ALL_COMPLETED,
        FIRST_COMPLETED,
        FIRST_EXCEPTION,
        BrokenExecutor,
        CancelledError,
        InvalidStateError,
        TimeoutError,
        wait,
    )

    from futures_cluster.errors import DataLost, NotSupported, TaskTimeout, WorkerDied
    from futures_cluster.executor import Executor
    from futures_cluster.executor.pools import ProcessPoolExecutor, ThreadPoolExecutor
    from futures_cluster.future import Future
    from futures_cluster.log_filter import TaskLogFilter

    def current_executor() -> Executor:
        """See ``context.current_executor``.

        That module is below the executor and cannot name its class.
        """


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "concurrent.futures")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
