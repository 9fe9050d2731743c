"""Futures among the arguments of a call: finding them, and putting something else in their place.

Covers: futures at any depth of lists, tuples, dicts and sets. Does not cover: futures inside other objects, which
stay as they are; subclasses of these types are other objects.

Containers without futures are never copied: tasks in threads share them with their caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster.messages import Reference

_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_LEAVES = frozenset({int, str, float, bool, bytes, complex, type(None)})


class Found:
    """The futures in some arguments.

    Attributes
    ----------
    references : dict
        The futures, by their ids.
    keys : dict
        From each key to its number, in the order in which they were met.
    inside : set of int
        Ids of the containers with a future at any depth.
    """

    __slots__ = ("inside", "keys", "references")

    def __init__(self) -> None:
        self.references: dict[int, Reference] = {}
        self.keys: dict[str, int] = {}
        self.inside: set[int] = set()

    def add(self, reference: Reference) -> int:
        """Take a future; the number of its key."""
        self.references[id(reference)] = reference
        return self.keys.setdefault(reference.key, len(self.keys))


def begins_with_future(arg: Any) -> bool:
    """Return whether a container begins with a future, as most others then do."""
    if type(arg) in _CONTAINERS:
        for first in arg.values() if type(arg) is dict else arg:
            return isinstance(first, Reference)
    return False


def are_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether the arguments are numbers and texts, without futures."""
    return _LEAVES.issuperset(map(type, args)) and (not kwargs or _LEAVES.issuperset(map(type, kwargs.values())))


def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
    """Look through the arguments of a call.

    A container costs a few nanoseconds an item: only the types of its items are looked at, as long as all of them
    are numbers and texts.
    """
    found = Found()
    parents: dict[int, list[int]] = {}  # of each container, the containers that it is in
    holders: list[int] = []  # ids of the containers with a future among their own items
    containers: list[Any] = [args, kwargs] if kwargs else [args]
    seen = {id(args), id(kwargs)}
    for container in containers:  # grows meanwhile
        items = (*container.keys(), *container.values()) if type(container) is dict else container
        if set(map(type, items)) <= _LEAVES:
            continue
        me = id(container)
        for item in items:
            if type(item) in _CONTAINERS:
                parents.setdefault(id(item), []).append(me)
                if id(item) not in seen:
                    seen.add(id(item))
                    containers.append(item)
            elif isinstance(item, Reference):
                found.add(item)
                holders.append(me)
    while holders:
        me = holders.pop()
        if me not in found.inside:
            found.inside.add(me)
            holders.extend(parents.get(me, ()))
    return found


def replace(
    args: tuple[Any, ...], kwargs: dict[str, Any], inside: set[int], value_of: Callable[[Reference], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with ``value_of(future)`` for each future.

    ``inside`` is that of ``find``. Containers which it names are copied, all others are handed on.
    """
    made: dict[int, Any] = {}

    def put(obj: Any) -> Any:
        me = id(obj)
        if me not in inside:
            return value_of(obj) if isinstance(obj, Reference) else obj
        if me in made:
            return made[me]
        kind = type(obj)
        copy: Any
        if kind is list:
            copy = made[me] = []  # known before its items: one of them may be the list itself
            copy.extend(map(put, obj))
        elif kind is dict:
            copy = made[me] = {}
            for key, value in obj.items():
                copy[put(key)] = put(value)
        elif kind in _CONTAINERS:
            made[me] = obj  # one that holds itself, by a list in it, holds the original there
            copy = made[me] = kind([put(item) for item in obj])
        else:
            copy = obj
        return copy

    return tuple([put(arg) for arg in args]), {name: put(value) for name, value in kwargs.items()} if kwargs else kwargs
