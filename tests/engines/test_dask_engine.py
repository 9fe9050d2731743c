"""Our executor on a Dask cluster: the checks that every engine passes, and what is special to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from foreign_clusters import Clusters

from futures_cluster import Executor
from futures_cluster.testing.engine_checks import CHECKS, run_check

distributed = pytest.importorskip("distributed", reason="distributed is not installed")

LACKS = {"kill", "stop", "max_tasks_per_child", "initializer", "memory_limit", "channel"}
TRAITS = {"concurrent", "isolated"}


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    clusters = Clusters("dask")
    yield clusters
    clusters.close()


def executor(
    clusters: Clusters,
    max_workers: int = 2,
    threads_per_worker: int = 1,
    resources: dict[str, float] | None = None,
    **arguments: Any,
) -> Executor:
    shape: dict[str, Any] = {"n_workers": max_workers, "threads_per_worker": threads_per_worker}
    if resources:
        shape["resources"] = resources
    address = clusters.address(**shape).replace("tcp", "dask")
    return Executor(backend=address, **arguments)


@pytest.fixture
def ex(clusters: Clusters) -> Iterator[Executor]:
    with executor(clusters) as ex:
        yield ex


@pytest.mark.parametrize("name", [name for name, check in CHECKS.items() if check.is_meant_for(TRAITS)])
def test_engine(name: str, clusters: Clusters) -> None:
    run_check(CHECKS[name], lambda **arguments: executor(clusters, **arguments), lacks=LACKS)
