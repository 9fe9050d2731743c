"""The docstrings of the public names: every parameter and result has its place, as numpydoc wants it.

Covers: the names in ``__all__`` of the package and of its public modules, and their public methods. Does not cover:
first lines and words (``test_prose_words``), examples (``test_doctests``).
"""

from __future__ import annotations

import concurrent.futures
import importlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import futures_cluster

validate = pytest.importorskip("numpydoc.validate")
# What some of the public modules import.
pytest.importorskip("sklearn")

PACKAGE = futures_cluster.__name__
MODULES = ["", ".glm", ".channels", ".plugins", ".transports", ".errors", ".metrics"]

# No docstring; parameters that are missing, or do not exist; no section on what is returned; a first line that says
# "Returns" and not "Return".
CODES = {"GL08", "PR01", "PR02", "RT01", "SS05"}

# numpydoc drops a first parameter that is called ``cls``, as if the function were a method.
EXCEPTIONS = {f"{PACKAGE}.scheduler.shared.objects.register": "PR02"}


def public_methods(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        if base.__module__.startswith(PACKAGE):
            for name, value in vars(base).items():
                function = getattr(value, "__func__", value)
                if not name.startswith("_") and inspect.isfunction(function):
                    yield name


def public_names() -> Iterator[str]:
    """Yield the names of all public functions, classes and methods, where they are defined."""
    for module in (importlib.import_module(f"{PACKAGE}{name}") for name in MODULES):
        for name in getattr(module, "__all__", None) or vars(module):
            value: Any = getattr(module, name)
            if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            if value.__module__.startswith(PACKAGE):
                full = f"{value.__module__}.{value.__qualname__}"
                yield full
                if inspect.isclass(value):
                    yield from (f"{full}.{method}" for method in public_methods(value))


def faults(name: str) -> list[str]:
    """Return what numpydoc finds in a docstring, less what is allowed here.

    A class with a section "Attributes" is made by the package (events, requests) or has no other parameters. "See"
    refers to the method that it implements.
    """
    found = validate.validate(name)
    docstring = found["docstring"]
    allowed = {"PR01"} if "\nAttributes\n---" in docstring else set()
    if docstring.startswith("See ``"):
        allowed |= {"PR01", "RT01"}
    allowed.add(EXCEPTIONS.get(name, ""))
    return [f"{code} {text}" for code, text in found["errors"] if code in CODES - allowed]


def is_internal(name: str) -> bool:
    """Return whether a name is a method of ``Future`` that only clients and engines call."""
    cls, _, method = name.rpartition(".")
    return cls == f"{PACKAGE}.future.Future" and not hasattr(concurrent.futures.Future, method) and method != "release"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="numpydoc 1.11 does not find where some classes begin there")
def test_public_docstrings_are_complete() -> None:
    found = {name: faults(name) for name in dict.fromkeys(public_names()) if not is_internal(name)}
    assert {name: errors for name, errors in found.items() if errors} == {}


def test_a_gap_is_found() -> None:
    assert faults(f"{__name__}._example") == ["PR01 Parameters {'b'} not documented", "RT01 No Returns section found"]


def _example(a: int, b: int) -> int:
    """Add numbers.

    Parameters
    ----------
    a : int
        One of them.
    """
    return a + b


def test_all_errors_are_exported() -> None:
    from futures_cluster import errors, pool_errors

    defined = {
        name
        for module in (errors, pool_errors)
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined <= {*errors.__all__}
