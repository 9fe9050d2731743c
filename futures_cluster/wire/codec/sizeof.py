"""How many bytes an object takes, estimated in constant time.

Covers: a guess that is right for flat data (arrays, frames, bytes) and of the right order for the rest.
Does not cover: exact sizes. Nothing here walks through an object: a list is judged by a few of its items, an
object column of a frame by its length and a pessimistic guess for each value.

Needs neither numpy nor pandas: types are recognised by the module and name of their class.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from math import prod
from typing import Any

from futures_cluster.numbers import MAX_BYTES

#: Bytes assumed for each Python object in an array or column of objects: looking at all takes too long.
OBJECT_BYTES = 100
#: Number of items of a container, or attributes of an object, that are looked at.
SAMPLES = 8
#: Number of columns of a frame that are looked at.
MAX_COLUMNS = 1000
#: Bytes of an array or a column beside its data.
_HEADER = 100


def _array(x: Any) -> int:
    """Return the bytes of an array in memory, without repeats by strides of zero."""
    length = prod(n for n, stride in zip(x.shape, x.strides, strict=True) if stride) if 0 in x.strides else x.size
    return _HEADER + int(length if x.size else 0) * (OBJECT_BYTES if x.dtype.hasobject else int(x.itemsize))


def _of_objects(dtype: Any) -> bool:
    """Return whether a column consists of Python objects, and not of texts."""
    return getattr(dtype, "hasobject", False) or getattr(dtype, "storage", "") == "python"


def _column(dtype: Any, values: Any, length: int) -> int:
    return _HEADER + (length * OBJECT_BYTES if _of_objects(dtype) else int(values.nbytes))


def _series(x: Any) -> int:
    return _column(x.dtype, x.array, len(x)) + _index(x.index)


def _index(x: Any) -> int:
    if type(x).__name__ == "RangeIndex":
        return 200
    if type(x).__name__ == "MultiIndex":
        return int(sum(code.nbytes for code in x.codes)) + sum(_index(level) for level in x.levels)
    return _column(x.dtype, x.array, len(x))


def _frame(x: Any) -> int:
    rows, count = x.shape
    dtypes = x.dtypes.array
    step = max(1, -(-count // MAX_COLUMNS))
    total = looked_at = 0
    for number in range(0, count, step):
        dtype = dtypes[number]
        itemsize = getattr(dtype, "itemsize", None)
        looked_at += 1
        if _of_objects(dtype):
            total += rows * OBJECT_BYTES
        elif isinstance(itemsize, int):
            total += rows * itemsize
        else:
            total += int(x.iloc[:, number].array.nbytes)
    return _HEADER + _index(x.index) + (total * count // looked_at if looked_at else 0)


def _sparse(x: Any) -> int:
    parts = ("data", "indices", "indptr", "row", "col")
    return _HEADER + sum(int(getattr(x, part).nbytes) for part in parts if hasattr(x, part))


#: (module's first part, class name) -> estimate; these are also known to pickle.
_FLAT: dict[tuple[str, str], Callable[[Any], int]] = {
    ("numpy", "ndarray"): _array,
    ("pandas", "DataFrame"): _frame,
    ("pandas", "Series"): _series,
    ("pandas", "Index"): _index,
    **{("scipy", name): _sparse for name in ("csr_matrix", "csr_array", "csc_matrix", "csc_array")},
    **{("scipy", name): _sparse for name in ("coo_matrix", "coo_array")},
    ("pyarrow", "Table"): lambda x: int(x.nbytes),
    **{("builtins", name): sys.getsizeof for name in ("bytes", "bytearray", "str")},
}
#: Looked for among the bases of a class, too; what derives from them may hold things that do not pickle.
_BASES: dict[tuple[str, str], Callable[[Any], int]] = {
    **{key: estimate for key, estimate in _FLAT.items() if key[0] in ("numpy", "pandas", "scipy")},
    ("pandas", "ExtensionArray"): lambda x: _column(x.dtype, x, len(x)),
    ("torch", "Tensor"): lambda x: _HEADER + int(x.nbytes),
    ("pyarrow", "RecordBatch"): lambda x: int(x.nbytes),
    ("pyarrow", "Array"): lambda x: int(x.nbytes),
    ("pyarrow", "ChunkedArray"): lambda x: int(x.nbytes),
}


@functools.cache
def _estimator(cls: type) -> Callable[[Any], int] | None:
    of_bases = (_BASES.get(_name(base)) for base in cls.__mro__)
    return _FLAT.get(_name(cls)) or next(filter(None, of_bases), None)


def _name(cls: type) -> tuple[str, str]:
    return str(cls.__module__).partition(".")[0], cls.__name__


def flat_size(obj: object) -> int | None:
    """Return the pickled bytes of flat data of known types, or None.

    Arrays of objects are not flat: what is in them may not pickle. Of an array that repeats its data by strides of
    zero, the pickle holds all.

    Examples
    --------
    >>> flat_size(b"x" * 1000) > 1000
    True
    >>> flat_size([1, 2, 3]) is None
    True
    """
    cls: Any = type(obj)
    estimator = _estimator(cls)
    if estimator is None or _name(cls) not in _FLAT:
        return None
    if estimator is _array:
        return None if obj.dtype.hasobject else min(_HEADER + int(obj.nbytes), MAX_BYTES)  # type: ignore[attr-defined]
    return min(estimator(obj), MAX_BYTES)


def sizeof(obj: object) -> int:
    """Estimate the bytes of an object in constant time, up to a message's limit.

    Examples
    --------
    >>> 8e6 <= sizeof(list(range(1_000_000))) <= 1e8
    True
    """
    return min(_sizeof(obj, 4), MAX_BYTES)


def _sizeof(obj: Any, depth: int) -> int:
    cls: Any = type(obj)
    estimator = _estimator(cls)
    try:
        if estimator is not None:
            return estimator(obj)
        size = sys.getsizeof(obj)
        if not depth:
            return size
        if issubclass(cls, (list, tuple)):
            count = len(obj)
            step = max(1, -(-count // SAMPLES))
            return size + _all(count, [obj[i] for i in range(0, count, step)], depth)
        if issubclass(cls, dict):
            half = list(islice(obj.items(), SAMPLES))
            size += _all(len(obj), [key for key, _ in half], depth) + _all(len(obj), [v for _, v in half], depth)
        elif issubclass(cls, (set, frozenset)) or cls.__module__ == "collections":
            return size + _all(len(obj), islice(obj, SAMPLES), depth)
        attributes = getattr(obj, "__dict__", None)
        if type(attributes) is dict and not isinstance(obj, type):
            size += _all(len(attributes), islice(attributes.values(), SAMPLES), depth)
        return size
    except Exception:
        return OBJECT_BYTES


def _all(count: int, some: Iterable[Any], depth: int) -> int:
    """Return the bytes of ``count`` objects by some; shared ones count once."""
    picked = list(some)
    if not picked:
        return 0
    different = {id(one): one for one in picked}
    inside = sum(_sizeof(one, depth - 1) for one in different.values())
    if len(different) == 1 and len(picked) > 1:
        return inside
    return inside * count // len(picked)
