"""The functions that the measured systems run in their workers.

They live in a module of their own so that every system pickles them by reference and no worker imports more
than it needs: numpy is loaded only by the tasks that use it. They are not a sample of real work: they do
nothing, so that what remains is the cost of the system.
"""

from __future__ import annotations

import os
import time
from typing import Any

WORKERS = 2
ARRAY_BYTES = 100_000_000


def noop() -> None:
    """Nothing at all."""


def identity(x: int) -> int:
    """One small argument and one small result."""
    return x


def wait_for_file(started: str, release: str) -> None:
    """Tell by a file that this task runs, then keep the worker busy until another file exists."""
    with open(started, "w", encoding="ascii"):
        pass
    while not os.path.exists(release):
        time.sleep(0.02)


def nbytes_of(array: Any) -> tuple[int, float]:
    """The size of an array and its first number; the latter shows that this very array has arrived."""
    return int(array.nbytes), float(array[0])


def make_rows(x: int) -> list[tuple[int, str]]:
    """3,000 small tuples, 60 kB as a pickle: what a parser or a query returns."""
    return [(number, str(number)) for number in range(x, x + 3000)]


def first_pass_over(array: Any) -> float:
    """Seconds of the first ``sum()`` over an array that has just arrived in the worker."""
    begin = time.perf_counter()
    array.sum()
    return time.perf_counter() - begin


def make_result(mark: float) -> Any:
    """An array made once a worker, so that only its way home is timed; ``mark`` is its first number."""
    array = getattr(make_result, "array", None)
    if array is None:
        import numpy as np

        array = np.ones(ARRAY_BYTES // 8)
        make_result.array = array  # type: ignore[attr-defined]
    array[0] = mark
    return array


def prepare_result(x: int) -> int:
    """Make this worker's array ahead of time, slowly enough that every worker gets such a task."""
    make_result(0.0)
    time.sleep(0.2)
    return x
