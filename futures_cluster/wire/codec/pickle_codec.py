"""From objects to payloads and back.

Covers: arguments (with futures in them), results, functions and errors.
Does not cover: how payloads travel (``frames``, ``sockets``), or where large buffers lie (``shm``).

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

Futures among the arguments become inputs: they are replaced by ``input_value(i)``, which the unpickler calls. Most
calls have none, and some have one as an argument of its own; looking for them deeper, in a list of a million numbers,
would take longer than pickling it. So the pickler looks: when it meets a future, it stops, the futures in containers
are replaced, and it starts again. Those it meets then are attributes of objects, and stay futures.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster.messages import Payload, Reference
from futures_cluster.wire.codec import arguments, buffers, compress, exceptions, shm
from futures_cluster.wire.codec.buffers import Buffer, copy_of
from futures_cluster.wire.codec.pickling import (
    HERE,
    MARK,
    OUT_OF_BAND_BYTES,
    PROTOCOL,
    Reducers,
    Scope,
    Watched,
    dump_function,
    dumps_apart,
    hand_over,
    loads,
)
from futures_cluster.wire.codec.sizeof import flat_size, sizeof

__all__ = ["OUT_OF_BAND_BYTES", "PROTOCOL", "PickleCodec", "dump", "dump_arguments", "load", "load_arguments"]

#: Payloads from this size on go through shared memory.
SHARED_BYTES = 256 * 1024
#: Results up to this size travel with the message that says the task is finished; larger ones stay.
INLINE_BYTES = 32 * 1024
#: No payload has more buffers of its own than this without shared memory; a frame may hold some such payloads.
MAX_BUFFERS = buffers.MAX_BUFFERS // 4

#: The third member of payloads of scattered data.
PRIVATE, KEPT = "private", "kept"

#: By this attribute a class promises that no task changes its instances. The tasks of a worker share one then, and save
#: the page faults of a mapping of their own, which take as long as a pass over a large array.
_UNCHANGED = "_unchanged_by_tasks"
_PLAIN_TYPES = frozenset((int, float, bool, complex, str, type(None)))
#: Scattered objects of these types are shared, as no task can change them.
_UNCHANGING_TYPES = _PLAIN_TYPES | {bytes}
_NONE = pickle.dumps(None, PROTOCOL)


class _Local(threading.local):
    inputs: Sequence[Any] = ()
    collector: InputCollector | None = None


_local = _Local()


# ---------------------------------------------------------------- futures among the arguments


class _Nested(BaseException):
    """A future was met inside of an object; not an ``Exception``, so that no ``__reduce__`` catches it."""


class InputCollector:
    """Gathers the futures that are met while arguments are pickled.

    ``stops``: the first one ends the pickling, as it may have to be replaced; later on they stay what they are.
    """

    def __init__(self, stops: bool) -> None:
        self.found: dict[int, Reference] = {}
        self.stops = stops

    def reduce(self, reference: Reference) -> tuple[Any, ...] | None:
        """Return what a future pickles as; None if it stays a future."""
        self.found[id(reference)] = reference
        if self.stops:
            raise _Nested
        return None


class _Input:
    """Stands in the pickled arguments for a future: its value comes there."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __reduce__(self) -> tuple[Any, ...]:
        return input_value, (self.index,)


def current_collector() -> InputCollector | None:
    """Return the collector of the pickling that is under way in this thread."""
    return _local.collector


def input_value(index: int) -> Any:
    """Return the value of an input; unpicklers call it."""
    return _local.inputs[index]


def dump_arguments(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    pool: shm.SegmentPool | None,
    resolve: bool = True,
    scope: Scope = HERE,
) -> tuple[Payload, list[str], list[Reference]]:
    """Pickle the arguments of a call.

    Returns
    -------
    payload : Payload
        Of ``args``, or of the list ``[args, kwargs]`` if there are keywords.
    inputs : list of str
        Keys of the futures that are replaced by their values.
    references : list of Reference
        All futures that were met, so that the caller can keep them alive.
    """
    for arg in (*args, *kwargs.values()) if kwargs else args:
        if type(arg) not in _PLAIN_TYPES:
            break
    else:  # the usual small call: nothing that could be, hold or need anything special
        data = pickle.dumps([args, kwargs] if kwargs else args, PROTOCOL)
        if len(data) < SHARED_BYTES:
            return data, [], []
    found = _find_outside(args, kwargs) if resolve else arguments.Found()
    if found is not None:
        collector = InputCollector(stops=resolve)
        try:
            payload = _dump_call(args, kwargs, found, pool, scope, collector)
            if not collector.found:
                return payload, list(found.keys), list(found.references.values())
            if not resolve:
                return payload, [], list(collector.found.values())
            release(payload, pool)  # a caller has swallowed what should have stopped it
        except _Nested:
            pass
    found = arguments.find(args, kwargs)
    collector = InputCollector(stops=False)
    payload = _dump_call(args, kwargs, found, pool, scope, collector)
    found.references.update(collector.found)
    return payload, list(found.keys), list(found.references.values())


def _find_outside(args: tuple[Any, ...], kwargs: dict[str, Any]) -> arguments.Found | None:
    """Return the futures that are arguments of their own.

    None if others are known to be in containers.
    """
    found = arguments.Found()
    for arg in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(arg, Reference):
            found.add(arg)
        elif arguments.begins_with_future(arg):
            return None
    return found


def _dump_call(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    found: arguments.Found,
    pool: shm.SegmentPool | None,
    scope: Scope,
    collector: InputCollector,
) -> Payload:
    """Pickle a call with inputs in the place of futures.

    The collector gets those that the pickler meets.
    """
    outer = _local.collector  # not None when an argument submits tasks while it is pickled
    _local.collector = collector
    try:
        if found.keys:
            marks = {key: _Input(index) for key, index in found.keys.items()}
            args, kwargs = arguments.replace(args, kwargs, found.inside, lambda future: marks[future.key])
        args = tuple([hand_over(arg) for arg in args])
        if not kwargs:
            return dump(args, pool, scope=scope)
        return dump([args, {name: hand_over(value) for name, value in kwargs.items()}], pool, scope=scope)
    finally:
        _local.collector = outer


def load_arguments(payload: Payload, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the inverse of ``dump_arguments``, with values for the keys."""
    if not inputs:  # then the payload asks for none
        obj = load(payload)
    else:
        outer = _local.inputs
        _local.inputs = inputs
        try:
            obj = load(payload)
        finally:
            _local.inputs = outer
    if type(payload) is not bytes and is_private(payload):
        return (obj,), {}
    if type(obj) is list:
        return obj[0], obj[1]
    return obj, {}


# ---------------------------------------------------------------- scattered data


def as_private(payload: Payload, mark: str = PRIVATE) -> Payload:
    """Return the payload of a value as one of scattered data."""
    return (payload, ("raw", []), mark) if type(payload) is bytes else (*payload[:2], mark)


def is_private(payload: Payload) -> bool:
    """Return whether a payload is one of scattered data."""
    return type(payload) is tuple and len(payload) == 3


def can_change(value: Any) -> bool:
    """Return whether tasks must not share this object when each may change it."""
    cls = type(value)
    return cls not in _UNCHANGING_TYPES and not getattr(cls, _UNCHANGED, False)


# ---------------------------------------------------------------- objects


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
        return _NONE
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
    in_band = len(data) < OUT_OF_BAND_BYTES
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


def parts_in_memory(payload: Payload) -> tuple[Any, list[memoryview]] | None:
    """Return pickle and large buffers of a payload in private memory, or None."""
    if type(payload) is bytes:
        return payload, []
    if payload[1][0] == "packed":
        views = _unpacked(payload[1])
    elif payload[1][0] == "raw":
        views = [buffer.view for buffer in payload[1][1]]
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


# ---------------------------------------------------------------- all of it


class PickleCodec:
    """What a client and its workers agree on when they are different processes. See ``object_codec.ObjectCodec``."""

    pickles_functions = True  # once, named by their content

    def __init__(self, pool: shm.SegmentPool | None, scope: Scope = HERE) -> None:
        self.pool = pool
        self.scope = scope  # of the other processes

    def dump_function(self, fn: Callable[..., Any]) -> tuple[bytes, list[Watched] | None]:
        """See ``pickling.dump_function``; never in shared memory, which ends sooner."""
        outer, _local.collector = _local.collector, None  # of arguments that submit while they are pickled
        try:
            return dump_function(fn, self.scope)
        finally:
            _local.collector = outer

    def load_function(self, payload: Payload) -> Callable[..., Any]:
        """Return the function of ``dump_function``."""
        fn: Callable[..., Any] = loads(payload)
        return fn

    def dump_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], resolve: bool
    ) -> tuple[Payload, list[str], list[Reference]]:
        """See ``dump_arguments``."""
        return dump_arguments(args, kwargs, self.pool, resolve, self.scope)

    def dump_scattered(self, args: tuple[Any, ...]) -> tuple[Payload, list[str], list[Reference]]:
        """Dump as ``dump_call`` does a call whose one argument is scattered data."""
        (value,) = args
        if not can_change(value):
            return self.dump_call(args, {}, False)
        outer = _local.collector
        collector = _local.collector = InputCollector(stops=False)
        try:
            payload = as_private(dump(value, self.pool, scope=self.scope))
        finally:
            _local.collector = outer
        return payload, [], list(collector.found.values())

    def dump_task(self, args: tuple[Any, ...], inputs: Sequence[str], collector: InputCollector) -> Payload:
        """Return a payload of a call with values of inputs; finds further futures."""
        outer, _local.collector = _local.collector, collector
        try:
            arguments = (*args, *[_Input(index) for index in range(len(inputs))])
            return dump(arguments, self.pool, scope=self.scope)
        finally:
            _local.collector = outer

    def load_call(self, payload: Payload, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """See ``load_arguments``."""
        return load_arguments(payload, inputs)

    def call_size(self, payload: Payload) -> int:
        """Return bytes of the payload of ``dump_call``."""
        return payload_size(payload)

    def dump_result(self, value: Any, keep: bool) -> tuple[Payload | None, int]:
        """Return a payload of a result, or None if not pickled yet; and its size.

        Large results of types that are known to pickle are pickled when they leave the worker; all others at once, so
        that one that does not pickle fails its task. One with large buffers is pickled again when it leaves, as its
        pickle is cheap and would keep the buffers as they are now.
        """
        if keep:
            return None, sizeof(value)
        if value is None:
            return _NONE, 1
        size = flat_size(value)
        if size is not None and size > INLINE_BYTES:
            return None, size
        if type(value) in _PLAIN_TYPES:
            data = pickle.dumps(value, PROTOCOL)
            return data, len(data)
        data, buffers = dumps_apart(value)
        return None if buffers else data, len(data) + sum([buffer.nbytes for buffer in buffers])

    def dump_error(self, error: BaseException) -> Payload:
        """See ``exceptions.dump_error``."""
        return exceptions.dump_error(error)

    load = staticmethod(load)

    def load_error(self, payload: Payload) -> BaseException:
        """See ``exceptions.load_error``."""
        return exceptions.load_error(payload)

    def release(self, payload: Payload) -> None:
        """See ``release``."""
        release(payload, self.pool)
