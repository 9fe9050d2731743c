"""Scattered data: each task that takes it has an object of its own, wherever the data lies."""

from __future__ import annotations

import copy
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor, current_executor
from futures_cluster.config import DEBUG_VARIABLE
from futures_cluster.testing.real_cluster import Cluster
from futures_cluster.wire.codec import shm

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

WAIT_S = 60
MB = 10**6


class Model:
    """An object with arrays inside; of the test's module, which workers import."""

    def __init__(self, n: int) -> None:
        self.weights = np.ones(n)
        self.history: list[float] = []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), is_shared=True) as cluster:
        cluster.add_worker("--workers", "2", "--threads", "2", "--name", "w")
        yield cluster


@pytest.fixture(params=["processes", "tcp"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "processes":
        with Executor(2, threads_per_worker=2) as ex:
            ex.run(int)
            yield ex
    else:
        with request.getfixturevalue("cluster").executor() as ex:
            yield ex


def add_one(array: Any) -> float:
    array += 1
    return float(array[-1])


# Below what travels with messages, below and above what goes through shared memory.
@pytest.mark.parametrize("length", [10, 5_000, 1_000_000])
def test_each_task_has_its_own_array(ex: Executor, length: int) -> None:
    mine = np.ones(length)
    scattered = ex.scatter(mine)
    mine[:] = 7
    assert [ex.submit(add_one, scattered).result(WAIT_S) for _ in range(5)] == [2.0] * 5
    here = scattered.result(WAIT_S)
    assert (here == 1).all()
    here += 1  # the caller's own
    assert here is scattered.result() and ex.submit(add_one, scattered).result(WAIT_S) == 2


def change(value: Any) -> None:
    """Change it, as deep as it goes."""
    if isinstance(value, dict):
        value["new"] = 1
        for inner in [*value.values()]:
            change(inner)
    elif isinstance(value, list):
        value.append(0)
    elif isinstance(value, bytearray):
        value[0] = 9
        value += b"more"
    elif isinstance(value, Model):
        value.history.append(1.0)
        value.weights *= 2
    elif isinstance(value, pd.DataFrame):
        value.iloc[0, 0] = -1
        value["new"] = 1
    elif isinstance(value, np.ndarray):
        value += 1


def before_and_after(value: Any) -> tuple[str, bool]:
    before = describe(value)
    change(value)
    return before, describe(value) != before


def describe(value: Any) -> str:
    if isinstance(value, Model):
        return f"{value.weights.sum()} {value.history}"
    if isinstance(value, pd.DataFrame):
        return f"{list(value.columns)} {value.to_numpy().sum()}"
    if isinstance(value, np.ndarray):
        return f"{value.sum()}"
    if isinstance(value, dict):
        return str({name: describe(inner) for name, inner in value.items()})
    return repr(value) if isinstance(value, int) else f"{len(value)} {value[:2]!r}"


VALUES = {
    "list": list(range(50_000)),
    "short list": [1, 2],
    "bytearray": bytearray(300_000),
    "nested dict": {"a": {"b": np.ones(100_000)}, "c": [1], "d": np.ones(3)},
    "object": Model(100_000),
    "dataframe": pd.DataFrame({name: np.ones(50_000) for name in "ab"}),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_of_all_kinds(ex: Executor, value: Any) -> None:
    expected = describe(value)
    scattered = ex.scatter({"it": value})["it"]
    found = [ex.submit(before_and_after, scattered).result(WAIT_S) for _ in range(4)]
    assert found == [(expected, True)] * 4
    assert describe(scattered.result(WAIT_S)) == expected


def test_what_is_read_only_stays_so(ex: Executor) -> None:
    for length in (10, 5_000, 100_000):
        array = np.ones(length)
        array.flags.writeable = False
        scattered = ex.scatter(array)
        assert [ex.submit(lambda x: x.flags.writeable, scattered).result(WAIT_S) for _ in range(2)] == [False] * 2


def test_what_cannot_change_is_shared(ex: Executor) -> None:
    """Bytes would be copied for each task."""
    scattered = ex.scatter(b"x" * 300_000)
    one = ex.with_options(workers=[min(ex.workers())])
    assert len({one.submit(id, scattered).result(WAIT_S) for _ in range(3)}) == 1
    assert ex.submit(len, scattered).result(WAIT_S) == 300_000


def rendezvous(array: Any, number: int) -> tuple[set[float], bool]:
    """Write while the other task on this worker has written its own number."""
    shared = globals().setdefault("_meeting", {"barrier": threading.Barrier(2), "seen": []})
    array[:] = number
    shared["seen"].append(array)
    shared["barrier"].wait(WAIT_S)
    found = set(array.tolist()), len({id(other) for other in shared["seen"]}) > 1
    shared["barrier"].wait(WAIT_S)
    shared["seen"].clear()
    return found


@pytest.mark.parametrize("length", [10, 5_000, 100_000])
def test_two_tasks_at_once_on_one_worker(ex: Executor, length: int) -> None:
    scattered = ex.scatter(np.zeros(length))
    one = ex.with_options(workers=[min(ex.workers())])
    futures = [one.submit(rendezvous, scattered, number) for number in (1, 2)]
    assert [future.result(WAIT_S) for future in futures] == [({1.0}, True), ({2.0}, True)]


def test_one_task_that_takes_it_twice_has_one_object(ex: Executor) -> None:
    scattered = ex.scatter(np.ones(5_000))
    assert ex.submit(lambda a, b: a is b[0], scattered, [scattered]).result(WAIT_S)


def test_results_of_tasks_are_shared_as_before(ex: Executor) -> None:
    made = ex.submit(np.ones, 100_000)
    one = ex.with_options(workers=[min(ex.workers())])
    assert len({one.submit(id, made).result(WAIT_S) for _ in range(3)}) == 1


def test_what_a_task_keeps_of_it_lives_on(ex: Executor) -> None:
    """A view of the task's mapping is its result; nobody else sees what it wrote, and the memory is not used again."""
    scattered = ex.scatter(np.ones(200_000))

    def part(array: Any) -> Any:
        array[:10] = 5
        return array[:100_000]

    view = ex.submit(part, scattered)
    assert ex.submit(add_one, scattered).result(WAIT_S) == 2
    key = scattered.key
    del scattered
    for number in range(3):
        ex.submit(np.sum, ex.scatter(np.full(200_000, number))).result(WAIT_S)
    assert ex.submit(lambda a: (a[0], a[-1]), view).result(WAIT_S) == (5, 1), key


def memory_of(array: Any) -> tuple[int, int]:
    """Bytes that the process has copied of pages, after all were read, and after one was written."""

    def copied() -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.split("RssAnon:")[1].split(maxsplit=1)[0]) * 1024

    array.sum()
    before = copied()
    array.sum()
    read = copied() - before
    array[0] = 1
    return read, copied() - before


@pytest.mark.skipif(not shm.available, reason="needs shared memory")
def test_only_what_is_written_is_copied(ex: Executor) -> None:
    scattered = ex.scatter(np.ones(50 * MB // 8))
    for _ in range(2):
        read, written = ex.submit(memory_of, scattered).result(WAIT_S)
        assert read < MB and written < MB


@pytest.mark.skipif(not shm.available, reason="needs shared memory")
def test_all_workers_of_a_machine_map_the_same_memory(ex: Executor) -> None:
    def inode(array: Any) -> set[str]:
        address = array.__array_interface__["data"][0]
        for line in Path("/proc/self/maps").read_text().splitlines():
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if first <= address < last:
                return {line.split()[4]}
        return set()

    scattered = ex.scatter(np.ones(100_000))
    found = [ex.with_options(workers=[name]).submit(inode, scattered).result(WAIT_S) for name in ex.workers()]
    assert len(found) == 2 and len(set.union(*found)) == 1 and found[0]


def test_a_task_scatters(ex: Executor) -> None:
    def inner(length: int) -> list[float]:
        executor = current_executor()
        scattered = executor.scatter(np.ones(length))
        return [executor.submit(add_one, scattered).result() for _ in range(3)]

    for length in (10, 5_000, 100_000):
        assert ex.submit(inner, length).result(WAIT_S) == [2.0] * 3


def test_a_worker_dies() -> None:
    with Executor(1) as ex:
        scattered = ex.scatter(np.ones(100_000))
        assert ex.submit(add_one, scattered).result(WAIT_S) == 2
        assert ex.submit(os._exit, 3).exception(WAIT_S) is not None
        assert ex.submit(add_one, scattered).result(WAIT_S) == 2
        assert scattered.result(WAIT_S)[0] == 1


def test_a_copy_on_another_worker(cluster: Cluster) -> None:
    with cluster.executor() as ex:
        scattered = ex.scatter(np.ones(100_000), replicas=2)
        for name in ex.workers():
            one = ex.with_options(workers=[name])
            assert [one.submit(add_one, scattered).result(WAIT_S) for _ in range(3)] == [2.0] * 3


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not shm.available, reason="needs shared memory")
def test_descriptors_are_given_back(ex: Executor) -> None:
    scattered = ex.scatter(np.ones(100_000))
    one = ex.with_options(workers=[min(ex.workers())])
    one.submit(add_one, scattered).result(WAIT_S)
    before = one.submit(descriptors).result(WAIT_S)
    for _ in range(50):
        one.submit(add_one, scattered).result(WAIT_S)
    assert one.submit(descriptors).result(WAIT_S) <= before + 5


def lower_limit(most: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.mark.skipif(not shm.available, reason="needs shared memory")
def test_more_mappings_than_descriptors() -> None:
    with Executor(1) as ex:
        ex.submit(lower_limit, 100).result(WAIT_S)
        scattered = ex.scatter(np.arange(50_000.0))
        parts = [ex.submit(lambda a, i: a[i : i + 10_000], scattered, i) for i in range(150)]
        assert [float(part.result(WAIT_S)[0]) for part in parts] == list(range(150))
        assert ex.submit(add_one, scattered).result(WAIT_S) == 50_000


def spilled() -> tuple[int, int]:
    """How often the worker that runs this has written values to disk, and what it counts as in memory."""
    from futures_cluster.services.worker.store import Store

    (store,) = [obj for obj in gc.get_objects() if type(obj) is Store]
    return store.spilled_count, store.memory_bytes


def test_what_its_client_keeps_does_not_count_as_the_workers() -> None:
    with Executor(1, memory_limit="300MB") as ex:
        scattered = ex.scatter([np.full(20 * MB // 8, i, dtype=float) for i in range(20)])
        assert [ex.submit(add_one, each).result(WAIT_S) for each in scattered] == list(range(1, 21))
        assert ex.submit(spilled).result(WAIT_S) == (0, 0)
        assert [ex.submit(add_one, each).result(WAIT_S) for each in scattered] == list(range(1, 21))


def test_scattered_data_on_disk_is_private(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.add_worker("--workers", "1", "--memory-limit", "300MB")
        with cluster.executor() as ex:
            scattered = ex.scatter([np.full(20 * MB // 8, i, dtype=float) for i in range(20)])
            for _ in range(2):
                assert [ex.submit(add_one, each).result(WAIT_S) for each in scattered] == list(range(1, 21))
            assert [float(each.result(WAIT_S)[0]) for each in scattered] == list(range(20))
            count, held = ex.submit(spilled).result(WAIT_S)
            assert count >= 11 and held <= 180 * MB


@pytest.mark.parametrize("length", [10, 5_000, 100_000])
def test_the_debug_mode_lets_tasks_change_it(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    with Executor(1) as ex:
        assert ex.submit(add_one, ex.scatter(np.ones(length))).result(WAIT_S) == 2


@pytest.mark.parametrize("backend", ["threads", "sync"])
def test_threads_share_the_callers_object(backend: str) -> None:
    mine = np.ones(5_000)
    with Executor(backend=backend) as ex:
        scattered = ex.scatter(mine)
        assert [ex.submit(add_one, scattered).result(WAIT_S) for _ in range(3)] == [2, 3, 4]
        assert scattered.result() is mine


def test_futures_inside_stay_futures(ex: Executor) -> None:
    inner = ex.submit(pow, 2, 3)
    scattered = ex.scatter({"it": [inner, bytes(50_000)]})["it"]
    assert ex.submit(lambda pair: pair[0].result(), scattered).result(WAIT_S) == 8


def test_what_does_not_pickle_fails_its_future(ex: Executor) -> None:
    scattered = ex.scatter({"it": threading.Lock()})["it"]
    assert isinstance(scattered.exception(WAIT_S), TypeError)


def test_a_copy_of_the_value_is_not_needed(ex: Executor) -> None:
    """A task that copies what it gets works as well."""
    scattered = ex.scatter({"it": {"a": np.ones(50_000)}})["it"]
    assert ex.submit(lambda value: float(copy.deepcopy(value)["a"].sum()), scattered).result(WAIT_S) == 50_000


def test_cancel_all_leaves_data_alone() -> None:
    with Executor(1) as ex:
        block = ex.scatter({"a": [1, 2, 3]})["a"]  # on its way to workers that start
        assert ex.cancel_all() == 0
        assert ex.submit(sum, block).result() == 6
