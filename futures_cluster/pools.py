"""The two classes with the signatures of the standard library's pools.

Covers: translating arguments, and being instances of the standard library's classes, because code asks for that
(``loop.set_default_executor`` does). Does not cover: anything that runs; that is ``executor``. A module of its own,
as it loads multiprocessing.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable
from typing import Any

from futures_cluster.executor import Executor

_pool_numbers = itertools.count()


class ThreadPoolExecutor(Executor, concurrent.futures.ThreadPoolExecutor):  # type: ignore[misc,override]
    """The standard library's signature, on our engine: threads of this process.

    Is an instance of the standard library's class, because code asks for that (asyncio does), and shares nothing
    else with it. Futures in arguments arrive as futures, as they do there.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        Executor.__init__(
            self,
            max_workers,
            None,
            initializer,
            initargs,
            backend="threads",
            thread_name_prefix=thread_name_prefix or f"ThreadPoolExecutor-{next(_pool_numbers)}",
            resolve=False,
        )


class ProcessPoolExecutor(Executor, concurrent.futures.ProcessPoolExecutor):  # type: ignore[misc]
    """The standard library's signature, on our engine: worker processes.

    Is an instance of the standard library's class, because code asks for that, and shares nothing else with it.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        Executor.__init__(
            self,
            max_workers,
            mp_context,
            initializer,
            initargs,
            backend="processes",
            max_tasks_per_child=max_tasks_per_child,
        )
