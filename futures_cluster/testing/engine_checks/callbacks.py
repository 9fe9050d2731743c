"""Checks of done-callbacks: they may wait, submit, raise and shut down, and tasks go on."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

from futures_cluster.as_completed import as_completed
from futures_cluster.executor import Executor
from futures_cluster.testing.engine_checks import tasks
from futures_cluster.testing.engine_checks.harness import TIMEOUT_S, MakeExecutor, check, silent_callbacks
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

#: Bytes of a result that no engine sends along with the news of its task.
LARGE = 2_000_000


def _call_back(ex: Executor, callback: Callable[[Any], object]) -> Any:
    """Have a callback called that was added before its task ended; its future."""
    with SharedFolder() as folder:
        future = ex.submit(tasks.begin_and_wait, folder, "begun", "go")
        future.add_done_callback(callback)
        folder.wait("begun")
        folder.set("go")
        future.result(TIMEOUT_S)
    return future


class _Outcome(concurrent.futures.Future[Any]):
    """Gets what a callback returns or raises."""

    def __init__(self, callback: Callable[[Any], object]) -> None:
        super().__init__()
        self._callback = callback

    def __call__(self, future: Any) -> None:
        try:
            self.set_result(self._callback(future))
        except BaseException as error:
            self.set_exception(error)


@check(traits=("concurrent",))
def check_callbacks_wait(make_executor: MakeExecutor) -> None:
    """A callback may submit tasks and wait for futures and their results."""

    def wait(future: Any) -> list[Any]:
        return [
            large.result(TIMEOUT_S) == bytes(LARGE),
            ex.submit(bytes, LARGE).result(TIMEOUT_S) == bytes(LARGE),
            list(ex.map(tasks.same, range(3), timeout=TIMEOUT_S)),
            len(concurrent.futures.wait([ex.submit(tasks.same, 1)], TIMEOUT_S).done),
            [each.result() for each in as_completed([ex.submit(tasks.same, 2)], TIMEOUT_S)],
            ex.submit(tasks.same, ex.submit(tasks.same, 3)).result(TIMEOUT_S),
        ]

    with make_executor() as ex:
        large = ex.submit(bytes, LARGE)
        outcome = _Outcome(wait)
        _call_back(ex, outcome)
        assert outcome.result(TIMEOUT_S) == [True, True, [0, 1, 2], 1, [2], 3]


@check(traits=("concurrent",))
def check_callbacks_find_results(make_executor: MakeExecutor) -> None:
    """When a callback is called, the result or the error of its future is here."""
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        ex.submit(tasks.begin_and_wait, folder, "begun", "go")
        outcomes = []
        for function, arguments in ((tasks.same, (1,)), (bytes, (LARGE,)), (tasks.fail, ())):
            outcome = _Outcome(lambda future: future.exception(0) or future.result(0))
            ex.submit(function, *arguments).add_done_callback(outcome)
            outcomes.append(outcome)
        folder.set("go")
        one, large, error = [outcome.result(TIMEOUT_S) for outcome in outcomes]
        assert (one, large) == (1, bytes(LARGE)) and isinstance(error, ValueError)


@check(traits=("concurrent",))
def check_callbacks_raise(make_executor: MakeExecutor) -> None:
    """After a callback that raises, later callbacks are called and tasks go on."""
    with silent_callbacks():
        for kind in (ValueError, SystemExit, KeyboardInterrupt, GeneratorExit):

            def fail(future: Any, kind: type[BaseException] = kind) -> None:
                raise kind("on purpose")

            with make_executor() as ex:
                _call_back(ex, fail)
                assert [ex.submit(tasks.same, i).result(TIMEOUT_S) for i in range(20)] == list(range(20))
                outcome = _Outcome(lambda future: "called")
                _call_back(ex, outcome)
                assert outcome.result(TIMEOUT_S) == "called"


@check(traits=("concurrent",))
def check_callbacks_block_no_task(make_executor: MakeExecutor) -> None:
    """A callback that never returns delays no task, result or unwaited shutdown."""
    begun, go_on = threading.Event(), threading.Event()

    def block(future: Any) -> bool:
        begun.set()
        return go_on.wait(TIMEOUT_S)

    outcome = _Outcome(block)
    ex = make_executor()
    try:
        _call_back(ex, outcome)
        assert begun.wait(TIMEOUT_S)
        assert [ex.submit(tasks.same, i).result(TIMEOUT_S) for i in range(20)] == list(range(20))
        assert ex.submit(bytes, LARGE).result(TIMEOUT_S) == bytes(LARGE)
        ex.shutdown(wait=False)
    finally:
        go_on.set()
    assert outcome.result(TIMEOUT_S)
    ex.shutdown()


@check(traits=("concurrent",))
def check_callbacks_before_the_end(make_executor: MakeExecutor) -> None:
    """``shutdown`` returns when the callbacks of all futures have been called."""
    called: list[Any] = []
    begun, go_on = threading.Event(), threading.Event()

    def hold(future: Any) -> None:
        begun.set()
        go_on.wait(TIMEOUT_S)

    with make_executor(max_workers=1) as ex:
        _call_back(ex, hold)
        assert begun.wait(TIMEOUT_S)
        for number in range(20):
            ex.submit(tasks.same, number).add_done_callback(lambda future: called.append(future.result(0)))
        ex.submit(tasks.same, "last").result(TIMEOUT_S)
        ex.shutdown(wait=False)
        go_on.set()
    assert sorted(called) == list(range(20))


@check(traits=("concurrent",))
def check_callbacks_shut_down(make_executor: MakeExecutor) -> None:
    """A callback may shut the executor down, which waits for the tasks only."""
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        held = ex.submit(tasks.begin_and_wait, folder, "begun", "go")
        others = [ex.submit(tasks.same, number) for number in range(3)]

        def end(future: Any) -> list[bool]:
            ex.shutdown()
            return [other.done() for other in others]

        outcome = _Outcome(end)
        held.add_done_callback(outcome)
        folder.set("go")
        assert outcome.result(TIMEOUT_S) == [True] * 3
