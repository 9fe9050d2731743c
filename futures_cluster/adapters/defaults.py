"""Being Dask's default scheduler, and what else has to be set for that.

Covers: Dask's configuration while an executor is the default, xarray's locks. Does not cover: computing (``dask``).

Dask's shuffles would go through files of one machine, because it asks only ``distributed`` whether there are workers
elsewhere: while an executor is the default, they go through tasks. xarray takes every scheduler that it does not know
for threads, and puts locks into its graphs that do not pickle: it gets others. All is put back at the end.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from typing import Any, Self

import dask
import dask.base

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
        adapt_xarray()
        return self.executor.get(graph, keys, **options)

    def persist(self, collections: Any, **options: Any) -> Any:
        """What Dask calls for ``persist``."""
        adapt_xarray()
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
        adapt_xarray()

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


# ---------------------------------------------------------------- xarray


class FileLock:
    """A lock by name for all processes of this user on one machine; it pickles."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._thread_lock = threading.Lock()
        self._file: Any = None

    def acquire(self, blocking: bool = True) -> bool:
        """Get the lock; False if it is taken and ``blocking`` is False."""
        import fcntl

        if not self._thread_lock.acquire(blocking):
            return False
        file = open(self._path(), "a")  # noqa: SIM115  # open while the lock is held
        try:
            fcntl.flock(file, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            file.close()
            self._thread_lock.release()
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Give it back."""
        file, self._file = self._file, None
        file.close()
        self._thread_lock.release()

    def locked(self) -> bool:
        """Whether this object has it."""
        return self._thread_lock.locked()

    def _path(self) -> str:
        folder = os.path.join(tempfile.gettempdir(), f"futures_cluster-locks-{os.getuid()}")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return os.path.join(folder, hashlib.sha256(str(self.name).encode()).hexdigest()[:32])

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *details: object) -> None:
        self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return FileLock, (self.name,)


def adapt_xarray() -> None:
    """Let xarray, if it is loaded, use locks that pickle when an executor is Dask's scheduler."""
    locks: Any = sys.modules.get("xarray.backends.locks")
    if locks is None or hasattr(locks, "_futures_cluster"):
        return
    ask, make = locks.get_dask_scheduler, locks._get_lock_maker

    def get_dask_scheduler(get: Any = None, collection: Any = None) -> Any:
        if _moves_locks(dask.base.get_scheduler(get, collection)):
            return NAME
        return ask(get, collection)

    def _get_lock_maker(scheduler: Any = None) -> Any:
        return FileLock if scheduler == NAME else make(scheduler)

    locks._futures_cluster = True
    locks.get_dask_scheduler, locks._get_lock_maker = get_dask_scheduler, _get_lock_maker
    for name in ("xarray.backends.writers", "xarray.backends.api"):
        module = sys.modules.get(name)
        if getattr(module, "get_dask_scheduler", None) is ask:
            module.get_dask_scheduler = get_dask_scheduler  # type: ignore[union-attr]


def _moves_locks(scheduler: Any) -> bool:
    """Whether it is an executor whose tasks are in other processes."""
    executor = getattr(scheduler, "executor", scheduler)
    client = getattr(getattr(executor, "_engine", None), "client", None)
    return client is not None and getattr(client.codec, "tells_functions", False)
