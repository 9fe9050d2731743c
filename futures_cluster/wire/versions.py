"""Versions of what both sides of a connection must agree on, and what to do when they do not.

Covers: what a process says in ``messages.Hello``, and the comparison. Does not cover: the version of the protocol
itself, which the handshake compares before any message is decoded.

Those who exchange pickles (clients and workers, through whatever scheduler) must have the same minor version of
Python, as functions travel as its bytecode, and the same major version of cloudpickle. A scheduler unpickles nothing.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module

PACKAGE = "futures_cluster"


@cache
def _version_of(name: str) -> str:
    """What the module says: to ask the installed packages would cost each worker 30 ms at its start."""
    return str(getattr(import_module(name), "__version__", ""))


def own_versions() -> dict[str, str]:
    """The versions of this process."""
    return {
        PACKAGE: str(getattr(sys.modules.get(PACKAGE), "__version__", "")),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "cloudpickle": _version_of("cloudpickle"),
        "msgpack": _version_of("msgpack"),
    }


#: What must be the same: how many parts of its version, and whether only for those who exchange pickles.
_RULES = ((PACKAGE, 2, False), ("python", 2, True), ("cloudpickle", 1, True))


def compare(ours: dict[str, str], theirs: dict[str, str], other: str, pickles: bool = True) -> str | None:
    """What is wrong between two processes, and what to do; None if they go together.

    Parameters
    ----------
    ours, theirs : dict
        As ``own_versions`` gave them in either process. What one does not tell is not compared.
    other : str
        The other process, as the text is to call it.
    pickles : bool
        Whether they exchange pickles.

    Examples
    --------
    >>> compare({"python": "3.12"}, {"python": "3.11"}, "the worker w")
    'python is 3.12 here and 3.11 for the worker w; install the same versions on all machines'
    >>> compare({"python": "3.12"}, {"python": "3.11"}, "the scheduler", pickles=False)
    """
    wrong = []
    for name, count, is_for_pickles in _RULES:
        our, their = ours.get(name, ""), theirs.get(name, "")
        matters = bool(our and their) and (pickles or not is_for_pickles)
        if matters and our.split(".")[:count] != their.split(".")[:count]:
            wrong.append(f"{name} is {our} here and {their} for {other}")
    return "; ".join(wrong) + "; install the same versions on all machines" if wrong else None
