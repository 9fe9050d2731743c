"""Reducers of types that ``pickle`` and cloudpickle refuse, or pickle in a way that does not suit tasks.

Covers: code, cells, standard streams, tracebacks; objects that reduce to a name; recursive type aliases; functions
behind standard decorators. ``by_value`` calls all of them. A reducer returns what ``object.__reduce__`` may return.
"""

from __future__ import annotations

import builtins
import copyreg
import functools
import io
import sys
import types
import typing
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

import cloudpickle.cloudpickle as cp

_STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")


# ---------------------------------------------------------------- by type


_FILENAME = 10  # index of ``co_filename`` among the arguments of ``CodeType``


def _reduce_code(code: CodeType) -> Any:
    """Reduce code with the name of its file, for tracebacks; cloudpickle drops it."""
    make, args = cp._code_reduce(code)
    filename = "".join(code.co_filename)  # a new string, as all in ``args``: interned ones would pickle in two ways
    return make, (*args[:_FILENAME], filename, *args[_FILENAME + 1 :])


def _reduce_text_file(file: Any) -> Any:
    """Reduce a standard stream to the same of another process; refuse other files."""
    for name in _STREAMS:
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError(f"cannot pickle {type(file).__name__!r} object")


def _reduce_cell(cell: Any) -> Any:
    """Reduce a cell to an empty one and its state: the content may refer to the cell."""
    try:
        content = (cell.cell_contents,)
    except ValueError:  # empty
        return cp._make_empty_cell, ()
    return cp._make_empty_cell, (), content, None, None, _fill_cell


def _fill_cell(cell: Any, content: tuple[Any]) -> None:
    (cell.cell_contents,) = content


def _reduce_traceback(traceback: types.TracebackType) -> Any:
    """Reduce a traceback that is a value; ``tracebacks`` handles those of errors."""
    from tblib import pickling_support

    return pickling_support.pickle_traceback(traceback)


def _reduce_partialmethod(method: Any) -> Any:
    """Reduce a partial method to a call with all of its arguments.

    ``pickle`` makes an empty one and then fills it, which fails from Python 3.14 on: its ``__new__`` needs more.
    """
    return functools.partial(method.__class__, method.func, *method.args, **method.keywords), ()


def _reduce_lazy_import(lazy: Any) -> Any:
    """Reduce a ``lazy import`` to the object that it imports.

    The globals of a function by value hold one until a task uses its name.
    """
    return _identity, (lazy.resolve(),)


def _identity(obj: Any) -> Any:
    return obj


BY_TYPE: dict[type, Callable[[Any], Any]] = {
    CodeType: _reduce_code,
    types.CellType: _reduce_cell,
    io.TextIOWrapper: _reduce_text_file,
    types.TracebackType: _reduce_traceback,
    functools.partialmethod: _reduce_partialmethod,
}
if hasattr(types, "LazyImportType"):  # Python 3.15
    BY_TYPE[types.LazyImportType] = _reduce_lazy_import


# ---------------------------------------------------------------- objects that reduce to a name


_ALIAS: Any = getattr(typing, "TypeAliasType", None)  # from Python 3.12 on, as the statements ``type`` that make them


def reduce_definition(obj: Any) -> Any:
    """Reduce an object to what defines it, where its ``__reduce__`` gives its name."""
    kind: Any = type(obj)
    if kind is _ALIAS:
        if _is_recursive(obj):
            return _reduce_recursive_alias(obj)
        parameters = {"type_params": obj.__type_params__}
        return _make_in_module, (obj.__module__, kind, (obj.__name__, obj.__value__), parameters)
    if kind in (getattr(typing, "ParamSpec", None), getattr(typing, "TypeVarTuple", None)):
        return _make_in_module, (obj.__module__, kind, (obj.__name__,), {})
    if kind is getattr(builtins, "sentinel", None):
        return _make_in_module, (obj.__module__, kind, (obj.__name__,), {"repr": repr(obj)})
    args = obj.__getnewargs__() if hasattr(kind, "__getnewargs__") else ()
    return copyreg.__newobj__, (kind, *args), object.__getstate__(obj) or None  # type: ignore[attr-defined]


def _make_in_module(module: str, kind: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call a type as if that module did.

    Its objects note the module of their caller, under which they are looked for by name.
    """
    caller = FunctionType(_call.__code__, {"__name__": module})
    return caller(kind, args, options)


def _call(kind: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return kind(*args, **options)


# ---------------------------------------------------------------- recursive type aliases


def _is_recursive(alias: Any) -> bool:
    """Return whether the value of a type alias refers to the alias."""
    todo, seen = [alias.__value__], {}
    while todo:
        part = todo.pop()
        if part is alias:
            return True
        if id(part) not in seen:
            seen[id(part)] = part
            todo += [getattr(part, "__origin__", None), *getattr(part, "__args__", ())]
            if type(part) is _ALIAS:
                todo.append(part.__value__)
    return False


def _reduce_recursive_alias(alias: Any) -> Any:
    """Reduce a type alias to a statement without a value, and the value."""
    stars = {"TypeVarTuple": "*", "ParamSpec": "**"}
    names = [stars.get(type(each).__name__, "") + each.__name__ for each in alias.__type_params__]
    late: list[Any] = []
    filled = late, alias.__value__, alias.__type_params__
    return _make_alias, (alias.__module__, alias.__name__, names, late), filled, None, None, _fill_alias


def _make_alias(module: str, name: str, names: list[str], late: list[Any]) -> Any:
    """Execute the statement; ``late`` will hold its value.

    Its parameters are new, and have no bounds.
    """
    parameters = f"[{', '.join(names)}]" if names else ""
    space: dict[str, Any] = {"__name__": module, "_late_value": functools.partial(_late_value, late)}
    exec(f"type {name}{parameters} = _late_value({', '.join(each.lstrip('*') for each in names)})", space)
    return space[name]


def _fill_alias(alias: Any, state: tuple[list[Any], Any, tuple[Any, ...]]) -> None:
    late, *value = state
    late += value


def _late_value(late: list[Any], *parameters: Any) -> Any:
    """Return the value, with these parameters instead of its own."""
    value, former = late
    if not hasattr(value, "__parameters__"):
        return dict(zip(former, parameters, strict=True)).get(value, value) if parameters else value
    unpacked = [typing.Unpack[each] if hasattr(each, "__iter__") else each for each in parameters]
    new = dict(zip(former, unpacked, strict=True))
    return value[tuple(new[each] for each in value.__parameters__)] if value.__parameters__ else value


# ---------------------------------------------------------------- functions behind standard decorators


def reduce_cached(function: Any) -> Any:
    """Reduce a function behind ``lru_cache``, without its cache."""
    settings = function.cache_parameters()
    attributes = {key: value for key, value in vars(function).items() if key not in ("__wrapped__", "cache_parameters")}
    return _make_cached, (settings["maxsize"], settings["typed"], function.__wrapped__), attributes


def _make_cached(maxsize: int | None, typed: bool, function: Any) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def is_singledispatch(function: FunctionType) -> bool:
    """Return whether ``functools.singledispatch`` has made a function."""
    return function.__globals__ is vars(functools) and hasattr(function, "registry") and hasattr(function, "dispatch")


def reduce_singledispatch(function: Any) -> Any:
    """Reduce a ``functools.singledispatch`` function to its registered functions."""
    return _make_singledispatch, (dict(function.registry),)


def _make_singledispatch(registry: dict[type, Any]) -> Any:
    dispatcher = functools.singledispatch(registry.pop(object))
    for cls, function in registry.items():
        dispatcher.register(cls, function)
    return dispatcher
