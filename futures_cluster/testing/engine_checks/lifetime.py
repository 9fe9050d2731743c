"""Checks of the start and the end of an executor.

Covers: initializers, shutting down, stopping. Does not cover: workers that die.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from futures_cluster.errors import BrokenExecutor
from futures_cluster.executor import Executor
from futures_cluster.testing.engine_checks import tasks
from futures_cluster.testing.engine_checks.harness import (
    TIMEOUT_S,
    MakeExecutor,
    check,
    raises,
    silent_callbacks,
    wait_until_running,
)
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

# ---------------------------------------------------------------- start and end


@check("initializer")
def check_initializer(make_executor: MakeExecutor) -> None:
    """It is called before a worker's first task."""
    with make_executor(max_workers=2, initializer=tasks.initialize, initargs=("set",)) as ex:
        assert set(ex.map(lambda i: tasks.read_initialized(), range(10))) == {"set"}
    tasks.initialize(None)


@check("initializer")
def check_failing_initializer(make_executor: MakeExecutor) -> None:
    """It breaks the executor: every future and submit says so, and nothing hangs."""
    with silent_callbacks(), make_executor(max_workers=2, initializer=tasks.fail_to_initialize) as ex:
        for _ in range(3):
            try:
                error = ex.submit(tasks.same, 1).exception(TIMEOUT_S)
            except BrokenExecutor as raised:
                error = raised
            assert isinstance(error, BrokenExecutor)
            assert "the initializer fails on purpose" in f"{error} {error.__cause__}"
        raises(BrokenExecutor, ex.submit, tasks.same, 1)


@check()
def check_shutdown(make_executor: MakeExecutor) -> None:
    """All that was submitted is done, and no more is taken; views, too."""
    ex = make_executor()
    futures = [ex.submit(tasks.same, i) for i in range(10)]
    ex.with_options(priority=1).shutdown()
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == list(range(10))
    for late in (ex, ex.with_options(priority=1)):
        raises(RuntimeError, late.submit, tasks.same, 1)
        raises(RuntimeError, late.map, tasks.same, [1])
    ex.shutdown()
    with make_executor() as unused:
        pass
    raises(RuntimeError, unused.submit, tasks.same, 1)


@check(traits=("concurrent",))
def check_shutdown_without_waiting(make_executor: MakeExecutor) -> None:
    """The call returns at once; what was submitted is done nevertheless."""
    with SharedFolder() as folder:
        ex = make_executor(max_workers=1)
        futures = [ex.submit(tasks.begin_and_wait, folder, f"begun-{i}", "go", i) for i in range(3)]
        ex.shutdown(wait=False)
        assert not futures[-1].done()
        raises(RuntimeError, ex.submit, tasks.same, 1)
        folder.set("go")
        assert [future.result(TIMEOUT_S) for future in futures] == [0, 1, 2]
        ex.shutdown(wait=True)


@check()
def check_cancel_all(make_executor: MakeExecutor) -> None:
    """``cancel_all`` leaves what is done, and the executor goes on.

    In a task it is about the task's own futures.
    """
    with make_executor() as ex:
        done = ex.submit(tasks.same, 1)
        assert done.result(TIMEOUT_S) == 1
        assert ex.cancel_all() == 0 and not done.cancelled()
        assert ex.submit(tasks.cancel_all).result(TIMEOUT_S) == 0
        assert ex.submit(tasks.same, 2).result(TIMEOUT_S) == 2


@check(traits=("concurrent",))
def check_cancel_all_of_this_client(make_executor: MakeExecutor) -> None:
    """``cancel_all`` cancels what has not begun.

    It leaves what runs and what another executor has submitted.
    """
    with SharedFolder() as folder, make_executor(max_workers=1) as ex, make_executor(max_workers=1) as other:
        running = ex.submit(tasks.begin_and_wait, folder, "begun", "go", 1)
        folder.wait("begun")
        wait_until_running(running)
        waiting = [ex.submit(tasks.same, running), *[ex.submit(tasks.log_line, folder, number) for number in range(20)]]
        others = other.submit(tasks.begin_and_wait, folder, "other", "go", 2)
        assert ex.cancel_all() == len(waiting) and all(future.cancelled() for future in waiting)
        assert ex.explain(waiting[0]) == f"{waiting[0].key!r} was cancelled"
        folder.set("go")
        assert running.result(TIMEOUT_S) == 1 and others.result(TIMEOUT_S) == 2
        assert ex.submit(tasks.same, 3).result(TIMEOUT_S) == 3


@check("stop", traits=("concurrent",))
def check_cancel_all_by_force(make_executor: MakeExecutor) -> None:
    """With ``force`` what runs is stopped, too.

    An engine that cannot stop it cancels all else before it says so.
    """
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        running = ex.submit(tasks.begin_and_wait, folder, "begun", "never")
        wait_until_running(running)
        waiting = [ex.submit(tasks.same, running), *[ex.submit(tasks.same, number) for number in range(5)]]
        try:
            assert ex.cancel_all(force=True) == 7 and running.cancelled()
        finally:
            assert all(future.cancelled() for future in waiting)
            folder.set("never")
        assert ex.submit(tasks.same, 2).result(TIMEOUT_S) == 2


@check(traits=("concurrent",))
def check_shutdown_cancels(make_executor: MakeExecutor) -> None:
    """``cancel_futures`` cancels what has not begun, and only that."""
    with SharedFolder() as folder:
        ex = make_executor(max_workers=1)
        running = ex.submit(tasks.begin_and_wait, folder, "begun", "go", "done")
        folder.wait("begun")
        pending = [ex.submit(tasks.same, i) for i in range(20)]
        wait_until_running(running)
        ex.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in pending)
        folder.set("go")
        ex.shutdown(wait=True)
        assert running.result() == "done"


def _check_stop(make_executor: MakeExecutor, stop: Callable[[Executor], None]) -> None:
    with SharedFolder() as folder:
        ex = make_executor(max_workers=1)
        try:
            running = ex.submit(tasks.begin_and_wait, folder, "begun", "never")
            folder.wait("begun")
            waiting = ex.submit(tasks.same, 1)
            stop(ex)
            for future in (running, waiting):
                error = future.exception(TIMEOUT_S) if not future.cancelled() else None
                assert future.cancelled() or isinstance(error, BrokenExecutor), error
            raises(RuntimeError, ex.submit, tasks.same, 1)
        finally:
            folder.set("never")
            ex.shutdown()


@check("kill", traits=("concurrent",))
def check_kill_workers(make_executor: MakeExecutor) -> None:
    """Ends all workers now; what was unfinished fails, and the executor has ended."""
    _check_stop(make_executor, lambda ex: ex.kill_workers())


@check("kill", traits=("concurrent",))
def check_terminate_workers(make_executor: MakeExecutor) -> None:
    """As ``kill_workers``, by a signal that workers can catch."""
    _check_stop(make_executor, lambda ex: ex.terminate_workers())


@check("max_tasks_per_child")
def check_max_tasks_per_child(make_executor: MakeExecutor) -> None:
    """Workers are replaced after their maximum number of tasks, and no task is lost."""
    with make_executor(max_workers=1, max_tasks_per_child=3) as ex:
        pids = list(ex.map(lambda i: os.getpid(), range(10)))
        assert len(set(pids)) >= 4 and max(map(pids.count, pids)) <= 3


@check("memory_limit")
def check_memory_limit(make_executor: MakeExecutor) -> None:
    """A limit for each worker is taken, and tasks run."""
    with make_executor(max_workers=1, memory_limit="1GB") as ex:
        assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1
