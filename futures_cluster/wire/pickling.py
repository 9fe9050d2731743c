"""Pickles, by the plain pickler or by cloudpickle.

Covers: which of the two, and large buffers out of band. What was writable is so when it arrives, and what was read-only
stays so, as pickle 5 has it. Does not cover: where buffers go (``serialize``).

The plain pickler is tried first, as it is ten times faster; cloudpickle takes over for what it cannot do: lambdas,
closures, local classes, and everything of ``__main__``, which is another module in the other process.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

PROTOCOL = 5
#: Buffers from this size on travel out of band.
OUT_OF_BAND_BYTES = 64 * 1024


def _pickles_by_value() -> bool:
    module = sys.modules.get("cloudpickle.cloudpickle")
    return bool(module is not None and module._PICKLE_BY_VALUE_MODULES)


def dumps(obj: Any) -> bytes:
    """A pickle with everything in it.

    Raises
    ------
    Exception
        Whatever pickling the object raises.
    """
    try:
        data = pickle.dumps(obj, PROTOCOL)
        if b"__main__" not in data and not _pickles_by_value():
            return data
    except Exception:
        pass  # cloudpickle can do more; if it cannot either, its error is the one to show
    import cloudpickle

    result: bytes = cloudpickle.dumps(obj, PROTOCOL)
    return result


class _Apart:
    """A buffer callback that keeps the large buffers out of the pickle."""

    __slots__ = ("buffers",)

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND_BYTES:
            return True
        self.buffers.append(raw)
        return False


def dumps_apart(obj: Any) -> tuple[bytes, list[memoryview]]:
    """A pickle, and the buffers that are not in it.

    Raises
    ------
    Exception
        Whatever pickling the object raises.
    """
    apart = _Apart()
    try:
        data = pickle.dumps(obj, PROTOCOL, buffer_callback=apart)
        if b"__main__" not in data and not _pickles_by_value():
            return data, apart.buffers
    except Exception:
        pass
    import cloudpickle

    apart = _Apart()
    data = cloudpickle.dumps(obj, PROTOCOL, buffer_callback=apart)
    return data, apart.buffers


class HandedOver:
    """Large bytes, which the pickler would copy into its stream, as an out-of-band buffer."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (pickle.PickleBuffer(self.data),)


def hand_over(obj: Any) -> Any:
    """The object, or what stands for it if it is large bytes."""
    return HandedOver(obj) if type(obj) is bytes and len(obj) >= OUT_OF_BAND_BYTES else obj
