"""Being the default executor: Dask's scheduler, and where joblib's backend runs its calls.

Covers: what is set while an executor is the default. Does not cover: computing (``dask``), settings of other libraries
(``libraries``). Without Dask only joblib's backend is set.

While an executor is the default, Dask makes graphs that shuffle by tasks, unless its configuration names a method;
other graphs are changed when they come in (``shuffles``). All is put back at the end.

Dask keeps one value of each setting, and each default remembers the one before it. So they are undone in the reverse
order, whatever the order in which they are closed: one that is closed below others waits for these.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any, Self

from futures_cluster import context, locks
from futures_cluster.adapters.steps import NestedScheduler

#: What Dask calls an executor that is the default, in ``compute(scheduler=...)``.
NAME = "futures_cluster"


class DaskScheduler:
    """An executor in Dask's configuration, which ``distributed`` copies and sends to other processes.

    There it stands for the executor that runs the present task, if any.
    """

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    def __call__(self, graph: Any, keys: Any, **options: Any) -> Any:
        return self.executor.get(graph, keys, **options)

    def persist(self, collections: Any, **options: Any) -> Any:
        """Persist collections; Dask calls this for ``persist``."""
        return self.executor.persist(list(collections), **options)

    def __repr__(self) -> str:
        return repr(self.executor)

    def __deepcopy__(self, memo: Any) -> DaskScheduler:
        return self

    def __reduce__(self) -> Any:
        return NestedScheduler, ()


_lock = locks.RLock()  # a finalizer may shut an executor down
_stack: list[Default] = []  # those whose settings are in force or below others


class Default:
    """An executor is the default, from its construction until ``close``."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._is_open = True
        self._undo = ExitStack()
        with _lock:
            if find_spec("dask") is not None:
                self._schedule(executor)
            _stack.append(self)
        context.defaults.append(executor)

    def _schedule(self, executor: Any) -> None:
        """Become Dask's scheduler."""
        import dask.base

        from futures_cluster.adapters.libraries import adapt_libraries

        names = dask.base.named_schedulers
        before, scheduler = names.get(NAME), DaskScheduler(executor)
        names[NAME] = scheduler
        settings: dict[str, Any] = {"scheduler": scheduler}
        if dask.config.get("dataframe.shuffle.method", None) is None:
            settings["dataframe.shuffle.method"] = "tasks"
        self._undo.enter_context(dask.config.set(settings))
        self._undo.callback(_unname, names, before, scheduler)
        adapt_libraries()

    def close(self) -> None:
        """Stop being the default, and restore the one before unless another came later."""
        with _lock:
            if not self._is_open:
                return
            self._is_open = False
            while _stack and not _stack[-1]._is_open:
                _stack.pop()._undo.close()
        _forget(self._executor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _unname(names: dict[str, Any], before: Any, scheduler: DaskScheduler) -> None:
    if names.get(NAME) is scheduler:
        if before is None:
            del names[NAME]
        else:
            names[NAME] = before


def _forget(executor: Any) -> None:
    """Forget an executor once it is nowhere the default."""
    defaults = context.defaults
    del defaults[max(at for at, each in enumerate(defaults) if each is executor)]
