"""Locks that a ``with`` statement takes in one step, so that none stays held when a signal's handler raises there.

Covers: what this package takes in the main thread, where Python runs handlers of signals (Ctrl-C among them) between
two instructions. Does not cover: what a handler may interrupt inside of the block (``services.common.signals``).

Up to Python 3.13 the ``with`` statement takes a lock of ``threading`` in one instruction. From 3.14 on it calls the
lock's ``__enter__``, and Python runs handlers behind each call of a function that is written in C: if one raises there,
the lock is held, and the block, which would give it back, has not begun. Python runs none behind an item
(``lock[True]``), and none when a function in Python returns. So ``__enter__`` is in Python here, and takes the lock by
an item, whose method is the lock's ``acquire``.
"""

from __future__ import annotations

import operator
import sys
import threading
from typing import Any

_exit = property(operator.attrgetter("_lock.__exit__"))


class _OneStep:
    """Takes and gives back ``_lock``."""

    __slots__ = ()

    def __enter__(self) -> Any:
        return self[True]

    __getitem__: Any = property(operator.attrgetter("_lock.acquire"))
    __exit__: Any = _exit


class _Lock(_OneStep):
    __slots__ = ("_lock", "acquire", "release")
    _make: Any = staticmethod(threading.Lock)

    def __init__(self) -> None:
        self._lock: Any = self._make()
        self.acquire = self._lock.acquire
        self.release = self._lock.release


class _RLock(_Lock):
    __slots__ = ()
    _make = staticmethod(threading.RLock)


Lock: Any = threading.Lock
RLock: Any = threading.RLock

if sys.version_info >= (3, 14):
    Lock, RLock = _Lock, _RLock

    class Condition(_OneStep, threading.Condition):
        """A condition that a ``with`` statement takes and gives back in one step each."""

else:

    class Condition(threading.Condition):
        """A condition that a ``with`` statement takes and gives back in one step each.

        The methods of ``threading.Condition`` for it are written in Python: a handler that raises at their beginning or
        end leaves the lock held for good, and the thread that ends the future waits for it. These are the lock's own.
        """

        __enter__ = property(operator.attrgetter("_lock.__enter__"))
        __exit__ = _exit
