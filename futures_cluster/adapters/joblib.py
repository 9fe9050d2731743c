"""joblib on our workers: ``joblib.parallel_config(backend="futures_cluster")``.

Covers: the backend, and which executor it uses. Does not cover: arguments that go to the workers once (``large``),
joblib's own batching and dispatching, which are inherited.

How a batch of calls gets to a worker, and its results back::

    Parallel.__call__ -> submit -> Executor.submit(run_batch, calls, large arguments as futures)
                                                  |
    Parallel._retrieve <- callback <- Dispatcher's thread <- the future is done

joblib's callback takes the next calls from the user's iterator, pickles and submits them. This must not happen on the
executor's own loop: an iterator may wait for another future. So each ``Parallel`` call has a thread for it.

Importing this module registers the backend with joblib. ``context.load_adapters`` imports it: for an executor that is
made or entered once joblib is loaded, and on a worker once unpickling a function has loaded joblib.
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
from futures_cluster.adapters.joblib_options import check_options, limited_threads
from futures_cluster.adapters.large import LARGE_BYTES, LargeArguments
from futures_cluster.config import usable_cores
from futures_cluster.errors import NotSupported
from futures_cluster.executor import Executor
from futures_cluster.future import Future

__all__ = ["FuturesClusterBackend", "close", "register"]

NAME = "futures_cluster"
#: Batches of short calls grow by this factor.
GROWTH = 4

#: What joblib calls with the future of a batch that is done.
Callback = Callable[[Future[Any]], object]

# ---------------------------------------------------------------- the shared executor


class _SharedExecutor:
    """The executor of all calls that were given none.

    It is made when first needed, and closed when the interpreter ends.
    """

    def __init__(self) -> None:
        self._lock = locks.Lock()
        self._executor: Executor | None = None

    def get(self) -> Executor:
        """Return the executor; make one if there is none that this process can use."""
        with self._lock:
            executor = self._executor
            if executor is None or executor._broken is not None or _is_of_parent_process(executor):
                executor = self._executor = Executor()
            return executor

    def owns(self, executor: Executor) -> bool:
        """Return whether an executor is the shared one."""
        return executor is self._executor

    def close(self) -> None:
        """Shut the executor down; the next ``get`` makes another."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(cancel_futures=True)


def _is_of_parent_process(executor: Executor) -> bool:
    client = executor._engine.client
    return client is not None and client.forked


_shared_executor = _SharedExecutor()
atexit.register(_shared_executor.close)


def close() -> None:
    """Shut down the executor that this backend made; the next call makes another."""
    _shared_executor.close()


def register() -> None:
    """Register the backend with joblib; importing this module has done it."""
    register_parallel_backend(NAME, FuturesClusterBackend)


# ---------------------------------------------------------------- on a worker


def run_batch(
    calls: Calls, large: list[Any], nesting_level: int, n_workers: int, inner_threads: int | None, on_one_host: bool
) -> Any:
    """Run the calls of a batch; ``Parallel`` in them submits to the same executor.

    Parameters
    ----------
    large : list
        The values of ``calls.futures``, which the executor has put in their places.
    n_workers : int
        Number of workers of the executor, for ``n_jobs`` of the calls' own ``Parallel``.
    on_one_host : bool
        Whether the caller finds this worker's files.

    Returns
    -------
    object
        A list of results, or ``Results`` with them: see ``calls.own_results``.
    """
    backend = nested_backend(nesting_level, n_workers, inner_threads)
    limit = contextlib.nullcontext() if inner_threads is None else limited_threads(inner_threads)
    with parallel_config(backend=backend, n_jobs=None), limit:
        results = calls.run(large)
    return with_files(results) if on_one_host else results


def nested_backend(nesting_level: int, n_workers: int, inner_threads: int | None = None) -> FuturesClusterBackend:
    """Return the backend of ``Parallel`` in a task.

    Without ``n_jobs`` the calls run in the task itself.
    """
    backend = FuturesClusterBackend(nesting_level=nesting_level, inner_max_num_threads=inner_threads)
    backend.n_workers = n_workers
    backend.default_n_jobs = 1
    return backend


# ---------------------------------------------------------------- in the program that calls joblib


class FuturesClusterBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """A joblib backend over an executor.

    Parameters
    ----------
    executor : Executor or None
        The executor that runs the calls. None: in a task the executor that runs the task; elsewhere the default one
        (``Executor.as_default``), if there is one; otherwise the shared one, which the backend makes when a call first
        needs it, and closes with the interpreter.

    Raises
    ------
    TypeError
        If ``executor`` is anything else, as an executor of the standard library is.

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
    n_workers: int | None = None  # in a task: how many its executor has, which a worker cannot find out

    def __init__(
        self, executor: Executor | None = None, nesting_level: int | None = None, inner_max_num_threads: Any = None
    ) -> None:
        if executor is not None and not isinstance(executor, Executor):
            raise TypeError(
                f"executor= takes a futures_cluster.Executor, or None for the default one, not {executor!r}"
            )
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self.parallel: Any = None
        self._given_executor = executor
        # Of the call of ``Parallel`` that is under way:
        self._executor: Executor | None = None
        self._dispatcher: Dispatcher | None = None
        self._large: LargeArguments | None = None
        self._memmapping: tuple[int | None, str | None, str | None] = (LARGE_BYTES, "r", None)
        self._lock = locks.Lock()
        self._max_in_flight: int | None = None  # batches; None: the executor's workers are the only limit
        self._queued: deque[tuple[Any, Callback]] = deque()  # batches beyond this limit
        #: By place: the future of a batch and what must outlive it; None until it is submitted.
        self._in_flight: dict[object, tuple[Future[Any], list[Any]] | None] = {}

    def __reduce__(self) -> Any:
        n_workers = self._count_workers(self._find_executor())
        return nested_backend, (self.nesting_level or 0, n_workers, self.inner_max_num_threads)

    @property
    def supports_sharedmem(self) -> bool:
        """Whether calls see the caller's own objects: when the executor that runs them has threads."""
        executor = self._find_unshared_executor()
        return executor is not None and executor._engine.shares_memory

    uses_threads = supports_sharedmem  # joblib asks when this backend is its default, and ``prefer`` is given

    # ---------------------------------------------------------------- executor and number of jobs

    def _find_executor(self) -> Executor:
        return self._find_unshared_executor() or _shared_executor.get()

    def _find_unshared_executor(self) -> Executor | None:
        """Return the executor that runs the calls; None if the shared one does."""
        executor: Executor | None = self._given_executor
        if executor is None:
            executor = context.current_executor() if context.current_task() else context.default_executor()
        return executor

    def _count_workers(self, executor: Executor) -> int:
        if self.n_workers is not None:
            return self.n_workers
        if executor._borrowed:
            return usable_cores()
        return max(1, executor._max_workers)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many calls run at a time; see joblib.

        The shared executor grows to this number: it belongs to no code that could have chosen another.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or n_jobs == 1:
            return 1
        executor = self._find_executor()
        n_workers = self._count_workers(executor)
        if n_jobs < 0:
            return max(1, n_workers + 1 + n_jobs)
        if n_jobs > n_workers and _shared_executor.owns(executor):
            with contextlib.suppress(NotSupported):  # it has threads, or is a cluster's: their number is fixed
                executor.scale(n_jobs)
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
        """Choose executor and options for the next call of ``Parallel``; see joblib.

        Returns
        -------
        int
            Number of jobs, larger than 1.

        Raises
        ------
        FallbackToBackend
            If joblib has to go on with another backend: its own for one job, or a copy of this one.
        """
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self.parallel is not parallel:
            # ``parallel_config`` gives one backend to all ``Parallel`` inside of it, and their calls may overlap.
            raise FallbackToBackend(self._copy_for(parallel))
        self._executor = self._find_executor()
        self._max_in_flight = n_jobs if n_jobs < self._count_workers(self._executor) else None
        self._memmapping = (max_nbytes, mmap_mode, temp_folder or os.environ.get("JOBLIB_TEMP_FOLDER") or None)
        check_options(self._executor, mmap_mode, temp_folder, self.inner_max_num_threads, others)
        return n_jobs

    def _copy_for(self, parallel: Any) -> FuturesClusterBackend:
        backend = FuturesClusterBackend(self._given_executor, self.nesting_level, self.inner_max_num_threads)
        backend.n_workers, backend.default_n_jobs = self.n_workers, self.default_n_jobs
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
        """Return the backend that joblib puts into a batch; we do not send it."""
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
        self._large = None if executor._engine.shares_memory else LargeArguments(executor, *self._memmapping)

    def stop_call(self) -> None:
        """End a call of ``Parallel``."""
        if self._dispatcher is not None:
            self._dispatcher.stop()
        if self._large is not None:
            self._large.clear()
        self._dispatcher = self._large = None
        with self._lock:
            self._queued.clear()
            self._in_flight.clear()

    def terminate(self) -> None:
        """Do nothing: the workers stay for the next call."""
        self._executor = None
        self.reset_batch_stats()

    def submit(self, func: Any, callback: Callback) -> Any:
        """Send a batch, or let it wait until fewer than ``n_jobs`` are in flight."""
        with self._lock:
            if self._max_in_flight is not None and len(self._in_flight) >= self._max_in_flight:
                self._queued.append((func, callback))
                return None
            place = self._take_place()
        self._send(func, callback, place)
        return None

    apply_async = submit  # its name before joblib 1.5

    def _take_place(self) -> object:
        """Return a new place among the batches in flight, with the lock held."""
        place = object()
        self._in_flight[place] = None
        return place

    def _send(self, batch: Any, callback: Callback, place: object) -> None:
        executor, dispatcher, large = self._executor, self._dispatcher, self._large
        if executor is None or dispatcher is None:
            return  # the call of ``Parallel`` has ended meanwhile

        def on_done(future: Any) -> None:
            self._send_next(place)
            callback(future)

        nesting_level = (self.nesting_level or 0) + 1
        inner_threads = None if large is None else self.inner_max_num_threads
        on_one_host = large is not None and large.shares_files
        try:
            calls = Calls(batch.items, large)
            n_workers = self._count_workers(executor)
            future = executor.submit(
                run_batch, calls, calls.futures, nesting_level, n_workers, inner_threads, on_one_host
            )
        except Exception as error:  # raised in the dispatcher's thread, it would not reach the caller of ``Parallel``
            failed: Any = concurrent.futures.Future()
            failed.set_exception(error)
            dispatcher.call_back(on_done, failed)
            return
        with self._lock:
            self._in_flight[place] = (future, calls.kept)
        dispatcher.watch(future, on_done)

    def _send_next(self, place: object) -> None:
        """Give up the place of a batch that is done, and send one that was queued."""
        with self._lock:
            self._in_flight.pop(place, None)
            if not self._queued:
                return
            batch, callback = self._queued.popleft()
            place = self._take_place()
        self._send(batch, callback, place)

    def retrieve_result_callback(self, future: concurrent.futures.Future[Any]) -> list[Any]:
        """Return the results of a batch."""
        try:
            return own_results(future.result())
        except Exception as error:
            if not isinstance(future, Future):
                raise  # the batch was never sent
            # joblib raises the error without its traceback, which here is the worker's.
            lines = traceback.format_tb(error.__traceback__)
            error.add_note("Traceback on the worker (most recent call last):\n" + "".join(lines).rstrip())
            raise
        finally:
            del future  # the traceback of an error has this frame, and must not keep it alive

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel all calls, and stop running ones if the executor can."""
        with self._lock:
            self._queued.clear()
            in_flight = [each for each in self._in_flight.values() if each is not None]
            self._in_flight.clear()
        for future, kept in reversed(in_flight):  # last first: a worker that becomes free does not start another batch
            for sent in kept:
                sent.spoil()
            try:
                future.cancel(force=True)  # whatever its state: that a worker has begun may not be known here yet
            except NotSupported:
                future.cancel()

    @contextlib.contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Lend the slot of the task that called ``Parallel`` while it waits.

        If it returns a generator, the task's own code runs meanwhile; each wait in it lends the slot.
        """
        if self.parallel is None or self.parallel.return_generator:
            yield
        else:
            with context.waiting():
                if self._dispatcher is not None and self.parallel.timeout is None:
                    self._dispatcher.wait()
                yield

    def _is_over(self) -> bool:
        """Return whether all batches have called back, or one has failed."""
        waits = getattr(self.parallel, "_wait_retrieval", None)  # not a public method
        return waits is None or self.parallel._aborting or not waits()


register()
