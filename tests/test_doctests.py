"""The examples in the docstrings of all modules."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import futures_cluster

MODULES = [each.name for each in pkgutil.walk_packages(futures_cluster.__path__, "futures_cluster.")]
#: What some modules import that not everybody installs.
OPTIONAL = {"cryptography", "dask", "distributed", "joblib", "numpy", "pandas", "ray", "scipy", "sklearn", "zmq"}
#: Modules whose examples need more than the module itself.
EXAMPLES_NEED = {"futures_cluster.executor.dask_methods": "dask.array"}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings(name: str) -> None:
    if name in EXAMPLES_NEED:
        pytest.importorskip(EXAMPLES_NEED[name])
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in OPTIONAL:
            raise
        pytest.skip(str(error))
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", ["scheduler.machine", "wire.codec.shm", "glm.passes"])
def test_there_are_examples(name: str) -> None:
    if name.startswith("glm."):
        pytest.importorskip("sklearn")
    found = doctest.DocTestFinder().find(importlib.import_module(f"futures_cluster.{name}"))
    assert any(each.examples for each in found)


def test_all_modules_are_found() -> None:
    assert len(MODULES) > 150
