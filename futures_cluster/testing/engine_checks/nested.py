"""Checks of tasks that submit and wait, and of ``as_completed``.

Covers: the executor as a task sees it. Does not cover: its end.
"""

from __future__ import annotations

import concurrent.futures
import traceback

from futures_cluster.as_completed import as_completed
from futures_cluster.context import current_executor
from futures_cluster.testing.engine_checks import tasks
from futures_cluster.testing.engine_checks.harness import TIMEOUT_S, MakeExecutor, check, raises
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

# ---------------------------------------------------------------- tasks that submit


@check()
def check_nested(make_executor: MakeExecutor) -> None:
    """Tasks submit tasks and wait for them, deeper than there are workers."""
    with make_executor(max_workers=2) as ex:
        assert ex.submit(tasks.fib, 8).result(TIMEOUT_S) == 21
        assert ex.submit(tasks.descend, 25).result(TIMEOUT_S) == 25


@check("priority", traits=("concurrent", "prompt"))
def check_priority_of_children(make_executor: MakeExecutor) -> None:
    """A task's children come before unrelated tasks of a lower priority."""

    # Never measured, none of them: nothing is assigned in advance.
    def begin_before_children(folder: SharedFolder) -> None:
        tasks.begin_and_wait(folder, "begun", "go")

    def unrelated(folder: SharedFolder) -> None:
        folder.log("unrelated")

    def child(folder: SharedFolder, name: str) -> None:
        folder.log(name)

    def parent(folder: SharedFolder) -> None:
        ex = current_executor()
        later = ex.with_options(priority=-3).submit(child, folder, "less urgent")
        children = [ex.submit(child, folder, "child"), ex.with_options(priority=1).submit(child, folder, "urgent")]
        for future in [*children, later]:
            future.result(TIMEOUT_S)
        folder.log("parent")

    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        ex.submit(begin_before_children, folder)
        folder.wait("begun")
        futures = [ex.with_options(priority=3).submit(unrelated, folder) for _ in range(5)]
        futures.append(ex.with_options(priority=5).submit(parent, folder))
        ex.workers()  # the answer comes after all that was submitted has arrived
        folder.set("go")
        concurrent.futures.wait(futures, TIMEOUT_S)
        log = folder.log_lines()
        urgent, first, later = log.index("urgent"), log.index("unrelated"), log.index("less urgent")
        assert log.index("child") < first and urgent < first, log
        assert first < later < log.index("parent"), log


@check()
def check_waiting_in_a_task(make_executor: MakeExecutor) -> None:
    """A task waits for others by whatever means there are, also on a single worker."""
    with make_executor(max_workers=1) as ex:
        for how in ("wait", "stdlib", "as_completed", "map", "gather"):
            assert ex.submit(tasks.wait_for_children, how, 5).result(TIMEOUT_S) == 10, how
        many = [ex.submit(tasks.wait_for_children, how, 5) for how in ("wait", "stdlib", "gather") for _ in range(3)]
        assert [future.result(TIMEOUT_S) for future in many] == [10] * 9


@check()
def check_errors_of_nested_tasks(make_executor: MakeExecutor) -> None:
    """A task's error goes through the one that waits, with the frames of both."""
    with make_executor() as ex:
        error = ex.submit(lambda: current_executor().submit(tasks.fail).result()).exception(TIMEOUT_S)
        assert isinstance(error, ValueError)
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert "<lambda>" in names and names[-1] == "fail"


@check()
def check_children_outlive_their_parent(make_executor: MakeExecutor) -> None:
    """A submitted task runs, also without its future and parent."""
    with SharedFolder() as folder, make_executor() as ex:
        futures = [ex.submit(tasks.submit_and_leave, folder, str(i)) for i in range(5)]
        concurrent.futures.wait(futures, TIMEOUT_S)
        for number in range(5):
            folder.wait(number)


@check()
def check_current_executor(make_executor: MakeExecutor) -> None:
    """It works in tasks only; ``Executor()`` in a task is the same, and warns."""
    raises(RuntimeError, current_executor)
    with make_executor() as ex:
        raises(RuntimeError, current_executor)
        texts, value = ex.submit(tasks.make_executor_inside).result(TIMEOUT_S)
        assert value == 5 and len(texts) == 1 and "current_executor()" in texts[0]
        assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1  # the with statement in the task has ended nothing


@check()
def check_as_completed_grows(make_executor: MakeExecutor) -> None:
    """``as_completed`` takes new futures while it runs, until all are done."""
    with make_executor() as ex:
        running = as_completed(ex.map(tasks.same, range(4)).futures, timeout=TIMEOUT_S)
        seen = []
        for future in running:
            seen.append(future.result())
            if len(seen) < 20:
                running.add(ex.submit(lambda x: x + 10, future))
        assert len(seen) == 20 + 3 and sorted(seen)[:4] == [0, 1, 2, 3]
        assert dict(as_completed([ex.submit(tasks.same, 7)], with_results=True)).popitem()[1] == 7
