"""What happens when things go wrong, with real processes: each failure ends on the right future, no more is lost."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from futures_cluster import Executor, TaskTimeout, WorkerDied
from futures_cluster.errors import DataLost, DeserializationError, InitializerFailed
from futures_cluster.testing.real_cluster import outlasting

WAIT_S = 60


@pytest.fixture
def ex() -> Iterator[Executor]:
    with Executor(2) as executor:
        yield executor


def note(folder: Path, name: str) -> int:
    """Write down that a task ran; how often it has by now."""
    with open(folder / name, "ab") as file:
        file.write(b"x")
        return file.tell()


def runs(folder: Path, name: str) -> int:
    path = folder / name
    return path.stat().st_size if path.exists() else 0


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.005)


def die(folder: Path, name: str) -> None:
    note(folder, name)
    os.kill(os.getpid(), signal.SIGKILL)


def innocent(folder: Path, i: int) -> int:
    note(folder, f"innocent-{i}")
    return i


def hold(folder: Path, name: str) -> str:
    """Run until somebody makes a file."""
    note(folder, name)
    wait_for(folder / f"{name}-go")
    return name


def running(future: concurrent.futures.Future[object]) -> None:
    end = time.monotonic() + WAIT_S
    while not future.running():
        assert time.monotonic() < end
        time.sleep(0.002)


class TestDeath:
    def test_three_deaths_are_blamed_and_the_innocent_are_not(self, ex: Executor, tmp_path: Path) -> None:
        before = [ex.submit(innocent, tmp_path, i) for i in range(20)]
        killer = ex.submit(die, tmp_path, "killer")
        after = [ex.submit(innocent, tmp_path, i) for i in range(20, 40)]
        with pytest.raises(WorkerDied, match="SIGKILL"):
            killer.result(WAIT_S)
        assert [future.result(WAIT_S) for future in before + after] == list(range(40))
        assert runs(tmp_path, "killer") == 3

    def test_existing_except_clauses_work(self, ex: Executor, tmp_path: Path) -> None:
        from concurrent.futures.process import BrokenProcessPool

        with pytest.raises(BrokenProcessPool):
            ex.submit(die, tmp_path, "killer").result(WAIT_S)
        assert ex.submit(pow, 2, 3).result(WAIT_S) == 8

    def test_exit_code_and_the_end_of_stderr(self, ex: Executor) -> None:
        def leave() -> None:
            print("the last words", file=sys.stderr, flush=True)
            os._exit(3)

        with pytest.raises(WorkerDied, match=r"(?s)exited with code 3.*the last words"):
            ex.submit(leave).result(WAIT_S)

    def test_segfault_names_the_signal(self, ex: Executor) -> None:
        def crash() -> None:
            import faulthandler

            faulthandler._sigsegv()

        with pytest.raises(WorkerDied, match="SIGSEGV"):
            ex.submit(crash).result(WAIT_S)

    def test_rerun_false_runs_once(self, ex: Executor, tmp_path: Path) -> None:
        with pytest.raises(WorkerDied, match="rerun=False"):
            ex.with_options(rerun=False).submit(die, tmp_path, "once").result(WAIT_S)
        assert runs(tmp_path, "once") == 1

    def test_rerun_false_that_had_not_begun_runs_elsewhere(self, tmp_path: Path) -> None:
        with Executor(1) as ex:
            holder = ex.submit(hold, tmp_path, "holder")
            running(holder)
            queued = ex.with_options(rerun=False).submit(innocent, tmp_path, 1)
            (facts,) = ex.workers().values()
            (tmp_path / "holder-go").touch()
            os.kill(facts["pid"], signal.SIGKILL)
            assert queued.result(WAIT_S) == 1
            assert holder.result(WAIT_S) == "holder"

    def test_lost_results_are_computed_again(self, ex: Executor, tmp_path: Path) -> None:
        np = pytest.importorskip("numpy")

        def make(i: int) -> object:
            note(tmp_path, f"make-{i}")
            return np.full((300, 1000), i)

        blocks = [ex.submit(make, i) for i in range(4)]
        doubled = [ex.submit(lambda block: block * 2, block) for block in blocks]
        concurrent.futures.wait(doubled, timeout=WAIT_S)
        for facts in ex.workers().values():
            os.kill(facts["pid"], signal.SIGKILL)
        assert [float(block.result(WAIT_S).mean()) for block in doubled] == [0, 2, 4, 6]

    def test_the_fork_server_dies(self, ex: Executor) -> None:
        assert ex.submit(pow, 2, 3).result(WAIT_S) == 8
        parents = {psutil.Process(facts["pid"]).ppid() for facts in ex.workers().values()}
        assert len(parents) == 1 and os.getpid() not in parents
        os.kill(parents.pop(), signal.SIGKILL)
        assert ex.submit(pow, 2, 4).result(WAIT_S) == 16

    def test_workers_that_never_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("futures_cluster.services.launch.restart_policy.FIRST_PAUSE_S", 0.001)

        def leave() -> None:
            print("no licence", file=sys.stderr, flush=True)
            os._exit(7)

        with Executor(2, initializer=leave) as ex:
            with pytest.raises(InitializerFailed, match=r"(?s)code 7.*no licence"):
                ex.submit(pow, 2, 3).result(WAIT_S)
            with pytest.raises(InitializerFailed):
                ex.submit(pow, 2, 3)


class TestStopping:
    def test_timeout_stops_only_that_task(self, ex: Executor, tmp_path: Path) -> None:
        slow = ex.with_options(timeout=0.2).submit(hold, tmp_path, "never")
        others = [ex.submit(innocent, tmp_path, i) for i in range(10)]
        with pytest.raises(TaskTimeout, match=r"0\.2 s"):
            slow.result(WAIT_S)
        assert [future.result(WAIT_S) for future in others] == list(range(10))

    def test_timeout_then_retry(self, ex: Executor, tmp_path: Path) -> None:
        def slow_at_first() -> str:
            if note(tmp_path, "try") == 1:
                hold(tmp_path, "never")
            return "second"

        assert ex.with_options(timeout=3, retries=1).submit(slow_at_first).result(WAIT_S) == "second"

    def test_cancel_force_stops_a_running_task(self, ex: Executor, tmp_path: Path) -> None:
        future = ex.submit(hold, tmp_path, "never")
        running(future)
        while not runs(tmp_path, "never"):
            time.sleep(0.005)
        victim = psutil.Process(next(facts["pid"] for facts in ex.workers().values() if facts["tasks"]))
        assert not future.cancel()
        assert future.cancel(force=True)
        assert future.cancelled()
        assert not outlasting([victim])
        assert ex.submit(pow, 2, 3).result(WAIT_S) == 8
        assert runs(tmp_path, "never") == 1

    def test_kill_workers(self, tmp_path: Path) -> None:
        ex = Executor(2)
        future = ex.submit(hold, tmp_path, "never")
        running(future)
        pids = [facts["pid"] for facts in ex.workers().values()]
        ex.kill_workers()
        with pytest.raises(WorkerDied):
            future.result(WAIT_S)
        assert not any(psutil.pid_exists(pid) for pid in pids)

    def test_terminate_workers(self, tmp_path: Path) -> None:
        ex = Executor(2)
        future = ex.submit(hold, tmp_path, "never")
        running(future)
        ex.terminate_workers()
        with pytest.raises(WorkerDied):
            future.result(WAIT_S)

    def test_max_tasks_per_child(self) -> None:
        with Executor(2, max_tasks_per_child=3) as ex:
            pids = list(ex.map(lambda _: os.getpid(), range(30)))
        assert max(pids.count(pid) for pid in pids) <= 3


class TestPickling:
    def test_function_and_argument(self, ex: Executor) -> None:
        lock = threading.Lock()
        for future in (ex.submit(lambda: lock), ex.submit(id, lock)):
            with pytest.raises(TypeError, match="lock"):
                future.result(WAIT_S)

    def test_result(self, ex: Executor) -> None:
        with pytest.raises(TypeError, match="lock"):
            ex.submit(threading.Lock).result(WAIT_S)

    def test_large_result_that_does_not_pickle(self, ex: Executor) -> None:
        with pytest.raises(TypeError, match="lock"):
            ex.submit(lambda: [bytes(200_000), threading.Lock()]).result(WAIT_S)

    def test_argument_that_does_not_unpickle(self, ex: Executor) -> None:
        class Bad:
            def __reduce__(self) -> tuple[object, ...]:
                return int, ("not a number",)

        with pytest.raises(DeserializationError, match="not a number"):
            ex.submit(id, Bad()).result(WAIT_S)

    def test_result_that_does_not_unpickle_here(self, ex: Executor) -> None:
        def make() -> object:
            class Bad:
                def __reduce__(self) -> tuple[object, ...]:
                    return int, ("not a number",)

            return Bad()

        future = ex.submit(make)
        with pytest.raises(DeserializationError, match="not a number"):
            future.result(WAIT_S)
        assert isinstance(future.exception(), DeserializationError)

    def test_exception_that_does_not_pickle(self, ex: Executor) -> None:
        from futures_cluster.errors import RemoteError

        def fail() -> None:
            raise ValueError("with a lock", threading.Lock())

        with pytest.raises(RemoteError, match=r"(?s)ValueError.*in fail.*with a lock"):
            ex.submit(fail).result(WAIT_S)

    def test_exception_with_an_attribute_that_does_not_pickle(self, ex: Executor) -> None:
        def fail() -> None:
            error = ValueError("with a lock")
            error.lock = threading.Lock()  # type: ignore[attr-defined]
            raise error

        with pytest.raises(ValueError, match="with a lock") as caught:
            ex.submit(fail).result(WAIT_S)
        assert caught.value.lock is None  # type: ignore[attr-defined]
        assert any("lock" in note for note in caught.value.__notes__)

    def test_causes_notes_and_frames(self, ex: Executor) -> None:
        def inner() -> None:
            error = KeyError("inner")
            error.add_note("a note")
            raise error

        def outer() -> None:
            try:
                inner()
            except KeyError as error:
                raise RuntimeError("outer") from error

        with pytest.raises(RuntimeError) as caught:
            ex.submit(outer).result(WAIT_S)
        cause = caught.value.__cause__
        assert isinstance(cause, KeyError) and cause.__notes__ == ["a note"]
        tb = cause.__traceback__
        assert tb is not None
        while tb.tb_next is not None:
            tb = tb.tb_next
        assert tb.tb_frame.f_code.co_name == "inner"
        assert tb.tb_lineno == inner.__code__.co_firstlineno + 3


class TestTheEnd:
    def test_large_results_come_home(self) -> None:
        np = pytest.importorskip("numpy")
        with Executor(2) as ex:
            future = ex.submit(np.ones, 10**6)
        assert future.result().sum() == 10**6
        assert future.result().flags.writeable

    def test_scattered_data_is_gone(self) -> None:
        np = pytest.importorskip("numpy")
        with Executor(2) as ex:
            future = ex.scatter(np.ones(10**6))
            assert ex.submit(lambda a: a.sum(), future).result(WAIT_S) == 10**6
        with pytest.raises(DataLost, match="shut down"):
            future.result(WAIT_S)

    @pytest.mark.parametrize("victim", ["client", "client and fork server", "client of a fork context"])
    def test_nothing_outlives_a_killed_program(self, tmp_path: Path, victim: str) -> None:
        script = tmp_path / "script.py"
        context = "multiprocessing.get_context('fork')" if "context" in victim else "None"
        script.write_text(
            "import multiprocessing, os, sys, time\n"
            "from futures_cluster import Executor\n"
            "import numpy as np\n"
            "def spin(path):\n"
            "    open(path, 'w').close()\n"
            "    while True: pass\n"
            f"ex = Executor(2, mp_context={context})\n"
            "block = ex.submit(np.ones, 10**6)\n"
            "block.result()\n"
            "fs = [ex.submit(spin, sys.argv[1] + str(i)) for i in range(2)]\n"
            "while not all(os.path.exists(sys.argv[1] + str(i)) for i in range(2)): time.sleep(0.01)\n"
            "print('ready', flush=True)\n"
            "time.sleep(100)\n"
        )
        import subprocess

        program = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "spin")], stdout=subprocess.PIPE, text=True
        )
        assert program.stdout is not None
        with program.stdout:
            assert program.stdout.readline() == "ready\n"
            family = psutil.Process(program.pid).children(recursive=True)
            assert len(family) == (2 if "context" in victim else 3)
            if "server" in victim:
                os.kill(psutil.Process(program.pid).children()[0].pid, signal.SIGKILL)
            program.kill()
            program.wait()
            alive = outlasting(family)
        assert not alive
        with Executor(1) as ex:  # sweeps what the other one could not remove
            ex.submit(pow, 2, 3).result(WAIT_S)
        import tempfile

        left = [
            name for name in os.listdir(tempfile.gettempdir()) if name.startswith(f"futures_cluster-{program.pid}-")
        ]
        assert not left
