"""One exception taken apart and made again, without its traceback and what is chained to it.

``BaseException.__reduce__`` calls the class with ``args``, and so loses whatever does not go through ``args`` and
``__dict__``: an ``__init__`` with other parameters fails, slots and fields such as ``NameError.name`` are gone. Here
the constructors written in Python are not called; the new exception gets each part of the old one's state.

A class that says by itself how its exceptions pickle is left alone.
"""

from __future__ import annotations

import builtins
import copy
import copyreg
from collections.abc import Callable, Iterator, Sequence
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from futures_cluster.wire.codec.pickling import dumps, loads

# Class, args, fields of the built-in base, attributes or what the class's own `__getstate__` returned, slots.
_State = tuple[type[BaseException], tuple[Any, ...], dict[str, Any], Any, dict[str, Any]]


def dump(error: BaseException) -> tuple[bytes | None, list[str]]:
    """Pickle an exception.

    Returns
    -------
    data : bytes or None
        For ``load``; None if the exception does not pickle.
    left_out : list of str
        Attributes that do not pickle and are None in it.
    """
    left_out: list[str] = []
    try:
        if not _pickles_as_builtin(type(error)):
            if _registered_by_tblib(type(error)):
                return dumps((_from_reduced, tuple(error.__reduce_ex__(5))[:3])), []
            return dumps(error), []
        cls, args, fields, attributes, slots = take(error)
        # The object of an ``AttributeError`` may be huge; the standard library leaves it behind, too.
        fields.pop("obj", None)
        try:
            return dumps((make, (cls, args, fields, attributes, slots))), []
        except Exception:
            if type(attributes) is dict:
                attributes = _what_pickles(attributes, left_out)
            return dumps((make, (cls, args, fields, attributes, _what_pickles(slots, left_out)))), left_out
    except Exception:
        return None, []


def load(data: bytes, members: Sequence[BaseException]) -> Any:
    """Make what ``dump`` pickled; the members of a group do not travel with it.

    Raises
    ------
    BaseException
        Whatever unpickling raises.
    """
    loaded = loads(data)
    if type(loaded) is not tuple:
        return loaded
    function: Any = loaded[0]
    return make(*loaded[1], members) if function is make else function(*loaded[1])


def copied(error: BaseException) -> BaseException:
    """Copy an exception with traceback and links, for another future.

    Each ``raise`` adds frames to the traceback of the object that is raised. An exception that cannot be copied is
    returned itself.
    """
    try:
        new = make(*take(error), members_of(error)) if _pickles_as_builtin(type(error)) else copy.copy(error)
        if type(new) is not type(error) or new is error:
            return error
        set_notes(new, notes(error))
    except Exception:
        return error
    link(new, error.__suppress_context__, error.__cause__, error.__context__)
    return new.with_traceback(error.__traceback__)


# ---------------------------------------------------------------- what a class may not get in the way of


def notes(error: BaseException) -> list[str]:
    """Return the notes that are texts."""
    found = error.__dict__.get("__notes__")  # not getattr: a class's own __getattr__ may raise anything
    return [note for note in found if type(note) is str] if isinstance(found, (list, tuple)) else []


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the members of a group, also of one whose class shows others."""
    return _group_members.__get__(error) if isinstance(error, BaseExceptionGroup) else ()


_group_message: Any = vars(BaseExceptionGroup)["message"]
_group_members: Any = vars(BaseExceptionGroup)["exceptions"]


def set_notes(error: BaseException, texts: list[str]) -> None:
    """Set the notes of an exception, whatever its class allows."""
    if texts:
        error.__dict__["__notes__"] = texts


def link(error: BaseException, suppress: bool, cause: BaseException | None, context: BaseException | None) -> None:
    """Chain an exception to others, also one whose class forbids to set attributes."""
    _set(error, "__cause__", cause)
    _set(error, "__context__", context)
    _set(error, "__suppress_context__", suppress)


_set = BaseException.__setattr__


# ---------------------------------------------------------------- taking apart


def take(error: BaseException) -> _State:
    """Take an exception's state; the first arguments of ``make``."""
    cls, args = type(error), error.args
    fields: dict[str, Any] = {}
    if isinstance(error, BaseExceptionGroup):
        # Constructors of groups differ in where they take the members, which are not part of the state.
        members = members_of(error)
        places = [n for n, arg in enumerate(args) if isinstance(arg, (list, tuple)) and tuple(arg) == members]
        args = tuple(None if n in places else arg for n, arg in enumerate(args))
        fields = {"message": _group_message.__get__(error), "places": places}
    for name, descriptor in _fields(cls):
        try:
            value = descriptor.__get__(error, cls)
        except AttributeError:
            continue
        if value is not None:
            fields[name] = value
    own = _is_python(cls.__getstate__)
    state: Any = error.__getstate__() if own else object.__getstate__(error)
    if own and _is_python(cls.__setstate__):
        return cls, args, fields, state, {}
    attributes, slots = state if type(state) is tuple else (state, None)
    attributes = {name: value for name, value in (attributes or {}).items() if name != "__notes__"}
    return cls, args, fields, attributes, slots or {}


def _what_pickles(values: dict[str, Any], left_out: list[str]) -> dict[str, Any]:
    kept = dict(values)
    for name, value in values.items():
        try:
            dumps(value)
        except Exception:
            kept[name] = None
            left_out.append(name)
    return kept


def _pickles_as_builtin(cls: type[BaseException]) -> bool:
    """Return whether a class pickles as its built-in base does, without C state."""
    return (
        cls.__reduce__ is _builtin_base(cls).__reduce__
        and cls.__reduce_ex__ is object.__reduce_ex__
        and (cls not in copyreg.dispatch_table or _registered_by_tblib(cls))
        and all(
            _is_python(getattr(method, "__func__", method))
            for each in cls.__mro__
            if not _is_builtin(each)
            for name in ("__new__", "__init__")
            if (method := vars(each).get(name)) is not None
        )
    )


def _registered_by_tblib(cls: type[BaseException]) -> bool:
    """Return whether tblib, or distributed by it, has put its reducer there.

    It packs tracebacks and causes, which travel by themselves here, and calls constructors it knows nothing of.
    """
    return str(getattr(copyreg.dispatch_table.get(cls), "__module__", "")).startswith("tblib")


def _builtin_base(cls: type[BaseException]) -> type[BaseException]:
    """Return the class that lays out exceptions in C, wherever in ``__mro__``."""
    while not _is_builtin(cls):
        cls = cls.__base__  # type: ignore[assignment]
    return cls


def _is_builtin(cls: type) -> bool:
    return vars(builtins).get(cls.__name__) is cls


def _is_python(method: Any) -> bool:
    return hasattr(method, "__code__")


def _fields(cls: type[BaseException]) -> Iterator[tuple[str, Any]]:
    """Yield what an exception's base keeps outside of ``args`` and ``__dict__``."""
    base = _builtin_base(cls)
    if issubclass(base, BaseExceptionGroup):
        return
    for each in base.__mro__[: base.__mro__.index(BaseException)]:
        for name, descriptor in vars(each).items():
            if isinstance(descriptor, (MemberDescriptorType, GetSetDescriptorType)):
                yield name, descriptor


# ---------------------------------------------------------------- making again


def make(
    cls: type[BaseException],
    args: tuple[Any, ...],
    fields: dict[str, Any],
    state: Any,
    slots: dict[str, Any],
    members: Sequence[BaseException],
) -> BaseException:
    """Make an exception with the state that ``take`` returned."""
    base: Any = _builtin_base(cls)
    error: BaseException
    if issubclass(base, BaseExceptionGroup):
        error = base.__new__(cls, fields["message"], members)
        args = tuple(list(members) if n in fields["places"] else arg for n, arg in enumerate(args))
    else:
        error = base.__new__(cls)
    _set(error, "args", args)
    for name, descriptor in _fields(cls):
        if name in fields:
            descriptor.__set__(error, fields[name])
    if state and _is_python(cls.__setstate__):
        error.__setstate__(state)
    elif state:
        error.__dict__.update(state)
    for name, value in slots.items():
        _set(error, name, value)
    return error


def _from_reduced(make_error: Callable[..., Any], args: tuple[Any, ...], state: Any = None) -> BaseException:
    error: BaseException = make_error(*args)
    if state is not None:
        error.__setstate__(state)
    return error
