"""Frozen time: users' tests stop the clocks, and nothing here may stop with them.

Covers: clocks replaced in the caller's process and inside of tasks, by ``unittest.mock`` and by freezegun.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

from futures_cluster import Executor, as_completed, clocks, wait
from futures_cluster.errors import TaskTimeout

BACKENDS = ("processes", "threads")


@contextlib.contextmanager
def replaced() -> Iterator[None]:
    """Every clock of ``time`` shows the same; and a pause is none."""
    with contextlib.ExitStack() as stack:
        for name in ("monotonic", "perf_counter", "process_time", "time"):
            stack.enter_context(mock.patch(f"time.{name}", return_value=1000.0))
        stack.enter_context(mock.patch("time.sleep", side_effect=AssertionError("a pause that is none")))
        yield


def frozen() -> AbstractContextManager[Any]:
    return pytest.importorskip("freezegun").freeze_time("2020-01-01")  # type: ignore[no-any-return]


each_freezing = pytest.mark.parametrize("freeze", [replaced, frozen])
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def wait_for(event_path: str) -> None:
    import os

    while not os.path.exists(event_path):
        clocks.sleep(0.001)


@each_freezing
@each_backend
def test_an_executor_lives_its_life(freeze: Callable[[], AbstractContextManager[Any]], backend: str) -> None:
    with freeze(), Executor(2, backend=backend) as ex:
        assert list(ex.map(abs, range(-50, 0), timeout=60)) == list(range(50, 0, -1))
        futures = [ex.submit(pow, 2, n) for n in range(20)]
        assert sorted(future.result(timeout=60) for future in as_completed(futures, timeout=60)) == [
            2**n for n in range(20)
        ]
        assert not wait(futures, timeout=60).not_done
        assert len(ex.run(int)) >= 1


@each_freezing
@each_backend
def test_time_limits_end(freeze: Callable[[], AbstractContextManager[Any]], backend: str, tmp_path: Any) -> None:
    with Executor(1, backend=backend) as ex:
        goal = tmp_path / "goal"
        running = ex.submit(wait_for, str(goal))
        try:
            with freeze():
                with pytest.raises(TimeoutError):
                    running.result(timeout=0.02)
                with pytest.raises(TimeoutError):
                    running.exception(timeout=0.02)
                with pytest.raises(TimeoutError):
                    next(as_completed([running], timeout=0.02))
                with pytest.raises(TimeoutError):
                    next(ex.map(wait_for, [str(goal)], timeout=0.02))
                reader = ex.channel("empty").reader(timeout=0.02)
                with pytest.raises(TimeoutError):
                    next(reader)
                # Of many pending futures none is waited for by reading connections.
                others = [ex.submit(int) for _ in range(20)]
                with pytest.raises(TimeoutError):
                    others[0].result(timeout=0.02)
        finally:
            goal.touch()


@each_freezing
def test_a_task_runs_into_its_limit(freeze: Callable[[], AbstractContextManager[Any]]) -> None:
    with Executor(1) as ex, freeze():
        with pytest.raises(TaskTimeout):
            ex.with_options(timeout=0.05).submit(wait_for, "/nowhere").result()
        assert ex.submit(int).result(timeout=60) == 0


@each_freezing
def test_workers_come_and_go(freeze: Callable[[], AbstractContextManager[Any]]) -> None:
    with freeze(), Executor(1) as ex:
        assert ex.submit(int).result() == 0
        ex.scale(2)
        while len(ex.workers()) < 2:
            clocks.sleep(0.001)
        ex.scale(1)
        while len(ex.workers()) > 1:
            clocks.sleep(0.001)
        assert list(ex.map(abs, range(10))) == list(range(10))


@each_freezing
@each_backend
def test_a_task_freezes_time(freeze: Callable[[], AbstractContextManager[Any]], backend: str) -> None:
    """Its worker goes on."""
    if freeze is frozen:
        pytest.importorskip("freezegun")
    with Executor(1, backend=backend) as ex:
        ex.submit(frozen_task, freeze.__name__).result()
        assert ex.submit(nested_task, freeze.__name__).result() == 45
        assert ex.submit(int).result() == 0


def frozen_task(name: str) -> None:
    with globals()[name]():
        clocks.sleep(0.01)


def nested_task(name: str) -> int:
    from futures_cluster import current_executor

    with globals()[name]():
        return sum(current_executor().map(abs, range(10), timeout=60))


@each_freezing
def test_time_stays_frozen_on_the_worker(freeze: Callable[[], AbstractContextManager[Any]]) -> None:
    """A task that forgets to let time go on."""
    if freeze is frozen:
        pytest.importorskip("freezegun")
    with Executor(1) as ex:
        ex.submit(forget_frozen, freeze.__name__).result()
        assert list(ex.map(abs, range(10), timeout=60)) == list(range(10))
        assert ex.submit(sum, ex.submit(list, range(5))).result() == 10
        with pytest.raises(TaskTimeout):
            ex.with_options(timeout=0.05).submit(wait_for, "/nowhere").result()


def forget_frozen(name: str) -> None:
    globals()[name]().__enter__()


@each_freezing
def test_coroutines_wait(freeze: Callable[[], AbstractContextManager[Any]]) -> None:
    async def main(ex: Executor) -> list[int]:
        return [future.result() async for future in as_completed([ex.submit(pow, 2, 3)])] + [await ex.submit(int)]

    with Executor(1) as ex:
        ex.submit(int).result()
        with freeze():
            assert asyncio.run(main(ex)) == [8, 0]


@each_freezing
def test_clocks_go_on(freeze: Callable[[], AbstractContextManager[Any]]) -> None:
    before = clocks.monotonic()
    with freeze():
        again = importlib.reload(clocks)  # as if the package were imported only now
        for clock in (again.monotonic, again.perf_counter, again.time):
            begin = clock()
            while clock() == begin:
                pass
        assert again.monotonic() > before
    assert sys.modules["time"] is time


def test_what_is_imported_in_frozen_time_is_right_afterwards() -> None:
    """A compiled module, with warnings as errors: it would keep freezegun's classes."""
    pytest.importorskip("freezegun")
    program = """
import datetime, sys, freezegun, futures_cluster
with freezegun.freeze_time("2020-01-01"):
    with futures_cluster.Executor(1) as ex:
        assert ex.submit(abs, -1).result() == 1
    assert datetime.datetime.now().year == 2020
import msgpack
assert datetime.datetime.now().year > 2020 and type(msgpack.ext._EPOCH) is datetime.datetime
now = datetime.datetime.now(datetime.timezone.utc)
assert msgpack.unpackb(msgpack.packb(now, datetime=True), timestamp=3) == now
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.returncode) == ("", 0)
