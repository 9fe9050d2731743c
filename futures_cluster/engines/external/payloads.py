"""What travels between our executor and the workers of another engine.

Covers: calls, results and errors as objects that the other engine can move without looking into them. Does not cover:
moving them (``external.client`` and the engines), executing calls (``task_runner``).

::

    client                            their scheduler, their workers                              client
    Call(function, Envelope(args)) -> run_call -> InlineResult or StoredResult -> Envelope -> Future.result()
                                               -> TaskFailed(FailedEnvelope)   ->             Future.exception()

A user's class is never unpickled by the other engine: a task or a client opens the envelope, and an exception
there is the error of that task or future. Large buffers are out of band, as pickle 5 has it, so that the other engine
can move them without copies. A ``StoredResult`` is the object itself, as long as it stays in the process that made it.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

from futures_cluster.messages import Key, Payload
from futures_cluster.wire.codec import exceptions, payloads, pickle_codec, pickling
from futures_cluster.wire.codec.buffers import Buffer, copy_of


class Envelope:
    """A payload of ``wire.codec.payloads`` without shared memory: a pickle and perhaps large buffers."""

    __slots__ = ("payload",)

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self.payload) is bytes:
            return type(self), (self.payload,)
        data, (_, parts) = self.payload
        if protocol < 5:  # the engine cannot take buffers beside the pickle, as Dask's scheduler
            views = [part.view for part in parts]
            return _arrived, (type(self), data, [bytes(v) if v.readonly else bytearray(v) for v in views])
        return _arrived, (type(self), data, [pickle.PickleBuffer(part.view) for part in parts])

    def open(self) -> Any:
        """Return the object. Raises whatever unpickling raises."""
        return payloads.load(self.payload)


def _arrived(cls: type[Envelope], data: bytes | None, parts: list[Any]) -> Envelope:
    """Return an envelope whose buffers have come: in its own or read-only memory."""
    return cls((data, ("raw", [Buffer(part, arrived=True) for part in parts])))


class InlineResult(Envelope):
    """A small result; clients see by the type that they can get it together with others."""

    __slots__ = ()


class ScatteredEnvelope(Envelope):
    """Scattered data, of which each task that opens it gets an object of its own."""

    __slots__ = ()

    def open(self) -> Any:
        """Return a new object, with copies of all that can be written to."""
        data, buffers = payloads.parts_in_memory(self.payload)  # type: ignore[misc]  # never in shared memory
        return pickling.loads(data, [view if view.readonly else copy_of(view) for view in buffers])


class FailedEnvelope(Envelope):
    """Stands for a result that could not be packed when it was to leave; opening it raises the error."""

    __slots__ = ()

    def open(self) -> Any:
        """Raise the error."""
        raise exceptions.load_error(self.payload)


class StoredResult:
    """A result that stays where it was made until it is fetched; there it is the object itself."""

    __slots__ = ("size_bytes", "value")

    def __init__(self, value: Any, size_bytes: int) -> None:
        self.value = value
        self.size_bytes = size_bytes

    def __reduce_ex__(self, protocol: Any) -> Any:
        try:
            parcel = Envelope(payloads.dump(self.value, copy=False))
        except Exception as error:
            parcel = FailedEnvelope(exceptions.dump_error(error))
        return parcel.__reduce_ex__(protocol)

    def __sizeof__(self) -> int:
        return self.size_bytes

    def open(self) -> Any:
        """Return the object."""
        return self.value


class CallFailed(Exception):
    """What a task raises in the other engine when it failed in ours.

    Its text is for that engine's logs and dashboards, and short, as engines cut long ones.
    """

    def __init__(self, payload: bytes, text: str) -> None:
        super().__init__(payload, text)
        self.payload = payload

    def __str__(self) -> str:
        return str(self.args[1])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.args[1]!r})"


@dataclass(slots=True, eq=False, repr=False)
class RemoteCall:
    """A call, as a worker of another engine gets it.

    Attributes
    ----------
    client : str
        The client that submitted it, which gets news of it.
    key : str
        Of the task.
    function : tuple of (str, bytes)
        An id, by which a worker knows it again, and its pickle.
    arguments : Envelope
        With marks in the place of the inputs, which come beside it.
    inputs : list of str
        The inputs' keys.
    carried : dict
        What the other engine calls the futures that stay futures, by their keys.
    depth, priority : int
        For the tasks that it submits.
    timeout_s : float or None
        How long it may run.
    """

    client: str
    key: Key
    function: tuple[str, bytes]
    arguments: Envelope
    inputs: list[Key]
    carried: dict[Key, Any]
    depth: int
    priority: int
    timeout_s: float | None

    def __reduce__(self) -> Any:
        return RemoteCall, tuple(getattr(self, name) for name in self.__slots__)


class ParcelCodec(pickle_codec.PickleCodec):
    """The codec of clients and workers: payloads go out as parcels, and what comes back is opened."""

    def __init__(self, scope: pickling.Scope = pickling.HERE) -> None:
        super().__init__(None, scope)

    def load(self, payload: Payload) -> Any:
        """Return the object of a result."""
        return payload.open() if isinstance(payload, (Envelope, StoredResult)) else payloads.load(payload)

    def result(self, value: Any) -> InlineResult | StoredResult:
        """Return what a task returns; raise what pickling raises, where it may fail."""
        payload, size = self.dump_result(value, keep=False)
        stays = payload is None or size > pickle_codec.INLINE_BYTES
        return StoredResult(value, size) if stays else InlineResult(payload)
