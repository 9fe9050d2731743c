"""The public executor: a ``concurrent.futures.Executor`` over an engine.

Covers ``submit``, ``map``, ``with_options``, ``run`` and shutdown. ``data_methods`` has ``scatter`` and ``gather``,
``cluster_methods`` the methods about workers and observation, ``dask_methods`` those for Dask's collections,
``display`` what notebooks show. ``engines`` runs the tasks, and ``pools`` has the classes with the standard library's
signatures.

Each method that calls a function has two overloads: the first checks the arguments and solves the types of generic
functions, the second takes futures in the place of arguments.
"""

from __future__ import annotations

import concurrent.futures
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from futures_cluster import context, numbers
from futures_cluster.config import make_config
from futures_cluster.engines import make_engine
from futures_cluster.engines.base import Engine
from futures_cluster.engines.options import NOT_GIVEN, SubmitOptions, changed
from futures_cluster.executor.cluster_methods import WorkerMethods
from futures_cluster.executor.dask_methods import DaskMethods
from futures_cluster.executor.data_methods import DataMethods
from futures_cluster.executor.display import Display
from futures_cluster.executor.map_iterator import MapIterator
from futures_cluster.future import Future

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from types import TracebackType

    from futures_cluster.channels import Channel

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class Executor(DaskMethods, DataMethods, WorkerMethods, Display, concurrent.futures.Executor):
    """Run calls on all cores of this machine, on threads, or on a cluster.

    Parameters
    ----------
    max_workers : int or None
        Number of worker processes (or threads). By default, one for each core that this process may use;
        with ``backend="threads"`` 4 more, at most 32.
    mp_context : multiprocessing context or None
        Context that starts the processes, with the standard library's rules. Without it scripts need no ``__main__``
        guard.
    initializer : callable or None
        Function that each worker calls once before its first task.
    initargs : tuple
        Arguments of ``initializer``.
    backend : str, distributed.Client or None
        ``"processes"``; ``"threads"`` (tasks share this process's memory); ``"sync"`` (each call runs at submit, for
        debuggers); or the address of a cluster: ``"tcp://host:8786"`` or ``"tls://..."`` for futures_cluster's own,
        ``"dask://host:8786"`` or a ``distributed.Client``, ``"ray"`` or ``"ray://host:10001"``. Default: the
        environment variable ``FUTURES_CLUSTER_BACKEND``, or processes.
    max_tasks_per_child : int or None
        Number of tasks after which the executor replaces a worker process.
    memory_limit : int or str or None
        Maximum memory of each worker, in bytes or like ``"2GB"``.
    threads_per_worker : int
        Number of tasks that each worker process runs at a time.
    thread_name_prefix : str
        Prefix of the names of threads, with ``backend="threads"``.
    resources : dict or None
        Amounts by name that each worker has for ``with_options(resources=...)``, such as ``{"GPU": 1}``. With
        ``backend="threads"`` each thread is a worker. ``Executor(4, resources={"api": 1})`` runs up to four tasks that
        take ``{"api": 1}`` at a time.
    limits : dict or None
        Amounts by name, above 0, that all workers share for ``with_options(limits=...)``, such as ``{"api": 3}``: the
        tasks that run at a time take no more than that together. On a cluster all clients share a limit; the first that
        declares it sets the number.
    resolve : bool
        Whether tasks get the values of futures in their arguments. If False, they get the futures.
    forward_logs : bool or None
        Whether worker processes forward log records and warnings of tasks to this process's loggers. None: processes of
        this machine forward records that no handler on the worker has taken. True: all workers forward all records,
        also from clusters. Default: the environment variable ``FUTURES_CLUSTER_FORWARD_LOGS`` (1 or 0), or None.
    insecure : bool
        Whether the executor may use a network address of a cluster without a secret: then any process that can reach it
        can run code. Default: the environment variable ``FUTURES_CLUSTER_INSECURE`` (1 or 0), or False.
    set_as_default : bool
        Whether this is Dask's default scheduler, and the executor of joblib's backend, until ``shutdown``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or has the wrong type, or a limit has another number on this cluster.

    See Also
    --------
    ProcessPoolExecutor, ThreadPoolExecutor : The signatures of the standard library.
    current_executor : The executor inside a task.

    Examples
    --------
    >>> with Executor(backend="sync") as ex:
    ...     ex.submit(sum, ex.submit(list, range(10))).result()
    45
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        backend: Any = None,
        max_tasks_per_child: int | None = None,
        memory_limit: int | str | None = None,
        threads_per_worker: int = 1,
        thread_name_prefix: str = "",
        resources: dict[str, float] | None = None,
        limits: dict[str, float] | None = None,
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
            limits=limits,
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
    _borrowed = False  # the executor of a task: the cluster belongs to another program, and goes on

    def _set_up(self, engine: Engine, options: SubmitOptions) -> None:
        self._engine = engine
        self._options = options

    def _let_tasks_find_me(self) -> None:
        engine, options = self._engine, self._options

        def borrow() -> Executor:
            view = _view(Executor, engine, options)
            view._borrowed = True
            return view

        engine.lend_executor(borrow)

    @property
    def _max_workers(self) -> int:
        return self._engine.max_workers

    @property
    def _broken(self) -> BaseException | None:
        return self._engine.broken

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Code that copies the settings of an object (scikit-learn's clone) means the same workers.
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            f"cannot pickle {self!r}: an executor belongs to the process that made it. A task gets the executor that "
            "runs it from current_executor(). When the executor is an attribute of an object whose method is the task, "
            "leave it out of the object's state (__getstate__), or submit a function that needs no such object"
        )

    # ---------------------------------------------------------------- submitting

    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...

    @overload  # mypy does not see that ``P`` is narrower
    def submit(  # type: ignore[overload-cannot-match]
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Future[T]: ...

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on a worker, and return its future at once.

        The task gets the values of futures among its arguments, at any depth of lists, tuples, dicts and sets. It
        starts when they are done.

        Parameters
        ----------
        fn : callable
            Function to call.
        *args, **kwargs
            Its arguments. All keywords belong to ``fn``; ``with_options`` sets options of the task.

        Returns
        -------
        Future
            The future of the call's result.

        Raises
        ------
        RuntimeError
            If the executor is shut down.
        BrokenExecutor
            If no worker can start.
        """
        future: Future[T] = self._engine.submit(fn, args, kwargs, self._options)
        return future

    @overload
    def map(
        self,
        fn: Callable[[A], T],
        iterable: Iterable[A],
        /,
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> MapIterator[T]: ...

    @overload
    def map(
        self,
        fn: Callable[[A, B], T],
        first: Iterable[A],
        second: Iterable[B],
        /,
        *,
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> MapIterator[T]: ...

    @overload
    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> MapIterator[T]: ...

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> MapIterator[T]:
        """Call ``fn`` on workers for each item, and iterate over results in order.

        Parameters
        ----------
        fn : callable
            Function to call.
        *iterables : iterable
            Arguments of the calls, one iterable for each parameter of ``fn``; the shortest ends the calls.
        timeout : float or None
            Maximum time in seconds from this call until each result is done.
        chunksize : int
            Number of calls sent to a worker as one task.
        buffersize : int or None
            Maximum number of tasks submitted ahead of the consumer. The iterables are read lazily and may be infinite.
            By default ``map`` submits all calls at once.

        Returns
        -------
        MapIterator
            An iterator over the results. Its ``futures`` lists the future of each call, without ``buffersize`` and with
            a ``chunksize`` of 1.

        Raises
        ------
        ValueError
            If ``chunksize`` or ``buffersize`` is not positive.

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
        backoff: float = NOT_GIVEN,
        timeout: float | None = NOT_GIVEN,
        resources: dict[str, float] | None = NOT_GIVEN,
        limits: dict[str, float] | None = NOT_GIVEN,
        workers: str | Iterable[str] | None = NOT_GIVEN,
        rerun: bool = NOT_GIVEN,
        pure: bool = NOT_GIVEN,
        key: str | None = NOT_GIVEN,
        resolve: bool = NOT_GIVEN,
    ) -> Self:
        """Return an executor over the same workers, whose tasks have these options.

        Options that you omit stay as they are in this executor.

        Parameters
        ----------
        priority : int
            Priority of the tasks, from -2**62 to 2**62; higher runs first. In a task it counts from the task's own
            priority.
        retries : int
            Maximum number of reruns of a task that raises; 0 or more.
        backoff : float
            Seconds before the first of these reruns, from 0 to 300. The wait doubles before each further one, up to 300
            seconds; a random part of up to a half is taken off. The task has no slot meanwhile, and ``cancel()`` ends
            the wait. Needs ``retries``.
        timeout : float or None
            Maximum run time in seconds, finite and above 0. After it the task is stopped, and its future gets
            ``TaskTimeout``.
        resources : dict or None
            Amounts that a running task takes of the ``resources`` of its worker; 0 or more of each.
        limits : dict or None
            Amounts that a running task takes of the ``limits`` of the executor; 0 or more of each. A task that waits
            for others keeps them.
        workers : str, iterable of str, or None
            Names of the workers that may run the tasks.
        rerun : bool
            If False, a task that was running when its worker died fails instead of running again.
        pure : bool
            Whether equal calls are one task.
        key : str or None
            Key of the (one) task submitted through the new executor. If the key belongs to another call, the future
            gets ``DuplicateKey``.
        resolve : bool
            If False, futures in arguments arrive as futures.

        Returns
        -------
        Executor
            An executor of the same class with these options. Shutting it down shuts down this executor, too.

        Raises
        ------
        TypeError, ValueError
            If a value has the wrong type or is out of range; the message has the parameter and the range. Also for
            ``backoff`` without ``retries``.

        Examples
        --------
        >>> with Executor(backend="sync") as ex:
        ...     ex.with_options(retries=2, key="eight").submit(pow, 2, 3).key
        'eight'
        """
        options = changed(
            self._options,
            priority=priority,
            retries=retries,
            backoff=backoff,
            timeout=timeout,
            resources=resources,
            limits=limits,
            workers=workers,
            rerun=rerun,
            pure=pure,
            key=key,
            resolve=resolve,
        )
        view = _view(type(self), self._engine, options)
        vars(view).update(vars(self), _options=options, _parent=self)  # the workers live as long as the view
        return view

    @overload
    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> dict[str, T]: ...

    @overload  # mypy does not see that ``P`` is narrower
    def run(  # type: ignore[overload-cannot-match]
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> dict[str, T]: ...

    def run(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> dict[str, T]:
        """Run ``fn(*args, **kwargs)`` once on every worker.

        Parameters
        ----------
        fn : callable
            Function to call.
        *args, **kwargs
            Its arguments.

        Returns
        -------
        dict
            The result of each worker, by its name. An exception of ``fn`` on a worker is raised.

        Raises
        ------
        NotSupported
            If the backend cannot choose workers.
        """
        __tracebackhide__ = True
        return self.gather(
            {
                name: self.with_options(workers=(name,), priority=2**61).submit(fn, *args, **kwargs)
                for name in self._engine.wait_for_workers()
            }
        )

    def channel(self, name: str, maxlen: int | None = None) -> Channel[Any]:
        """Return the channel of this name, shared by all clients and tasks.

        Parameters
        ----------
        name : str
            Name of the channel, which is created if it does not exist.
        maxlen : int or None
            Maximum number of items in its buffer (10,000 by default); older items drop out of it.

        Returns
        -------
        Channel
            A handle of the channel.

        Raises
        ------
        SharedObjectError
            If the channel exists with another ``maxlen``.
        NotSupported
            If the backend has no channels.

        Examples
        --------
        >>> with Executor(backend="sync") as ex:
        ...     channel = ex.channel("squares")
        ...     channel.put(ex.submit(pow, 3, 2))
        ...     channel.close()
        ...     [future.result() for future in channel]
        [9]
        """
        from futures_cluster.channels import Channel

        return Channel(self, name, maxlen=maxlen)

    # ---------------------------------------------------------------- the end

    def cancel_all(self, force: bool = False) -> int:
        """Cancel the unfinished futures of this executor.

        Unlike after ``shutdown``, the executor stays open. Futures of other programs on the same cluster go on. In a
        task the call cancels what that task has submitted.

        Parameters
        ----------
        force : bool
            Whether to stop tasks that run, too.

        Returns
        -------
        int
            Number of futures cancelled.

        Raises
        ------
        NotSupported
            For ``force``, if a task runs in a thread, which cannot be stopped. All others are cancelled by then.

        Examples
        --------
        >>> with Executor(backend="sync") as ex:
        ...     ex.cancel_all()
        0
        """
        from futures_cluster.errors import NotSupported

        # The newest first: the oldest run, and their slots would go to others that are about to be cancelled.
        futures: list[Future[Any]] = self._engine.unfinished_futures()
        number, unstoppable = 0, []
        for future in reversed(futures):
            if future._scattered:
                continue  # data on its way to the workers is no task
            try:
                number += future.cancel(force=force)
            except NotSupported:
                unstoppable.append(future.key)
        if unstoppable:
            more = f" and {len(unstoppable) - 1} more" if len(unstoppable) > 1 else ""
            raise NotSupported(
                f"{numbers.counted(number, 'task')} cancelled, but {unstoppable[-1]!r}{more} cannot be stopped in a "
                "thread; wait for the end, or use an Executor with worker processes"
            )
        return number

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new tasks, and stop the workers once all tasks are done.

        Parameters
        ----------
        wait : bool
            Whether to return only when the workers have stopped. The executor has fetched the results of live futures
            by then.
        cancel_futures : bool
            Whether to cancel the tasks that have not started.
        """
        if self._default is not None:
            self._default.close()
        if not self._borrowed:
            self._engine.shutdown(wait, cancel_futures)

    def __enter__(self) -> Self:
        context.load_adapters()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        if exc_type is KeyboardInterrupt and not self._borrowed:
            # A user who pressed Ctrl-C does not want to wait for running tasks.
            try:
                self._stop_workers(force=True)
            except NotImplementedError:
                self.shutdown(wait=True, cancel_futures=True)
            return
        self.shutdown(wait=True)


E = TypeVar("E", bound=Executor)


def _view(cls: type[E], engine: Engine, options: SubmitOptions) -> E:
    """Return an executor over an existing engine."""
    view = cls.__new__(cls)
    view._set_up(engine, options)
    return view


def executor_in_task(client: Any) -> Executor:
    """Return the executor of a task in a worker (``services.worker.process``)."""
    from futures_cluster.engines.client import ClientEngine

    return _view(Executor, ClientEngine(client), SubmitOptions())


def executor_over(make_engine: Callable[[Any], Any]) -> Executor:
    """Return the executor of a task on an external worker."""
    view = _view(Executor, make_engine(Future), SubmitOptions())
    view._borrowed = True
    return view
