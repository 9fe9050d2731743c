"""Shuffles go by tasks, whatever way Dask has chosen and however the graph comes in.

Covers: the methods "disk" and "p2p" of frames, bags and arrays, every way into an executor, what is refused. Does not
cover: hosts that share no files (``tests/cluster/test_hosts``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

from futures_cluster.adapters import shuffles

TABLE = pd.DataFrame(
    {"k": range(600), "v": [i * 7919 % 600 for i in range(600)], "g": [f"g{i % 17}" for i in range(600)]}
)


@pytest.fixture(scope="module")
def here() -> Iterator[Executor]:
    with Executor(2, backend="sync") as ex:
        yield ex


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be written into partd's files."""

    def refuse(self: Any, *args: Any, **options: Any) -> None:
        raise AssertionError("a shuffle went through files")

    partd = pytest.importorskip("partd")
    monkeypatch.setattr(partd.File, "__init__", refuse)


@pytest.fixture(autouse=True)
def few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have stages for few partitions."""
    monkeypatch.setattr(shuffles, "BRANCH", 3)


@pytest.fixture(params=["disk", "p2p"])
def method(request: pytest.FixtureRequest, no_files: None) -> Iterator[str]:
    """What Dask chooses without a scheduler of ours: the latter when there is a ``distributed.Client``."""
    if request.param == "p2p":
        pytest.importorskip("distributed")
    with dask.config.set({"dataframe.shuffle.method": request.param, "scheduler": "sync"}):  # for finding divisions
        yield request.param


def frame(partitions: int = 3) -> Any:
    return dd.from_pandas(TABLE, npartitions=partitions, sort=False)


def sides() -> tuple[Any, Any]:
    return frame(), frame(5)[["k", "v"]].rename(columns={"v": "w"})


def same_rows(found: Any, expected: Any) -> None:
    by = list(expected.columns)
    pd.testing.assert_frame_equal(
        found[by].sort_values(by).reset_index(drop=True),
        expected.sort_values(by).reset_index(drop=True),
        check_dtype=False,
    )


OPERATIONS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "shuffle": (lambda: frame().shuffle("k"), lambda: TABLE),
    "shuffle in stages": (lambda: frame(11).shuffle("k"), lambda: TABLE),
    "shuffle by the index": (lambda: frame().shuffle(on_index=True), lambda: TABLE),
    "shuffle into fewer": (lambda: frame().shuffle("k", npartitions=2), lambda: TABLE),
    "shuffle into more": (lambda: frame().shuffle("k", npartitions=7), lambda: TABLE),
    "set_index": (lambda: frame().set_index("v").reset_index(), lambda: TABLE),
    "sort_values": (lambda: frame().sort_values("v"), lambda: TABLE),
    "merge": (lambda: sides()[0].merge(sides()[1], on="k"), lambda: TABLE.assign(w=TABLE.v)),
    "merge in a delayed call": (
        lambda: dask.delayed(lambda whole: whole)(sides()[0].merge(sides()[1], on="k")),
        lambda: TABLE.assign(w=TABLE.v),
    ),
    "merge on an index": (
        lambda: sides()[0].merge(sides()[1].set_index("k"), left_on="k", right_index=True, how="outer"),
        lambda: TABLE.assign(w=TABLE.v),
    ),
    "value_counts": (
        lambda: frame().g.value_counts(split_out=4).reset_index(),
        lambda: TABLE.g.value_counts().reset_index(),
    ),
    "drop_duplicates": (
        lambda: frame()[["g"]].drop_duplicates(split_out=4, shuffle_method=dask.config.get("dataframe.shuffle.method")),
        lambda: TABLE[["g"]].drop_duplicates(),
    ),
    "groupby in parts": (
        lambda: frame().groupby("g").v.sum(split_out=4).reset_index(),
        lambda: TABLE.groupby("g").v.sum().reset_index(),
    ),
    "groupby apply": (
        lambda: frame().groupby("g").apply(len, meta=("n", int)).reset_index(),
        lambda: TABLE.groupby("g").apply(len).rename("n").reset_index(),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_frames(here: Executor, method: str, name: str) -> None:
    make, expected = OPERATIONS[name]
    same_rows(make().compute(scheduler=here), expected())


def test_each_row_is_in_its_partition(here: Executor, method: str) -> None:
    """And those of partitions that are not wanted are left out."""
    for partitions in (4, 12):
        lazy = frame(partitions).shuffle("g")
        parts = [
            part.g.unique() for part in here.get(lazy.optimize().__dask_graph__(), lazy.optimize().__dask_keys__())
        ]
        assert sum(len(part) for part in parts) == 17
        some = lazy.partitions[[1, 3]].compute(scheduler=here)
        assert sorted(some.g.unique()) == sorted([*parts[1], *parts[3]])
        assert len(some) == TABLE.g.isin([*parts[1], *parts[3]]).sum()


def test_set_index_is_sorted(here: Executor, method: str) -> None:
    found = frame(5).set_index("v").compute(scheduler=here)
    assert found.index.tolist() == sorted(TABLE.v)


@pytest.mark.parametrize(("before", "after"), [(4, None), (1, 3), (10, None)])
def test_bags(here: Executor, no_files: None, before: int, after: int | None) -> None:
    expected = sorted((digit, [str(i) for i in range(100) if str(i)[0] == digit]) for digit in "0123456789")
    with dask.config.set({"dataframe.shuffle.method": "disk"}):
        for grouper in (lambda text: text[0], 0):
            groups = db.range(100, npartitions=before).map(str).groupby(grouper, npartitions=after)
            assert groups.npartitions == (after or before)
            found = groups.map(lambda group: (group[0], sorted(group[1], key=int))).compute(scheduler=here)
            assert sorted(found) == expected
            assert here.compute(dask.delayed(len)(groups)).result() == 10


def test_arrays_are_rechunked(here: Executor) -> None:
    pytest.importorskip("distributed")
    x = np.arange(8 * 8 * 8).reshape(8, 8, 8)
    lazy = da.from_array(x, chunks=(1, 8, 4)).rechunk((8, 1, 4), method="p2p")
    assert any("p2p" in layer for layer in lazy.dask.layers)
    assert (lazy.compute(scheduler=here) == x).all()
    assert (lazy[:5, 3:].compute(scheduler=here) == x[:5, 3:]).all()
    assert (here.persist(lazy + 1).sum(axis=0).compute(scheduler=here) == (x + 1).sum(axis=0)).all()


def the_default(ex: Executor, lazy: Any) -> Any:
    with ex.as_default():
        return lazy.compute()


def configured(ex: Executor, lazy: Any) -> Any:
    with dask.config.set(scheduler=ex):
        return lazy.compute()


def by_get(ex: Executor, lazy: Any) -> Any:
    optimized = lazy.optimize()
    return pd.concat(ex.get(optimized.__dask_graph__(), optimized.__dask_keys__()))


def in_a_task(ex: Executor, lazy: Any) -> Any:
    return ex.submit(lambda: lazy.compute()).result()


WAYS: dict[str, Callable[[Executor, Any], Any]] = {
    "scheduler=": lambda ex, lazy: lazy.compute(scheduler=ex),
    "compute": lambda ex, lazy: ex.compute(lazy).result(),
    "persist": lambda ex, lazy: ex.persist(lazy).compute(scheduler=ex),
    "persist by Dask": lambda ex, lazy: lazy.persist(scheduler=ex).compute(scheduler=ex),
    "get": by_get,
    "configured": configured,
    "the default": the_default,
    "delayed": lambda ex, lazy: dask.delayed(lambda whole: whole)(lazy).compute(scheduler=ex),
    "to_delayed": lambda ex, lazy: dask.delayed(pd.concat)(lazy.to_delayed()).compute(scheduler=ex),
    "to_bag": lambda ex, lazy: pd.DataFrame(lazy.to_bag().compute(scheduler=ex), columns=lazy.columns),
    "in a task": in_a_task,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in(ex: Executor, method: str, way: str) -> None:
    same_rows(WAYS[way](ex, frame().shuffle("k")), TABLE)


def test_what_cannot_be_replaced_is_refused(here: Executor) -> None:
    partd = pytest.importorskip("partd")
    graph = {"store": (partd.File,), "user": (lambda store: 1, "store"), "other": 2}
    with pytest.raises(ValueError, match=r"the task 'store' uses a folder of its own host \(partd\)"):
        here.get(graph, "user")
    assert here.get(graph, "other") == 2  # it is not needed
    pytest.importorskip("distributed")
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        optimized = frame().shuffle("k").optimize()
    nodes = dict(optimized.__dask_graph__())
    nodes = {key: node for key, node in nodes.items() if "transfer" not in str(key)}
    barrier = next(key for key in nodes if "barrier" in str(key))
    nodes[barrier] = dask._task_spec.Task(barrier, nodes[barrier].func, 1)
    with pytest.raises(ValueError, match=r"shuffles by way of a distributed.Client's workers \(P2P\)"):
        here.get(nodes, optimized.__dask_keys__())


def count(*args: object, **kwargs: object) -> int:
    return len(args) + len(kwargs)


HOLDERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "argument": lambda store: {"a": (count, store)},
    "nested": lambda store: {"a": (count, [1, {"b": (2, [store])}])},
    "data": lambda store: {"store": store, "a": (count, "store")},
    "inner task": lambda store: {"a": (count, (count, [store]))},
    "keyword": lambda store: {"a": dask._task_spec.Task("a", count, store=[store])},
    "delayed": lambda store: dict(dask.delayed(count)([store], store=store, dask_key_name="a").__dask_graph__()),
    "fused": lambda store: {"a": fused(store)},
}


def fused(store: Any) -> Any:
    first = dask._task_spec.Task("first", count, [store])
    second = dask._task_spec.Task("a", count, dask._task_spec.TaskRef("first"))
    return dask._task_spec.Task.fuse(first, second, key="a")


@pytest.mark.parametrize("make", ["Dict", "File", "Buffer", "PandasBlocks", "Python"])
def test_a_store_of_the_callers_is_refused(here: Executor, make: str, tmp_path: Path) -> None:
    partd = pytest.importorskip("partd")
    store = partd.Dict() if make == "Dict" else partd.File(str(tmp_path))
    if make == "Buffer":
        store = partd.Buffer(partd.Dict(), store)
    elif make != type(store).__name__:
        store = getattr(partd, make)(store)
    for holder in HOLDERS.values() if make == "File" else [HOLDERS["nested"]]:
        graph = {**holder(store), "other": (count, [1, "x"])}
        with pytest.raises(ValueError, match=r"the task '\w+' has a partd store among its arguments"):
            here.get(graph, "a")
        assert here.get(graph, "other") == 1  # the store is not needed
