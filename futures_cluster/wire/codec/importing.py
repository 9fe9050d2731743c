"""Which modules another process can import; the objects of all others travel by value.

Does not cover: how they travel (``by_value``, ``programs``).
"""

from __future__ import annotations

import functools
import pickle
import re
import sys
from types import FunctionType, ModuleType
from typing import Any

from futures_cluster.wire.codec.main_modules import MAIN, MP_MAIN, canonical

#: Finds the name of the program's module in a plain pickle; a pattern, as two searches take three times as long.
find_main = re.compile(b"__main__|__mp_main__").search
#: How the names of other modules whose objects travel by value stand there.
marks: tuple[bytes, ...] = ()
#: The names themselves.
by_value_modules: set[str] = {MAIN, MP_MAIN}


def send_by_value(module: str) -> None:
    """Have the objects of a module travel by value: no other process can import it."""
    global marks
    by_value_modules.add(module)
    text = pickle.dumps(module, 5)[2:]
    text = text[text.index(module.encode()) - 2 : -2]  # with its length, as a short name is part of many others
    if canonical(module) != MAIN and text not in marks:
        marks = (*marks, text)


def _is_registered(module: ModuleType) -> bool:
    """Return whether a user has asked for a module to travel by value."""
    cloudpickle: Any = sys.modules.get("cloudpickle.cloudpickle")
    by_value = cloudpickle is not None and cloudpickle._PICKLE_BY_VALUE_MODULES
    return bool(by_value and cloudpickle._is_registered_pickle_by_value(module))


def importable(module: str) -> bool:
    """Return whether a process with the same ``sys.path`` can import a module."""
    if module in (MAIN, MP_MAIN):
        return False
    found = sys.modules.get(module)
    return found is not None and not _is_registered(found) and _is_found(module, id(found))


@functools.lru_cache(10_000)
def _is_found(module: str, identity: int) -> bool:
    """Return whether finders find it, and in the place that it came from."""
    loaded = sys.modules[module]
    spec = getattr(loaded, "__spec__", None)
    if getattr(spec, "origin", None) in ("built-in", "frozen"):
        return True
    parent, _, _ = module.rpartition(".")
    path = None
    if parent:
        if not importable(parent):
            # A package may put modules there by hand (os.path is one): importing it makes them.
            return False
        path = getattr(sys.modules[parent], "__path__", None)
        if path is None:
            return True
    for finder in list(sys.meta_path):
        find: Any = getattr(finder, "find_spec", None)
        try:
            found = find and find(module, path, None)
        except Exception:
            continue
        if found is not None:
            origin = getattr(spec, "origin", None) or getattr(loaded, "__file__", None)
            return origin is None or found.origin is None or found.origin == origin
    # Made by the import of its package, or of another module: present in another process once that is imported.
    return spec is not None and getattr(spec, "origin", None) is None and bool(parent)


def has_importable_module(function: Any) -> bool:
    """Return whether another process can import the module of a function or class."""
    module = getattr(function, "__module__", None)
    if type(module) is not str or type(function) not in (FunctionType, type):
        return True
    known = sys.modules.get(module)
    is_plain = known is not None and getattr(known, "__spec__", None) is not None and _is_on_path(known)
    if is_plain or importable(module):
        return True
    send_by_value(module)
    return False


def _is_on_path(module: Any) -> bool:
    """Return whether a top-level module is on the path; quick for most."""
    origin = module.__spec__.origin
    if origin in ("built-in", "frozen"):
        return True
    top = module.__name__.partition(".")[0]
    if type(origin) is not str:
        return False
    return any(
        origin[len(entry) :].lstrip("/").startswith((f"{top}/", f"{top}."))
        for entry in sys.path
        if type(entry) is str and entry and origin.startswith(entry)
    )
