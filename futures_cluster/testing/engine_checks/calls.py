"""Checks of single calls: submitting, the states of futures, errors, and ``map``.

Covers: calls that have nothing to do with each other. Does not cover: futures as arguments, options.
"""

from __future__ import annotations

import concurrent.futures
import functools
import io
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from futures_cluster.as_completed import as_completed
from futures_cluster.errors import CancelledError, DeserializationError, RemoteError
from futures_cluster.testing.engine_checks import tasks
from futures_cluster.testing.engine_checks.harness import TIMEOUT_S, MakeExecutor, check, raises, wait_until_running
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

# ---------------------------------------------------------------- submit


@check()
def check_submit_keywords(make_executor: MakeExecutor) -> None:
    """All keywords reach the function, whatever their names."""
    names = ("self", "fn", "key", "retries", "timeout", "priority", "resolve", "pure", "args", "kwargs", "executor")
    kwargs = {name: number for number, name in enumerate(sorted(names))}
    with make_executor() as ex:
        assert ex.submit(tasks.everything, 1, **kwargs).result(TIMEOUT_S) == ((1,), kwargs)
        assert ex.with_options(retries=1).submit(tasks.everything, 1, **kwargs).result(TIMEOUT_S) == ((1,), kwargs)
        raises(TypeError, ex.submit)


@check()
def check_submit_callables(make_executor: MakeExecutor) -> None:
    """Functions, lambdas, closures, classes, methods and partials can be called."""
    offset = 10

    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    adder = tasks.Adder(1)
    with make_executor() as ex:
        calls: list[Any] = [
            (call, "c") for call in (len, tasks.same, lambda x: x, lambda x: offset, tasks.Adder, Local)
        ]
        calls += [
            ("abc".find, "c"),
            (dict.fromkeys, "c"),
            (adder, 3),
            (adder.method, 3),
            (functools.partial(pow, 2), 3),
        ]
        for call, argument in calls:
            result = ex.submit(call, argument).result(TIMEOUT_S)
            expected = call(argument)
            assert result == expected or result.__dict__ == expected.__dict__
        assert type(ex.submit(Local, 1).result(TIMEOUT_S)) is Local


@check()
def check_states(make_executor: MakeExecutor) -> None:
    """A future that is done says so, and wakes all waiting threads, as in the stdlib."""
    with make_executor() as ex:
        future = ex.submit(pow, 2, 5)
        assert isinstance(future, concurrent.futures.Future)
        assert concurrent.futures.wait([future], TIMEOUT_S).done == {future}
        assert list(concurrent.futures.as_completed([future], TIMEOUT_S)) == [future]
        assert future.done() and not future.running() and not future.cancelled() and not future.cancel()
        assert future.exception() is None and future.result() == 32
        called: list[Any] = []
        future.add_done_callback(called.append)
        assert called == [future]


@check(traits=("concurrent",))
def check_running(make_executor: MakeExecutor) -> None:
    """A future is pending, running, finished; a running one is not cancelled."""
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        future = ex.submit(tasks.begin_and_wait, folder, "begun", "go", 5)
        called: list[Any] = []
        future.add_done_callback(called.append)
        folder.wait("begun")
        raises(TimeoutError, future.result, 0.01)
        raises(TimeoutError, future.exception, 0.01)
        wait_until_running(future)
        assert not future.done() and not future.cancel() and called == []
        folder.set("go")
        assert future.result(TIMEOUT_S) == 5
        ex.shutdown()
        assert called == [future]


@check(traits=("concurrent",))
def check_cancel(make_executor: MakeExecutor) -> None:
    """What has not begun can be cancelled with its dependents; others go on."""
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        first = ex.submit(tasks.begin_and_wait, folder, "begun", "go", 1)
        folder.wait("begun")
        called: list[Any] = []
        others = [ex.submit(tasks.log_line, folder, i) for i in range(5)]
        others[2].add_done_callback(called.append)
        needs = ex.submit(tasks.same, others[2])
        assert others[2].cancel() and others[2].cancel()
        assert others[2].cancelled() and others[2].done() and called == [others[2]]
        raises(CancelledError, others[2].result)
        raises(CancelledError, others[2].exception)
        # before "go": otherwise the worker may be faster than the news of it
        raises(CancelledError, needs.result, TIMEOUT_S)
        folder.set("go")
        assert first.result(TIMEOUT_S) == 1
        assert [other.result(TIMEOUT_S) for other in others if other is not others[2]] == [0, 1, 3, 4]
        assert not first.cancel()


@check(traits=("concurrent",))
def check_cancel_everything(make_executor: MakeExecutor) -> None:
    """Cancelling all, then shutting down, returns, also when nothing has run."""
    for count in (1, 200):
        ex = make_executor(max_workers=1)
        futures = [ex.submit(time.sleep, 0.001) for _ in range(count)]
        for future in reversed(futures):
            future.cancel()
        ex.shutdown()
        assert all(future.done() for future in futures)


@check("stop", traits=("concurrent",))
def check_cancel_force(make_executor: MakeExecutor) -> None:
    """``cancel(force=True)`` stops a running task, and others go on.

    Tasks that do not run are treated as by ``cancel()``.
    """
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        done = ex.submit(tasks.same, 0)
        assert done.result(TIMEOUT_S) == 0 and not done.cancel(force=True)
        try:
            future = ex.submit(tasks.begin_and_wait, folder, "begun", "never")
            wait_until_running(future)
            waiting, unwanted = ex.submit(tasks.same, 1), ex.submit(tasks.same, 2)
            assert unwanted.cancel(force=True) and unwanted.cancel(force=True) and unwanted.cancelled()
            assert future.cancel(force=True)
            raises(CancelledError, future.result)
            assert waiting.result(TIMEOUT_S) == 1
        finally:
            folder.set("never")


@check(traits=("isolated",))
def check_arguments_are_taken_at_submit(make_executor: MakeExecutor) -> None:
    """What the caller does to an argument afterwards is not seen."""
    with make_executor(max_workers=1) as ex:
        argument = [1, [2]]
        futures = []
        for number in range(50):
            argument[0] = number
            futures.append(ex.submit(tasks.same, argument))
        argument.clear()
        assert [future.result(TIMEOUT_S) for future in futures] == [[number, [2]] for number in range(50)]


@check()
def check_await(make_executor: MakeExecutor) -> None:
    """Futures can be awaited."""
    import asyncio

    async def main() -> list[Any]:
        return [await ex.submit(tasks.same, 1), *await asyncio.gather(*(ex.submit(tasks.same, i) for i in range(3)))]

    with make_executor() as ex:
        assert asyncio.run(main()) == [1, 0, 1, 2]


# ---------------------------------------------------------------- errors


@check()
def check_errors(make_executor: MakeExecutor) -> None:
    """An exception arrives with class, arguments, cause, and remote frames."""
    with make_executor() as ex:
        future = ex.submit(tasks.fail_because)
        error = raises(KeyError, future.result, TIMEOUT_S)
        assert error.args == ("the effect",) and isinstance(error.__cause__, ValueError)
        assert future.exception() is error
        frames = traceback.extract_tb(error.__traceback__)
        assert [frame.name for frame in frames][-1] == "fail_because"
        assert (frames[-1].filename, frames[-1].line) == (tasks.__file__, 'raise KeyError("the effect") from error')
        assert traceback.extract_tb(error.__cause__.__traceback__)[-1].name == "fail"
        own = raises(tasks.OwnInit, lambda: ex.submit(tasks.fail_own_init).result(TIMEOUT_S))
        assert own.args == ("7: why",) and own.code == 7
        raises(SystemExit, lambda: ex.submit(sys.exit, 3).result(TIMEOUT_S))
        assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1


@check()
def check_errors_of_inputs(make_executor: MakeExecutor) -> None:
    """A task whose input failed fails with the same error, and does not run."""
    with SharedFolder() as folder, make_executor() as ex:
        bad = ex.submit(tasks.fail)
        needs = ex.submit(tasks.log_line, folder, [bad])
        raises(ValueError, needs.result, TIMEOUT_S)
        raises(ValueError, lambda: ex.submit(tasks.same, {"needs": needs}).result(TIMEOUT_S))
        assert folder.log_lines() == []


@check(traits=("isolated",))
def check_what_does_not_pickle(make_executor: MakeExecutor) -> None:
    """What does not pickle is an error on the right future, and on no other."""
    lock = threading.Lock()
    with make_executor() as ex:
        good = [ex.submit(tasks.same, i) for i in range(3)]
        for call, kinds in (
            (lambda: ex.submit(lock.acquire), (TypeError,)),
            (lambda: ex.submit(tasks.same, lock), (TypeError,)),
            (lambda: ex.submit(tasks.same, x=[lock]), (TypeError,)),
            (lambda: ex.submit(tasks.unpicklable), (TypeError,)),
            (lambda: ex.submit(tasks.fail_unpicklably), (RemoteError,)),
            (lambda: ex.submit(tasks.same, tasks.NotOnArrival()), (DeserializationError,)),
            (lambda: ex.submit(tasks.NotOnArrival), (DeserializationError,)),
        ):
            bad = call()
            good.append(ex.submit(tasks.same, len(good)))
            error = bad.exception(TIMEOUT_S)
            assert isinstance(error, kinds), (error, kinds)
            assert ex.submit(tasks.same, [bad]).exception(TIMEOUT_S) is not None
        assert [future.result(TIMEOUT_S) for future in good] == list(range(len(good)))
        error = ex.submit(tasks.fail_unpicklably).exception(TIMEOUT_S)
        assert "with a lock" in str(error) and "fail_unpicklably" in str(error)


# ---------------------------------------------------------------- map


@check()
def check_map(make_executor: MakeExecutor) -> None:
    """Results in order, of as many arguments as the shortest iterable has."""
    with make_executor() as ex:
        assert list(ex.map(pow, range(10), itertools.repeat(2))) == [i**2 for i in range(10)]
        assert list(ex.map(tasks.same, [])) == []
        results = ex.map(tasks.same, range(3))
        assert iter(results) is results and next(results) == 0 and list(results) == [1, 2]
        raises(StopIteration, next, results)
        raises(ValueError, ex.map, tasks.same, [1], chunksize=0)
        raises(ValueError, ex.map, tasks.same, [1], buffersize=0)
        raises(TypeError, ex.map, tasks.same, [1], buffersize=1.5)


@check()
def check_map_chunksize(make_executor: MakeExecutor) -> None:
    """``chunksize`` calls are one task; nothing else is different."""
    with make_executor() as ex:
        for chunksize in (1, 2, 7, 10, 100):
            assert list(ex.map(pow, range(10), itertools.repeat(2), chunksize=chunksize)) == [i**2 for i in range(10)]
        results = ex.map(tasks.same, range(10), chunksize=3)
        raises(ValueError, lambda: results.futures)
        inverses = ex.map(lambda x: 1 / x, [1, 2, 0, 4], chunksize=2)
        assert next(inverses) == 1 and next(inverses) == 0.5
        raises(ZeroDivisionError, next, inverses)


@check()
def check_map_error(make_executor: MakeExecutor) -> None:
    """The error of a call is raised in its place, and ends the iterator."""
    with make_executor() as ex:
        inverses = ex.map(lambda x: 1 / x, [1, 0, 2])
        assert next(inverses) == 1
        raises(ZeroDivisionError, next, inverses)
        raises(StopIteration, next, inverses)


@check(traits=("concurrent",))
def check_map_timeout(make_executor: MakeExecutor) -> None:
    """Each result must be there within a time from the call of map."""
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        results = ex.map(folder.wait, ["there", "not there"], timeout=1.0)
        folder.set("there")
        concurrent.futures.wait(results.futures[:1], TIMEOUT_S)  # a worker may take longer than that to start
        assert next(results) is None
        raises(TimeoutError, next, results)
        folder.set("not there")


@check()
def check_map_futures(make_executor: MakeExecutor) -> None:
    """The iterator lists the futures whose results were not taken."""
    with make_executor() as ex:
        results = ex.map(tasks.same, range(4))
        futures = results.futures
        assert sorted(future.result() for future in as_completed(futures)) == [0, 1, 2, 3]
        assert next(results) == 0 and results.futures == futures[1:]
        assert list(results) == [1, 2, 3] and results.futures == []


@check()
def check_map_buffersize(make_executor: MakeExecutor) -> None:
    """The iterables, which may be endless, are read no further than the buffer.

    An error of theirs ends the iterator.
    """
    read = []

    def failing() -> Iterator[int]:
        yield from range(3)
        raise LookupError

    def endless() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    with make_executor() as ex:
        results = ex.map(tasks.same, failing(), buffersize=2)
        assert next(results) == 0
        raises(LookupError, next, results)
        raises(StopIteration, next, results)
        results = ex.map(tasks.same, endless(), buffersize=3)
        assert len(read) == 3
        for taken in range(1, 20):
            assert next(results) == taken - 1
            assert len(read) == 3 + taken
        results.close()
        assert next(results, "end") == "end" and len(read) == 22
        read.clear()
        chunks = ex.map(tasks.same, endless(), buffersize=2, chunksize=5)
        assert list(itertools.islice(chunks, 12)) == list(range(12))
        assert len(read) <= 5 * (3 + 2)


@check(traits=("concurrent",))
def check_map_closed(make_executor: MakeExecutor) -> None:
    """Closing or dropping an iterator cancels what has not begun."""
    ends: list[Callable[[Any], Any]] = [lambda results: results.close(), lambda results: None]
    for end in ends:
        with SharedFolder() as folder, make_executor(max_workers=1) as ex:
            folder.set("go-0")
            results = ex.map(tasks.begin_and_wait, [folder] * 20, range(20), [f"go-{i}" for i in range(20)])
            futures = results.futures
            assert next(results) is None
            folder.wait(1)
            end(results)
            del results
            assert all(future.cancelled() for future in futures[2:])
            for number in range(1, 20):  # what was on its way to a worker may begin all the same
                folder.set(f"go-{number}")
            assert futures[1].cancelled() or futures[1].result(TIMEOUT_S) is None
            assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1


@check()
def check_progress(make_executor: MakeExecutor) -> None:
    """The bar counts what is submitted meanwhile, and only that."""
    out = io.StringIO()
    with make_executor() as ex:
        assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1
        with ex.progress(file=out) as progress:
            assert list(ex.map(tasks.same, range(7))) == list(range(7))
    assert (progress.done, progress.total) == (7, 7)
    assert "7 of 7 tasks" in out.getvalue()


@check()
def check_map_dropped_before_its_first_item(make_executor: MakeExecutor) -> None:
    """A caller of map that ignores the results gets all effects."""
    with SharedFolder() as folder, make_executor() as ex:
        ex.map(folder.set, range(50))
        ex.shutdown()
        assert sorted(map(int, folder.names())) == list(range(50))
