"""Exceptions as bytes, with all that hangs on them.

Covers: causes, contexts, notes, groups, and what does not pickle. Does not cover: frames (``tracebacks``), which future
gets the error.

An exception with its links is a graph, possibly with circles and thousands of members (a retry loop that chains);
so is it packed: a list of plain rows that name each other by number. Nothing here recurses into it.

An exception whose class has the pickling of ``BaseException`` is made again without calling its ``__init__``, which
often wants other arguments than those it hands on.
"""

from __future__ import annotations

import copyreg
import pickle
import traceback
from typing import Any

from futures_cluster.wire import tracebacks
from futures_cluster.wire.pickling import PROTOCOL, dumps, loads

#: Exceptions that hang on one (causes, contexts, members of groups) and travel with it.
MOST_LINKED = 1000

# One exception: name of its class, pickle or None, text, frames, notes, suppress_context, cause, context, members.
_Row = tuple[str, bytes | None, str, list[tracebacks.Frame], list[str], bool, int, int, list[int]]


def dump_error(error: BaseException) -> bytes:
    """Pickle an exception with its whole traceback, causes, contexts, notes and sub-exceptions.

    Never fails: an exception that does not pickle is replaced by a ``RemoteError`` with its text.

    Examples
    --------
    >>> load_error(dump_error(ValueError("no")))
    ValueError('no')
    """
    chain = [error]
    numbers = {id(error): 0}

    def number_of(other: BaseException | None) -> int:
        if other is None or (id(other) not in numbers and len(chain) >= MOST_LINKED):
            return -1
        if id(other) not in numbers:
            numbers[id(other)] = len(chain)
            chain.append(other)
        return numbers[id(other)]

    rows: list[_Row] = []
    for one in chain:  # grows meanwhile
        members = [number_of(part) for part in _members(one)]
        bare = _dump_bare(one)
        text = _text(one)
        rows.append(
            (
                type(one).__name__,
                bare,
                text,
                tracebacks.pack(one.__traceback__),
                _notes(one),
                one.__suppress_context__,
                number_of(one.__cause__),
                number_of(one.__context__),
                members,
            )
        )
    return pickle.dumps(rows, PROTOCOL)


def load_error(payload: bytes) -> BaseException:
    """The exception of ``dump_error``, with a traceback whose frames have the remote files and lines."""
    rows: list[_Row] = pickle.loads(payload)
    made: dict[int, BaseException] = {}
    for number in reversed(range(len(rows))):  # members of a group come after it
        made[number] = _make(rows[number], made)
    for number, (_, _, _, frames, notes, suppress, cause, context, members) in enumerate(rows):
        error = made[number]
        error.__traceback__ = tracebacks.unpack(frames)
        if members and isinstance(error, BaseExceptionGroup):
            # A group that came by its own pickle has members of its own: these get what belongs to them.
            for part, member in zip(error.exceptions, members, strict=False):
                if member >= 0 and part is not made[member]:
                    _dress(part, rows[member], made)
        _link(error, suppress, cause, context, made)
        for note in notes:
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
    return made[0]


def headline(payload: bytes) -> str:
    """The kind and the text of the exception of ``dump_error``, for logs: nothing of the user's is unpickled.

    Examples
    --------
    >>> headline(dump_error(ValueError("no")))
    'ValueError: no'
    """
    rows: list[_Row] = pickle.loads(payload)
    kind, _, text, *_ = rows[0]
    return f"{kind}: {text}" if text else kind


# ---------------------------------------------------------------- packing


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else ()


def _text(error: BaseException) -> str:
    if type(error) in (ExceptionGroup, BaseExceptionGroup):
        return str(error.message)  # type: ignore[attr-defined]
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__}, whose str() fails>"


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", ())
    return [note for note in notes if type(note) is str] if isinstance(notes, (list, tuple)) else []


def _dump_bare(error: BaseException) -> bytes | None:
    """The exception alone; None if it does not pickle, or is a group whose members travel by themselves."""
    if type(error) in (ExceptionGroup, BaseExceptionGroup):
        return None
    cls = type(error)
    try:
        if (
            cls.__reduce__ is BaseException.__reduce__
            and cls.__reduce_ex__ is object.__reduce_ex__
            and cls.__setstate__ is BaseException.__setstate__
            and (cls not in copyreg.dispatch_table or _is_tblib_s(cls))
            and (_written_in_python(cls.__init__) or _written_in_python(cls.__new__))
        ):
            return dumps((_new_error, (cls, error.args, error.__dict__ or None)))
        if _is_tblib_s(cls):
            return dumps((_from_reduced, tuple(error.__reduce_ex__(5))[:3]))
        return dumps(error)
    except Exception:
        return None


def _is_tblib_s(cls: type[BaseException]) -> bool:
    """Whether ``tblib.pickling_support`` has put its own reducer there (distributed does that to all classes).

    It packs tracebacks and causes, which travel by themselves here, and calls constructors it knows nothing of.
    """
    return str(getattr(copyreg.dispatch_table.get(cls), "__module__", "")).startswith("tblib")


def _from_reduced(make: Any, args: tuple[Any, ...], state: Any = None) -> BaseException:
    error: BaseException = make(*args)
    if state is not None:
        error.__setstate__(state)
    return error


def _written_in_python(method: Any) -> bool:
    return hasattr(method, "__code__")


# ---------------------------------------------------------------- unpacking


def _new_error(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any] | None) -> BaseException:
    """An exception of a class with an ``__init__`` or ``__new__`` of its own, without calling them."""
    built_in: Any = next(b for b in cls.__mro__ if b.__module__ == "builtins" and issubclass(b, BaseException))
    error: BaseException = built_in.__new__(cls, *args)
    try:
        built_in.__init__(error, *args)  # sets what is not in the dictionary, such as StopIteration.value
    except TypeError:
        error.args = args
    error.__dict__.update(state or {})
    return error


def _make(row: _Row, made: dict[int, BaseException]) -> BaseException:
    name, bare, text, frames, _, _, _, _, members = row
    if bare is not None:
        try:
            loaded = loads(bare)
            error = loaded[0](*loaded[1]) if type(loaded) is tuple else loaded
            if isinstance(error, BaseException):
                return error
        except BaseException:
            pass
    elif members and name in ("ExceptionGroup", "BaseExceptionGroup"):
        parts = [made[member] for member in members if member in made]
        if parts:
            return BaseExceptionGroup(text, parts)
    from futures_cluster.errors import RemoteError

    lines = [f"{name}, which does not pickle:\n"]
    if frames:
        lines.append("Traceback (most recent call last):\n")
        lines += traceback.format_tb(tracebacks.unpack(frames))
    lines.append(f"{name}: {text}")
    return RemoteError("".join(lines))


def _link(error: BaseException, suppress: bool, cause: int, context: int, made: dict[int, BaseException]) -> None:
    error.__cause__ = made.get(cause)
    error.__context__ = made.get(context)
    error.__suppress_context__ = suppress


def _dress(error: BaseException, row: _Row, made: dict[int, BaseException]) -> None:
    _, _, _, frames, _, suppress, cause, context, _ = row
    error.__traceback__ = tracebacks.unpack(frames)
    _link(error, suppress, cause, context, made)
