"""What multiprocessing says of a worker process that our own fork server has started.

Covers: the numbers and names that ``current_process()`` gives tasks, and their ``parent_process()``. Does not cover:
workers of a multiprocessing context, which have all this from multiprocessing itself.

Libraries number devices and progress bars by ``current_process()._identity``, and modules ask for the name
"MainProcess" before they do what only the program must do. So a worker counts among the children of the process that
starts it, with a number that no other child has; what its tasks start by multiprocessing counts among its own children.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing.process
import os
from typing import Any

from futures_cluster.services.common.worker_settings import PROCESS_NAME, WorkerSettings

_process: Any = multiprocessing.process


def new() -> dict[str, Any]:
    """Return the settings of the next worker about its identity."""
    current = multiprocessing.process.current_process()
    identity = (*current._identity, next(_process._process_counter))
    return {"identity": identity, "parent": (os.getpid(), current.name)}


class FuturesClusterProcess(multiprocessing.process.BaseProcess):
    """A worker process, as ``multiprocessing.current_process()`` shows it to tasks."""

    def __init__(self, identity: tuple[int, ...], parent: tuple[int, str]) -> None:
        super().__init__(name=f"{PROCESS_NAME}-{':'.join(map(str, identity))}", daemon=False)
        self._identity = identity
        self._parent_pid, self._parent_name = parent


def take(settings: WorkerSettings) -> None:
    """Become the process of the settings; in the worker, before users' code runs."""
    if settings.identity:
        assert settings.parent is not None
        pid, name = settings.parent
        _process._current_process = FuturesClusterProcess(settings.identity, settings.parent)
        _process._process_counter = itertools.count(1)
        # Without such a descriptor nothing tells of the end of another process than a child.
        with contextlib.suppress(AttributeError, OSError):
            _process._parent_process = _process._ParentProcess(name, pid, os.pidfd_open(pid))
    if settings.authkey is not None:
        multiprocessing.process.current_process().authkey = settings.authkey
