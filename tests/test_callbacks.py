"""Users' callbacks: on which thread, in which order, and that nothing in them stops the executor.

Covers: ``Future.add_done_callback`` through executors on processes, threads and a cluster, and the sync backend.
Does not cover: what every engine promises (``engine_checks.callbacks``), the thread (``test_callback_thread``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import LIMIT_S, Gate, wait_until

from futures_cluster import Executor
from futures_cluster.errors import CancelledError
from futures_cluster.testing.real_cluster import Cluster

THREAD = "futures_cluster-callbacks"
LARGE = 2_000_000  # bytes: such a result stays with the worker

MakeExecutor = Callable[[], Executor]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), is_shared=True)
    cluster.add_worker("--workers", "1")
    yield cluster
    cluster.close()


@pytest.fixture(params=["processes", "threads", "tcp"])
def make(request: pytest.FixtureRequest) -> MakeExecutor:
    """Makes an executor with one worker: its tasks end in the order in which they were submitted."""
    if request.param == "tcp":
        cluster: Cluster = request.getfixturevalue("cluster")
        return cluster.executor
    return lambda: Executor(1, backend=request.param)


def fail(message: str) -> None:
    raise ValueError(message)


def thread_name() -> str:
    return threading.current_thread().name


def callback_threads() -> int:
    return sum(thread.name == THREAD for thread in threading.enumerate())


def hold_callbacks(ex: Executor, gate: Gate) -> threading.Event:
    """Have a callback run that goes on when the event is set."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(future: Any) -> None:
        begun.set()
        go_on.wait(LIMIT_S)

    ex.submit(gate.hold).add_done_callback(hold)
    gate.wait_come()
    gate.open(1)
    assert begun.wait(LIMIT_S)
    return go_on


# ---------------------------------------------------------------- where and when


def test_callbacks_run_on_one_thread_in_the_order_in_which_futures_became_done(make: MakeExecutor, gate: Gate) -> None:
    called: list[Any] = []
    with make() as ex:
        ex.submit(gate.hold)
        for number in range(10):
            function, argument = (fail, str(number)) if number % 3 == 0 else (int, str(number))
            future: Any = ex.submit(function, argument)
            future.add_done_callback(lambda future, number=number: called.append((number, thread_name())))
            future.add_done_callback(lambda future, number=number: called.append((number, thread_name())))
        gate.wait_come()
        gate.open(1)
    assert called == [(number, THREAD) for number in range(10) for _ in range(2)]


def test_the_thread_is_there_only_if_a_callback_is(make: MakeExecutor, gate: Gate) -> None:
    before = callback_threads()
    with make() as ex:
        futures = [ex.submit(pow, 2, 3), ex.submit(bytes, LARGE)]
        assert [future.result(LIMIT_S) for future in futures] == [8, bytes(LARGE)]
        futures[0].add_done_callback(lambda future: None)  # here and now
        assert callback_threads() == before
        held = ex.submit(gate.hold)
        held.add_done_callback(lambda future: None)
        assert callback_threads() == before + 1
        gate.wait_come()
        gate.open(1)
    assert callback_threads() == before


def test_a_callback_for_a_finished_future_runs_here_and_may_end_this_thread(make: MakeExecutor) -> None:
    """As in the standard library: an Exception is logged, and SystemExit is the caller's."""
    standard: concurrent.futures.Future[int] = concurrent.futures.Future()
    standard.set_result(0)
    with make() as ex:
        future = ex.submit(int)
        future.result(LIMIT_S)
        for each in (standard, future):
            names: list[str] = []
            each.add_done_callback(lambda each, names=names: names.append(thread_name()))
            assert names == [thread_name()]
            each.add_done_callback(lambda each: fail("logged"))
            with pytest.raises(SystemExit):
                each.add_done_callback(lambda each: sys.exit())


def test_cancel_calls_on_the_cancelling_thread_and_dependents_on_the_other(make: MakeExecutor, gate: Gate) -> None:
    names: dict[str, str] = {}
    with make() as ex:
        ex.submit(gate.hold)
        gate.wait_come()
        first = ex.submit(int)
        second = ex.submit(str, first)
        first.add_done_callback(lambda future: names.setdefault("first", thread_name()))
        second.add_done_callback(lambda future: names.setdefault("second", thread_name()))
        assert first.cancel()
        assert names["first"] == thread_name()
        with pytest.raises(CancelledError):
            second.result(LIMIT_S)
        gate.open(1)
    assert names["second"] == THREAD


def test_results_of_the_sync_backend_call_back_at_once() -> None:
    with Executor(backend="sync") as ex:
        names: list[str] = []
        for future in (ex.submit(int), ex.submit(fail, "doh"), ex.submit(bytes, LARGE)):
            future.add_done_callback(lambda future: names.append(thread_name()))
        assert names == [thread_name()] * 3

        def task() -> None:
            """Its own future is the only one that is not done."""
            own = ex.future_of_key("mine")
            own.add_done_callback(lambda future: names.append("own"))

        ex.with_options(key="mine").submit(task).result()
        assert names[3:] == ["own"]


# ---------------------------------------------------------------- nothing waits for them


def test_a_callback_that_blocks_delays_other_callbacks_only(make: MakeExecutor, gate: Gate) -> None:
    called: list[int] = []
    ex = make()
    go_on = hold_callbacks(ex, gate)
    try:
        futures = [ex.submit(abs, -number) for number in range(20)]
        for future in futures:
            future.add_done_callback(lambda future: called.append(future.result(0)))
        # Some were done by then, and called their callbacks here.
        assert [future.result(LIMIT_S) for future in futures] == list(range(20))
        assert ex.submit(bytes, LARGE).result(LIMIT_S) == bytes(LARGE)
        ex.shutdown(wait=False)
    finally:
        go_on.set()
    ex.shutdown()
    assert sorted(called) == list(range(20))


def test_shutdown_waits_for_callbacks_that_are_under_way(make: MakeExecutor, gate: Gate) -> None:
    ex = make()
    go_on = hold_callbacks(ex, gate)
    ended = threading.Event()

    def end() -> None:
        ex.shutdown()
        ended.set()

    thread = threading.Thread(target=end)
    thread.start()
    wait_until(lambda: THREAD in {each.name for each in threading.enumerate()} and not _loops_of(ex))
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(LIMIT_S)
    thread.join()


def _loops_of(ex: Executor) -> bool:
    engine: Any = ex._engine
    threads = (
        [slot.thread for slot in engine.threads] if hasattr(engine, "threads") else [engine.cluster._thread.thread]
    )
    return any(thread.is_alive() for thread in threads)


def test_kill_workers_does_not_wait_for_callbacks(gate: Gate) -> None:
    ex = Executor(1)
    go_on = hold_callbacks(ex, gate)
    running = ex.submit(gate.hold)
    gate.wait_come()
    ex.kill_workers()
    assert running.exception(LIMIT_S) is not None
    go_on.set()
    ex.shutdown()


def test_callbacks_of_two_executors_do_not_delay_each_other(make: MakeExecutor, gate: Gate) -> None:
    called = threading.Event()
    with make() as ex, Executor(1, backend="threads") as other:
        go_on = hold_callbacks(ex, gate)
        other.submit(gate.hold).add_done_callback(lambda future: called.set())
        gate.wait_come()
        gate.open(1)
        try:
            assert called.wait(LIMIT_S)
        finally:
            go_on.set()


def test_a_chain_of_tasks_by_callbacks(make: MakeExecutor) -> None:
    """Each callback submits the next task."""
    last: concurrent.futures.Future[int] = concurrent.futures.Future()

    def step(future: Any) -> None:
        value = future.result(0)
        if value == 50:
            last.set_result(value)
        else:
            ex.submit(int.__add__, value, 1).add_done_callback(step)

    with make() as ex:
        ex.submit(int).add_done_callback(step)
        assert last.result(LIMIT_S) == 50


def test_awaiting_goes_on_beside_callbacks_that_wait(make: MakeExecutor, gate: Gate) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        with make() as ex:
            first = ex.submit(gate.hold, 0)
            first.add_done_callback(lambda future: ex.submit(abs, -1).result(LIMIT_S))
            gate.wait_come()
            gate.open(1)
            return await asyncio.gather(first, *(loop.run_in_executor(ex, abs, -number) for number in range(1, 5)))

    assert asyncio.run(asyncio.wait_for(main(), LIMIT_S)) == list(range(5))


def test_futures_that_the_end_of_the_workers_fails_call_back_on_the_thread(gate: Gate) -> None:
    names: list[str] = []
    with Executor(1) as ex:
        futures = [ex.submit(gate.hold) for _ in range(2)]
        for future in futures:
            future.add_done_callback(lambda future: names.append(thread_name()))
        gate.wait_come()
        ex.kill_workers()
    assert names == [THREAD] * 2


# ---------------------------------------------------------------- keeping nothing


def test_a_callback_is_dropped_on_its_thread(make: MakeExecutor, gate: Gate) -> None:
    dropped: list[str] = []

    class Callback:
        def __call__(self, future: Any) -> None:
            """Nothing."""

        def __del__(self) -> None:
            dropped.append(thread_name())

    with make() as ex:
        ex.submit(gate.hold).add_done_callback(Callback())
        gate.wait_come()
        gate.open(1)
    assert dropped == [THREAD]


# ---------------------------------------------------------------- the end of the program, and copies of it

SCRIPT = """
import sys, threading, time
from futures_cluster import Executor

def call_back(future):
    time.sleep(0.05)  # longer than it takes to get to the end of the program
    print("called with", future.result(), flush=True)

def main():
    {main}

if __name__ == "__main__":
    main()
"""

ENDS = {
    "not shut down": """
    global ex
    ex = Executor(1, backend=sys.argv[1])
    ex.submit(abs, -1).result()
    ex.submit(time.sleep, 0.05).add_done_callback(call_back)
    """,
    "shut down without waiting": """
    ex = Executor(1, backend=sys.argv[1])
    ex.submit(time.sleep, 0.05).add_done_callback(call_back)
    ex.shutdown(wait=False)
    """,
    "dropped": """
    Executor(1, backend=sys.argv[1]).submit(time.sleep, 0.05).add_done_callback(call_back)
    """,
    "in the middle of a callback": """
    global ex
    ex = Executor(1, backend=sys.argv[1])
    begun = threading.Event()
    def hold(future):
        begun.set()
        call_back(future)
    ex.submit(time.sleep, 0.05).add_done_callback(hold)
    begun.wait()
    """,
    "by an error": """
    global ex
    ex = Executor(1, backend=sys.argv[1])
    ex.submit(time.sleep, 0.05).add_done_callback(call_back)
    sys.exit(3)
    """,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_callbacks_are_called_before_the_interpreter_ends(backend: str, end: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(main=ENDS[end]))
    command = [sys.executable, str(script), backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("called with None\n", "")
    assert done.returncode == (3 if end == "by an error" else 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .*fork:DeprecationWarning")
def test_a_forked_copy_has_no_callbacks_to_call(make: MakeExecutor, gate: Gate) -> None:
    called: list[int] = []
    with make() as ex:
        go_on = hold_callbacks(ex, gate)
        future = ex.submit(gate.hold)
        future.add_done_callback(lambda future: called.append(os.getpid()))
        gate.wait_come()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                future.add_done_callback(lambda future: called.append(-1))
                ex.shutdown()
                code = len([each for each in called if each != os.getpid()])
            finally:
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        gate.open(1)
        go_on.set()
    assert status == 0
    assert called == [os.getpid()]
