"""Messages as bytes: pure packing, and parsing that takes bytes as they come.

Covers: the frame and the check of what is in it. Does not cover: sockets, and what large buffers mean
(``payloads``).

    body's length (8 bytes) | number of buffers (4) | their lengths (8 each) | body: one msgpack value | the buffers

A frame holds a list of messages ``[code, field, ...]``; the code is the place of the class in
``messages.WIRE_MESSAGES``. Where a ``Buffer`` stood, the body has a mark, and the marks stand for the buffers in their
order: buffers are sent from where they lie, and read into the memory where they stay (``ArrivingBuffers``).

The parser never raises for a frame that is cut off: it waits for the rest. A length over the limit raises before any
memory is taken, and so does a body that would become much larger than it is (``weight``). A value which is not a known
message raises, too.

On connections that authenticate their frames, tags stand around each of them; see ``authenticator``.

Checked are the types of all fields, that lists of keys hold nothing else, and that the rows of a batch have their
length and begin with a key: what the machines take apart without looking. Payloads are not looked into.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, get_args

from futures_cluster import clocks
from futures_cluster.errors import NotSendable, ProtocolError
from futures_cluster.messages import WIRE_MESSAGES, Message, SubmitTasks, TaskOptions, field_names, field_types
from futures_cluster.messages import rows as row_kinds
from futures_cluster.wire import weight
from futures_cluster.wire.arriving import ArrivingBuffers
from futures_cluster.wire.codec.buffers import MAX_BUFFERS, Buffer

with clocks.real_dates():
    import msgpack

if TYPE_CHECKING:
    from futures_cluster.wire.authenticator import Opener

HEAD = struct.Struct("<QI")  # length of the body, number of buffers
_HEAD_BYTES = HEAD.size
_LENGTH_BYTES = 8  # of one buffer, in the table
#: No frame is longer, with its buffers.
MAX_BYTES = 2**40
#: No body is longer.
MAX_BODY_BYTES = 8 * 2**30

#: From a message to its row: code and fields.
_GETTERS: dict[type[Message], Callable[[Message], Any]] = {
    cls: attrgetter("code", *field_names(cls)) for cls in WIRE_MESSAGES
}
_OPTIONS_AT = field_names(SubmitTasks).index("options")
_OVERRIDES_AT = field_names(SubmitTasks).index("option_overrides")


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Key": (str,),
    "FunctionId": (str,),
    "int": (int, bool),
    "bool": (bool,),
    "float": (int, bool, float),
    "list": (list, tuple),
    "dict": (dict,),
    "TaskOptions": (list, tuple),
    "None": (type(None),),
}
_TUPLES = {tuple}
_TEXTS = {str}
_first = itemgetter(0)


def _row_length(name: str) -> int:
    """Return how many values a kind of row has; 0 if ``messages.rows`` lacks it."""
    return len(get_args(getattr(row_kinds, name, None)))


def _fields_of(cls: type[Message]) -> list[tuple[str, set[type] | None, set[type] | None, int]]:
    """List the fields of a class: name, types, items' types, length of rows.

    Types are None if any are allowed, and the length is 0 if the field has no rows.
    """
    fields = []
    for name, kind in field_types(cls).items():
        accepted: set[type] = set()
        items: set[type] | None = None
        row_length = 0
        for part in kind.split(" | "):
            outer, _, inner = part.partition("[")
            accepted.update(_KINDS.get(outer, (object,)))
            if outer == "list":
                row_length = _row_length(inner[:-1])
                if not row_length and inner != "PlainValue]":
                    items = set(_KINDS[inner[:-1]])
        fields.append((name, None if object in accepted else accepted, items, row_length))
    return fields


_FIELDS = [_fields_of(cls) for cls in WIRE_MESSAGES]
#: Of these the lists that are looked into: the place behind the code, the types of items, the length of rows in a set.
_BATCHES = [
    [(at, items, {rows}) for at, (_, _, items, rows) in enumerate(fields, 1) if items is not None or rows]
    for fields in _FIELDS
]
#: Types of all fields that were found right before: (code, types). There are few, as values come from msgpack.
_ACCEPTED: set[tuple[int, tuple[type, ...]]] = set()


def _check_kinds(code: int, kinds: tuple[type, ...]) -> None:
    """Check a message's code, the number of its fields and their types.

    The code comes first. Types that pass are remembered.
    """
    if not 0 <= code < len(WIRE_MESSAGES):
        raise ProtocolError(f"no message has the code {code}")
    cls, fields = WIRE_MESSAGES[code], _FIELDS[code]
    if len(kinds) != len(fields) + 1:
        raise ProtocolError(f"{cls.__name__} has {len(kinds) - 1} fields instead of {len(fields)}")
    for kind, (name, accepted, _, _) in zip(kinds[1:], fields):  # of the same length
        if accepted is not None and kind not in accepted:
            raise ProtocolError(f"{cls.__name__}.{name} is of type {kind.__name__}")
    _ACCEPTED.add((code, kinds))


#: Stands in a body for the next of the buffers behind it.
_BUFFER_CODE = 1
_MARK = msgpack.ExtType(_BUFFER_CODE, b"")
#: A packer keeps the memory of the largest body that it has packed; one that has packed more than this is not kept.
_MAX_KEPT_BYTES = 2**20


#: Users' text need not be valid Unicode. Half of a surrogate pair travels as it is, so that a key stays the same key.
_TEXT_ERRORS = "surrogatepass"


class _Packer:
    """Packs bodies. Making msgpack's packer takes as long as packing a small body, so it is used again."""

    __slots__ = ("buffers", "pack")

    def __init__(self, text_errors: str | None = None) -> None:
        self.buffers: list[Buffer] = []
        self.pack = msgpack.Packer(default=self._default, use_bin_type=True, unicode_errors=text_errors).pack

    def _default(self, obj: Any) -> Any:
        if type(obj) is Buffer:
            self.buffers.append(obj)
            return _MARK
        raise TypeError(f"{type(obj).__name__} cannot be part of a message")


#: Taken out while they are used: another thread may pack meanwhile, and so may a signal handler.
_packers: list[_Packer] = []


def pack(messages: Iterable[Message]) -> tuple[bytes, Sequence[Buffer]]:
    """Pack messages into one frame: its bytes, and the buffers behind them.

    Raises
    ------
    NotSendable
        When one of the messages has no place in a frame; then ``pack`` may well take the others.

    Examples
    --------
    >>> from futures_cluster.messages import Data
    >>> frame, buffers = pack([Data(1, [("k", (b"a pickle", ("raw", [Buffer(b"large")])))])])
    >>> buffers[0].memory.tobytes(), b"large" in frame
    (b'large', False)
    """
    rows = [_GETTERS[type(message)](message) for message in messages]
    try:
        packer = _packers.pop()
    except IndexError:
        packer = _Packer()
    try:
        try:
            body: bytes = packer.pack(rows)
        except UnicodeEncodeError:
            packer = _Packer(_TEXT_ERRORS)  # not from the beginning: with it msgpack packs each text more slowly
            body = packer.pack(rows)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        kinds = ", ".join(dict.fromkeys(WIRE_MESSAGES[row[0]].__name__ for row in rows))
        raise NotSendable(f"{kinds} cannot be sent: {error}") from error
    length, buffers = len(body), packer.buffers
    if buffers:
        packer.buffers = []
    if length <= _MAX_KEPT_BYTES:
        _packers.append(packer)
    if not buffers:
        return HEAD.pack(length, 0) + body, ()
    if len(buffers) > MAX_BUFFERS:
        raise NotSendable(f"{len(buffers):,} buffers are too many for one message; put them into fewer arrays")
    table = struct.pack(f"<{len(buffers)}Q", *[buffer.memory.nbytes for buffer in buffers])
    return HEAD.pack(length, len(buffers)) + table + body, buffers


def _no_marks(code: int, data: bytes) -> Any:
    raise ProtocolError("a frame has a mark for a buffer that it does not have")


def _take_buffer(left: deque[Buffer], code: int, data: bytes) -> Buffer:
    if code != _BUFFER_CODE or data or not left:
        raise ProtocolError("a frame has marks that do not fit its buffers")
    return left.popleft()


_unpackb: Callable[..., Any] = partial(
    msgpack.unpackb, use_list=False, strict_map_key=False, raw=False, unicode_errors=_TEXT_ERRORS, ext_hook=_no_marks
)
_NO_BUFFERS: deque[Buffer] = deque()


def unpack(body: bytes | bytearray | memoryview, buffers: list[Buffer] | None = None) -> list[Message]:
    """Return the messages of one frame, given its body and its buffers.

    Raises
    ------
    ProtocolError
        When it is anything else.
    """
    if len(body) > weight.HARMLESS_BYTES:
        weight.check(body)
    left = deque(buffers) if buffers else _NO_BUFFERS
    try:
        rows = _unpackb(body, ext_hook=partial(_take_buffer, left)) if left else _unpackb(body)
    except Exception as error:
        raise ProtocolError(f"a frame of {len(body)} bytes is not msgpack: {error}") from None
    if left:
        raise ProtocolError("a frame has buffers that no message has a mark for")
    if type(rows) is not tuple:
        raise ProtocolError("a frame is not a list of messages")
    return list(map(_message, rows))


def _message(content: Any) -> Message:
    if type(content) is not tuple or not content or type(content[0]) is not int:
        raise ProtocolError("a message has no code")
    code, kinds = content[0], tuple(map(type, content))
    if (code, kinds) not in _ACCEPTED:
        _check_kinds(code, kinds)
    for at, items, lengths in _BATCHES[code]:
        if batch := content[at]:
            if items is not None:
                if not items.issuperset(map(type, batch)):
                    raise _wrong(code, at, "holds something else than it should")
            elif not (_TUPLES.issuperset(map(type, batch)) and lengths.issuperset(map(len, batch))):
                raise _wrong(code, at, f"has other rows than ours, of {max(lengths)} values")
            elif not _TEXTS.issuperset(map(type, map(_first, batch))):
                raise _wrong(code, at, "has a row that does not begin with a key")
    cls = WIRE_MESSAGES[code]
    _, *values = content
    if cls is SubmitTasks:
        values[_OPTIONS_AT] = _options(values[_OPTIONS_AT])
        values[_OVERRIDES_AT] = tuple([(key, _options(options)) for key, options in values[_OVERRIDES_AT]])
    return cls(*values)


def _wrong(code: int, at: int, text: str) -> ProtocolError:
    return ProtocolError(f"{WIRE_MESSAGES[code].__name__}.{_FIELDS[code][at - 1][0]} {text}")


def _options(values: Any) -> TaskOptions:
    try:
        return TaskOptions.from_wire(values)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"SubmitTasks.options is not ours: {error}") from None


class FrameParser:
    """Cuts a stream of bytes into frames.

    Give ``feed`` what comes. While ``arriving`` is not None, a large buffer is under way: the next bytes may as well be
    read into its ``prepared_space``, without a detour; ``filled`` then takes how many there were. ``received_bytes``
    counts all that came.

    Parameters
    ----------
    opener : Opener or None
        Checks the tags of frames, where they have any.

    Examples
    --------
    >>> from futures_cluster.messages import DropData
    >>> frame, _ = pack([DropData(["k"])])
    >>> parser = FrameParser()
    >>> [list(parser.feed(frame[i : i + 1])) for i in range(len(frame))][-1]
    [[DropData(keys=('k',))]]
    """

    def __init__(self, opener: Opener | None = None) -> None:
        self.arriving: ArrivingBuffers | None = None  # of a frame whose body has come
        self.received_bytes: int = 0
        self._opener = opener
        self._tag_bytes = 0 if opener is None else 16
        self._buffer = bytearray()  # from the beginning of the next frame on
        self._head_checked = self._table_checked = False  # of this frame

    def feed(self, data: bytes | memoryview) -> Iterable[list[Message]]:
        """Take bytes; iterate over the messages of each frame that they complete.

        Raises
        ------
        ProtocolError
            For a frame that is too long or not ours; the stream can no longer be used.
        AuthenticationError
            For a frame whose tags are wrong; likewise.
        """
        size = len(data)
        self.received_bytes += size
        if self.arriving is None and not self._buffer and self._opener is None and size >= _HEAD_BYTES:
            length, count = HEAD.unpack_from(data)
            if not count and _HEAD_BYTES + length == size and length <= MAX_BODY_BYTES:
                return (unpack(data[_HEAD_BYTES:]),)  # one whole frame, as is usual for a lone task
        return self._feed(data)

    def _feed(self, data: bytes | memoryview) -> Iterator[list[Message]]:
        buffer = self._buffer
        if self.arriving is None:
            buffer += data
        else:
            view = memoryview(data)
            buffer += view[self.arriving.take(view) :]
            if self.arriving.space is not None:
                return
            yield self._complete()
        start, tag = 0, self._tag_bytes
        try:
            while len(buffer) - start >= tag + _HEAD_BYTES:
                if tag and not self._head_checked:
                    self._check_head(start)
                length, count = HEAD.unpack_from(buffer, start + tag)
                if length > MAX_BODY_BYTES:
                    raise ProtocolError(f"a body of {length} bytes is over the limit of {MAX_BODY_BYTES}")
                body_at = start + tag + _HEAD_BYTES
                if count:
                    stop = self._begin_buffers(body_at, length, count)
                    if self.arriving is None:
                        break
                    with memoryview(buffer) as view, view[stop:] as rest:
                        start = stop + self.arriving.take(rest)
                    if self.arriving.space is not None:
                        break
                    yield self._complete()
                    continue
                stop = body_at + length
                if len(buffer) < stop + tag:
                    break
                with memoryview(buffer) as view, view[body_at:stop] as body:
                    if self._opener is not None:
                        self._head_checked = False
                        self._opener.update_body(body)
                        self._opener.check_end(buffer[stop : stop + tag])
                    messages = unpack(body)
                start = stop + tag
                yield messages
        finally:
            if start:
                del buffer[:start]

    def filled(self, count: int) -> Iterator[list[Message]]:
        """Note how many bytes were read into the space of ``arriving``; see ``feed``."""
        assert self.arriving is not None
        self.received_bytes += count
        self.arriving.advance(count)
        if self.arriving.space is None:
            yield self._complete()

    def _check_head(self, start: int) -> None:
        """Check the tag in front of a frame, before its lengths count."""
        assert self._opener is not None
        stop = start + self._tag_bytes
        self._opener.check_head(self._buffer[start:stop], self._buffer[stop : stop + _HEAD_BYTES])
        self._head_checked = True

    def _begin_buffers(self, table_at: int, length: int, count: int) -> int:
        """Take table and body of a frame with buffers; return where these begin.

        0 if one has not come yet.
        """
        if count > MAX_BUFFERS:
            raise ProtocolError(f"a frame with {count} buffers is over the limit of {MAX_BUFFERS}")
        table_stop = table_at + _LENGTH_BYTES * count
        body_at = table_stop + self._tag_bytes
        stop = body_at + length
        if len(self._buffer) < body_at:
            return 0
        if self._opener is not None and not self._table_checked:
            self._opener.check_table(self._buffer[table_at:table_stop], self._buffer[table_stop:body_at])
            self._table_checked = True
        if len(self._buffer) < stop:
            return 0
        lengths = struct.unpack_from(f"<{count}Q", self._buffer, table_at)
        if (total := length + sum(lengths)) > MAX_BYTES:
            raise ProtocolError(f"a frame of {total} bytes is over the limit of {MAX_BYTES}")
        with memoryview(self._buffer) as view, view[body_at:stop] as part:
            body = bytes(part)
        if self._opener is not None:
            self._head_checked = self._table_checked = False
            self._opener.update_body(body)
            lengths = (*lengths, self._tag_bytes)
        self.arriving = ArrivingBuffers(body, lengths, self._opener)
        return stop

    def _complete(self) -> list[Message]:
        """Return the messages of a frame whose buffers have come."""
        assert self.arriving is not None
        arrived, self.arriving = self.arriving, None
        if self._opener is not None:
            self._opener.check_end(arrived.whole.pop().memory)
        return unpack(arrived.body, arrived.whole)
