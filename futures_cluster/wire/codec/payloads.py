"""Payloads: one object, packed for other processes, with its large buffers apart.

Covers: packing and unpacking; mapping shared memory, or doing without; sizes; the mark of scattered data. Does not
cover: the pickle itself (``pickling``), futures in arguments, functions and errors (``pickle_codec``), how payloads
travel (``frames``, ``sockets``), where large buffers lie (``shm``).

A payload is ``bytes``, a pickle; or ``(pickle or None, buffers)`` when there are large buffers, which pickle 5
hands out of band so that they are copied once, from where they lie into shared memory. ``buffers`` is one of

- ``("shm", ...)``: a reference to a segment;
- ``("views", [...])``, in the reader's process: of a segment that is mapped already (``attach``);
- ``("segment", OpenSegment)``, in the reader's process: of one that is mapped by each ``load``;
- ``("raw", [Buffer, ...])``: they travel beside the message;
- ``("packed", [Buffer, ...], codec, [size or 0, ...])``: the same, those with a size being compressed.

With None, the pickle itself is the first buffer.

A third member makes the payload one of scattered data: ``PRIVATE``, every task that takes it gets an object of its own
(``originals``). ``KEPT`` says besides that its client keeps the segment as long as it has the future.
"""

from __future__ import annotations

import pickle
from typing import Any

from futures_cluster.messages import Payload
from futures_cluster.wire.codec import buffers, compress, pickling, shm
from futures_cluster.wire.codec.buffers import Buffer, copy_of
from futures_cluster.wire.codec.pickling import HERE, MARK, Reducers, Scope, dumps_apart, hand_over, loads

#: Payloads from this size on go through shared memory.
SHARED_BYTES = 256 * 1024
#: No payload has more buffers of its own than this without shared memory; a frame may hold some such payloads.
MAX_BUFFERS = buffers.MAX_BUFFERS // 4


#: The third member of payloads of scattered data.
PRIVATE, KEPT = "private", "kept"

NONE = pickle.dumps(None, pickling.PROTOCOL)


def dump(
    obj: Any,
    pool: shm.SegmentPool | None = None,
    copy: bool = True,
    codec: str | None = None,
    scope: Scope = HERE,
    reducers: Reducers | None = None,
) -> Payload:
    """Return a payload of an object; with a pool, by shared memory if large.

    Parameters
    ----------
    copy : bool
        Whether large buffers that travel beside the message are copied. Without a copy the object must not be changed
        until they are sent.
    codec : str or None
        For a peer on another host: large buffers are compressed by this, where it pays (``compress``).
    scope : Scope
        Of the processes that load it (``pickling.dumps``).
    reducers : mapping or None
        How objects of some types pickle (``pickling.dumps_apart``).

    Raises
    ------
    Exception
        Whatever pickling the object raises.
    """
    if obj is None:
        return NONE
    data, large = dumps_apart(hand_over(obj), scope, reducers)
    return pack([data, *large], pool, copy, codec)


def pack(parts: list[Any], pool: shm.SegmentPool | None, copy: bool = False, codec: str | None = None) -> Payload:
    """Return a payload of a pickle and its large buffers; see ``dump``."""
    if len(parts) == 1 and len(parts[0]) < SHARED_BYTES:
        return bytes(parts[0])
    return pack_large(parts, pool, copy, codec)


def dumps_large(obj: Any, scope: Scope = HERE) -> list[Any]:
    """Return an object's pickle and large buffers, which stay the object's.

    Raises
    ------
    Exception
        Whatever pickling the object raises.
    """
    data, buffers = dumps_apart(hand_over(obj), scope)
    return [data, *buffers]


def pack_large(
    pickled: list[Any], pool: shm.SegmentPool | None, copy: bool = False, codec: str | None = None
) -> Payload:
    """Return a payload of ``dumps_large``; for the other arguments see ``dump``."""
    data, *large = pickled
    total = len(data) + sum([buffer.nbytes for buffer in large])
    if pool is not None and total >= SHARED_BYTES:
        try:
            return (None, pool.write([data, *large]))
        except OSError:
            pass  # no descriptor or no memory for a segment: through the socket then
    if len(large) >= MAX_BUFFERS:
        from futures_cluster.errors import NotSendable  # here: ``import futures_cluster`` does not need it

        raise NotSendable(f"{len(large):,} large buffers cannot travel without shared memory; put them together")
    in_band = len(data) < pickling.OUT_OF_BAND_BYTES
    beside: list[Buffer] = []
    sizes: list[int] = []  # of the parts that are compressed, else 0
    for part in large if in_band else [memoryview(data), *large]:
        small: Any = None if codec is None else compress.compress(part, codec)
        sizes.append(0 if small is None else part.nbytes)
        if small is None:
            small = copy_of(part) if copy and part.obj is not data else part
        beside.append(Buffer(small))
    head = data if in_band else None
    return (head, ("packed", beside, codec, sizes) if any(sizes) else ("raw", beside))


def load(payload: Payload) -> Any:
    """Return the object of a payload; buffers beside a message are not copied.

    Raises
    ------
    Exception
        Whatever unpickling raises; ``OSError`` when a shared segment is gone with its writer.
    """
    if type(payload) is bytes:
        return pickle.loads(payload) if payload[:4] != MARK else loads(payload)
    data, (kind, *_) = payload[0], payload[1]
    if kind == "shm":
        views: list[Any] = list(shm.open_segment(payload[1]))
    elif kind == "segment":
        views = list(payload[1][1].map())
    elif kind == "views":
        views = list(payload[1][1])
    elif kind == "packed":
        views = _unpacked(payload[1])
    else:
        views = [buffer.view if buffer.arrived else bytearray(buffer.view) for buffer in payload[1][1]]
    if data is None:
        data = views.pop(0)
    return loads(data, views)


def _unpacked(buffers: Any) -> list[memoryview]:
    _, parts, codec, sizes = buffers
    return [
        compress.decompress(part.view, codec, size) if size else part.view if part.arrived else copy_of(part.view)
        for part, size in zip(parts, sizes, strict=True)
    ]


def parts_in_memory(payload: Payload, mapped: bool = False) -> tuple[Any, list[memoryview]] | None:
    """Return pickle and large buffers of a payload in private memory, or None.

    With ``mapped``, also those of a segment that is mapped.
    """
    if type(payload) is bytes:
        return payload, []
    if payload[1][0] == "packed":
        views = _unpacked(payload[1])
    elif payload[1][0] == "raw":
        views = [buffer.view for buffer in payload[1][1]]
    elif payload[1][0] == "views" and mapped:
        views = list(payload[1][1])
    else:
        return None
    return (views[0], views[1:]) if payload[0] is None else (payload[0], views)


def attach(payload: Payload) -> Payload:
    """Map the segment behind a payload, so that its writer may release it.

    A segment of scattered data is only opened: each process that loads the data maps it again.

    Raises
    ------
    OSError
        When the writer is gone.
    """
    if segment_of(payload) is None:
        return payload
    if is_private(payload):
        segment = shm.OpenSegment.find(payload[1])
        if segment.has_room:
            return (payload[0], ("segment", segment), payload[2])
        return (payload[0], ("raw", [Buffer(copy, arrived=True) for copy in segment.map()]), PRIVATE)
    return (payload[0], ("views", shm.open_segment(payload[1])))


def beside(payload: Payload) -> Payload:
    """Return the payload without shared memory, which then travels along.

    Raises
    ------
    OSError
        When the writer is gone, or its segment cannot be opened.
    """
    payload = attach(payload)
    if type(payload) is bytes or payload[1][0] not in ("views", "segment"):
        return payload
    views = payload[1][1] if payload[1][0] == "views" else payload[1][1].map()
    return (payload[0], ("raw", [Buffer(view) for view in views]), *payload[2:])


def payload_size(payload: Payload) -> int:
    """Return bytes of a payload, whatever carries them."""
    if type(payload) is bytes:
        return len(payload)
    if payload[1][0] == "shm":
        return sum(length for _, length in payload[1][4])
    if payload[1][0] == "segment":
        return int(payload[1][1].nbytes)
    return len(payload[0] or b"") + sum(len(buffer) for buffer in payload[1][1])


def segment_of(payload: Payload) -> tuple[int, int] | None:
    """Return (pid, serial number) of the shared segment behind a payload, or None."""
    if type(payload) is tuple and payload[1][0] == "shm":
        return int(payload[1][1]), int(payload[1][5])
    return None


def release(payload: Payload, pool: shm.SegmentPool | None) -> None:
    """Release a payload that no reader will open any longer; on the writer's side."""
    segment = segment_of(payload)
    if segment is not None and pool is not None:
        pool.release(segment[1])


# ---------------------------------------------------------------- scattered data


def as_private(payload: Payload, mark: str = PRIVATE) -> Payload:
    """Return the payload of a value as one of scattered data."""
    return (payload, ("raw", []), mark) if type(payload) is bytes else (*payload[:2], mark)


def is_private(payload: Payload) -> bool:
    """Return whether a payload is one of scattered data."""
    return type(payload) is tuple and len(payload) == 3
