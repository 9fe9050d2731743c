"""Each kind of Dask collection on an executor, against what Dask's own synchronous scheduler gives.

Covers: arrays, data frames, bags, delayed calls, on all backends of one machine. Does not cover: persisting
(``test_dask_persist``), xarray and dask-glm (``test_dask_libraries``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor

dask = pytest.importorskip("dask")
np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
da = pytest.importorskip("dask.array")
db = pytest.importorskip("dask.bag")
dd = pytest.importorskip("dask.dataframe")


def frame() -> Any:
    table = pd.DataFrame({"a": np.arange(60) % 7, "b": np.arange(60.0), "c": [f"t{i % 3}" for i in range(60)]})
    return dd.from_pandas(table, npartitions=4)


def array() -> Any:
    return da.arange(100, chunks=9).reshape((10, 10)).rechunk((3, 4))


def set_items() -> Any:
    x = array() % 5
    x[x > 2] = 0
    return x


ARRAYS: dict[str, Callable[[], Any]] = {
    "sum": lambda: array().sum(),
    "transposed": lambda: array() + array().T,
    "mean of an axis": lambda: array().mean(axis=0),
    "matrix product": lambda: array() @ array(),
    "rechunk": lambda: array().rechunk((5, 10)),
    "overlap": lambda: array().map_overlap(lambda block: block + 1, depth=1, boundary="reflect"),
    "blocks": lambda: array().map_blocks(lambda block, block_id: block + block_id[0], block_id=(1, 1), dtype=int),
    "choose by a mask": lambda: array()[array() % 3 == 0],
    "set by a mask": set_items,
    "svd": lambda: da.linalg.svd(da.ones((20, 4), chunks=(5, 4)))[1],
    "values of a frame": lambda: frame()[["a", "b"]].values,
    "unique": lambda: da.unique(array() % 7),
}

FRAMES: dict[str, Callable[[], Any]] = {
    "count": lambda: frame().a.count(),
    "groupby": lambda: frame().groupby("a").b.mean(),
    "groupby in several parts": lambda: frame().groupby("a").agg({"b": ["sum", "max"]}, split_out=3),
    "apply": lambda: frame().groupby("c").b.apply(max, meta=("b", "float64")),
    "nunique_approx": lambda: frame().a.nunique_approx(),
    "merge": lambda: frame().merge(frame().groupby("a").b.sum().reset_index(), on="a"),
    "shuffle": lambda: frame().shuffle("c").map_partitions(len),
    "set_index": lambda: frame().set_index("b").a,
    "sort_values": lambda: frame().sort_values("b", ascending=False).b,
    "value_counts": lambda: frame().c.value_counts(),
    "map_partitions with a closure": lambda: frame().map_partitions(lambda part: part[part.a > 3]),
    "describe": lambda: frame()[["a", "b"]].describe(),
}

BAGS: dict[str, Callable[[], Any]] = {
    "map": lambda: db.range(30, npartitions=4).map(lambda x: x * x),
    "foldby": lambda: db.range(30, npartitions=4).foldby(lambda x: x % 3, lambda a, b: a + b),
    "frequencies": lambda: db.from_sequence("abracadabra", npartitions=3).frequencies(),
    "groupby": lambda: (
        db.range(30, npartitions=4).groupby(lambda x: x % 4).map(lambda pair: (pair[0], sorted(pair[1])))
    ),
    "to_dataframe": lambda: db.range(6, npartitions=2).map(lambda i: {"i": i}).to_dataframe(),
    "joined": lambda: db.range(6, npartitions=2).product(db.range(3, npartitions=1)),
}


def same(left: Any, right: Any, is_sorted: bool = False) -> None:
    if is_sorted:
        left, right = sorted(left), sorted(right)
    if isinstance(right, (pd.DataFrame, pd.Series)):
        kind = pd.testing.assert_frame_equal if isinstance(right, pd.DataFrame) else pd.testing.assert_series_equal
        kind(left.sort_index(), right.sort_index())  # type: ignore[operator]
    elif isinstance(right, np.ndarray):
        np.testing.assert_allclose(left, right)
        assert left.dtype == right.dtype
    else:
        assert left == right


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(each: Executor, name: str) -> None:
    make = ARRAYS[name]
    same(make().compute(scheduler=each), make().compute(scheduler="sync"))


@pytest.mark.parametrize("name", FRAMES)
def test_frames(ex: Executor, name: str) -> None:
    make = FRAMES[name]
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        with dask.config.set(scheduler="sync"):  # some compute already when they are made
            expected = make().compute()
        with ex.as_default():
            found = make().compute()
    if name == "merge":
        found, expected = (each.sort_values(["a", "b_x"]).reset_index(drop=True) for each in (found, expected))
    same(found, expected)


@pytest.mark.parametrize("name", BAGS)
def test_bags(each: Executor, name: str) -> None:
    make = BAGS[name]
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        expected = make().compute(scheduler="sync")
        found = make().compute(scheduler=each)
    same(found, expected, is_sorted=isinstance(expected, list))


def test_unknown_chunks_get_known(ex: Executor) -> None:
    with ex.as_default():
        values = frame()[["a", "b"]].values
        assert np.isnan(values.shape[0])
        values.compute_chunk_sizes()
        assert values.shape == (60, 2)
        assert len(frame().to_records(lengths=True).compute()) == 60
        x = array()
        chosen = x[x > 50]
        assert chosen.compute_chunk_sizes().shape == (49,)


def test_files(ex: Executor, tmp_path: Path) -> None:
    with ex.as_default():
        frame().to_csv(tmp_path / "part-*.csv", index=False)
        read = dd.read_csv(str(tmp_path / "part-*.csv"))
        assert read.b.sum().compute() == sum(range(60))
        folder = str(tmp_path / "parquet")
        read.to_parquet(folder)
        read.to_parquet(folder, append=True, ignore_divisions=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, for what Dask does
            again = dd.read_parquet(folder)
        assert len(again) == 120 and again.b.sum().compute() == 2 * sum(range(60))
        da.to_npy_stack(str(tmp_path / "stack"), array(), axis=0)
        assert da.from_npy_stack(str(tmp_path / "stack")).sum().compute() == 4950
        db.range(10, npartitions=2).map(str).to_textfiles(str(tmp_path / "*.txt"))
        assert db.read_text(str(tmp_path / "*.txt")).count().compute() == 10


def test_delayed(each: Executor) -> None:
    add = dask.delayed(lambda *numbers, **more: sum(numbers) + sum(more.values()))
    parts = [add(i, 1) for i in range(5)]
    total = add(*parts, more=add(1, 2))
    assert total.compute(scheduler=each) == 18
    assert dask.compute(*parts, {"a": parts[0]}, 7, scheduler=each) == (1, 2, 3, 4, 5, {"a": 1}, 7)
    assert dask.delayed([parts[0], {"x": parts[1]}]).compute(scheduler=each) == [1, {"x": 2}]


def test_graphs(each: Executor) -> None:
    graph = {"a": 1, "b": (pow, "a", 2), ("c", 0): (sum, ["a", "b", 5]), "d": "b", "e": ["a", ("c", 0)]}
    assert each.get(graph, "b") == 1
    assert each.get(graph, ["b", [("c", 0), "a"], "d"]) == (1, (7, 1), 1)
    assert each.get(graph, ("c", 0)) == 7
    assert each.get(graph, "e") == [1, 7]
    assert each(graph, ["a"]) == (1,)
    assert each.get({}, []) == ()


def test_futures_of_values(each: Executor) -> None:
    x = array()
    total = each.compute(x.sum())
    assert total.result() == 4950
    one, two = each.compute(x.max(), x.min())
    assert (one.result(), two.result()) == (99, 0)
    assert each.compute(frame().a.max()).result() == 6
    (only,) = each.compute([dask.delayed(abs)(-4)])
    assert only.result() == 4


def test_large_values(ex: Executor) -> None:
    large = np.arange(300_000.0)
    x = da.from_array(large, chunks=50_000)
    np.testing.assert_array_equal((x + 1).compute(scheduler=ex), large + 1)
    closure = dask.delayed(lambda number: large[number], pure=True)
    assert dask.compute(*[closure(i) for i in range(20)], scheduler=ex) == tuple(range(20))


def test_many_tasks_are_packed(ex: Executor) -> None:
    parts = [dask.delayed(int)(i) for i in range(1024)]
    while len(parts) > 1:
        parts = [dask.delayed(max)(a, b) for a, b in zip(parts[::2], parts[1::2])]
    before = ex._engine.count_tasks()[0]
    assert parts[0].compute(scheduler=ex) == 1023
    submitted = ex._engine.count_tasks()[0] - before
    assert 128 <= submitted < 1024


def test_tasks_compute_in_tasks(ex: Executor) -> None:
    def inner(number: int) -> tuple[int, str]:
        import dask as dask_there

        x = da.ones(10, chunks=2) * number
        return int(x.sum().compute()), type(dask_there.base.get_scheduler()).__name__

    results = dask.compute(*[dask.delayed(inner)(i) for i in range(4)], scheduler=ex)
    assert results == tuple((10 * i, "NestedScheduler") for i in range(4))


def test_a_task_that_imports_dask_computes_on_its_executor() -> None:
    def inner() -> tuple[bool, str]:
        import dask as dask_there

        from futures_cluster.context import current_task

        in_task = dask_there.delayed(lambda: current_task() is not None)().compute()
        return in_task, type(dask_there.base.get_scheduler()).__name__

    with Executor(1) as new:  # a worker that has not heard of Dask
        assert new.submit(inner).result(60) == (True, "NestedScheduler")


def test_the_scheduler_by_name(ex: Executor) -> None:
    with ex.as_default(), dask.config.set(scheduler="sync"):
        assert dask.delayed(_process)().compute() == _process()
        assert dask.delayed(_process)().compute(scheduler="futures_cluster") != _process()


def _process() -> int:
    import os

    return os.getpid()
