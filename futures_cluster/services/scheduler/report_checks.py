"""The shape of what workers say of themselves, checked where it comes in.

Covers: the facts of reports and of heartbeats. Does not cover: making them (``reporter``, ``process``), showing
them (``monitor``, ``status``).

Nothing is decided by these facts, but all of them are put together for people: one wrong value of one worker would
otherwise fail each look at the whole cluster. The checks leave out
facts that this version does not know or knows in another shape, so that a worker of another release keeps its data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster.errors import ProtocolError
from futures_cluster.numbers import MAX_AMOUNT, MAX_COUNT, shown
from futures_cluster.services.common.heartbeats import MIN_SILENCE_S

Shape = Callable[[Any], bool]

#: Frames of one stack of a profile, and levels of the details of a worker.
MAX_DEPTH = 1000
MAX_LEVELS = 10


def number(value: Any) -> bool:
    """Accept a number that can be added to others, or None for one that is not known."""
    return value is None or (type(value) in (int, float, bool) and -MAX_AMOUNT <= value <= MAX_AMOUNT)


def known_number(value: Any) -> bool:
    """Accept a number that is known."""
    return value is not None and number(value)


def count(value: Any) -> bool:
    """Accept a number of what has happened since the last report."""
    return type(value) is int and 0 <= value <= MAX_COUNT


def text(value: Any) -> bool:
    """Accept a text."""
    return type(value) is str


def texts(value: Any) -> bool:
    """Accept a list of texts."""
    return type(value) in (list, tuple) and all(map(text, value))


def row(*shapes: Shape) -> Shape:
    """Accept a list with one value of each shape."""

    def fits(value: Any) -> bool:
        if type(value) not in (list, tuple) or len(value) != len(shapes):
            return False
        return all(shape(item) for shape, item in zip(shapes, value, strict=True))

    return fits


def rows(*shapes: Shape) -> Shape:
    """Accept a list of such rows."""
    one = row(*shapes)
    return lambda value: type(value) in (list, tuple) and all(map(one, value))


def by_name(shape: Shape) -> Shape:
    """Accept a dict from texts to values of one shape."""
    return lambda value: type(value) is dict and all(map(text, value)) and all(map(shape, value.values()))


def record(shapes: dict[str, Shape]) -> Shape:
    """Accept a dict that has these names, with values of these shapes."""

    def fits(value: Any) -> bool:
        return type(value) is dict and all(name in value and shape(value[name]) for name, shape in shapes.items())

    return fits


def plain(value: Any, levels: int = MAX_LEVELS) -> bool:
    """Accept what JSON can say, apart from its size."""
    if type(value) in (list, tuple):
        return levels > 0 and all(plain(item, levels - 1) for item in value)
    if type(value) is dict:
        return levels > 0 and all(map(text, value)) and all(plain(item, levels - 1) for item in value.values())
    return text(value) or number(value)


def tree(value: Any) -> bool:
    """Accept a profile: ``[samples, {frame: tree}]``."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if not all(row(count, by_name(lambda child: True))(node) for node in level):
            return False
        level = [child for node in level for child in node[1].values()]
        if not level:
            return True
    return False


_SUMMARY: dict[str, Shape] = {name: number for name in ("count", "sum", "max", "p50", "p90", "p99")}
_METRICS = record(
    {
        "counts": by_name(record({"minute": known_number, "start": known_number})),
        "timings": by_name(record({"minute": record(_SUMMARY), "start": record(_SUMMARY)})),
    }
)
_COUNTED = ("now", "pid", "cpu", "stored", "spilled", "spilled_bytes", "threads", "executing", "ready", "raised")
_REPORT: dict[str, Shape] = {
    **dict.fromkeys((*_COUNTED, "received_bytes", "sent_bytes"), known_number),
    "stream_dropped": count,
    **dict.fromkeys(("memory_bytes", "memory_limit"), number),
    "gil_enabled": lambda value: type(value) is bool,
    "traffic": rows(text, known_number, known_number, known_number),
    "metrics": _METRICS,
    "failures": rows(known_number, text, text, text, text),
    "logs": rows(known_number, text, text, text),
    # [kind, lane, function, start_s, end_s, number, key, size_bytes, failed], see ``task_stream``
    "stream": rows(*(known_number,) * 2, text, *(known_number,) * 3, text, known_number, known_number),
    "running": rows(known_number, text, text, known_number),
    "profile": tree,
    "output": rows(text, text),
    "detail": lambda value: type(value) is dict and plain(value),
}
_HEARTBEAT: dict[str, Shape] = {
    "silence_s": lambda value: type(value) in (int, float) and value >= MIN_SILENCE_S,  # perhaps infinite
    "memory_bytes": number,
    "stored": known_number,
    "spilled": known_number,
    "running": texts,  # incarnations of a manager's workers
}


def report(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a ``WorkerReport`` that people can be shown.

    Examples
    --------
    >>> report({"cpu": 0.5, "threads": "two", "mood": "good"})
    {'cpu': 0.5}
    """
    return {name: facts[name] for name, fits in _REPORT.items() if name in facts and fits(facts[name])}


def heartbeat(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a ``Heartbeat`` that this version knows; see ``report``.

    Raises
    ------
    ProtocolError
        If the sender asks for heartbeats without a pause.
    """
    found = {name: facts[name] for name, fits in _HEARTBEAT.items() if name in facts and fits(facts[name])}
    if "silence_s" in facts and "silence_s" not in found:
        value = shown(facts["silence_s"])
        raise ProtocolError(f"Heartbeat.facts['silence_s'] must be at least {MIN_SILENCE_S}, got {value}")
    return found
