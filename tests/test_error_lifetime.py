"""What a failed future keeps alive, and what it shares with others: nothing.

Covers: that arguments and exceptions die with the last future, without the collector of cyclic garbage, however the
error was asked for; that futures which fail because of one task have exceptions of their own; that asking again makes
no traceback longer.
"""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gate import LIMIT_S, wait_until

from futures_cluster import Executor, as_completed
from futures_cluster.errors import BrokenExecutor, DeserializationError
from futures_cluster.future import Future


class Thing:
    """Can be referred to weakly."""


class Failure(ValueError):
    """Can be referred to weakly, as any exception of a class written in Python."""


class DoesNotPickle(Thing):
    def __reduce__(self) -> Any:
        local = [self]
        try:
            raise KeyError("inside")
        except KeyError as error:
            raise Failure("no pickle", len(local)) from error


class DoesNotUnpickle(Thing):
    def __reduce__(self) -> Any:
        return fail, (None,)


def fail(argument: object) -> None:
    raise Failure("doh")


def make_what_does_not_unpickle(argument: object) -> object:
    return DoesNotUnpickle()


def make_what_does_not_pickle(argument: object) -> object:
    return DoesNotPickle()


@pytest.fixture(scope="module", params=["sync", "threads", "processes"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with Executor(1, backend=request.param) as ex:
        ex.run(int)
        yield ex


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with Executor(1, backend="processes") as ex:
        ex.run(int)
        yield ex


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# ---------------------------------------------------------------- ways to ask for an error


def by_exception(ex: Executor, things: list[Thing]) -> BaseException | None:
    return ex.submit(fail, things[0]).exception()


def by_exception_with_the_future_in_a_variable(ex: Executor, things: list[Thing]) -> BaseException | None:
    future = ex.submit(fail, things[0])
    error = future.exception()
    assert type(error) is Failure
    return future.exception()


def by_result(ex: Executor, things: list[Thing]) -> BaseException | None:
    future = ex.submit(fail, things[0])
    for _ in range(2):
        try:
            future.result()
        except Failure as error:
            found = error
    del future  # the traceback has this frame, as the standard library's has
    try:
        return found
    finally:
        del found


def by_map(ex: Executor, things: list[Thing]) -> BaseException | None:
    results = ex.map(fail, things)
    try:
        next(results)
    except Failure as error:
        return error
    finally:
        del results
    return None


def by_as_completed(ex: Executor, things: list[Thing]) -> BaseException | None:
    try:
        next(as_completed([ex.submit(fail, things[0])], with_results=True))
    except Failure as error:
        return error
    return None


def by_next_batch(ex: Executor, things: list[Thing]) -> BaseException | None:
    try:
        as_completed([ex.submit(fail, things[0])], with_results=True).next_batch()
    except Failure as error:
        return error
    return None


def by_gather(ex: Executor, things: list[Thing]) -> BaseException | None:
    try:
        ex.gather({"some": [ex.submit(fail, thing) for thing in things]})
    except Failure as error:
        return error
    return None


def by_run(ex: Executor, things: list[Thing]) -> BaseException | None:
    try:
        ex.run(fail, things[0])
    except Failure as error:
        return error
    return None


def by_a_callback(ex: Executor, things: list[Thing]) -> BaseException | None:
    found: list[BaseException | None] = []
    future = ex.submit(fail, things[0])
    future.add_done_callback(lambda done: found.append(done.exception()))
    wait_until(lambda: bool(found))
    return found[0]


def by_await(ex: Executor, things: list[Thing]) -> BaseException | None:
    async def ask() -> BaseException | None:
        try:
            await ex.submit(fail, things[0])
        except Failure as error:
            return error
        return None

    return asyncio.run(ask())


def by_a_dependent(ex: Executor, things: list[Thing]) -> BaseException | None:
    first = ex.submit(fail, things[0])
    second = ex.submit(str, ex.submit(list, [first]))
    return second.exception()


def by_a_dependent_of_one_that_has_failed(ex: Executor, things: list[Thing]) -> BaseException | None:
    first = ex.submit(fail, things[0])
    assert first.exception() is not None
    return ex.submit(str, first).exception()


@pytest.mark.parametrize(
    "ask",
    [
        by_exception,
        by_exception_with_the_future_in_a_variable,
        by_result,
        by_map,
        by_as_completed,
        by_next_batch,
        by_gather,
        by_run,
        by_a_callback,
        by_a_dependent,
        by_a_dependent_of_one_that_has_failed,
    ],
)
@pytest.mark.usefixtures("no_collector")
def test_nothing_outlives_the_last_reference(
    ex: Executor, ask: Callable[[Executor, list[Thing]], BaseException | None]
) -> None:
    things = [Thing()]
    argument = weakref.ref(things[0])
    error = ask(ex, things)
    assert type(error) is Failure
    failure = weakref.ref(error)
    del things, error
    wait_until(lambda: failure() is None)
    wait_until(lambda: argument() is None)


def test_an_awaited_future_keeps_nothing(ex: Executor) -> None:
    """The frames of asyncio itself are in cycles."""
    things = [Thing()]
    argument = weakref.ref(things[0])
    assert type(by_await(ex, things)) is Failure
    del things
    gc.collect()
    wait_until(lambda: argument() is None)


# ---------------------------------------------------------------- errors of the way there and back


@pytest.mark.parametrize(
    ("function", "make_argument", "kind"),
    [
        (fail, DoesNotPickle, Failure),
        (fail, DoesNotUnpickle, DeserializationError),
        (make_what_does_not_pickle, Thing, Failure),
        (make_what_does_not_unpickle, Thing, DeserializationError),
    ],
)
@pytest.mark.usefixtures("no_collector")
def test_nothing_outlives_an_error_on_the_way(
    processes: Executor,
    function: Callable[[object], object],
    make_argument: Callable[[], Thing],
    kind: type[Exception],
) -> None:
    def ask() -> tuple[weakref.ref[Thing], weakref.ref[BaseException], weakref.ref[Future]]:
        argument = make_argument()
        future = processes.submit(function, argument)
        error = future.exception()
        assert type(error) is kind
        return weakref.ref(argument), weakref.ref(error), weakref.ref(future)

    for reference in ask():
        wait_until(lambda reference=reference: reference() is None)  # type: ignore[misc]


@pytest.mark.usefixtures("no_collector")
def test_an_argument_that_does_not_pickle_leaves_the_error_that_the_caller_handles_alone(processes: Executor) -> None:
    try:
        fail(None)
    except Failure as handled:
        before = handled.__traceback__
        assert before is not None and before.tb_next is not None
        error = processes.submit(fail, DoesNotPickle()).exception()
        assert handled.__traceback__ is before and before.tb_next.tb_frame.f_locals == {"argument": None}
    assert error is not None and error.__cause__ is not None
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "__reduce__"


# ---------------------------------------------------------------- one exception for each future


def length(error: BaseException | None) -> int:
    assert error is not None
    return len(traceback.extract_tb(error.__traceback__))


def raised_by(future: Future) -> BaseException:
    try:
        future.result(LIMIT_S)
    except Failure as error:
        return error
    raise AssertionError("nothing was raised")


def test_dependents_have_exceptions_of_their_own(ex: Executor) -> None:
    first = ex.submit(fail, 1)
    futures = [first, ex.submit(str, first), ex.submit(repr, [first])]
    futures += [ex.submit(str, futures[1])]
    errors = [future.exception(LIMIT_S) for future in futures]
    futures.append(ex.submit(str, futures[2]))  # of one that has failed already
    errors.append(futures[-1].exception(LIMIT_S))
    assert len({id(error) for error in errors}) == 5
    for error in errors:
        assert type(error) is Failure and error.args == ("doh",)
        assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["fail"]
    raised_by(first)
    assert [length(error) for error in errors] == [3, 1, 1, 1, 1]
    # What raising has added here is not part of the failure of a task that comes now.
    assert length(ex.submit(str, first).exception(LIMIT_S)) == 1


def test_causes_notes_and_state_are_those_of_the_first(ex: Executor) -> None:
    first = ex.submit(fail_with_all, 7)
    for future in (first, ex.submit(str, first)):
        error: Any = future.exception(LIMIT_S)
        assert error.code == 7 and error.__notes__ == ["a note"]
        assert type(error.__cause__) is KeyError and error.__suppress_context__


class Coded(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


def fail_with_all(code: int) -> None:
    error = Coded(code=code)
    error.add_note("a note")
    raise error from KeyError("cause")


def test_asking_again_makes_no_traceback_longer(ex: Executor) -> None:
    future = ex.submit(fail, 1)
    errors = [raised_by(future) for _ in range(5)]
    assert all(error is errors[0] for error in errors)
    assert [frame.name for frame in traceback.extract_tb(errors[0].__traceback__)] == ["raised_by", "result", "fail"]
    assert future.exception() is errors[0]


def test_futures_that_users_make_keep_the_traceback_they_are_given() -> None:
    future = Future()
    try:
        fail(None)
    except Failure as error:
        future.set_exception(error)
    for _ in range(3):
        names = [frame.name for frame in traceback.extract_tb(raised_by(future).__traceback__)]
        assert names[:2] == ["raised_by", "result"] and names[-1] == "fail"
        assert len(names) == 4


def break_it() -> None:
    raise Failure("no start")


@pytest.mark.parametrize("backend", ["sync", "threads", "processes"])
def test_a_broken_executor_raises_a_new_exception_each_time(backend: str) -> None:
    with Executor(1, backend=backend, initializer=break_it) as ex:
        found = []
        for _ in range(3):
            with pytest.raises(BrokenExecutor) as caught:
                ex.submit(int).result(LIMIT_S)
            found.append(caught.value)
        with pytest.raises(BrokenExecutor) as caught:
            ex.submit(int)
        with pytest.raises(BrokenExecutor) as again:
            ex.submit(int)
        assert caught.value is not again.value and str(caught.value) == str(again.value)
        assert length(caught.value) == length(again.value)


def test_what_was_unfinished_fails_with_exceptions_of_their_own(gate: Any) -> None:
    ex = Executor(1)
    futures = [ex.submit(gate.hold) for _ in range(3)]
    gate.wait_come()
    ex.kill_workers()
    errors = [future.exception(LIMIT_S) for future in futures]
    assert len({id(error) for error in errors}) == 3
