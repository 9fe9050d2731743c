"""Pickles, by the plain pickler where that will do.

The plain pickler is tried first, as it is ten times faster. ``by_value`` takes over for what it cannot do (lambdas,
closures, local classes) and for what no other process can import, ``__main__`` above all. Where an object needs it at
first sight, it begins, so that ``__getstate__`` or ``__reduce__`` is called once. A pickle that refers to a
program begins with the definitions that it needs of it (``programs``), so it is read by ``loads``, not by
``pickle.loads``::

    MARK, length of the head, head, pickle
    head: for each program (token, whether pickle.loads can read the rest, the object's own name and batch, batches)

Large buffers stay out of band; what was writable is so when it arrives, and what was read-only stays so, as pickle 5
has it. Does not cover: where buffers go (``payloads``).
"""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from futures_cluster.wire.codec import handles, importing, programs
from futures_cluster.wire.codec.main_modules import MAIN, mains

PROTOCOL = 5
#: Buffers from this size on travel out of band.
OUT_OF_BAND_BYTES = 64 * 1024

#: No pickle begins so.
MARK = b"\x93fcp"
_LENGTH = struct.Struct("<I")
_HEAD = len(MARK) + _LENGTH.size


class Scope(NamedTuple):
    """Where receivers of a payload look up the names of this process's ``__main__``.

    Attributes
    ----------
    name : str
        Of the namespace. Each client of a cluster has one of its own on each worker.
    by_reference : bool
        They have the same ``__main__``, as the processes of multiprocessing do: no definition travels.
    """

    name: str = ""
    by_reference: bool = False


HERE = Scope()

#: By type: what ``copyreg.dispatch_table`` has, for one pickle.
Reducers = Mapping[type, Callable[[Any], Any]]


class _Settings:
    #: Whether all payloads of this process refer to ``__main__`` by name: multiprocessing has started it.
    by_reference = False


settings = _Settings()


# ---------------------------------------------------------------- writing


def _is_importable(data: bytes) -> bool:
    """Return whether a plain pickle refers only to what another process can import."""
    if importing.find_main(data) or any([mark in data for mark in importing.marks]):
        return False
    cloudpickle: Any = sys.modules.get("cloudpickle.cloudpickle")
    return cloudpickle is None or not cloudpickle._PICKLE_BY_VALUE_MODULES


#: Items of a container that are looked at.
MAX_LOOKED_AT = 4
_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))


def _travels_by_value(obj: Any, depth: int = 3) -> bool:
    """Return whether an object is seen to need the other pickler.

    Its class is one that no other process can import, or it is such a class or function; in a container one of the
    first items is. Objects in others are not seen.
    """
    kind = type(obj)
    if kind in _CONTAINERS:
        if not depth:
            return False
        items = tuple(islice(obj.values() if kind is dict else obj, MAX_LOOKED_AT))  # another thread may change it
        return any([_travels_by_value(item, depth - 1) for item in items])
    if kind is MethodType:
        return _travels_by_value(obj.__self__, depth)
    if kind is partial:
        return _travels_by_value((obj.func, *obj.args), depth)
    definition = obj if kind is FunctionType or kind is type else kind
    return definition.__module__ in importing.by_value_modules or "<" in definition.__qualname__


def dumps(obj: Any, scope: Scope = HERE) -> bytes:
    """Return a pickle with everything in it.

    Parameters
    ----------
    scope : Scope
        Of the processes that load it.

    Raises
    ------
    Exception
        Whatever pickling the object raises.
    """
    return dumps_apart(obj, scope, least_bytes=sys.maxsize)[0]


class _Apart:
    """A buffer callback that keeps the large buffers out of the pickle."""

    __slots__ = ("buffers", "least_bytes")

    def __init__(self, least_bytes: int) -> None:
        self.least_bytes = least_bytes
        self.buffers: list[memoryview] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < self.least_bytes:
            return True
        self.buffers.append(raw)
        return False


def dumps_apart(
    obj: Any, scope: Scope = HERE, reducers: Reducers | None = None, least_bytes: int = OUT_OF_BAND_BYTES
) -> tuple[bytes, list[memoryview]]:
    """Return a pickle, and the large buffers, which are not in it; see ``dumps``.

    ``reducers``: how objects of these types pickle, at any depth. ``least_bytes``: of large buffers.

    Raises
    ------
    Exception
        Whatever pickling the object raises.
    """
    by_reference = scope.by_reference or settings.by_reference
    if by_reference or not _travels_by_value(obj):
        apart = _Apart(least_bytes)
        try:
            if reducers is None:
                data = pickle.dumps(obj, PROTOCOL, buffer_callback=apart)
            else:
                data = _dumps_with(reducers, obj, apart)
            if (by_reference or _is_importable(data)) and handles.MARK not in data:
                return data, apart.buffers
        except Exception:
            pass  # the other pickler can do more; if it cannot either, its error is the one to show
    from futures_cluster.wire.codec.by_value import ByValuePickler

    apart = _Apart(least_bytes)
    file = io.BytesIO()
    pickler = ByValuePickler(file, apart, by_reference, reducers)
    pickler.dump(obj)
    return _with_definitions(file.getvalue(), pickler, scope)[0], apart.buffers


def _dumps_with(reducers: Reducers, obj: Any, buffer_callback: Any) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, PROTOCOL, buffer_callback=buffer_callback)
    pickler.dispatch_table = {**copyreg.dispatch_table, **reducers}
    pickler.dump(obj)
    return file.getvalue()


def _with_definitions(data: bytes, pickler: Any, scope: Scope, root: Any = None) -> tuple[bytes, list[Watched]]:
    """Return a pickle behind its definitions, and the names they depend on.

    ``root``: the object itself, if which binding of its name it is matters.
    """
    if not pickler.needs:
        return data, []
    from futures_cluster.wire.codec import capture

    watched: list[Watched] = []
    heads = []
    for program, keys in pickler.needs.items():
        records = capture.ensure(program, keys, _file_reducers(scope))
        bound = [key for key in keys if root is not None and program.value(key) is root]
        record = records[bound[0]] if bound else None
        binding = None if record is None else (bound[0], record.batch)
        heads.append((program.token_for(scope.name), pickler.is_plain, binding, program.batches_of(records.values())))
        watched.extend(_watch(program, records, root))
    return _behind_head(data, heads), watched


def _file_reducers(scope: Scope) -> Reducers | None:
    """Return the reducers of the program's arrays in files, or None."""
    if "numpy" not in sys.modules:
        return None
    from futures_cluster.wire.codec import memmaps

    return memmaps.REDUCERS_WITH_CONTENTS if scope.name else memmaps.REDUCERS


def _behind_head(data: bytes, heads: list[Any]) -> bytes:
    head = pickle.dumps(heads, PROTOCOL)
    return b"".join((MARK, _LENGTH.pack(len(head)), head, data))


# ---------------------------------------------------------------- functions

# A namespace and a name in it, what that was bound to, and what may change in a function without binding it again.
Watched = tuple[dict[str, Any], str, Callable[[], Any], Any]


def _watch(
    program: programs.Program, records: Mapping[programs.Key, programs.ProgramRecord | None], root: Any
) -> list[Watched]:
    used = {key for record in records.values() if record is not None for key in record.uses}
    watched = []
    for module, name in records:
        if module in program.spaces and name not in programs.OF_THE_SCRIPT:
            space = program.spaces[module]
            value = space.get(name, programs.MISSING)
            if value is not root:
                watched.append((space, name, programs.weak(value), programs.traits(value)))
            elif (module, name) in used:
                # Another entry has the root and its traits, and a pickle of it names its binding.
                watched.append((space, name, programs.weak(value), None))
    return watched


def is_unchanged(watched: list[Watched]) -> bool:
    """Return whether names are still bound to the very same objects."""
    for space, name, former, traits in watched:
        value = space.get(name, programs.MISSING)
        if former() is not value or (value is None and not programs.is_same(former, value)):
            return False
        if traits is not None and not programs.traits_are(traits, value):
            return False
    return True


def dump_function(function: Callable[..., Any], scope: Scope = HERE) -> tuple[bytes, list[Watched] | None]:
    """Return a pickle of what a task calls, and the names that the pickle depends on.

    Returns
    -------
    data : bytes
        For ``loads``.
    watched : list or None
        For ``is_unchanged``; None if the function pickles by the name of a module that can be imported, which is the
        same for ever.

    Raises
    ------
    Exception
        Whatever pickling the function raises.
    """
    by_reference = scope.by_reference or settings.by_reference
    if by_reference or not _travels_by_value(function):
        try:
            data = pickle.dumps(function, PROTOCOL)
            if by_reference:
                return data, None
            if _is_importable(data) and importing.has_importable_module(function):
                return _of_client(data, scope), None
        except Exception:
            pass
    from futures_cluster.wire.codec.by_value import ByValuePickler, FunctionPickler

    file = io.BytesIO()
    is_bare = type(function) is FunctionType and not (
        function.__closure__ or function.__defaults__ or function.__kwdefaults__ or function.__dict__
    )
    pickler = (ByValuePickler if is_bare else FunctionPickler)(file, None, by_reference, _file_reducers(scope))
    pickler.dump(function)
    if not pickler.needs and not by_reference:
        return _of_client(file.getvalue(), scope), []
    return _with_definitions(file.getvalue(), pickler, scope, function)


def owner(scope: Scope) -> str:
    """Return the token of the program whose tasks this thread submits, or ""."""
    program = mains.running() if mains.is_host else programs.home() if scope.name else None
    return "" if program is None else program.token_for(scope.name)


def _of_client(data: bytes, scope: Scope) -> bytes:
    """Return a pickle that names its program, where there are several."""
    token = owner(scope)
    return _behind_head(data, [(token, True, None, [])]) if token else data


def without_head(data: bytes) -> bytes:
    """Return the pickle itself."""
    if not is_marked(data):
        return data
    (length,) = _LENGTH.unpack(data[len(MARK) : _HEAD])
    return data[_HEAD + length :]


class HandedOver:
    """Large bytes, which the pickler would copy into its stream, as an out-of-band buffer."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (pickle.PickleBuffer(self.data),)


def hand_over(obj: Any) -> Any:
    """Return the object, or what stands for it if it is large bytes."""
    return HandedOver(obj) if type(obj) is bytes and len(obj) >= OUT_OF_BAND_BYTES else obj


# ---------------------------------------------------------------- reading


def is_marked(data: Any) -> bool:
    """Return whether a pickle refers to a program, and needs ``loads``."""
    return bytes(data[: len(MARK)]) == MARK


def loads(data: Any, buffers: Iterable[Any] | None = None) -> Any:
    """Return the object of a pickle that a function of this module has made.

    Raises
    ------
    Exception
        Whatever unpickling raises.
    """
    if data[:4] != MARK:
        return pickle.loads(data, buffers=buffers)
    view = memoryview(data)
    (length,) = _LENGTH.unpack(view[len(MARK) : _HEAD])
    heads = pickle.loads(view[_HEAD : _HEAD + length])
    for token, _, _, batches in heads:
        programs.get(token).learn(batches)
    token, is_plain, binding, _ = heads[0]
    program = programs.get(token)
    if mains.is_host:
        program.space(MAIN)  # each program has one, also if nothing of it has come so far
        mains.enter(program)
    if binding is not None and not program.is_home:
        return program.binding(*binding)
    rest = view[_HEAD + length :]
    with programs.loading(program):
        if is_plain and program.is_installed():
            return pickle.loads(rest, buffers=buffers)
        return programs.ProgramUnpickler(io.BytesIO(rest), program, buffers).load()
