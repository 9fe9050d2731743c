"""Our futures in Dask's graphs.

Covers: the node that holds a future in the graph of a persisted collection, finding the futures of a collection. Does
not cover: futures as arguments, which Dask takes for references to tasks (``future``), making graphs into tasks
(``graph``).

Dask's own passes copy, rename and nest nodes, and drop what they take for a mere name. An alias of a key that is in no
graph survives all of them; so the node is an alias, to the key of the future, and holds the future itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from dask._task_spec import Alias, GraphNode, Task, TaskRef

from futures_cluster.future import Future


class FutureKey(str):
    """The key of a future among a node's dependencies.

    Another scheduler of Dask finds it in no graph, and formats it into its error: then it says what to do.
    """

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return (
            f"{str(self)!r} (the result of a future: compute a collection that an Executor persisted "
            "with scheduler=ex of that Executor, or inside of `with ex.as_default():`)"
        )

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class FutureAlias(Alias):  # type: ignore[misc]
    """A key of a persisted collection, whose value is the result of a future."""

    __slots__ = ("future",)

    def __init__(self, key: Hashable, future: Future[Any]) -> None:
        super().__init__(key, future.key)
        self._dependencies = frozenset((FutureKey(future.key),))  # type: ignore[misc]  # a slot of its base
        self.future = future

    @property
    def block_fusion(self) -> bool:
        """It stays a node of its own."""
        return True

    def result(self) -> Any:
        """Return the value; waits for it."""
        return self.future.result()

    def copy(self) -> FutureAlias:
        """Return the same future once more."""
        return FutureAlias(self.key, self.future)

    def substitute(self, subs: Any, key: Hashable | None = None) -> GraphNode:
        """Return the alias, under another key if it gets one."""
        new = key if key is not None else subs.get(self.key, self.key)
        if new == self.key or isinstance(new, (GraphNode, TaskRef)):
            return self
        return FutureAlias(new, self.future)

    def __dask_tokenize__(self) -> Any:
        return ("FutureAlias", self.key, self.target)

    def __reduce__(self) -> Any:
        return Alias, (self.key, self.target)

    def __repr__(self) -> str:
        return f"FutureAlias({self.key!r}, {self.future!r})"


def futures_of(*collections: Any) -> list[Future[Any]]:
    """Return the futures in the graphs of persisted collections, or made of them.

    Examples
    --------
    >>> import dask.array as da
    >>> from futures_cluster import Executor
    >>> with Executor(backend="sync") as ex:
    ...     [future.result() for future in futures_of(ex.persist(da.arange(4, chunks=2)))]
    [array([0, 1]), array([2, 3])]
    """
    found: dict[int, Future[Any]] = {}
    for collection in collections:
        for part in collection if isinstance(collection, (list, tuple)) else [collection]:
            if isinstance(part, Future):
                found[id(part)] = part
            else:
                for node in dict(part.__dask_graph__()).values():
                    _collect(node, found)
    return list(found.values())


def _collect(node: Any, found: dict[int, Future[Any]]) -> None:
    """Find futures in a node, and in the nodes and containers among its arguments."""
    kind = type(node)
    if kind is FutureAlias:
        found[id(node.future)] = node.future
    elif kind is Future:
        found[id(node)] = node
    elif isinstance(node, Task):
        _collect((*node.args, *node.kwargs.values()), found)
    elif kind in (list, tuple, set, dict):
        for part in node.values() if kind is dict else node:
            _collect(part, found)
