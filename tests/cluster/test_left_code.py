"""What a worker keeps in its folder goes with it, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from futures_cluster.testing.real_cluster import Cluster, Command

WAIT_S = 60
MODULE = "secret_plans_of_a_client"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A folder that does not exist yet, in one that does not, either."""
    return tmp_path / "new" / "local"


@contextlib.contextmanager
def started(cluster: Cluster, local: Path) -> Iterator[tuple[Command, int]]:
    """A worker that has got a client's code into its folder, and its process; the client stays."""
    module = cluster.folder / f"{MODULE}.py"
    module.write_text("plan = 42\n")
    before = os.umask(0)
    try:
        command = cluster.add_worker("--name", "w", "--local-directory", str(local))
    finally:
        os.umask(before)
    with cluster.executor() as ex:
        ex.upload(str(module))
        assert ex.submit(eval, f"__import__({MODULE!r}).plan").result(WAIT_S) == 42
        assert uploaded(local)
        yield command, int(ex.workers()["w"]["pid"])


def uploaded(local: Path) -> list[Path]:
    return list(local.rglob(f"*{MODULE}*"))


def wait_until_gone(paths: list[Path]) -> None:
    assert paths
    end = time.monotonic() + WAIT_S
    while left := [path for path in paths if path.exists()]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


def test_folders_are_private(cluster: Cluster, local: Path) -> None:
    with started(cluster, local):
        for folder in (local.parent, local, *(path for path in local.rglob("*") if path.is_dir())):
            assert folder.stat().st_mode & 0o077 == 0 or folder.name == "__pycache__", folder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed(number: int, cluster: Cluster, local: Path) -> None:
    """Another takes its place, which gets the client's code into a folder of its own."""
    with started(cluster, local) as (_, pid):
        former = uploaded(local)
        os.kill(pid, number)
        wait_until_gone(former)


def test_workers_that_leave(cluster: Cluster, local: Path) -> None:
    with started(cluster, local) as (command, _):
        command.kill(signal.SIGTERM)
        command.process.wait(WAIT_S)
        assert list(local.iterdir()) == []


def test_a_manager_that_is_killed(cluster: Cluster, local: Path) -> None:
    """Its workers end with it."""
    with started(cluster, local) as (command, _):
        former = uploaded(local)
        command.end(signal.SIGKILL)
        wait_until_gone(former)


@pytest.mark.slow
def test_all_of_them_killed(cluster: Cluster, local: Path) -> None:
    """The next ones clear away."""
    with started(cluster, local) as (command, pid):
        os.kill(command.process.pid, signal.SIGSTOP)
        while psutil.Process(command.process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)  # or it could still clear away
        template = psutil.Process(pid).parent()
        assert template is not None and template.pid != command.process.pid
        template.kill()  # it would clear away, too
        with contextlib.suppress(ProcessLookupError):  # which ends workers
            os.kill(pid, signal.SIGKILL)
        command.kill()
        command.process.wait(WAIT_S)
        former = uploaded(local)
        assert former
        cluster.add_worker("--name", "next", "--local-directory", str(local))
        assert not any(path.exists() for path in former)
