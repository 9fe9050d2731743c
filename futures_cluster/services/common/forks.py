"""Users' code that forks, on a thread of ours: only the process itself comes back from it.

Covers: ending the copy, where users' code has returned or raised, as a child of multiprocessing ends. Does not cover:
what a copy must let go of at once (``process_lifetime``), children of multiprocessing, which end by themselves.

A copy of a worker that went on would execute the worker's tasks, and both would read and write one socket. A copy that
comes back from a callback would call the next ones.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import NoReturn

#: How many forks lie between the first process and this one. Code that finds another number than before is in a copy.
count = 0


def _is_copy() -> None:
    global count
    count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_is_copy)


class Once:
    """A context that users' code runs in: a copy of the process which it made ends there.

    Examples
    --------
    >>> with Once():
    ...     if (pid := os.fork()) == 0:
    ...         raise SystemExit(3)
    >>> os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    3
    """

    __slots__ = ("_count",)

    def __enter__(self) -> None:
        self._count = count

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if count != self._count:
            leave(error)


def leave(error: BaseException | None = None) -> NoReturn:
    """End this copy of a process as a child of multiprocessing would."""
    code = 0
    try:
        if isinstance(error, SystemExit):
            code = _exit_code(error)
        elif error is not None:
            import traceback

            code = 1
            traceback.print_exception(error)
        threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that the copy has started
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _exit_code(error: SystemExit) -> int:
    """Return the code that the interpreter would exit with."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1
