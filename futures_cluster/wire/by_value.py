"""Picklers for what cannot be imported by another process: functions and classes by value, or by name in a program.

An object of ``__main__`` that is bound to its own name there pickles as that name, and the pickler notes that the
definition of the name has to travel (``needs``). All else that cannot be imported (lambdas, closures, local classes)
pickles by value, as cloudpickle does it, with two differences: a function of a program gets the program's namespace as
its globals instead of a copy of some of them, and code keeps the name of its file.

Does not cover: when these picklers are used (``pickling``), and making definitions (``capture``).
"""

from __future__ import annotations

import builtins
import copyreg
import dis
import functools
import importlib
import importlib.util
import io
import re
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle.cloudpickle as cp

from futures_cluster.wire import classes, handles, importing, programs
from futures_cluster.wire.importing import importable
from futures_cluster.wire.main_modules import MAIN, canonical
from futures_cluster.wire.programs import MISSING, SOURCE, Key, Program

PROTOCOL = 5
_CACHED = type(functools.lru_cache(lambda: None))
_READS_GLOBAL = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"))
_SETS_GLOBAL = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL"))
_STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")


# ---------------------------------------------------------------- names that code uses


class Names:
    """The global names that a code object reads and sets, with those of the functions inside of it."""

    __slots__ = ("attributes", "read", "set")

    def __init__(self, code: CodeType) -> None:
        self.read: dict[str, None] = {}
        self.set: dict[str, None] = {}
        self.attributes: dict[str, None] = {}
        self._add(code)

    def _add(self, code: CodeType) -> None:
        for instruction in dis.get_instructions(code):
            if instruction.opname in _READS_GLOBAL:
                self.read[instruction.argval] = None
            elif instruction.opname in _SETS_GLOBAL:
                self.set[instruction.argval] = None
        self.attributes.update(dict.fromkeys(code.co_names))
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._add(constant)


@functools.lru_cache(5000)
def names_of(code: CodeType) -> Names:
    """Return the names that a code object uses."""
    return Names(code)


def names_in(annotation: str) -> list[str]:
    """Return the names in an annotation that is a text; ``typing.get_type_hints`` looks for them."""
    return _NAME.findall(annotation)


_NAME = re.compile(r"[^\W\d]\w*")


# ---------------------------------------------------------------- the picklers


class ByValuePickler(cp.Pickler):  # type: ignore[misc]
    """Pickles arguments and results.

    Parameters
    ----------
    file : binary file
        What is written to.
    by_reference : bool
        Whether the other process has the script as its own ``__main__``, as those of multiprocessing have: what is
        bound to a name there pickles as the name, and no definition travels.

    Attributes
    ----------
    needs : dict
        The names whose definitions have to travel, by program.
    is_plain : bool
        Whether ``pickle.loads`` can read it where the program's modules are in ``sys.modules``.
    """

    passes_handles = True  # what it writes is read once

    def __init__(self, file: Any, buffer_callback: Any = None, by_reference: bool = False) -> None:
        handles.add_reducers(type(self).dispatch_table, self.passes_handles)
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
            return by_name if by_name is not None else _reduce_cached(obj)
        if kind is ModuleType:
            return self._reduce_module(obj)
        return self._reduce_by_own_name(obj, kind)

    # ------------------------------------------------------------ by name

    def _by_name(self, obj: Any, module: str, name: str) -> Any:
        """What an object pickles as that is bound to its own name in a program; None for any other."""
        if importable(module):
            return None
        if self.by_reference:
            return NotImplemented if _attribute(module, name) is obj else None
        if "<locals>" in name:
            name = _bound_name(obj, module)
        program = _program_with(obj, module, name) if name else None
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
            return _class_of_program, (self._token(program), module, name, classes.identity_of(obj))
        if own_name == name and _attribute(module, name) is obj and program is self._first_program():
            return NotImplemented
        self.is_plain = False
        return _from_program, (self._token(program), module, name)

    def _takes_name(self, program: Program, key: Key) -> bool:
        """Whether an object of this name may pickle as the name."""
        return True

    def need(self, program: Program, key: Key) -> None:
        """Have the definition of a name travel."""
        self.needs.setdefault(program, {})[key] = None

    def _first_program(self) -> Program:
        return next(iter(self.needs))

    def _reduce_by_own_name(self, obj: Any, kind: type) -> Any:
        """An object of which ``__reduce__`` gives a name (a sentinel, a type variable) needs its definition."""
        if kind in self.dispatch_table or _has_plain_reduce(kind):
            return NotImplemented
        reduced = obj.__reduce_ex__(PROTOCOL)
        if type(reduced) is str:
            module = getattr(obj, "__module__", None) or MAIN
            by_name = self._by_name(obj, module, reduced)
            if by_name is not None:
                return reduced if by_name is NotImplemented else by_name
            if not self.by_reference and not importable(module):
                return _reduce_named(obj, kind)
        return reduced

    # ------------------------------------------------------------ by value

    def _reduce_function(self, function: FunctionType) -> Any:
        module = function.__module__
        if module is not None and importable(module) and cp._should_pickle_by_reference(function):
            return NotImplemented
        if _is_singledispatch(function):
            return _reduce_singledispatch(function)
        owner: tuple[str, str | None] | None
        if self.by_reference:
            owner = (MAIN, _THEIRS) if function.__globals__ is vars(sys.modules[MAIN]) else None
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
            "__annotations__": _annotations(function),
        }
        if parameters := getattr(function, "__type_params__", ()):
            state["__type_params__"] = parameters
        return (
            _make_function,
            (function.__code__, *owner, function.__closure__),
            (dict(function.__dict__), state, self._submodules(function)),
            None,
            None,
            _set_function_state,
        )

    def _owner_of(self, function: FunctionType) -> tuple[str, str | None] | None:
        """The module and the token of the program whose namespace a function has; the names it uses are needed."""
        found = _owner_of_namespace(function.__globals__, function.__module__)
        if found is None:
            return None
        program, module = found
        self._uses(program, module, function)
        return module, self._token(program)

    def _token(self, program: Program) -> str | None:
        """What names a program in the pickle; None for the one to which the pickle belongs."""
        return None if program is self._first_program() else program.token

    def _uses(self, program: Program, module: str, function: FunctionType) -> tuple[Key, ...]:
        """Have the names travel that a function uses."""
        names = names_of(function.__code__)
        space = program.spaces[module]
        # Where the script is, and what its relative imports begin from.
        used: dict[Key, None] = {(module, name): None for name in programs.OF_THE_SCRIPT if space.get(name)}
        used[SOURCE, function.__code__.co_filename] = None
        for name in names.read:
            value = space.get(name, MISSING)
            if value is not MISSING or not hasattr(builtins, name):
                used[module, name] = None
            if type(value) is ModuleType and not importable(value.__name__):
                other = _program_of_module(value)
                if other is program:
                    used.update(
                        dict.fromkeys((value.__name__, each) for each in names.attributes if each in vars(value))
                    )
        self.needs.setdefault(program, {})
        for annotation in _annotations(function).values():
            if type(annotation) is str:
                used.update(dict.fromkeys((module, name) for name in names_in(annotation) if name in space))
        for key in used:
            self.need(program, key)
        for name in names.set:
            program.note_set((module, name))
        return tuple(used)

    @staticmethod
    def _submodules(function: FunctionType) -> tuple[str, ...]:
        """The modules that a function reaches as attributes of packages: importing the package is not enough."""
        names = names_of(function.__code__)
        reached = []
        held = [function.__globals__.get(name) for name in names.read]
        held += [cp._get_cell_contents(cell) for cell in function.__closure__ or ()]
        for package in held:
            if type(package) is ModuleType and hasattr(package, "__path__"):
                prefix = package.__name__ + "."
                for module in list(sys.modules):
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
        program = _program_of_module(module)
        if program is None:
            return NotImplemented
        self.needs.setdefault(program, {})
        self.is_plain = False
        return _module_of_program, (self._token(program), canonical(module.__name__))


class FunctionPickler(ByValuePickler):
    """Pickles functions that are called as tasks, with the objects that hang on them.

    What is the value of a name that a program has pickles as that value: a function's default, or what a closure holds,
    is then the very same object as the global.
    """

    passes_handles = False

    def __init__(self, file: Any, buffer_callback: Any = None, by_reference: bool = False) -> None:
        super().__init__(file, buffer_callback, by_reference)
        # By identity, and held: an object that another thread drops meanwhile must not leave its identity to a new one.
        self._values: dict[int, tuple[Program, Key, Any]] = {}
        if not by_reference:
            for program in list(programs._programs.values()):
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
    """Whether it matters that a value is the same object in two places."""
    return value is not MISSING and type(value) not in _WITHOUT_IDENTITY and not isinstance(value, type)


_WITHOUT_IDENTITY = frozenset(
    (int, float, complex, bool, str, bytes, tuple, frozenset, type(None), ModuleType, FunctionType)
    + (types.BuiltinFunctionType, _CACHED)
)


def _has_plain_reduce(kind: Any) -> bool:
    return kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__


def _reduce_named(obj: Any, kind: Any) -> Any:
    """The definition of an object that pickles as its own name."""
    if kind is getattr(typing, "TypeAliasType", None):
        return _make_alias, (obj.__name__, obj.__value__, obj.__type_params__)
    if kind in (getattr(typing, "ParamSpec", None), getattr(typing, "TypeVarTuple", None)):
        return kind, (obj.__name__,)
    args = obj.__getnewargs__() if hasattr(kind, "__getnewargs__") else ()
    return copyreg.__newobj__, (kind, *args), object.__getstate__(obj) or None  # type: ignore[attr-defined]


def _make_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    make: Any = typing.TypeAliasType  # type: ignore[attr-defined]
    return make(name, value, type_params=parameters)


def _reduce_code(code: CodeType) -> Any:
    make, args = cp._code_reduce(code)
    return make, (*args[:10], "".join(code.co_filename), *args[11:])


def _reduce_file(file: Any) -> Any:
    """The standard streams are those of the other process; a copy of an open file would be another file."""
    for name in _STREAMS:
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError(f"cannot pickle {type(file).__name__!r} object")


def _reduce_cell(cell: Any) -> Any:
    """A cell that functions share stays one; what it holds follows, as that may refer to these functions."""
    try:
        content = (cell.cell_contents,)
    except ValueError:  # empty
        return cp._make_empty_cell, ()
    return cp._make_empty_cell, (), content, None, None, _fill_cell


def _fill_cell(cell: Any, content: tuple[Any]) -> None:
    (cell.cell_contents,) = content


def _reduce_traceback(traceback: types.TracebackType) -> Any:
    """A traceback that is a value (of ``sys.exc_info()``); those of errors travel with them (``exceptions``)."""
    from tblib import pickling_support

    return pickling_support.pickle_traceback(traceback)


ByValuePickler.dispatch_table = ChainMap(
    {
        CodeType: _reduce_code,
        types.CellType: _reduce_cell,
        io.TextIOWrapper: _reduce_file,
        types.TracebackType: _reduce_traceback,
    },
    cp.Pickler.dispatch_table,
)
FunctionPickler.dispatch_table = ChainMap({}, ByValuePickler.dispatch_table)


def _annotations(function: FunctionType) -> dict[str, Any]:
    try:
        return dict(function.__annotations__)
    except Exception:  # from Python 3.14 on they are evaluated now, and may name what is not defined yet
        import annotationlib  # type: ignore[import-not-found, unused-ignore]

        return dict(annotationlib.get_annotations(function, format=annotationlib.Format.STRING))


# ---------------------------------------------------------------- looking around


def _attribute(module: str, qualname: str) -> Any:
    """The object of a dotted name in a module that is loaded; ``MISSING`` if there is none."""
    found: Any = sys.modules.get(module, MISSING)
    for name in qualname.split("."):
        found = getattr(found, name, MISSING)
    return found


def _candidates(module: str) -> Iterator[Program]:
    """The programs of this process that may have a module: this process itself, if the module is loaded."""
    yield from list(programs._programs.values())
    loaded = sys.modules.get(module)
    if type(loaded) is ModuleType and programs.of_namespace(vars(loaded)) is None:
        yield _adopt(vars(loaded), canonical(module))


def _adopt(space: dict[str, Any], module: str) -> Program:
    """This process as a program that has a module with this namespace."""
    program = programs.home()
    program.spaces.setdefault(module, space)
    importing.send_by_value(module)
    return program


def _program_with(obj: Any, module: str, name: str) -> Program | None:
    """The program in which an object is bound to this name."""
    for program in _candidates(module):
        if program.resolve(module, name) is obj:
            return program
    return None


def _bound_name(obj: Any, module: str) -> str:
    """The global name of what a function has made (a closure, a class); "" if it has none."""
    for program in _candidates(module):
        for name, value in list(program.spaces.get(canonical(module), {}).items()):
            if value is obj:
                return name
    return ""


def _owner_of_namespace(space: dict[str, Any], module: str | None) -> tuple[Program, str] | None:
    found = programs.of_namespace(space)
    if found is not None:
        return found
    loaded = sys.modules.get(module or "")
    # With ``spec_from_file_location`` a module need not be in ``sys.modules``: its functions know its name.
    if module is None or space.get("__name__") != module or (type(loaded) is ModuleType and importable(module)):
        return None
    if type(loaded) is ModuleType and vars(loaded) is not space:
        return None
    if loaded is None and space.get("__spec__") is None:
        return None
    program = _adopt(space, canonical(module))
    return (program, canonical(module)) if program.spaces[canonical(module)] is space else None


def _program_of_module(module: ModuleType) -> Program | None:
    found = _owner_of_namespace(vars(module), module.__name__)
    return None if found is None else found[0]


# ---------------------------------------------------------------- called by the unpickler


#: In the place of a program's token: those who load it have ``__main__`` themselves.
_THEIRS = ""


def _program(token: str | None) -> Program:
    return programs.being_loaded() if token is None else programs.get(token)


def _from_program(token: str | None, module: str, qualname: str) -> Any:
    found = _program(token).resolve(module, qualname)
    if found is MISSING:
        raise AttributeError(f"{module}.{qualname} was not sent with the object that refers to it")
    return found


def _class_of_program(token: str | None, module: str, qualname: str, identity: str) -> Any:
    found = classes.find(identity, _program(token))
    return _from_program(token, module, qualname) if found is None else found


def _module_of_program(token: str | None, module: str) -> Any:
    return _program(token).module(module)


def _make_function(code: CodeType, module: str, token: str | None, closure: Any) -> FunctionType:
    space = vars(sys.modules[MAIN]) if token == _THEIRS else _program(token).space(module)
    return FunctionType(code, space, None, None, closure)


def _set_function_state(function: FunctionType, state: Any) -> None:
    attributes, slots, submodules = state
    for module in submodules:
        importlib.import_module(module)
    function.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(function, name, value)


# ---------------------------------------------------------------- functions behind standard decorators


def _reduce_cached(function: Any) -> Any:
    """A function behind ``lru_cache``: each process has a cache of its own."""
    settings = function.cache_parameters()
    attributes = {key: value for key, value in vars(function).items() if key not in ("__wrapped__", "cache_parameters")}
    return _make_cached, (settings["maxsize"], settings["typed"], function.__wrapped__), attributes


def _make_cached(maxsize: int | None, typed: bool, function: Any) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _is_singledispatch(function: FunctionType) -> bool:
    return function.__globals__ is vars(functools) and hasattr(function, "registry") and hasattr(function, "dispatch")


def _reduce_singledispatch(function: Any) -> Any:
    return _make_singledispatch, (dict(function.registry),)


def _make_singledispatch(registry: dict[type, Any]) -> Any:
    made = functools.singledispatch(registry.pop(object))
    for cls, function in registry.items():
        made.register(cls, function)
    return made


# What stands in every pickle of a function or a class.
_MAKERS = frozenset(
    map(id, (_make_function, _set_function_state, _class_of_program, classes.make_class, cp._make_empty_cell))
)
