"""Programs whose processes may not open each other's files: they get large arguments and results all the same."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator

import pytest
from gate import LIMIT_S, Gate

from futures_cluster import Executor, TaskTimeout, WorkerDied

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl and /proc")

BEGIN = """
    import contextlib, ctypes, importlib, multiprocessing, os, pkgutil
    import futures_cluster.services, futures_cluster.wire

    RUNS = "{folder}"
    LARGE = 2**20

    def drop():
        # Another user than root; the system marks the process as not dumpable.
        if os.getuid() == 0:
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE

    def make(number):
        with open(os.path.join(RUNS, "runs"), "a") as file:
            file.write(str(number))
        return bytes(LARGE)

    def total(*parts):
        return sum(map(len, parts))

    def use(ex):
        assert ex.submit(len, bytes(LARGE)).result(30) == LARGE
        made = [ex.submit(make, number) for number in range(4)]
        assert ex.submit(total, *made).result(30) == 4 * LARGE
        assert total(*[each.result(30) for each in made]) == 4 * LARGE
        with open(os.path.join(RUNS, "runs")) as file:
            assert sorted(file.read()) == list("0123")

    def executor(method=None):
        context = multiprocessing.get_context(method) if method else None
        return futures_cluster.ProcessPoolExecutor(2, mp_context=context)

    # What another user may not read has to be imported before.
    for package in (futures_cluster.services, futures_cluster.wire):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            with contextlib.suppress(ImportError):  # of a package that is not installed
                importlib.import_module(module.name)
    with executor("fork") as ex:
        ex.submit(len, bytes(LARGE)).result(30)
"""


@pytest.fixture
def folder() -> Iterator[str]:
    """With a file to which tasks of any user may write."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        with open(os.path.join(name, "runs"), "w") as file:
            os.fchmod(file.fileno(), 0o666)
        yield name


def run(folder: str, program: str, *command: str) -> None:
    """Run a program that uses an executor."""
    text = textwrap.dedent(BEGIN).replace("{folder}", folder) + textwrap.dedent(program)
    done = subprocess.run([*command, sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "futures_cluster" not in done.stderr  # no warning either


def test_a_program_drops_its_privileges_before_the_pool(folder: str) -> None:
    run(
        folder,
        """
        drop()
        with executor("fork") as ex:  # the workers are not dumpable either
            use(ex)
        """,
    )


@pytest.mark.parametrize("has_fetched", [False, True])
def test_a_program_drops_its_privileges_after_the_pool_has_started(folder: str, has_fetched: bool) -> None:
    """It can connect to no worker any more; or it is connected already, and can open none of their segments."""
    run(
        folder,
        f"""
        with executor("fork") as ex:
            assert ex.submit(total, bytes(LARGE)).result(30) == LARGE
            if {has_fetched}:
                assert [len(ex.submit(bytes, LARGE).result(30)) for _ in range(4)] == 4 * [LARGE]
            drop()
            use(ex)
        """,
    )


@pytest.mark.parametrize("has_fetched", [False, True])
def test_a_task_drops_the_privileges_of_its_worker(folder: str, has_fetched: bool) -> None:
    """It can open neither what the program writes nor what the other worker does."""
    run(
        folder,
        f"""
        with executor() as ex:
            made = [ex.submit(bytes, LARGE) for _ in range(4)]
            if {has_fetched}:
                assert ex.submit(total, *made).result(30) == 4 * LARGE
                assert [len(each.result(30)) for each in made] == 4 * [LARGE]
            ex.submit(drop).result(30)
            use(ex)
            assert ex.submit(total, *made).result(30) == 4 * LARGE
        """,
    )


@pytest.mark.parametrize("method", [None, "fork"])
def test_workers_that_may_not_be_signalled_are_stopped(
    method: str | None, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    """As after ``os.setuid``, when they belong to another user."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with Executor(2, mp_context=multiprocessing.get_context(method) if method else None) as ex:
        ex.run(int)
        monkeypatch.setattr(os, "kill", refuse)
        with pytest.raises(TaskTimeout):
            ex.with_options(timeout=0.05).submit(gate.hold).result(LIMIT_S)
        held = ex.submit(gate.hold)
        gate.wait_come(2)
        assert held.cancel(force=True)
        assert ex.submit(abs, -1).result(LIMIT_S) == 1
        held = ex.submit(gate.hold)
        gate.wait_come()
        ex.kill_workers()
        with pytest.raises(WorkerDied):
            held.result(LIMIT_S)


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="only root can unshare namespaces")
def test_proc_belongs_to_another_namespace_of_processes(folder: str) -> None:
    probe = subprocess.run(["unshare", "-p", "-f", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("this container does not allow namespaces")
    run(folder, "with executor() as ex:\n    use(ex)\n", "unshare", "-p", "-f")
