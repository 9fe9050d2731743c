"""Picklers for what cannot be imported by another process: functions and classes by value, or by name in a program.

An object of ``__main__`` that is bound to its own name there pickles as that name, and the pickler notes that the
definition of the name has to travel (``needs``). All else that cannot be imported (lambdas, closures, local classes)
pickles by value, as cloudpickle does it, with two differences: a function of a program gets the program's namespace as
its globals instead of a copy of some of them, and code keeps the name of its file.

Does not cover: when these picklers are used (``pickling``), making definitions (``capture``), objects of single types
(``reducers``), and what unpicklers call (``rebuilding``).
"""

from __future__ import annotations

import builtins
import functools
import importlib
import pickle
import sys
import types
from collections import ChainMap
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle.cloudpickle as cp

from futures_cluster.wire.codec import classes, handles, programs, rebuilding, reducers
from futures_cluster.wire.codec.importing import importable
from futures_cluster.wire.codec.main_modules import MAIN, canonical
from futures_cluster.wire.codec.names import annotations_of, names_in, names_of
from futures_cluster.wire.codec.owners import attribute, bound_name, owner_of_namespace, program_of_module, program_with
from futures_cluster.wire.codec.programs import MISSING, SOURCE, Key, Program

PROTOCOL = 5
_CACHED = type(functools.lru_cache(lambda: None))
# Finds the module of an object without ``__module__``, as Ellipsis is; as pickle does.
_whichmodule: Any = pickle.whichmodule  # type: ignore[attr-defined]


class ByValuePickler(cp.Pickler):  # type: ignore[misc]
    """Pickles arguments and results.

    Parameters
    ----------
    file : binary file
        What is written to.
    by_reference : bool
        Whether the other process has the script as its own ``__main__``, as those of multiprocessing have: what is
        bound to a name there pickles as the name, and no definition travels.
    reducers : mapping or None
        By type: how objects pickle in this one pickle.

    Attributes
    ----------
    needs : dict
        The names whose definitions have to travel, by program.
    is_plain : bool
        Whether ``pickle.loads`` can read it where the program's modules are in ``sys.modules``.
    """

    dispatch_table: Any  # the class's, or one of its own that ``reducers`` come first in
    passes_handles = True  # what it writes is read once

    def __init__(
        self, file: Any, buffer_callback: Any = None, by_reference: bool = False, reducers: Any = None
    ) -> None:
        handles.add_reducers(type(self).dispatch_table, self.passes_handles)
        if reducers is not None:
            self.dispatch_table = ChainMap(reducers, type(self).dispatch_table)
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self.by_reference = by_reference
        self.needs: dict[Program, dict[Key, None]] = {}
        self.is_plain = True

    def reducer_override(self, obj: Any) -> Any:
        """Say how an object pickles; see ``pickle.Pickler.reducer_override``."""
        kind = type(obj)
        if kind is FunctionType or issubclass(kind, type):
            if id(obj) in _MAKERS:
                return NotImplemented
            module, name = obj.__module__, obj.__qualname__
            by_name = self._by_name(obj, module, name) if type(module) is str else None
            if by_name is not None:
                return by_name
            if kind is FunctionType:
                return self._reduce_function(obj)
            is_scoped = type(module) is str and not self.by_reference and not importable(module)
            if is_scoped:
                self.needs.setdefault(programs.home(), {})  # each program has a class of its own made of it
            return classes.reduce_class(obj, is_scoped)
        if kind is _CACHED:
            by_name = self._by_name(obj, obj.__module__, obj.__qualname__)
            return by_name if by_name is not None else reducers.reduce_cached(obj)
        if kind is ModuleType:
            return self._reduce_module(obj)
        return self._reduce_by_own_name(obj, kind)

    # ------------------------------------------------------------ by name

    def _by_name(self, obj: Any, module: str, name: str) -> Any:
        """Return the name in a program as which an object pickles, or None."""
        if importable(module):
            return None
        if self.by_reference:
            return NotImplemented if attribute(module, name) is obj else None
        if "<locals>" in name:
            name = bound_name(obj, module)
        program = program_with(obj, module, name) if name else None
        if program is None:
            return None
        key = canonical(module), name.partition(".")[0]
        if not program.is_home:
            # A task may have bound the name again; elsewhere it is what the client has bound.
            record = program.records.get(key)
            if record is None or (name == key[1] and not record.holds(obj)):
                return None
        if not self._takes_name(program, key):
            return None
        self.need(program, key)
        own_name = getattr(obj, "__qualname__", name)
        if isinstance(obj, type):
            # Which class of this name it is: it may be defined again before this is read.
            return rebuilding.class_of_program, (self._token(program), module, name, classes.identity_of(obj))
        if own_name == name and attribute(module, name) is obj and program is self._first_program():
            return NotImplemented
        self.is_plain = False
        return rebuilding.from_program, (self._token(program), module, name)

    def _takes_name(self, program: Program, key: Key) -> bool:
        """Return whether an object of this name may pickle as the name."""
        return True

    def need(self, program: Program, key: Key) -> None:
        """Have the definition of a name travel."""
        self.needs.setdefault(program, {})[key] = None

    def _first_program(self) -> Program:
        return next(iter(self.needs))

    def _reduce_by_own_name(self, obj: Any, kind: type) -> Any:
        """Reduce an object whose ``__reduce__`` gives a name, with its definition."""
        if kind in self.dispatch_table or _has_plain_reduce(kind):
            return NotImplemented
        reduced = obj.__reduce_ex__(PROTOCOL)
        if type(reduced) is str:
            module = getattr(obj, "__module__", None) or _whichmodule(obj, reduced)
            by_name = self._by_name(obj, module, reduced)
            if by_name is not None:
                return reduced if by_name is NotImplemented else by_name
            # The parameters of ``class C[*Ts]`` say that they come from ``typing``, which does not have them.
            is_anonymous = module == "typing" and attribute(module, reduced) is not obj
            if is_anonymous or (not self.by_reference and not importable(module)):
                return reducers.reduce_definition(obj)
        return reduced

    # ------------------------------------------------------------ by value

    def _reduce_function(self, function: FunctionType) -> Any:
        module = function.__module__
        if module is not None and importable(module) and cp._should_pickle_by_reference(function):
            return NotImplemented
        if reducers.is_singledispatch(function):
            return reducers.reduce_singledispatch(function)
        owner: tuple[str, str | None] | None
        if self.by_reference:
            owner = (MAIN, rebuilding.THEIRS) if function.__globals__ is vars(sys.modules[MAIN]) else None
        else:
            owner = self._owner_of(function)
        if owner is None:
            return self._dynamic_function_reduce(function)
        state = {
            "__name__": "".join(function.__name__),
            "__qualname__": "".join(function.__qualname__),
            "__kwdefaults__": function.__kwdefaults__,
            "__defaults__": function.__defaults__,
            "__module__": function.__module__,
            "__doc__": function.__doc__,
            "__annotations__": annotations_of(function),
        }
        if parameters := getattr(function, "__type_params__", ()):
            state["__type_params__"] = parameters
        return (
            rebuilding.make_function,
            (function.__code__, *owner, function.__closure__),
            (dict(function.__dict__), state, self._submodules(function)),
            None,
            None,
            rebuilding.set_function_state,
        )

    def _owner_of(self, function: FunctionType) -> tuple[str, str | None] | None:
        """Return module and token of a function's program; its names are needed."""
        found = owner_of_namespace(function.__globals__, function.__module__)
        if found is None:
            return None
        program, module = found
        self._uses(program, module, function)
        return module, self._token(program)

    def _token(self, program: Program) -> str | None:
        """Return the name of a program in the pickle; None for the pickle's own."""
        return None if program is self._first_program() else program.token

    def _uses(self, program: Program, module: str, function: FunctionType) -> tuple[Key, ...]:
        """Have the names travel that a function uses."""
        names = names_of(function.__code__)
        space = program.spaces[module]
        # Where the script is, and what its relative imports begin from.
        used: dict[Key, None] = {(module, name): None for name in programs.OF_THE_SCRIPT if space.get(name)}
        used[SOURCE, function.__code__.co_filename] = None
        for name in names.read:
            value = programs.bound(space, name)
            if value is not MISSING or not hasattr(builtins, name):
                used[module, name] = None
            is_ours = type(value) is ModuleType and not importable(value.__name__)
            if is_ours and program_of_module(value) is program:
                used.update(dict.fromkeys((value.__name__, each) for each in names.attributes if each in vars(value)))
        for annotation in annotations_of(function).values():
            if type(annotation) is str:
                used.update(dict.fromkeys((module, name) for name in names_in(annotation) if name in space))
        for key in used:
            self.need(program, key)
        for name in names.set:
            program.note_set((module, name))
        return tuple(used)

    @staticmethod
    def _submodules(function: FunctionType) -> tuple[str, ...]:
        """Return the modules that a function reaches as attributes of packages."""
        names = names_of(function.__code__)
        reached = []
        held = [function.__globals__.get(name) for name in names.read]
        held += [cp._get_cell_contents(cell) for cell in function.__closure__ or ()]
        for package in held:
            if type(package) is ModuleType and hasattr(package, "__path__"):
                prefix = package.__name__ + "."
                # From Python 3.15 on also those that a `lazy import` has named, which load at their first use.
                for module in (*sys.modules, *getattr(sys, "lazy_modules", ())):
                    if module.startswith(prefix) and all(
                        part in names.attributes for part in module[len(prefix) :].split(".")
                    ):
                        reached.append(module)
        return tuple(reached)

    def _reduce_module(self, module: ModuleType) -> Any:
        if importable(module.__name__):
            return importlib.import_module, (module.__name__,)
        if self.by_reference:
            return NotImplemented
        program = program_of_module(module)
        if program is None:
            return NotImplemented
        self.needs.setdefault(program, {})
        self.is_plain = False
        return rebuilding.module_of_program, (self._token(program), canonical(module.__name__))


class FunctionPickler(ByValuePickler):
    """Pickles functions that are called as tasks, with the objects that hang on them.

    An object that is the value of a program's name pickles as that value: a function's default, or the content of a
    closure, is then the very same object as the global.
    """

    passes_handles = False

    def __init__(
        self, file: Any, buffer_callback: Any = None, by_reference: bool = False, reducers: Any = None
    ) -> None:
        super().__init__(file, buffer_callback, by_reference, reducers)
        # By identity, and held: an object that another thread drops meanwhile must not leave its identity to a new one.
        self._values: dict[int, tuple[Program, Key, Any]] = {}
        if not by_reference:
            for program in programs.known():
                for key, record in list(program.records.items()):
                    value = program.value(key)
                    if record.batch is not None and key[0] != SOURCE and _has_identity(value) and record.holds(value):
                        self._values[id(value)] = program, key, value

    def persistent_id(self, obj: Any) -> Any:
        """Return the name of a value that is defined already; None for all else."""
        found = self._values.get(id(obj))
        if found is None:
            return None
        program, key, _ = found
        if not self._takes_name(program, key):
            return None
        self.needs.setdefault(program, {})
        if program is not self._first_program():
            return None
        self.need(program, key)
        self.is_plain = False
        return key


def _has_identity(value: Any) -> bool:
    """Return whether it matters that a value is the same object in two places."""
    return value is not MISSING and type(value) not in _WITHOUT_IDENTITY and not isinstance(value, type)


_WITHOUT_IDENTITY = frozenset(
    (int, float, complex, bool, str, bytes, tuple, frozenset, type(None), ModuleType, FunctionType)
    + (types.BuiltinFunctionType, _CACHED)
)


def _has_plain_reduce(kind: Any) -> bool:
    return kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__


ByValuePickler.dispatch_table = ChainMap(dict(reducers.BY_TYPE), cp.Pickler.dispatch_table)
FunctionPickler.dispatch_table = ChainMap({}, ByValuePickler.dispatch_table)


# What stands in every pickle of a function or a class.
_CALLED = (rebuilding.make_function, rebuilding.set_function_state, rebuilding.class_of_program)
_MAKERS = frozenset(map(id, (*_CALLED, classes.make_class, cp._make_empty_cell)))
