"""Programs: the namespaces in which the functions and classes of users' scripts live, here and on workers.

A script's ``__main__`` cannot be imported by a worker, so what tasks need of it travels by value: as *definitions*, a
name and its value at a time. All definitions of one program (a client's process) go into one namespace on each worker,
as if the worker had run the script: what an initializer or a task sets there, later tasks see, and plain ``pickle``
finds ``__main__.Name``. The client numbers the bindings of a name. A worker writes a definition only if the name is new
there or if the client has bound it again since; so what travels never resets what tasks have set.

Definitions travel in *batches*: names that were captured together, in one pickle, so that an object that two of them
share stays one object. Every payload that refers to a program lists the batches that it needs and holds them, so it can
be loaded anywhere and in any order.

The same is done for other modules that a worker cannot import (loaded from a file by hand, made in memory, registered
with ``cloudpickle.register_pickle_by_value``).

Does not cover: making batches (``capture``), and which objects refer to what (``by_value``).
"""

from __future__ import annotations

import builtins
import functools
import io
import itertools
import linecache
import os
import pickle
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any, TypeAlias

from futures_cluster import locks
from futures_cluster.wire.codec import importing
from futures_cluster.wire.codec.main_modules import MAIN, MP_MAIN, canonical, mains

#: The module of definitions that are no bindings: the text of source that is in no file, by the name of its file.
SOURCE = "<source>"


class _Missing:
    """Stands for the value of a name that is not bound, also in a definition: the client has deleted the name."""

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()

#: Names that go with every function; a script does not bind them.
OF_THE_SCRIPT = ("__file__", "__package__")

#: The type of a name's value until the name's ``lazy import`` runs; None before Python 3.15.
LAZY_IMPORT = getattr(types, "LazyImportType", None)

#: What a module has in its namespace before anything is bound there.
_NEW_MODULE = frozenset(vars(ModuleType("")))

# A module and a name in it.
Key = tuple[str, str]


def bound(space: dict[str, Any], name: str) -> Any:
    """Return what a name is bound to; ``MISSING`` if it is not bound.

    Its ``lazy import`` runs, as at each use.
    """
    value = space.get(name, MISSING)
    if type(value) is LAZY_IMPORT:
        value = space[name] = value.resolve()
    return value


class ProgramRecord:
    """What is known of one name of a program.

    Attributes
    ----------
    version : int
        Number of the binding; 0 for one that was made by a task.
    batch : str or None
        The batch that holds it; None for a name that a function sets and that has not travelled.
    uses : tuple of Key
        The names that its value refers to.
    """

    __slots__ = ("_ref", "batch", "traits", "uses", "version")

    def __init__(self, version: int, batch: str | None, value: Any, uses: tuple[Key, ...] = ()) -> None:
        self.version = version
        self.batch = batch
        self.uses = uses
        self._ref = weak(value)
        self.traits = traits(value)

    def holds(self, value: Any) -> bool:
        """Return whether this is the same object, with unchanged code and defaults."""
        return is_same(self._ref, value) and traits_are(self.traits, value)


def is_same(former: Any, value: Any) -> bool:
    """Return whether a value is the object that ``weak`` was given."""
    if former() is not value:
        return False
    return value is not None or type(former) is not weakref.ref  # a reference to what is gone gives None, too


def weak(value: Any) -> Any:
    """Return a callable that gives the object as long as it lives, if it can."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


#: What may change in a function that keeps its name: code, defaults, those of keywords, what its closure holds.
Traits: TypeAlias = tuple[Any, Any, Any, list[Any]]


def content(cell: Any) -> Any:
    """Return what a cell of a closure holds; ``MISSING`` if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def traits(value: Any) -> Traits | None:
    """Return the traits of a function; None for any other object.

    What its closure holds is held weakly where that is possible, as it may refer back to the function.
    """
    if type(value) is not FunctionType:
        return None
    cells = [weak(content(cell)) for cell in value.__closure__ or ()]
    return value.__code__, value.__defaults__, dict(value.__kwdefaults__ or {}), cells


def traits_are(known: Traits | None, value: Any) -> bool:
    """Return whether a function still has the traits that it had."""
    if known is None:
        return True
    code, defaults, keywords, cells = known
    if value.__code__ is not code or value.__defaults__ is not defaults:
        return False
    if cells and not all(map(is_same, cells, map(content, value.__closure__ or ()))):
        return False
    now = value.__kwdefaults__
    if not now:
        return not keywords
    return bool(now.keys() == keywords.keys() and all(now[name] is keywords[name] for name in keywords))


class Program:
    """One program's namespaces in this process, and what is known of their definitions.

    Parameters
    ----------
    token : str
        Names the program; unlike those of all other processes.
    is_home : bool
        Whether this process is the program. Elsewhere it is a worker, or another client that got its objects.
    """

    def __init__(self, token: str, is_home: bool) -> None:
        self.token = token
        self.is_home = is_home
        self.lock = locks.RLock()  # users' code runs while it is held: pickling and unpickling
        self.spaces: dict[str, dict[str, Any]] = {}
        #: Made for the namespaces of a program from elsewhere; at home ``__main__``, so that its identity stays taken.
        self.modules: dict[str, ModuleType] = {}
        self.records: dict[Key, ProgramRecord] = {}
        self.batches: dict[str, bytes] = {}  # in the order in which they were made
        self._numbers = itertools.count(1)

    def token_for(self, scope: str) -> str:
        """Return the token of this program in a scope; elsewhere, the scope's."""
        return f"{self.token}:{scope}" if self.is_home and scope else self.token

    def new_batch_name(self) -> str:
        """Return a name that no batch of any process has."""
        return f"{_own_token()}.{next(self._numbers)}"

    def value(self, key: Key) -> Any:
        """Return what a name is bound to now; ``MISSING`` if it is not bound."""
        module, name = key
        if module == SOURCE:
            return source_of(name)
        return bound(self.spaces.get(module, {}), name)

    def resolve(self, module: str, qualname: str) -> Any:
        """Return the object of a dotted name, ``MISSING`` if there is none."""
        first, *rest = qualname.split(".")
        found = self.spaces.get(canonical(module), {}).get(first, MISSING)
        for name in rest:
            found = getattr(found, name, MISSING)
        return found

    def note_set(self, key: Key) -> None:
        """Remember what a name is bound to that a function sets.

        When the name travels later, and has been bound again here meanwhile, it replaces what tasks have set.
        """
        if key not in self.records:
            self.records[key] = ProgramRecord(1, None, self.value(key))

    def closure(self, keys: Iterable[Key]) -> dict[Key, ProgramRecord | None]:
        """Return the records of names and what they refer to, or None if unbound."""
        found: dict[Key, ProgramRecord | None] = {}
        todo = list(keys)
        while todo:
            key = todo.pop()
            if key not in found:
                record = found[key] = self.records.get(key)
                if record is not None:
                    todo.extend(record.uses)
        return found

    def batches_of(self, records: Iterable[ProgramRecord | None]) -> list[tuple[str, bytes]]:
        """Return the batches that hold these definitions, oldest first."""
        names = dict.fromkeys(record.batch for record in records if record is not None)
        return [(name, data) for name, data in self.batches.items() if name in names]

    def learn(self, batches: Iterable[tuple[str, bytes]]) -> None:
        """Write definitions that came from elsewhere, as far as they are news here."""
        for name, data in batches:
            if name not in self.batches and not self.is_home:
                with self.lock:
                    if name not in self.batches:
                        self._write(name, data)

    def binding(self, key: Key, batch: str) -> Any:
        """Return what a batch binds to a name, even if it was bound again since."""
        record = self.records.get(key)
        if record is not None and record.batch == batch:
            return self.value(key)
        return next(row[-1] for row in self._load(self.batches[batch]) if (row[0], row[1]) == key)

    def is_installed(self) -> bool:
        """Return whether ``pickle`` finds the program's names in ``sys.modules``."""
        return all(
            name in sys.modules and getattr(sys.modules[name], "__dict__", None) is space
            for name, space in self.spaces.items()
        )

    def _load(self, data: bytes) -> list[tuple[str, str, int, tuple[Key, ...], Any]]:
        """Return a batch's definitions: module, name, version, names, value."""
        head, stream = pickle.loads(data)
        unpickler = ProgramUnpickler(io.BytesIO(stream), self)
        with loading(self):
            return [(*row, unpickler.load()) for row in head]

    def _write(self, name: str, data: bytes) -> None:
        for module, attribute, version, uses, value in self._load(data):
            known = self.records.get((module, attribute))
            if known is not None and known.version >= version:
                continue
            self.records[module, attribute] = ProgramRecord(version, name, value, uses)
            if module == SOURCE:
                add_source(attribute, value)
                continue
            space = self.space(module)
            # The first binding does not replace a value that an initializer or a task has set; a later one does.
            set_by_task = (known is None or known.version == 0) and attribute in space and attribute not in _NEW_MODULE
            if value is MISSING:
                space.pop(attribute, None)
            elif version > 1 or not set_by_task:
                space[attribute] = value
        self.batches[name] = data

    def space(self, module: str) -> dict[str, Any]:
        """Return the namespace of a module, which is made when it is first needed."""
        space = self.spaces.get(module)
        if space is None:
            made = self.modules[module] = ModuleType(module)
            made.__dict__["__builtins__"] = builtins
            space = self.spaces[module] = made.__dict__
            importing.send_by_value(module)
            if mains.is_host:
                mains.add(made)
        return space

    def module(self, name: str) -> ModuleType:
        """Return the module of a namespace.

        Raises
        ------
        ModuleNotFoundError
            If it is not loaded in this process.
        """
        if not self.is_home:
            self.space(name)
        module = self.modules.get(name) or sys.modules.get(name)
        if module is None:
            raise ModuleNotFoundError(f"the module {name!r} is not loaded in this process", name=name)
        return module


class ProgramUnpickler(pickle.Unpickler):
    """Finds the names of a program in its namespaces, whatever ``sys.modules`` holds."""

    def __init__(self, file: Any, program: Program, buffers: Iterable[Any] | None = None) -> None:
        super().__init__(file, buffers=buffers)
        self._program = program

    def find_class(self, module: str, name: str) -> Any:
        """Return the object of a global name."""
        if canonical(module) in self._program.spaces:
            found = self._program.resolve(module, name)
            if found is not MISSING:
                return found
        return super().find_class(module, name)

    def persistent_load(self, key: Any) -> Any:
        """Return the value of a name that was captured earlier than what refers to it."""
        return self._program.value(key)


# ---------------------------------------------------------------- the programs that this process knows


_programs: dict[str, Program] = {}
_homes: dict[int, Program] = {}  # by identity of ``__main__``'s namespace
_lock = locks.RLock()


@functools.cache
def _own_token() -> str:
    return os.urandom(8).hex()


def _after_fork() -> None:
    """Separate ``__main__`` of a forked copy, and replace locks."""
    global _lock
    _own_token.cache_clear()
    _lock = locks.RLock()
    _homes.clear()
    for token, program in list(_programs.items()):
        if program.is_home:
            del _programs[token]
        else:
            program.lock = locks.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def get(token: str) -> Program:
    """Return the program of a token."""
    program = _programs.get(token)
    if program is not None:
        return program
    of_home = _programs.get(token.partition(":")[0])
    if of_home is not None and of_home.is_home:
        return of_home
    return _programs.setdefault(token, Program(token, is_home=False))  # another thread may be faster


def known() -> list[Program]:
    """Return the programs of this process."""
    return list(_programs.values())


def forget(scope: str) -> list[Program]:
    """Drop and return programs of a client that is gone and has no running task."""
    found = [
        program
        for token, program in list(_programs.items())
        if not program.is_home and token.partition(":")[2] == scope and not mains.is_active(program)
    ]
    for program in found:
        del _programs[program.token]
        for module in list(program.modules.values()):
            mains.drop(module)
    return found


def home() -> Program:
    """Return the program of this process, while ``__main__`` stays the same."""
    main = sys.modules[MAIN]
    program = _homes.get(id(main))
    if program is None:
        found = of_namespace(vars(main))
        if found is not None:  # of the client whose tasks this process runs
            return found[0]
        with _lock:
            program = _homes.get(id(main))
            if program is None:
                token = _own_token() if not _homes else f"{_own_token()}-{len(_homes)}"
                program = Program(token, is_home=True)
                program.spaces[MAIN] = _live_namespace(main)
                program.modules[canonical(main.__name__)] = main
                _programs[token] = _homes[id(main)] = program
    return program


def _live_namespace(main: ModuleType) -> dict[str, Any]:
    """Return the globals of the script's functions, also under ``__mp_main__``."""
    if main.__name__ == MP_MAIN:
        for value in list(vars(main).values()):
            if type(value) is FunctionType and value.__module__ == MP_MAIN:
                return value.__globals__
    return vars(main)


def of_namespace(space: dict[str, Any]) -> tuple[Program, str] | None:
    """Return the program and the module of a namespace, or None."""
    for program in list(_programs.values()):
        for module, known in program.spaces.items():
            if known is space:
                return program, module
    return None


class _Local(threading.local):
    loading: Program | None = None


_local = _Local()


@contextmanager
def loading(program: Program) -> Iterator[None]:
    """Mark that this thread unpickles what belongs to a program."""
    outer, _local.loading = _local.loading, program
    try:
        yield
    finally:
        _local.loading = outer


def being_loaded() -> Program:
    """Return the program to which what this thread unpickles belongs."""
    assert _local.loading is not None, "unpickled by another function than loads"
    return _local.loading


# ---------------------------------------------------------------- source that is in no file


def source_of(filename: str) -> Any:
    """Return the source of code without a file, or ``MISSING``."""
    entry: Any = linecache.cache.get(filename)
    if entry is None:  # from Python 3.14 on `python -c` keeps its source here, by (file, qualified name, line)
        known: dict[Any, Any] = getattr(linecache, "_interactive_cache", {})
        entry = next((each for key, each in list(known.items()) if key[0] == filename), None)
    if entry is None or len(entry) != 4 or os.path.exists(filename):
        return MISSING
    return list(entry[2])


def add_source(filename: str, lines: list[str]) -> None:
    """Let tracebacks of this process show these lines."""
    if not os.path.exists(filename):
        linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
