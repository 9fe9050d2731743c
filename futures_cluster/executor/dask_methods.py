"""The executor's methods for Dask's collections.

Each method loads ``adapters``, which does the work, when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future as _StdlibFuture

    from futures_cluster.adapters.defaults import Default
    from futures_cluster.adapters.progress import Progress
    from futures_cluster.future import Future

C = TypeVar("C")


class DaskMethods:
    """Part of ``Executor``: ``get``, ``compute``, ``persist``, ``as_default``, ``progress``."""

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        """Compute keys of a graph; Dask calls the executor as its ``get``."""
        return self.get(graph, keys, **options)

    def get(self, graph: Any, keys: Any, **options: Any) -> Any:
        """Compute keys of a Dask graph.

        Parameters
        ----------
        graph : dict, or a Dask expression
            Tasks by their keys.
        keys : key, or a list of keys, or of such lists
            Keys whose values are returned.
        **options
            Options of other schedulers; they have no effect.

        Returns
        -------
        object or tuple
            The values, in tuples nested like the lists of ``keys``.

        Raises
        ------
        BaseException
            The exception of a task, with a note that names its key.

        Examples
        --------
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     ex.get({"a": 1, "b": (pow, "a", 2), "c": (sum, ["a", "b"])}, ["b", ["c"]])
        (1, (2,))
        """
        from futures_cluster.adapters.dask import get

        return get(self, graph, keys)

    @overload
    def compute(self, collections: list[Any] | tuple[Any, ...], /, **options: Any) -> list[Future[Any]]: ...

    @overload
    def compute(self, collection: object, /, **options: Any) -> Future[Any]: ...

    @overload
    def compute(self, first: object, second: object, /, *more: object, **options: Any) -> list[Future[Any]]: ...

    def compute(self, /, *collections: Any, **options: Any) -> Any:
        """Start to compute Dask collections, and return their futures at once.

        Parameters
        ----------
        *collections : Dask collections, or one list of them
            Collections to compute.
        **options
            Options of ``dask.compute``: ``optimize_graph``.

        Returns
        -------
        Future, or a list of futures
            A future of the value of each collection; a list for a list or for several.

        See Also
        --------
        persist : Leave the parts on the workers.

        Examples
        --------
        >>> import dask.array as da
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     print(ex.compute(da.arange(10, chunks=3).sum()).result())
        45
        """
        from futures_cluster.adapters.dask import compute

        return _in_shape(collections, lambda flat: compute(self, flat, **options))

    @overload
    def persist(self, collections: list[C] | tuple[C, ...], /, **options: Any) -> list[C]: ...

    @overload
    def persist(self, collection: C, /, **options: Any) -> C: ...

    @overload
    def persist(self, first: C, second: C, /, *more: C, **options: Any) -> list[C]: ...

    def persist(self, /, *collections: Any, **options: Any) -> Any:
        """Start to compute Dask collections, and leave their parts on the workers.

        Parameters
        ----------
        *collections : Dask collections, or one list of them
            Collections to compute.
        **options
            Options of ``dask.persist``: ``optimize_graph``.

        Returns
        -------
        collection, or a list of collections
            Collections of the same kinds, returned at once. Computations on them use the parts where they are. The
            workers free the parts with the last such collection.

        See Also
        --------
        compute : Get futures of the values.

        Examples
        --------
        >>> import dask.array as da
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     squares = ex.persist(da.arange(4, chunks=2) ** 2)
        ...     print(squares.sum().compute(scheduler=ex))
        14
        """
        from futures_cluster.adapters.dask import persist

        return _in_shape(collections, lambda flat: persist(self, flat, **options))

    def as_default(self) -> Default:
        """Make this executor the default of Dask and of joblib's backend.

        Computations that name no scheduler or executor then use this one, until ``close`` of the returned object, or
        the end of a ``with`` block.

        Returns
        -------
        Default
            An object with ``close``, and a context manager.

        Examples
        --------
        >>> import dask.array as da
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex, ex.as_default():
        ...     print(da.arange(10, chunks=3).sum().compute())
        45
        """
        from futures_cluster.adapters.defaults import Default

        return Default(self)

    def progress(self, futures: Iterable[_StdlibFuture[Any]] | None = None, **options: Any) -> Progress:
        """Show the progress of tasks submitted in a ``with`` block, or of futures.

        Parameters
        ----------
        futures : iterable of Future or None
            Futures to follow. By default, all tasks submitted in the block.
        **options
            Options of ``adapters.progress.Progress``, such as ``title``.

        Returns
        -------
        Progress
            A context manager, which draws a bar on the terminal or in a notebook.
        """
        from futures_cluster.adapters.progress import Progress

        return Progress(self, futures, **options)


def _in_shape(collections: tuple[Any, ...], do: Any) -> Any:
    """Return a list for a list or for several, a single result for one."""
    if len(collections) == 1 and type(collections[0]) in (list, tuple):
        return do(list(collections[0]))
    done = do(list(collections))
    return done[0] if len(collections) == 1 else done
