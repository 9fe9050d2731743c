"""The graphs of real Dask collections as rows for the simulator: what is computed is not, only the shape is kept."""

from __future__ import annotations

import warnings
from typing import Any

from futures_cluster.testing.simulator import Work
from futures_cluster.testing.simulator.workloads import Rows, Workload


def rows_of(*collections: Any) -> tuple[Rows, list[str]]:
    """The optimised graph, inputs before what needs them, in Dask's own order; and the keys that are wanted."""
    from dask._task_spec import convert_legacy_graph
    from dask.base import collections_to_expr
    from dask.core import flatten
    from dask.order import order

    expression = collections_to_expr(collections).optimize()
    graph = convert_legacy_graph(dict(expression.__dask_graph__()))
    places = order(graph)
    keys = sorted(graph, key=places.__getitem__)
    rows = [(str(key), [str(dep) for dep in graph[key].dependencies]) for key in keys]
    wanted = list(dict.fromkeys(str(key) for key in flatten(expression.__dask_keys__())))
    return _sorted(rows), wanted


def _sorted(rows: Rows) -> Rows:
    """Dask's order, but inputs first where it is not so."""
    inputs = dict(rows)
    done: dict[str, None] = {}
    for key in inputs:
        stack = [key]
        while stack:
            missing = [dep for dep in inputs[stack[-1]] if dep not in done]
            if missing:
                stack.extend(missing)
            else:
                done[stack.pop()] = None
    return [(key, inputs[key]) for key in done]


def workload(*collections: Any, duration_s: float = 0.02, size_bytes: int = 8_000_000) -> Workload:
    """Every task takes the same time, and makes as much."""
    rows, wanted = rows_of(*collections)
    work = Work(duration_s, size_bytes)
    return Workload(rows, lambda key, execution: work, _function, wanted)


def _function(key: str) -> str:
    """The name in a key such as ``('sum-0123abcd', 0, 1)`` or ``sum-0123abcd``."""
    return key.lstrip("('\"").partition("-")[0]


def collections() -> dict[str, Any]:
    """Collections of some hundred to some thousand tasks, by name."""
    import dask.array as da

    found: dict[str, Any] = {}
    x = da.random.random((2400, 2400), chunks=(200, 200))
    found["array sum"] = x.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there will be many chunks is what is wanted
        found["tensordot"] = da.tensordot(x[:1600, :1600], x[:1600, :1600].T, axes=1)
    found["rechunk"] = x.rechunk((2400, 100)).sum(axis=0)
    found["sliding"] = da.overlap.overlap(x, depth=1, boundary="reflect").sum()
    return found


def frames() -> dict[str, Any]:
    """Data frames; they need pandas and pyarrow."""
    import dask.datasets

    frame = dask.datasets.timeseries(start="2000-01-01", end="2000-03-01", freq="1h", partition_freq="1D", seed=1)
    return {"shuffle": frame.shuffle("name"), "groupby": frame.groupby("name").x.mean()}
