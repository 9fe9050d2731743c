"""The examples in the docstrings of the generalized linear models."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

pytest.importorskip("sklearn")

import futures_cluster.glm

MODULES = [each.name for each in pkgutil.walk_packages(futures_cluster.glm.__path__, "futures_cluster.glm.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    found = doctest.DocTestFinder().find(importlib.import_module("futures_cluster.glm.passes"))
    assert any(each.examples for each in found)
