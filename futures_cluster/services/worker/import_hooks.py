"""In a process that runs tasks: libraries are adapted as soon as they are imported.

Covers: noticing that a library was imported. Does not cover: adapters, and the processes of users, where
``context.load_adapters`` is called when an executor is made.

A task may import a library inside of its function, and use it in the next line. So this process has one more finder of
modules, which finds nothing itself: of the few libraries with adapters it lets the others find the module, and has
``context.load_adapters`` called once that has been executed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from futures_cluster import context, late

#: A task that computes a collection of Dask's does it on the executor that runs the task.
DASK_IN_TASKS = {("dask", "config"): late.DASK_IN_TASKS}


class PostImportFinder:
    """A finder of modules, for ``sys.meta_path``.

    Parameters
    ----------
    on_found : callable or None
        Takes what was found of a module that is about to be imported, and returns what is to be imported.
    """

    def __init__(self, on_found: Callable[[ModuleSpec], ModuleSpec] | None = None) -> None:
        self._on_found = on_found

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return another finder's spec if useful; see ``importlib.abc.MetaPathFinder``."""
        has_adapter = path is None and any(name == library for library, _ in context.ADAPTERS)
        is_import = self._on_found is not None and (target is not None or name not in sys.modules)
        if not (has_adapter or is_import):
            return None
        for finder in sys.meta_path:
            find: Any = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find and find(name, path, target)
            if spec is not None:
                if is_import and self._on_found is not None:
                    spec = self._on_found(spec)
                if has_adapter and spec.loader is not None:
                    _adapt_after(spec.loader)
                return spec
        return None


def _adapt_after(loader: Any) -> None:
    """Let a loader adapt the next module, also of an archive with several."""

    def execute_and_adapt(module: ModuleType) -> None:
        del loader.exec_module
        loader.exec_module(module)
        context.load_adapters()

    loader.exec_module = execute_and_adapt


def adapt_process(dask_in_tasks: bool = True, on_found: Callable[[ModuleSpec], ModuleSpec] | None = None) -> None:
    """Adapt the libraries that tasks of this process import.

    Parameters
    ----------
    dask_in_tasks : bool
        See ``DASK_IN_TASKS``.
    on_found : callable or None
        See ``PostImportFinder``.
    """
    if dask_in_tasks:
        context.ADAPTERS.update(DASK_IN_TASKS)
    others = [finder for finder in sys.meta_path if not isinstance(finder, PostImportFinder)]
    if on_found is not None or len(others) == len(sys.meta_path):  # a forked copy of another process has that one's
        sys.meta_path[:] = [PostImportFinder(on_found), *others]
