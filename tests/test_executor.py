"""Code written for the standard library's pools runs unchanged, however its program is started and ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import futures_cluster
from futures_cluster import (
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    current_executor,
)
from futures_cluster.errors import DeserializationError

POOLS: list[Callable[..., Any]] = [Executor, ProcessPoolExecutor, ThreadPoolExecutor]
each_pool = pytest.mark.parametrize("make_pool", POOLS, ids=lambda pool: pool.__name__)


def square(x: int) -> int:
    return x * x


def wait_for_file(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.005)


# ---------------------------------------------------------------- other people's code


@each_pool
@pytest.mark.parametrize("options", [{}, {"chunksize": 7}, {"buffersize": 5}], ids=str)
def test_threads_that_share_a_map(make_pool: Any, options: dict[str, int]) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with make_pool(2) as pool, concurrent.futures.ThreadPoolExecutor(4) as readers:
            results = pool.map(square, range(500), **options)
            parts = list(readers.map(list, [results] * 4))
    finally:
        sys.setswitchinterval(before)
    assert sorted(each for part in parts for each in part) == [i * i for i in range(500)]


def stops_at_three(x: int) -> int:
    return next(iter(())) if x == 3 else x


def make_sync(workers: int) -> Executor:
    return Executor(backend="sync")


@pytest.mark.parametrize("make_pool", [*POOLS, make_sync], ids=lambda pool: pool.__name__)
@pytest.mark.parametrize("options", [{}, {"chunksize": 2}, {"buffersize": 2}], ids=str)
def test_a_task_that_raises_stop_iteration_ends_no_loop_in_silence(make_pool: Any, options: dict[str, int]) -> None:
    with make_pool(2) as pool:
        results = pool.map(stops_at_three, range(6), **options)
        taken = []
        with pytest.raises(RuntimeError, match="StopIteration") as told:
            for result in results:
                taken.append(result)
        assert isinstance(told.value.__cause__, StopIteration)
        is_chunked = options.get("chunksize") and pool._makes_chunks
        assert taken == ([0, 1] if is_chunked else [0, 1, 2])
        assert list(results) == [], "it has ended, as a generator has"

        futures = [pool.submit(stops_at_three, i) for i in range(6)]
        for nested in (futures, {"a": tuple(futures)}):
            with pytest.raises(RuntimeError, match="StopIteration"):
                pool.gather(nested)
        with pytest.raises(RuntimeError, match="StopIteration"):
            for _ in futures_cluster.as_completed(futures, with_results=True):
                pass
        with pytest.raises(StopIteration):
            futures[3].result()  # as in the standard library


@each_pool
def test_a_map_whose_iterables_ask_it_for_a_result(make_pool: Any) -> None:
    def items() -> Iterator[Any]:
        yield from (1, 2)
        yield next(results)

    with make_pool(2) as pool:
        results = pool.map(square, items(), buffersize=1)
        assert next(results) == 1
        with pytest.raises(ValueError, match="the same map"):
            next(results)
        assert list(results) == []


def test_threads_make_no_chunks_of_calls_that_may_wait_for_each_other() -> None:
    both = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: both.wait(30), range(2), chunksize=2)) == [0, 1]
        assert list(pool.map(abs, [-1, 2], chunksize=0)) == [1, 2], "as in the standard library"


def new_thread_is_daemon(*args: object) -> bool:
    return threading.Thread(target=print).daemon


@pytest.mark.parametrize("options", [{"backend": "threads"}, {"threads_per_worker": 2}, {}], ids=str)
def test_threads_that_users_code_starts_are_no_daemons(options: dict[str, Any]) -> None:
    """So the interpreter waits for them at its end, as for those that tasks of the standard library's pools start."""
    heard: list[bool] = []
    with Executor(1, **options) as ex:
        futures = [ex.submit(new_thread_is_daemon, i) for i in range(4)]
        futures[0].add_done_callback(lambda future: heard.append(new_thread_is_daemon()))
        assert ex.gather(futures) == [False] * 4
    assert heard == [False]


@each_pool
def test_asyncio_run_in_executor(make_pool: Any) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        with make_pool(2) as pool:
            results = await asyncio.gather(*(loop.run_in_executor(pool, square, i) for i in range(10)))
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(pool, divmod, 1, 0)
        return list(results)

    assert asyncio.run(main()) == [i * i for i in range(10)]


@each_pool
def test_with_options_keeps_the_class_and_its_attributes(make_pool: Any) -> None:
    class Named(make_pool):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            super().__init__(1)
            self.name = name

    with Named("squares") as pool:
        with pool.with_options(priority=1).with_options(retries=1) as other:
            assert type(other) is Named and other.name == "squares"
            assert other.submit(square, 3).result() == 9
        with pytest.raises(RuntimeError):
            pool.submit(square, 3)  # it is the same pool that has ended


def test_asyncio_default_executor() -> None:
    async def main() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        return await asyncio.to_thread(square, 5)

    assert asyncio.run(main()) == 25


@each_pool
def test_scipy_differential_evolution(make_pool: Any) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    options: dict[str, Any] = {"maxiter": 3, "popsize": 4, "seed": 1, "updating": "deferred", "polish": False}
    bounds = [(-2, 2), (-2, 2)]
    alone = optimize.differential_evolution(optimize.rosen, bounds, workers=map, **options)
    with make_pool(2) as pool:
        found = optimize.differential_evolution(optimize.rosen, bounds, workers=pool.map, **options)
        assert found.fun == alone.fun and (found.x == alone.x).all()


@each_pool
def test_tqdm_over_map(make_pool: Any) -> None:
    tqdm = pytest.importorskip("tqdm").tqdm
    shown = io.StringIO()
    with make_pool(2) as pool:
        assert list(tqdm(pool.map(square, range(20)), total=20, file=shown)) == [i * i for i in range(20)]
        futures = [pool.submit(square, i) for i in range(20)]
        done = [f.result() for f in tqdm(concurrent.futures.as_completed(futures), total=20, file=shown)]
        assert sorted(done) == [i * i for i in range(20)]
        ours = futures_cluster.as_completed(futures)
        assert len(list(tqdm(ours, file=shown))) == 20
    assert shown.getvalue().count("20/20") >= 3


@pytest.mark.parametrize("name", ["thread_map", "process_map"])
def test_tqdm_s_own_pools(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands a lock to the initializer, which only processes of multiprocessing can inherit."""
    module = pytest.importorskip("tqdm.contrib.concurrent")
    monkeypatch.setattr(concurrent.futures, "ThreadPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", ProcessPoolExecutor)
    results = getattr(module, name)(square, range(10), max_workers=2, chunksize=2, file=io.StringIO())
    assert results == [i * i for i in range(10)]


@pytest.mark.parametrize("make_pool", [ProcessPoolExecutor, ThreadPoolExecutor, Executor])
def test_adaptive_runner(make_pool: Any) -> None:
    adaptive = pytest.importorskip("adaptive")
    with make_pool(2) as pool:
        learner = adaptive.Learner1D(lambda x: x * x, bounds=(-1, 1))
        # Of an executor that is none of the standard library's classes, adaptive wants to be told its size.
        ntasks = 2 if type(pool) is Executor else None
        adaptive.BlockingRunner(learner, npoints_goal=12, executor=pool, ntasks=ntasks)
        assert len(learner.data) >= 12 and all(y == x * x for x, y in learner.data.items())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ThreadPoolExecutor, concurrent.futures.ThreadPoolExecutor),
        (ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor),
    ],
)
def test_the_classes_are_taken_for_the_standard_library_s(ours: Any, theirs: Any) -> None:
    with ours(3) as pool:
        assert isinstance(pool, theirs) and isinstance(pool, concurrent.futures.Executor)
        assert pool._max_workers == 3


def test_futures_mix_with_those_of_other_executors() -> None:
    with Executor(1) as one, concurrent.futures.ThreadPoolExecutor(1) as two:
        futures = [one.submit(square, 2), two.submit(square, 3), one.submit(square, 4)]
        done, not_done = concurrent.futures.wait(futures, 30)
        assert not not_done and {future.result() for future in done} == {4, 9, 16}
        assert {future.result() for future in concurrent.futures.as_completed(futures, 30)} == {4, 9, 16}
        assert {future.result() for future in futures_cluster.as_completed(futures, 30)} == {4, 9, 16}


# ---------------------------------------------------------------- in this process


def test_tasks_run_on_the_main_thread_of_their_process() -> None:
    def set_handler() -> bool:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return threading.current_thread() is threading.main_thread()

    with Executor(1) as ex:
        assert ex.submit(set_handler).result(30)


def test_tasks_can_use_pools_of_their_own() -> None:
    def use_pools() -> list[int]:
        import multiprocessing

        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            first = list(threads.map(square, range(3)))
        with multiprocessing.get_context("fork").Pool(1) as pool:
            return first + pool.map(square, range(3))

    with Executor(1) as ex:
        assert ex.submit(use_pools).result(30) == [0, 1, 4, 0, 1, 4]


def test_an_executor_that_is_dropped_ends() -> None:
    ex = Executor(1)
    pid = ex.submit(os.getpid).result(30)
    future = ex.submit(square, 5)
    process = psutil.Process(pid)
    del ex
    assert future.result(30) == 25
    process.wait(30)


def test_an_executor_that_was_never_used_starts_nothing() -> None:
    before = (set(threading.enumerate()), len(psutil.Process().children()))
    with Executor(2) as ex:
        repr(ex)
        ex.with_options(priority=1)
    assert (set(threading.enumerate()), len(psutil.Process().children())) == before


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_notebooks_see_workers_tasks_memory_and_the_page(backend: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Executor(2, backend=backend) as ex:
        ex.submit(abs, -1).result()
        future = ex.submit(wait_for_file, str(gate))
        text = ex._repr_html_()
        assert "<th>Workers</th><td>2</td>" in text and "1 unfinished of 2 submitted here" in text
        assert re.search(r"<th>Memory</th><td>\d+ MB in [12] worker", text) or backend == "threads"
        assert f'href="{ex.status_url}"' in text
        assert repr(ex) == f"<Executor with 2 workers, 1 unfinished task, {ex.status_url}>"
        gate.touch()
        future.result()
    assert repr(ex) == "<Executor, shut down>" == repr(ex.with_options(priority=1))


def shown_in_a_task() -> str:
    from futures_cluster import current_executor

    return current_executor()._repr_html_()


def test_notebooks_are_not_told_what_is_unknown_or_not_so() -> None:
    with Executor(backend="sync") as ex:
        assert ex.submit(abs, -1).result() == 1
        text = ex._repr_html_()
        assert "<td>none: each call runs at submit, in the calling thread</td>" in text and "1 submitted here" in text
        assert "slot" not in text and "Memory" not in text
    with Executor(1, threads_per_worker=2) as ex:
        assert "<td>1 with 2 slots</td>" in ex._repr_html_()
        assert "Workers" not in ex.submit(shown_in_a_task).result()


@pytest.mark.parametrize("backend", ["processes", "threads", "sync"])
def test_an_upload_of_a_file_that_is_not_there_is_an_error_everywhere(backend: str, tmp_path: Path) -> None:
    with Executor(1, backend=backend) as ex, pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        ex.upload(tmp_path / "nothing.py")


def test_errors_of_wrong_calls_name_the_class_that_users_know() -> None:
    with Executor(backend="sync") as ex:
        with pytest.raises(TypeError, match=r"^Executor\.submit\(\) missing 1 required"):
            ex.submit()  # type: ignore[call-overload]
        with pytest.raises(TypeError, match=r"^Executor\.with_options\(\) got an unexpected keyword argument 'speed'"):
            ex.with_options(speed=1)  # type: ignore[call-arg]


def submit_more(x: int) -> Any:
    return {"more": current_executor().submit(abs, x)}


def test_a_future_that_leaves_its_worker_says_what_to_return() -> None:
    with (
        Executor(1) as ex,
        pytest.raises(DeserializationError, match=r"belongs to the worker.*return the future's res"),
    ):
        ex.submit(submit_more, -5).result(30)


def test_submits_from_many_threads() -> None:
    with Executor(2) as ex:
        results: dict[int, list[int]] = {}

        def work(n: int) -> None:
            results[n] = [ex.submit(square, n * 100 + i).result(30) for i in range(30)]

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {n: [(n * 100 + i) ** 2 for i in range(30)] for n in range(8)}


def test_more_large_results_than_descriptors() -> None:
    """Each mapped result keeps a descriptor; those that are too many are copied instead."""
    np = pytest.importorskip("numpy")
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        with Executor(1) as ex:
            arrays = [ex.submit(np.full, 50_000, i) for i in range(300)]
            assert [array.result(60)[0] for array in arrays] == list(range(300))
            sums = [ex.submit(np.sum, np.full(50_000, i)) for i in range(300)]
            with open(os.devnull):  # there is still room for the program's own
                assert [int(one.result(60)) for one in sums] == [50_000 * i for i in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_long_name_of_the_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    folder = tmp_path / ("a long name " * 10)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with Executor(2) as ex:
        data = ex.submit(bytes, 100_000)
        assert ex.submit(len, data).result(30) == 100_000
        assert len(data.result(30)) == 100_000
    assert os.listdir(folder) == []


# ---------------------------------------------------------------- programs


def python(*arguments: str, source: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, *arguments], input=source, capture_output=True, text=True, timeout=60, env=environment, cwd=cwd
    )


def clean(done: subprocess.CompletedProcess[str]) -> str:
    """What a program printed, if it ended well."""
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


WITHOUT_GUARD = """
from dataclasses import dataclass
from enum import Enum
from futures_cluster import Executor, ProcessPoolExecutor, as_completed

class Color(Enum):
    RED = 1

@dataclass
class Point:
    x: int
    color: Color = Color.RED
    def moved(self, by):
        return Point(self.x + by)

class Mistake(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code

offset = 100

def shift(point):
    return Point(point.x + offset)

def fail():
    raise Mistake(7, "as planned")

def make_local():
    class Local(Point):
        pass
    return Local

def recurse(n):
    from futures_cluster import current_executor
    return Point(n) if n == 0 else current_executor().submit(recurse, n - 1).result().moved(1)

for make in (Executor, ProcessPoolExecutor):
    with make(2) as ex:
        point = ex.submit(shift, Point(1)).result()
        assert type(point) is Point and point == Point(101), point
        assert point.color is Color.RED
        assert ex.submit(Point(1).moved, 2).result() == Point(3)
        assert ex.submit(Point, 5).result() == Point(5)
        assert list(ex.map(lambda p: p.x + offset, [Point(1), Point(2)])) == [101, 102]
        assert ex.submit(lambda p: p, ex.submit(shift, Point(1))).result() == Point(101)
        try:
            ex.submit(fail).result()
        except Mistake as error:
            assert error.code == 7 and error.args == ("as planned",)
        Local = make_local()
        local = ex.submit(Local, 3).result()
        assert type(local) is Local and local.moved(1) == Point(4)
        assert ex.submit(recurse, 5).result() == Point(5)
        assert {f.result().x for f in as_completed([ex.submit(shift, Point(i)) for i in range(3)])} == {100, 101, 102}
print("all is well")
"""


@pytest.mark.parametrize("how", ["file", "-c", "stdin", "module"])
def test_programs_without_a_guard(how: str, tmp_path: Path) -> None:
    """Lambdas, closures and classes of ``__main__`` go out, and results are instances of the same classes at home."""
    script = tmp_path / "program.py"
    script.write_text(WITHOUT_GUARD)
    done = {
        "file": lambda: python(str(script)),
        "-c": lambda: python("-c", WITHOUT_GUARD),
        "stdin": lambda: python("-", source=WITHOUT_GUARD),
        "module": lambda: python("-m", "program", cwd=tmp_path),
    }[how]()
    assert clean(done) == "all is well\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_program_without_the_guard_that_mp_context_needs(method: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import multiprocessing\nfrom futures_cluster import Executor\n"
        f"with Executor(2, mp_context=multiprocessing.get_context({method!r})) as ex:\n    ex.submit(int).result()\n"
    )
    done = python(str(script))
    assert done.returncode == 1
    hows = ["exited with code 1"]
    if method == "forkserver" and sys.version_info >= (3, 14):  # perhaps its fork server imports the program
        hows.append("of multiprocessing, its fork server, ended")
    assert any(f"the first process {how} while" in done.stderr.splitlines()[-1] for how in hows)
    assert "no worker can start: " in done.stderr.splitlines()[-1]
    assert 'under `if __name__ == "__main__":`, or leave mp_context out' in done.stderr.splitlines()[-1]
    assert "next attempt" not in done.stderr


def test_modules_beside_the_program(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("class Thing:\n    pass\ndef make():\n    return Thing()\n")
    script = tmp_path / "program.py"
    script.write_text(
        "import beside\nfrom futures_cluster import Executor\n"
        "with Executor(1) as ex:\n    print(type(ex.submit(beside.make).result()) is beside.Thing)\n"
    )
    assert clean(python(str(script))) == "True\n"


def test_what_a_task_prints_appears(tmp_path: Path) -> None:
    """Lines at once, and the rest at the latest when the worker ends; stderr on stderr."""
    source = """
import sys
from futures_cluster import Executor
def task(n):
    print("line of", n)
    sys.stdout.write("an unfinished line")
    print("to stderr", file=sys.stderr)
with Executor(1) as ex:
    ex.submit(task, 1).result()
"""
    done = python("-c", source)
    assert done.returncode == 0
    assert done.stdout == "line of 1\nan unfinished line"
    assert done.stderr == "to stderr\n"


def test_options_of_the_interpreter_hold_in_workers() -> None:
    source = """
import sys, warnings
from futures_cluster import Executor
with Executor(1) as ex:
    print(ex.submit(lambda: (sys.flags.optimize, sys.warnoptions, sys.flags.utf8_mode)).result())
"""
    assert clean(python("-O", "-W", "error", "-X", "utf8", "-c", source)) == "(1, ['error'], 1)\n"


def test_what_was_submitted_is_done_when_the_program_ends_without_shutdown(tmp_path: Path) -> None:
    """As with the standard library's pools; also when the program ends by an exception."""
    source = """
import sys, time
from pathlib import Path
from futures_cluster import Executor
def write(n):
    time.sleep(0.01)
    Path(sys.argv[1], str(n)).touch()
ex = Executor(2)
ex.map(write, range(30))
if len(sys.argv) > 2:
    raise SystemExit(sys.argv[2])
"""
    for arguments, code, text in (([], 0, ""), (["the end"], 1, "the end\n")):
        folder = tmp_path / str(code)
        folder.mkdir()
        source_with_arguments = source.replace("sys.argv[1]", repr(str(folder)))
        done = python("-c", source_with_arguments, str(folder), *arguments)
        assert (done.returncode, done.stderr) == (code, text)
        assert len(list(folder.iterdir())) == 30


def test_submitting_at_the_end_of_the_interpreter() -> None:
    source = """
import atexit
from futures_cluster import Executor
ex = Executor(1)
ex.submit(int).result()
def late():
    try:
        ex.submit(int)
    except RuntimeError as error:
        print(error)
atexit.register(late)
"""
    assert clean(python("-c", source)) == "cannot schedule new futures after interpreter shutdown\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_copy_of_the_program(tmp_path: Path) -> None:
    """It cannot use its parent's executor, does not end it, and can make its own."""
    source = """
import os, sys
from futures_cluster import Executor
from futures_cluster.errors import ForkedExecutor
ex = Executor(1)
ex.submit(int).result()
future = ex.submit(pow, 2, 3)
pid = os.fork()
if pid == 0:
    try:
        ex.submit(int)
    except ForkedExecutor as error:
        print(error)
    ex.shutdown()
    with Executor(1) as own:
        print(own.submit(pow, 2, 5).result(30))
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(future.result(), ex.submit(pow, 3, 3).result(30))
"""
    done = python("-W", "ignore::DeprecationWarning", "-c", source)
    lines = clean(done).splitlines()
    assert "belongs to the parent" in lines[0]
    assert lines[1:] == ["32", "8 27"]


# ---------------------------------------------------------------- Ctrl-C


@contextlib.contextmanager
def in_own_group(script: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group_is_gone(pgid: int, within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not [p for p in psutil.pids() if is_in_group(p, pgid)]:
            return True
        time.sleep(0.01)
    return False


def is_in_group(pid: int, pgid: int) -> bool:
    try:
        return os.getpgid(pid) == pgid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


INTERRUPTED = """
import sys, time
from futures_cluster import Executor, as_completed

def busy(n):
    print("begun", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass

def result(ex): ex.submit(busy, 1).result()
def mapped(ex): list(ex.map(busy, range(10)))
def completed(ex): list(as_completed([ex.submit(busy, i) for i in range(10)]))
def leave(ex): ex.submit(busy, 1)
def own_work(ex):
    ex.submit(busy, 1)
    time.sleep(60)
def sleeping(ex): ex.submit(lambda: print("begun", flush=True) or time.sleep(60)).result()

how = globals()[sys.argv[1]]
if sys.argv[2] == "with":
    with Executor(2) as ex:
        how(ex)
else:
    ex = Executor(2)
    how(ex)
"""


@pytest.mark.parametrize("block", ["with", "without"])
@pytest.mark.parametrize("how", ["result", "mapped", "completed", "leave", "own_work", "sleeping"])
def test_ctrl_c(how: str, block: str, tmp_path: Path) -> None:
    """It reaches the whole group of processes: one traceback, and nothing is left after a moment."""
    script = tmp_path / "program.py"
    script.write_text(INTERRUPTED)
    with in_own_group(script, how, block) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        if how == "leave":
            time.sleep(0.1)  # until the main thread waits for the end
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        if (how, block) == ("leave", "without"):
            assert process.returncode == 0, errors  # the program itself was at its end: Python says "ignored"
        else:
            assert process.returncode in (-signal.SIGINT, 1, 130), errors
        assert errors.count("Traceback (most recent call last)") == 1, errors
        assert errors.rstrip().rstrip(":").endswith("KeyboardInterrupt"), errors
        assert group_is_gone(process.pid)


def test_ctrl_c_that_the_program_survives(tmp_path: Path) -> None:
    """A program that catches it goes on with its executor: tasks are not hit."""
    script = tmp_path / "program.py"
    script.write_text(
        "import time\nfrom futures_cluster import Executor\n"
        "def slow():\n    print('begun', flush=True)\n    time.sleep(0.5)\n    return 'done'\n"
        "with Executor(1) as ex:\n"
        "    future = ex.submit(slow)\n"
        "    try:\n        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n        print('caught', flush=True)\n"
        "    print(future.result(), ex.submit(pow, 2, 3).result())\n"
    )
    with in_own_group(script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=20)
        assert (process.returncode, printed, errors) == (0, "caught\ndone 8\n", "")


def test_ctrl_c_long_before_the_end_of_an_interactive_session(tmp_path: Path) -> None:
    """Python remembers the error as the last one, though it did not end the program."""
    lines = [
        "import pathlib, time",
        "from futures_cluster import Executor",
        "pool = Executor(2)",
        "def work(number):",
        "    time.sleep(0.2)",
        "    (pathlib.Path(PLACE) / str(number)).touch()",
        "",
        f"PLACE = {str(tmp_path)!r}",
        "raise KeyboardInterrupt",
        "futures = [pool.submit(work, number) for number in range(6)]",
    ]
    command, text = [sys.executable, "-q", "-i"], "\n".join([*lines, ""])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, timeout=60)
    assert "KeyboardInterrupt" in done.stderr  # of its exit code Python makes -2 or 0, by version
    assert sorted(path.name for path in tmp_path.iterdir()) == [*"012345"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_killed_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(INTERRUPTED)
    with in_own_group(script, "mapped", "with") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        process.wait(20)
        assert group_is_gone(process.pid)


# ---------------------------------------------------------------- multiprocessing's rules


def put(queue: Any, value: Any) -> None:
    queue.put(value)


inherited: Any = None


def inherit(thing: Any) -> None:
    global inherited
    inherited = thing


def put_into_inherited(value: int) -> None:
    inherited.put(value)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_what_only_processes_of_multiprocessing_inherit(method: str) -> None:
    import multiprocessing

    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    with Executor(2, mp_context=context, initializer=inherit, initargs=(queue,)) as ex:
        list(ex.map(put_into_inherited, range(5)))
        assert sorted(queue.get() for _ in range(5)) == list(range(5))
        with pytest.raises(RuntimeError, match="inheritance"):
            ex.submit(put, context.Lock(), 1).result(30)
        assert ex.submit(square, 3).result(30) == 9
    queue.close()


def test_a_manager_s_queue_can_be_an_argument() -> None:
    import multiprocessing

    with multiprocessing.get_context("spawn").Manager() as manager, Executor(1) as ex:
        queue = manager.Queue()
        ex.submit(put, queue, 5).result(30)
        assert queue.get(timeout=30) == 5


def test_an_initializer_s_arguments_that_do_not_pickle_are_an_error() -> None:
    """At the first submit at the latest, and nothing hangs."""
    with Executor(1, initializer=print, initargs=(threading.Lock(),)) as ex:
        with pytest.raises((TypeError, BrokenExecutor)):
            ex.submit(square, 1).result(30)
