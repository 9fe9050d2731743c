"""A pytest plugin: Dask's own installed tests run on an executor.

Covers: being the scheduler for every test, also for those that name another; the expected failures. Does not cover:
choosing modules; ``run_dask_tests`` does that. Environment variables:

DASK_PLUGIN_BACKEND   of the executor (default: processes), or ``baseline``: Dask's own schedulers
DASK_PLUGIN_EVERY     only each so manieth test of those that are collected
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import dask
import dask.base
import pytest

from futures_cluster import Executor

sys.path.insert(0, str(Path(__file__).parent))

from dask_failures import EXPECTED

#: Names by which Dask's tests ask for schedulers of one process.
NAMES = ("sync", "synchronous", "single-threaded", "threads", "threading")
#: What their repository's configuration would say.
MARKERS = (
    "array_expr",
    "gpu",
    "slow",
    "network",
    "skip_with_pyarrow_strings",
    "filterwarnings",
    "xfail_with_pyarrow_strings",
    "skip_with_pyarrow_strings",
    "timeout",
)

_executor: Executor | None = None


def pytest_configure(config: Any) -> None:
    global _executor
    for name in MARKERS:
        config.addinivalue_line("markers", f"{name}: of Dask's own")
    backend = os.environ.get("DASK_PLUGIN_BACKEND", "processes")
    if backend == "baseline":
        return
    _executor = Executor(2, backend=backend, set_as_default=True)
    for name in NAMES:
        dask.base.named_schedulers[name] = dask.base.named_schedulers["futures_cluster"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = items[:: int(os.environ.get("DASK_PLUGIN_EVERY", "1"))]
    if _executor is None:
        return
    for item in items:
        module, _, name = item.nodeid.rpartition(".py::")
        place = module.split("site-packages/")[-1].lstrip("./").replace("/", ".") + "::" + name
        for pattern, reason in EXPECTED.items():
            if place.startswith(pattern):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=False))


def pytest_unconfigure() -> None:
    if _executor is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _executor.shutdown(wait=True, cancel_futures=True)
