"""Exceptions of ours that code for the standard library's pools catches: they derive from those of its pools.

Covers: these classes. Users have them from ``errors``, which loads this module when one of them is first used: the
standard library's are in the modules of its pools, which load multiprocessing. A cluster and its workers load it when
they start, because later there may be no descriptor for it, and a worker may have changed the root of its file system.
Does not cover: all other exceptions (``errors``).
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool


class WorkerDied(BrokenProcessPool):
    """Three worker processes were lost while they ran this task, or one if it was submitted with ``rerun=False``.

    The message says how each ended (exit code or signal, or what happened to its connection) and shows the end of what
    it wrote to stderr.
    """

    __module__ = "futures_cluster.errors"


class DeserializationError(BrokenProcessPool):
    """Arguments or a result did not unpickle on the other side; ``__cause__`` is the original error."""

    __module__ = "futures_cluster.errors"


class InitializerFailed(BrokenProcessPool):
    """The initializer raised, or no worker could be started; the executor is broken."""

    __module__ = "futures_cluster.errors"


class ThreadInitializerFailed(BrokenThreadPool):
    """The initializer raised in a thread; the executor is broken."""

    __module__ = "futures_cluster.errors"
