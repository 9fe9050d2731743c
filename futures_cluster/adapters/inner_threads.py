"""joblib's ``inner_max_num_threads``: how many threads libraries use inside of a call.

Covers: libraries that are loaded (by threadpoolctl) and those that a call loads itself (by environment variables).
Does not cover: the limit that workers start with (``config``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from joblib.parallel import ParallelBackendBase


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
