"""Persisted collections: where their parts are, how long, and what is not done twice.

Covers: lifetimes, futures in graphs, futures as arguments. Does not cover: the values of collections of each kind
(``test_dask_collections``).
"""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate import Gate, wait_until

from futures_cluster import CancelledError, DataLost, Executor
from futures_cluster.future import Future

dask = pytest.importorskip("dask")
np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")
dd = pytest.importorskip("dask.dataframe")
pytest.importorskip("dask.graph_manipulation")

from futures_cluster.adapters.dask import futures_of


def held(ex: Executor) -> int:
    """Results that workers hold."""
    gc.collect()
    return sum(worker["results"] for worker in ex.workers().values())


def counted(block: Any, path: str) -> Any:
    """Leaves a trace of each time that it runs."""
    with open(path, "a") as file:
        file.write(".")
    return block + 1


def large(rows: int = 4) -> Any:
    return da.ones((rows, 10_000), chunks=(1, 10_000))


def table() -> Any:
    return dd.from_pandas(pd.DataFrame({"a": np.arange(20_000) % 5, "b": np.arange(20_000.0)}), npartitions=4)


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize(
    ("make", "use"),
    [
        (lambda: da.arange(4, chunks=2), lambda x: (x + 1).sum()),
        (lambda: db.from_sequence(range(4), npartitions=2), lambda x: x.map(abs)),
        (lambda: dask.delayed(abs)(-3), lambda x: x + 1),
        (table, lambda x: x.a.sum()),
    ],
    ids=["array", "bag", "delayed", "dataframe"],
)
def test_another_scheduler_says_where_to_compute(
    ex: Executor, scheduler: str, make: Callable[[], Any], use: Callable[[Any], Any]
) -> None:
    x = make().persist(scheduler=ex)
    for each in (x, use(x)):
        with pytest.raises(ValueError, match=r"the result of a future: compute .* with scheduler=ex of that Executor"):
            each.compute(scheduler=scheduler)
        each.compute(scheduler=ex)


def test_parts_stay_on_the_workers_and_go_with_the_collection(ex: Executor) -> None:
    wait_until(lambda: held(ex) == 0)
    x = large().persist(scheduler=ex)
    assert [future.result().shape for future in futures_of(x)] == [(1, 10_000)] * 4
    assert held(ex) == 4
    y = (x + 1).sum()
    del x
    assert y.compute(scheduler=ex) == 80_000
    assert held(ex) >= 4  # y needs them
    del y
    wait_until(lambda: held(ex) == 0, "the parts are not freed")


def test_nothing_is_computed_twice(ex: Executor, tmp_path: Path) -> None:
    path = str(tmp_path / "runs")
    x = large().map_blocks(counted, path, meta=np.empty((0, 0))).persist(scheduler=ex)
    assert x.sum().compute(scheduler=ex) == 80_000
    assert (x + x).max().compute(scheduler=ex) == 4
    assert len(Path(path).read_text()) == 4


def test_persist_does_not_wait(ex: Executor, gate: Gate) -> None:
    x = da.from_delayed(dask.delayed(gate.hold)(np.ones(3)), (3,), float).persist(scheduler=ex)
    y = (x + 1).persist(scheduler=ex)
    gate.wait_come()
    assert not any(future.done() for future in (*futures_of(x), *futures_of(y)))
    gate.open()
    assert y.sum().compute(scheduler=ex) == 6


def test_what_nobody_wants_any_more_stops(ex: Executor, gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    first = [dask.delayed(gate.hold, pure=False)(np.ones(1)) for _ in range(2)]
    later = [dask.delayed(counted)(each, str(path)) for each in first for _ in range(3)]
    futures = ex.compute(later)
    gate.wait_come(2)
    del futures
    gc.collect()
    wait_until(lambda: ex._engine.count_tasks()[1] <= 2, "it was not dropped")
    gate.open()
    ex.run(abs, 1)  # behind all that the workers had
    assert not path.exists()


def test_dropped_collections_stop(ex: Executor, gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    x = da.from_delayed(dask.delayed(gate.hold)(np.ones(1)), (1,), float).map_blocks(
        counted, str(path), meta=np.empty(0)
    )
    persisted = x.persist(scheduler=ex, optimize_graph=False)
    gate.wait_come()
    copy = persisted + 1
    del persisted
    gc.collect()
    assert copy.dask and ex._engine.count_tasks()[1] >= 2  # the copy holds it
    del copy, x
    gc.collect()
    wait_until(lambda: ex._engine.count_tasks()[1] <= 1)
    gate.open()
    ex.run(abs, 1)
    assert not path.exists()


@pytest.mark.parametrize(
    "derive",
    [
        lambda x: x.sum(),
        lambda x: dd.from_dask_array(x[:, :2], columns=["a", "b"]).a.sum(),
        lambda x: dask.delayed(len)(x.to_delayed().ravel()[0]),
        lambda x: dask.optimize(x + 1)[0].sum(),
        lambda x: x.rechunk((2, 5000)).sum(),
        lambda x: dask.delayed(sum)([block.sum() for block in x.to_delayed().ravel()]),
        lambda x: x[x > 0].sum(),
        lambda x: da.stack([x, x]).sum(),
        lambda x: dask.graph_manipulation.bind(x, x.sum()).sum(),
        lambda x: dask.graph_manipulation.clone(x + 1, omit=x).sum(),
    ],
)
def test_what_is_made_of_it_keeps_it(ex: Executor, derive: Any) -> None:

    x = large().persist(scheduler=ex)
    y = derive(x)
    expected = derive(large()).compute(scheduler="sync")
    del x
    gc.collect()
    assert y.compute(scheduler=ex) == expected


def test_frames_and_bags(ex: Executor) -> None:
    frame = table().persist(scheduler=ex)
    assert type(frame) is type(table())
    assert len(futures_of(frame)) == 4
    assert frame.groupby("a").b.count().compute(scheduler=ex).tolist() == [4000] * 5
    assert len(frame.to_bag().take(3, npartitions=1, compute=False).compute(scheduler=ex)) == 3
    series = frame.a.persist(scheduler=ex)
    total = frame.b.sum().persist(scheduler=ex)
    del frame
    assert series.max().compute(scheduler=ex) == 4
    assert total.compute(scheduler=ex) == sum(range(20_000))
    bag = db.range(10, npartitions=2).map(str).persist(scheduler=ex)
    assert bag.map(int).sum().compute(scheduler=ex) == 45
    delayed = dask.delayed(abs)(-3).persist(scheduler=ex)
    assert dask.delayed(max)(delayed, 2).compute(scheduler=ex) == 3


def test_the_shape_of_the_answer(each: Executor) -> None:
    x = large()
    one = each.persist(x)
    assert type(one) is type(x)
    two = each.persist(x, x.sum())
    assert type(two) is list and len(two) == 2
    (only,) = each.persist([x])
    assert only.sum().compute(scheduler=each) == 40_000
    (a, b), c = dask.persist([x, x.sum()], 3, scheduler=each)
    assert b.compute(scheduler=each) == a.sum().compute(scheduler=each) == 40_000 and c == 3


def test_futures_are_arguments(each: Executor) -> None:
    two, block = each.submit(int, 2), each.submit(np.ones, 3)
    frame = each.submit(pd.DataFrame, {"a": [1, 2, 3]})
    add = dask.delayed(lambda *values, **more: sum(values) + sum(more.values()))
    assert add(two, 1, x=two).compute(scheduler=each) == 5
    assert dask.delayed(sum)([two, dask.delayed(abs)(-1), two]).compute(scheduler=each) == 5
    assert dask.delayed(two).compute(scheduler=each) == 2
    assert da.from_delayed(dask.delayed(block), (3,), float).sum().compute(scheduler=each) == 3
    assert da.ones(4, chunks=2).map_blocks(lambda x, by: x * by, by=two, dtype=float).sum().compute(scheduler=each) == 8
    with each.as_default():  # it looks at one of them at once
        assert dd.from_delayed([frame, frame]).a.sum().compute() == 12
    assert db.from_delayed([each.submit(list, (1, 2))]).sum().compute(scheduler=each) == 3
    persisted = add(two, two).persist(scheduler=each)
    del two
    assert persisted.compute(scheduler=each) == 4


def test_results_are_arguments(each: Executor) -> None:
    x = da.arange(6, chunks=3).persist(scheduler=each)
    first, second = futures_of(x)
    assert each.submit(lambda a, b: int(a.sum() + b.sum()), first, second).result() == 15


def test_futures_made_before_dask() -> None:
    code = """
import sys
from futures_cluster import Executor, Future
ex = Executor(backend="threads", max_workers=1)
future = ex.submit(abs, -3)
assert "dask" not in sys.modules and future.__class__ is Future
import dask
from dask._task_spec import TaskRef
assert isinstance(future, TaskRef) and isinstance(future, Future) and type(future) is Future
assert dask.delayed(max)(future, 2).compute(scheduler=ex) == 3
ex.shutdown()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_futures_are_to_dask() -> None:
    from dask._task_spec import Task, TaskRef
    from dask.tokenize import tokenize

    future, other = Future("key"), Future("other")
    assert isinstance(future, TaskRef) and type(future) is Future
    assert tokenize(future) == tokenize(future) != tokenize(other)
    assert future != other and future.substitute({}) is future
    assert future.substitute({"key": "new"}) == TaskRef("new")
    assert Task("task", abs, future).dependencies == {"key"}


def test_another_executors_futures_are_refused(ex: Executor) -> None:
    with Executor(1, backend="threads") as other:
        future = other.submit(int, 2)
        with pytest.raises(ValueError, match="another executor"):
            dask.delayed(abs)(future).compute(scheduler=ex)


def test_after_the_end() -> None:
    with Executor(1) as ex:
        x = large(2).persist(scheduler=ex)
        total = ex.compute(x.sum())
        wait_until(lambda: all(future.done() for future in futures_of(x)))
        block = ex.compute(x[:1])
    assert total.result() == 20_000 and block.result().shape == (1, 10_000)
    with pytest.raises(DataLost, match="shut down"):
        futures_of(x)[0].result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        x.sum().compute(scheduler=ex)


def test_what_is_made_of_a_cancelled_collection(ex: Executor, gate: Gate) -> None:
    """The caller is told which part there is not, and at once."""
    held = [ex.submit(gate.hold, worker) for worker in ex.workers()]
    gate.wait_come(len(held))  # what begins now could not be cancelled
    kept = ex.persist(da.from_delayed(dask.delayed(abs)(-1), (), int))
    first, *_ = futures_of(kept)
    assert first.cancel()
    for use in (ex.compute, ex.persist, lambda lazy: lazy.compute(scheduler=ex)):
        with pytest.raises(CancelledError, match=re.escape(f"the graph needs {first.key!r}, which was cancelled")):
            use(kept + 1)
    gate.open()


def test_what_is_made_of_a_failed_collection(ex: Executor) -> None:
    kept = ex.persist(table().map_partitions(lambda part: part.no_such_attribute, meta=table()._meta))
    for use in (lambda lazy: ex.compute(lazy).result(), lambda lazy: lazy.compute(scheduler=ex)):
        with pytest.raises(AttributeError, match="no_such_attribute") as caught:
            use(kept.a.sum())
        assert any("in the task" in note for note in caught.value.__notes__)


def test_a_lost_worker_is_made_up_for() -> None:
    with Executor(2) as ex:
        x = large(6).persist(scheduler=ex)
        wait_until(lambda: all(future.done() for future in futures_of(x)))
        victim = next(facts["pid"] for facts in ex.workers().values() if facts["results"])
        import os
        import signal

        os.kill(victim, signal.SIGKILL)
        assert (x + 1).sum().compute(scheduler=ex) == 120_000
