"""``as_completed``: what it yields, when, to whom, and that more may come while it runs.

Covers: futures made by hand, of the standard library's executors and of ours, from several threads and coroutines.
Does not cover: CPython's own tests of the function (``conformance``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gate import LIMIT_S, Gate, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from futures_cluster import Executor, as_completed
from futures_cluster.errors import CancelledError
from futures_cluster.future import Future

StdlibFuture = concurrent.futures.Future


@pytest.fixture(params=[Future, StdlibFuture], ids=["ours", "stdlib"])
def new(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Makes a future that is done when the test says so."""
    make: Callable[[], Any] = request.param
    return make


def done_with(new: Callable[[], Any], value: Any) -> Any:
    future = new()
    future.set_result(value)
    return future


def tell_who_waits(cancelled: Any) -> None:
    """What the standard library's executors do when they come to a cancelled future; ours is told by cancel()."""
    if not isinstance(cancelled, Future):
        cancelled.set_running_or_notify_cancel()


class Threads:
    """Threads that are joined, and that raise here what they raised there."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        def run() -> None:
            try:
                function(*args)
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(LIMIT_S)
            if self._errors:
                raise self._errors[0]
            assert not thread.is_alive(), "somebody waits for ever"


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.join()


def waits(ac: as_completed) -> Callable[[], bool]:
    """Whether somebody waits for the next one."""
    return lambda: bool(ac._condition._waiters)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- yielding


def test_in_the_order_in_which_they_are_done(new: Callable[[], Any]) -> None:
    first, second, third = new(), new(), new()
    ac = as_completed([first, second, third])
    third.set_result(3)
    assert next(ac) is third
    first.set_exception(ValueError())
    assert second.cancel()
    tell_who_waits(second)
    assert list(ac) == [first, second]
    assert list(ac) == []


def test_nothing() -> None:
    ac = as_completed([])
    assert (ac.count(), ac.is_empty(), ac.has_ready(), len(ac), bool(ac)) == (0, True, False, 0, True)
    assert list(ac) == [] == list(as_completed())
    assert ac.next_batch(block=False) == []
    with pytest.raises(StopIteration):
        ac.next_batch()


def test_a_future_is_yielded_once(new: Callable[[], Any]) -> None:
    future, other = done_with(new, 1), new()
    ac = as_completed(iter([future, other, future, other]))
    ac.add(other)
    ac.update([other, future])
    assert (ac.count(), len(ac)) == (2, 2)
    other.set_result(2)
    assert list(ac) == [future, other]
    ac.add(future)  # it was yielded: this asks for it again
    assert list(ac) == [future]
    assert (ac.count(), len(ac)) == (0, 3)


def test_only_futures(new: Callable[[], Any]) -> None:
    future = new()
    for wrong in (1, None, iter([])):
        with pytest.raises(TypeError, match="futures"):
            as_completed([future, wrong])  # type: ignore[list-item]
    assert not future._waiters
    ac = as_completed([done_with(new, 1)])
    with pytest.raises(TypeError):
        ac.add(asyncio.Future)  # type: ignore[arg-type]
    assert len(list(ac)) == 1


def test_counting(new: Callable[[], Any]) -> None:
    futures = [new() for _ in range(3)]
    ac = as_completed(futures)
    assert (ac.count(), ac.has_ready(), ac.is_empty(), len(ac)) == (3, False, False, 3)
    futures[1].set_result(1)
    assert (ac.count(), ac.has_ready(), ac.is_empty(), len(ac)) == (3, True, False, 3)
    next(ac)
    assert (ac.count(), ac.has_ready(), ac.is_empty(), len(ac)) == (2, False, False, 3)
    ac.add(done_with(new, 2))
    assert (ac.count(), ac.has_ready(), ac.is_empty(), len(ac)) == (3, True, False, 4)


def test_tqdm_knows_the_total(new: Callable[[], Any]) -> None:
    tqdm = pytest.importorskip("tqdm")
    with open("/dev/null", "w") as nowhere:
        bar = tqdm.tqdm(as_completed([done_with(new, i) for i in range(3)]), file=nowhere)
        assert bar.total == 3
        assert sorted(future.result() for future in bar) == [0, 1, 2]


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_timeout(new: Callable[[], Any], timeout: float) -> None:
    futures = [new(), done_with(new, 1), new(), new()]
    ac = as_completed(futures, timeout)
    assert next(ac) is futures[1]
    with pytest.raises(TimeoutError, match=r"^3 \(of 4\) futures unfinished$"):
        next(ac)
    with pytest.raises(TimeoutError, match=r"^3 \(of 4\) futures unfinished$"):
        ac.next_batch()
    futures[0].set_result(0)
    assert ac.next_batch() == [futures[0]]  # what is done is still yielded
    with pytest.raises(TimeoutError, match=r"^2 \(of 4\) futures unfinished$"):
        list(ac)
    with pytest.raises(TimeoutError, match=r"^2 \(of 4\) futures unfinished$"):
        asyncio.run(anext(ac))


# ---------------------------------------------------------------- batches and results


def test_next_batch(new: Callable[[], Any], threads: Threads) -> None:
    futures = [new() for _ in range(4)]
    ac = as_completed(futures)
    assert ac.next_batch(block=False) == []
    futures[2].set_result(2)
    futures[0].set_result(0)
    assert ac.next_batch(block=False) == [futures[2], futures[0]]
    assert ac.next_batch(block=False) == []
    threads.start(lambda: (wait_until(waits(ac)), futures[3].set_result(3)))
    assert ac.next_batch() == [futures[3]]
    futures[1].set_result(1)
    assert ac.next_batch() == [futures[1]]
    assert ac.is_empty()


def test_with_results(new: Callable[[], Any]) -> None:
    futures = [done_with(new, value) for value in "abc"]
    assert list(as_completed(futures, with_results=True)) == list(zip(futures, "abc"))
    failed = new()
    failed.set_exception(ValueError("doh"))
    ac = as_completed([futures[0], failed, futures[1]], with_results=True)
    assert next(ac) == (futures[0], "a")
    with pytest.raises(ValueError, match="doh"):
        next(ac)
    assert list(ac) == [(futures[1], "b")]


def test_a_batch_with_results_ends_before_a_failed_one(new: Callable[[], Any]) -> None:
    failed = new()
    failed.set_exception(ValueError("doh"))
    first, last = done_with(new, 1), done_with(new, 2)
    ac = as_completed([first, failed, last], with_results=True)
    assert ac.next_batch() == [(first, 1)]
    assert (ac.count(), ac.has_ready()) == (2, True)
    with pytest.raises(ValueError, match="doh"):
        ac.next_batch(block=False)
    assert ac.next_batch(block=False) == [(last, 2)]
    assert ac.is_empty()


# ---------------------------------------------------------------- adding while it runs


def test_add_while_iterating(new: Callable[[], Any]) -> None:
    ac = as_completed([done_with(new, 0)])
    seen = []
    for future in ac:
        seen.append(future.result())
        if len(seen) < 100:
            ac.add(done_with(new, len(seen)))
    assert seen == list(range(100))
    assert len(ac) == 100


def test_add_from_another_thread_to_one_that_waits(new: Callable[[], Any], threads: Threads) -> None:
    pending = new()
    ac = as_completed([pending])
    late = done_with(new, 1)
    threads.start(lambda: (wait_until(waits(ac)), ac.add(late)))
    assert next(ac) is late
    threads.start(lambda: (wait_until(waits(ac)), pending.set_result(2)))
    assert next(ac) is pending


def test_add_from_callbacks(new: Callable[[], Any], threads: Threads) -> None:
    """A chain: each future, when done, adds the next, in whatever thread that is."""
    chain = [new() for _ in range(20)]
    ac = as_completed(chain[:1])
    for future, following in itertools.pairwise(chain):
        future.add_done_callback(lambda done, following=following: ac.add(following))
    threads.start(lambda: [future.set_result(i) for i, future in enumerate(chain)])
    seen = []
    while len(seen) < 20:
        seen += ac.next_batch() if not ac.is_empty() else []
    assert seen == chain


# ---------------------------------------------------------------- executors


@pytest.mark.parametrize("backend", ["sync", "threads", "processes"])
def test_on_executors_with_the_set_kept_in_flight(backend: str) -> None:
    with Executor(2, backend=backend) as ex:
        ac = as_completed(ex.map(abs, range(-5, 0)).futures, timeout=LIMIT_S)
        seen = []
        for future in ac:
            seen.append(future.result())
            if len(seen) < 30:
                ac.add(ex.submit(pow, future, 1))
        assert len(seen) == 34
        assert set(seen) == {1, 2, 3, 4, 5}


def test_executors_of_all_kinds_together(gate: Gate) -> None:
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        Executor(1, backend="processes") as processes,
        Executor(1, backend="threads") as ours,
    ):
        held = [executor.submit(gate.hold, i) for i, executor in enumerate((pool, processes, ours))]
        never = pool.submit(int)
        ac = as_completed([*held, never], timeout=LIMIT_S)
        gate.wait_come(3)
        assert never.cancel()  # the pool tells those who wait once its thread comes by
        assert not ac.has_ready()
        gate.open(3)
        assert set(ac) == {*held, never}
        assert [future.result(0) for future in held] == [0, 1, 2]
        assert never.cancelled()
        mixed = as_completed([processes.submit(bytes, 3_000_000), pool.submit(str)], with_results=True)
        assert {len(result) for _, result in mixed} == {0, 3_000_000}


def test_in_a_task_that_gives_its_slot_back_meanwhile() -> None:
    def parent() -> int:
        from futures_cluster import as_completed, current_executor

        children = [current_executor().submit(abs, -i) for i in range(4)]
        return sum(future.result() for future in as_completed(children))

    for backend in ("threads", "processes"):
        with Executor(1, backend=backend) as ex:
            assert ex.submit(parent).result(LIMIT_S) == 6


# ---------------------------------------------------------------- coroutines


def test_async_for(new: Callable[[], Any], threads: Threads) -> None:
    async def main() -> list[Any]:
        first, second, third = new(), new(), done_with(new, 3)
        ac = as_completed([first, second, third])
        seen = []
        async for future in ac:
            seen.append(future.result())
            if future is third:
                threads.start(lambda: (wait_until(lambda: ac._waiter.loops), second.set_result(2)))
            elif future is second:
                threads.start(lambda: (wait_until(lambda: ac._waiter.loops), ac.add(done_with(new, 4))))
            elif future.result() == 4:
                first.set_result(1)
        assert ac._waiter.loops == []
        return seen

    assert asyncio.run(asyncio.wait_for(main(), LIMIT_S)) == [3, 2, 4, 1]


def test_async_for_with_results_and_timeout(new: Callable[[], Any]) -> None:
    async def main() -> None:
        futures = [done_with(new, 1), done_with(new, 2)]
        assert [pair async for pair in as_completed(futures, with_results=True)] == list(zip(futures, (1, 2)))
        with pytest.raises(TimeoutError, match=r"^1 \(of 2\) futures unfinished$"):
            async for future in as_completed([futures[0], new()], timeout=0.01):
                assert future is futures[0]
        with Executor(1, backend="processes") as ex:
            pairs = as_completed([ex.submit(bytes, 3_000_000), ex.submit(divmod, 1, 0)], with_results=True)
            sizes = []
            errors = 0
            while not pairs.is_empty():
                try:
                    sizes.append(len((await anext(pairs))[1]))
                except ZeroDivisionError:
                    errors += 1
            assert (sizes, errors) == ([3_000_000], 1)

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_a_cancelled_coroutine_takes_nothing(new: Callable[[], Any]) -> None:
    async def main() -> None:
        future = new()
        ac = as_completed([future])
        task = asyncio.ensure_future(anext(ac))
        while not ac._waiter.loops:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ac._waiter.loops == []
        future.set_result(1)
        assert await anext(ac) is future

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_a_loop_that_has_ended_disturbs_nobody(new: Callable[[], Any]) -> None:
    future = new()
    ac = as_completed([future])
    loop = asyncio.new_event_loop()
    ac._waiter.loops.append((loop, asyncio.Event()))
    loop.close()
    future.set_result(1)
    assert list(ac) == [future]


def test_coroutines_and_threads_share_one(new: Callable[[], Any], threads: Threads) -> None:
    """All end, when another took the last one."""
    future = new()
    ac = as_completed([future])
    seen: list[Any] = []

    async def consume() -> None:
        async for item in ac:
            seen.append(item)

    async def main() -> None:
        await asyncio.gather(consume(), consume())

    threads.start(lambda: asyncio.run(main()))
    threads.start(lambda: seen.extend(ac))
    threads.start(lambda: seen.extend(ac))
    wait_until(lambda: len(ac._waiter.loops) == 2 and len(ac._condition._waiters) == 2)  # type: ignore[attr-defined]
    future.set_result(1)
    threads.join()
    assert seen == [future]


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("consumers", [1, 3])
def test_many_threads_add_finish_and_iterate(consumers: int, threads: Threads) -> None:
    """Every future comes out once, and every thread comes to the end."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        per_thread = 60
        last = Future()  # keeps the consumers waiting until all is added
        ac = as_completed([last])
        seen: list[Any] = []
        made: list[Any] = []
        to_finish: list[Any] = []
        adders = Threads()

        def add(new: Callable[[], Any]) -> None:
            for i in range(per_thread):
                future = new()
                made.append(future)
                if i % 3 == 0:
                    future.set_result(i)
                ac.add(future)
                if i % 3 == 1:
                    future.set_result(i)
                elif i % 3 == 2:
                    to_finish.append(future)

        def consume_batches() -> None:
            while not ac.is_empty():
                seen.extend(ac.next_batch(block=False))

        for _ in range(consumers):
            threads.start(lambda: seen.extend(ac))
        threads.start(consume_batches)
        for new in (Future, StdlibFuture, Future):
            adders.start(add, new)
        adders.join()
        for future in to_finish:
            assert future.cancel()
            tell_who_waits(future)
        last.set_result(None)
        threads.join()
    finally:
        sys.setswitchinterval(before)
    assert len(seen) == 3 * per_thread + 1
    assert set(seen) == {*made, last}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["add", "add done", "finish", "fail", "cancel", "batch", "next"]), max_size=30))
def test_nothing_is_lost_whatever_comes_when(steps: list[str]) -> None:
    ac = as_completed()
    open_ones: list[Any] = []
    expected: list[Any] = []
    seen: list[Any] = []
    for number, step in enumerate(steps):
        new = Future if number % 2 else StdlibFuture
        if step == "add":
            open_ones.append(new())
            ac.add(open_ones[-1])
        elif step == "add done":
            expected.append(done_with(new, number))
            ac.add(expected[-1])
        elif step in ("finish", "fail", "cancel") and open_ones:
            future = open_ones.pop(number % len(open_ones))
            expected.append(future)
            if step == "finish":
                future.set_result(number)
            elif step == "fail":
                future.set_exception(ValueError())
            else:
                future.cancel()
                tell_who_waits(future)
        elif step == "batch":
            seen += ac.next_batch(block=False)
            assert seen == expected
        elif step == "next" and ac.has_ready():
            seen.append(next(ac))
        assert ac.count() == len(open_ones) + len(expected) - len(seen)
    seen += ac.next_batch(block=False)
    assert seen == expected


# ---------------------------------------------------------------- keeping nothing


def test_what_was_yielded_is_not_kept(new: Callable[[], Any]) -> None:
    gc.disable()
    try:
        futures = [new() for _ in range(4)]
        ac = as_completed(futures)
        ac.add(done_with(new, 0))
        references = [weakref.ref(next(ac))]
        while futures:
            futures[0].set_result(1)
            for future in ac.next_batch():
                futures.remove(future)
                references.append(weakref.ref(future))
                del future
        assert [reference() for reference in references] == [None] * 5

        async def main() -> None:
            futures.append(done_with(new, 1))
            ac.add(futures[0])
            async for future in ac:
                futures.remove(future)
                reference = weakref.ref(future)
                del future
                assert reference() is None

        asyncio.run(main())
    finally:
        gc.enable()


def test_a_dropped_one_leaves_nothing_in_pending_futures(new: Callable[[], Any]) -> None:
    gc.disable()
    try:
        pending, done = new(), done_with(new, 1)
        other = as_completed([pending])
        ac = as_completed([pending, done])
        references = [weakref.ref(ac), weakref.ref(done)]
        del ac, done
        assert [reference() for reference in references] == [None, None]
        assert pending._waiters == [other._waiter]
        pending.set_result(1)
        assert list(other) == [pending]
        assert pending._waiters == []
    finally:
        gc.enable()


def test_a_future_that_is_done_gets_no_condition() -> None:
    with Executor(1, backend="threads") as ex:
        future = ex.submit(abs, -1)
        ex.submit(int).result()  # one thread: by now it is done
        assert list(as_completed([future])) == [future]
        assert future._lazy_condition is None
        cancelled = Future()
        cancelled.cancel()
        with pytest.raises(CancelledError):
            next(as_completed([cancelled], with_results=True))
