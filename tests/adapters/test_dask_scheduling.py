"""What Dask's graphs say to the scheduler, and what it says back: annotations, errors, the end of a computation.

Covers: priority, retries, resources and workers; errors of tasks, of pickling and of graphs; being the default
scheduler; a cluster of other processes. Does not cover: values (``test_dask_collections``).
"""

from __future__ import annotations

import concurrent.futures
import copy
import pickle
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest
from gate import Gate, wait_until

from futures_cluster import Executor
from futures_cluster.testing.real_cluster import Cluster

dask = pytest.importorskip("dask")
np = pytest.importorskip("numpy")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")

TIMEOUT_S = 30


def append(path: str, text: str, *after: Any) -> str:
    with open(path, "a") as file:
        file.write(text)
    return text


def fail_until(path: str, times: int) -> int:
    append(path, ".")
    if len(Path(path).read_text()) <= times:
        raise OSError("not yet")
    return times


def divide(x: Any, y: Any) -> Any:
    return x / y


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


# ---------------------------------------------------------------- annotations


def test_retries(ex: Executor, tmp_path: Path) -> None:
    with dask.annotate(retries=2):
        task = dask.delayed(fail_until)(str(tmp_path / "a"), 2)
    assert task.compute(scheduler=ex) == 2
    again = dask.delayed(fail_until)(str(tmp_path / "b"), 2)
    with dask.annotate(retries=2):
        assert again.compute(scheduler=ex) == 2
    with pytest.raises(OSError, match="not yet"):
        dask.delayed(fail_until)(str(tmp_path / "c"), 2).compute(scheduler=ex)
    assert ex.with_options(retries=2).compute(dask.delayed(fail_until)(str(tmp_path / "d"), 2)).result() == 2


def test_priority() -> None:
    with Executor(1, backend="threads") as ex:
        opened, ran = threading.Event(), []
        first = ex.submit(opened.wait, TIMEOUT_S)
        parts = []
        for priority in (0, 5, 2):
            with dask.annotate(priority=priority):
                parts.append(dask.delayed(ran.append, pure=False)(priority))
        futures = ex.compute(parts, optimize_graph=False)
        opened.set()
        assert first.result() and [future.result() for future in futures] == [None] * 3
        assert ran == [5, 2, 0]


def test_workers(ex: Executor) -> None:
    first, second = sorted(ex.workers())
    pids = {name: facts["pid"] for name, facts in ex.workers().items()}

    def process() -> int:
        import os

        return os.getpid()

    with dask.annotate(workers=first):
        one = [dask.delayed(process)() for _ in range(4)]
    with dask.annotate(workers=[second]):
        two = [dask.delayed(process)() for _ in range(4)]
    assert dask.compute(one, two, scheduler=ex) == ([pids[first]] * 4, [pids[second]] * 4)


def test_resources(ex: Executor, tmp_path: Path, gate: Gate) -> None:
    """Two tasks that need the one GPU of a worker never run there together; others do beside them."""
    with dask.annotate(resources={"GPU": 1}):
        task = dask.delayed(int)(3)
    assert task.compute(scheduler=ex) == 3
    with dask.config.set({"optimization.fuse.active": False}), dask.annotate(resources={"GPU": 1}, retries=1):
        x = da.ones(4, chunks=2) + 1
        assert x.sum().compute(scheduler=ex) == 8
    with dask.annotate(resources={"GPU": 1}):
        bag = db.range(4, npartitions=2).map(str)
        assert bag.compute(scheduler=ex, optimize_graph=False) == ["0", "1", "2", "3"]


def test_annotations_of_others_are_ignored(each: Executor) -> None:
    with dask.annotate(color="red", allow_other_workers=True, retries=1):
        assert dask.delayed(abs)(-1).compute(scheduler=each) == 1


def test_layers_with_functions_as_annotations(ex: Executor, tmp_path: Path) -> None:
    with dask.annotate(retries=lambda key: 1), dask.config.set({"optimization.fuse.active": False}):
        x = da.from_delayed(dask.delayed(fail_until)(str(tmp_path / "a"), 1), (), int)
    assert ex.get(x.__dask_graph__(), list(x.__dask_keys__())) == (1,)


def test_values_that_make_no_sense(ex: Executor) -> None:
    with dask.annotate(retries=-1):
        task = dask.delayed(abs)(-1)
    with pytest.raises(ValueError, match="retries"):
        task.compute(scheduler=ex)


@pytest.mark.parametrize(
    ("asks", "text"),
    [({"resources": {"GPU": 2}}, "asks for 2 of 'GPU'"), ({"resources": {"api": 1}}, "'api'"), ({"workers": "x"}, "x")],
)
@pytest.mark.parametrize("backend", ["processes", "threads", "sync"])
def test_what_no_worker_offers(backend: str, asks: dict[str, Any], text: str) -> None:
    """The caller is told at once, instead of waiting for ever, also at the end of the executor."""
    with Executor(1, backend=backend, resources={"GPU": 1}) as ex:
        with dask.annotate(**asks):
            task = dask.delayed(abs)(dask.delayed(abs)(-1))
        with pytest.raises(ValueError, match=text):
            task.compute(scheduler=ex)
        with dask.annotate(**asks), pytest.raises(ValueError, match=text):
            ex.persist(da.ones(4, chunks=2))
        asking = ex.with_options(**asks)
        for use in (asking.compute, asking.persist, lambda task: asking.get(dict(task.dask), task.key)):
            with pytest.raises(ValueError, match=text):
                use(dask.delayed(abs)(-2))
        assert dask.delayed(abs)(-3).compute(scheduler=ex) == 3


# ---------------------------------------------------------------- errors


def test_errors_have_the_key_and_the_remote_traceback(each: Executor) -> None:
    bad = dask.delayed(divide)(1, 0, dask_key_name="the-bad-one")
    with pytest.raises(ZeroDivisionError) as caught:
        dask.delayed(abs)(bad).compute(scheduler=each)
    assert caught.value.__notes__ == ["in the task 'the-bad-one'"]
    text = "".join(traceback.format_exception(caught.value))
    assert "return x / y" in text and "test_dask_scheduling.py" in text


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_explain_says_what_a_task_waits_for(backend: str, gate: Gate) -> None:
    with Executor(2, backend=backend) as ex:
        future = ex.compute(dask.delayed(abs)(dask.delayed(gate.hold)(-1)))
        gate.wait_come()
        told = ex.explain(future)
        gate.open()
        assert future.result(TIMEOUT_S) == 1
    assert "waits for 1 of its 1 input" in told


def test_the_first_error_ends_everything(ex: Executor, gate: Gate, tmp_path: Path) -> None:
    slow = dask.delayed(gate.hold)(1)
    later = [dask.delayed(append)(str(tmp_path / "later"), "x", slow) for _ in range(3)]
    with pytest.raises(ZeroDivisionError):
        dask.compute(slow, *later, dask.delayed(divide)(1, 0), scheduler=ex)
    wait_until(lambda: ex._engine.count_tasks()[1] <= 1)  # before it opens: news of the cancelling take their time
    gate.open()
    ex.run(abs, 1)
    assert not (tmp_path / "later").exists()


def test_errors_of_persisted_collections(each: Executor) -> None:
    bad = (
        da.ones(4, chunks=2).map_blocks(lambda block: block.no_such_attribute, meta=np.ones(0)).persist(scheduler=each)
    )
    for _ in range(2):
        with pytest.raises(AttributeError, match="no_such_attribute"):
            bad.sum().compute(scheduler=each)


def test_arguments_that_do_not_pickle(ex: Executor) -> None:
    task = dask.delayed(abs)(dask.delayed(Unpicklable(), traverse=False))
    with pytest.raises(TypeError, match="cannot be pickled"):
        task.compute(scheduler=ex)
    with pytest.raises(TypeError, match="cannot be pickled"):
        ex.persist(task)
    assert dask.delayed(abs)(-1).compute(scheduler=ex) == 1


def test_graphs_that_make_no_sense(each: Executor) -> None:
    with pytest.raises(ValueError, match="not in the graph"):
        each.get({"a": 1}, ("b", 0))
    with pytest.raises(RuntimeError, match=r"[Cc]ycle"):
        each.get({"a": (abs, "b"), "b": (abs, "c"), "c": (abs, "a")}, "a")


def test_store_into_memory_is_refused(ex: Executor, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    x = da.ones((4, 4), chunks=2)
    memory = zarr.create_array(zarr.storage.MemoryStore(), shape=(4, 4), chunks=(2, 2), dtype=float)
    with pytest.raises(ValueError, match="MemoryStore is memory of this process"):
        x.store(memory, scheduler=ex)
    sharded = zarr.create_array({}, shape=(100,), chunks=(1,), shards=(2,), dtype=int)
    with ex.as_default(), pytest.raises(ValueError, match="MemoryStore is memory of this process"):
        da.arange(100, chunks=10).to_zarr(sharded)
    assert pickle.loads(pickle.dumps(memory)).shape == (4, 4)
    with ex.as_default():
        x.to_zarr(str(tmp_path / "disk.zarr"))
        assert da.from_zarr(str(tmp_path / "disk.zarr")).sum().compute() == 16
        assert da.from_zarr(memory).sum().compute() == 0  # reading is no harm


def test_store_into_an_array_is_refused(ex: Executor, tmp_path: Path) -> None:
    """A worker process would write into a copy."""
    x = da.arange(16, chunks=4)
    private = np.memmap(tmp_path / "private", dtype=int, mode="w+", shape=16)
    private = np.memmap(tmp_path / "private", dtype=int, mode="c", shape=16)
    for target in (np.zeros(16, int), private, np.zeros(16, int).view(np.ma.MaskedArray), dask.delayed(np.zeros(16))):
        with pytest.raises(ValueError, match="write into copies"):
            x.store(target, scheduler=ex)
    with dask.config.set({"optimization.fuse.active": False}), pytest.raises(ValueError, match="write into copies"):
        x.store(np.zeros(16, int), scheduler=ex, lock=False)
    assert dask.delayed(np.sum)(np.ones(3)).compute(scheduler=ex) == 3  # reading is no harm


def test_store_into_an_array_of_this_process() -> None:
    x = da.arange(16, chunks=4)
    for backend in ("threads", "sync"):
        target = np.zeros(16, int)
        with Executor(2, backend=backend) as here:
            x.store(target, scheduler=here)
        assert target.tolist() == list(range(16))


def test_store_into_a_file_that_is_mapped(ex: Executor, tmp_path: Path) -> None:
    x = da.arange(24, chunks=5).reshape(4, 6)
    target = np.memmap(tmp_path / "whole", dtype=int, mode="w+", shape=(4, 6), offset=24)
    x.store(target, scheduler=ex)
    expected = np.arange(24).reshape(4, 6)
    assert (target == expected).all()
    parts = np.memmap(tmp_path / "parts", dtype=np.int32, mode="w+", shape=(10, 9), order="F")
    x.store(parts[8:0:-2, 3:][:, :], scheduler=ex)
    assert (parts[8:0:-2, 3:] == expected).all() and parts.sum() == expected.sum()
    x.store(target, regions=(slice(None), slice(None)), scheduler=ex, lock=False)
    stored = x.store(target[::-1], scheduler=ex, compute=False, return_stored=True)
    assert (stored.compute(scheduler=ex) == expected).all()
    assert (target == expected[::-1]).all()
    with pytest.raises(ValueError, match="read-only"):
        x.store(np.memmap(tmp_path / "whole", dtype=int, mode="r", shape=(4, 6)), scheduler=ex)


# ---------------------------------------------------------------- the default scheduler


def test_everything_is_put_back() -> None:
    before = dict(dask.config.config), dict(dask.base.named_schedulers)
    with Executor(backend="sync") as ex:
        with ex.as_default() as default:
            assert dask.base.get_scheduler().executor is ex
            assert dask.config.get("dataframe.shuffle.method") == "tasks"
            assert dask.delayed(abs)(-1).compute() == 1
            assert dask.delayed(abs)(-1).persist().compute() == 1
            with Executor(backend="sync", set_as_default=True) as inner:
                assert dask.base.get_scheduler().executor is inner
            assert dask.base.get_scheduler().executor is ex
        default.close()
        assert (dict(dask.config.config), dict(dask.base.named_schedulers)) == before
    with dask.config.set({"dataframe.shuffle.method": "disk"}), Executor(backend="sync", set_as_default=True):
        assert dask.config.get("dataframe.shuffle.method") == "disk"
    assert (dict(dask.config.config), dict(dask.base.named_schedulers)) == before


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_defaults_end_in_any_order(order: tuple[int, ...]) -> None:
    before = dict(dask.config.config), dict(dask.base.named_schedulers)
    executors = [Executor(backend="sync") for _ in range(3)]
    defaults = [ex.as_default() for ex in executors]
    left = [0, 1, 2]
    for number in order:
        defaults[number].close()
        executors[number].shutdown()
        left.remove(number)
        if left:
            assert dask.base.get_scheduler().executor is executors[left[-1]]
            assert dask.base.named_schedulers["futures_cluster"].executor is executors[left[-1]]
            assert dask.delayed(abs)(-1).compute() == 1
    assert (dict(dask.config.config), dict(dask.base.named_schedulers)) == before


def test_the_configuration_can_be_copied_and_sent() -> None:
    with Executor(backend="sync", set_as_default=True) as ex:
        assert copy.deepcopy(dask.config.config)["scheduler"].executor is ex
        there = pickle.loads(pickle.dumps(dask.config.config))["scheduler"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool, dask.config.set(pool=pool):
        assert there({"a": (abs, -1)}, ["a"]) == (1,)  # outside of tasks: in threads
        assert there.persist([da.ones(2)])[0].sum().compute(scheduler="sync") == 2


# ---------------------------------------------------------------- elsewhere


def test_a_cluster_of_other_processes(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.add_worker("--workers", "2")
        with cluster.secret(), Executor(backend=cluster.address) as ex:
            x = da.ones((4, 1000), chunks=(1, 1000))
            assert (x + x.T[:1].sum()).sum().compute(scheduler=ex) == 4000 * 5
            persisted = (x + 1).persist(scheduler=ex)
            assert persisted.sum().compute(scheduler=ex) == 8000
            with dask.annotate(retries=1):
                assert dask.delayed(fail_until)(str(tmp_path / "f"), 1).compute(scheduler=ex) == 1
            many = [dask.delayed(divide)(i, 2) for i in range(1000)]
            assert dask.delayed(sum)(many).compute(scheduler=ex) == sum(range(1000)) / 2
