"""Threads that execute users' code: the interpreter waits for those that this code starts, though not for ours.

Covers: what a new thread inherits. Does not cover: waiting for running tasks at the end (``process_lifetime``).
"""

from __future__ import annotations

import threading


def start_no_daemons() -> None:
    """Have threads that the calling one starts be no daemons, though it is one.

    A thread inherits this from the one that starts it. Those of the standard library's pools are no daemons either, and
    a thread that a task has left, to save something, ends its work before the program ends.
    """
    threading.current_thread()._daemonic = False  # type: ignore[attr-defined]  # ``daemon`` is for new threads only
