"""In a process that runs tasks: libraries are adapted as soon as they are imported.

Covers: noticing that a library was imported. Does not cover: adapters, and the processes of users, where
``context.load_adapters`` is called when an executor is made.

A task may import a library inside of its function, and use it in the next line. So this process has one more finder of
modules, which finds nothing itself: of the few libraries with adapters it lets the others find the module, and has
``context.load_adapters`` called once that has been executed.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from futures_cluster import context

#: A task that computes a collection of Dask's does it on the executor that runs the task.
DASK_IN_TASKS = {("dask", "config"): "futures_cluster.adapters.steps:become_default"}


class Watch:
    """A finder of modules, for ``sys.meta_path``."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """What the other finders find, if somebody has an adapter for it; see ``importlib.abc.MetaPathFinder``."""
        if path is not None or all(name != library for library, _ in context.ADAPTERS):
            return None
        for finder in sys.meta_path:
            find: Any = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find and find(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    _adapt_after(spec.loader)
                return spec
        return None


def _adapt_after(loader: Any) -> None:
    """Have a loader adapt the next module that it executes; that of an archive is the same for all of its modules."""

    def execute_and_adapt(module: ModuleType) -> None:
        del loader.exec_module
        loader.exec_module(module)
        context.load_adapters()

    loader.exec_module = execute_and_adapt


def adapt_process(dask_in_tasks: bool = True) -> None:
    """Adapt the libraries that tasks of this process import; ``dask_in_tasks``: see ``DASK_IN_TASKS``."""
    if dask_in_tasks:
        context.ADAPTERS.update(DASK_IN_TASKS)
    if not any(isinstance(finder, Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, Watch())
