"""Runs the public checks of engines over ours, and checks the checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor, NotSupported
from futures_cluster.testing.engine_checks import CHECKS, ENGINES, FEATURES, TRAITS, Check, run_check
from futures_cluster.testing.engine_checks.capabilities import table
from futures_cluster.testing.real_cluster import Cluster

#: Those that need nothing else; the others have modules of their own.
BACKENDS = ("processes", "threads", "sync", "tcp")


class Clusters:
    """Clusters for executors of different sizes; checks that ask for the same share one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clusters: dict[str, Cluster] = {}

    def executor(
        self,
        max_workers: int = 2,
        threads_per_worker: int = 1,
        resources: dict[str, float] | None = None,
        memory_limit: Any = None,
        **arguments: Any,
    ) -> Executor:
        options = ["--workers", str(max_workers), "--threads", str(threads_per_worker)]
        if resources:
            options += ["--resources", ",".join(f"{name}={amount}" for name, amount in resources.items())]
        if memory_limit is not None:
            options += ["--memory-limit", str(memory_limit)]
        known = " ".join(options)
        if known not in self.clusters:
            folder = self.folder / str(len(self.clusters))
            folder.mkdir()
            self.clusters[known] = Cluster(folder, is_shared=True)
            self.clusters[known].add_worker(*options)
        return self.clusters[known].executor(**arguments)


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Schedulers and workers that stay for all checks of this module."""
    clusters = Clusters(tmp_path_factory.mktemp("clusters"))
    yield clusters
    for cluster in clusters.clusters.values():
        cluster.close()


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        (backend, name)
        for backend in BACKENDS
        for name, check in CHECKS.items()
        if check.is_meant_for(ENGINES[backend].traits)
    ],
)
def test_engine(backend: str, name: str, request: pytest.FixtureRequest) -> None:
    def make_executor(**arguments: Any) -> Executor:
        if backend == "tcp":
            clusters: Clusters = request.getfixturevalue("clusters")
            return clusters.executor(**arguments)
        return Executor(**{"max_workers": 2, "backend": backend, **arguments})

    run_check(CHECKS[name], make_executor, lacks=ENGINES[backend].lacks)


def make_sync(**arguments: Any) -> Executor:
    return Executor(backend="sync", **arguments)


def test_each_check_says_what_it_checks() -> None:
    for name, check in CHECKS.items():
        assert name == check.name and name.startswith("check_")
        assert check.function.__doc__
        assert check.features <= set(FEATURES) and check.traits <= set(TRAITS)
    assert all(any(feature in check.features for check in CHECKS.values()) for feature in FEATURES)


def test_the_documentation_has_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "engines.md").read_text(encoding="utf-8")
    assert table() in page, "put the output of engine_checks.capabilities.table() into docs/guides/engines.md"


def test_a_lack_must_be_said() -> None:
    def silent(make_executor: Any) -> None: ...

    def says_so(make_executor: Any) -> None:
        raise NotSupported("not here")

    one, two = (Check(function, frozenset({"kill"}), frozenset()) for function in (silent, says_so))
    run_check(one, make_sync)
    with pytest.raises(AssertionError, match="nothing raised NotSupported"):
        run_check(one, make_sync, lacks={"kill"})
    run_check(two, make_sync, lacks={"kill"})
    with pytest.raises(NotSupported):
        run_check(two, make_sync, lacks={"stop"})


def test_the_checks_find_broken_promises() -> None:
    """An executor that takes an option's name for itself, and one that swallows generators."""

    class EatsKeywords(Executor):
        def submit(self, fn: Any, /, *args: Any, timeout: Any = None, **kwargs: Any) -> Any:
            return super().submit(fn, *args, **kwargs)

    class ReadsAhead(Executor):
        def map(self, fn: Any, *iterables: Any, **options: Any) -> Any:
            if options.get("buffersize"):
                iterables = (list(range(1000)),)
            return super().map(fn, *iterables, **options)

    for cls, name in ((EatsKeywords, "check_submit_keywords"), (ReadsAhead, "check_map_buffersize")):
        with pytest.raises(AssertionError):
            run_check(CHECKS[name], lambda cls=cls, **arguments: cls(backend="sync", **arguments))
