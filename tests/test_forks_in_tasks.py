"""Users' code that forks on a thread of ours: a copy that comes back ends as a child of multiprocessing ends.

Covers: tasks, initializers, callbacks and plugins whose copy returns, raises or exits; what a copy may not do; children
of multiprocessing. Does not cover: programs that a task starts (``cluster.test_orphans``).
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import LIMIT_S, Gate

from futures_cluster import Executor, current_executor
from futures_cluster.errors import ForkedExecutor
from futures_cluster.services.client import wait_watch
from futures_cluster.services.common.plugin_runner import SchedulerPlugin
from futures_cluster.testing.real_cluster import Cluster

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

INNOCENT = 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), is_shared=True) as cluster:
        cluster.add_worker("--workers", "2")
        yield cluster


@pytest.fixture(params=["threads", "processes", "fork", "tcp"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param in ("threads", "processes"):
        with Executor(2, backend=request.param) as ex:
            yield ex
    elif request.param == "fork":
        with Executor(2, mp_context=multiprocessing.get_context("fork")) as ex:
            yield ex
    else:
        with request.getfixturevalue("cluster").executor() as ex:
            yield ex


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_and(how: str) -> tuple[int, int]:
    """The parent returns its pid and the exit code of the copy, which leaves the task in another way."""
    parent = os.getpid()
    if pid := os.fork():
        return parent, exit_code(pid)
    if how == "raise":
        raise ValueError("raised in the copy")
    if how == "exit":
        sys.exit(5)
    if how == "exit with a text":
        sys.exit("the last words of the copy")
    if how == "large":
        return bytes(2**22)  # type: ignore[return-value]
    return 0, 0


@pytest.mark.parametrize(
    ("how", "code"), [("return", 0), ("large", 0), ("raise", 1), ("exit", 5), ("exit with a text", 1)]
)
def test_a_copy_of_a_task_says_nothing(ex: Executor, how: str, code: int) -> None:
    workers = set(ex.run(os.getpid).values())
    for _ in range(5):
        forking = ex.submit(fork_and, how)
        innocent = [ex.submit(abs, -number) for number in range(INNOCENT)]
        pid, found = forking.result(LIMIT_S)
        assert (pid in workers, found) == (True, code)
        assert [each.result(LIMIT_S) for each in innocent] == list(range(INNOCENT))


def fork_and_submit(parent_first: bool) -> int:
    if parent_first:
        assert current_executor().submit(abs, -1).result() == 1
    if pid := os.fork():
        return exit_code(pid)
    try:
        current_executor().submit(abs, -1)
    except ForkedExecutor:
        sys.exit(7)
    return 0


def test_a_copy_cannot_submit(ex: Executor) -> None:
    assert [ex.submit(fork_and_submit, first).result(LIMIT_S) for first in (False, True)] == [7, 7]


class Forks:
    """Forks when it is pickled; unpickles to the exit code of the copy."""

    def __reduce__(self) -> Any:
        return (int, (exit_code(pid) if (pid := os.fork()) else 9,))


def test_a_copy_that_comes_back_from_pickling() -> None:
    with Executor(1) as ex:
        assert [ex.submit(Forks).result(LIMIT_S) for _ in range(3)] == [0, 0, 0]
        assert ex.submit(abs, -1).result(LIMIT_S) == 1


def square(value: int) -> int:
    return value**2


def use_pool() -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(5))


def test_children_of_multiprocessing_work(ex: Executor) -> None:
    assert ex.submit(use_pool).result(LIMIT_S) == [0, 1, 4, 9, 16]


def initialize(path: str) -> None:
    if pid := os.fork():
        with open(path, "a") as file:
            file.write(f"{os.getpid()} {exit_code(pid)}\n")


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_a_copy_of_an_initializer(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with Executor(1, backend=backend, initializer=initialize, initargs=(str(path),)) as ex:
        worker = ex.submit(os.getpid).result(LIMIT_S)
        assert path.read_text() == f"{worker} 0\n"


class Forking(SchedulerPlugin):
    def __init__(self) -> None:
        self.codes: list[int] = []

    def task_finished(self, event: Any) -> None:
        if pid := os.fork():
            self.codes.append(exit_code(pid))


def test_copies_of_callbacks_and_plugins(gate: Gate) -> None:
    parent, codes, plugin = os.getpid(), [], Forking()

    def call_back(future: Any) -> None:
        if pid := os.fork():
            codes.append(exit_code(pid))
        else:
            raise ValueError

    def count(future: Any) -> None:
        if os.getpid() != parent:  # the callback after the one that forks
            os._exit(99)

    with Executor(1, backend="threads") as ex:
        ex.watch(plugin)
        future = ex.submit(gate.hold, 1)
        future.add_done_callback(call_back)
        future.add_done_callback(count)
        gate.open()
        assert future.result(LIMIT_S) == 1
    assert (codes, plugin.codes) == ([1], [0])


def test_copies_of_filters_of_what_a_wait_says() -> None:
    """A handler that forks has a lock, which ``logging`` makes anew in the copy."""
    parent, codes, ended = os.getpid(), [], threading.Semaphore(0)

    def let_pass(record: logging.LogRecord) -> bool:
        if os.getpid() != parent:  # the line after the one at which it forks
            os._exit(99)
        if pid := os.fork():
            codes.append(exit_code(pid))
            ended.release()
        return False

    logger = logging.getLogger("futures_cluster")
    logger.addFilter(let_pass)
    try:
        wait_watch._say(["one", "two"])
        assert ended.acquire(timeout=LIMIT_S) and ended.acquire(timeout=LIMIT_S)
    finally:
        logger.removeFilter(let_pass)
    assert codes == [0, 0]


def test_a_copy_that_lives_on_ends_quietly(tmp_path: Path) -> None:
    """It comes back from its task when the program has ended: there is nothing it could wait for."""
    go = tmp_path / "go"
    os.mkfifo(go)

    def fork_and_wait() -> int:
        if pid := os.fork():
            return pid
        with open(go) as file:
            file.read()
        return 0

    with Executor(1) as ex:
        pid = ex.submit(fork_and_wait).result(LIMIT_S)
    import psutil

    process = psutil.Process(pid)
    with open(go, "w"):
        pass
    with contextlib.suppress(psutil.NoSuchProcess):
        process.wait(LIMIT_S)
