"""``Executor.map``: the results of many calls, in the order of their arguments.

Covers: submitting in chunks and no further ahead than a buffer, taking results, cancelling what is left. Does not
cover: how a call is submitted, and the check of ``map``'s arguments (``call_methods`` both).

All is submitted when the iterator is made, or ``buffersize`` tasks if it is given; then one more for each result taken.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

from futures_cluster import clocks, locks, numbers
from futures_cluster.as_completed import STOPPED
from futures_cluster.future import Future

T = TypeVar("T")


def _chunks(calls: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(calls, size)):
        yield chunk


def _run_chunk(fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> list[T]:
    return [fn(*args) for args in chunk]


class MapIterator(Iterator[T]):
    """The results of ``Executor.map``, in order.

    When the iterator is garbage, it cancels calls that have not started, unless no item was taken yet.
    """

    _begun = False  # also when making one fails

    def __init__(
        self,
        submit: Callable[..., Future[Any]],
        fn: Callable[..., T],
        calls: Iterator[tuple[Any, ...]],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
    ) -> None:
        wait_s = numbers.wait_s("timeout", timeout)
        self._end = None if wait_s is None else clocks.monotonic() + wait_s
        self._chunksize = chunksize
        self._buffersize = buffersize
        # Submits when it is asked for one more; once at its end, it keeps neither the executor nor the function.
        self._coming: Iterator[Future[Any]] = (
            (submit(fn, *args) for args in calls)
            if chunksize == 1
            else (submit(_run_chunk, fn, chunk) for chunk in _chunks(calls, chunksize))
        )
        self._tasks = deque(itertools.islice(self._coming, buffersize))  # of one result each, or of a list of them
        self._ready: deque[T] = deque()  # results of the last task whose result came, as far as they were not taken
        self._lock = locks.RLock()  # threads may share the iterator
        self._pulls = False  # an item of the iterables is being made

    @property
    def futures(self) -> list[Future[T]]:
        """One future for each item, in order, of those whose results were not taken yet.

        Raises
        ------
        ValueError
            With ``chunksize`` or ``buffersize``, as there is not one future an item then.
        """
        if self._chunksize > 1 or self._buffersize is not None:
            raise ValueError("map(...).futures has one future an item; leave out chunksize and buffersize")
        return list(self._tasks)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        # All in this function: each one more would be another frame in the tracebacks of tasks.
        with self._lock:
            if self._pulls:
                raise ValueError(
                    "the iterables of map() ask for a result of the same map(), which may never come; read them from "
                    "something else"
                )
            self._begun = True
            while not self._ready:
                tasks = self._tasks
                if not tasks:
                    raise StopIteration
                try:
                    left = None if self._end is None else self._end - clocks.monotonic()
                    result = tasks[0].result(left)
                    if self._buffersize is not None:
                        self._pulls = True
                        tasks.extend(itertools.islice(self._coming, 1))
                        self._pulls = False
                except BaseException as error:
                    self._pulls = False
                    self.close()  # also this one: after a timeout no caller waits for it
                    del tasks  # the future has the error, whose traceback has this frame
                    if isinstance(error, StopIteration):
                        raise RuntimeError(STOPPED) from error
                    raise
                # As in the standard library: hold no reference to a future whose result was taken.
                tasks.popleft()
                self._ready.extend([result] if self._chunksize == 1 else result)
            return self._ready.popleft()

    def close(self) -> None:
        """Cancel what has not begun."""
        self._coming = iter(())
        self._ready.clear()
        tasks, self._tasks = self._tasks, deque()
        for future in tasks:
            future.cancel()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Not when the globals of modules are gone, perhaps those of this one.
        if not is_finalizing() and self._begun and self._tasks:
            self.close()
