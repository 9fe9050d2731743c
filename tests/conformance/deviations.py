"""Where our executors do something else than the standard library's, test by test, and what they do instead.

Covers: the tests of CPython that cannot pass as they are written, each with the reason and with a test in its place.
Does not cover: building the suites (``test_conformance``).

One more passes and says little: ``test_gh105829_should_not_deadlock_if_wakeup_pipe_full`` slows the standard
library's own threads down, which nothing here uses.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import shim
from test import support
from test.test_concurrent_futures import test_future as cpython_future
from test.test_concurrent_futures import test_init as cpython_init
from test.test_concurrent_futures.executor import mul


@dataclass(frozen=True)
class Deviation:
    """One test that is replaced.

    Attributes
    ----------
    test : str
        ``Mixin.test_name``, as CPython calls them.
    reason : str
        Why ours differ.
    instead : callable
        The method that takes the test's place.
    on : tuple of types
        The executor mixins where it does; empty for all.
    since : tuple of int
        The first version of Python that has the test.
    """

    test: str
    reason: str
    instead: Callable[[Any], None]
    on: tuple[type, ...] = ()
    since: tuple[int, int] = (3, 13)


def wait_for_line(path: str) -> str:
    """The first line of a file that a task is to write."""
    for _ in support.sleeping_retry(support.SHORT_TIMEOUT, "the task did not start"):
        with open(path) as file:
            line = file.readline()
        if line.endswith("\n"):
            return line.strip()
    raise AssertionError


def blocks_the_first_time(path: str) -> str:
    """Say who executes this, and wait to be killed; the second time return."""
    with open(path, "r+") as file:
        if file.read():
            return "ran again"
        file.write(f"{os.getpid()}\n")
    time.sleep(support.LONG_TIMEOUT)
    return "was not killed"


def killed_child(self: Any) -> None:
    """The task runs again, and the executor goes on."""
    with tempfile.NamedTemporaryFile() as file:
        future = self.executor.submit(blocks_the_first_time, file.name)
        pid = int(wait_for_line(file.name))
        self.executor._processes[pid].terminate()
        self.assertEqual(future.result(support.SHORT_TIMEOUT), "ran again")
    self.assertEqual(self.executor.submit(pow, 2, 8).result(), 256)


def has_traceback(self: Any) -> None:
    """The frames of the worker are frames of the exception's own traceback."""
    error = self.executor.submit(self._test_traceback).exception()
    self.assertIs(type(error), RuntimeError)
    self.assertEqual(error.args, (123,))
    self.assertIsNone(error.__cause__)
    self.assertIn("raise RuntimeError(123) # some comment", "".join(traceback.format_exception(error)))


def idle_processes(self: Any) -> None:
    """All are there, and later tasks make no more."""
    for _ in range(3):
        self.assertEqual(self.executor.submit(mul, 21, 2).result(), 42)
        self.assertEqual(len(self.executor._processes), self.executor._max_workers)
    self.assertIn(self.executor.submit(os.getpid).result(), self.executor._processes)


def processes_terminate(self: Any) -> None:
    """All are there, and all end."""
    semaphore = self.get_context().Semaphore(0)
    future = self.executor.submit(
        lambda lock: lock.acquire(), semaphore
    )  # a semaphore is no argument; not there either
    self.assertIsInstance(future.exception(), RuntimeError)
    self.executor.submit(mul, 6, 7)
    processes = self.executor._processes
    self.assertEqual(len(processes), self.worker_count)
    self.executor.shutdown()
    for process in processes.values():
        process.join()


def max_tasks_per_child_without_context(self: Any) -> None:
    """A worker is replaced after so many tasks."""
    with self.executor_type(1, max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result() for _ in range(4)]
    self.assertEqual(pids[0], pids[1])
    self.assertEqual(pids[2], pids[3])
    self.assertNotEqual(pids[1], pids[2])


def one_thread_is_enough(self: Any) -> None:
    """With one thread to be had, all tasks run and the executor ends in good order."""
    import threading

    start = threading._start_joinable_thread  # type: ignore[attr-defined]
    started = 0

    def start_one(*args: Any, **kwargs: Any) -> Any:
        nonlocal started
        if started:
            raise RuntimeError("can't create new thread at interpreter shutdown")
        started += 1
        return start(*args, **kwargs)

    with support.swap_attr(threading, "_start_joinable_thread", start_one), self.assertNoLogs("futures_cluster"):
        with self.executor_type(max_workers=2, mp_context=self.get_context()) as executor:
            self.assertEqual(list(executor.map(mul, [2] * 10, [3] * 10)), [6] * 10)


def failing_initializer(self: Any) -> None:
    """The same, where the error tells what the initializer raised."""
    with self.executor_type(2, initializer=cpython_init.init_fail) as executor:
        with self.assertRaisesRegex(BrokenExecutor, "error in initializer"):
            executor.submit(cpython_init.get_init_status).result()
        for _ in support.sleeping_retry(support.SHORT_TIMEOUT, "executor not broken"):
            if executor._broken:
                break
        with self.assertRaisesRegex(BrokenExecutor, "error in initializer"):
            executor.submit(cpython_init.get_init_status)


def no_hang_without_wait(self: Any) -> None:
    """The same script on processes."""
    context = repr(self.ctx) if hasattr(self, "ctx") else None
    _, out, err = shim.assert_python_ok(
        "-c",
        f"""if True:
            from concurrent.futures import ProcessPoolExecutor
            from multiprocessing import get_context
            from test.test_concurrent_futures.test_shutdown import sleep_and_print
            if __name__ == "__main__":
                context = {context} and get_context({context})
                t = ProcessPoolExecutor(max_workers=3, mp_context=context)
                t.submit(sleep_and_print, .1, "apple")
                t.shutdown(wait=False)
            """,
    )
    self.assertFalse(err)
    self.assertEqual(out.strip(), b"apple")


def cancel(self: Any) -> None:
    """The same, with the last state from the start."""
    states = {
        PENDING: (True, CANCELLED_AND_NOTIFIED),
        RUNNING: (False, RUNNING),
        CANCELLED_AND_NOTIFIED: (True, CANCELLED_AND_NOTIFIED),
        FINISHED: (False, FINISHED),
    }
    for before, (answer, after) in states.items():
        future = cpython_future.create_future(state=before)
        self.assertIs(future.cancel(), answer)
        self.assertEqual(future._state, after)


def put_and_wait(queue: Any, event: Any, value: int) -> int:
    """Say that the task runs, and wait for the event."""
    queue.put(value)
    event.wait()
    return value


def start_waiting_tasks(test: Any, **options: Any) -> tuple[Any, list[Any], Any, Any]:
    """An executor with one worker, which executes one of three tasks: executor, futures, queue, event."""
    manager = test.get_context().Manager()
    test.addCleanup(manager.join)
    test.addCleanup(manager.shutdown)
    queue, event = manager.Queue(), manager.Event()
    executor = test.executor_type(1, mp_context=test.get_context(), **options)
    futures = [executor.submit(put_and_wait, queue, event, value) for value in range(3)]
    queue.get(timeout=support.SHORT_TIMEOUT)
    return executor, futures, queue, event


def may_replace_workers(test: Any) -> dict[str, int]:
    """``max_tasks_per_child=1``, unless a worker forks the caller's process."""
    return {} if test.get_context().get_start_method(allow_none=False) == "fork" else {"max_tasks_per_child": 1}


def an_error_each(self: Any) -> None:
    """Each future has an error of its own, in whose traceback the caller is once."""
    executor, futures, _, _ = start_waiting_tasks(self)
    executor.kill_workers()
    for future in futures:
        try:
            future.result(support.SHORT_TIMEOUT)
        except BrokenProcessPool as error:
            frames = traceback.extract_tb(error.__traceback__)
        else:
            self.fail("there is a result")
        self.assertEqual([frame.filename for frame in frames].count(__file__), 1)


def tells_the_exit_code(self: Any) -> None:
    """The error itself says how the worker ended."""
    with self.executor_type(1, mp_context=self.get_context()) as executor:
        with self.assertRaisesRegex(BrokenProcessPool, "99"):
            executor.submit(os._exit, 99).result()


def all_tasks_run(self: Any) -> None:
    """Workers are replaced until all tasks have run, also when the executor is closing."""
    executor, futures, _, event = start_waiting_tasks(self, **may_replace_workers(self))
    executor.shutdown(wait=False)
    event.set()
    self.assertEqual([future.result(support.SHORT_TIMEOUT) for future in futures], [0, 1, 2])
    executor.shutdown()


def all_tasks_run_unowned(self: Any) -> None:
    """Workers are replaced until all tasks have run, also when the caller has let the executor go."""
    executor, futures, _, event = start_waiting_tasks(self, **may_replace_workers(self))
    thread = executor._executor_manager_thread
    del executor
    support.gc_collect()
    event.set()
    self.assertEqual([future.result(support.SHORT_TIMEOUT) for future in futures], [0, 1, 2])
    del futures
    support.gc_collect()
    thread.join(support.SHORT_TIMEOUT)
    self.assertFalse(thread.is_alive())


def ends_workers(self: Any, method: str) -> None:
    """The worker ends, none takes its place, no task goes on, and no new one is taken."""
    executor, futures, queue, _ = start_waiting_tasks(self)
    (process,) = executor._processes.values()
    getattr(executor, method)()
    process.join()
    for future in futures:
        self.assertIsInstance(future.exception(support.SHORT_TIMEOUT), BrokenProcessPool)
    self.assertEqual(executor._processes, {})
    self.assertTrue(queue.empty())
    self.assertRaises(RuntimeError, executor.submit, pow, 2, 3)


def terminates_workers(self: Any) -> None:
    """See ``ends_workers``."""
    ends_workers(self, "terminate_workers")


def kills_workers(self: Any) -> None:
    """See ``ends_workers``."""
    ends_workers(self, "kill_workers")


ALL_AT_ONCE = (
    "All workers start when the executor is first used, whatever starts them; the standard library starts them one "
    "by one, except with fork."
)
OWN_INSIDES = (
    "The test replaces private parts of the standard library's pool, or looks whether they are called; ours has others."
)
GOES_ON = (
    "Tasks that were submitted run, whether or not the caller has the executor still; the standard library's fail when "
    "the executor is collected before a worker is replaced."
)
NOT_FORK = (shim.ProcessPoolOwnStartMixin, shim.ProcessPoolForkserverMixin, shim.ProcessPoolSpawnMixin)

DEVIATIONS = (
    Deviation(
        "ProcessPoolExecutorTest.test_killed_child",
        "When a worker dies, its tasks run again on another; the standard library's pool is broken for good.",
        killed_child,
    ),
    Deviation(
        "ProcessPoolExecutorTest.test_traceback",
        "The worker's frames come back as a traceback, which debuggers and pytest can show; the standard library "
        "puts their text into an exception of its own, as the cause.",
        has_traceback,
    ),
    Deviation("ProcessPoolExecutorTest.test_idle_process_reuse_one", ALL_AT_ONCE, idle_processes, NOT_FORK),
    Deviation("ProcessPoolExecutorTest.test_idle_process_reuse_multiple", ALL_AT_ONCE, idle_processes, NOT_FORK),
    Deviation("ProcessPoolShutdownTest.test_processes_terminate", ALL_AT_ONCE, processes_terminate, NOT_FORK),
    Deviation(
        "ProcessPoolExecutorTest.test_max_tasks_per_child_defaults_to_spawn_context",
        "Without mp_context ours start workers in their own way, and so there is no context to look at.",
        max_tasks_per_child_without_context,
    ),
    Deviation(
        "ProcessPoolExecutorTest.test_python_finalization_error",
        "The standard library's pool breaks when it cannot start its second thread. Ours has one in all.",
        one_thread_is_enough,
    ),
    Deviation(
        "ProcessPoolExecutorTest.test_broken_process_pool_traceback",
        "When a worker dies, its tasks run again; they fail when the caller ends the workers.",
        an_error_each,
        since=(3, 14),
    ),
    Deviation(
        "ProcessPoolExecutorTest.test_traceback_when_child_process_terminates_abruptly",
        "The exit code is in the error's own text; the standard library puts it into an exception of its own, as the "
        "cause.",
        tells_the_exit_code,
        since=(3, 15),
    ),
    Deviation(
        "ProcessPoolExecutorTest.test_shutdown_no_wait_max_tasks_gh119592", GOES_ON, all_tasks_run, since=(3, 14)
    ),
    Deviation(
        "ProcessPoolExecutorTest.test_gc_during_max_tasks_worker_exit_gh152967",
        GOES_ON,
        all_tasks_run_unowned,
        since=(3, 14),
    ),
    *(
        Deviation(f"ProcessPoolExecutorTest.{test}", OWN_INSIDES, instead, since=(3, 14))
        for test, instead in {
            "test_failed_worker_replacement_breaks_pool": all_tasks_run,
            "test_force_shutdown_during_max_tasks_worker_exit": kills_workers,
            "test_force_shutdown_workers": terminates_workers,
            "test_terminate_workers": terminates_workers,
            "test_kill_workers": kills_workers,
        }.items()
    ),
    Deviation(
        "FailingInitializerMixin.test_initializer",
        "The test gives workers a queue for their log, which only the processes of a context can inherit. Without "
        "a context the log goes to stderr, and the error itself says what was raised.",
        failing_initializer,
        (shim.ProcessPoolOwnStartMixin,),
    ),
    Deviation(
        "ProcessPoolShutdownTest.test_hang_gh83386",
        "CPython 3.13 skips this on processes, because its pool hangs there. Ours does not.",
        no_hang_without_wait,
    ),
    Deviation(
        "FutureTests.test_cancel",
        "A cancelled future of ours is CANCELLED_AND_NOTIFIED at once: the scheduler is told by cancel() itself, and "
        "no worker comes by later to notify those who wait.",
        cancel,
    ),
)


def replace(cls: type, mixin: type, executor_mixin: type | None) -> None:
    """Put the tests of ours into a class in the place of those that cannot pass."""
    for deviation in DEVIATIONS:
        name, _, method = deviation.test.partition(".")
        if sys.version_info < deviation.since or mixin.__name__ != name:
            continue
        if not deviation.on or executor_mixin in deviation.on:
            assert hasattr(cls, method), f"{deviation.test} is there no more"
            setattr(cls, method, deviation.instead)
