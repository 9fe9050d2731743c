"""The settings of a worker process at its start.

Covers: the settings, which the parent of a worker makes. Does not cover: what the process does with them
(``process``, which the client need not import), and what users configure (``futures_cluster.config``).
"""

# Annotations are not postponed here; see ``futures_cluster.config``.

import os
from typing import NamedTuple

from futures_cluster import messages as m
from futures_cluster.wire.transports import registry

#: How a worker ends that has lost its connection.
LOST_CODE = 76
#: What the names of worker processes begin with, as multiprocessing tells them to tasks.
PROCESS_NAME = "FuturesClusterProcess"


def new_incarnation() -> str:
    """Return what tells a process from others that had its name before it.

    See ``services.client.client`` and ``services.scheduler.server``.
    """
    return os.urandom(4).hex()


class WorkerSettings(NamedTuple):
    """The settings of a worker process at its start; plain values that pickle."""

    name: str
    listen: str  # the address at which peers ask for results; with port 0, one that is free
    slots: int = 1
    most_runs: int | None = None
    memory_limit: int | None = None
    resources: dict[str, float] | None = None
    sys_path: list[str] | None = None
    argv: list[str] | None = None  # of the program
    recursion_limit: int | None = None
    environment: dict[str, str] | None = None
    identity: tuple[int, ...] = ()  # among the children of ``parent``, as multiprocessing counts; () if it does so
    parent: tuple[int, str] | None = None  # the process that starts the worker: pid, and name in multiprocessing
    authkey: bytes | None = None  # of multiprocessing, so that its managers' proxies work in tasks
    debug: bool = False
    initializer: bytes | None = None  # a pickle of (initializer, initargs)
    by_reference: bool = False  # the process has the program's ``__main__``, as multiprocessing has started it
    scheduler: str = ""  # its address, if the parent is not the scheduler
    security: registry.Security = registry.NO_SECURITY
    manager: str = ""  # the name of the parent, as the scheduler knows it
    silence_s: float = 60.0
    folder: str | None = None  # for spilled results and code
    logging: m.LogSettings | None = None  # what the client wants of log records
    incarnation: str = ""  # see ``new_incarnation``
