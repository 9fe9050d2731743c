"""Reducers of types that ``pickle`` and cloudpickle refuse, or pickle in a way that does not suit tasks.

Covers: code, cells, standard streams, tracebacks; objects that reduce to a name; functions behind standard decorators.
``by_value`` calls all of them. A reducer returns what ``object.__reduce__`` may return.
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
    if kind is getattr(typing, "TypeAliasType", None):
        return functools.partial(obj.__class__, obj.__name__, obj.__value__, type_params=obj.__type_params__), ()
    if kind in (getattr(typing, "ParamSpec", None), getattr(typing, "TypeVarTuple", None)):
        return kind, (obj.__name__,)
    if kind is getattr(builtins, "sentinel", None):
        return _make_sentinel, (obj.__name__, repr(obj), obj.__module__)
    args = obj.__getnewargs__() if hasattr(kind, "__getnewargs__") else ()
    return copyreg.__newobj__, (kind, *args), object.__getstate__(obj) or None  # type: ignore[attr-defined]


def _make_sentinel(name: str, text: str, module: str) -> Any:
    sentinel: Any = builtins.sentinel(name, repr=text)  # type: ignore[attr-defined]
    sentinel.__module__ = module
    return sentinel


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
