"""Large arguments of joblib's calls, which go to the workers once and not with each batch.

Covers: which arguments these are, what goes in their place, how long they are kept. Does not cover: the backend
(``joblib``), segments of shared memory (``wire.shm``).
"""

from __future__ import annotations

import weakref
from typing import Any

from futures_cluster.engines.native import NativeEngine
from futures_cluster.executor import Executor
from futures_cluster.future import Future
from futures_cluster.wire import serialize
from futures_cluster.wire.sizeof import sizeof

#: Larger arguments go to the workers once; joblib's own default of ``Parallel(max_nbytes=...)``.
LARGE_BYTES = 1_000_000
#: Types that are not looked at: numbers, and what nobody could tell the end of (it has no weak references).
_NEVER_LARGE = frozenset({int, float, complex, bool, str, bytes, list, tuple, dict, type(None)})


def engine_client(executor: Executor) -> Any:
    """What stands between an executor and its scheduler; None where each call runs at submit."""
    return getattr(executor._engine, "client", None)


def shares_memory(executor: Executor) -> bool:
    """Whether the tasks of an executor get the caller's own objects."""
    client = engine_client(executor)
    return client is None or not client.codec.tells_functions


# ---------------------------------------------------------------- on the worker


class Large:
    """Stands in the arguments of a call for one that comes as a future's value."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> Any:
        return Large, (self.index,)


def read_only(value: Any) -> Any:
    """An array that other calls on this worker get as well; joblib's own backends hand out such arrays read-only."""
    cls = type(value)
    if cls.__name__ == "ndarray" and cls.__module__ == "numpy":
        value = value.view()
        value.flags.writeable = False
    return value


# ---------------------------------------------------------------- in the program


class InMemory:
    """A large argument in a segment of shared memory, which each batch of calls maps for itself.

    Unpickles as the argument. The segment is used again when the argument and all batches that need it are gone.
    """

    __slots__ = ("is_spoiled", "payload", "pool")

    def __init__(self, payload: Any, pool: Any) -> None:
        self.payload = payload
        self.pool = pool
        self.is_spoiled = False  # a batch that was stopped may still come to read it

    def __reduce__(self) -> Any:
        return _read_large, (self.payload,)

    def __del__(self) -> None:
        segment = serialize.segment_of(self.payload)
        if segment is not None:
            (self.pool.discard if self.is_spoiled else self.pool.release)(segment[1])


def _read_large(payload: Any) -> Any:
    return read_only(serialize.load(payload))


class LargeArguments:
    """The large arguments of one ``Parallel`` call: each goes out once, and is let go when nobody has it any more.

    To workers of this machine they go through one segment of shared memory, which all of them map. Elsewhere they
    are scattered, and workers pass them on.
    """

    def __init__(self, executor: Executor, least_bytes: float) -> None:
        self._executor = executor
        self._least_bytes = least_bytes
        self._known: dict[int, tuple[Any, Any]] = {}
        codec: Any = engine_client(executor).codec
        self._scope = codec.scope
        self._pool = codec.pool if isinstance(executor._engine, NativeEngine) else None

    def find(self, arg: Any) -> Any:
        """What goes in the place of an argument: an ``InMemory``, a Future, or None if it is not large."""
        me = id(arg)
        known = self._known.get(me)
        if known is not None and known[0]() is arg:
            return known[1]
        if isinstance(arg, Future) or sizeof(arg) < self._least_bytes:
            return None
        table = self._known
        try:
            reference = weakref.ref(arg, lambda dead: _drop(table, me, dead))
        except TypeError:  # nobody would tell when it is gone, and ids are used again
            return None
        sent: Any = None
        if self._pool is not None:
            payload = serialize.dump(arg, self._pool, scope=self._scope)
            if serialize.segment_of(payload) is None:
                return None  # no memory for a segment, or no descriptor
            sent = InMemory(payload, self._pool)
        else:
            sent = self._executor._scatter(arg, 1)
        table[me] = (reference, sent)
        return sent

    def replace(self, items: list[Any]) -> tuple[list[Any], list[Future], list[Any]]:
        """Take the large arguments out of some calls.

        Returns
        -------
        items : list
            The calls, with something in the place of large arguments.
        futures : list of Future
            For ``Large``, in this order.
        sent : list
            What has to be kept until the calls have been made.
        """
        types: set[type] = set()
        for _, args, kwargs in items:
            types.update(map(type, args))
            if kwargs:
                types.update(map(type, kwargs.values()))
        if types <= _NEVER_LARGE:
            return items, [], []
        found: dict[int, int] = {}
        futures: list[Future] = []
        kept: list[Any] = []

        def put(arg: Any) -> Any:
            sent = None if type(arg) in _NEVER_LARGE else self.find(arg)
            if sent is None:
                return arg
            index = found.setdefault(id(sent), len(futures))
            if type(sent) is InMemory:
                kept.append(sent)
                return sent
            if index == len(futures):
                futures.append(sent)
            return Large(index)

        items = [
            (fn, tuple([put(arg) for arg in args]), {name: put(value) for name, value in kwargs.items()})
            for fn, args, kwargs in items
        ]
        return items, futures, kept

    def clear(self) -> None:
        """The end; the callbacks of the references refer to the table, which would keep it until a collection."""
        self._known.clear()


def _drop(futures: dict[int, tuple[Any, Future]], key: int, dead: Any) -> None:
    known = futures.get(key)
    if known is not None and known[0] is dead:
        del futures[key]
