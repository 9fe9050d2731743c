"""Adaptations of other libraries to executors.

Covers: xarray's locks, zarr's stores in memory. Does not cover: Dask (``defaults``).

xarray takes every scheduler that it does not know for threads, and puts locks into its graphs that do not pickle: it
gets others, for all processes of a machine. Writing into a zarr store that is in this process's memory would be lost
without a word: it is refused. Both can only be done once the library is loaded; so ``adapt_libraries`` is called
whenever an executor becomes the default, and for each graph.
"""

from __future__ import annotations

import copyreg
import hashlib
import os
import pickle
import sys
import tempfile
import threading
from typing import Any, Self

import dask
import dask.base

from futures_cluster.engines.base import Engine
from futures_cluster.wire.codec import pickle_codec
from futures_cluster.wire.private_files import make_private_folder

_ThreadLock = type(threading.Lock())


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
        """Return whether this object has it."""
        return self._thread_lock.locked()

    def _path(self) -> str:
        folder = os.path.join(tempfile.gettempdir(), f"futures_cluster-locks-{os.getuid()}")
        make_private_folder(folder)
        if (owner := os.stat(folder).st_uid) != os.getuid():
            raise PermissionError(f"{folder} belongs to user {owner}, who could hold all locks; have it removed")
        return os.path.join(folder, hashlib.sha256(str(self.name).encode(errors="surrogatepass")).hexdigest()[:32])

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *details: object) -> None:
        self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return FileLock, (self.name,)


def adapt_libraries() -> None:
    """Tell those libraries that are loaded; once each."""
    locks: Any = sys.modules.get("xarray.backends.locks")
    if locks is not None and not hasattr(locks, "_futures_cluster"):
        _adapt_xarray(locks)
        copyreg.pickle(_ThreadLock, _reduce_thread_lock)
    storage: Any = sys.modules.get("zarr.storage")
    store = getattr(storage, "MemoryStore", None)
    if store is not None and store not in copyreg.dispatch_table:
        copyreg.pickle(store, _reduce_memory_store)


def _reduce_memory_store(store: Any) -> Any:
    if getattr(pickle_codec.current_collector(), "stores", False):
        raise ValueError(
            "a zarr MemoryStore is memory of this process, and workers would write into copies of it; "
            "store into a folder, or use an Executor with backend='threads'"
        )
    return store.__reduce_ex__(pickle.HIGHEST_PROTOCOL)


def _reduce_thread_lock(lock: Any) -> Any:
    """Say what to do about a lock of xarray in a graph; others do not pickle."""
    locks: Any = sys.modules.get("xarray.backends.locks")
    if any(lock is each for each in list(getattr(locks, "_FILE_LOCKS", {}).values())):
        raise TypeError(
            "cannot pickle the lock of threads by which xarray guards the file that this graph writes: the executor "
            "must be the default when to_netcdf is called, and not only when what it returns is computed; call it "
            "inside of `with ex.as_default():`"
        )
    raise TypeError(f"cannot pickle '{_ThreadLock.__module__}.{_ThreadLock.__qualname__}' object")


def _adapt_xarray(locks: Any) -> None:
    """Let xarray use locks that pickle when an executor is Dask's scheduler."""
    ask, make = locks.get_dask_scheduler, locks._get_lock_maker

    def get_dask_scheduler(get: Any = None, collection: Any = None) -> Any:
        if _moves_locks(dask.base.get_scheduler(get, collection)):
            return "distributed"  # then it also closes files between two accesses
        return ask(get, collection)

    def _get_lock_maker(scheduler: Any = None) -> Any:
        ours = scheduler == "distributed" and _moves_locks(dask.base.get_scheduler())
        return FileLock if ours else make(scheduler)

    locks._futures_cluster = True
    locks.get_dask_scheduler, locks._get_lock_maker = get_dask_scheduler, _get_lock_maker
    for name in ("xarray.backends.writers", "xarray.backends.api"):
        module = sys.modules.get(name)
        if getattr(module, "get_dask_scheduler", None) is ask:
            module.get_dask_scheduler = get_dask_scheduler  # type: ignore[union-attr]


def _moves_locks(scheduler: Any) -> bool:
    """Return whether it is an executor whose tasks are in other processes."""
    executor = getattr(scheduler, "executor", scheduler)
    engine: Engine | None = getattr(executor, "_engine", None)
    return engine is not None and not engine.shares_memory
