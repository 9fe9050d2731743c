"""Finding the program in which an object has its name, or a function its namespace.

A module that no other process can import makes this process a program of its own, as ``__main__`` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from futures_cluster.wire.codec import importing, programs
from futures_cluster.wire.codec.main_modules import canonical
from futures_cluster.wire.codec.programs import MISSING, Program


def attribute(module: str, qualname: str) -> Any:
    """Return the object of a dotted name in a loaded module, or ``MISSING``."""
    found: Any = sys.modules.get(module, MISSING)
    for name in qualname.split("."):
        found = getattr(found, name, MISSING)
    return found


def _candidates(module: str) -> Iterator[Program]:
    """Yield the programs that may have a module: this process, if it is loaded."""
    yield from programs.known()
    loaded = sys.modules.get(module)
    if type(loaded) is ModuleType and programs.of_namespace(vars(loaded)) is None:
        yield _adopt(vars(loaded), canonical(module))


def _adopt(space: dict[str, Any], module: str) -> Program:
    """Return this process as a program that has a module with this namespace."""
    program = programs.home()
    program.spaces.setdefault(module, space)
    importing.send_by_value(module)
    return program


def program_with(obj: Any, module: str, name: str) -> Program | None:
    """Return the program in which an object is bound to this name."""
    return next((program for program in _candidates(module) if program.resolve(module, name) is obj), None)


def bound_name(obj: Any, module: str) -> str:
    """Return the global name of what a function has made; "" if it has none."""
    for program in _candidates(module):
        for name, value in list(program.spaces.get(canonical(module), {}).items()):
            if value is obj:
                return name
    return ""


def owner_of_namespace(space: dict[str, Any], module: str | None) -> tuple[Program, str] | None:
    """Return the program and module of a namespace; None if importable."""
    found = programs.of_namespace(space)
    if found is not None:
        return found
    loaded = sys.modules.get(module or "")
    # With ``spec_from_file_location`` a module need not be in ``sys.modules``: its functions know its name.
    if (
        module is None
        or space.get("__name__") != module
        or (type(loaded) is ModuleType and importing.importable(module))
    ):
        return None
    if type(loaded) is ModuleType and vars(loaded) is not space:
        return None
    if loaded is None and space.get("__spec__") is None:
        return None
    program = _adopt(space, canonical(module))
    return (program, canonical(module)) if program.spaces[canonical(module)] is space else None


def program_of_module(module: ModuleType) -> Program | None:
    """Return the program that has a module; None for a module that can be imported."""
    found = owner_of_namespace(vars(module), module.__name__)
    return None if found is None else found[0]
