"""Options of the test suite: which marked tests are run, and what each test must clean up.

`slow` tests run with --runslow, or when the environment variable CI is set. `conformance` tests run
on Python 3.13 and later when its `test` package is installed (Debian, for one, packages it apart).
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from gate import Gate
from hypothesis import HealthCheck, settings

from futures_cluster.testing import real_cluster

# What may take a moment after a test: a dropped executor ends when its tasks are done.
CLEAN_UP_LIMIT_S = 10.0
# A busy machine is no reason to fail.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# Shells let what scripts start in the background ignore Ctrl-C, and all the programs of the tests would do so, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
OUR_THREADS = re.compile(r"futures_cluster|ThreadPoolExecutor-\d")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run the tests marked slow, too")


def _has_conformance_tests() -> bool:
    if sys.version_info < (3, 13):
        return False
    try:
        return importlib.util.find_spec("test.test_concurrent_futures") is not None
    except ModuleNotFoundError:
        return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (config.getoption("--runslow") or os.environ.get("CI")):
        skip_slow = pytest.mark.skip(reason="slow: needs --runslow")
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(skip_slow)
    if not _has_conformance_tests():
        skip_conformance = pytest.mark.skip(reason="needs Python 3.13 or later with its test package")
        for item in items:
            if item.get_closest_marker("conformance"):
                item.add_marker(skip_conformance)


def _helpers_of_multiprocessing() -> tuple[set[int], set[int]]:
    """Processes and descriptors that multiprocessing keeps until the end, once it has them."""
    pids: set[int] = set()
    fds: set[int] = set()
    if (module := sys.modules.get("multiprocessing.resource_tracker")) is not None:
        pids.add(module._resource_tracker._pid)
        fds.add(module._resource_tracker._fd)
    if (module := sys.modules.get("multiprocessing.forkserver")) is not None:
        pids.add(module._forkserver._forkserver_pid)
        fds.add(module._forkserver._forkserver_alive_fd)
    return pids, fds


def _children(pid: int) -> list[int]:
    """Processes that another one has started, and that have not ended.

    As Linux lists them for each thread: psutil reads the whole table of processes, and this is asked twice a test.
    """
    if not os.path.exists("/proc/thread-self/children"):
        return [child.pid for child in psutil.Process(pid).children()]
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):  # it has ended
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def _descendants() -> list[int]:
    """All processes below this one, without those of a cluster that several tests use."""
    found: list[int] = []
    stack = [os.getpid()]
    while stack:
        with contextlib.suppress(OSError, psutil.NoSuchProcess):  # one has ended
            children = [pid for pid in _children(stack.pop()) if pid not in real_cluster.shared_pids]
            found += children
            stack += children
    return found


def _open_things(alone: bool) -> Counter[str]:
    """What an executor may leave: threads, processes, descriptors, folders; not all of it beside another executor."""
    things: Counter[str] = Counter()
    for thread in threading.enumerate():
        if OUR_THREADS.match(thread.name) and (alone or thread.name != "futures_cluster-callbacks"):
            things[f"thread {thread.name} ({thread.ident})"] += 1
    helpers, helpers_fds = _helpers_of_multiprocessing()
    for pid in _descendants():
        if pid not in helpers:
            things[f"process {pid}"] += 1
    if alone and os.path.isdir("/proc/self/fd"):
        for fd in os.listdir("/proc/self/fd"):
            if int(fd) not in helpers_fds:
                with contextlib.suppress(OSError):
                    target = os.readlink(f"/proc/self/fd/{fd}")
                    if target.startswith(("socket:", "pipe:", "anon_inode:", "/memfd:")):
                        things[f"descriptor of {target}"] += 1
    for name in os.listdir(tempfile.gettempdir()):
        if name.startswith(f"futures_cluster-{os.getpid()}-"):
            things[f"folder {name}"] += 1
    return things


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test after which threads, processes, sockets, pipes, memory files or folders of an executor are left.

    An executor of a fixture with a wider scope starts its workers when it is first used: it must have run a task on all
    of them (``ex.run(int)``) before that fixture yields it. As long as it is there descriptors are not counted: it may
    keep connections and segments of memory for the next task. Nor is the thread for callbacks, which starts with the
    first one.
    """
    alone = not any(thread.name.startswith("futures_cluster") for thread in threading.enumerate())
    before = _open_things(alone)
    yield
    end = time.monotonic() + CLEAN_UP_LIMIT_S
    pause_s = 0.001
    while left := _open_things(alone) - before:
        if time.monotonic() > end:
            processes = [_describe(process) for process in psutil.Process().children(recursive=True)]
            pytest.fail("\n".join(["left behind:", *left.elements(), "all processes:", *processes]))
        gc.collect()
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.1)


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process}: {process.cmdline()}"
    except psutil.Error as error:  # it ends now, or nobody has waited for it
        return f"{process}: {error}"


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """See ``Gate``; it opens at the end, so that a test that fails leaves no task waiting."""
    gate = Gate(tmp_path)
    try:
        yield gate
    finally:
        gate.close()
