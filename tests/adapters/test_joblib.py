"""joblib on our workers: results, errors, nesting, what goes out once, and what is free afterwards."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

joblib = pytest.importorskip("joblib", reason="joblib is not installed")
np = pytest.importorskip("numpy", reason="numpy is not installed")

from joblib import Parallel, delayed, parallel_config

import futures_cluster.adapters.joblib as adapter
from futures_cluster import Executor, Future, context, current_executor
from futures_cluster.adapters import large
from futures_cluster.engines.inprocess.engine import InProcessEngine
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

BACKEND = "futures_cluster"
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def stays() -> Iterator[Executor]:
    """One for all tests that leave its workers as they are."""
    with Executor(2) as ex:
        ex.run(int)
        yield ex


@pytest.fixture(params=["processes", "threads"])
def ex(request: pytest.FixtureRequest, stays: Executor) -> Iterator[Executor]:
    if request.param == "processes":
        yield stays
        return
    with Executor(2, backend=request.param) as ex:
        yield ex


@pytest.fixture
def processes() -> Iterator[Executor]:
    with Executor(2) as ex:
        yield ex


@pytest.fixture
def shared_is_closed() -> Iterator[None]:
    yield
    adapter.close()


def is_of_threads(ex: Executor) -> bool:
    return isinstance(ex._engine, InProcessEngine)


def same(value: Any) -> Any:
    return value


def pid_of(array: Any) -> tuple[int, bool, float]:
    return os.getpid(), bool(array.flags.writeable), float(array[-1])


def fail_at(i: int, bad: int) -> int:
    if i == bad:
        raise ValueError(f"{i} is bad")
    return i


def squares_inside(n: int) -> list[int]:
    return Parallel(n_jobs=2)(delayed(pow)(i, 2) for i in range(n))  # type: ignore[no-any-return]


def names_inside() -> tuple[str, int, str]:
    inner = Parallel()
    return type(inner._backend).__name__, inner.n_jobs, type(current_executor()).__name__


def use_the_name() -> int:
    return sum(Parallel(n_jobs=2, backend=BACKEND)(delayed(same)(i) for i in range(5)))


def begin_and_wait(folder: SharedFolder, number: int) -> None:
    folder.set(f"begun-{number}")
    folder.wait("go")


# ---------------------------------------------------------------- results


def test_results_in_order(ex: Executor) -> None:
    with parallel_config(backend=BACKEND, executor=ex):
        for batch_size in ("auto", 1, 7):
            got = Parallel(n_jobs=2, batch_size=batch_size)(delayed(pow)(i, 2) for i in range(100))
            assert got == [i**2 for i in range(100)]
        assert Parallel()(delayed(same)(x=[i], value=i) for i in ()) == []
        assert Parallel(pre_dispatch="all")(delayed(same)(value={"i": i}) for i in range(5)) == [
            {"i": i} for i in range(5)
        ]


def test_one_instance_is_used_again(ex: Executor) -> None:
    with Parallel(n_jobs=2, backend=adapter.FuturesClusterBackend(ex)) as parallel:
        for n in (3, 20):
            assert parallel(delayed(same)(i) for i in range(n)) == list(range(n))


def test_generators(ex: Executor) -> None:
    with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
        assert list(Parallel(return_as="generator")(delayed(same)(i) for i in range(20))) == list(range(20))
        unordered = Parallel(return_as="generator_unordered")(delayed(same)(i) for i in range(20))
        assert sorted(unordered) == list(range(20))


def test_an_iterator_that_waits_for_other_calls(ex: Executor) -> None:
    """The next calls are not taken from it by a thread that others need."""
    with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
        inner = Parallel(return_as="generator", batch_size=1)(delayed(same)(i) for i in range(30))
        outer = Parallel(batch_size=1)(delayed(pow)(i, 2) for i in inner)
        assert outer == [i**2 for i in range(30)]


def test_number_of_jobs(ex: Executor) -> None:
    backend = adapter.FuturesClusterBackend(ex)
    assert [backend.effective_n_jobs(n) for n in (1, None, 2, -1, -2, -5, 3)] == [1, 1, 2, 2, 1, 1, 3]
    with pytest.raises(ValueError):
        backend.effective_n_jobs(0)
    with parallel_config(backend=backend):
        assert joblib.effective_n_jobs(-1) == 2
        threads = Parallel(n_jobs=1)(delayed(threading.get_ident)() for _ in range(3))
    assert set(threads) == {threading.get_ident()}  # one job is the caller


def test_no_more_calls_at_a_time_than_jobs() -> None:
    with SharedFolder() as folder, Executor(4, backend="threads") as ex, parallel_config(backend=BACKEND, executor=ex):
        started = Parallel(n_jobs=2, batch_size=1, pre_dispatch="all", return_as="generator")(
            delayed(begin_and_wait)(folder, i) for i in range(6)
        )
        folder.wait("begun-0")
        folder.wait("begun-1")
        assert ex.submit(same, 1).result(TIMEOUT_S) == 1  # a third would have begun before this
        assert sorted(folder.names()) == ["begun-0", "begun-1"]
        folder.set("go")
        assert len(list(started)) == 6


def test_the_shared_executor_grows_to_the_jobs(shared_is_closed: None) -> None:
    with SharedFolder() as folder, parallel_config(backend=BACKEND):
        meet = Parallel(n_jobs=4, batch_size=1)(delayed(arrive)(folder, 4) for i in range(4))
    assert len(set(meet)) == 4


def test_the_default_executor_is_used(stays: Executor, shared_is_closed: None) -> None:
    """When none is given; the last to become it comes first, also if they end in another order."""
    adapter.close()
    array = np.ones(400_000)
    with Executor(2, backend="threads") as threads:
        with parallel_config(backend=BACKEND, n_jobs=2):
            first, second = threads.as_default(), stays.as_default()
            assert not any(each is array for each in Parallel()(delayed(same)(array) for _ in range(3)))
            second.close()
            assert all(each is array for each in Parallel()(delayed(same)(array) for _ in range(3)))
            assert Parallel(require="sharedmem")(delayed(same)(i) for i in range(3)) == [0, 1, 2]
            third = stays.as_default()
            first.close()
            assert not any(each is array for each in Parallel()(delayed(same)(array) for _ in range(3)))
            third.close()
        with Executor(2, backend="threads", set_as_default=True):
            with parallel_config(backend=BACKEND, executor=stays):
                assert not any(each is array for each in Parallel(n_jobs=2)(delayed(same)(array) for _ in range(3)))
            assert Parallel(n_jobs=2, backend=BACKEND)(delayed(same)(array) for _ in range(3))[0] is array
    assert adapter._shared_executor._executor is None and context.default_executor() is None


def arrive(folder: SharedFolder, expected: int) -> int:
    """Wait until so many are here: they run at the same time."""
    number = folder.count_call("here")
    if number == expected:
        folder.set("all")
    folder.wait("all")
    return number


# ---------------------------------------------------------------- errors


def test_an_executor_of_another_kind_is_refused() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match=r"takes a futures_cluster\.Executor"):
        parallel_config(backend="futures_cluster", executor=pool)


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_an_error_has_its_remote_frames(backend: str) -> None:
    # On workers of its own: those that still run something at the error are killed.
    with (
        Executor(2, backend=backend) as ex,
        parallel_config(backend=BACKEND, executor=ex),
        pytest.raises(ValueError, match="3 is bad") as caught,
    ):
        Parallel(n_jobs=2)(delayed(fail_at)(i, 3) for i in range(10))
    assert "in fail_at" in caught.value.__notes__[0]


def test_abort_frees_the_workers(processes: Executor) -> None:
    """After an error nothing that still runs keeps a worker."""
    with SharedFolder() as folder, parallel_config(backend=BACKEND, executor=processes):

        def fail_once_the_other_runs(i: int) -> None:
            if i:
                begin_and_wait(folder, i)
            folder.wait("begun-1")
            raise KeyError(i)

        with pytest.raises(KeyError):
            Parallel(n_jobs=2, batch_size=1)(delayed(fail_once_the_other_runs)(i) for i in range(10))
        # Nobody says "go": both workers are needed for this.
        assert len(set(Parallel(n_jobs=2, batch_size=1)(delayed(arrive)(folder, 2) for _ in range(2)))) == 2


def test_what_a_failed_call_has_not_sent_is_not_sent_by_the_next_one(processes: Executor) -> None:
    with SharedFolder() as folder:

        def step(what: Any) -> Any:
            if what == "fail":
                folder.wait("begun")
                raise KeyError(what)
            if what == "begin":  # of the two calls that were taken when the first one was done, the other waits
                folder.set("begun")
                folder.wait("never")
            return what

        parallel = Parallel(n_jobs=2, batch_size=1, pre_dispatch=2, backend=adapter.FuturesClusterBackend(processes))
        with pytest.raises(KeyError):
            parallel(delayed(step)(what) for what in ("first", "fail", "begin", "left over"))
        assert parallel(delayed(step)(i) for i in range(3)) == [0, 1, 2]


class DoesNotPickle:
    def __init__(self, size: int) -> None:
        self.data = bytes(size)

    def __reduce__(self) -> Any:
        raise TypeError("this does not pickle")


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_an_argument_that_does_not_pickle(ex: Executor, size: int) -> None:
    """Also when it is large, and met by the thread that calls back."""
    if not is_of_threads(ex):
        with parallel_config(backend=BACKEND, executor=ex), pytest.raises(TypeError, match="does not pickle"):
            Parallel(n_jobs=2, batch_size=1, pre_dispatch=2)(
                delayed(same)(i if i < 5 else DoesNotPickle(size)) for i in range(6)
            )
        ex.run(int)  # on all workers: one that takes the place of a stopped one would begin in the next test


def test_timeout(processes: Executor) -> None:
    with SharedFolder() as folder, parallel_config(backend=BACKEND, executor=processes):
        with pytest.raises(joblib.parallel.TimeoutError):
            Parallel(n_jobs=2, timeout=0.2)(delayed(folder.wait)("never") for _ in range(2))
        assert list(processes.run(same, 1).values()) == [1, 1]


def test_a_dropped_generator_stops_its_calls(processes: Executor) -> None:
    with SharedFolder() as folder, parallel_config(backend=BACKEND, executor=processes):
        calls = Parallel(n_jobs=2, return_as="generator")(delayed(begin_and_wait)(folder, i) for i in range(10))
        folder.wait("begun-0")
        with pytest.warns(UserWarning, match="cancelled"):
            del calls
            gc.collect()
        assert list(processes.run(same, 1).values()) == [1, 1]


# ---------------------------------------------------------------- large arguments


def test_a_large_argument_goes_out_once(processes: Executor) -> None:
    array = np.arange(400_000.0)
    pool = processes._engine.client.codec.pool  # type: ignore[attr-defined]
    with parallel_config(backend=BACKEND, executor=processes):
        for calls in range(1, 3):
            got = Parallel(n_jobs=2, batch_size=1)(delayed(pid_of)(array) for _ in range(20))
            assert {(writeable, last) for _, writeable, last in got} == {(False, 399_999.0)}
            assert pool.written == calls and pool.used_bytes == 0  # one segment a call, and it is free again
        assert pool.reused == 1
        Parallel(n_jobs=2, max_nbytes=None, batch_size=10)(delayed(pid_of)(array) for _ in range(20))
        assert pool.written > 4  # as an argument like others: one a batch


class Table:
    """A large object that is no array, and pickles as one piece."""

    def __init__(self) -> None:
        self.data = bytes(2_000_000)

    def size(self) -> int:
        return len(self.data)


def test_a_large_object_goes_out_once(processes: Executor) -> None:
    pool = processes._engine.client.codec.pool  # type: ignore[attr-defined]
    with parallel_config(backend=BACKEND, executor=processes):
        got = Parallel(n_jobs=2, batch_size=1)(delayed(Table.size)(table) for table in [Table()] * 20)
    assert got == [2_000_000] * 20
    assert pool.written == 1 and pool.used_bytes == 0


def test_small_calls_cost_no_more_than_their_pickle(ex: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at their arguments one by one, and nobody looks every 10 ms whether they are done."""
    monkeypatch.setattr(large.LargeArguments, "replace", None)
    monkeypatch.setattr(joblib.parallel, "time", SimpleNamespace(time=time.time))  # no sleep
    with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
        assert Parallel()(delayed(pow)(i, 2) for i in range(1000)) == [i**2 for i in range(1000)]
        assert Parallel(pre_dispatch="all")(delayed(same)([i]) for i in range(100)) == [[i] for i in range(100)]


def test_large_arguments_of_an_iterator_do_not_pile_up(processes: Executor) -> None:
    pool = processes._engine.client.codec.pool  # type: ignore[attr-defined]
    most = 0

    def arrays() -> Iterator[Any]:
        nonlocal most
        for i in range(20):
            most = max(most, pool.used_bytes)
            yield np.full(200_000, float(i))

    with parallel_config(backend=BACKEND, executor=processes):
        got = Parallel(n_jobs=2, batch_size=1)(delayed(pid_of)(array) for array in arrays())
    assert [last for _, _, last in got] == list(range(20))
    assert pool.used_bytes == 0 and most < 10 * 1_700_000


def test_threads_get_the_caller_s_own_array() -> None:
    array = np.ones(400_000)
    with Executor(2, backend="threads") as ex, parallel_config(backend=BACKEND, executor=ex):
        got = Parallel(n_jobs=2)(delayed(same)(array) for _ in range(3))
        assert all(each is array for each in got)
        assert Parallel(n_jobs=2, require="sharedmem")(delayed(same)(i) for i in range(3)) == [0, 1, 2]


# ---------------------------------------------------------------- options


def test_what_cannot_be_honoured_warns(ex: Executor) -> None:
    is_threads = is_of_threads(ex)
    calls = [delayed(same)(i) for i in range(3)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with parallel_config(backend=BACKEND, executor=ex, n_jobs=2, inner_max_num_threads=1):
            assert Parallel()(calls) == [0, 1, 2]
        with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
            for options in ({"prefer": "threads", "mmap_mode": "c", "max_nbytes": "1K"}, {"idle_worker_timeout": 3}):
                assert Parallel(**options)(calls) == [0, 1, 2]
    expected = ["inner_max_num_threads=1"] * is_threads + ["idle_worker_timeout"]
    assert [name in str(one.message) for one, name in zip(caught, expected, strict=True)] == [True] * len(expected)
    assert {one.filename for one in caught} == {__file__}


def shared_memory_inside() -> tuple[bool, str]:
    here = threading.get_ident()
    inner = Parallel(n_jobs=2, require="sharedmem")
    return inner(delayed(threading.get_ident)() for _ in range(1)) != [here], type(inner._backend).__name__


def test_shared_memory_inside_of_calls(ex: Executor) -> None:
    """Where the calls are in threads, those that they make are, too; elsewhere joblib has a backend for it."""
    name = "FuturesClusterBackend" if is_of_threads(ex) else "ThreadingBackend"
    with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
        assert Parallel()(delayed(shared_memory_inside)() for _ in range(2)) == [(True, name)] * 2


# ---------------------------------------------------------------- nesting


def test_nested_calls(ex: Executor) -> None:
    with parallel_config(backend=BACKEND, executor=ex):
        assert Parallel(n_jobs=2)(delayed(squares_inside)(n) for n in range(6)) == [
            [i**2 for i in range(n)] for n in range(6)
        ]
        assert (
            Parallel(n_jobs=2)(delayed(names_inside)() for _ in range(2))
            == [("FuturesClusterBackend", 1, "Executor")] * 2
        )


def test_workers_know_the_name(ex: Executor) -> None:
    """A function of a module that imports joblib can use the backend by name on a worker."""
    assert ex.submit(use_the_name).result(TIMEOUT_S) == 10


# ---------------------------------------------------------------- by itself


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(adapter.__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_known_when_joblib_was_imported_first() -> None:
    code = "import joblib, futures_cluster as f\nwith f.Executor(1, backend='sync'): print(joblib.parallel.BACKENDS)"
    assert BACKEND in run(code)
    code = "import sys, futures_cluster as f\nwith f.Executor(1, backend='sync'): print('joblib' in sys.modules)"
    assert run(code) == "False\n"


def test_the_default_executor_needs_no_dask() -> None:
    code = (
        "import sys\nsys.modules['dask'] = None\n"
        "import joblib, futures_cluster as f\nmade = object()\n"
        "with f.Executor(2, backend='threads', set_as_default=True):\n"
        "    parallel = joblib.Parallel(n_jobs=2, backend='futures_cluster')\n"
        "    print(parallel(joblib.delayed(lambda: made)() for i in range(3)) == [made] * 3)"
    )
    assert run(code) == "True\n"


def test_the_shared_executor_ends_with_the_interpreter() -> None:
    code = (
        "import joblib, futures_cluster.adapters.joblib\n"
        "with joblib.parallel_config(backend='futures_cluster'):\n"
        "    print(joblib.Parallel(n_jobs=2)(joblib.delayed(lambda i: i + 1)(i) for i in range(3)))"
    )
    assert run(code) == "[1, 2, 3]\n"


# ---------------------------------------------------------------- other people's tests


@pytest.mark.slow
@pytest.mark.timeout(600)  # a whole suite; each test in it has a limit of its own
def test_joblib_s_own_tests(tmp_path: Path) -> None:
    """Those that go through all backends: only what is listed fails, and all of that does."""
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "adapters.joblib_plugin"]
    command += ["-p", "no:cacheprovider", "--timeout=60", "-q", "-rf", "-W", "ignore", "--rootdir", str(tmp_path)]
    command += ["--pyargs", "joblib.test.test_parallel", "-k", BACKEND]
    here = Path(__file__).parents[1]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=580,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])},
    )
    failed = {line.split("::")[-1].split(" - ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == set(DEVIATIONS), done.stdout[-5000:]
    assert " passed" in done.stdout


#: Which of joblib's own tests fail with our backend, and why.
_FOREIGN = "the name is used in a process of another backend, which knows nothing of ours"
DEVIATIONS = {
    "test_nested_loop[loky-futures_cluster]": _FOREIGN,
    "test_nested_loop[back_compat_backend-futures_cluster]": _FOREIGN,
}


@pytest.mark.slow
def test_scikit_learn(processes: Executor) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    x, y = make_classification(300, random_state=0)
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3)
    forest = RandomForestClassifier(8, random_state=0)
    alone = search.fit(x, y).best_score_, forest.fit(x, y).predict_proba(x)
    with parallel_config(backend=BACKEND, executor=processes):
        search.set_params(n_jobs=-1).fit(x, y)
        forest.set_params(n_jobs=-1).fit(x, y)
        assert search.best_score_ == alone[0]
        assert np.array_equal(forest.predict_proba(x), alone[1])


def test_nobody_is_called_back_after_the_end_of_a_call() -> None:
    """Else a late result of a call that was given up counts for the next one, while that begins."""
    dispatcher = adapter.Dispatcher()
    begun, go = threading.Event(), threading.Event()
    called: list[str] = []

    def wait(future: Future) -> None:
        begun.set()
        assert go.wait(30)
        called.append("under way")

    dispatcher.call_back(wait, Future())
    dispatcher.call_back(lambda future: called.append("late"), Future())
    assert begun.wait(30)
    stopper = threading.Thread(target=dispatcher.stop)
    stopper.start()
    while not dispatcher._stopped:
        time.sleep(0.001)
    go.set()
    stopper.join()
    assert called == ["under way"]
    dispatcher.call_back(lambda future: called.append("later"), Future())
    dispatcher.join()
    assert called == ["under way"]


def test_the_thread_of_a_call_ends_with_it() -> None:
    with Executor(2, backend="threads") as ex, parallel_config(backend=BACKEND, executor=ex):
        Parallel(n_jobs=2)(delayed(same)(i) for i in range(3))
        end = time.monotonic() + TIMEOUT_S
        while any(thread.name == "futures_cluster-joblib" for thread in threading.enumerate()):
            assert time.monotonic() < end
            time.sleep(0.002)
