"""What is imported by its name, because its room comes later: the only table of such names.

Each is ``"module:name"``. A room that needs one calls ``load`` when it needs it. What is imported late only to save
time stands where it is used, in an ordinary import statement.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: The class of the futures of tasks that submit tasks.
FUTURE = "futures_cluster.future:Future"
#: Make an executor over a worker's own client.
EXECUTOR_IN_TASK = "futures_cluster.executor:executor_in_task"
#: Make an executor over an engine, in the workers of another system.
EXECUTOR_OVER = "futures_cluster.executor:executor_over"
#: Tell joblib of the backend.
JOBLIB = "futures_cluster.adapters.joblib:register"
#: Make the executor of a task Dask's default scheduler there.
DASK_IN_TASKS = "futures_cluster.adapters.steps:become_default"


def load(path: str, *default: Any) -> Any:
    """Return what ``"module:name"`` names, or the default while the module lacks it."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name, *default)
