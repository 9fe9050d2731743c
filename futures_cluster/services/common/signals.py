"""Ctrl-C that waits until what is shared is whole again.

Covers: signal handlers of the program (Python runs them in the main thread, between any two of its instructions)
while that thread changes the scheduler's state, holds its lock or reads a worker's messages.
Does not cover: other threads, which no handler interrupts, and waiting, which must stay interruptible; taking a lock
(``locks``).

The way: ``DeferredSignals`` puts a handler of its own in the place of the program's, notes what comes, and at its end
puts the program's back and calls it. While ``is_open`` is set, around a wait, it may raise at once.

Why not one handler for good: asyncio and others look whether Python's own is there, and act on it.
"""

from __future__ import annotations

import os
import threading
from threading import get_ident
from typing import Any

try:  # What is under ``signal``, which makes enums of all it sees: that takes ten times as long, and time at the start.
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal
getsignal, set_handler = signal.getsignal, signal.signal

#: Signals whose handlers may raise: Ctrl-C, and what programs use to end themselves or a call that takes too long.
SIGNALS = tuple(int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name))


# The thread in which Python runs handlers. Looked up once: for each task that would be two calls more.
_main = threading.main_thread().ident


def _find_main() -> None:
    global _main
    _main = threading.main_thread().ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main)  # whichever thread has forked is the main one now


class DeferredSignals:
    """A context in which handlers of signals do not run; those that were due run at its end.

    Attributes
    ----------
    is_open : bool
        Whether handlers may run, and raise, for the time being. An attribute, because Python runs handlers at calls:
        nothing comes between the end of a call that waits and ``is_open = False``.
    due : list
        Signals that have come, whose handlers have not run.

    Examples
    --------
    >>> try:
    ...     with DeferredSignals():
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("goes on")
    ... except KeyboardInterrupt:
    ...     print("until here")
    goes on
    until here
    """

    __slots__ = ("_handlers", "due", "is_open")

    def __enter__(self) -> DeferredSignals:
        self._handlers: tuple[tuple[int, Any], ...] = ()
        self.due: list[tuple[int, Any]] = []
        self.is_open = False
        if get_ident() == _main:
            handlers = tuple(map(getsignal, SIGNALS))
            self._handlers = _USUAL_TO_DEFER if handlers == _USUAL else _to_defer(handlers)
            try:
                for number, _ in self._handlers:
                    set_handler(number, self._note)
            except BaseException:  # of the handler of a signal whose turn has not come
                self._put_back()
                raise
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.is_open:
            dict(self._handlers)[number](number, frame)
        else:
            self.due.append((number, frame))

    def call_due(self) -> None:
        """Run the handlers that are due."""
        if self.due:
            number, frame = self.due.pop(0)
            try:
                dict(self._handlers)[number](number, frame)
            finally:
                self.call_due()

    def _put_back(self) -> None:
        try:
            for number, handler in self._handlers:
                set_handler(number, handler)
        except BaseException:  # of one that is back: so once more, as the others must be, too
            self._put_back()
            raise

    def __exit__(self, *exc: object) -> None:
        self.is_open = False
        if self._handlers:
            self._put_back()
            if self.due:
                self.call_due()


def _to_defer(handlers: tuple[Any, ...]) -> tuple[tuple[int, Any], ...]:
    """Return which of the handlers of ``SIGNALS`` may raise.

    These may raise, and no outer context defers them yet.
    """
    return tuple(
        (number, handler)
        for number, handler in zip(SIGNALS, handlers, strict=True)
        if callable(handler) and type(getattr(handler, "__self__", None)) is not DeferredSignals
    )


# Python's own for Ctrl-C, the system's for all others: what most programs have. To look at each takes longer.
_USUAL = tuple(signal.default_int_handler if number == signal.SIGINT else int(signal.SIG_DFL) for number in SIGNALS)
_USUAL_TO_DEFER = _to_defer(_USUAL)
