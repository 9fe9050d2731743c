"""Versions of what both sides of a connection must agree on, and what to do when they do not.

Covers: what a process says in ``messages.Hello``, the comparison, and whether the process has the GIL. Does not cover:
the version of the protocol itself, which the handshake compares before any message is decoded.

Clients and workers exchange pickles, so all must have the same minor version of Python, as functions travel as its
bytecode, and the same major version of cloudpickle. The measure is the scheduler, though it unpickles nothing: with the
first comer as the measure, one process of another version would lock out all others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module

PACKAGE = "futures_cluster"


@cache
def _version_of(name: str) -> str:
    """Return the module's own version: asking installed packages takes 30 ms."""
    return str(getattr(import_module(name), "__version__", ""))


def own_versions() -> dict[str, str]:
    """Return the versions of this process."""
    return {
        PACKAGE: str(getattr(sys.modules.get(PACKAGE), "__version__", "")),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "cloudpickle": _version_of("cloudpickle"),
        "msgpack": _version_of("msgpack"),
    }


def is_gil_enabled() -> bool:
    """Return whether one thread of this process at a time executes Python.

    A free-threaded build starts without the lock, and takes it when a module is imported that needs it.
    """
    ask: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)  # from Python 3.13 on
    return ask is None or ask()


#: What must be the same, in how many parts of its version.
_RULES = ((PACKAGE, 2), ("python", 2), ("cloudpickle", 1))


def compare(ours: dict[str, str], theirs: dict[str, str], other: str) -> str | None:
    """Return what is wrong between two processes, and what to do, or None.

    Parameters
    ----------
    ours, theirs : dict
        As ``own_versions`` gave them in either process. Packages that one side does not name are not compared.
    other : str
        The other process, as the text is to call it.

    Examples
    --------
    >>> compare({"python": "3.12"}, {"python": "3.11"}, "the scheduler")
    'python is 3.12 here and 3.11 for the scheduler; install the same versions on all machines'
    """
    wrong = []
    for name, count in _RULES:
        our, their = ours.get(name, ""), theirs.get(name, "")
        if our and their and our.split(".")[:count] != their.split(".")[:count]:
            wrong.append(f"{name} is {our} here and {their} for {other}")
    return "; ".join(wrong) + "; install the same versions on all machines" if wrong else None
