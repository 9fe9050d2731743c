"""Reducers of types that ``pickle`` and cloudpickle refuse, or pickle in a way that does not suit tasks.

Covers: code, cells, standard streams, tracebacks; objects that reduce to a name; type aliases and parameters;
functions behind standard decorators. ``by_value`` calls all of them. A reducer returns what ``object.__reduce__`` may
return.
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


def reduce_definition(obj: Any) -> Any:
    """Reduce an object to what defines it, where its ``__reduce__`` gives its name."""
    kind: Any = type(obj)
    if kind is _ALIAS:
        return _reduce_alias(obj)
    if kind in (typing.ParamSpec, typing.TypeVarTuple):
        return _reduce_parameter(obj)
    if kind is getattr(builtins, "sentinel", None):
        return _make_in_module, (obj.__module__, kind, (obj.__name__,), {"repr": repr(obj)})
    args = obj.__getnewargs__() if hasattr(kind, "__getnewargs__") else ()
    return copyreg.__newobj__, (kind, *args), object.__getstate__(obj) or None  # type: ignore[attr-defined]


def _make_in_module(module: str, kind: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call a type as if that module did.

    Its objects note the module of their caller, under which they are looked for by name.
    """
    caller = FunctionType(_call.__code__, {"__name__": module, "__builtins__": builtins})
    return caller(kind, args, options)


def _call(kind: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return kind(*args, **options)


# ---------------------------------------------------------------- type aliases and type parameters


_ALIAS: Any = getattr(typing, "TypeAliasType", None)  # from Python 3.12 on, as the statements ``type`` that make them


def _evaluated(obj: Any, name: str, default: Any = None) -> Any:
    """Return an attribute that Python evaluates when it is first read.

    Nothing reads it in most programs, so the names in it may be known to type checkers only.
    """
    try:
        return getattr(obj, name)
    except Exception:
        return default


def _reduce_parameter(parameter: Any) -> Any:
    """Reduce a TypeVar, ParamSpec or TypeVarTuple to its definition and identity."""
    flags = ("covariant", "contravariant", "infer_variance")
    options = {name: True for name in flags if getattr(parameter, f"__{name}__", False)}
    bound = _evaluated(parameter, "__bound__")
    if bound is not None and parameter not in getattr(bound, "__parameters__", ()):  # ``class Node[T: Node]``
        options["bound"] = bound
    if hasattr(parameter, "has_default") and parameter.has_default():
        options["default"] = _evaluated(parameter, "__default__", typing.Any)
    args = parameter.__name__, *_evaluated(parameter, "__constraints__", ())
    identity = cp._get_or_create_tracker_id(parameter)
    return _make_parameter, (identity, parameter.__module__, type(parameter), args, options)


def _make_parameter(identity: str, *definition: Any) -> Any:
    return cp._lookup_class_or_track(identity, _make_in_module(*definition))


def _reduce_type_variable(variable: Any) -> Any:
    found = cp._lookup_module_and_qualname(variable, name=variable.__name__)
    if found is not None and not cp._is_registered_pickle_by_value(found[0]):
        return getattr, found
    return _reduce_parameter(variable)


BY_TYPE[typing.TypeVar] = _reduce_type_variable


def _reduce_alias(alias: Any) -> Any:
    try:
        value = alias.__value__
    except Exception as error:
        return _reduce_late_alias(alias, None, error)
    if _is_recursive(alias):
        return _reduce_late_alias(alias, value, None)
    parameters = {"type_params": alias.__type_params__}
    return _make_in_module, (alias.__module__, _ALIAS, (alias.__name__, value), parameters)


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
                todo.append(_evaluated(part, "__value__"))
    return False


def _reduce_late_alias(alias: Any, value: Any, error: Exception | None) -> Any:
    """Reduce a type alias to a statement without a value, and the value.

    ``error`` is what reading the value raises.
    """
    stars = {"TypeVarTuple": "*", "ParamSpec": "**"}
    names = [stars.get(type(each).__name__, "") + each.__name__ for each in alias.__type_params__]
    late: list[Any] = []
    filled = late, value, alias.__type_params__, error
    return _make_alias, (alias.__module__, alias.__name__, names, late), filled, None, None, _fill_alias


def _make_alias(module: str, name: str, names: list[str], late: list[Any]) -> Any:
    """Execute the statement; ``late`` will hold its value.

    Its parameters are new, and have no bounds.
    """
    parameters = f"[{', '.join(names)}]" if names else ""
    space: dict[str, Any] = {"__name__": module, "_late_value": functools.partial(_late_value, late)}
    exec(f"type {name}{parameters} = _late_value({', '.join(each.lstrip('*') for each in names)})", space)
    return space[name]


def _fill_alias(alias: Any, state: tuple[list[Any], Any, tuple[Any, ...], Exception | None]) -> None:
    late, *value = state
    late += value


def _late_value(late: list[Any], *parameters: Any) -> Any:
    """Return the value, with these parameters instead of its own."""
    value, former, error = late
    if error is not None:
        raise error
    if not hasattr(value, "__parameters__"):
        return next((new for each, new in zip(former, parameters, strict=True) if each is value), value)
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
