"""A batch of joblib's calls on its way to a worker, and what they return on its way back.

Covers: making the calls, and pickling both so that arrays in files travel as references to them. Does not cover: which
arguments are large (``large``), the backend (``joblib``).
"""

from __future__ import annotations

import pickle
from typing import Any

from futures_cluster.adapters.large import ARRAYS, LargeArguments, Placeholder
from futures_cluster.future import Future
from futures_cluster.wire.codec.pickling import HERE, OUT_OF_BAND_BYTES, dumps_apart, loads

_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})

# ---------------------------------------------------------------- to the worker


class Calls:
    """The calls of a batch, opaque to the search for futures: joblib's arguments arrive as they are.

    Attributes
    ----------
    kept : list
        Objects that must live until the calls have been made.
    """

    __slots__ = ("_items", "_large", "_pickled", "futures", "kept")

    def __init__(self, items: list[Any], large: LargeArguments | None = None) -> None:
        self._items = items
        self._large = large
        self._pickled: Any = None
        self.futures: list[Future[Any]] = []
        self.kept: list[Any] = []
        if large is not None and large.must_replace:
            self._items, self.futures, self.kept = large.replace(items)

    def __reduce__(self) -> Any:
        if self._large is None:
            return Calls, (self._items,)
        if self._pickled is None:  # once, whichever picklers are tried
            self._pickled = self._large.pickle(self._items, self.kept)
        return _load_calls, _out_of_band(*self._pickled)

    def run(self, large: list[Any]) -> list[Any]:
        """Make the calls; ``large`` has the values of ``futures``."""
        if not large:
            return [fn(*args, **kwargs) for fn, args, kwargs in self._items]

        def put(arg: Any) -> Any:
            return arg.fill(large) if type(arg) is Placeholder else arg

        return [
            fn(*map(put, args), **{name: put(value) for name, value in kwargs.items()})
            for fn, args, kwargs in self._items
        ]


def _load_calls(data: Any, buffers: list[Any]) -> Calls:
    return Calls(loads(data, buffers))


# ---------------------------------------------------------------- back


class Results:
    """What some calls have returned, with references to the files in which arrays of it lie."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __reduce__(self) -> Any:
        from futures_cluster.wire.codec import memmaps  # needs numpy, which is there if there are arrays

        reducers = dict.fromkeys(ARRAYS, memmaps.reduce_result)
        return _load_results, _out_of_band(*dumps_apart(self.items, HERE, reducers))


def _load_results(data: Any, buffers: list[Any]) -> Results:
    return Results(loads(data, buffers))


def with_files(results: list[Any]) -> Any:
    """Return what goes to a caller on this host, which finds this process's files."""
    return results if not ARRAYS or _PLAIN.issuperset(map(type, results)) else Results(results)


def own_results(results: Any) -> list[Any]:
    """Return the results of a batch as they were."""
    items: list[Any] = results.items if type(results) is Results else results
    return items


def _out_of_band(data: Any, buffers: list[Any]) -> tuple[Any, list[pickle.PickleBuffer]]:
    """Return a pickle and its buffers as parts of another one, without copies."""
    head = data if len(data) < OUT_OF_BAND_BYTES else pickle.PickleBuffer(data)
    return head, [pickle.PickleBuffer(buffer) for buffer in buffers]
