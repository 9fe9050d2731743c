"""What the picklers of ``by_value`` have unpicklers call: names, functions and modules of programs.

A token names the program; None stands for the one to which the pickle belongs.
"""

from __future__ import annotations

import importlib
import sys
from types import CodeType, FunctionType
from typing import Any

from futures_cluster.wire.codec import classes, programs
from futures_cluster.wire.codec.main_modules import MAIN

#: In the place of a program's token: the processes that load it have ``__main__`` themselves.
THEIRS = ""


def _program(token: str | None) -> programs.Program:
    return programs.being_loaded() if token is None else programs.get(token)


def from_program(token: str | None, module: str, qualname: str) -> Any:
    """Return the object of a name."""
    found = _program(token).resolve(module, qualname)
    if found is programs.MISSING:
        raise AttributeError(f"{module}.{qualname} was not sent with the object that refers to it")
    return found


def class_of_program(token: str | None, module: str, qualname: str, identity: str) -> Any:
    """Return the class of this identity, or the one that has its name."""
    found = classes.find(identity, _program(token))
    return from_program(token, module, qualname) if found is None else found


def module_of_program(token: str | None, module: str) -> Any:
    """Return a module."""
    return _program(token).module(module)


def make_function(code: CodeType, module: str, token: str | None, closure: Any) -> FunctionType:
    """Return a function with the namespace of a module as its globals."""
    space = vars(sys.modules[MAIN]) if token == THEIRS else _program(token).space(module)
    return FunctionType(code, space, None, None, closure)


def set_function_state(function: FunctionType, state: Any) -> None:
    """Set a function's attributes, after importing the submodules it reaches."""
    attributes, slots, submodules = state
    for module in submodules:
        importlib.import_module(module)
    function.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(function, name, value)
