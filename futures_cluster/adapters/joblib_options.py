"""Options of joblib's ``Parallel`` and ``parallel_config``.

Covers: warning of those that an executor cannot honour; ``inner_max_num_threads``, by which a call limits the threads
of libraries that are loaded (by threadpoolctl) and of those that it loads itself (by environment variables). Does not
cover: the limit that workers start with (``config``), arguments in memory files (``large``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from joblib.parallel import ParallelBackendBase

from futures_cluster.adapters.large import shares_files, warn
from futures_cluster.executor import Executor

#: What joblib takes for ``mmap_mode``.
MODES = (None, "r", "r+", "w+", "c")
#: joblib passes these to every backend, and sees to them itself.
_OF_JOBLIB = frozenset({"prefer", "require", "verbose", "context"})


def check_options(
    executor: Executor,
    mmap_mode: str | None,
    temp_folder: str | None,
    inner_threads: int | None,
    others: dict[str, Any],
) -> None:
    """Warn of options without effect here that joblib's own processes have.

    Raises
    ------
    ValueError
        If ``mmap_mode`` is none of joblib's.
    """
    if mmap_mode not in MODES:
        raise ValueError(f"mmap_mode must be one of {MODES}, not {mmap_mode!r}")
    if unknown := sorted(others.keys() - _OF_JOBLIB):
        _warn(f"{', '.join(unknown)}: only joblib's own backends have such options; give them to the Executor instead")
    if executor._engine.shares_memory:
        if inner_threads is not None:
            _warn(
                f"inner_max_num_threads={inner_threads}: the calls run in threads of this process, which share its "
                "libraries; use worker processes, or threadpoolctl around the whole"
            )
        return
    if inner_threads is not None and not can_limit():
        _warn(
            f"inner_max_num_threads={inner_threads} reaches only the libraries that a call loads itself; "
            "install threadpoolctl to reach those that are loaded already"
        )
    if shares_files(executor):
        return
    if mmap_mode in ("r+", "w+"):
        _warn(
            f"mmap_mode={mmap_mode!r}: the workers may be on hosts that share no memory, so large arrays arrive "
            "read-only; use 'c' for calls that change a copy of their own, and return what they compute"
        )
    if temp_folder is not None:
        _warn(f"temp_folder={temp_folder!r}: large arrays go to the workers over the network, not through files")


def _warn(text: str) -> None:
    warn(f"joblib's backend 'futures_cluster' cannot honour {text}")


def can_limit() -> bool:
    """Return whether libraries that are loaded take a number of threads."""
    return find_spec("threadpoolctl") is not None


@contextlib.contextmanager
def limited_threads(number: int) -> Iterator[None]:
    """Limit the threads of OpenMP, BLAS and similar libraries for a while."""
    names = ParallelBackendBase.MAX_NUM_THREADS_VARS
    before: dict[str, Any] = {name: os.environ.get(name) for name in names}
    with contextlib.ExitStack() as stack:
        if can_limit():
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(number))
        os.environ.update(dict.fromkeys(names, str(number)))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
