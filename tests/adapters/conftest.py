"""Executors for the tests of the adapters; one of each kind for all tests of a module, as starting it takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from futures_cluster import Executor


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    """Two worker processes."""
    with Executor(2, backend="processes", resources={"GPU": 1}) as executor:
        executor.run(abs, 1)
        yield executor


@pytest.fixture(scope="module", params=["processes", "threads", "sync"])
def each(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Every backend of one machine."""
    options = {} if request.param == "sync" else {"resources": {"GPU": 1}}
    with Executor(2, backend=request.param, **options) as executor:
        if request.param == "threads":
            barrier = threading.Barrier(2)
            list(executor.map(lambda _: barrier.wait(), range(2)))  # both have started
        elif request.param == "processes":
            executor.run(abs, 1)
        yield executor
