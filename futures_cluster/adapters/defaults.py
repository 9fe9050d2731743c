"""Being Dask's default scheduler, and what else has to be set for that.

Covers: Dask's configuration while an executor is the default. Does not cover: computing (``dask``), what other
libraries have to be told (``libraries``).

Dask's shuffles would go through files of one machine, because it asks only ``distributed`` whether there are workers
elsewhere: while an executor is the default, they go through tasks. All is put back at the end.
"""

from __future__ import annotations

import threading
from typing import Any, Self

import dask
import dask.base

from futures_cluster.adapters.libraries import adapt_libraries
from futures_cluster.adapters.steps import Nested

#: What Dask calls an executor that is the default, in ``compute(scheduler=...)``.
NAME = "futures_cluster"


class Scheduler:
    """An executor in Dask's configuration, which ``distributed`` copies and sends to other processes.

    There it stands for the executor that runs the present task, if any.
    """

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        return self.executor.get(graph, keys, **options)

    def persist(self, collections: Any, **options: Any) -> Any:
        """What Dask calls for ``persist``."""
        return self.executor.persist(list(collections), **options)

    def __repr__(self) -> str:
        return repr(self.executor)

    def __deepcopy__(self, memo: Any) -> Scheduler:
        return self

    def __reduce__(self) -> Any:
        return Nested, ()


class Default:
    """An executor is Dask's default scheduler, from its construction until ``close``."""

    _lock = threading.Lock()
    _open = 0

    def __init__(self, executor: Any) -> None:
        self._closed = False
        self._before = dask.base.named_schedulers.get(NAME)
        scheduler = Scheduler(executor)
        self._scheduler: Scheduler | None = scheduler
        dask.base.named_schedulers[NAME] = scheduler
        settings: dict[str, Any] = {"scheduler": scheduler}
        if dask.config.get("dataframe.shuffle.method", None) is None:
            settings["dataframe.shuffle.method"] = "tasks"
        self._settings = dask.config.set(settings)
        adapt_libraries()

    def close(self) -> None:
        """What was the default before is so again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._settings.__exit__(None, None, None)
        if dask.base.named_schedulers.get(NAME) is self._scheduler:
            if self._before is None:
                del dask.base.named_schedulers[NAME]
            else:
                dask.base.named_schedulers[NAME] = self._before
        self._scheduler = self._before = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()
