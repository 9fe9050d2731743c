"""joblib on our workers: ``joblib.parallel_config(backend="futures_cluster")``.

Covers: the backend, and which executor it uses. Does not cover: arguments that go to the workers once (``large``),
joblib's own batching and dispatching, which are inherited.

The way of a batch of calls::

    Parallel.__call__ -> submit -> Executor.submit(run_batch, calls, large arguments as futures)
                                                  |
    Parallel._retrieve <- callback <- Dispatcher's thread <- the future is done

joblib's callback takes the next calls from the user's iterator, pickles and submits them. This must not happen on the
executor's own loop: an iterator may wait for another future. So each ``Parallel`` call has a thread for it.

Importing this module makes the name known to joblib. An executor does so when it is made or entered after joblib was
imported, and workers do it when a function that they are sent has imported joblib.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import os
import queue
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    parallel_config,
    register_parallel_backend,
)

from futures_cluster import context, locks
from futures_cluster.adapters.calls import Calls, own_results, with_files
from futures_cluster.adapters.dispatcher import Dispatcher
from futures_cluster.adapters.inner_threads import limited_threads
from futures_cluster.adapters.joblib_options import check_options
from futures_cluster.adapters.large import (
    LARGE_BYTES,
    LargeArguments,
    engine_client,
    shares_memory,
)
from futures_cluster.config import usable_cores
from futures_cluster.errors import NotSupported
from futures_cluster.executor import Executor
from futures_cluster.future import Future

__all__ = ["FuturesClusterBackend", "close", "register"]

NAME = "futures_cluster"
#: Batches of short calls grow by this factor.
GROWTH = 4

# ---------------------------------------------------------------- the executor of calls without one


def _is_forked(executor: Executor) -> bool:
    """Return whether an executor belongs to the parent of this process."""
    client = engine_client(executor)
    return client is not None and client.forked


class _Shared:
    """The executor of all calls that were given none; made when first needed, closed when the interpreter ends."""

    def __init__(self) -> None:
        self._lock = locks.Lock()
        self._executor: Executor | None = None

    def executor(self) -> Executor:
        with self._lock:
            executor = self._executor
            if executor is None or executor._broken is not None or _is_forked(executor):
                executor = self._executor = Executor()
            return executor

    def has(self, executor: Executor) -> bool:
        return executor is self._executor

    def close(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(cancel_futures=True)


_shared = _Shared()
atexit.register(_shared.close)


def close() -> None:
    """Shut down the executor that this backend made; the next call makes another."""
    _shared.close()


def register() -> None:
    """Make the backend known to joblib; importing this module has done it."""
    register_parallel_backend(NAME, FuturesClusterBackend)


# ---------------------------------------------------------------- on the worker


def run_batch(
    calls: Calls, large: list[Any], nesting_level: int, workers: int, inner_threads: int | None, on_one_host: bool
) -> Any:
    """Make all calls of a batch; ``Parallel`` in them submits to the same executor."""
    backend = nested_backend(nesting_level, workers, inner_threads)
    limit = contextlib.nullcontext() if inner_threads is None else limited_threads(inner_threads)
    with parallel_config(backend=backend, n_jobs=None), limit:
        results = calls.run(large)
    return with_files(results) if on_one_host else results


def nested_backend(nesting_level: int, workers: int, inner_threads: int | None = None) -> FuturesClusterBackend:
    """Return the backend of ``Parallel`` in a task; by default it runs calls itself."""
    backend = FuturesClusterBackend(nesting_level=nesting_level, inner_max_num_threads=inner_threads)
    backend.workers = workers
    backend.default_n_jobs = 1
    return backend


# ---------------------------------------------------------------- in the program


class FuturesClusterBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """A joblib backend over an executor.

    Parameters
    ----------
    executor : Executor or None
        Where the calls run. In a task: the executor that runs the task. Otherwise the default one
        (``Executor.as_default``), if there is one; else one that is shared by all calls that were given none, made
        when first needed and closed with the interpreter.

    Examples
    --------
    >>> import joblib
    >>> from futures_cluster import Executor
    >>> with Executor(2, backend="threads") as ex, joblib.parallel_config(backend="futures_cluster", executor=ex):
    ...     joblib.Parallel()(joblib.delayed(pow)(i, 2) for i in range(4))
    [0, 1, 4, 9]
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    default_n_jobs = -1
    workers: int | None = None  # of the executor that runs the task, which does not know it

    def __init__(
        self, executor: Executor | None = None, nesting_level: int | None = None, inner_max_num_threads: Any = None
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self.parallel: Any = None
        self._given = executor
        self._executor: Executor | None = None
        self._dispatcher: Dispatcher | None = None
        self._large: LargeArguments | None = None
        self._memmapping: tuple[int | None, str | None, str | None] = (LARGE_BYTES, "r", None)
        self._lock = locks.Lock()
        self._most_at_once: int | None = None  # None: the executor's workers are the only limit
        self._waiting: deque[Any] = deque()
        self._pending: dict[int, Any] = {}  # by marker: the future and what it needs; None before it is submitted

    def __reduce__(self) -> Any:
        workers = self._count_workers(self._find_executor())
        return nested_backend, (self.nesting_level or 0, workers, self.inner_max_num_threads)

    @property
    def supports_sharedmem(self) -> bool:
        """Whether calls see the caller's own objects: when the executor that runs them has threads."""
        executor = self._known_executor()
        return executor is not None and shares_memory(executor)

    @property
    def uses_threads(self) -> bool:
        """The same; joblib asks when this backend is its default, and ``prefer`` is given."""
        return self.supports_sharedmem

    # ---------------------------------------------------------------- how many

    def _known_executor(self) -> Executor | None:
        """Return the executor that runs the calls, unless it is the shared one."""
        if self._given is not None:
            return self._given
        if context.current_task() is not None:
            executor: Executor = context.current_executor()
            return executor
        default: Executor | None = context.default_executor()
        return default

    def _find_executor(self) -> Executor:
        return self._known_executor() or _shared.executor()

    def _count_workers(self, executor: Executor) -> int:
        if self.workers is not None:
            return self.workers
        if executor._borrowed:
            return usable_cores()
        return max(1, executor._max_workers)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many calls run at a time; see joblib."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or n_jobs == 1:
            return 1
        executor = self._find_executor()
        workers = self._count_workers(executor)
        if n_jobs < 0:
            return max(1, workers + 1 + n_jobs)
        if n_jobs > workers and _shared.has(executor):
            with contextlib.suppress(NotSupported):  # threads, a cluster: their number is what it is
                executor.scale(n_jobs)
                return n_jobs
        return n_jobs

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        max_nbytes: int | None = LARGE_BYTES,
        mmap_mode: str | None = "r",
        temp_folder: str | None = None,
        **others: Any,
    ) -> int:
        """Get ready for calls; see joblib."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self.parallel is not parallel:
            # ``parallel_config`` gives one backend to all that run inside of it, and these may overlap.
            raise FallbackToBackend(self._of_its_own(parallel))
        self._executor = self._find_executor()
        self._most_at_once = n_jobs if n_jobs < self._count_workers(self._executor) else None
        self._memmapping = (max_nbytes, mmap_mode, temp_folder or os.environ.get("JOBLIB_TEMP_FOLDER") or None)
        check_options(self._executor, mmap_mode, temp_folder, self.inner_max_num_threads, others)
        return n_jobs

    def _of_its_own(self, parallel: Any) -> FuturesClusterBackend:
        backend = FuturesClusterBackend(self._given, self.nesting_level, self.inner_max_num_threads)
        backend.workers, backend.default_n_jobs = self.workers, self.default_n_jobs
        backend.parallel = parallel
        return backend

    def compute_batch_size(self) -> int:
        """Return the size of the next batch: joblib's, growing faster for short calls.

        joblib doubles, and each size is a round trip at least.
        """
        stats: Any = self
        size, duration_s = stats._effective_batch_size, stats._smoothed_batch_duration
        if not 0 < duration_s < self.MIN_IDEAL_BATCH_DURATION / GROWTH:
            return int(super().compute_batch_size())
        stats._effective_batch_size = GROWTH * size
        stats._smoothed_batch_duration = self._DEFAULT_SMOOTHED_BATCH_DURATION  # measured again for this size
        return int(GROWTH * size)

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """Return what joblib would send with a batch; ``run_batch`` makes its own."""
        return self, None

    # ---------------------------------------------------------------- one call of Parallel

    def start_call(self) -> None:
        """Begin a call of ``Parallel``."""
        executor = self._executor
        assert executor is not None, "configure() comes first"
        # joblib 1.6 (also 1.4 and 1.5) keeps the batches that it has not sent when a call fails; the next call of the
        # same ``Parallel`` sends them, and returns their results as its own. Upstream should clear them where it
        # resets its counters (``_reset_run_tracking``).
        self.parallel._ready_batches = queue.Queue()
        self._dispatcher = Dispatcher(self._is_over)
        self._large = None if shares_memory(executor) else LargeArguments(executor, *self._memmapping)

    def stop_call(self) -> None:
        """End a call of ``Parallel``."""
        if self._dispatcher is not None:
            self._dispatcher.stop()
        if self._large is not None:
            self._large.clear()
        self._dispatcher = self._large = None
        with self._lock:
            self._waiting.clear()
            self._pending.clear()

    def terminate(self) -> None:
        """Do nothing: the workers stay for the next call."""
        self._executor = None
        self.reset_batch_stats()

    def submit(self, func: Any, callback: Callable[[Future[Any]], object]) -> Any:
        """Send a batch, or let it wait until fewer than ``n_jobs`` are under way."""
        with self._lock:
            if self._most_at_once is not None and len(self._pending) >= self._most_at_once:
                self._waiting.append((func, callback))
                return None
            marker = object()
            self._pending[id(marker)] = None  # a place is taken, before the lock goes
        self._send(func, callback, marker)
        return None

    apply_async = submit  # its name before joblib 1.5

    def _send(self, func: Any, callback: Callable[[Future[Any]], object], marker: object) -> None:
        executor, dispatcher, large = self._executor, self._dispatcher, self._large
        if executor is None or dispatcher is None:
            return  # it was aborted meanwhile

        def done(future: Any) -> None:
            self._finished(marker, callback, future)

        level, threads = (self.nesting_level or 0) + 1, None if large is None else self.inner_max_num_threads
        try:
            calls = Calls(func.items, large)
            workers, on_one_host = self._count_workers(executor), large is not None and large.shares_files
            future = executor.submit(run_batch, calls, calls.futures, level, workers, threads, on_one_host)
        except Exception as error:  # on a thread of ours, where only a future can say so
            failed: Any = concurrent.futures.Future()
            failed.set_exception(error)
            dispatcher.call_back(done, failed)
            return
        with self._lock:
            self._pending[id(marker)] = (future, calls.kept)
        dispatcher.watch(future, done)

    def _finished(self, marker: object, callback: Callable[[Future[Any]], object], future: Future[Any]) -> None:
        with self._lock:
            self._pending.pop(id(marker), None)
            following = self._waiting.popleft() if self._waiting else None
            if following is not None:
                place = object()
                self._pending[id(place)] = None
        if following is not None:
            self._send(following[0], following[1], place)
        callback(future)

    def retrieve_result_callback(self, future: concurrent.futures.Future[Any]) -> list[Any]:
        """Return the results of a batch."""
        try:
            return own_results(future.result())
        except Exception as error:
            if not isinstance(future, Future):
                raise  # the batch never left
            # joblib drops the traceback, which is the remote one.
            lines = traceback.format_tb(error.__traceback__)
            error.add_note("Traceback on the worker (most recent call last):\n" + "".join(lines).rstrip())
            raise
        finally:
            del future  # the traceback of an error has this frame, and must not keep it alive

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel all calls, and stop those that run if the backend can."""
        with self._lock:
            self._waiting.clear()
            pending = [each for each in self._pending.values() if each is not None]
            self._pending.clear()
        for future, kept in reversed(pending):  # the last first: a worker that is freed gets no other of them
            for sent in kept:
                sent.spoil()
            try:
                future.cancel(force=True)  # also one that does not seem to run: the news may be under way
            except NotSupported:
                future.cancel()

    @contextlib.contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Give the slot of a calling task back while ``Parallel`` waits.

        Not for generators, where the caller's code runs meanwhile; the worker sees by itself when that one waits.
        """
        if self.parallel is None or self.parallel.return_generator:
            yield
        else:
            with context.waiting():
                if self._dispatcher is not None and self.parallel.timeout is None:
                    self._dispatcher.wait()
                yield

    def _is_over(self) -> bool:
        """Return whether ``Parallel`` need no longer wait: all are called, or one failed."""
        waits = getattr(self.parallel, "_wait_retrieval", None)  # not a public method
        return waits is None or self.parallel._aborting or not waits()


register()
