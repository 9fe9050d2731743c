"""The executor's methods about data: ``scatter``, ``gather`` and ``future_of_key``.

Their types say what comes out of flat lists, tuples, sets and dicts; the type of a deeper structure is ``Any``.
"""

from __future__ import annotations

import concurrent.futures
from concurrent.futures import Future as _StdlibFuture
from typing import Any, TypeVar, overload

from futures_cluster import numbers
from futures_cluster.as_completed import STOPPED
from futures_cluster.engines.base import Engine
from futures_cluster.engines.options import SubmitOptions
from futures_cluster.future import Future
from futures_cluster.wire.codec import arguments

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
K = TypeVar("K")
T = TypeVar("T")


class DataMethods:
    """Part of ``Executor``: methods about data."""

    _engine: Engine
    _options: SubmitOptions

    # The first three are special cases of the last, with other results: mypy warns of that.
    @overload
    def scatter(  # type: ignore[overload-overlap]
        self, data: list[T], *, replicas: int = 1
    ) -> list[Future[T]]: ...

    @overload
    def scatter(  # type: ignore[overload-overlap]
        self, data: tuple[T, ...], *, replicas: int = 1
    ) -> tuple[Future[T], ...]: ...

    @overload
    def scatter(  # type: ignore[overload-overlap]
        self, data: dict[K, T], *, replicas: int = 1
    ) -> dict[K, Future[T]]: ...

    @overload
    def scatter(self, data: T, *, replicas: int = 1) -> Future[T]: ...

    def scatter(self, data: Any, *, replicas: int = 1) -> Any:
        """Send data to the workers once, for use in many tasks.

        Each task gets its own object, which it may change; memory is copied only where the task writes. With threads
        and ``sync`` all tasks have the caller's own object. Tasks share the results of other tasks, and must not change
        those.

        Parameters
        ----------
        data : object, or a list, tuple or dict of objects
            Data to send. Each item of a list, tuple or dict becomes a separate future.
        replicas : int
            Number of workers that keep a copy on a cluster. If the last copy is lost with its worker, every task that
            needs it fails with ``DataLost``. Workers of this machine cannot lose it.

        Returns
        -------
        Future, or a list, tuple or dict of futures
            Futures in the structure of ``data``.

        Raises
        ------
        TypeError, ValueError
            If ``replicas`` is not a positive integer.
        """
        replicas = numbers.whole("replicas", replicas, 1)
        if type(data) in (list, tuple):
            return type(data)(self._scatter(item, replicas) for item in data)
        if type(data) is dict:
            return {name: self._scatter(item, replicas) for name, item in data.items()}
        return self._scatter(data, replicas)

    def _scatter(self, item: T, replicas: int) -> Future[T]:
        future: Future[T] = self._engine.scatter(item, self._options, replicas)
        future._scattered = True
        return future

    @overload
    def gather(self, futures: _StdlibFuture[T]) -> T: ...

    @overload
    def gather(self, futures: list[Future[T]]) -> list[T]: ...

    @overload
    def gather(self, futures: tuple[Future[A], Future[B]]) -> tuple[A, B]: ...

    @overload
    def gather(self, futures: tuple[Future[A], Future[B], Future[C]]) -> tuple[A, B, C]: ...

    @overload
    def gather(self, futures: tuple[Future[T], ...]) -> tuple[T, ...]: ...

    @overload
    def gather(self, futures: set[Future[T]]) -> set[T]: ...

    @overload
    def gather(self, futures: frozenset[Future[T]]) -> frozenset[T]: ...

    @overload
    def gather(self, futures: dict[K, Future[T]]) -> dict[K, T]: ...

    @overload
    def gather(self, futures: object) -> Any: ...

    def gather(self, futures: Any) -> Any:
        """Return the results of futures in lists, tuples, dicts and sets.

        Parameters
        ----------
        futures : Future, or a structure of futures
            Futures at any depth of lists, tuples, dicts and sets. Other objects stay as they are.

        Returns
        -------
        object
            The results, in the structure of ``futures``. The exception of the first failed future is raised.

        Examples
        --------
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     ex.gather({"a": [ex.submit(pow, 2, 2)], "b": 1})
        {'a': [4], 'b': 1}
        """
        __tracebackhide__ = True  # for IPython and pytest: the caller's frame and the task's say all
        if self._engine.fetches_together:
            concurrent.futures.wait(list(arguments.find((futures,), {}).references.values()))  # type: ignore[arg-type]
        try:
            return _gather(futures)
        finally:
            del futures  # the traceback of an error has this frame, and must not keep them alive

    def future_of_key(self, key: str) -> Future[Any]:
        """Return the future of a key.

        Parameters
        ----------
        key : str
            Key of a task, as ``future.key`` has it.

        Returns
        -------
        Future
            A future of the task; the same one if this process has one.

        Raises
        ------
        TypeError
            If the key is no str.
        """
        if not isinstance(key, str):
            raise TypeError(f"key must be a str, as future.key is, not {key!r}")
        future: Future[Any] = self._engine.future_of_key(key)
        return future


def _gather(futures: Any) -> Any:
    __tracebackhide__ = True
    try:
        if isinstance(futures, concurrent.futures.Future):
            return futures.result()
        if type(futures) in (list, tuple, set, frozenset):
            return type(futures)(map(_gather, futures))
        if type(futures) is dict:
            return dict(zip(futures, map(_gather, futures.values()), strict=True))
        return futures
    except StopIteration as error:  # it would end the loop of ``map``
        raise RuntimeError(STOPPED) from error
    finally:
        del futures  # the traceback of an error has this frame, and must not keep them alive
