"""What CPython's own tests of ``concurrent.futures`` need to run on our executors.

Covers: subclasses of our two pools with the standard library's private names, which the tests look at; the module
``concurrent.futures`` with our classes in it, for the tests' modules; the scripts that tests hand to a new
interpreter; the mixins that name an executor and a way to start processes.
Does not cover: which tests run, and where ours differ on purpose (``test_conformance``, ``deviations``).

Only tests import this. The subclasses change nothing but what the tests see.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

import psutil
from test.support import script_helper
from test.test_concurrent_futures import util

import futures_cluster

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 20.0


def settle(executor: Any) -> None:
    """Return when the scheduler's thread has passed on all that was submitted before.

    A submitted task comes to its thread in at most three turns of the loop; the standard library starts threads
    inside ``submit``, and its tests count them at once. Once the executor is closing there is nothing to wait for.
    """
    cluster = executor._engine.cluster
    if cluster.closing or not cluster._started:
        return
    for _ in range(6):
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), cluster._thread.loop).result(LIMIT_S)


class ThreadPoolExecutor(futures_cluster.ThreadPoolExecutor):
    """Ours, with the private names of the standard library's."""

    @property
    def _threads(self) -> set[Any]:
        return {slot.thread for slot in self._engine._slots.all}


class Process:
    """A worker's process as ``multiprocessing`` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None

    def terminate(self) -> None:
        """End it by SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def join(self, timeout: float = LIMIT_S) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            self._process.wait(timeout)

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.is_running()


class CallQueue:
    """The standard library's queue of calls has a thread to join; ours is a mailbox and has none."""

    def join_thread(self) -> None:
        """Nothing to wait for."""


class OwnStart:
    """Stands for a multiprocessing context where the tests ask for one, and means: our own start.

    What the tests make of a context (semaphores, managers) they get from the one that ``spawn`` names.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")

    def get_start_method(self, allow_none: bool = False) -> str:
        """No method of multiprocessing."""
        return "own"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class ProcessPoolExecutor(futures_cluster.ProcessPoolExecutor):
    """Ours, with the private names of the standard library's."""

    def __init__(self, max_workers: Any = None, mp_context: Any = None, *args: Any, **kwargs: Any) -> None:
        if isinstance(mp_context, OwnStart):
            mp_context = None
        super().__init__(max_workers, mp_context, *args, **kwargs)
        self._call_queue = CallQueue()

    @property
    def _executor_manager_thread(self) -> Any:
        return self._engine.cluster._thread.thread

    @property
    def _processes(self) -> dict[int, Process]:
        """Those that take tasks: of one that was replaced, the standard library has forgotten by then."""
        settle(self)
        cluster = self._engine.cluster
        workers = cluster.scheduler.machine.state.workers
        end = time.monotonic() + LIMIT_S
        while True:
            handles = [
                handle
                for name, handle in list(cluster.processes.handles.items())
                if not handle.deliberate and not (name in workers and workers[name].retiring)
            ]
            if all(handle.pid is not None for handle in handles) or time.monotonic() > end:
                return {handle.pid: Process(handle.pid) for handle in handles}
            settle(self)  # their start is under way


class FuturesModule(types.ModuleType):
    """``concurrent.futures`` with some names replaced; pickles as a name of this module."""

    def __init__(self, own_name: str, **replaced: Any) -> None:
        super().__init__("concurrent.futures")
        self.__dict__.update(replaced)
        self._own_name = own_name

    def __reduce__(self) -> Any:
        return getattr, (sys.modules[__name__], self._own_name)

    def __getattr__(self, name: str) -> Any:
        return getattr(concurrent.futures, name)


OUR_POOLS = FuturesModule("OUR_POOLS", ThreadPoolExecutor=ThreadPoolExecutor, ProcessPoolExecutor=ProcessPoolExecutor)
OUR_POOLS_AND_AS_COMPLETED = FuturesModule(
    "OUR_POOLS_AND_AS_COMPLETED",
    ThreadPoolExecutor=ThreadPoolExecutor,
    ProcessPoolExecutor=ProcessPoolExecutor,
    as_completed=futures_cluster.as_completed,
)


def assert_python_ok(*args: str, **env_vars: str) -> Any:
    """The standard library's, where scripts import our executors."""
    ours = [arg.replace("from concurrent.futures import", "from futures_cluster import") for arg in args]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return script_helper.assert_python_ok(*ours, PYTHONPATH=path, **env_vars)


# ---------------------------------------------------------------- the mixins, with the names of the originals


class ThreadPoolMixin(util.ThreadPoolMixin):
    """Threads."""

    executor_type = ThreadPoolExecutor


class OwnStartMixin:
    """What tests ask of a mixin of executors, for processes by our own start, which needs no context."""

    executor_type = ProcessPoolExecutor

    def get_context(self) -> OwnStart:
        """What tests pass as ``mp_context``."""
        return OwnStart()

    def create_event(self: Any) -> Any:
        """An event that tasks can wait for."""
        manager = self.get_context().Manager()
        self.addCleanup(manager.shutdown)
        return manager.Event()


class ProcessPoolOwnStartMixin(OwnStartMixin, util.ExecutorMixin):
    """Processes by our own start."""


class ProcessPoolForkMixin(util.ProcessPoolForkMixin):
    """Processes by a multiprocessing context."""

    executor_type = ProcessPoolExecutor


class ProcessPoolForkserverMixin(util.ProcessPoolForkserverMixin):
    """Processes by a multiprocessing context."""

    executor_type = ProcessPoolExecutor


class ProcessPoolSpawnMixin(util.ProcessPoolSpawnMixin):
    """Processes by a multiprocessing context."""

    executor_type = ProcessPoolExecutor


PROCESS_MIXINS = (
    ProcessPoolOwnStartMixin,
    ProcessPoolForkMixin,
    ProcessPoolForkserverMixin,
    ProcessPoolSpawnMixin,
)
ALL_MIXINS = (ThreadPoolMixin, *PROCESS_MIXINS)
