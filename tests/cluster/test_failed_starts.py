"""Workers that cannot be started, with real processes: no descriptor, no process, no memory; for a time, or for good.

Covers: the workers of a program, and those of `futures-cluster worker`. Does not cover: the pauses between attempts
(``services/test_restarts.py``, ``services/test_processes.py``).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest
from gate import Gate

from futures_cluster import Executor
from futures_cluster.services.launch import fork_server_process, restart_policy
from futures_cluster.testing.real_cluster import Cluster

pytestmark = [
    pytest.mark.skipif(not fork_server_process.available, reason="needs unix sockets"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs limits of other processes"),
]

WAIT_S = 60
FAILED = "a worker failed to start"

#: Imported by the template process at its start: its forks fail as long as there is a file.
SITE = """
import errno, os
fork = os.fork
def faulty():
    if os.path.exists({path!r}):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = faulty
"""


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class FaultyFork:
    """The template processes of new executors cannot fork while this is on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "no-fork"
        (folder / "sitecustomize.py").write_text(SITE.format(path=str(self._path)))

    def on(self) -> None:
        self._path.touch()

    def off(self) -> None:
        self._path.unlink()


@pytest.fixture
def fork(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> FaultyFork:
    folder = tmp_path_factory.mktemp("site")
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    return FaultyFork(folder)


@pytest.fixture
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses are short, so that a test need not wait until there are no more attempts."""
    monkeypatch.setattr(restart_policy, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def failures(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], int]]:
    """How many starts have failed by now."""
    caplog.set_level(logging.WARNING, "futures_cluster")
    yield lambda: sum(FAILED in record.getMessage() for record in list(caplog.records))


def pids(ex: Executor) -> set[int]:
    return {facts["pid"] for facts in ex.workers().values()}


class TestNoProcess:
    def test_one_failed_fork_costs_one_worker_for_a_time(
        self, fork: FaultyFork, gate: Gate, failures: Callable[[], int]
    ) -> None:
        with Executor(4) as ex:
            ex.run(int)
            victim, *others = sorted(pids(ex))
            only_once = ex.with_options(rerun=False)
            held = [only_once.submit(gate.hold, i) for i in range(4)]
            gate.wait_come(4)
            fork.on()
            os.kill(victim, signal.SIGKILL)
            wait_for(failures)
            gate.open()
            died = [future.exception(WAIT_S) for future in held]
            assert sum(error is not None for error in died) == 1  # that of the victim
            assert set(others) <= pids(ex)
            assert [future.result(WAIT_S) for future in [ex.submit(abs, -i) for i in range(8)]] == list(range(8))
            fork.off()
            wait_for(lambda: len(ex.workers()) == 4)
            assert set(others) <= pids(ex)

    def test_the_only_worker_comes_back(self, fork: FaultyFork, failures: Callable[[], int]) -> None:
        with Executor(1) as ex:
            (pid,) = ex.run(os.getpid).values()
            fork.on()
            os.kill(pid, signal.SIGKILL)
            future = ex.submit(abs, -1)
            wait_for(failures)
            assert not future.done()
            fork.off()
            assert future.result(WAIT_S) == 1

    def test_for_good(self, fork: FaultyFork, in_haste: None) -> None:
        fork.on()
        with Executor(2) as ex:
            future = ex.submit(abs, -1)
            with pytest.raises(BrokenProcessPool, match=r"6 attempts in a row .* temporarily unavailable"):
                future.result(WAIT_S)
            with pytest.raises(BrokenExecutor):
                ex.submit(abs, -1)

    def test_for_good_when_the_last_worker_dies(self, fork: FaultyFork, in_haste: None) -> None:
        ex = Executor(1)
        (pid,) = ex.run(os.getpid).values()
        future = ex.submit(time.sleep, 600)
        wait_for(future.running)
        fork.on()
        os.kill(pid, signal.SIGKILL)
        ex.shutdown(cancel_futures=True)
        with pytest.raises(BrokenProcessPool, match="temporarily unavailable"):
            future.result(0)

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_of_a_multiprocessing_context(
        self, method: str, failures: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = multiprocessing.get_context(method)
        with Executor(2, mp_context=context) as ex:
            (one, two) = sorted(ex.run(os.getpid).values())

            def fails(process: object) -> None:
                raise BlockingIOError(11, "Resource temporarily unavailable")

            with monkeypatch.context() as patch:
                patch.setattr(context.Process, "start", fails)
                os.kill(one, signal.SIGKILL)
                wait_for(failures)
            assert ex.submit(abs, -1).result(WAIT_S) == 1
            wait_for(lambda: len(ex.workers()) == 2)
            assert two in pids(ex)


class TestNoDescriptor:
    def test_in_the_template(self, failures: Callable[[], int]) -> None:
        """It gets fewer descriptors than it was sent."""
        with Executor(2) as ex:
            ex.run(int)
            victim, other = sorted(pids(ex))
            process = psutil.Process(psutil.Process(victim).ppid())
            limits = process.rlimit(psutil.RLIMIT_NOFILE)
            process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), limits[1]))
            os.kill(victim, signal.SIGKILL)
            wait_for(failures)
            assert ex.submit(abs, -1).result(WAIT_S) == 1
            process.rlimit(psutil.RLIMIT_NOFILE, limits)
            wait_for(lambda: len(ex.workers()) == 2)
            assert other in pids(ex)

    PROGRAM = """
import logging, os, resource, signal, sys, threading, time
from futures_cluster import Executor
ex = Executor(1)
(pid,) = ex.run(os.getpid).values()
failed = threading.Event()
class Noted(logging.Handler):
    def emit(self, record):
        if "failed to start" in record.getMessage():
            failed.set()
logging.getLogger("futures_cluster").addHandler(Noted())
held = ex.submit(time.sleep, 600)
while not held.running():
    time.sleep(0.01)
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
fillers = []
resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
try:
    while True:
        fillers.append(os.dup(0))
except OSError:
    pass
os.kill(pid, signal.SIGKILL)
assert failed.wait(60)
if sys.argv[1] == "for a time":
    queued = ex.submit(abs, -2)
    held.cancel(force=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    print(queued.result(60), held.cancelled())
    ex.shutdown()
else:
    ex.shutdown(cancel_futures=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    print(type(held.exception(0)).__name__, "Too many open files" in str(held.exception(0)))
"""

    @pytest.mark.parametrize(
        ("duration", "printed"),
        [
            ("for a time", "2 True\n"),
            pytest.param("for good", "InitializerFailed True\n", marks=pytest.mark.slow),
        ],
    )
    def test_in_the_program(self, duration: str, printed: str) -> None:
        command = [sys.executable, "-c", self.PROGRAM, duration]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S)
        assert done.stdout == printed, done.stderr


class TestLimits:
    PROGRAM = """
import os, resource, sys
import psutil
from futures_cluster import Executor
kind, more = getattr(resource, sys.argv[1]), int(sys.argv[2])
ex = Executor(2, backend=sys.argv[3])
limits = resource.getrlimit(kind)
used = max(map(int, os.listdir("/proc/self/fd"))) if kind == resource.RLIMIT_NOFILE else 0
resource.setrlimit(kind, (used + more, limits[1]))
try:
    ex.submit(abs, -1)
except OSError as error:
    assert error.__cause__ is None and error.__suppress_context__
    print(error)
resource.setrlimit(kind, limits)
assert not psutil.Process().children()
print(ex.submit(abs, -1).result(60))
ex.shutdown()
"""

    @pytest.mark.parametrize(
        ("kind", "more", "backend", "advice"),
        [
            ("RLIMIT_NOFILE", 1, "processes", "raise `ulimit -n`"),  # no template
            ("RLIMIT_NOFILE", 10, "processes", "raise `ulimit -n`"),  # no worker
            ("RLIMIT_NOFILE", 1, "threads", None),  # which need none
            ("RLIMIT_FSIZE", 100, "processes", "raise `ulimit -f`"),
        ],
    )
    def test_an_executor_that_cannot_start_says_which_limit_is_reached(
        self, kind: str, more: int, backend: str, advice: str | None
    ) -> None:
        """And starts with the next task, if it can."""
        command = [sys.executable, "-c", self.PROGRAM, kind, str(more), backend]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == 0, done.stderr
        *said, result = done.stdout.splitlines()
        assert result == "1"
        if advice is None:
            assert not said
        else:
            (error,) = said
            assert "the executor cannot start: " in error and advice in error

    def test_an_initializer_that_leaves_its_worker_no_descriptor(self, in_haste: None) -> None:
        with Executor(1, initializer=resource.setrlimit, initargs=(resource.RLIMIT_NOFILE, (8, 8))) as ex:
            with pytest.raises(BrokenProcessPool, match="cannot start after its initializer: Too many open files"):
                ex.submit(abs, -1).result(WAIT_S)


def test_no_memory_for_the_worker_itself(in_haste: None, capfd: pytest.CaptureFixture[str]) -> None:
    """Such workers once replaced each other for ever."""
    with Executor(2, memory_limit="5MB") as ex:
        with pytest.raises(BrokenProcessPool, match=r"(?s)code 77.*before its first task; give workers more"):
            ex.submit(abs, -1).result(WAIT_S)
    assert capfd.readouterr().err.count("over 80% of its memory_limit of 5 MB") <= 2 + restart_policy.MAX_FAILURES


class TestWorkersOfAScheduler:
    def test_a_worker_that_is_killed_while_none_can_start(self, fork: FaultyFork, tmp_path: Path) -> None:
        with Cluster(tmp_path) as cluster:
            cluster.environment["PYTHONPATH"] = f"{fork.folder}{os.pathsep}{cluster.environment['PYTHONPATH']}"
            manager = cluster.add_worker("--workers", "2", "--name", "w")
            with cluster.executor() as ex:
                other, victim = (ex.workers()[name]["pid"] for name in ("w-0", "w-1"))
                fork.on()
                os.kill(victim, signal.SIGKILL)
                manager.wait_for("worker w-1 was killed by SIGKILL")
                manager.wait_for(FAILED)
                assert set(ex.workers()) == {"w-0"}
                fork.off()
                wait_for(lambda: set(ex.workers()) == {"w-0", "w-1"})
                assert ex.workers()["w-0"]["pid"] == other
                assert "starting another" in manager.log and "~" not in manager.log

    @pytest.mark.slow
    def test_for_good(self, fork: FaultyFork, tmp_path: Path) -> None:
        with Cluster(tmp_path) as cluster:
            cluster.environment["PYTHONPATH"] = f"{fork.folder}{os.pathsep}{cluster.environment['PYTHONPATH']}"
            fork.on()
            manager = cluster.start("worker", cluster.address, "--workers", "2")
            assert manager.process.wait(WAIT_S) == 1
            assert "no worker can start here: 6 attempts in a row" in manager.log and "Traceback" not in manager.log
