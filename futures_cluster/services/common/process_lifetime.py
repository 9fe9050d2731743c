"""Clusters end with their program, however it ends.

Covers: waiting at the end of the interpreter for what was submitted, letting go in a forked copy of the process.
Does not cover: ending a cluster (``cluster``, ``remote_cluster``), folders that a killed program leaves
(``socket_folders``).
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Protocol

_open: weakref.WeakSet[OpenCluster] = weakref.WeakSet()
_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_registered = False
_exiting = False


class Inherited(Protocol):
    """What a forked copy of the process must let go of."""

    def after_fork_in_child(self) -> None:
        """Let go of everything in a forked copy of the process."""


class OpenCluster(Inherited, Protocol):
    """What is ended here."""

    def shutdown(self, wait: bool, cancel_futures: bool = False, kill: bool | None = None) -> None:
        """End."""


def register_after_fork(item: Inherited) -> None:
    """Register what a process that is forked from here on lets go of."""
    _inherited.add(item)


def register_cluster(cluster: OpenCluster) -> None:
    """Register a cluster, for which the end of the interpreter waits.

    Raises
    ------
    RuntimeError
        When the interpreter is about to end.
    """
    global _registered
    if _exiting:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")
    if not _registered:
        try:
            threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
        except RuntimeError:  # the interpreter is about to end, and this is the first executor that is used
            raise RuntimeError("cannot schedule new futures after interpreter shutdown") from None
        _registered = True
    register_after_fork(cluster)
    _open.add(cluster)


def unregister_cluster(cluster: OpenCluster) -> None:
    """Unregister a cluster that has ended."""
    _open.discard(cluster)
    _inherited.discard(cluster)


def refuse_inside(starting: bool) -> None:
    """Refuse a call from inside the start of the same executor.

    Raises
    ------
    RuntimeError
        If ``starting``: the thread would wait for itself.
    """
    if starting:
        raise RuntimeError(
            "cannot use the executor while it starts: a finalizer (__del__) or a trace function called it inside its "
            "first submit(), on the same thread; call it after that has returned"
        )


def interpreter_exits() -> bool:
    """Return whether the interpreter is about to end, so that nothing new can be run."""
    return _exiting


def _at_exit() -> None:
    global _exiting
    _exiting = True
    # In an interactive session that was the last error of some line, not what ends the program.
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1")
    try:
        for cluster in list(_open):
            cluster.shutdown(wait=True, cancel_futures=interrupted, kill=True if interrupted else None)
    except KeyboardInterrupt:  # while this waited for what is running
        for cluster in list(_open):
            cluster.shutdown(wait=True, cancel_futures=True, kill=True)
        raise


def _after_fork() -> None:
    for item in list(_inherited):
        item.after_fork_in_child()
    _inherited.clear()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
