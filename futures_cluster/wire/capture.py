"""Capturing definitions: what a function needs of its program, pickled once and again only when it has changed.

The names that are new since the last capture go into one pickle (a batch), one after the other, each with all that it
holds. What a function refers to is found while it is pickled, and joins the same batch.

Does not cover: what becomes of a batch (``programs``), and how single objects pickle (``by_value``).
"""

from __future__ import annotations

import _thread
import io
import pickle
import threading
from collections import ChainMap, deque
from collections.abc import Collection, Iterable
from types import FunctionType
from typing import Any

from futures_cluster.wire.by_value import ByValuePickler, FunctionPickler
from futures_cluster.wire.main_modules import canonical
from futures_cluster.wire.programs import MISSING, SOURCE, Key, Program, Record


def ensure(program: Program, keys: Collection[Key]) -> dict[Key, Record | None]:
    """Return the records of names and of all that they refer to, captured anew where the client has changed them.

    Raises
    ------
    pickle.PicklingError
        If the value of a name cannot travel.
    """
    with program.lock:
        records = program.closure(keys)
        changed = [key for key in records if _is_news(program, key)]
        if changed:
            _capture(program, changed)
            records = program.closure(keys)
        return records


def _is_news(program: Program, key: Key) -> bool:
    value = program.value(key)
    record = program.records.get(key)
    if record is None or record.batch is None:
        return value is not MISSING
    if not program.is_home or key[0] == SOURCE:
        return False  # elsewhere it is what the client has bound that counts
    return not record.holds(value)


def _capture(program: Program, keys: list[Key]) -> None:
    stream = io.BytesIO()
    pickler = DefinitionPickler(stream, program, keys)
    rows: list[tuple[str, str, int]] = []
    while pickler.queue:
        key = pickler.queue.popleft()
        value = program.value(key)
        try:
            pickler.define(key, value)
        except Exception as error:
            told = _cannot_travel(key, value, pickler.wanted_by.get(key, ""), error)
            if told is error:
                raise
            raise told from error
        rows.append((*key, _version(program, key, value)))
    for other in pickler.needs:
        if other is not program:
            # Definitions of another program, of which this one has got objects.
            raise pickle.PicklingError("objects of two programs refer to each other; pass them as arguments instead")
    # Found while others were pickled, and part of their names' definitions.
    name = program.new_batch_name()
    uses = {key: tuple(pickler.uses.get(key, ())) for key in pickler.taken}
    head = [(module, attribute, version, uses[module, attribute]) for module, attribute, version in rows]
    for module, attribute, version in rows:
        key = module, attribute
        program.records[key] = Record(version, name, program.value(key), uses[key])
    program.batches[name] = pickle.dumps((head, stream.getvalue()), 5)
    _drop_replaced(program)


def _version(program: Program, key: Key, value: Any) -> int:
    if not program.is_home:
        return 0
    record = program.records.get(key)
    if record is None:
        return 1
    if record.batch is None:  # set by a function that has travelled before
        return 1 if record.holds(value) else 2
    return record.version + 1


def _drop_replaced(program: Program) -> None:
    """Forget batches of which every name has been bound again."""
    if program.is_home:
        used = {record.batch for record in program.records.values()}
        for name in [name for name in program.batches if name not in used]:
            del program.batches[name]


def _cannot_travel(key: Key, value: Any, function: str, error: Exception) -> Exception:
    module, name = key
    if getattr(error, "is_about_a_global", False) or isinstance(value, (FunctionType, type)):
        return error
    by = f"function {function!r} uses" if function else "a task uses"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    told = pickle.PicklingError(
        f"{by} the global {name!r} of {module} (a {kind}), which cannot be sent to worker processes: "
        f"{error}. Create it on each worker in an `initializer`, or pass an `mp_context` whose processes inherit it"
    )
    told.is_about_a_global = True  # type: ignore[attr-defined]
    return told


class DefinitionPickler(FunctionPickler):
    """Pickles the values of names, one after the other; objects that two of them share stay shared.

    Attributes
    ----------
    queue : deque
        Names that are to be defined.
    wanted_by : dict
        The function that was the first to use a name.
    """

    def __init__(self, file: Any, program: Program, keys: Iterable[Key]) -> None:
        super().__init__(file)
        self.program = program
        self.needs[program] = {}
        self.queue: deque[Key] = deque()
        self.taken: dict[Key, None] = {}
        self.uses: dict[Key, dict[Key, None]] = {}
        self.wanted_by: dict[Key, str] = {}
        self._defining: Key = ("", "")
        for key in keys:
            self._take(key, "")

    def define(self, key: Key, value: Any) -> None:
        """Write the value of a name."""
        self._defining = key
        self.dump(value)

    def _take(self, key: Key, function: str) -> None:
        if key not in self.taken:
            self.taken[key] = None
            self.queue.append(key)
            self.wanted_by[key] = function

    def _takes_name(self, program: Program, key: Key) -> bool:
        """Only what was captured earlier; all else is part of this batch."""
        if program is not self.program:
            return True
        if key not in self.taken and _is_news(program, key):
            self._take(key, self.wanted_by.get(self._defining, ""))
        return key not in self.taken

    def need(self, program: Program, key: Key) -> None:
        """Note that what is being defined refers to a name."""
        super().need(program, key)
        if program is self.program:
            self.uses.setdefault(self._defining, {})[key] = None

    def reducer_override(self, obj: Any) -> Any:
        """Note, besides, that what is being defined refers to an object that belongs to another name."""
        if isinstance(obj, threading.local):
            return _new_local(obj)
        reduced = super().reducer_override(obj)
        name = getattr(obj, "__qualname__", None)
        module = getattr(obj, "__module__", None)
        if type(name) is str and type(module) is str:
            key = canonical(module), name.partition(".")[0]
            if key in self.taken and key != self._defining:
                self.uses.setdefault(self._defining, {})[key] = None
        return reduced

    def _uses(self, program: Program, module: str, function: FunctionType) -> tuple[Key, ...]:
        if program is not self.program:
            return super()._uses(program, module, function)
        outer = self._defining
        root = module, function.__qualname__.partition(".")[0]
        if root in self.taken:
            self._defining = root  # what a method uses, whichever name led to its class
        try:
            used = super()._uses(program, module, function)
        finally:
            self._defining = outer
        for key in used:
            if key not in self.taken and _is_news(program, key):
                self._take(key, function.__qualname__)
        return used


def _new_lock(lock: Any) -> Any:
    return threading.Lock, ()


def _new_rlock(lock: Any) -> Any:
    return threading.RLock, ()


def _new_condition(condition: Any) -> Any:
    return threading.Condition, (condition._lock,)


def _new_local(local: Any) -> Any:
    return type(local), ()


# Each process has locks of its own, as if it had run the script.
DefinitionPickler.dispatch_table = ChainMap(
    {
        _thread.LockType: _new_lock,
        type(threading.RLock()): _new_rlock,
        threading.Condition: _new_condition,
    },
    ByValuePickler.dispatch_table,
)
