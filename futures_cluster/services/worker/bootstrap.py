"""A worker process as an interpreter: what it has when it starts, and how it ends.

Covers: signals, standard streams, variables, paths and limits of a new process; threads, ``atexit`` functions and
queues of multiprocessing at its end. Does not cover: what runs in between (``process``).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

from futures_cluster.services.common import descriptors, process_identity
from futures_cluster.services.common.worker_settings import WorkerSettings
from futures_cluster.wire.codec import pickling
from futures_cluster.wire.codec.main_modules import mains

#: Maximum time for which a task that runs Python code keeps the loop from the interpreter. The loop sends results to
#: others piece by piece: by Python's default of 5 ms a megabyte takes 30 ms.
SWITCH_INTERVAL_S = 0.001


def set_up_process(settings: WorkerSettings, stderr_fd: int) -> None:
    """Give the process what tasks expect of one that the program has started."""
    # Ctrl-C goes to the whole group of processes; the client decides what it means. A handler that does nothing,
    # unlike SIG_IGN, is not passed on to programs that tasks start.
    signal.signal(signal.SIGINT, lambda signum, frame: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _take_stderr(stderr_fd)
    with contextlib.suppress(Exception):
        # Whole lines, also under PYTHONUNBUFFERED: workers share the caller's terminal.
        sys.stdout.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
    for name, value in (settings.environment or {}).items():
        os.environ.setdefault(name, value)
    process_identity.take(settings)
    if settings.sys_path is not None:
        sys.path[:] = settings.sys_path
    if settings.argv is not None:
        sys.argv[:] = settings.argv
    sys.setswitchinterval(min(SWITCH_INTERVAL_S, sys.getswitchinterval()))
    if settings.recursion_limit is not None:
        sys.setrecursionlimit(settings.recursion_limit)
    if settings.by_reference:
        pickling.settings.by_reference = True
    else:
        mains.become_host()
    with contextlib.suppress(Exception):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each mapped segment keeps a descriptor


def _take_stderr(fd: int) -> None:
    """Write stderr to this pipe; other closed streams lead nowhere."""
    if not descriptors.is_open(2) or descriptors.is_standard(2):
        os.dup2(fd, 2)
        os.close(fd)
        fd = 2
    # Else a forked copy, in which a file of the program has that number.
    descriptors.fill_standard()
    sys.stderr = open(fd, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    if sys.__stderr__ is None and fd == 2:
        sys.__stderr__ = sys.stderr  # type: ignore[misc]


def forget_exit_functions() -> None:
    """Drop the exit functions of another process, in a forked copy of it.

    multiprocessing does so itself from Python 3.13 on.
    """
    if sys.version_info < (3, 13):
        from multiprocessing import util

        atexit._clear()
        atexit.register(util._exit_function)  # type: ignore[attr-defined]


def end_process(code: int, last_step: Callable[[], object] | None) -> None:
    """End as an interpreter does: wait for threads, run ``atexit`` functions.

    The last step comes behind these. The process that has started this one kills it if that takes too long. No objects
    are torn down after it: the threads of this package may still use them.
    """
    steps = [threading._shutdown, atexit._run_exitfuncs, flush_queues]  # type: ignore[attr-defined]
    if last_step is not None:
        steps.append(last_step)
    for step in steps:
        with contextlib.suppress(BaseException):
            step()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def flush_queues() -> None:
    """Let inherited queues of multiprocessing pass on what tasks have put."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        with contextlib.suppress(Exception):
            util._exit_function()
