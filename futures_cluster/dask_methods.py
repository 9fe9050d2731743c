"""What an executor does with Dask's collections.

Covers: the methods, each of which loads what it needs when it is called. Does not cover: doing it (``adapters``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from futures_cluster.adapters.defaults import Default
    from futures_cluster.adapters.progress import Progress


class DaskMethods:
    """Part of ``Executor``: ``get``, ``compute``, ``persist``, ``as_default``, ``progress``."""

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        """What Dask calls: ``get``."""
        return self.get(graph, keys, **options)

    def get(self, graph: Any, keys: Any, **options: Any) -> Any:
        """Compute keys of a Dask graph.

        Parameters
        ----------
        graph : dict, or an expression of Dask's
            From keys to tasks.
        keys : key, or a list of keys, or of such lists
            Those whose values are wanted.
        options
            Of other schedulers; without effect.

        Returns
        -------
        object or list
            The values, in tuples that are nested as the lists of ``keys``.

        Raises
        ------
        BaseException
            What a task raised, with a note that names its key.

        Examples
        --------
        >>> from futures_cluster import Executor
        >>> with Executor(backend="sync") as ex:
        ...     ex.get({"a": 1, "b": (pow, "a", 2), "c": (sum, ["a", "b"])}, ["b", ["c"]])
        (1, (2,))
        """
        from futures_cluster.adapters.dask import get

        return get(self, graph, keys)

    def compute(self, *collections: Any, **options: Any) -> Any:
        """Begin to compute Dask collections; returns at once.

        Parameters
        ----------
        collections : Dask collections, or one list of them
        options
            For ``dask.compute``: ``optimize_graph``.

        Returns
        -------
        Future, or a list of futures
            One for each collection, of its value.

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

    def persist(self, *collections: Any, **options: Any) -> Any:
        """Begin to compute Dask collections, and leave their parts on the workers; returns at once.

        Parameters
        ----------
        collections : Dask collections, or one list of them
        options
            For ``dask.persist``: ``optimize_graph``.

        Returns
        -------
        collection, or a list of collections
            Of the same kinds. What is computed from them finds their parts where they are. These are freed when the
            last such collection goes.
        """
        from futures_cluster.adapters.dask import persist

        return _in_shape(collections, lambda flat: persist(self, flat, **options))

    def as_default(self) -> Default:
        """Be Dask's scheduler, and the executor of joblib's backend, for whatever does not name one.

        This lasts until ``close`` of what is returned, or the end of a ``with`` block.

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

    def progress(self, futures: Iterable[Future[Any]] | None = None, **options: Any) -> Progress:
        """Show how far the tasks are that are submitted in a ``with`` block, or these futures.

        The options are those of ``adapters.progress.Progress``.
        """
        from futures_cluster.adapters.progress import Progress

        return Progress(self, futures, **options)


def _in_shape(collections: tuple[Any, ...], do: Any) -> Any:
    """A list for a list or for several, one for one."""
    if len(collections) == 1 and type(collections[0]) in (list, tuple):
        return do(list(collections[0]))
    done = do(list(collections))
    return done[0] if len(collections) == 1 else done
