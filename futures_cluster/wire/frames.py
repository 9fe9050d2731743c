"""Messages as bytes: pure packing, and parsing that takes bytes as they come.

Covers: the frame (eight bytes of length, then one msgpack value) and the check of what is in it.
Does not cover: sockets.

A frame holds a list of messages ``[code, field, ...]``; the code is the place of the class in
``messages.WIRE_MESSAGES``. The parser never raises for a frame that is cut off: it waits for the rest. A length
over the limit raises before any memory is taken, and so does a value which is not a known message.

Checked are the types of all fields, that lists of keys hold nothing else, and that the rows of a batch have their
length and begin with a key: what the machines take apart without looking. Payloads are not looked into.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

import msgpack

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.messages import WIRE_MESSAGES, Message, SubmitTasks, TaskOptions, field_names

LENGTH = struct.Struct("<Q")
#: No frame is longer.
MOST_BYTES = 8 * 2**30

_CODES: dict[type[Message], int] = {cls: code for code, cls in enumerate(WIRE_MESSAGES)}
_GETTERS = {cls: attrgetter(*names) if len(names := field_names(cls)) > 1 else None for cls in WIRE_MESSAGES}
_OPTIONS_AT = field_names(SubmitTasks).index("options")


#: What each row of a batch consists of is said beside the field, in ``messages``; here only how many values.
_ROW_LENGTHS: dict[tuple[type[Message], str], int] = {
    (m.SubmitTasks, "tasks"): 4,
    (m.SubmitTasks, "functions"): 3,
    (m.ReportMissing, "missing"): 2,
    (m.TasksStarted, "runs"): 2,
    (m.TasksFinished, "finished"): 5,
    (m.TasksFinished, "failed"): 4,
    (m.TasksReturned, "returned"): 2,
    (m.TasksReturned, "refused"): 2,
    (m.RunTasks, "runs"): 7,
    (m.RunTasks, "functions"): 3,
    (m.ReturnTasks, "runs"): 2,
    (m.TasksDone, "done"): 5,
    (m.Data, "found"): 2,
    (m.Data, "errors"): 2,
}

_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Key": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "list": (list, tuple),
    "dict": (dict,),
    "TaskOptions": (list, tuple),
    "None": (type(None),),
}
_TUPLES = {tuple}


def _fields_of(cls: type[Message]) -> list[tuple[str, tuple[type, ...], set[type] | None, int]]:
    """For each field: its name, its types, the types of its items (None: any), the length of its rows (0: no rows)."""
    fields = []
    for name in field_names(cls):
        accepted: tuple[type, ...] = ()
        items: set[type] | None = None
        for part in cls.__annotations__[name].split(" | "):
            outer, _, inner = part.partition("[")
            accepted += _KINDS.get(outer, (object,))
            if outer == "list" and inner not in ("Any]", "PlainValue]"):
                items = set(_KINDS[inner[:-1]])
        fields.append((name, accepted, items, _ROW_LENGTHS.get((cls, name), 0)))
    return fields


_FIELDS = [_fields_of(cls) for cls in WIRE_MESSAGES]


def _default(obj: Any) -> Any:
    if isinstance(obj, TaskOptions):
        return obj.to_wire()
    raise TypeError(f"{type(obj).__name__} cannot be part of a message")


def pack(messages: Iterable[Message]) -> bytes:
    """One frame with these messages."""
    rows = []
    for message in messages:
        cls = type(message)
        getter = _GETTERS[cls]
        if getter is not None:
            rows.append((_CODES[cls], *getter(message)))
        else:
            rows.append((_CODES[cls], *(getattr(message, name) for name in field_names(cls))))
    body: bytes = msgpack.packb(rows, default=_default, use_bin_type=True)
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes | bytearray | memoryview) -> list[Message]:
    """The messages of one frame without its length.

    Raises
    ------
    ProtocolError
        When it is anything else.
    """
    try:
        rows = msgpack.unpackb(body, use_list=False, strict_map_key=False, raw=False)
    except Exception as error:
        raise ProtocolError(f"a frame of {len(body)} bytes is not msgpack: {error}") from None
    if type(rows) is not tuple:
        raise ProtocolError("a frame is not a list of messages")
    return [_message(row) for row in rows]


def _message(content: Any) -> Message:
    if type(content) is not tuple or not content or type(content[0]) is not int:
        raise ProtocolError("a message has no code")
    code, *values = content
    if not 0 <= code < len(WIRE_MESSAGES):
        raise ProtocolError(f"no message has the code {code}")
    cls, fields = WIRE_MESSAGES[code], _FIELDS[code]
    if len(values) != len(fields):
        raise ProtocolError(f"{cls.__name__} has {len(values)} fields instead of {len(fields)}")
    for value, (name, accepted, items, row_length) in zip(values, fields, strict=True):
        if not isinstance(value, accepted):
            raise ProtocolError(f"{cls.__name__}.{name} is of type {type(value).__name__}")
        batch: Any = value
        if items is not None:
            if batch and not set(map(type, batch)) <= items:
                raise ProtocolError(f"{cls.__name__}.{name} holds something else than it should")
        elif row_length and batch:
            if set(map(type, batch)) != _TUPLES or set(map(len, batch)) != {row_length}:
                raise ProtocolError(f"{cls.__name__}.{name} has other rows than ours, of {row_length} values")
            for row in batch:
                if type(row[0]) is not str:
                    raise ProtocolError(f"{cls.__name__}.{name} has a row that does not begin with a key")
    if cls is SubmitTasks:
        values[_OPTIONS_AT] = _options(values[_OPTIONS_AT])
    return cls(*values)


def _options(values: Any) -> TaskOptions:
    try:
        options = TaskOptions.from_wire(values)
        hash(options)
    except (TypeError, ValueError, OverflowError):
        raise ProtocolError("SubmitTasks.options has other fields than ours") from None
    if not isinstance(options.timeout_s, (int, float, type(None))) or not set(map(type, options.workers)) <= {str}:
        raise ProtocolError("SubmitTasks.options has fields of other types than ours")
    return options


class FrameParser:
    """Cuts a stream of bytes into frames.

    Examples
    --------
    >>> from futures_cluster.messages import DropData
    >>> frame = pack([DropData(["k"])])
    >>> parser = FrameParser()
    >>> [list(parser.feed(frame[i : i + 1])) for i in range(len(frame))][-1]
    [[DropData(keys=('k',))]]
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[list[Message]]:
        """Take bytes; yield the messages of each frame that they complete.

        Raises
        ------
        ProtocolError
            For a frame that is too long or not ours; the stream cannot be used any more.
        """
        buffer = self._buffer
        buffer += data
        start, end = 0, len(buffer)
        try:
            while end - start >= 8:
                (length,) = LENGTH.unpack_from(buffer, start)
                if length > self.most_bytes:
                    raise ProtocolError(f"a frame of {length} bytes is over the limit of {self.most_bytes}")
                stop = start + 8 + length
                if end < stop:
                    break
                with memoryview(buffer) as view, view[start + 8 : stop] as body:
                    messages = unpack(body)
                start = stop
                yield messages
        finally:
            if start:
                del buffer[:start]

    @property
    def missing_bytes(self) -> int:
        """How many bytes the frame that is under way still needs; 0 if that is not known."""
        if len(self._buffer) < 8:
            return 0
        (length,) = LENGTH.unpack_from(self._buffer, 0)
        return max(0, 8 + int(length) - len(self._buffer))
