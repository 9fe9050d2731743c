"""Classes by value: made again as they were, without running the users' code a second time.

A class is what its attributes are by now; its metaclass, ``__init_subclass__`` of its bases and the ``__init__`` of an
enumeration's members have done their work where the script ran. So a class is made empty and then filled.

Does not cover: which classes travel by value (``by_value``).
"""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cloudpickle.cloudpickle as cp

from futures_cluster import locks
from futures_cluster.wire.codec import programs

#: What an enumeration keeps of its members.
_OF_MEMBERS = frozenset(
    ("_member_names_", "_member_map_", "_value2member_map_", "_hashable_values_")
    + ("_unhashable_values_", "_unhashable_values_map_")
)
# While a class is made, hooks of its bases are out of the way.
_making = locks.RLock()


def reduce_class(cls: type, is_scoped: bool) -> Any:
    """Return what a class pickles as; see ``object.__reduce__``.

    Parameters
    ----------
    is_scoped : bool
        Whether it belongs to a program: each program has a class of its own made of it, with its own attributes.
    """
    reduced = cp._class_reduce(cls)
    if reduced is NotImplemented and is_scoped:
        reduced = cp._dynamic_class_reduce(cls)
    if reduced is NotImplemented:
        return reduced
    if isinstance(cls, enum.EnumType):
        return _reduce_enum(cls, is_scoped) or reduced
    if reduced[0] is not cp._make_skeleton_class:
        return reduced
    _, (metaclass, name, bases, namespace, identity, _), (attributes, slots), *rest = reduced
    if metaclass is type and tuple(types.resolve_bases(bases)) != cls.__bases__:
        # A NamedTuple: what it was written with would make it again from its annotations. A generic one looks for that.
        bases, namespace = cls.__bases__, {**namespace, "__orig_bases__": vars(cls)["__orig_bases__"]}
    namespace = {**namespace, "__qualname__": cls.__qualname__}
    if "__slots__" in vars(cls):
        namespace["__slots__"] = cls.__dict__["__slots__"]
    args = (metaclass, name, bases, namespace, _bare(identity), is_scoped)
    return make_class, args, (_filled_in(attributes), slots), *rest


def _filled_in(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a class's attributes without slots and what each class gets."""
    made = types.MemberDescriptorType, types.GetSetDescriptorType
    return {key: value for key, value in attributes.items() if type(value) not in made}


def identity_of(cls: type) -> str:
    """Return what names a class wherever it is."""
    return _bare(str(cp._get_or_create_tracker_id(cls)))


def find(identity: str, program: programs.Program) -> Any:
    """Return the class of an identity that a program has here; None if it has none."""
    return cp._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity if program.is_home else f"{identity}@{program.token}")


def _bare(identity: str) -> str:
    return identity.partition("@")[0]


def _identity_here(identity: str, is_scoped: bool) -> str:
    """Return the identity of a class here: at home that of the class itself."""
    if not is_scoped:
        return identity
    program = programs.being_loaded()
    return identity if program.is_home else f"{identity}@{program.token}"


def make_class(metaclass: Any, name: str, bases: Any, namespace: Any, identity: str, is_scoped: bool) -> Any:
    """Return the class of this identity, which is made empty if it is not here yet."""
    identity = _identity_here(identity, is_scoped)
    with _making, _without_hooks(bases):
        if not _is_by_value(metaclass):
            return cp._make_skeleton_class(metaclass, name, bases, namespace, identity, None)
        # The attributes, which follow, have the changes that the metaclass made to the class.
        base = next(each for each in metaclass.__mro__ if not _is_by_value(each))
        resolved = types.resolve_bases(bases)
        if resolved is not bases:
            namespace = {**namespace, "__orig_bases__": bases}
        made = base.__new__(metaclass, name, tuple(resolved), dict(namespace))
        return cp._lookup_class_or_track(identity, made)


def _is_by_value(cls: Any) -> bool:
    return cls in cp._DYNAMIC_CLASS_TRACKER_BY_CLASS


@contextmanager
def _without_hooks(bases: Any) -> Iterator[None]:
    """Disable ``__init_subclass__`` of classes by value, which ran at home."""
    taken: list[tuple[Any, Any]] = []
    for base in types.resolve_bases(bases):
        for cls in getattr(base, "__mro__", ()):
            if "__init_subclass__" in vars(cls) and _is_by_value(cls) and all(cls is not each for each, _ in taken):
                taken.append((cls, vars(cls)["__init_subclass__"]))
                type.__setattr__(cls, "__init_subclass__", _ignore)
    try:
        yield
    finally:
        for cls, hook in taken:
            type.__setattr__(cls, "__init_subclass__", hook)


@classmethod  # type: ignore[misc]
def _ignore(cls: Any, **kwargs: Any) -> None:
    pass


# ---------------------------------------------------------------- enumerations


def _reduce_enum(cls: Any, is_scoped: bool) -> Any:
    """Reduce an enumeration with its members; None if a member looks like the class."""
    mixed_in = cls._member_type_
    members: list[tuple[str, Any, Any]] = []
    for name, member in cls._member_map_.items():
        if name != member._name_:
            members.append((name, member._name_, None))  # an alias
            continue
        if mixed_in is not object and not hasattr(mixed_in, "__getnewargs__"):
            return None
        args = () if mixed_in is object else mixed_in.__getnewargs__(member)
        state = {key: value for key, value in vars(member).items() if key != "__objclass__"}
        if "_inverted_" in state:
            state["_inverted_"] = None  # another member, kept for speed
        members.append((name, args, state))
    attributes, _ = cp._class_getstate(cls)
    for name in (*_OF_MEMBERS, *cls._member_map_):
        attributes.pop(name, None)
    args = (type(cls), cls.__name__, cls.__bases__, cls.__module__, cls.__qualname__, identity_of(cls), is_scoped)
    return _make_enum, args, (_filled_in(attributes), members), None, None, _fill_enum


def _make_enum(
    metaclass: Any, name: str, bases: Any, module: str, qualname: str, identity: str, is_scoped: bool
) -> Any:
    identity = _identity_here(identity, is_scoped)
    with _making, _without_hooks(bases):
        namespace = metaclass.__prepare__(name, bases)
        namespace["__module__"], namespace["__qualname__"] = module, qualname
        return cp._lookup_class_or_track(identity, enum.EnumType.__new__(metaclass, name, bases, namespace))


def _fill_enum(cls: Any, state: Any) -> None:
    if cls._member_map_:
        return  # it was here already
    attributes, members = state
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    mixed_in = cls._member_type_
    for name, args, values in members:
        if values is None:
            member = cls._member_map_[args]
        else:
            member = mixed_in.__new__(cls, *args)
            vars(member).update(values, __objclass__=cls)
            cls._member_names_.append(name)
            try:
                cls._value2member_map_.setdefault(member._value_, member)
            except TypeError:
                if hasattr(cls, "_unhashable_values_"):
                    cls._unhashable_values_.append(member._value_)
        type.__setattr__(cls, name, member)
        cls._member_map_[name] = member
    if isinstance(cls, enum.EnumType) and issubclass(cls, enum.Flag):
        # Composite names are members, but not listed.
        cls._member_names_[:] = [name for name in cls._member_names_ if _is_listed(cls, name)]


def _is_listed(cls: Any, name: str) -> bool:
    value = cls._member_map_[name]._value_
    return bool(type(value) is int and value > 0 and value & (value - 1) == 0)
