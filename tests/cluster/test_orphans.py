"""What tasks have started, after the end of their worker: stopped by force or dead, it leaves nothing behind.

What a worker leaves that ends in order lives on, as after the standard library's pools, and so does whatever has a
session of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import LIMIT_S

from futures_cluster import Executor
from futures_cluster.testing.real_cluster import Cluster

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's list of children")

#: A child and a child of that; both are named.
SHELL = "sleep 1000 & echo $! $$; wait"


def start(**options: Any) -> list[int]:
    """Start two processes that would run for long."""
    process = subprocess.Popen(["sh", "-c", SHELL], stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout is not None
    return [int(pid) for pid in process.stdout.readline().split()]


def start_and(end: Callable[[], None], path: Path) -> None:
    name_processes(path)
    end()


def name_processes(path: Path, **options: Any) -> None:
    """Start two processes, and write their numbers to a file, which is complete when it is there."""
    new = path.with_suffix(".new")
    new.write_text(" ".join(map(str, start(**options))))
    new.rename(path)


def sleep_long() -> None:
    time.sleep(1000)


class StartDaemon:
    """Start one more process, with a session of its own, and name it in another file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> None:
        name_processes(self.path, start_new_session=True)
        sleep_long()


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    os._exit(3)


class Started:
    """The processes that ``start_and`` names in a file, by descriptors that can be waited for."""

    def __init__(self, path: Path) -> None:
        end = time.monotonic() + LIMIT_S
        while not path.exists():
            assert time.monotonic() < end
            time.sleep(0.005)
        pids = path.read_text().split()
        assert len(pids) == 2
        self.fds = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                self.fds.append(os.pidfd_open(int(pid)))

    def have_ended(self, within_s: float) -> bool:
        return all(select.select([fd], [], [], within_s)[0] for fd in self.fds)

    def close(self) -> None:
        for fd in self.fds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pids"


@contextlib.contextmanager
def started(path: Path) -> Iterator[Started]:
    those = Started(path)
    try:
        yield those
    finally:
        those.close()


@pytest.fixture(params=["ours", "tcp", "fork"])
def ex(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Executor]:
    if request.param == "tcp":
        with Cluster(tmp_path) as cluster:
            cluster.add_worker("--workers", "2")
            with cluster.executor() as ex:
                yield ex
    else:
        context = multiprocessing.get_context("fork") if request.param == "fork" else None
        with Executor(2, mp_context=context) as ex:
            yield ex


def test_cancelled_by_force(ex: Executor, path: Path) -> None:
    future = ex.submit(start_and, sleep_long, path)
    with started(path) as those:
        assert future.cancel(force=True)
        assert those.have_ended(LIMIT_S)
    assert ex.submit(abs, -1).result(LIMIT_S) == 1


def test_out_of_time(path: Path) -> None:
    with Executor(1) as ex:
        ex.with_options(timeout=4).submit(start_and, sleep_long, path)  # a loaded machine takes a second to start one
        with started(path) as those:
            assert those.have_ended(LIMIT_S)


@pytest.mark.parametrize("end", [die, leave])
def test_a_worker_that_dies(end: Callable[[], None], path: Path) -> None:
    with Executor(1) as ex:
        ex.with_options(rerun=False).submit(start_and, end, path)
        with started(path) as those:
            assert those.have_ended(LIMIT_S)


@pytest.mark.parametrize("stop", [Executor.kill_workers, Executor.terminate_workers])
def test_all_workers_are_stopped(stop: Callable[[Executor], None], path: Path) -> None:
    with Executor(1) as ex:
        ex.submit(start_and, sleep_long, path)
        with started(path) as those:
            stop(ex)
            assert those.have_ended(0)  # it waits for that


def test_a_program_that_is_killed(path: Path) -> None:
    script = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from test_orphans import *\n"
        f"Executor(1).submit(start_and, sleep_long, Path({str(path)!r})).result()\n"
    )
    program = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parent)
    with started(path) as those:
        program.kill()
        program.wait()
        assert those.have_ended(LIMIT_S)


def test_what_an_orderly_end_leaves_lives_on() -> None:
    with Executor(1) as ex:
        pids = ex.submit(start).result(LIMIT_S)
    fds = [os.pidfd_open(pid) for pid in pids]
    for fd in fds:
        assert not select.select([fd], [], [], 0)[0]
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)


def test_what_is_not_the_workers_is_spared(path: Path) -> None:
    """Processes with a session of their own, and those of a worker that has ended in order."""
    with Executor(1, max_tasks_per_child=1) as ex:
        of_another = ex.submit(start).result(LIMIT_S)
        daemon_path = path.with_name("daemons")
        future = ex.submit(start_and, StartDaemon(daemon_path), path)
        with started(daemon_path) as daemons, started(path) as those:
            future.cancel(force=True)
            assert those.have_ended(LIMIT_S)
            assert not daemons.have_ended(0)
        for pid in reversed(of_another):  # the shell first, which ends when its child has
            os.kill(pid, signal.SIGKILL)  # raises if it is gone


def test_workers_stay_within_the_terminals_reach() -> None:
    """Ctrl-C, Ctrl-Z and a kill of the program's group reach what tasks have started."""
    with Executor(1) as ex:
        assert ex.submit(lambda: (os.getpgrp(), os.getsid(0))).result(LIMIT_S) == (os.getpgrp(), os.getsid(0))
