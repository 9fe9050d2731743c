"""The two classes with the signatures of the standard library's pools.

They translate arguments, and are subclasses of the standard library's classes, because other code checks for that
(``loop.set_default_executor`` does). ``executor`` does everything else. This is a separate module, because it loads
multiprocessing.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from futures_cluster.executor import Executor

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

_pool_numbers = itertools.count()


class ThreadPoolExecutor(Executor, concurrent.futures.ThreadPoolExecutor):  # type: ignore[misc,override]
    """Run calls on threads of this process, with the standard library's signature.

    The class is a subclass of the standard library's, because asyncio and other code check for that, and shares nothing
    else with it. Futures in arguments arrive as futures, as in the standard library.

    Parameters
    ----------
    max_workers : int or None
        Number of threads. By default, the number of cores that this process may use plus 4, at most 32.
    thread_name_prefix : str
        Prefix of the names of the threads.
    initializer : callable or None
        Function that each thread calls once before its first task.
    initargs : tuple
        Arguments of ``initializer``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or has the wrong type.

    See Also
    --------
    Executor : The class for new code, with all options.
    concurrent.futures.ThreadPoolExecutor : The class of the standard library.

    Examples
    --------
    >>> with ThreadPoolExecutor(2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    _makes_chunks = False  # each call has a thread of its own: some wait for others

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
    """Run calls on worker processes, with the standard library's signature.

    The class is a subclass of the standard library's, because other code checks for that, and shares nothing else with
    it. When a worker dies, its unfinished tasks run again; the pool does not break.

    Parameters
    ----------
    max_workers : int or None
        Number of processes. By default, one for each core that this process may use.
    mp_context : multiprocessing context or None
        Context that starts the processes, with the standard library's rules. Without it scripts need no ``__main__``
        guard.
    initializer : callable or None
        Function that each process calls once before its first task.
    initargs : tuple
        Arguments of ``initializer``.
    max_tasks_per_child : int or None
        Number of tasks after which the pool replaces a process.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or has the wrong type.

    See Also
    --------
    Executor : The class for new code, with all options.
    concurrent.futures.ProcessPoolExecutor : The class of the standard library.

    Examples
    --------
    >>> with ProcessPoolExecutor(1) as pool:
    ...     list(pool.map(abs, [-1, 2]))
    [1, 2]
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
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
