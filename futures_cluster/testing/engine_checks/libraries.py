"""Checks of libraries that run on executors: Dask's collections and joblib, on any engine.

Covers: that they work as on our own scheduler, by their users' calls. Does not cover: all that these libraries can do
(``tests/adapters`` runs their own tests).
"""

from __future__ import annotations

import functools
import operator
from typing import Any

from futures_cluster.context import current_executor
from futures_cluster.testing.engine_checks.harness import TIMEOUT_S, MakeExecutor, check, raises
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

DASK = ("dask", "numpy")
FRAMES = (*DASK, "pandas", "pyarrow")
JOBLIB = ("joblib", "numpy")


def add_one(x: Any) -> Any:
    """The function of most tasks."""
    return x + 1


# ---------------------------------------------------------------- Dask


@check(libraries=DASK)
def check_dask_arrays(make_executor: MakeExecutor) -> None:
    """Arrays compute on a named, default or asked executor, also of unknown chunks."""
    import dask
    import dask.array as da

    x = da.arange(100, chunks=10)
    with make_executor(max_workers=2) as ex:
        assert x.sum().compute(scheduler=ex) == 4950
        assert dask.compute(x.min(), x.max(), scheduler=ex) == (0, 99)
        assert ex.compute(x.sum()).result(TIMEOUT_S) == 4950
        assert ex.get({"a": 1, "b": (operator.add, "a", 5)}, ["a", "b"]) == (1, 6)
        with ex.as_default():
            odd = x[x % 2 == 1]
            assert odd.sum().compute() == 2500
            assert odd.compute_chunk_sizes().chunks == ((5,) * 10,)


@check(libraries=DASK)
def check_dask_persist(make_executor: MakeExecutor) -> None:
    """What is persisted is computed once, and its parts are futures."""
    import dask.array as da

    from futures_cluster.adapters.dask import futures_of

    def counted(folder: SharedFolder, block: Any, block_id: Any = None) -> Any:
        folder.log(block_id)
        return block + 1

    with SharedFolder() as folder, make_executor(max_workers=2) as ex:
        x = da.arange(40, chunks=10).map_blocks(functools.partial(counted, folder), dtype=int, meta=da.ones(1)._meta)
        y = ex.persist(x)
        assert y.sum().compute(scheduler=ex) == 820
        assert (y * 2).persist(scheduler=ex).sum().compute(scheduler=ex) == 1640
        assert len(folder.log_lines()) == 4
        futures = futures_of(y)
        assert [future.result(TIMEOUT_S).sum() for future in futures] == [55, 155, 255, 355]
        assert ex.submit(len, futures[0]).result(TIMEOUT_S) == 10


@check(libraries=DASK)
def check_dask_futures(make_executor: MakeExecutor) -> None:
    """Futures are arguments of delayed calls, and blocks of arrays."""
    import dask
    import dask.array as da
    import numpy as np

    with make_executor(max_workers=2) as ex:
        number = ex.submit(add_one, 1)
        assert dask.delayed(add_one)(number).compute(scheduler=ex) == 3
        assert dask.delayed(sum)([number, number]).compute(scheduler=ex) == 4
        blocks = [ex.submit(np.arange, 5) for _ in range(3)]
        x = da.concatenate([da.from_delayed(block, (5,), int) for block in blocks])
        assert x.sum().compute(scheduler=ex) == 30


@check(libraries=DASK)
def check_dask_errors(make_executor: MakeExecutor) -> None:
    """An error says which task of the graph raised it, and the executor goes on."""
    import dask

    with make_executor(max_workers=2) as ex:
        bad = dask.delayed(divmod)(1, 0, dask_key_name="bad-one")
        error = raises(ZeroDivisionError, lambda: dask.delayed(add_one)(bad).compute(scheduler=ex))
        assert any("bad-one" in note for note in error.__notes__)
        assert dask.delayed(add_one)(1).compute(scheduler=ex) == 2


@check(libraries=DASK)
def check_dask_annotations(make_executor: MakeExecutor) -> None:
    """A task of a graph is tried again as often as it is annotated."""
    import dask

    def fail_first(folder: SharedFolder) -> int:
        number = folder.count_call("tried")
        if number < 3:
            raise ValueError(number)
        return number

    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        with dask.annotate(retries=2):
            tried = dask.delayed(fail_first)(folder)
        assert tried.compute(scheduler=ex) == 3


@check(libraries=FRAMES)
def check_dask_frames(make_executor: MakeExecutor) -> None:
    """Data frames are grouped, shuffled and merged; bags, too."""
    import dask.bag as db
    import dask.dataframe as dd
    import pandas as pd

    frame = pd.DataFrame({"group": [i % 3 for i in range(30)], "value": range(30)})
    lazy = dd.from_pandas(frame, npartitions=4)
    with make_executor(max_workers=2) as ex, ex.as_default():
        means = lazy.groupby("group").value.mean().compute()
        assert means.to_dict() == frame.groupby("group").value.mean().to_dict()
        assert list(lazy.set_index("value", npartitions=3).compute().index) == list(range(30))
        assert len(lazy.merge(lazy, on="value").compute()) == 30
        assert lazy.persist().value.sum().compute() == 435
        assert db.from_sequence(range(10), npartitions=3).map(add_one).sum().compute() == 55
        parts = dd.from_delayed([ex.submit(pd.DataFrame, {"a": [1, 2]}) for _ in range(2)])
        assert parts.a.sum().compute() == 6


@check(libraries=DASK, traits=("isolated",))
def check_dask_inside_of_a_task(make_executor: MakeExecutor) -> None:
    """A task computes a collection, and does not wait for its own slot."""

    def compute(number: int, is_named: bool) -> int:
        import dask.array as da

        scheduler = current_executor() if is_named else None
        return int(da.arange(10, chunks=2).sum().compute(scheduler=scheduler)) + number

    with make_executor(max_workers=1) as ex:
        for is_named in (False, True):
            assert list(ex.map(compute, range(3), [is_named] * 3)) == [45, 46, 47]


# ---------------------------------------------------------------- joblib


@check(libraries=JOBLIB)
def check_joblib(make_executor: MakeExecutor) -> None:
    """``joblib.Parallel`` runs here, with large arguments, nested calls and errors."""
    import joblib
    import numpy as np

    def inner(number: int) -> list[int]:
        return list(joblib.Parallel(n_jobs=2)(joblib.delayed(add_one)(number + i) for i in range(2)))

    large = np.arange(300_000)
    with make_executor(max_workers=2) as ex, joblib.parallel_config(backend="futures_cluster", executor=ex):
        parallel = joblib.Parallel(n_jobs=2)
        assert parallel(joblib.delayed(pow)(i, 2) for i in range(50)) == [i * i for i in range(50)]
        assert parallel(joblib.delayed(operator.getitem)(large, i) for i in range(10)) == list(range(10))
        assert parallel(joblib.delayed(inner)(i) for i in range(3)) == [[i + 1, i + 2] for i in range(3)]
        raises(ZeroDivisionError, parallel, (joblib.delayed(divmod)(1, i) for i in range(3)))
        assert parallel(joblib.delayed(operator.add)(i, i) for i in range(3)) == [0, 2, 4]


@check(libraries=JOBLIB, traits=("isolated",))
def check_joblib_inside_of_a_task(make_executor: MakeExecutor) -> None:
    """A task that imports joblib may name the backend in its next line."""

    def compute(number: int) -> list[int]:
        import joblib

        with joblib.parallel_config(backend="futures_cluster"):
            return list(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-i) for i in range(number)))

    with make_executor(max_workers=1) as ex:
        assert ex.submit(compute, 3).result(TIMEOUT_S) == [0, 1, 2]
