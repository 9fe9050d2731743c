"""Workers never run an old version of a user's module without a word.

Covers: modules that were edited between two programs or reloaded in one, what clients leave on workers, two clients
with modules of one name, restarting workers. Does not cover: finding modules at all (``test_network``), versions
(``tests/services/test_modules.py``).
"""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from futures_cluster import Executor, current_executor
from futures_cluster.errors import DeserializationError, NotSupported
from futures_cluster.testing.real_cluster import Cluster

WAIT_S = 60


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler and one worker, which has the folder ``own`` in its ``sys.path`` from the start."""
    (tmp_path / "own").mkdir()
    with Cluster(tmp_path, "--silence", "30") as cluster:
        cluster.environment["PYTHONPATH"] += os.pathsep + str(tmp_path / "own")
        cluster.add_worker("--name", "w")
        yield cluster


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of this process's ``sys.path``; what is imported from it goes after the test."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: Path, answer: str) -> None:
    """Write a module; each answer has another length, because bytecode is told by the size of its source."""
    path.write_text(f"def answer():\n    return {answer!r}\n")


def run_program(cluster: Cluster, folder: Path, *expressions: str) -> list[str]:
    """Run a program that has tasks evaluate these; the results."""
    folder.mkdir(exist_ok=True)
    lines = [
        "import sys, futures_cluster as f",
        f"with f.Executor(backend={cluster.address!r}) as ex:",
        "    for expression in sys.argv[1:]:",
        "        print(ex.submit(eval, expression).result())",
    ]
    script = folder / "program.py"
    script.write_text("\n".join(lines))
    command = [sys.executable, str(script), *expressions]
    done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def hold(folder: Path) -> int:
    """Run until a file is there; the pid of the worker."""
    (folder / "runs").touch()
    while not (folder / "go").exists():
        time.sleep(0.005)
    return os.getpid()


def where(module: str) -> tuple[bool, list[str]]:
    """On a worker: whether it has loaded a module, and its ``sys.path``."""
    return module in sys.modules, list(sys.path)


ANSWER = "__import__('edited_module').answer()"
OUTER = "__import__('outer_module').answer()"


class TestPrograms:
    def test_a_module_that_was_edited_between_two_programs(self, cluster: Cluster, tmp_path: Path) -> None:
        """Also one that is found without the client, and one that another module has imported."""
        write(tmp_path / "own" / "edited_module.py", "old")
        (tmp_path / "own" / "outer_module.py").write_text("from edited_module import answer\n")
        pid, *answers = run_program(cluster, tmp_path / "a", "__import__('os').getpid()", OUTER, ANSWER)
        assert answers == ["old", "old"]
        write(tmp_path / "own" / "edited_module.py", "newer")
        other_pid, *answers = run_program(cluster, tmp_path / "a", "__import__('os').getpid()", OUTER, ANSWER)
        assert answers == ["newer", "newer"]
        assert other_pid != pid

    def test_what_is_unchanged_needs_no_fresh_process(self, cluster: Cluster, tmp_path: Path) -> None:
        write(tmp_path / "own" / "edited_module.py", "same")
        first = run_program(cluster, tmp_path / "a", "__import__('os').getpid()", ANSWER)
        os.utime(tmp_path / "own" / "edited_module.py")  # written again, with the same content
        assert run_program(cluster, tmp_path / "a", "__import__('os').getpid()", ANSWER) == first

    def test_folders_of_a_client_go_with_it(self, cluster: Cluster, tmp_path: Path) -> None:
        folder = tmp_path / "a"
        folder.mkdir()
        write(folder / "edited_module.py", "old")
        assert run_program(cluster, folder, ANSWER) == ["old"]
        with cluster.executor() as ex:
            wait_for(lambda: not ex.submit(where, "edited_module").result(WAIT_S)[0])
            assert str(folder) not in ex.submit(where, "").result(WAIT_S)[1]
        write(folder / "edited_module.py", "newer")
        assert run_program(cluster, folder, ANSWER) == ["newer"]

    def test_uploads_of_a_client_go_with_it(self, cluster: Cluster, tmp_path: Path) -> None:
        write(tmp_path / "edited_module.py", "uploaded")
        with cluster.executor() as ex, cluster.executor() as other:
            ex.upload(tmp_path / "edited_module.py")
            file = ex.submit(eval, "__import__('edited_module').__file__").result(WAIT_S)
            assert os.path.exists(file)
            ex.shutdown()
            wait_for(lambda: not other.submit(where, "edited_module").result(WAIT_S)[0])
            assert os.path.dirname(file) not in other.submit(where, "").result(WAIT_S)[1]
            wait_for(lambda: not os.path.exists(os.path.dirname(file)))

    @pytest.mark.slow
    def test_two_clients_with_modules_of_one_name(self, cluster: Cluster, modules: Path, tmp_path: Path) -> None:
        """The first one's module stays; the second one's tasks end with an error that names both."""
        write(modules / "edited_module.py", "mine")
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        write(theirs / "edited_module.py", "theirs")
        (theirs / "program.py").write_text(
            "import sys, edited_module, futures_cluster as f\n"
            f"with f.Executor(backend={cluster.address!r}) as ex:\n"
            "    try:\n"
            "        print(ex.submit(edited_module.answer).result())\n"
            "    except f.errors.DeserializationError as error:\n"
            "        print(error)\n"
        )
        command = [sys.executable, str(theirs / "program.py")]

        def run_theirs() -> str:
            done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=WAIT_S)
            assert done.returncode == 0, done.stderr
            return done.stdout

        with cluster.executor() as ex:
            assert run_theirs() == "theirs\n"  # as the other one is not loaded yet
            module = importlib.import_module("edited_module")
            wait_for(lambda: not ex.submit(where, "edited_module").result(WAIT_S)[0])
            assert ex.submit(module.answer).result(WAIT_S) == "mine"
            printed = run_theirs()
            assert str(modules / "edited_module.py") in printed and str(theirs / "edited_module.py") in printed
            assert "Rename one" in printed
            assert ex.submit(module.answer).result(WAIT_S) == "mine"
        assert run_theirs() == "theirs\n"

    def test_two_clients_upload_modules_of_one_name(self, cluster: Cluster, tmp_path: Path) -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            write(tmp_path / name / "edited_module.py", name * len(name))
        with cluster.executor() as ex, cluster.executor() as other:
            ex.upload(tmp_path / "one" / "edited_module.py")
            other.upload(tmp_path / "two" / "edited_module.py")
            assert ex.submit(eval, ANSWER).result(WAIT_S) == "oneoneone"
            with pytest.raises(
                DeserializationError,
                match=f"client {ex._engine.client.name}, .* the client {other._engine.client.name} has",
            ):
                other.submit(str, b"").result(WAIT_S)
            assert ex.submit(eval, ANSWER).result(WAIT_S) == "oneoneone"


class TestReload:
    def test_reloaded_modules(self, modules: Path) -> None:
        """Of a function sent by name, of what it calls, and of what a function of the program calls."""
        write(modules / "edited_module.py", "old")
        (modules / "outer_module.py").write_text(
            "import edited_module\n\n\ndef answer():\n    return edited_module.answer()\n"
        )
        inner, outer = (importlib.import_module(name) for name in ("edited_module", "outer_module"))

        def by_value() -> object:
            return inner.answer()

        with Executor(1) as ex:
            functions = [inner.answer, outer.answer, by_value]
            assert [ex.submit(function).result(WAIT_S) for function in functions] == ["old"] * 3
            write(modules / "edited_module.py", "newer")
            importlib.reload(inner)
            functions = [by_value, outer.answer, inner.answer]
            assert [ex.submit(function).result(WAIT_S) for function in functions] == ["newer"] * 3
            pid = ex.submit(os.getpid).result(WAIT_S)
            importlib.reload(inner)  # with nothing new
            assert ex.submit(inner.answer).result(WAIT_S) == "newer"
            assert ex.submit(os.getpid).result(WAIT_S) == pid

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_processes_of_multiprocessing(self, modules: Path, method: str) -> None:
        write(modules / "edited_module.py", "old")
        module = importlib.import_module("edited_module")
        with Executor(1, mp_context=multiprocessing.get_context(method)) as ex:
            assert ex.submit(module.answer).result(WAIT_S) == "old"
            write(modules / "edited_module.py", "newer")
            (pid,) = ex.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            # A forked process has what the program has, another one has what the file has.
            assert ex.submit(module.answer).result(WAIT_S) == ("old" if method == "fork" else "newer")
            for answer in ("newer", "the newest"):
                write(modules / "edited_module.py", answer)
                importlib.reload(module)
                assert ex.submit(module.answer).result(WAIT_S) == answer

    @pytest.mark.slow
    def test_ipythons_autoreload(self, tmp_path: Path) -> None:
        """It may give the function objects of a module new code, without a reload."""
        pytest.importorskip("IPython")
        write(tmp_path / "edited_module.py", "old")
        script = """
import sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()

def run(cell):
    assert shell.run_cell(cell).success

run("%load_ext autoreload")
run("%autoreload 2")
run("import edited_module; from futures_cluster import Executor; ex = Executor(1)")
run("def by_value(): return edited_module.answer()")
run("print(ex.submit(edited_module.answer).result(), ex.submit(by_value).result())")
path = Path(sys.argv[1])
path.write_text(path.read_text().replace("old", "newer"))
run("print(ex.submit(by_value).result(), ex.submit(edited_module.answer).result())")
run("ex.shutdown()")
"""
        (tmp_path / "notebook.py").write_text(script)
        command = [sys.executable, str(tmp_path / "notebook.py"), str(tmp_path / "edited_module.py")]
        environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_S)
        assert done.stdout.splitlines()[-2:] == ["old old", "newer newer"], done.stdout + done.stderr

    def test_results_of_the_old_version_are_kept(self, modules: Path) -> None:
        (modules / "edited_module.py").write_text("import numpy\n\n\ndef answer():\n    return numpy.zeros(50_000)\n")
        module = importlib.import_module("edited_module")
        with Executor(1) as ex:
            old = ex.submit(module.answer)
            concurrent.futures.wait([old])
            (modules / "edited_module.py").write_text(
                "import numpy\n\n\ndef answer():\n    return numpy.ones(40_000)\n"
            )
            importlib.reload(module)
            new = ex.submit(module.answer)
            assert ex.submit(lambda a, b: (a.sum(), b.sum()), old, new).result(WAIT_S) == (0, 40_000)

    def test_on_a_cluster(self, cluster: Cluster, modules: Path) -> None:
        write(modules / "edited_module.py", "old")
        module = importlib.import_module("edited_module")
        with cluster.executor() as ex:
            assert ex.submit(module.answer).result(WAIT_S) == "old"
            write(modules / "edited_module.py", "newer")
            importlib.reload(module)
            assert ex.submit(module.answer).result(WAIT_S) == "newer"

    def test_a_program_that_has_not_seen_the_edit_is_warned(
        self, modules: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """No process can load the old version; the new one runs, and a worker says so."""
        write(modules / "edited_module.py", "old")
        module = importlib.import_module("edited_module")
        with Executor(1) as ex:
            assert ex.submit(module.answer).result(WAIT_S) == "old"
            write(modules / "edited_module.py", "newer")
            assert ex.submit(module.answer).result(WAIT_S) == "old"
            ex.restart_workers()
            assert ex.submit(module.answer).result(WAIT_S) == "newer"
        (printed,) = (record.getMessage() for record in caplog.records if "is not the same" in record.getMessage())
        assert printed.count(str(modules / "edited_module.py")) == 2 and "restart_workers()" in printed


class TestRestart:
    def test_workers_of_a_program(self, tmp_path: Path) -> None:
        with Executor(2) as ex:
            before = set(ex.run(os.getpid).values())
            held = [ex.submit(note, tmp_path, str(number)) for number in range(8)]
            concurrent.futures.wait(held)
            running = ex.submit(hold, tmp_path)
            wait_for((tmp_path / "runs").exists)
            ex.restart_workers()
            assert ex.submit(os.getpid).result(WAIT_S) not in before
            (tmp_path / "go").touch()
            assert running.result(WAIT_S) in before  # it ended where it was
            wait_for(lambda: before.isdisjoint(facts["pid"] for facts in ex.workers().values()))
            assert [array.result(WAIT_S).sum() for array in held] == [50_000] * 8
            assert all((tmp_path / str(number)).stat().st_size == 1 for number in range(8))
            assert len(ex.workers()) == 2 and ex._max_workers == 2

    def test_workers_of_a_cluster(self, cluster: Cluster, tmp_path: Path) -> None:
        cluster.add_worker("--name", "other", "--workers", "2")
        with cluster.executor() as ex:
            before = {facts["pid"] for facts in ex.workers().values()}
            held = [ex.submit(note, tmp_path, str(number)) for number in range(8)]
            concurrent.futures.wait(held)
            ex.restart_workers()
            wait_for(lambda: before.isdisjoint(facts["pid"] for facts in ex.workers().values()))
            assert [array.result(WAIT_S).sum() for array in held] == [50_000] * 8
            assert all((tmp_path / str(number)).stat().st_size == 1 for number in range(8))
            wait_for(lambda: len(ex.workers()) == 3)

    def test_tasks_for_a_worker_run_on_the_one_in_its_place(self, cluster: Cluster, tmp_path: Path) -> None:
        with cluster.executor() as ex:
            named = ex.with_options(workers="w")
            running, waiting = named.submit(hold, tmp_path), named.submit(os.getpid)
            wait_for((tmp_path / "runs").exists)
            ex.restart_workers()
            pid = waiting.result(WAIT_S)
            (tmp_path / "go").touch()
            assert running.result(WAIT_S) != pid
            wait_for(lambda: list(ex.workers()) == ["w~2"])
            assert ex.with_options(workers="w~2").submit(os.getpid).result(WAIT_S) == pid
            ex.restart_workers()
            assert ex.with_options(workers="w~2").submit(os.getpid).result(WAIT_S) != pid
        with Executor(1) as ex:
            before = ex.run(os.getpid)
            (name,) = before
            ex.restart_workers()
            assert ex.with_options(workers=name).submit(os.getpid).result(WAIT_S) != before[name]

    def test_the_only_worker_of_a_cluster_hands_over_what_it_holds(self, cluster: Cluster, tmp_path: Path) -> None:
        with cluster.executor() as ex:
            held = ex.submit(note, tmp_path, "held")
            concurrent.futures.wait([held])
            (pid,) = (facts["pid"] for facts in ex.workers().values())
            ex.restart_workers()
            wait_for(lambda: pid not in [facts["pid"] for facts in ex.workers().values()])
            assert held.result(WAIT_S).sum() == 50_000
            assert (tmp_path / "held").stat().st_size == 1

    @pytest.mark.parametrize("backend", ["threads", "sync"])
    def test_where_there_are_no_worker_processes(self, backend: str) -> None:
        with Executor(1, backend=backend) as ex, pytest.raises(NotSupported, match="restart"):
            ex.restart_workers()

    def test_a_task_cannot(self) -> None:
        def restart() -> None:
            current_executor().restart_workers()

        with Executor(1) as ex, pytest.raises(NotSupported, match="the program that made the executor"):
            ex.submit(restart).result(WAIT_S)


def note(folder: Path, name: str) -> np.ndarray:
    """Write down that a task ran; a result that stays on its worker."""
    with open(folder / name, "ab") as file:
        file.write(b"x")
    return np.ones(50_000)
