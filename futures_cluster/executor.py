"""The executor that users see: a ``concurrent.futures.Executor`` over an engine.

Covers: ``submit``, ``map``, ``with_options``, ``scatter``, ``gather``, ``run``, shutting down. Does not
cover: asking about workers and watching them (``worker_methods``), Dask's collections (``dask_methods``), where tasks
run (``engines``), the classes with the standard library's signatures (``pools``).
"""

from __future__ import annotations

import concurrent.futures
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from futures_cluster import context, numbers
from futures_cluster.config import make_config
from futures_cluster.dask_methods import DaskMethods
from futures_cluster.engines import make_engine
from futures_cluster.engines.base import Engine, Observed
from futures_cluster.engines.options import NOT_GIVEN, SubmitOptions, changed
from futures_cluster.future import Future
from futures_cluster.mapping import MapIterator
from futures_cluster.wire import arguments
from futures_cluster.worker_methods import WorkerMethods

if TYPE_CHECKING:
    from futures_cluster.coordination import Channel


class Executor(DaskMethods, WorkerMethods, concurrent.futures.Executor):
    """Runs calls on all cores of this machine.

    Parameters
    ----------
    max_workers : int or None
        Worker processes (or threads); as many as this process may use cores, if not given.
    mp_context : multiprocessing context or None
        Start the processes by it, with the standard library's rules. Without it no ``__main__`` guard is needed.
    initializer, initargs
        Called once in each worker before its first task.
    backend : str, distributed.Client or None
        ``"processes"``, ``"threads"`` (tasks share this process's memory) or ``"sync"`` (each call runs at submit,
        for debuggers); a cluster's address: ``"tcp://host:8786"`` or ``"tls://..."`` for ours, ``"dask://host:8786"``
        or a ``distributed.Client``, ``"ray"`` or ``"ray://host:10001"``. Default: the
        environment variable ``FUTURES_CLUSTER_BACKEND``, or processes.
    max_tasks_per_child : int or None
        A worker process is replaced after so many tasks.
    memory_limit : int or str or None
        Per worker, in bytes or like ``"2GB"``.
    threads_per_worker : int
        Tasks that each worker process runs at a time.
    resources : dict or None
        Amounts by name that each worker has for ``with_options(resources=...)``, such as ``{"GPU": 1}``; with
        ``backend="threads"`` each thread is a worker. So ``Executor(4, resources={"api": 1})`` runs up to four tasks
        at a time that take ``{"api": 1}``.
    forward_logs : bool or None
        Whether log records and warnings of tasks in worker processes come to this process's loggers. None: from
        processes of this machine, if no handler on the worker has taken them. True: also from clusters, and all of
        them. Default: the environment variable ``FUTURES_CLUSTER_FORWARD_LOGS`` (1 or 0), or None.
    insecure : bool
        Whether a network address of a cluster may be used without a secret: any process that can reach it can run code
        then. Default: the environment variable ``FUTURES_CLUSTER_INSECURE`` (1 or 0), or False.
    set_as_default : bool
        Be Dask's default scheduler, and the executor of joblib's backend, until ``shutdown``.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.

    Examples
    --------
    >>> with Executor(backend="sync") as ex:
    ...     ex.submit(sum, ex.submit(list, range(10))).result()
    45
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        backend: Any = None,
        max_tasks_per_child: int | None = None,
        memory_limit: int | str | None = None,
        threads_per_worker: int = 1,
        thread_name_prefix: str = "",
        resources: dict[str, float] | None = None,
        resolve: bool = True,
        forward_logs: bool | None = None,
        insecure: bool = False,
        set_as_default: bool = False,
    ) -> None:
        context.load_adapters()
        config = make_config(
            max_workers,
            mp_context,
            initializer,
            initargs,
            backend=backend,
            max_tasks_per_child=max_tasks_per_child,
            memory_limit=memory_limit,
            threads_per_worker=threads_per_worker,
            thread_name_prefix=thread_name_prefix,
            resources=resources,
            resolve=resolve,
            forward_logs=forward_logs,
            insecure=insecure,
        )
        if backend is None and context.current_task() is not None:
            warnings.warn(
                "Executor() inside a task uses the executor that runs the task; "
                "write current_executor(), or name a backend for another one",
                stacklevel=2,
            )
            self._set_up(context.current_executor()._engine, SubmitOptions())
            self._borrowed = True
            return
        engine = make_engine(config, Future)
        self._set_up(engine, SubmitOptions(resolve=config.resolve))
        self._let_tasks_find_me()
        # An executor that is dropped ends when its tasks are done, as the standard library's pools do.
        finalizer = weakref.finalize(self, engine.shutdown, False, False)
        finalizer.atexit = False
        if set_as_default:
            self._default = self.as_default()

    _default: Any = None
    _borrowed = False  # the executor of a task: the cluster belongs to somebody else, and goes on

    def _set_up(self, engine: Engine, options: SubmitOptions) -> None:
        self._engine = engine
        self._options = options

    def _let_tasks_find_me(self) -> None:
        engine: Any = self._engine
        options = self._options

        def borrow() -> Executor:
            view = _view(Executor, engine, options)
            view._borrowed = True
            return view

        if hasattr(engine, "find_executor"):
            engine.find_executor = borrow

    @property
    def _max_workers(self) -> int:
        return self._engine.max_workers

    @property
    def _broken(self) -> BaseException | None:
        return self._engine.broken

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Whoever copies the settings of an object (scikit-learn's clone) means the same workers.
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            f"cannot pickle {self!r}: an executor belongs to the process that made it. A task gets the executor that "
            "runs it from current_executor(). When the executor is an attribute of an object whose method is the task, "
            "leave it out of the object's state (__getstate__), or submit a function that needs no such object"
        )

    def __repr__(self) -> str:
        url = self._known_url
        return f"<{type(self).__name__} with {self._max_workers} workers{', ' + url if url else ''}>"

    def _repr_html_(self) -> str:
        """For notebooks: with a link to the status page, once that was asked for."""
        from html import escape

        url = self._known_url
        link = f', <a href="{escape(url)}" target="_blank" rel="noopener noreferrer">status page</a>' if url else ""
        return f"<code>{type(self).__name__}</code> with {self._max_workers} workers{link}"

    @property
    def _known_url(self) -> str:
        engine = self._engine
        return engine.known_url if isinstance(engine, Observed) else ""

    # ---------------------------------------------------------------- submitting

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Run ``fn(*args, **kwargs)`` on a worker; all keywords belong to ``fn``.

        Futures among the arguments, at any depth of lists, tuples, dicts and sets, are replaced by their values.

        Raises
        ------
        RuntimeError
            After ``shutdown``.
        BrokenExecutor
            When no worker can start.
        """
        future: Future = self._engine.submit(fn, args, kwargs, self._options)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> MapIterator:
        """Like the built-in ``map``, on workers: the results in the order of the arguments.

        Parameters
        ----------
        timeout : float or None
            Seconds from this call in which each result must be there.
        chunksize : int
            So many calls go to a worker as one task.
        buffersize : int or None
            So many tasks are submitted ahead of the results that were taken; the iterables are read no further.

        Raises
        ------
        ValueError
            For a chunk or buffer that is not positive.

        Examples
        --------
        >>> with Executor(backend="sync") as ex:
        ...     list(ex.map(pow, [1, 2, 3], [2, 2, 2]))
        [1, 4, 9]
        """
        chunksize = numbers.whole("chunksize", chunksize, 1, wanted=">= 1")
        if buffersize is not None:
            buffersize = numbers.whole("buffersize", buffersize, 1, kind="an integer or None", wanted="None or > 0")
        calls: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        return MapIterator(self, fn, calls, timeout, chunksize, buffersize)

    def with_options(
        self,
        *,
        priority: int = NOT_GIVEN,
        retries: int = NOT_GIVEN,
        timeout: float | None = NOT_GIVEN,
        resources: dict[str, float] | None = NOT_GIVEN,
        workers: str | Iterable[str] | None = NOT_GIVEN,
        rerun: bool = NOT_GIVEN,
        pure: bool = NOT_GIVEN,
        key: str | None = NOT_GIVEN,
        resolve: bool = NOT_GIVEN,
    ) -> Executor:
        """An executor over the same workers, whose tasks have these options.

        Parameters
        ----------
        priority : int
            Higher runs first; from -2**62 to 2**62. In a task it counts from the task's own priority.
        retries : int
            How often a task that raised is run again; 0 or more.
        timeout : float or None
            Seconds after which a running task is stopped, and its future gets ``TaskTimeout``; finite, above 0.
        resources : dict
            Amounts that a task takes, while it runs, of the ``resources`` of its worker; 0 or more of each.
        workers : str or iterable of str
            Names of the workers that may run it.
        rerun : bool
            False: a task that was running when its worker died fails, instead of running again.
        pure : bool
            Equal calls are one task.
        key : str
            The key of the (one) task submitted through this view. If it belongs to another call, the future gets
            ``DuplicateKey``.
        resolve : bool
            False: futures in arguments arrive as futures.

        Raises
        ------
        TypeError, ValueError
            If a value is out of range, with the name of the parameter and the range.
        """
        options = changed(
            self._options,
            priority=priority,
            retries=retries,
            timeout=timeout,
            resources=resources,
            workers=workers,
            rerun=rerun,
            pure=pure,
            key=key,
            resolve=resolve,
        )
        view = _view(Executor, self._engine, options)
        view._borrowed = self._borrowed
        view._parent = self  # type: ignore[attr-defined]  # the workers live as long as the view
        return view

    # ---------------------------------------------------------------- data

    def scatter(self, data: Any, *, replicas: int = 1) -> Any:
        """Hand data to the workers once, to use it in many tasks.

        Each task gets an object of its own, which it may change; memory is copied only where it is written to. The
        results of other tasks are shared, and must not be changed. With threads and ``sync`` all have the caller's own
        object.

        Parameters
        ----------
        data : object, or a list, tuple or dict of objects
            Of a list, tuple or dict each item becomes a future of its own.
        replicas : int
            On a cluster: so many workers keep a copy. Data whose last copy dies with its worker cannot be made
            again, and everything that needs it fails with ``DataLost``. On this machine it cannot be lost.

        Returns
        -------
        Future, or a list, tuple or dict of futures
        """
        replicas = numbers.whole("replicas", replicas, 1)
        if type(data) in (list, tuple):
            return type(data)(self._scatter(item, replicas) for item in data)
        if type(data) is dict:
            return {name: self._scatter(item, replicas) for name, item in data.items()}
        return self._scatter(data, replicas)

    def _scatter(self, item: Any, replicas: int) -> Future:
        future: Future = self._engine.scatter(item, self._options, replicas)
        future.scattered = True
        return future

    def gather(self, futures: Any) -> Any:
        """The results of futures at any depth of lists, tuples, dicts and sets.

        Examples
        --------
        >>> with Executor(backend="sync") as ex:
        ...     ex.gather({"a": [ex.submit(pow, 2, 2)], "b": 1})
        {'a': [4], 'b': 1}
        """
        if getattr(self._engine, "fetches_together", False):
            concurrent.futures.wait(list(arguments.find((futures,), {}).references.values()))  # type: ignore[arg-type]
        try:
            return _gather(futures)
        finally:
            del futures  # the traceback of an error has this frame, and must not keep them alive

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run ``fn(*args, **kwargs)`` once on every worker; the results by the workers' names.

        Raises
        ------
        BaseException
            What it raised on any of them.
        """
        results: dict[str, Any] = self.gather(
            {
                name: self.with_options(workers=(name,), priority=2**61).submit(fn, *args, **kwargs)
                for name in self._engine.wait_for_workers()
            }
        )
        return results

    def future_of_key(self, key: str) -> Future:
        """The future of a key; for futures that arrive inside arguments."""
        future: Future = self._engine.future_of_key(key)
        return future

    def channel(self, name: str, maxlen: int | None = None) -> Channel:
        """The channel of this name, the same one for all clients and tasks of the cluster.

        Parameters
        ----------
        maxlen : int or None
            The most items in its buffer (10,000 if nobody says it); older ones drop out of it.

        Raises
        ------
        SharedObjectError
            When it is there, with another ``maxlen``.

        Examples
        --------
        >>> with Executor(backend="sync") as ex:
        ...     channel = ex.channel("squares")
        ...     channel.put(ex.submit(pow, 3, 2))
        ...     channel.close()
        ...     [future.result() for future in channel]
        [9]
        """
        from futures_cluster.coordination import Channel

        return Channel(self, name, maxlen=maxlen)

    def watch(self, plugin: Any) -> None:
        """Tell a plugin what the scheduler of this executor does from now on (``services.plugins.SchedulerPlugin``).

        Raises
        ------
        NotSupported
            Where there is no scheduler in this process.
        """
        self._engine.watch(plugin)

    def shared_port(self) -> Any:
        """Where handles of shared objects ask (``coordination.SharedHandle``)."""
        return self._engine.shared()

    # ---------------------------------------------------------------- the end

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; end the workers once all tasks are done.

        Parameters
        ----------
        wait : bool
            Return when that has happened. Results of live futures have been brought here by then.
        cancel_futures : bool
            Cancel the tasks that do not run yet.
        """
        if self._default is not None:
            self._default.close()
        if not self._borrowed:
            self._engine.shutdown(wait, cancel_futures)

    def terminate_workers(self) -> None:
        """End all worker processes now by SIGTERM; unfinished futures get ``WorkerDied``."""
        self._stop_workers(force=False)

    def kill_workers(self) -> None:
        """End all worker processes now by SIGKILL; unfinished futures get ``WorkerDied``."""
        self._stop_workers(force=True)

    def _stop_workers(self, force: bool) -> None:
        if self._borrowed:
            from futures_cluster.errors import NotSupported

            raise NotSupported("a task cannot stop the workers of the executor that runs it")
        if self._default is not None:
            self._default.close()
        self._engine.stop_workers(force)

    def __enter__(self) -> Self:
        context.load_adapters()
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        if exc_type is KeyboardInterrupt and not self._borrowed:
            # Whoever pressed Ctrl-C does not want to wait for what is running.
            try:
                self._stop_workers(force=True)
            except NotImplementedError:
                self.shutdown(wait=True, cancel_futures=True)
            return
        self.shutdown(wait=True)


def _gather(futures: Any) -> Any:
    try:
        if isinstance(futures, concurrent.futures.Future):
            return futures.result()
        if type(futures) in (list, tuple, set, frozenset):
            return type(futures)(map(_gather, futures))
        if type(futures) is dict:
            return dict(zip(futures, map(_gather, futures.values()), strict=True))
        return futures
    finally:
        del futures  # the traceback of an error has this frame, and must not keep them alive


def _view(cls: type[Executor], engine: Engine, options: SubmitOptions) -> Executor:
    """An executor over an engine that is there."""
    view = cls.__new__(cls)
    view._set_up(engine, options)
    return view


def executor_in_task(client: Any) -> Executor:
    """The executor of a task in a worker process (named in ``services.worker_process``)."""
    from futures_cluster.engines.client import ClientEngine

    return _view(Executor, ClientEngine(client), SubmitOptions())


def executor_over(make_engine: Callable[[Any], Any]) -> Executor:
    """The executor of a task on another engine's worker (see ``engines.foreign``)."""
    view = _view(Executor, make_engine(Future), SubmitOptions())
    view._borrowed = True
    return view
