"""Memory and descriptors over the number of tasks, and what is left at the end.

Covers: sampling processes, the slope of their memory, processes, files, threads and descriptors that outlive the run.
Does not cover: bringing everything to rest before a sample (``soak.py``).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

#: More growth than this is a fault: MB for each 100,000 tasks.
MAX_GROWTH_MB = 0.2
#: Tasks over which a slope says anything, and samples; with less, it is shown and not judged.
MIN_TASKS = 500_000
MIN_SAMPLES = 12
#: The first part of a run is no steady state.
WARM_UP = 0.25
#: A process may have so many descriptors more at its end than after the warm-up.
MAX_MORE_DESCRIPTORS = 16
#: With these variables free memory goes back to the system. Otherwise Python and the C library keep megabytes of it,
#: more or less by chance, and a leak of 0.2 MB is not to be seen beside that.
EXACT = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
#: What is to end has ended after so long.
CLEAN_UP_S = 20.0


def trim() -> None:
    """Give back to the system what this process does not use, so that a sample shows what it holds."""
    if (dask := sys.modules.get("dask.utils")) is not None:
        dask.key_split.cache_clear()  # Dask keeps 100,000 keys there
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Process:
    """A process that lives as long as the run, and its samples."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self._process = psutil.Process(pid)
        self.samples: list[tuple[int, float, int]] = []  # tasks so far, MB, descriptors

    def sample(self, tasks: int) -> None:
        """Look at it."""
        mb = self._process.memory_full_info().uss / 2**20
        self.samples.append((tasks, mb, self._process.num_fds()))

    @property
    def steady(self) -> list[tuple[int, float, int]]:
        """The samples after the warm-up."""
        most = self.samples[-1][0] if self.samples else 0
        return [sample for sample in self.samples if sample[0] >= WARM_UP * most]

    @property
    def slope(self) -> float | None:
        """MB for each 100,000 tasks: the median of the slopes between any two samples (Theil and Sen)."""
        slopes = [
            (mb2 - mb1) / (tasks2 - tasks1) * 100_000
            for (tasks1, mb1, _), (tasks2, mb2, _) in itertools.combinations(self.steady, 2)
            if tasks2 > tasks1
        ]
        return statistics.median(slopes) if slopes else None

    @property
    def is_judged(self) -> bool:
        """Whether there is enough to judge by."""
        steady = self.steady
        return len(steady) >= MIN_SAMPLES and steady[-1][0] - steady[0][0] >= MIN_TASKS

    def faults(self) -> list[str]:
        """What is wrong with it."""
        found = []
        slope = self.slope
        if self.is_judged and slope is not None and slope > MAX_GROWTH_MB:
            found.append(f"{self.name} grows by {slope:.2f} MB for each 100,000 tasks")
        steady = self.steady
        if len(steady) > 1 and steady[-1][2] > steady[0][2] + MAX_MORE_DESCRIPTORS:
            found.append(f"{self.name} has {steady[-1][2]} descriptors, and had {steady[0][2]}")
        return found


class Remains:
    """What a run must not leave: made before it begins.

    Parameters
    ----------
    mark : dict
        A variable of the environment that all processes of the run have.
    folder : Path
        In which all its temporary files are.
    """

    def __init__(self, mark: dict[str, str], folder: Path) -> None:
        self._mark = mark
        self._folder = folder
        self._shared_memory = _names("/dev/shm")
        self._descriptors = _descriptors()

    def find(self) -> list[str]:
        """What is left, after it has been waited for."""
        end = time.monotonic() + CLEAN_UP_S
        while (found := self._look()) and time.monotonic() < end:
            gc.collect()
            time.sleep(0.2)
        return found

    def _look(self) -> list[str]:
        found = [f"process {each.pid}: {' '.join(each.cmdline())}" for each in self._processes()]
        found += [f"file {name}" for name in sorted(_names(str(self._folder)))]
        found += [f"/dev/shm/{name}" for name in sorted(_names("/dev/shm") - self._shared_memory) if "futures" in name]
        found += [f"thread {each.name}" for each in threading.enumerate() if each.name.startswith("futures_cluster")]
        more = _descriptors() - self._descriptors
        return found + ([f"{more} descriptors of sockets, pipes and memory"] if more > 0 else [])

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                mine = process.pid != os.getpid() and self._mark.items() <= process.environ().items()
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def _names(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _descriptors() -> int:
    count = 0
    for fd in _names("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{fd}").startswith(("socket:", "pipe:", "anon_inode:", "/memfd:"))
    return count


class Rest:
    """Brings threads to rest for a sample: they pass here between two jobs."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._wanted = False
        self._working = 0

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Around a job; begins when no rest is wanted."""
        with self._condition:
            self._condition.wait_for(lambda: not self._wanted)
            self._working += 1
        try:
            yield
        finally:
            with self._condition:
                self._working -= 1
                self._condition.notify_all()

    def take(self, function: Callable[[], None], limit_s: float) -> bool:
        """Call a function while no job runs; False if some job does not end in time."""
        with self._condition:
            self._wanted = True
            rests = self._condition.wait_for(lambda: not self._working, limit_s)
        try:
            if rests:
                function()
            return rests
        finally:
            with self._condition:
                self._wanted = False
                self._condition.notify_all()
