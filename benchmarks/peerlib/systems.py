"""One small adapter for each measured system: how it starts, takes a call, gives results, and stops.

Each uses the way its own documentation recommends; where that is not ``[f.result() for f in fs]``
(distributed: ``client.gather``; ray: ``ray.get`` of a list) the adapter takes the faster documented one.
Not covered: tuning options; each system runs as it comes, with two workers and without its dashboard.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from .tasks import WORKERS


class Unsupported(Exception):
    """This system has no such operation."""


class System:
    """A system with two workers. Subclasses say what differs from the stdlib's executors."""

    name: ClassVar[str]  # on the command line
    title: ClassVar[str]  # in tables
    module: ClassVar[str]  # must be importable
    statement: ClassVar[str]  # the import that a user writes
    speed: ClassVar[str] = "fast"  # "fast", "medium" or "slow": how many tasks a measurement takes
    note: ClassVar[str] = ""

    def __init__(self) -> None:
        self.lib: Any = importlib.import_module(self.module)
        exec(self.statement, {})  # some packages load their names when they are first used
        self.pool: Any = None

    @classmethod
    def installed(cls) -> bool:
        """Whether the package can be found; it is not imported."""
        spec = importlib.util.find_spec(cls.module.partition(".")[0])
        return spec is not None and spec.origin is not None  # a bare folder has no origin

    def make(self) -> Any:
        """A new executor."""
        raise NotImplementedError

    def start(self) -> None:
        self.pool = self.make()

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """A future, or what this system has in its place."""
        return self.pool.submit(fn, *args)

    def results(self, futures: list[Any]) -> list[Any]:
        """The values of many futures."""
        return [future.result() for future in futures]

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """One call and its value."""
        return self.pool.submit(fn, *args).result()

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """One task an item, all values in order."""
        return list(self.pool.map(fn, items, chunksize=1))

    def stop(self) -> None:
        self.pool.shutdown(wait=True)

    def helpers(self) -> list[int]:
        """Processes which hold the queue, other than the client's and the workers'."""
        return []


class FuturesCluster(System):
    name = "futures_cluster"
    title = "futures_cluster"
    module = "futures_cluster"
    statement = "from futures_cluster import Executor"

    def make(self) -> Any:
        return self.lib.Executor(max_workers=WORKERS)


class FuturesClusterThreads(FuturesCluster):
    name = "futures_cluster-threads"
    title = "futures_cluster, threads"

    def make(self) -> Any:
        return self.lib.Executor(WORKERS, backend="threads")


class ThreadPool(System):
    name = "threadpool"
    title = "ThreadPoolExecutor"
    module = "concurrent.futures"
    statement = "from concurrent.futures import ThreadPoolExecutor"

    def make(self) -> Any:
        return self.lib.ThreadPoolExecutor(WORKERS)


class ProcessPool(System):
    name = "processpool"
    title = "ProcessPoolExecutor"
    module = "concurrent.futures"
    statement = "from concurrent.futures import ProcessPoolExecutor"

    def make(self) -> Any:
        return self.lib.ProcessPoolExecutor(WORKERS)


class Loky(System):
    name = "loky"
    title = "loky"
    module = "loky"
    statement = "from loky import ProcessPoolExecutor"

    def make(self) -> Any:
        return self.lib.ProcessPoolExecutor(max_workers=WORKERS)


class Joblib(System):
    """joblib has no submit: a call is a ``Parallel`` of one, and ``batch_size=1`` is its ``chunksize=1``."""

    name = "joblib"
    title = "joblib"
    module = "joblib"
    statement = "from joblib import Parallel, delayed"
    speed = "medium"
    note = "Parallel with batch_size=1; it has no submit"

    def start(self) -> None:
        self.pool = self.lib.Parallel(n_jobs=WORKERS, batch_size=1).__enter__()

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        raise Unsupported("no submit")

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return self.pool([self.lib.delayed(fn)(*args)])[0]

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(self.pool(self.lib.delayed(fn)(item) for item in items))

    def stop(self) -> None:
        self.pool.__exit__(None, None, None)
        loky = importlib.import_module("joblib.externals.loky")
        loky.get_reusable_executor().shutdown(wait=True)  # otherwise the workers outlive the pool


class Pebble(System):
    name = "pebble"
    title = "pebble"
    module = "pebble"
    statement = "from pebble import ProcessPool"

    def make(self) -> Any:
        return self.lib.ProcessPool(max_workers=WORKERS)

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return self.pool.schedule(fn, args=args)

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return self.pool.schedule(fn, args=args).result()

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(self.pool.map(fn, items, chunksize=1).result())

    def stop(self) -> None:
        self.pool.close()
        self.pool.join()


class Distributed(System):
    """A local cluster of two processes. ``pure=False``: otherwise equal calls would run only once."""

    name = "distributed"
    title = "distributed"
    module = "distributed"
    statement = "from distributed import Client"
    speed = "slow"
    note = "values by client.gather; its scheduler is a thread of the client's process"

    def make(self) -> Any:
        return self.lib.Client(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return self.pool.submit(fn, *args, pure=False)

    def results(self, futures: list[Any]) -> list[Any]:
        values: list[Any] = self.pool.gather(futures)
        return values

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return self.pool.submit(fn, *args, pure=False).result()

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return self.results(self.pool.map(fn, list(items), pure=False))

    def stop(self) -> None:
        self.pool.shutdown()


class Ray(System):
    name = "ray"
    title = "ray"
    module = "ray"
    statement = "import ray"
    speed = "slow"
    note = "values by ray.get of a list; arrays arrive read-only"

    def start(self) -> None:
        self.lib.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self.remotes: dict[Any, Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        remote = self.remotes.get(fn)
        if remote is None:
            remote = self.remotes[fn] = self.lib.remote(fn)
        return remote.remote(*args)

    def results(self, futures: list[Any]) -> list[Any]:
        values: list[Any] = self.lib.get(futures)
        return values

    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return self.lib.get(self.submit(fn, *args))

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return self.results([self.submit(fn, item) for item in items])

    def stop(self) -> None:
        self.lib.shutdown()

    def helpers(self) -> list[int]:
        psutil = importlib.import_module("psutil")
        servers = ("raylet", "gcs_server")
        return [p.pid for p in psutil.Process().children(recursive=True) if p.name() in servers]


SYSTEMS: dict[str, type[System]] = {
    cls.name: cls
    for cls in (
        FuturesCluster,
        FuturesClusterThreads,
        ThreadPool,
        ProcessPool,
        Loky,
        Joblib,
        Pebble,
        Distributed,
        Ray,
    )
}
