"""Dask's collections on an executor: ``get``, ``compute``, ``persist``.

Covers: what Dask asks of a scheduler, annotations, results and errors. Does not cover: making tasks of graphs
(``graph``, ``submit``), being the default scheduler (``defaults``).

``dask.compute`` and ``dask.persist`` do everything that is Dask's own: they optimise, and put collections together
again. Here they are called once more with a scheduler that returns futures in the place of values: what Dask then
builds is a collection whose graph holds them.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Hashable, Mapping
from typing import Any

import dask
from dask._task_spec import convert_legacy_graph
from dask.core import flatten
from dask.local import nested_get

from futures_cluster.adapters.graph import Plan
from futures_cluster.adapters.libraries import adapt_libraries
from futures_cluster.adapters.nodes import FutureAlias, futures_of
from futures_cluster.adapters.shuffles import by_tasks, refuse
from futures_cluster.adapters.submit import submit
from futures_cluster.dask_reference import seen_by_dask
from futures_cluster.future import Future
from futures_cluster.messages import TaskOptions

__all__ = ["compute", "futures_of", "get", "persist"]

_ANNOTATIONS = ("priority", "retries", "resources", "workers")


def get(executor: Any, graph: Any, keys: Any) -> Any:
    """Return the values of keys; see ``Executor.get``."""
    futures = submit_keys(executor, graph, keys)
    values = results(list(futures.values()))
    by_key = dict(zip(futures, values))
    return nested_get(keys, by_key) if isinstance(keys, list) else by_key[keys]


def persist(executor: Any, collections: Any, **options: Any) -> list[Any]:
    """Return the same collections, with their parts on the workers."""

    def schedule(graph: Any, keys: Any, **ignored: Any) -> list[Any]:
        futures = submit_keys(executor, graph, keys)
        for future in futures.values():
            future._scattered = True  # it is data: the end of the executor does not wait for it
        return [FutureAlias(key, futures[key]) for key in keys]

    return list(dask.persist(*collections, traverse=False, scheduler=schedule, **options))


def compute(executor: Any, collections: Any, **options: Any) -> list[Any]:
    """Return a future of the value of each collection."""

    def schedule(graph: Any, keys: Any, **ignored: Any) -> list[Any]:
        futures = submit_keys(executor, graph, keys)
        return [futures[key] for key in keys]

    return list(dask.compute(*collections, traverse=False, scheduler=schedule, **options))


def submit_keys(executor: Any, graph: Any, keys: Any) -> dict[Hashable, Future[Any]]:
    """Submit what the keys need; a future for each of them, in their order."""
    adapt_libraries()
    engine = executor._engine
    if isinstance(graph, Mapping):
        annotations = _layers(graph)
    else:
        annotations, graph = graph.__dask_annotations__(), graph.__dask_graph__()
    executor = _annotated(executor, dask.get_annotations())
    apart = _apart(executor, annotations)
    wanted = list(dict.fromkeys(flatten([keys])))

    def find(key: Hashable) -> Future[Any]:
        if not isinstance(key, str):
            raise ValueError(f"the key {key!r} is needed, and is not in the graph")
        seen = seen_by_dask.get(key)
        future: Future[Any] = engine.future_of_key(key) if seen is None else seen
        return future

    nodes, left = by_tasks(convert_legacy_graph(dict(graph)))
    plan = Plan(nodes, wanted, find, apart, engine.slots)
    if left:
        refuse(left, plan.needed())
    return submit(plan, engine, executor._options)


def results(futures: list[Future[Any]]) -> list[Any]:
    """Return the values; a failure or Ctrl-C cancels all others at once."""
    future: Future[Any] | None
    try:
        if len(futures) > 1:
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.exception()
                    if future._exception is not None:
                        future.result()
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    finally:
        del futures  # the traceback has this frame, and must not keep them alive
        future = None


# ---------------------------------------------------------------- annotations


def _annotated(executor: Any, annotations: Mapping[str, Any]) -> Any:
    """Return the executor with the annotated options; others are not for schedulers."""
    options = {name: value for name, value in annotations.items() if name in _ANNOTATIONS and value is not None}
    return executor.with_options(**options) if options else executor


def _layers(graph: Mapping[Hashable, Any]) -> dict[str, dict[Hashable, Any]]:
    """Return the annotations of a graph with layers.

    An annotation may be a function of the key.
    """
    found: dict[str, dict[Hashable, Any]] = {}
    for layer in getattr(graph, "layers", {}).values():
        for name, value in (getattr(layer, "annotations", None) or {}).items():
            values = found.setdefault(name, {})
            values.update((key, value(key) if callable(value) else value) for key in layer)
    return found


def _apart(executor: Any, annotations: Mapping[str, Mapping[Hashable, Any]]) -> dict[Hashable, TaskOptions]:
    """Return the options of the keys that have annotations of their own."""
    by_key: dict[Hashable, dict[str, Any]] = {}
    for name in _ANNOTATIONS:
        for key, value in annotations.get(name, {}).items():
            by_key.setdefault(key, {})[name] = value
    return {key: _annotated(executor, values)._options.task for key, values in by_key.items()}
