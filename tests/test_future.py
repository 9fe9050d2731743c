"""The future: its states, waiting, callbacks, cancelling, asyncio, and that it keeps nothing alive.

Covers: ``futures_cluster.future`` alone, with a client that does nothing, and through executors on threads and
processes. Does not cover: CPython's own tests of futures (``conformance``), errors and deaths of workers
(``cluster``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gate import LIMIT_S, Gate, wait_until
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from futures_cluster import Executor, ThreadPoolExecutor
from futures_cluster.errors import CancelledError, DataLost, DeserializationError, InvalidStateError, NotSupported
from futures_cluster.future import Future
from futures_cluster.wire.codec.object_codec import ObjectCodec

LARGE = 2_000_000  # bytes: such a result stays with the worker


class Thing:
    """Can be referred to weakly."""


def make_large() -> bytes:
    return bytes(LARGE)


def fail(message: str) -> None:
    raise ValueError(message)


@pytest.fixture(scope="module", params=["threads", "processes"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """One worker, so that a task that waits keeps all others from running."""
    with Executor(1, backend=request.param) as ex:
        ex.submit(int).result()
        yield ex


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with Executor(1, backend="processes") as ex:
        ex.submit(int).result()
        yield ex


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    with Executor(1, backend="threads") as ex:
        ex.submit(int).result()
        yield ex


class CallsAtOnce:
    """In the place of the thread for callbacks."""

    is_running = True

    def call(self, function: Callable[[], object]) -> None:
        function()


class NoClient:
    """The client of a future that no task makes."""

    can_stop_tasks = True
    closed = leader = None
    forked = False

    def __init__(self) -> None:
        self.codec = ObjectCodec()
        self.told: list[tuple[str, Any]] = []
        self.callbacks = CallsAtOnce()

    def cancelled(self, future: Any, force: bool) -> None:
        self.told.append(("cancelled", force))

    def withdraw(self, future: Future) -> bool:
        return False  # it runs

    def release(self, key: str, at_once: bool) -> None:
        self.told.append(("released", key))

    def on_loop(self, function: Callable[[], None]) -> None:
        function()


def new_future() -> Future:
    return Future("task", NoClient())


# ---------------------------------------------------------------- states


def test_states_tell_the_truth(ex: Executor, gate: Gate) -> None:
    first, second = ex.submit(gate.hold, 1), ex.submit(gate.hold, 2)
    gate.wait_come()
    wait_until(first.running)
    assert not first.done() and not first.cancelled()
    assert not second.running() and not second.done()
    gate.open(1)
    assert first.result(LIMIT_S) == 1
    assert first.done() and not first.running()
    gate.wait_come()
    wait_until(second.running)
    gate.open(1)
    assert second.result(LIMIT_S) == 2


def test_a_task_that_waits_behind_another_never_says_running(ex: Executor, gate: Gate) -> None:
    futures = [ex.submit(gate.hold) for _ in range(20)]  # many of them are with the worker already
    gate.wait_come()
    wait_until(futures[0].running)
    assert [future.running() for future in futures[1:]] == [False] * 19
    gate.open(20)
    concurrent.futures.wait(futures, LIMIT_S)
    assert all(future.done() for future in futures)


def test_result_and_exception_wait_no_longer_than_they_are_told(ex: Executor, gate: Gate) -> None:
    running, pending = ex.submit(gate.hold, 1), ex.submit(int)
    gate.wait_come()
    for future in (running, pending):
        for ask in (future.result, future.exception):
            for timeout in (0, 0.01):
                with pytest.raises(TimeoutError):
                    ask(timeout)
    gate.open(1)
    assert (running.result(LIMIT_S), running.exception(0)) == (1, None)
    assert (pending.result(LIMIT_S), pending.exception(0)) == (0, None)


def test_the_same_result_each_time(ex: Executor) -> None:
    future = ex.submit(list, "abc")
    assert future.result() == ["a", "b", "c"]
    assert future.result() is future.result(0)
    failed = ex.submit(fail, "doh")
    error = failed.exception()
    assert type(error) is ValueError and error.args == ("doh",)
    with pytest.raises(ValueError) as caught:
        failed.result()
    assert caught.value is error is failed.exception(0)


def test_all_threads_see_the_same_result(ex: Executor) -> None:
    for function, args in ((list, ("abc",)), (make_large, ())):
        future = ex.submit(function, *args)
        concurrent.futures.wait([future], LIMIT_S)
        seen: list[Any] = []
        in_threads([lambda: seen.append(future.result())] * 6)
        assert len(seen) == 6
        assert all(value is seen[0] for value in seen)


def test_what_result_raises_keeps_no_frame(threads: Executor) -> None:
    def ask(future: Future) -> weakref.ref[Thing]:
        local = Thing()
        with pytest.raises(ValueError):
            future.result()
        return weakref.ref(local)

    future = threads.submit(fail, "doh")
    reference = ask(future)
    del future
    gc.collect()
    assert reference() is None


def test_an_error_reaches_a_task_that_comes_after_its_futures_were_told(threads: Executor) -> None:
    first = threads.submit(fail, "doh")
    first.exception(LIMIT_S)
    second = threads.submit(str, first)
    assert repr(second.exception(LIMIT_S)) == "ValueError('doh')"
    del first
    third = threads.submit(str, second)
    del second
    assert repr(third.exception(LIMIT_S)) == "ValueError('doh')"


def test_a_pure_task_that_failed_runs_again_when_its_future_is_gone(threads: Executor) -> None:
    pure = threads.with_options(pure=True)
    for _ in range(3):
        with pytest.raises(ValueError, match="doh"):
            pure.submit(fail, "doh").result(LIMIT_S)
        gc.collect()


def test_a_large_result_stays_until_it_is_asked_for(processes: Executor) -> None:
    future = processes.submit(make_large)
    assert future.exception(LIMIT_S) is None
    assert future.done() and not future._done_here()
    assert len(future.result(LIMIT_S)) == LARGE
    assert future._done_here()


def test_ctrl_c_while_a_result_is_fetched_is_not_its_error() -> None:
    class Interrupted(NoClient):
        def fetch(self, future: Future, timeout: float | None) -> Any:
            self.told.append(("fetch", timeout))
            if len(self.told) == 1:
                raise KeyboardInterrupt
            return "result"

    future = Future("task", Interrupted())
    future._deliver_remote([("worker-0", "unix:///nowhere")], LARGE)
    with pytest.raises(KeyboardInterrupt):
        future.result()
    assert future.done() and not future._done_here()
    assert future.result() == "result"
    assert future.exception() is None


def test_ctrl_c_while_a_result_is_unpickled_is_not_its_error() -> None:
    class Interrupted(ObjectCodec):
        errors: list[BaseException]

        def load(self, payload: Any) -> Any:
            if self.errors:
                raise self.errors.pop()
            return payload

    def new(error: BaseException) -> Future:
        client = NoClient()
        client.codec = Interrupted()
        client.codec.errors = [error]
        future = Future("task", client)
        future._deliver_result("result")
        return future

    future = new(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        future.result()
    assert future.result() == "result"
    future = new(SystemExit())  # of the result itself
    for _ in range(2):
        with pytest.raises(DeserializationError):
            future.result()


def test_repr() -> None:
    future = Future("sum-main-1", NoClient())
    assert repr(future) == "<Future sum-main-1 pending>"
    future._deliver_running()
    assert repr(future) == "<Future sum-main-1 running>"
    future._deliver_result(1)
    assert repr(future) == "<Future sum-main-1 finished>"
    other = Future("sum-main-2", NoClient())
    other.cancel()
    assert repr(other) == "<Future sum-main-2 cancelled>"


def test_users_may_make_futures_as_the_standard_librarys() -> None:
    future = Future()
    assert future.set_running_or_notify_cancel()
    future.set_result(1)
    assert future.result() == 1
    with pytest.raises(InvalidStateError):
        future.set_result(2)


@pytest.mark.parametrize("key", [7, b"x", None, ("a", 1)])
def test_what_is_no_key_is_refused(ex: Executor, key: Any) -> None:
    """It would reach the scheduler in a message with what others submit."""
    with pytest.raises(TypeError, match="key must be a str"):
        ex.future_of_key(key)
    with pytest.raises(TypeError, match="future of an Executor, or its key"):
        ex.explain(key)
    assert ex.submit(abs, -1).result(LIMIT_S) == 1


# ---------------------------------------------------------------- cancelling


def test_cancel_pending(ex: Executor, gate: Gate) -> None:
    ex.submit(gate.hold)
    gate.wait_come()
    called: list[Future] = []
    future = ex.submit(int)
    future.add_done_callback(called.append)
    assert future.cancel() and future.cancel()
    assert future.cancelled() and future.done() and not future.running()
    assert called == [future]
    for ask in (future.result, future.exception):
        with pytest.raises(CancelledError):
            ask(0)
    gate.open(1)
    assert ex.submit(int).result(LIMIT_S) == 0
    assert future.cancelled() and called == [future]


def test_cancel_running_and_done(ex: Executor, gate: Gate) -> None:
    future = ex.submit(gate.hold, 1)
    gate.wait_come()
    wait_until(future.running)
    assert not future.cancel()
    assert future.running()
    gate.open(1)
    assert future.result(LIMIT_S) == 1
    assert not future.cancel()
    assert future.result() == 1 and not future.cancelled()


def test_cancelling_what_a_task_needs_cancels_the_task(ex: Executor, gate: Gate) -> None:
    ex.submit(gate.hold)
    gate.wait_come()
    first = ex.submit(int)
    second = ex.submit(str, first)
    assert first.cancel()
    done = threading.Event()
    second.add_done_callback(lambda future: done.set())
    assert done.wait(LIMIT_S)
    assert second.cancelled()
    gate.open(1)


def test_threads_cannot_be_stopped(threads: Executor, gate: Gate) -> None:
    future = threads.submit(gate.hold, 1)
    gate.wait_come()
    waiting = [threads.submit(int) for _ in range(3)]
    with pytest.raises(NotSupported, match="runs in a thread, which cannot be stopped"):
        future.cancel(force=True)
    assert waiting[0].cancel(force=True) and waiting[0].cancelled()
    with pytest.raises(NotSupported, match=r"^2 tasks cancelled, but '.*hold.*' cannot be stopped"):
        threads.cancel_all(force=True)
    assert all(other.cancelled() for other in waiting)
    gate.open(1)
    assert future.result(LIMIT_S) == 1
    assert not future.cancel(force=True)
    assert threads.cancel_all(force=True) == 0


@pytest.mark.parametrize("backend", ["threads", "sync"])
def test_what_explain_says_at_the_end(backend: str) -> None:
    with Executor(1, backend=backend) as ex:
        good, bad = ex.with_options(key="good").submit(int), ex.with_options(key="bad").submit(divmod, 1, 0)
        assert good.exception() is None and isinstance(bad.exception(), ZeroDivisionError)
        assert ex.explain(good) == ex.explain("good") == "'good' has finished"
        assert ex.explain(bad).startswith("'bad' has failed: ZeroDivisionError: ")
        assert ex.explain("no").startswith("'no' is not known: it never came here, was cancelled, or has ended")


def test_what_sync_returns_is_done() -> None:
    with Executor(backend="sync") as ex:
        assert not ex.submit(int).cancel(force=True) and ex.cancel_all(force=True) == 0


def test_force_stops_a_running_task(gate: Gate) -> None:
    with Executor(1, backend="processes") as ex:
        future = ex.submit(gate.hold)
        after = ex.submit(pow, 2, 8)
        gate.wait_come()
        wait_until(future.running)
        assert future.cancel(force=True)
        with pytest.raises(CancelledError):
            future.result(0)
        assert after.result(LIMIT_S) == 256


def hold_and_fail(gate: Gate) -> None:
    gate.hold()
    raise ValueError("the next try would come much later")


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_task_is_pending_between_two_tries(backend: str, gate: Gate) -> None:
    with Executor(1, backend=backend) as ex:
        future = ex.with_options(retries=1, backoff=300).submit(hold_and_fail, gate)
        gate.wait_come()
        wait_until(future.running)
        gate.open(1)
        wait_until(lambda: not future.running())
        assert not future.done() and future.cancel() and future.cancelled()


# ---------------------------------------------------------------- callbacks


@pytest.mark.parametrize(
    ("function", "args", "size"), [(bytes, (3,), 3), (make_large, (), LARGE)], ids=["small", "large"]
)
@pytest.mark.parametrize("done_before", [False, True])
def test_a_callback_is_called_once_the_result_is_here(
    ex: Executor,
    gate: Gate,
    function: Callable[..., bytes],
    args: tuple[Any, ...],
    size: int,
    done_before: bool,
) -> None:
    ex.submit(gate.hold)
    gate.wait_come()
    future = ex.submit(function, *args)
    if done_before:
        gate.open(1)
        concurrent.futures.wait([future], LIMIT_S)
    seen: list[int] = []
    called = threading.Event()

    def callback(done: Future) -> None:
        assert done is future
        seen.append(len(done.result(0)))
        called.set()

    future.add_done_callback(callback)
    if not done_before:
        assert not called.is_set()
        gate.open(1)
    assert called.wait(LIMIT_S)
    ex.submit(int).result(LIMIT_S)
    assert seen == [size]


def test_callbacks_are_called_in_order_and_an_error_in_one_is_logged(
    ex: Executor, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    future = ex.submit(gate.hold, ValueError("doh"))
    seen: list[str] = []
    called = threading.Event()
    future.add_done_callback(lambda done: seen.append(type(done.exception(0)).__name__))
    future.add_done_callback(lambda done: fail("in a callback"))
    future.add_done_callback(lambda done: seen.append("last"))
    future.add_done_callback(lambda done: called.set())
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        gate.open(1)
        assert called.wait(LIMIT_S)
        future.add_done_callback(lambda done: fail("in a late one"))  # here and now
    assert seen == ["ValueError", "last"]
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]] == [
        ("in a callback",),
        ("in a late one",),
    ]


def test_a_callback_on_what_is_done_is_called_in_this_thread(threads: Executor) -> None:
    future = threads.submit(int)
    future.result()
    seen: list[threading.Thread] = []
    future.add_done_callback(lambda done: seen.append(threading.current_thread()))
    assert seen == [threading.current_thread()]


def test_callbacks_may_submit_and_ask_for_results(ex: Executor) -> None:
    last: concurrent.futures.Future[int] = concurrent.futures.Future()

    def first_done(first: Future) -> None:
        second = ex.submit(len, first.result(0))
        second.add_done_callback(lambda done: last.set_result(done.result(0)))

    ex.submit(make_large).add_done_callback(first_done)
    assert last.result(LIMIT_S) == LARGE


# ---------------------------------------------------------------- concurrent.futures.wait


def test_wait_for_all_the_first_and_the_first_error(ex: Executor, gate: Gate) -> None:
    futures = [ex.submit(gate.hold, value) for value in (1, ValueError("doh"), 3)]
    wait = concurrent.futures.wait
    assert wait(futures, timeout=0) == (set(), set(futures))
    gate.open(1)
    assert wait(futures, LIMIT_S, concurrent.futures.FIRST_COMPLETED) == ({futures[0]}, set(futures[1:]))
    gate.open(1)
    assert wait(futures, LIMIT_S, concurrent.futures.FIRST_EXCEPTION) == (set(futures[:2]), {futures[2]})
    gate.open(1)
    assert wait(futures, LIMIT_S, concurrent.futures.ALL_COMPLETED) == (set(futures), set())


def test_wait_wakes_for_a_cancelled_one(ex: Executor, gate: Gate) -> None:
    running, pending = ex.submit(gate.hold), ex.submit(int)
    gate.wait_come()
    canceller = threading.Thread(target=pending.cancel)
    canceller.start()
    done, not_done = concurrent.futures.wait([running, pending], LIMIT_S, concurrent.futures.FIRST_COMPLETED)
    canceller.join()
    assert (done, not_done) == ({pending}, {running})
    gate.open(1)
    assert running.result(LIMIT_S) is None


def test_wait_for_ours_and_the_standard_librarys(ex: Executor, gate: Gate) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        theirs, ours = pool.submit(gate.hold, 1), ex.submit(gate.hold, 2)
        by_hand: concurrent.futures.Future[int] = concurrent.futures.Future()
        everything = [theirs, ours, by_hand]
        gate.wait_come(2)
        assert concurrent.futures.wait(everything, 0).done == set()
        gate.open(2)
        assert concurrent.futures.wait([theirs, ours], LIMIT_S).not_done == set()
        assert concurrent.futures.wait(everything, 0).not_done == {by_hand}
        by_hand.set_result(3)
        assert set(concurrent.futures.as_completed(everything, LIMIT_S)) == set(everything)
        assert [future.result(0) for future in everything] == [1, 2, 3]


# ---------------------------------------------------------------- asyncio


def test_await(ex: Executor) -> None:
    async def main() -> None:
        assert await ex.submit(pow, 2, 3) == 8
        assert len(await ex.submit(make_large)) == LARGE
        assert await asyncio.gather(*(ex.submit(abs, -i) for i in range(5))) == [0, 1, 2, 3, 4]
        done = ex.submit(pow, 2, 4)
        concurrent.futures.wait([done], LIMIT_S)
        assert await done == 16
        assert await asyncio.wrap_future(done) == 16
        with pytest.raises(ValueError, match="doh"):
            await ex.submit(fail, "doh")

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_asyncio_reads_all_at_once_from_python_3_15_on(ex: Executor, gate: Gate) -> None:
    result, error, large = ex.submit(pow, 2, 3), ex.submit(fail, "doh"), ex.submit(make_large)
    concurrent.futures.wait([result, error, large], LIMIT_S)
    held, cancelled = ex.submit(gate.hold), ex.submit(int)
    cancelled.cancel()
    assert result._get_snapshot() == (True, False, 8, None)
    assert error._get_snapshot() == (True, False, None, error.exception())
    assert large._get_snapshot() == (True, False, bytes(LARGE), None)
    assert held._get_snapshot() == (False, False, None, None)
    assert cancelled._get_snapshot() == (True, True, None, None)


def test_await_and_cancel(ex: Executor, gate: Gate) -> None:
    async def main() -> None:
        ex.submit(gate.hold)
        gate.wait_come()
        future = ex.submit(int)

        async def wait_for_it() -> Any:
            return await future

        task = asyncio.create_task(wait_for_it())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.cancelled()  # as with asyncio.wrap_future

        other = ex.submit(int)
        waiting = asyncio.create_task(wait_for_it_of(other))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.open(1)

    async def wait_for_it_of(future: Future) -> Any:
        return await future

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_run_in_executor(ex: Executor) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(ex, pow, 2, 5) == 32
        with pytest.raises(ValueError, match="doh"):
            await loop.run_in_executor(ex, fail, "doh")

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


def test_the_default_executor_of_a_loop() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2, thread_name_prefix="ours"))
        assert await loop.run_in_executor(None, pow, 2, 6) == 64
        current = await asyncio.to_thread(threading.current_thread)
        return current.name

    assert asyncio.run(main()).startswith("ours")  # run() also shuts the executor down


# ---------------------------------------------------------------- the end of an executor


def test_results_are_here_after_the_end() -> None:
    called: list[int] = []
    for backend in ("threads", "processes"):
        with Executor(1, backend=backend) as ex:
            small, large, failed = ex.submit(pow, 2, 3), ex.submit(make_large), ex.submit(fail, "doh")
        assert (small.result(0), len(large.result(0))) == (8, LARGE)
        assert str(failed.exception(0)) == "doh"
        large.add_done_callback(lambda future: called.append(len(future.result(0))))
    assert called == [LARGE, LARGE]


def test_what_the_end_has_lost_says_so_to_everybody() -> None:
    with Executor(1, backend="processes") as ex:
        kept = ex.scatter(bytes(LARGE))
        concurrent.futures.wait([kept], LIMIT_S)
    errors: list[BaseException] = []

    def callback(future: Future) -> None:
        try:
            future.result(0)
        except BaseException as error:
            errors.append(error)

    kept.add_done_callback(callback)
    with pytest.raises(DataLost):
        kept.result(LIMIT_S)
    assert [type(error) for error in errors] == [DataLost]


@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_release(processes: Executor, read_before: bool, large: bool) -> None:
    future = processes.submit(make_large) if large else processes.submit(bytes, 3)
    concurrent.futures.wait([future], LIMIT_S)
    if read_before:
        future.result(LIMIT_S)
    future.release()
    future.release()
    assert future.done()
    if large and not read_before:  # it was never here
        with pytest.raises(DataLost, match="released"):
            future.result(0)
        assert type(future.exception(0)) is DataLost
    else:
        assert len(future.result(0)) == (LARGE if large else 3)


# ---------------------------------------------------------------- keeping nothing


def test_dropping_a_future_drops_the_result_and_the_arguments(threads: Executor) -> None:
    kept: list[weakref.ref[Thing]] = []

    def make(argument: Thing) -> Thing:
        kept.append(weakref.ref(argument))
        result = Thing()
        kept.append(weakref.ref(result))
        return result

    future = threads.submit(make, Thing())
    future.add_done_callback(lambda done: None)
    assert isinstance(future.result(), Thing)
    threads.submit(int).result()  # by now the worker has let go of the first task
    argument, result = kept
    wait_until(lambda: argument() is None)
    assert result() is not None
    del future
    wait_until(lambda: result() is None)


def test_a_future_is_in_no_cycle(threads: Executor) -> None:
    class Callback(Thing):
        def __call__(self, future: Future) -> None:
            """Nothing."""

    callback = Callback()
    future = threads.submit(int)
    future.add_done_callback(callback)
    future.result()
    threads.submit(int).result()
    references = [weakref.ref(callback), weakref.ref(future)]
    del callback
    wait_until(lambda: references[0]() is None, "a callback that was called is kept")
    gc.disable()
    try:
        del future
        wait_until(lambda: references[1]() is None)
    finally:
        gc.enable()


def test_a_future_that_is_done_before_anybody_waits_has_no_condition(threads: Executor) -> None:
    futures = [threads.submit(abs, -i) for i in range(10)]
    threads.submit(int).result()  # one thread: all others are done
    assert [future.result() for future in futures] == list(range(10))
    assert [future._lazy_condition for future in futures] == [None] * 10


def test_cancelling_what_nobody_waits_for_makes_no_condition(ex: Executor, gate: Gate) -> None:
    """A condition is most of a future's memory, and programs cancel what is queued by the hundred thousand."""
    ex.submit(gate.hold)
    gate.wait_come()
    futures = [ex.submit(abs, -i) for i in range(10)]
    assert all([future.cancel() for future in futures])
    if not futures[0]._number:  # a task of this process is changed under its condition
        assert [future._lazy_condition for future in futures] == [None] * 10
    called: list[Future] = []
    futures[0].add_done_callback(called.append)
    assert called == [futures[0]] and concurrent.futures.wait(futures, 0).done == set(futures)
    gate.open(1)


# ---------------------------------------------------------------- many threads at one future


def in_threads(functions: list[Callable[[], object]]) -> None:
    """Run all at once, each in a thread, and raise what one of them raised."""
    barrier = threading.Barrier(len(functions))
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            barrier.wait(LIMIT_S)
            function()
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(LIMIT_S)
        assert not thread.is_alive(), "somebody waits for ever"
    if errors:
        raise errors[0]


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("ending", ["result", "error", "fail_here", "cancelled", "value", "failure"])
def test_nobody_misses_the_end(fast_switching: None, ending: str) -> None:
    """The condition is made by whoever comes first, while the result arrives."""
    for _ in range(60):
        future = new_future()
        future._number = int(ending in ("value", "failure"))  # a task of this process, which no lock is taken for
        called: list[Any] = []
        waited: list[Any] = []
        cancelled: list[bool] = []
        deliver = {
            "result": lambda: future._deliver_result(1),
            "error": lambda: future._deliver_error(ValueError()),
            "fail_here": lambda: future._fail_here(ValueError()),
            "value": lambda: future._deliver_value(1),
            "failure": lambda: future._deliver_failure(ValueError()),
            "cancelled": future._deliver_cancelled,
        }[ending]

        def ask() -> None:
            try:
                waited.append(future.result(LIMIT_S))
            except (ValueError, CancelledError) as error:
                waited.append(type(error))

        in_threads(
            [
                lambda: (future._deliver_running(), deliver()),
                lambda: future.add_done_callback(called.append),
                lambda: waited.append(len(concurrent.futures.wait([future], LIMIT_S).done)),
                lambda: waited.append(len(list(concurrent.futures.as_completed([future], LIMIT_S)))),
                lambda: cancelled.append(future.cancel()),
                ask,
            ]
        )
        was_cancelled = cancelled[0] or ending == "cancelled"
        outcome = CancelledError if was_cancelled else 1 if ending in ("result", "value") else ValueError
        assert called == [future]
        assert future.cancelled() == was_cancelled
        assert sorted(map(str, waited)) == sorted(map(str, [1, 1, outcome]))


class FutureMachine(RuleBasedStateMachine):
    """Ours, and the standard library's as its oracle, through the same events."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = new_future()
        self.theirs: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.calls: list[tuple[list[Any], list[Any]]] = []

    def _same(self, ask: Callable[[Any], Any]) -> Any:
        answers = []
        for future in (self.ours, self.theirs):
            try:
                answers.append(ask(future))
            except (CancelledError, TimeoutError, ZeroDivisionError) as error:
                answers.append(type(error))
        assert answers[0] == answers[1]
        return answers[0]

    def _pending_or_running(self) -> bool:
        return not self.theirs.done()

    @rule()
    def look(self) -> None:
        self._same(lambda future: (future.done(), future.running(), future.cancelled()))
        self._same(lambda future: future.result(timeout=0))
        self._same(lambda future: type(future.exception(timeout=0)))
        self._same(lambda future: len(concurrent.futures.wait([future], timeout=0).done))
        for ours, theirs in self.calls:
            assert len(ours) == len(theirs)

    @rule()
    def add_callback(self) -> None:
        ours: list[Any] = []
        theirs: list[Any] = []
        self.calls.append((ours, theirs))
        self.ours.add_done_callback(ours.append)
        self.theirs.add_done_callback(theirs.append)

    @rule(force=st.booleans())
    def cancel(self, force: bool) -> None:
        if force and self.theirs.running():
            return  # theirs cannot
        was_done = self.theirs.done()
        if self._same(lambda future: future.cancel(force) if future is self.ours else future.cancel()):
            assert self.ours._client.told == [("cancelled", force)] or was_done
            if not was_done:
                self.theirs.set_running_or_notify_cancel()

    @precondition(lambda self: not self.theirs.running() and self._pending_or_running())
    @rule()
    def runs(self) -> None:
        self.ours._deliver_running()
        self.theirs.set_running_or_notify_cancel()

    @precondition(_pending_or_running)
    @rule(value=st.integers())
    def ends(self, value: int) -> None:
        self.ours._deliver_result(value)
        self.theirs.set_result(value)

    @precondition(_pending_or_running)
    @rule(here=st.booleans())
    def fails(self, here: bool) -> None:
        error = ZeroDivisionError()
        if here:
            self.ours._fail_here(error)
        else:
            self.ours._deliver_error(error)
        self.theirs.set_exception(error)

    @precondition(lambda self: self.theirs.done())
    @rule()
    def late_news(self) -> None:
        """What comes after the end changes nothing that was seen."""
        self.look()
        self.ours._deliver_running()
        self.ours._deliver_cancelled()
        self.look()


TestFutureMachine = FutureMachine.TestCase
TestFutureMachine.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
