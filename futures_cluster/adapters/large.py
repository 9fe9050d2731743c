"""Large arguments of joblib's calls, which go to the workers once and not with each batch.

Covers: which arguments these are, what goes in their place, how long they are kept. Does not cover: the backend
(``joblib``), segments of shared memory (``wire.codec.shm``), arrays in files (``wire.codec.memmaps``).

What an array goes out as, wherever in the arguments it is:

- it lies in a file: as a reference to the file, if the workers are on this host;
- it is larger than ``max_nbytes``: once a call, through a segment of shared memory ("r", "c") or a file without a name
  ("r+", or in a ``temp_folder``), if the workers are on this host; otherwise as scattered data, if it is an argument
  itself;
- all else: by its contents.
"""

from __future__ import annotations

import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from futures_cluster.engines.local import LocalEngine
from futures_cluster.executor import Executor
from futures_cluster.future import Future
from futures_cluster.wire.codec import payloads, pickling, shm
from futures_cluster.wire.codec.pickling import dumps_apart, loads
from futures_cluster.wire.codec.sizeof import sizeof

try:
    from futures_cluster.wire.codec import memmaps
except ImportError:  # without numpy there are no arrays
    memmaps = None  # type: ignore[assignment]

#: Larger arguments go to the workers once; joblib's own default of ``Parallel(max_nbytes=...)``.
LARGE_BYTES = 1_000_000
#: Types that are not looked at: numbers, and those without weak references, whose end cannot be noticed.
_NEVER_LARGE = frozenset({int, float, complex, bool, str, bytes, list, tuple, dict, type(None)})
ARRAYS: tuple[type, ...] = () if memmaps is None else memmaps.ARRAYS


def shares_files(executor: Executor) -> bool:
    """Return whether the tasks of an executor find the caller's files.

    They do in processes of this host.
    """
    engine = executor._engine
    return engine.shares_memory or engine.client.codec.pool is not None


def warn(text: str) -> None:
    """Warn on behalf of the code that has called joblib."""
    frame, depth = sys._getframe(1), 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("joblib", "futures_cluster"):
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    warnings.warn(text, stacklevel=depth)


# ---------------------------------------------------------------- on the worker


class Placeholder:
    """Stands for an argument that the executor sends as the value of a future."""

    __slots__ = ("index", "is_writable")

    def __init__(self, index: int, is_writable: bool) -> None:
        self.index = index
        self.is_writable = is_writable

    def __reduce__(self) -> Any:
        return Placeholder, (self.index, self.is_writable)

    def fill(self, values: list[Any]) -> Any:
        """Return the argument; an array is read-only, as in joblib, or the batch's own."""
        value = values[self.index]
        if type(value) in ARRAYS:
            if self.is_writable:
                return value if value.flags.writeable else value.copy()
            value = value.view()
            value.flags.writeable = False
        return value


# ---------------------------------------------------------------- in the program


class InMemory:
    """A large argument in a segment of shared memory, which each batch of calls maps for itself.

    Unpickles as the argument. The segment is used again when the argument and all batches that need it are gone.
    """

    __slots__ = ("_is_spoiled", "_is_writable", "_payload", "_pool")

    def __init__(self, payload: Any, pool: Any, is_writable: bool) -> None:
        self._payload = payload
        self._pool = pool
        self._is_writable = is_writable
        self._is_spoiled = False

    def __reduce__(self) -> Any:
        return _read_large, (self._payload, self._is_writable)

    def spoil(self) -> None:
        """Never reuse the segment: a batch that was stopped may still read it."""
        self._is_spoiled = True

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_finalizing():  # the globals of modules are gone, perhaps those of this one
            return
        segment = payloads.segment_of(self._payload)
        if segment is not None:
            (self._pool.discard if self._is_spoiled else self._pool.release)(segment[1])


def _read_large(payload: Any, is_writable: bool) -> Any:
    data, *buffers = shm.open_segment(payload[1])
    return loads(data, buffers if is_writable else [buffer.toreadonly() for buffer in buffers])


class LargeArguments:
    """The large arguments of one ``Parallel`` call: each goes out once, and is freed after its last use.

    Parameters
    ----------
    executor : Executor
        Whose workers are processes.
    least_bytes : int or None
        Larger arguments go out once; None: no argument does.
    mode : str or None
        joblib's ``mmap_mode``: whether calls may change large arrays, and which processes see it.
    folder : str or None
        joblib's ``temp_folder``.

    Attributes
    ----------
    shares_files : bool
        Whether the workers find the caller's files.
    must_replace : bool
        Whether ``replace`` must be called before a batch is submitted, not only while it is pickled: if large arguments
        are futures, or some were not arrays.
    """

    def __init__(self, executor: Executor, least_bytes: int | None, mode: str | None, folder: str | None) -> None:
        self._executor = executor
        self._least_bytes = float("inf") if least_bytes is None or mode is None else least_bytes
        self._mode = mode
        self._folder = folder
        self._known: dict[int, tuple[Any, Any]] = {}  # by id: a weak reference to the argument, and what goes out
        self._files: dict[int, tuple[Any, Any]] = {}  # by id: a weak reference to the memmap, and its file
        self._has_warned = False
        self._codec = codec = executor._engine.client.codec  # its scope is known once workers start
        self.shares_files = shares_files(executor)
        self._pool = codec.pool if isinstance(executor._engine, LocalEngine) else None
        # Looking at the arguments of many small calls takes three times as long as pickling them.
        self.must_replace = self._pool is None

    # ---------------------------------------------------------------- arrays, anywhere in the arguments

    def reducers(self, kept: list[Any] | None) -> dict[type, Callable[[Any], Any]]:
        """Return the reducers of arrays; ``kept`` gets what must outlive the calls.

        With None, large arrays pickle like others: they are part of what goes out once.
        """
        return dict.fromkeys(ARRAYS, lambda array: self._reduce(array, kept))

    def _reduce(self, array: Any, kept: list[Any] | None) -> Any:
        base = memmaps.backing(array) if array.size else None
        file = None if base is None else self._file_of(base)
        if file is not None:
            return memmaps.reduce_view(array, base, file)
        mode = self._mode if base is None else self._mode_of_contents(base)
        if kept is not None and array.nbytes > self._least_bytes and not array.dtype.hasobject:
            sent = _once(self._known, array, lambda: self._array_here(array, mode))
            if sent is not None:
                kept.append(sent)
                return sent.__reduce__()
        elif base is None:
            return array.__reduce_ex__(pickling.PROTOCOL)
        return memmaps.reduce_contents(array, mode == "c")

    def _file_of(self, base: Any) -> Any:
        """Return the file that workers map for a memmap; None if they cannot."""
        if not self.shares_files:
            return None
        return _once(self._files, base, lambda: [memmaps.MappedFile.of(base)])[0]

    def _mode_of_contents(self, base: Any) -> str:
        """Return how calls get the contents of a memmap that travels without its file."""
        if base.mode in memmaps.WRITABLE_MODES and not self._has_warned:
            why = (
                "its file has no name, or was moved, replaced or deleted"
                if self.shares_files
                else "the workers may be on hosts that do not have the file"
            )
            warn(
                f"calls get read-only contents of the numpy.memmap of {base.filename!r} (mode {base.mode!r}), because "
                f"{why}: what they write would not reach it. Have the calls return what they compute, or open it with "
                "mode 'r' if they only read"
            )
            self._has_warned = True  # behind it: a warning that is an error must be one again
        return "c" if base.mode == "c" else "r"

    def _array_here(self, array: Any, mode: Any) -> Any:
        """Return what goes out once for a large array; None if each batch has it."""
        is_writable = mode != "r"
        if self.shares_files and (self._folder is not None or mode in memmaps.WRITABLE_MODES):
            return memmaps.ArrayFile(array, mode, self._folder)
        if self._pool is None or array.nbytes < payloads.SHARED_BYTES:
            return None
        if is_writable and not array.flags.writeable:  # what pickles as read-only stays so
            return memmaps.ArrayFile(array, mode, None)
        return self._in_memory(memmaps.plain(array), is_writable)

    def _in_memory(self, arg: Any, is_writable: bool) -> InMemory | None:
        reducers = None if type(arg) in ARRAYS else self.reducers(None)
        payload = payloads.dump(arg, self._pool, scope=self._codec.scope, reducers=reducers)
        if payloads.segment_of(payload) is None:
            return None  # no memory for a segment, or no descriptor
        return InMemory(payload, self._pool, is_writable)

    # ---------------------------------------------------------------- arguments themselves

    def _replacement(self, arg: Any) -> tuple[Any, bool]:
        """Return what goes out for an argument, and whether calls may change it."""
        mode = self._mode
        if type(arg) in ARRAYS:
            if self._pool is not None or arg.nbytes <= self._least_bytes or arg.dtype.hasobject:
                return None, False
            base = memmaps.backing(arg)
            if base is not None:
                if self._file_of(base) is not None:
                    return None, False
                mode = self._mode_of_contents(base)
            elif self.shares_files and (self._folder is not None or mode in memmaps.WRITABLE_MODES):
                return None, False
        elif isinstance(arg, Future) or sizeof(arg) < self._least_bytes:
            return None, False
        if self._pool is not None:
            return _once(self._known, arg, lambda: self._in_memory(arg, mode == "c")), False
        plain = memmaps.plain(arg) if type(arg) in ARRAYS else arg
        return _once(self._known, arg, lambda: self._executor._scatter(plain, 1)), mode == "c"

    def replace(self, items: list[Any]) -> tuple[list[Any], list[Future[Any]], list[Any]]:
        """Take the large arguments out of some calls.

        Returns
        -------
        items : list
            The calls, with something in the place of large arguments.
        futures : list of Future
            The values of placeholders, by their index.
        kept : list
            Objects that must live until the calls have been made.
        """
        types: set[type] = set()
        for _, args, kwargs in items:
            types.update(map(type, args))
            if kwargs:
                types.update(map(type, kwargs.values()))
        if types <= _NEVER_LARGE:
            return items, [], []
        found: dict[int, int] = {}
        futures: list[Future[Any]] = []
        kept: list[Any] = []

        def put(arg: Any) -> Any:
            if type(arg) in _NEVER_LARGE:
                return arg
            sent, is_writable = self._replacement(arg)
            if sent is None:
                return arg
            index = found.setdefault(id(sent), len(futures))
            if type(sent) is InMemory:
                kept.append(sent)
                return sent
            if index == len(futures):
                futures.append(sent)
            return Placeholder(index, is_writable)

        items = [
            (fn, tuple([put(arg) for arg in args]), {name: put(value) for name, value in kwargs.items()})
            for fn, args, kwargs in items
        ]
        return items, futures, kept

    def pickle(self, items: list[Any], kept: list[Any]) -> tuple[bytes, list[memoryview]]:
        """Pickle calls with large buffers; ``kept`` gets what must live until they end."""
        reducers = self.reducers(kept)
        data, buffers = dumps_apart(items, self._codec.scope, reducers)
        if not self.must_replace and len(data) + sum([buffer.nbytes for buffer in buffers]) > self._least_bytes:
            items, _, kept[:] = self.replace(items)
            if kept:
                self.must_replace = True
                data, buffers = dumps_apart(items, self._codec.scope, reducers)
        return data, buffers

    def clear(self) -> None:
        """Drop the tables, which callbacks of their references would keep."""
        self._known.clear()
        self._files.clear()


def _once(table: dict[int, Any], arg: Any, make: Callable[[], Any]) -> Any:
    """Return what ``make`` has made for an argument when it was met first.

    The table has it, unless it is None, by the id of the argument and until that goes.
    """
    key = id(arg)
    known = table.get(key)
    if known is not None and known[0]() is arg:
        return known[1]

    def drop(dead: Any) -> None:
        known = table.get(key)
        if known is not None and known[0] is dead:
            del table[key]

    try:
        reference = weakref.ref(arg, drop)
    except TypeError:  # its end would go unnoticed, and ids are used again
        return None
    made = make()
    if made is not None:
        table[key] = (reference, made)
    return made
