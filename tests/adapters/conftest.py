"""Executors for the tests of the adapters; one of each kind for all tests of a module, as starting it takes long."""

from __future__ import annotations

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
        executor.run(abs, 1) if request.param != "sync" else executor.submit(abs, 1).result()
        yield executor
