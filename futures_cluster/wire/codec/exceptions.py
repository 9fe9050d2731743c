"""Exceptions as bytes, with all that hangs on them.

Covers: causes, contexts, notes, groups, and what does not pickle. Does not cover: the state of one exception
(``exception_state``), its frames (``tracebacks``), which future gets the error.

An exception with its links is a graph, possibly with circles and thousands of members (a retry loop that chains);
so is it packed: a list of plain rows that name each other by number. Nothing here recurses into it.
"""

from __future__ import annotations

import pickle
import traceback

from futures_cluster.wire.codec import exception_state, tracebacks
from futures_cluster.wire.codec.pickling import PROTOCOL

#: Exceptions that hang on one (causes, contexts, members of groups) and travel with it.
MAX_LINKED = 1000

# One exception: name of its class, pickle or None, text, frames, notes, suppress_context, cause, context, members.
_Row = tuple[str, bytes | None, str, list[tracebacks.Frame], list[str], bool, int, int, list[int]]


def dump_error(error: BaseException) -> bytes:
    """Pickle an exception with traceback, causes, contexts, notes and members.

    Never fails: an exception that does not pickle is replaced by a ``RemoteError`` with its text.

    Examples
    --------
    >>> load_error(dump_error(ValueError("no")))
    ValueError('no')
    """
    chain = [error]
    numbers = {id(error): 0}

    def number_of(other: BaseException | None) -> int:
        if other is None or (id(other) not in numbers and len(chain) >= MAX_LINKED):
            return -1
        if id(other) not in numbers:
            numbers[id(other)] = len(chain)
            chain.append(other)
        return numbers[id(other)]

    rows: list[_Row] = []
    for one in chain:  # grows meanwhile
        members = [number_of(part) for part in exception_state.members_of(one)]
        data, left_out = exception_state.dump(one)
        notes = exception_state.notes(one)
        if left_out:
            notes.append(f"These attributes did not pickle and are None: {', '.join(left_out)}")
        rows.append(
            (
                type(one).__name__,
                data,
                _text(one),
                tracebacks.pack(one.__traceback__),
                notes,
                one.__suppress_context__,
                number_of(one.__cause__),
                number_of(one.__context__),
                members,
            )
        )
    return pickle.dumps(rows, PROTOCOL)


def load_error(payload: bytes) -> BaseException:
    """Return the exception of ``dump_error``, with the remote files and lines."""
    rows: list[_Row] = pickle.loads(payload)
    made = _make_all(rows)
    known = {id(error) for error in made.values()}
    for number, row in enumerate(rows):
        _dress(made[number], row, made)
        # A group that came by its own pickle has members of its own: these get what belongs to them.
        for part, member in zip(exception_state.members_of(made[number]), row[-1], strict=False):
            if member >= 0 and id(part) not in known:
                _dress(part, rows[member], made)
    return made[0]


def headline(payload: bytes) -> str:
    """Return kind and text of ``dump_error``'s exception, without unpickling.

    Examples
    --------
    >>> headline(dump_error(ValueError("no")))
    'ValueError: no'
    """
    rows: list[_Row] = pickle.loads(payload)
    kind, _, text, *_ = rows[0]
    return f"{kind}: {text}" if text else kind


# ---------------------------------------------------------------- packing


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__}, whose str() fails>"


# ---------------------------------------------------------------- unpacking


def _make_all(rows: list[_Row]) -> dict[int, BaseException]:
    """Make the exceptions, each after the members that it has."""
    made: dict[int, BaseException] = {}
    waiting = list(range(len(rows)))
    while waiting:
        for number in reversed(waiting):
            members = [member for member in rows[number][-1] if member >= 0]
            if all(member in made for member in members):
                made[number] = _make(rows[number], [made[member] for member in members])
        waiting = [number for number in waiting if number not in made]
    return made


def _make(row: _Row, members: list[BaseException]) -> BaseException:
    name, data, text, frames, *_ = row
    if data is not None:
        try:
            error = exception_state.load(data, members)
            if isinstance(error, BaseException):
                return error
        except BaseException:
            pass
    from futures_cluster.errors import RemoteError

    lines = [f"{name}, which does not pickle:\n"]
    if frames:
        lines.append("Traceback (most recent call last):\n")
        lines += traceback.format_tb(tracebacks.unpack(frames))
    lines.append(f"{name}: {text}")
    return RemoteError("".join(lines))


def _dress(error: BaseException, row: _Row, made: dict[int, BaseException]) -> None:
    _, _, _, frames, notes, suppress, cause, context, _ = row
    error.with_traceback(tracebacks.unpack(frames))
    exception_state.link(error, suppress, made.get(cause), made.get(context))
    exception_state.set_notes(error, notes)
