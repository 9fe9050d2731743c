"""From calls and results to payloads and back, between different processes.

Covers: arguments (with futures in them), scattered data, results, functions and errors.
Does not cover: how one object becomes a payload (``payloads``), or how payloads travel (``frames``, ``sockets``).

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
from futures_cluster.wire.codec import arguments, exceptions, payloads, pickling, shm
from futures_cluster.wire.codec.pickling import HERE, PROTOCOL, Scope, hand_over
from futures_cluster.wire.codec.sizeof import flat_size, sizeof

#: Results up to this size travel with the message that says the task is finished; larger ones stay.
INLINE_BYTES = 32 * 1024
#: By this attribute a class promises that no task changes its instances. The tasks of a worker share one then, and save
#: the page faults of a mapping of their own, which take as long as a pass over a large array.
_UNCHANGED = "_unchanged_by_tasks"
_PLAIN_TYPES = frozenset((int, float, bool, complex, str, type(None)))
#: Scattered objects of these types are shared, as no task can change them.
_UNCHANGING_TYPES = _PLAIN_TYPES | {bytes}


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


# ---------------------------------------------------------------- scattered data


def can_change(value: Any) -> bool:
    """Return whether tasks must not share this object when each may change it."""
    cls = type(value)
    return cls not in _UNCHANGING_TYPES and not getattr(cls, _UNCHANGED, False)


# ---------------------------------------------------------------- the codec


class PickleCodec:
    """What a client and its workers agree on when they are different processes. See ``object_codec.ObjectCodec``."""

    def __init__(self, pool: shm.SegmentPool | None, scope: Scope = HERE) -> None:
        self.pool = pool
        self.scope = scope  # of the other processes

    def dump_function(self, fn: Callable[..., Any]) -> tuple[bytes, list[pickling.Watched] | None]:
        """See ``pickling.dump_function``; never in shared memory, which ends sooner."""
        outer, _local.collector = _local.collector, None  # of arguments that submit while they are pickled
        try:
            return pickling.dump_function(fn, self.scope)
        finally:
            _local.collector = outer

    load_function = staticmethod(pickling.loads)

    def dump_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], resolve: bool
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
            if len(data) < payloads.SHARED_BYTES:
                return data, [], []
        found = _find_outside(args, kwargs) if resolve else arguments.Found()
        if found is not None:
            collector = InputCollector(stops=resolve)
            try:
                payload = self._dump_with_inputs(args, kwargs, found, collector)
                if not resolve or not collector.found:
                    return payload, list(found.keys), [*found.references.values(), *collector.found.values()]
                payloads.release(payload, self.pool)  # a caller has swallowed what should have stopped it
            except _Nested:
                pass
        found = arguments.find(args, kwargs)
        collector = InputCollector(stops=False)
        payload = self._dump_with_inputs(args, kwargs, found, collector)
        found.references.update(collector.found)
        return payload, list(found.keys), list(found.references.values())

    def _dump_with_inputs(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], found: arguments.Found, collector: InputCollector
    ) -> Payload:
        """Pickle a call with inputs in the place of futures."""
        if found.keys:
            marks = {key: _Input(index) for key, index in found.keys.items()}
            args, kwargs = arguments.replace(args, kwargs, found.inside, lambda future: marks[future.key])
        args = tuple([hand_over(arg) for arg in args])
        if not kwargs:
            return self._dump(args, collector)
        return self._dump([args, {name: hand_over(value) for name, value in kwargs.items()}], collector)

    def _dump(self, obj: Any, collector: InputCollector) -> Payload:
        """Pickle an object; the collector gets the futures that the pickler meets."""
        outer = _local.collector  # not None when an argument submits tasks while it is pickled
        _local.collector = collector
        try:
            return payloads.dump(obj, self.pool, scope=self.scope)
        finally:
            _local.collector = outer

    def dump_scattered(self, args: tuple[Any, ...]) -> tuple[Payload, list[str], list[Reference]]:
        """Dump as ``dump_call`` does a call whose one argument is scattered data."""
        (value,) = args
        if not can_change(value):
            return self.dump_call(args, {}, False)
        collector = InputCollector(stops=False)
        return payloads.as_private(self._dump(value, collector)), [], list(collector.found.values())

    def dump_task(self, args: tuple[Any, ...], inputs: Sequence[str], collector: InputCollector) -> Payload:
        """Return a payload of a call with values of inputs; finds further futures."""
        return self._dump((*args, *[_Input(index) for index in range(len(inputs))]), collector)

    def load_call(self, payload: Payload, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the inverse of ``dump_call``, with values for the keys."""
        if not inputs:  # then the payload asks for none
            obj = payloads.load(payload)
        else:
            outer = _local.inputs
            _local.inputs = inputs
            try:
                obj = payloads.load(payload)
            finally:
                _local.inputs = outer
        if type(payload) is not bytes and payloads.is_private(payload):
            return (obj,), {}
        if type(obj) is list:
            return obj[0], obj[1]
        return obj, {}

    call_size = staticmethod(payloads.payload_size)

    def dump_result(self, value: Any, keep: bool) -> tuple[Payload | None, int]:
        """Return a payload of a result, or None if not pickled yet; and its size.

        Large results of types that are known to pickle are pickled when they leave the worker; all others at once, so
        that one that does not pickle fails its task. One with large buffers is pickled again when it leaves, as its
        pickle is cheap and would keep the buffers as they are now.
        """
        if keep:
            return None, sizeof(value)
        if value is None:
            return payloads.NONE, 1
        size = flat_size(value)
        if size is not None and size > INLINE_BYTES:
            return None, size
        if type(value) in _PLAIN_TYPES:
            data = pickle.dumps(value, PROTOCOL)
            return data, len(data)
        data, buffers = pickling.dumps_apart(value)
        return None if buffers else data, len(data) + sum([buffer.nbytes for buffer in buffers])

    dump_error = staticmethod(exceptions.dump_error)
    load = staticmethod(payloads.load)
    load_error = staticmethod(exceptions.load_error)

    def release(self, payload: Payload) -> None:
        """See ``payloads.release``."""
        payloads.release(payload, self.pool)
