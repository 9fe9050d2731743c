"""``as_completed``: an iterator over futures in the order of completion, open to new ones.

It takes futures of this package and of any ``concurrent.futures`` executor, also mixed. It fetches no results that are
still on workers, unless ``with_results`` is true.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future as _StdlibFuture
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from futures_cluster import clocks, context, locks, numbers

if TYPE_CHECKING:
    import asyncio

    from futures_cluster.future import Future

F = TypeVar("F", bound=_StdlibFuture[Any])
T = TypeVar("T")
Y = TypeVar("Y")  # what the iteration yields

#: What a loop over results says of a task that has raised this error, which would end the loop in silence.
STOPPED = "a task raised StopIteration, which would have ended the loop over the results"


class _Waiter:
    """The waiter of the standard library's protocol, which futures call when done.

    Futures keep it until they are done, so it does not know the ``as_completed`` that it works for.
    """

    __slots__ = ("condition", "done", "loops")

    def __init__(self) -> None:
        self.condition = locks.Condition()
        self.done: deque[Any] = deque()  # and not yet yielded
        self.loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []  # where coroutines wait

    def add_result(self, future: Any) -> None:
        with self.condition:
            self.done.append(future)
            self.condition.notify()
        if self.loops:
            self.wake_loops()

    add_exception = add_cancelled = add_result

    def wake_loops(self) -> None:
        """Wake the coroutines that wait."""
        for loop, event in list(self.loops):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # that loop has ended
                continue


class as_completed(Iterator[Y], AsyncIterator[Y]):  # the name of the function it takes the place of
    """Iterate over futures as they complete.

    Parameters
    ----------
    fs : iterable of Future
        Futures of any executors. Any thread or callback can add more during the iteration.
    timeout : float or None
        Maximum time in seconds from now until all futures are done.
    with_results : bool
        Whether to yield pairs of a future and its result; the iteration then raises the exception of a failed future.

    Yields
    ------
    Future, or a tuple of a future and its result
        Each future once, in the order of completion.

    Raises
    ------
    TimeoutError
        While iterating, if futures are unfinished when the time is over.

    See Also
    --------
    concurrent.futures.as_completed : The function of the standard library, which takes no further futures.

    Examples
    --------
    >>> from futures_cluster import Executor, as_completed
    >>> with Executor(backend="sync") as ex:
    ...     ac = as_completed([ex.submit(pow, 2, 3)])
    ...     results = []
    ...     for future in ac:
    ...         results.append(future.result())
    ...         if len(results) < 3:
    ...             ac.add(ex.submit(pow, future.result(), 2))
    >>> results
    [8, 64, 4096]
    """

    @overload
    def __init__(self: as_completed[Future[Any]], fs: tuple[()] = (), timeout: float | None = None) -> None: ...

    @overload
    def __init__(
        self: as_completed[F], fs: Iterable[F], timeout: float | None = None, *, with_results: Literal[False] = False
    ) -> None: ...

    @overload
    def __init__(
        self: as_completed[tuple[Future[T], T]],
        fs: Iterable[Future[T]],
        timeout: float | None = None,
        *,
        with_results: Literal[True],
    ) -> None: ...

    @overload
    def __init__(
        self: as_completed[tuple[_StdlibFuture[T], T]],
        fs: Iterable[_StdlibFuture[T]],
        timeout: float | None = None,
        *,
        with_results: Literal[True],
    ) -> None: ...

    @overload
    def __init__(
        self: as_completed[Any],
        fs: Iterable[_StdlibFuture[Any]] = (),
        timeout: float | None = None,
        *,
        with_results: bool = False,
    ) -> None: ...

    def __init__(
        self, fs: Iterable[_StdlibFuture[Any]] = (), timeout: float | None = None, *, with_results: bool = False
    ) -> None:
        wait_s = numbers.wait_s("timeout", timeout)
        self._end = None if wait_s is None else clocks.monotonic() + wait_s
        self._with_results = with_results
        self._waiter = waiter = _Waiter()
        self._condition = waiter.condition  # no future's condition is taken under it: they take it under theirs
        self._done = waiter.done
        self._total = 0
        self._futures: dict[int, Any] = {}  # not yet yielded, by id
        self.update(fs)

    # ---------------------------------------------------------------- adding

    def add(self, future: _StdlibFuture[Any]) -> None:
        """Add one future.

        Parameters
        ----------
        future : Future
            Future of any ``concurrent.futures`` executor. A future that was already added and is not yet yielded is
            ignored.

        Raises
        ------
        TypeError
            If ``future`` is not a future of a ``concurrent.futures`` executor.
        """
        if not isinstance(future, _StdlibFuture):
            raise TypeError(f"as_completed takes concurrent.futures futures, not {type(future).__name__}")
        with self._condition:
            if id(future) in self._futures:
                return  # as in the standard library, a future is yielded once
            self._futures[id(future)] = future
            self._total += 1
        if future._state != FINISHED:  # a future that is done may have no condition, and needs none
            with future._condition:
                if future._state not in (CANCELLED_AND_NOTIFIED, FINISHED):
                    future._waiters.append(self._waiter)  # type: ignore[arg-type]
                    return
        self._waiter.add_result(future)

    def update(self, fs: Iterable[_StdlibFuture[Any]]) -> None:
        """Add several futures.

        Parameters
        ----------
        fs : iterable of Future
            Futures of any ``concurrent.futures`` executors.

        Raises
        ------
        TypeError
            If an item is not a future of a ``concurrent.futures`` executor.
        """
        for future in fs:
            self.add(future)

    def __reduce__(self) -> Any:
        raise TypeError(
            "cannot pickle an as_completed: it follows its futures in this process; pass the futures themselves, "
            "which arrive as their values, or as futures by with_options(resolve=False)"
        )

    # ---------------------------------------------------------------- asking

    def count(self) -> int:
        """Return the number of futures not yet yielded.

        Returns
        -------
        int
            Number of futures, done or not.
        """
        return len(self._futures)

    def __len__(self) -> int:
        """Return the number of futures added in all, as a total for progress bars."""
        return self._total

    def __bool__(self) -> bool:
        return True

    def is_empty(self) -> bool:
        """Return whether all futures have been yielded.

        Returns
        -------
        bool
            True if ``count()`` is zero.
        """
        return not self._futures

    def has_ready(self) -> bool:
        """Return whether a future can be yielded without waiting.

        Returns
        -------
        bool
            True if at least one future is done and not yet yielded.
        """
        return bool(self._done)

    # ---------------------------------------------------------------- iterating

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Y:
        item: Y = self._yield(self._take(block=True))
        return item

    def _take(self, block: bool) -> Any:
        """Take a future that is done; wait for one if none is, or return None."""
        with self._condition:
            if block and not self._ready_or_empty():
                with context.waiting():
                    if not self._condition.wait_for(self._ready_or_empty, self._left()):
                        raise self._timed_out()
            if not self._done:
                if block:  # other threads have taken the last one
                    raise StopIteration
                return None
            future = self._done.popleft()
            del self._futures[id(future)]
            if not self._futures:  # the other threads that wait are at the end, too
                self._condition.notify_all()
                self._waiter.wake_loops()
        if getattr(future, "_waiters", None):  # the future keeps nothing alive from now on
            with future._condition:
                if self._waiter in future._waiters:
                    future._waiters.remove(self._waiter)
        return future

    def _ready_or_empty(self) -> bool:
        return bool(self._done) or not self._futures

    def _left(self) -> float | None:
        return None if self._end is None else self._end - clocks.monotonic()

    def _timed_out(self) -> TimeoutError:
        unfinished = len(self._futures) - len(self._done)
        return TimeoutError(f"{unfinished} (of {self._total}) futures unfinished")

    def __del__(self) -> None:
        # Those that are not done would keep the waiter, and through it those that are. May run anywhere, also in a
        # thread that goes through the very list, or holds the lock of another future: neither wait nor change it.
        for future in self.__dict__.get("_futures", {}).values():
            if getattr(future, "_waiters", None) and future._condition.acquire(blocking=False):
                try:
                    future._waiters = [waiter for waiter in future._waiters if waiter is not self._waiter]
                finally:
                    future._condition.release()

    def _yield(self, future: Any) -> Any:
        if not self._with_results:
            return future
        __tracebackhide__ = True  # for IPython and pytest
        try:
            return future, future.result()
        except StopIteration as error:
            raise RuntimeError(STOPPED) from error
        finally:
            del future  # the traceback of an error has this frame, and must not keep it alive

    def next_batch(self, block: bool = True) -> list[Y]:
        """Return all futures that are done; wait for one if none is.

        Parameters
        ----------
        block : bool
            Whether to wait for a future if none is done. If False, the batch may be empty.

        Returns
        -------
        list
            Futures, or pairs of a future and its result if ``with_results`` is true.

        Raises
        ------
        StopIteration
            If ``block`` is true and no future is left.
        TimeoutError
            If ``block`` is true and no future completes in time.
        BaseException
            With ``with_results``, the exception of the first future, if it has failed. A failed future further on ends
            the batch before it.

        Examples
        --------
        >>> from futures_cluster import Executor, as_completed
        >>> with Executor(backend="sync") as ex:
        ...     ac = as_completed(ex.map(abs, [-1, -2]).futures, with_results=True)
        ...     [result for _, result in ac.next_batch()]
        [1, 2]
        """
        batch: list[Y] = [self._yield(self._take(block=True))] if block else []
        future = None
        try:
            while (future := self._take(block=False)) is not None:
                try:
                    batch.append(self._yield(future))
                except BaseException:
                    if not batch:
                        raise
                    self._put_back(future)
                    break
        finally:
            del future  # the traceback of an error has this frame, and must not keep it alive
        return batch

    def _put_back(self, future: Any) -> None:
        with self._condition:
            self._futures[id(future)] = future
            self._done.appendleft(future)
            self._condition.notify()
        self._waiter.wake_loops()

    # ---------------------------------------------------------------- asynchronously

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Y:
        item: Y = await self._next_async()
        return item

    async def _next_async(self) -> Any:
        while (future := self._take(block=False)) is None:
            if self.is_empty():
                raise StopAsyncIteration
            await self._wait_ready_async()
        if not self._with_results:
            return future
        import asyncio

        try:
            return future, await asyncio.wrap_future(future)
        finally:
            del future  # the traceback of an error has this frame, and must not keep it alive

    async def _wait_ready_async(self) -> None:
        import asyncio

        loops = self._waiter.loops
        event = asyncio.Event()
        registration = (asyncio.get_running_loop(), event)
        loops.append(registration)
        try:
            if not self._ready_or_empty():  # seen after registering, so nothing is missed
                await asyncio.wait_for(event.wait(), self._left())
        except TimeoutError:
            if not self._ready_or_empty():
                raise self._timed_out() from None
        finally:
            loops.remove(registration)
