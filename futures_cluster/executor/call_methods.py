"""The executor's methods about calls: ``submit``, ``map``, ``run``, ``with_options`` and ``cancel_all``.

Each method that calls a function has two overloads: the first checks the arguments and solves the types of generic
functions, the second takes futures in the place of arguments. ``engines`` runs the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Self, TypeVar, overload

from futures_cluster import numbers
from futures_cluster.engines.options import NOT_GIVEN, changed
from futures_cluster.errors import NotSupported
from futures_cluster.executor.data_methods import DataMethods
from futures_cluster.executor.map_iterator import MapIterator
from futures_cluster.future import Future

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class CallMethods(DataMethods):
    """Part of ``Executor``: methods that make tasks of calls, and cancel them."""

    _makes_chunks = True  # of the calls of ``map``

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
            Number of calls sent to a worker as one task. A ``ThreadPoolExecutor`` makes no chunks, as that of the
            standard library.
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
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     list(ex.map(pow, [1, 2, 3], [2, 2, 2]))
        [1, 4, 9]
        """
        chunksize = numbers.whole("chunksize", chunksize, 1, wanted=">= 1") if self._makes_chunks else 1
        if buffersize is not None:
            buffersize = numbers.whole("buffersize", buffersize, 1, kind="an integer or None", wanted="None or > 0")
        return MapIterator(self.submit, fn, zip(*iterables, strict=False), timeout, chunksize, buffersize)

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
            Key of the (one) task submitted through the new executor. ``submit`` raises ``DuplicateKey`` while a future
            of this executor has the key. If the key belongs to another call of another client, the future gets it.
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
        >>> from futures_cluster import Executor
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
        view = type(self).__new__(type(self))
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
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     ex.cancel_all()
        0
        """
        # The newest first: the oldest run, and their slots would go to others that are about to be cancelled.
        futures: list[Future[Any]] = self._engine.unfinished_futures()
        number, unstoppable = 0, []
        for future in reversed([each for each in futures if not each._scattered]):  # data is no task
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
