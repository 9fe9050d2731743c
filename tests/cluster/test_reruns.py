"""A task that loses its workers in any way is not run for ever, and one that only keeps its worker busy runs once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from futures_cluster import Executor, TaskTimeout, WorkerDied
from futures_cluster.testing.real_cluster import Cluster

WAIT_S = 60


@contextlib.contextmanager
def on_this_machine(folder: Path, *options: str) -> Iterator[Executor]:
    with Executor(2) as ex:
        yield ex


@contextlib.contextmanager
def over_tcp(folder: Path, *options: str) -> Iterator[Executor]:
    with Cluster(folder, *options) as cluster:
        cluster.add_worker("--workers", "2", "--name", "w")
        with cluster.executor() as ex:
            yield ex


everywhere = pytest.mark.parametrize("make", [on_this_machine, pytest.param(over_tcp, marks=pytest.mark.slow)])
Make = Callable[[Path], contextlib.AbstractContextManager[Executor]]


def note(folder: Path, name: str) -> None:
    with open(folder / name, "ab") as file:
        file.write(b"x")


def runs(folder: Path, name: str) -> int:
    path = folder / name
    return path.stat().st_size if path.exists() else 0


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def close_all(folder: Path) -> None:
    note(folder, "closed")
    os.closerange(3, 256)


def close_all_and_stay(folder: Path) -> None:
    note(folder, "closed")
    os.closerange(3, 256)
    while True:
        time.sleep(1)


@pytest.mark.slow
@everywhere
@pytest.mark.parametrize("close", [close_all, close_all_and_stay])
def test_a_task_that_closes_what_its_worker_needs(make: Make, close: Callable[[Path], None], tmp_path: Path) -> None:
    with make(tmp_path) as ex:
        before = [ex.submit(abs, -i) for i in range(50)]
        closing = ex.submit(close, tmp_path)
        after = [ex.submit(abs, -i) for i in range(50)]
        with pytest.raises(WorkerDied) as caught:
            closing.result(WAIT_S)
        assert runs(tmp_path, "closed") == 3
        assert str(caught.value).count("os.closerange") == 3 and "3. on w" in str(caught.value)
        assert [future.result(WAIT_S) for future in before + after] == [*range(50), *range(50)]
        assert ex.submit(pow, 2, 3).result(WAIT_S) == 8


@everywhere
def test_the_error_says_how_each_attempt_ended(make: Make, tmp_path: Path) -> None:
    def end_in_different_ways() -> None:
        note(tmp_path, "ended")
        if runs(tmp_path, "ended") == 1:
            os._exit(3)
        os.kill(os.getpid(), signal.SIGSEGV if runs(tmp_path, "ended") == 2 else signal.SIGKILL)

    with make(tmp_path) as ex:
        with pytest.raises(WorkerDied, match=r"(?s)3 attempts.*1\. on w.*code 3.*2\. on w.*SIGSEGV.*3\. on w.*SIGKILL"):
            ex.submit(end_in_different_ways).result(WAIT_S)


def hold_the_gil(folder: Path) -> str:
    """Let no other thread of this process run until there is a file."""
    note(folder, "held")
    ctypes.PyDLL(None).system(f"while [ ! -e {folder / 'go'} ]; do sleep 0.02; done".encode())
    return "held"


@pytest.mark.slow
def test_a_worker_that_only_holds_the_gil_is_not_lost(tmp_path: Path) -> None:
    with Cluster(tmp_path, "--silence", "1") as cluster:
        cluster.add_worker("--name", "w", "--silence", "30")
        with cluster.executor() as ex:
            held = ex.with_options(key="the-key").submit(hold_the_gil, tmp_path)
            cluster.scheduler.wait_for("though its process runs")
            late = ex.submit(abs, -1)
            cluster.add_worker("--name", "other", "--silence", "30")
            assert late.result(WAIT_S) == 1  # not behind the one that holds the lock
            assert held.running()
            (tmp_path / "go").touch()
            assert held.result(WAIT_S) == "held"
            assert ex.with_options(workers="w").submit(abs, -2).result(WAIT_S) == 2
        assert runs(tmp_path, "held") == 1
        (line,) = [line for line in cluster.scheduler.log.splitlines() if "though its process runs" in line]
        for part in ("worker w at", "hold_the_gil ('the-key')", "cancel(force=True)", "with_options(timeout=...)"):
            assert part in line


@pytest.mark.slow
@pytest.mark.parametrize("way", ["cancel", "timeout"])
def test_what_the_warning_advises(tmp_path: Path, way: str) -> None:
    with Cluster(tmp_path, "--silence", "1") as cluster:
        cluster.add_worker("--name", "w", "--silence", "30")
        with cluster.executor() as ex:
            if way == "timeout":
                with pytest.raises(TaskTimeout):
                    ex.with_options(timeout=2).submit(hold_the_gil, tmp_path).result(WAIT_S)
            else:
                held = ex.submit(hold_the_gil, tmp_path)
                cluster.scheduler.wait_for("though its process runs")
                assert held.cancel(force=True)
            (tmp_path / "go").touch()  # ends the shell that the task has started
            assert ex.submit(abs, -1).result(WAIT_S) == 1
            assert runs(tmp_path, "held") == 1


@pytest.mark.slow
def test_a_worker_that_is_stopped_again_and_again_is_lost_three_times(tmp_path: Path) -> None:
    def stop() -> None:
        note(tmp_path, "stopped")
        os.kill(os.getpid(), signal.SIGSTOP)

    with Cluster(tmp_path, "--silence", "0.5") as cluster:
        cluster.add_worker("--name", "w", "--silence", "30")
        with cluster.executor() as ex:
            with pytest.raises(WorkerDied, match=r"(?s)3 attempts.*said nothing for 0.5 s"):
                ex.submit(stop).result(WAIT_S)
            assert runs(tmp_path, "stopped") == 3
            assert ex.submit(abs, -1).result(WAIT_S) == 1
