"""Arrays in joblib's calls: what loky does with the same code, files that workers map, hosts that lack them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

joblib = pytest.importorskip("joblib", reason="joblib is not installed")
np = pytest.importorskip("numpy", reason="numpy is not installed")
pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")

from joblib import Parallel, delayed, parallel_config

import futures_cluster.adapters.joblib  # noqa: F401
from adapters import joblib_cases
from futures_cluster import Executor
from futures_cluster.testing.real_cluster import Cluster
from futures_cluster.wire.codec.memmaps import MappedFile, backing, mapping_of

BACKEND = "futures_cluster"
HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(2) as ex:
        ex.run(int)
        with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
            yield ex


def loky(folder: Path, has_options: bool) -> dict[str, Any]:
    """What the cases see on joblib's own processes."""
    code = f"from adapters.joblib_cases import main; main({str(folder)!r}, {has_options})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=110,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return loky(tmp_path_factory.mktemp("loky"), False)


@pytest.mark.parametrize("name", list(joblib_cases.CASES))
def test_as_with_loky(ex: Executor, expected: dict[str, Any], name: str, tmp_path: Path) -> None:
    assert json.loads(json.dumps(joblib_cases.CASES[name](tmp_path))) == expected[name]


@pytest.mark.slow
def test_options_as_with_loky(ex: Executor, tmp_path: Path) -> None:
    expected = loky(tmp_path, True)
    for name, case in joblib_cases.CASES_WITH_OPTIONS.items():
        folder = tmp_path / f"{name}-ours"
        folder.mkdir()
        assert json.loads(json.dumps(case(folder))) == expected[name], name


@pytest.mark.parametrize(
    "mode, outcome, is_shared",
    [
        ("r", "read-only", False),
        ("c", "wrote", False),
        ("r+", "wrote", True),
        ("w+", "wrote", True),
        (None, "wrote", False),
    ],
)
@pytest.mark.parametrize("size", [400, 100_000])
def test_modes(ex: Executor, mode: str | None, outcome: str, is_shared: bool, size: int) -> None:
    array = np.arange(1.0, size + 1)
    with parallel_config(max_nbytes=1000, mmap_mode=mode):
        for each in (array, array.reshape(20, -1).T, array[::2], array.astype("i4").view("f4")):
            (seen,) = set(Parallel()(delayed(joblib_cases.outcome_of_writing)(each) for _ in range(1)))
            assert outcome in seen and array[0] == 1
        if is_shared:
            assert Parallel(batch_size=1)(delayed(joblib_cases.both_write)(array, i) for i in range(2)) == [True] * 2
        elif mode is not None:
            (held,) = Parallel()(
                delayed(joblib_cases.outcome_of_writing_inside)(joblib_cases.Holder(array)) for _ in range(1)
            )
            assert outcome in held
    with pytest.raises(ValueError, match="mmap_mode"):
        Parallel(mmap_mode="x")(delayed(abs)(i) for i in range(3))


def test_limit_of_threads_reaches_nested_calls(ex: Executor) -> None:
    with parallel_config(backend=BACKEND, executor=ex, n_jobs=2, inner_max_num_threads=3):
        (limits,) = Parallel()(delayed(nested_limits)() for _ in range(1))
    assert [environment for environment, _ in limits] == ["3", "3"]


def nested_limits() -> Any:
    return Parallel(n_jobs=2)(delayed(joblib_cases.thread_limits)() for _ in range(2))


# ---------------------------------------------------------------- where the memory is


def path_of(array: Any) -> str:
    mapped = mapping_of(array)
    return "" if mapped is None else mapped.path


def share_memory(first: Any, second: Any) -> bool:
    return bool(np.shares_memory(first, second))


def test_a_memmap_takes_no_memory(ex: Executor, tmp_path: Path) -> None:
    """Neither the caller nor a worker copies it: what a call gets lies in the file."""
    pool = ex._engine.client.codec.pool  # type: ignore[attr-defined]
    path = tmp_path / "a"
    np.zeros(1_000_000).tofile(path)
    written = pool.written
    for mode in ("r", "r+", "c"):
        array = np.memmap(path, mode=mode, dtype="f8")
        for each in (array, array[1000:], array.reshape(1000, 1000).T, np.asarray(array)[::-1]):
            assert Parallel()(delayed(path_of)(each) for _ in range(2)) == [str(path)] * 2
    assert pool.written == written


def test_a_folder_for_large_arrays(ex: Executor, tmp_path: Path) -> None:
    folder, array = tmp_path / "large", np.zeros(200_000)
    for mode in ("r", "c", "r+"):
        (path,) = set(Parallel(temp_folder=folder, mmap_mode=mode)(delayed(path_of)(array) for _ in range(2)))
        assert path.startswith(str(folder)) and not list(folder.iterdir())  # it has no name that could be left behind


def test_the_folder_of_the_environment(ex: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    array = np.zeros(200_000)
    assert all(path.startswith(str(tmp_path)) for path in Parallel()(delayed(path_of)(array) for _ in range(2)))


def test_views_of_one_file_share_their_mapping(ex: Executor, tmp_path: Path) -> None:
    array = np.memmap(tmp_path / "a", mode="w+", dtype="f8", shape=100)
    views = [(array[:50], array[40:]), (array, np.asarray(array)[::-1]), (array[:50], array[50:])]
    assert Parallel()(delayed(share_memory)(*each) for each in views) == [True, True, False]


def write_inside(array: Any, n: int) -> None:
    Parallel(n_jobs=2)(delayed(joblib_cases.fill)(array, i) for i in range(n))


@pytest.mark.parametrize("dtype", ["f8", "M8[s]", "U3", [("a", "i4"), ("b", "f8")], ">i2"])
def test_calls_inside_of_calls_write_to_the_file(ex: Executor, tmp_path: Path, dtype: Any) -> None:
    array = np.memmap(tmp_path / "a", mode="w+", dtype=dtype, shape=(2, 5))
    array[...] = np.zeros(1, dtype)
    expected = np.zeros((2, 5), dtype)
    for row in expected:
        for i in range(5):
            joblib_cases.fill(row, i) if dtype != [("a", "i4"), ("b", "f8")] else row.__setitem__(i, (i, i))
    if isinstance(dtype, list):
        Parallel()(delayed(array[j].__setitem__)(i, (i, i)) for j in range(2) for i in range(5))
    else:
        Parallel()(delayed(write_inside)(array[j], 5) for j in range(2))
    assert np.array_equal(array, expected)


# ---------------------------------------------------------------- files that have other data


def total(array: Any) -> float:
    return float(array.sum())


def test_pages_that_were_changed_privately_arrive(ex: Executor, tmp_path: Path) -> None:
    """The file does not have them, so the array travels like one in memory."""
    np.ones(100_000).tofile(tmp_path / "a")
    array = np.memmap(tmp_path / "a", mode="c", dtype="f8")
    array[5] = 10
    for each in (array, array[:10], np.asarray(array)):
        assert Parallel()(delayed(total)(each) for _ in range(2)) == [total(each)] * 2
    assert Parallel()(delayed(joblib_cases.outcome_of_writing)(array) for _ in range(2)) == ["wrote -1.0"] * 2


@pytest.mark.parametrize("happens", ["deleted", "replaced"])
@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("size", [10, 200_000])
def test_a_file_without_its_name(ex: Executor, tmp_path: Path, happens: str, mode: str, size: int) -> None:
    """What has its name now is not what the caller sees; writes cannot arrive, and do not get lost in silence."""
    path = tmp_path / "a"
    np.ones(size).tofile(path)
    array = np.memmap(path, mode=mode, dtype="f8")
    if happens == "deleted":
        path.unlink()
    else:
        np.zeros(size).tofile(tmp_path / "b")
        (tmp_path / "b").rename(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert Parallel()(delayed(total)(array) for _ in range(2)) == [size] * 2
    assert [("moved, replaced or deleted" in str(one.message)) for one in caught] == [True] * (mode == "r+")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = Parallel()(delayed(joblib_cases.outcome_of_writing)(array) for _ in range(2))
    assert all("read-only" in outcome for outcome in outcomes)
    if mode == "r+":
        with warnings.catch_warnings(), pytest.raises(UserWarning, match="would not reach"):
            warnings.simplefilter("error")
            Parallel()(delayed(total)(array) for _ in range(2))


def test_a_file_that_changes_on_the_way(tmp_path: Path) -> None:
    """A worker that finds another file, or none, says so."""
    path = tmp_path / "a"
    np.ones(10_000).tofile(path)
    array = np.memmap(path, mode="r", dtype="f8")
    file = MappedFile.of(backing(array[5:]))
    assert file is not None
    function, arguments = file.__reduce__()
    assert function(*arguments).nbytes == 80_000
    np.ones(10).tofile(path)
    with pytest.raises(ValueError, match="80000 when it was mapped"):
        function(*arguments)
    path.rename(tmp_path / "b")
    with pytest.raises(OSError, match="cannot open"):
        function(*arguments)
    np.ones(10_000).tofile(path)
    with pytest.raises(OSError, match="another file"):
        function(*arguments)
    assert MappedFile.of(np.memmap(tmp_path / "b", mode="r", dtype="f8")) is not None
    assert backing(np.ones(3)) is None and backing(np.memmap(path, mode="r")[:5].view(np.ndarray)) is not None


# ---------------------------------------------------------------- other hosts


def test_workers_elsewhere_get_contents(tmp_path: Path) -> None:
    """They may not have the file: contents for reading, a warning, and an error for a call that writes."""
    with Cluster(tmp_path) as cluster:
        cluster.add_worker("--workers", "2")
        with cluster.secret(), Executor(backend=cluster.address) as ex:
            for size in (10, 200_000):
                path = tmp_path / "data"
                np.ones(size).tofile(path)
                with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
                    for mode in ("r", "c", "r+"):
                        array = np.memmap(path, mode=mode, dtype="f8")
                        for each in (array, {"inside": [array[1:]]}):
                            with warnings.catch_warnings(record=True) as caught:
                                warnings.simplefilter("always")
                                seen = Parallel()(delayed(seen_inside)(each) for _ in range(2))
                            assert [(count, size - count <= 1) for count, _ in seen] == [(seen[0][0], True)] * 2
                            assert {"wrote" in outcome for _, outcome in seen} == {mode == "c"}
                            assert ["hosts that do not have" in str(one.message) for one in caught] == [True] * (
                                mode == "r+"
                            )
            with parallel_config(backend=BACKEND, executor=ex, n_jobs=2):
                array = np.ones(200_000)
                for options in ({"mmap_mode": "r+"}, {"temp_folder": str(tmp_path)}):
                    with pytest.warns(UserWarning, match="cannot honour"):
                        assert Parallel(**options)(delayed(total)(array) for _ in range(2)) == [200_000] * 2
                outcomes = Parallel(mmap_mode="c")(delayed(joblib_cases.outcome_of_writing)(array) for _ in range(2))
                assert outcomes == ["wrote -1.0"] * 2


def seen_inside(value: Any) -> tuple[float, str]:
    array = value["inside"][0] if type(value) is dict else value
    return float(array.sum()), joblib_cases.outcome_of_writing(array)
