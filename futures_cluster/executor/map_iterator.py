"""``Executor.map``: the results of many calls, in the order of their arguments.

Covers: submitting in chunks and no further ahead than a buffer, taking results, cancelling what is left. Does not
cover: how a call is submitted (``executor``), the check of ``map``'s arguments (there, too).

All is submitted when the iterator is made, or ``buffersize`` tasks if it is given; then one more for each result taken.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self, TypeVar

from futures_cluster import clocks, numbers
from futures_cluster.future import Future

T = TypeVar("T")


class Submits(Protocol):
    """The part of an executor that ``map`` needs."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a call on a worker."""


def _run_chunk(fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> list[T]:
    return [fn(*args) for args in chunk]


class MapIterator(Iterator[T]):
    """The results of ``Executor.map``, in order.

    Collecting the iterator before its first item cancels nothing; closing it later cancels calls that have not started.
    """

    _begun = False  # also when making one fails

    def __init__(
        self,
        executor: Submits,
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
        self._executor: Submits | None = executor
        self._fn = fn
        self._calls = calls
        self._tasks: deque[Future[Any]] = deque()  # of one result each, or of a list of them
        self._ready: deque[T] = deque()  # results of a chunk that were not taken yet
        if buffersize is None and chunksize == 1:
            submit, append = executor.submit, self._tasks.append
            for args in calls:
                append(submit(fn, *args))
        else:
            while self._submit_next(buffersize):
                pass
        if buffersize is None:
            self._executor = None
            self._calls = iter(())

    def _submit_next(self, limit: int | None) -> bool:
        """Submit one more task; False when there is none, or the buffer is full."""
        if self._executor is None or (limit is not None and len(self._tasks) >= limit):
            return False
        if self._chunksize == 1:
            for args in self._calls:
                self._tasks.append(self._executor.submit(self._fn, *args))
                return True
        elif chunk := list(itertools.islice(self._calls, self._chunksize)):
            self._tasks.append(self._executor.submit(_run_chunk, self._fn, chunk))
            return True
        self._executor = None
        return False

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
        self._begun = True
        if self._ready:
            return self._ready.popleft()
        if not self._tasks:
            raise StopIteration
        try:
            # As in the standard library: hold no reference to a future whose result was taken.
            left = None if self._end is None else self._end - clocks.monotonic()
            result: T = self._tasks[0].result(left)
        except BaseException:
            self.close()  # also this one: after a timeout no caller waits for it
            raise
        self._tasks.popleft()
        if self._executor is not None:
            self._submit_next(self._buffersize)
        if self._chunksize == 1:
            return result
        chunk: Any = result
        self._ready.extend(chunk)
        del result, chunk
        return self.__next__()

    def close(self) -> None:
        """Cancel what has not begun."""
        self._executor = None
        self._calls = iter(())
        self._ready.clear()
        tasks, self._tasks = self._tasks, deque()
        for future in tasks:
            future.cancel()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Not when the globals of modules are gone, perhaps those of this one.
        if not is_finalizing() and self._begun and self._tasks:
            self.close()
