"""Capturing definitions: what a function needs of its program, pickled once and again only when it has changed.

The names that are new since the last capture go into one pickle (a batch), one after the other, each with all that it
holds. The pickler finds the names that a function refers to, which join the same batch.

Does not cover: what becomes of a batch (``programs``), and how single objects pickle (``by_value``).
"""

from __future__ import annotations

import _thread
import io
import pickle
import threading
from collections import ChainMap, deque
from collections.abc import Collection, Iterable
from contextvars import ContextVar
from types import FunctionType
from typing import Any

from futures_cluster.wire.codec import programs
from futures_cluster.wire.codec.by_value import ByValuePickler, FunctionPickler
from futures_cluster.wire.codec.main_modules import canonical
from futures_cluster.wire.codec.names import names_in
from futures_cluster.wire.codec.programs import MISSING, SOURCE, Key, Program, ProgramRecord


def ensure(program: Program, keys: Collection[Key], reducers: Any = None) -> dict[Key, ProgramRecord | None]:
    """Return the records of names and what they refer to, captured if changed.

    ``reducers``: by type, how objects pickle in what is captured now.

    Raises
    ------
    pickle.PicklingError
        If the value of a name cannot travel.
    """
    with program.lock:
        records = program.closure(keys)
        changed = [key for key in records if _is_news(program, key)]
        if changed:
            _capture(program, changed, reducers)
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


def _capture(program: Program, keys: list[Key], reducers: Any) -> None:
    stream = io.BytesIO()
    pickler = DefinitionPickler(stream, program, keys, reducers)
    rows: list[tuple[Key, int, Any]] = []
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
        rows.append((key, _version(program, key, value), value))
    name = program.new_batch_name()
    uses = {key: tuple(pickler.uses.get(key, ())) for key in pickler.taken}
    head = [(*key, version, uses[key]) for key, version, _ in rows]
    for key, version, value in rows:
        program.records[key] = ProgramRecord(version, name, value, uses[key])
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

    def __init__(self, file: Any, program: Program, keys: Iterable[Key], reducers: Any = None) -> None:
        super().__init__(file, reducers=reducers)
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
        """Have a name be defined that is new, or has been bound again."""
        if key not in self.taken and _is_news(self.program, key):
            self.taken[key] = None
            self.queue.append(key)
            self.wanted_by[key] = function

    def _takes_name(self, program: Program, key: Key) -> bool:
        """Return whether it was captured earlier; all else is part of this batch."""
        if program is not self.program:
            return False  # an object that came from another script is part of what refers to it
        self._take(key, self.wanted_by.get(self._defining, ""))
        return key not in self.taken

    def need(self, program: Program, key: Key) -> None:
        """Note that what is being defined refers to a name."""
        super().need(program, key)
        if program is self.program:
            self.uses.setdefault(self._defining, {})[key] = None

    def reducer_override(self, obj: Any) -> Any:
        """Note also that the definition refers to an object of another name."""
        if isinstance(obj, threading.local):
            return type(obj), ()
        if isinstance(obj, type):
            self._take_related(obj)
        reduced = super().reducer_override(obj)
        name = getattr(obj, "__qualname__", None)
        module = getattr(obj, "__module__", None)
        if type(name) is str and type(module) is str:
            key = canonical(module), name.partition(".")[0]
            if key in self.taken and key != self._defining:
                self.uses.setdefault(self._defining, {})[key] = None
        return reduced

    def _take_related(self, cls: type) -> None:
        """Take a class's subclasses, and the names in its annotations."""
        module = canonical(getattr(cls, "__module__", None) or "")
        space = self.program.spaces.get(module)
        if space is None or space.get(cls.__qualname__) is not cls or (module, cls.__qualname__) not in self.taken:
            return
        names = [
            each.__qualname__ for each in type.__subclasses__(cls) if space.get(each.__qualname__, MISSING) is each
        ]
        annotations = vars(cls).get("__annotations__")  # from Python 3.14 on they are made when they are asked for
        for annotation in (annotations or {}).values():
            if type(annotation) is str:
                names += [name for name in names_in(annotation) if name in space]
        for name in names:
            self.need(self.program, (module, name))
            self._take((module, name), cls.__qualname__)

    def _owner_of(self, function: FunctionType) -> tuple[str, str | None] | None:
        """Return the owner of functions of the program; others bring their globals."""
        found = programs.of_namespace(function.__globals__)
        if found is not None and found[0] is not self.program:
            return None
        return super()._owner_of(function)

    def _uses(self, program: Program, module: str, function: FunctionType) -> tuple[Key, ...]:
        used = super()._uses(program, module, function)
        # What a method uses is used by its class, whichever name has led there. A function that another function has
        # made may be part of any name that this definition holds.
        root = module, function.__qualname__.partition(".")[0]
        holds = [root] if "<locals>" not in function.__qualname__ else list(self.uses.get(self._defining, ()))
        for key in holds:
            if key in self.taken and key != self._defining:
                self.uses.setdefault(key, {}).update(dict.fromkeys(used))
        for key in [*used, *self._kin(program, module, function)]:
            self._take(key, function.__qualname__)
        return used

    @staticmethod
    def _kin(program: Program, module: str, function: FunctionType) -> list[Key]:
        """Return the names of functions that share variables (``nonlocal``) with one."""
        cells = {id(cell) for cell in function.__closure__ or ()}
        if not cells:
            return []
        return [
            (module, name)
            for name, value in list(program.spaces[module].items())
            if type(value) is FunctionType and any(id(cell) in cells for cell in value.__closure__ or ())
        ]


def _new_context_variable(variable: ContextVar[Any]) -> Any:
    try:
        return ContextVar, (variable.name,), (variable.get(),), None, None, _set_context_variable
    except LookupError:
        return ContextVar, (variable.name,)


def _set_context_variable(variable: ContextVar[Any], value: tuple[Any]) -> None:
    variable.set(*value)


# Each process has locks of its own, as if it had run the script.
DefinitionPickler.dispatch_table = ChainMap(
    {
        _thread.LockType: lambda lock: (threading.Lock, ()),
        type(threading.RLock()): lambda lock: (threading.RLock, ()),
        threading.Condition: lambda condition: (threading.Condition, (condition._lock,)),
        ContextVar: _new_context_variable,
    },
    ByValuePickler.dispatch_table,
)
