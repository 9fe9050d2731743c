"""Whether the contents of a message make sense: each value of its rows, each of its numbers.

Covers: what peers say to a scheduler that listens, and to a worker that serves data. Does not cover: the outer types of
fields, which every frame is checked for (``frames``); which role may send what (``services.scheduler.permissions``).

A number in a message is finite and not negative, unless ``RANGES`` says something else. Values that a receiver compares
and never counts with (attempts, requests) need no range of their own. The checks look at the
outer shape of payloads only. A receiver can take apart and pass on a checked message without further checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import chain
from typing import Any

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.messages import Message, field_types
from futures_cluster.numbers import MAX_AMOUNT, MAX_BYTES, MAX_COUNT, shown
from futures_cluster.wire.codec.buffers import Buffer

#: The longest time that a task or a transfer can have taken, in seconds: ten years. Sums of more would not be exact.
MAX_DURATION_S = 10 * 365 * 86400
#: The largest whole number that is only compared.
_MOST = 2**63 - 1

Check = Callable[[Iterable[Any]], str]

#: Levels of what users put into requests to shared objects. The packer takes some hundreds, and answers add their own.
MAX_LEVELS = 100

_INLINE = frozenset((bytes, type(None)))
_LEAVES = frozenset((type(None), bool, int, float, str, bytes, Buffer))


def is_payload(payload: Any) -> bool:
    """Return whether this has the outer shape of a payload; None is one, too."""
    if type(payload) in _INLINE:
        return True
    if type(payload) is not tuple or len(payload) not in (2, 3) or type(payload[0]) not in _INLINE:
        return False
    parts = payload[1]
    if type(parts) is not tuple or not parts or type(payload[-1]) not in (tuple, str):
        return False
    kind, *rest = parts
    if kind == "raw" and len(rest) == 1:
        return _all(rest[0], Buffer)
    if kind == "packed" and len(rest) == 3:
        return _all(rest[0], Buffer) and type(rest[1]) is str and _all(rest[2], int) and len(rest[0]) == len(rest[2])
    if kind == "shm" and len(rest) == 5:
        pid, fd, size, layout, serial = rest
        return (
            _all((pid, fd, size, serial), int)
            and _all(layout, tuple)
            and all(len(place) == 2 and _all(place, int) for place in layout)
        )
    return False


def _all(values: Any, kind: type) -> bool:
    """Return whether this is a tuple of one type, without negative numbers."""
    if type(values) is not tuple or not set(map(type, values)) <= {kind}:
        return False
    return kind is not int or not values or min(values) >= 0


def is_plain(value: Any, levels: int = MAX_LEVELS) -> bool:
    """Return whether this is a plain value, not too deep, with hashable keys."""
    kind = type(value)
    if kind in _LEAVES:
        return True
    if kind is tuple or kind is list:
        return levels > 0 and all(is_plain(item, levels - 1) for item in value)
    if kind is dict:
        return levels > 0 and all(is_plain(item, levels - 1) for pair in value.items() for item in pair)
    return False


def _are_payloads(values: Iterable[Any]) -> str:
    """Return what is wrong with values that must be payloads; "" if nothing is."""
    odd = [value for value in values if type(value) not in _INLINE]
    return "" if all(map(is_payload, odd)) else "holds something else, where a payload must be"


def _are_data(values: Iterable[Any]) -> str:
    """Return payloads that are there."""
    return "holds nothing, where a payload must be" if None in values else _are_payloads(values)


def _are_plain(values: Iterable[Any]) -> str:
    return "" if is_plain(values) else "holds what is no plain value, or too many levels of them"


def _are_of(kind: type, what: str, values: Iterable[Any]) -> str:
    """Return what is wrong with values that must be of one type; "" if nothing is."""
    wrong = set(map(type, values)) - {kind}
    return f"holds {wrong.pop().__name__}, where {what} must be" if wrong else ""


_are_texts = partial(_are_of, str, "a text")
_are_bytes = partial(_are_of, bytes, "bytes")
_are_whole = partial(_are_of, int, "a whole number")


def _are_counts(values: Iterable[Any]) -> str:
    for value in values:
        if type(value) is not int or not 0 <= value <= MAX_BYTES:
            return f"holds {shown(value)}, where a whole number from 0 to {MAX_BYTES} must be"
    return ""


def _are_amounts(values: Iterable[Any], most: float = MAX_AMOUNT) -> str:
    for value in values:
        if type(value) not in (float, int) or not 0 <= value <= most:  # NaN neither
            return f"holds {shown(value)}, where a number from 0 to {most:.0f} must be"
    return ""


_are_durations = partial(_are_amounts, most=MAX_DURATION_S)


def _are_keys(values: Iterable[Any]) -> str:
    """Return lists of keys."""
    lists = list(values)
    if not set(map(type, lists)) <= {tuple, list}:
        return "holds something else, where a list of keys must be"
    return _are_texts(chain.from_iterable(lists))


#: Of the rows of a batch: the place of each value that the receiver counts with or looks up, and how it is checked.
#: That the rows have their length and begin with a key is known already.
ROWS: dict[type[Message], dict[str, tuple[tuple[int, Check], ...]]] = {
    m.SubmitTasks: {
        "tasks": ((1, _are_texts), (2, _are_payloads), (3, _are_keys)),
        "functions": ((1, _are_texts), (2, _are_payloads)),
        "calls": ((1, _are_texts),),
    },
    m.ReportMissing: {"missing": ((1, _are_texts),)},
    m.ScatterData: {"rows": ((1, _are_counts), (2, _are_texts))},
    m.ShareCode: {
        "files": ((1, _are_bytes),),
        "versions": ((1, _are_texts), (2, _are_whole), (3, _are_counts), (4, _are_texts)),
    },
    m.LogSettings: {"levels": ((1, _are_counts),)},
    m.LogRecords: {"rows": ((1, _are_bytes),)},
    m.TasksFinished: {
        "finished": ((2, _are_payloads), (3, _are_counts), (4, _are_durations)),
        "failed": ((2, _are_bytes), (3, _are_durations)),
    },
    m.PutData: {"rows": ((1, _are_data),)},
}
#: Dicts from names to values, and how these are checked.
DICTS: dict[type[Message], dict[str, Check]] = {
    m.Hello: {"versions": _are_texts},
    m.WorkerConnected: {"resources": _are_amounts},
}
#: Fields that hold whatever users say, and how they are checked: all their values together.
OPEN: dict[type[Message], dict[str, Check]] = {
    m.AskShared: {"args": _are_plain},
    m.AskScheduler: {"argument": _are_plain},
    m.LogSettings: {"filters": lambda value: _are_payloads((value,))},
}
#: The numbers that have another range than "from 0 on".
RANGES: dict[tuple[type[Message], str], tuple[float, float]] = {
    (m.SubmitTasks, "depth"): (0, MAX_COUNT),
    (m.ScatterData, "replicas"): (1, MAX_COUNT),
    (m.WorkerConnected, "slots"): (1, MAX_COUNT),
    (m.WorkerConnected, "pid"): (0, MAX_COUNT),
    (m.SlotsChanged, "slots"): (0, MAX_COUNT),
    (m.DataAdded, "size_bytes"): (0, MAX_BYTES),
    (m.DataAdded, "duration_s"): (0, MAX_DURATION_S),
}


@cache
def _scalars_of(cls: type[Message]) -> tuple[tuple[str, float, float], ...]:
    """Return the fields of a kind of message that are numbers: name, least, most."""
    names = [name for name, kind in field_types(cls).items() if kind in ("int", "float")]
    return tuple((name, *RANGES.get((cls, name), (0, _MOST))) for name in names)


def check(message: Message) -> None:
    """Refuse a message with contents that its receiver cannot count with.

    Raises
    ------
    ProtocolError
        With the field and the value.

    Examples
    --------
    >>> check(m.SlotsChanged("w", -1))
    Traceback (most recent call last):
        ...
    futures_cluster.errors.ProtocolError: SlotsChanged.slots must be from 0 to 2147483647, got -1
    """
    cls: Any = type(message)
    for name, least, most in _scalars_of(cls):
        if not least <= getattr(message, name) <= most:
            value = shown(getattr(message, name))
            raise ProtocolError(f"{cls.__name__}.{name} must be from {least} to {most}, got {value}")
    for name, columns in ROWS.get(cls, {}).items():
        rows = getattr(message, name)
        for at, complain in columns if rows else ():
            if complaint := complain([row[at] for row in rows]):
                raise ProtocolError(f"{cls.__name__}.{name} {complaint}")
    for name, complain in OPEN.get(cls, {}).items():
        if complaint := complain(getattr(message, name)):
            raise ProtocolError(f"{cls.__name__}.{name} {complaint}")
    for name, complain in DICTS.get(cls, {}).items():
        values = getattr(message, name)
        if complaint := _are_texts(values) or complain(values.values()):
            raise ProtocolError(f"{cls.__name__}.{name} {complaint}")
