"""An executor that is used from inside itself: its own tasks end it, finalizers use it while it starts."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest
from gate import LIMIT_S

from futures_cluster import Executor, ThreadPoolExecutor

# ---------------------------------------------------------------- a task that ends its own executor

EACH_POOL = pytest.mark.parametrize(
    "make",
    [
        lambda: concurrent.futures.ThreadPoolExecutor(2),
        lambda: ThreadPoolExecutor(2),
        lambda: Executor(2, backend="threads"),
    ],
    ids=["standard library", "ThreadPoolExecutor", "Executor"],
)


@EACH_POOL
def test_a_task_that_waits_for_the_end_of_its_own_executor_raises(make: Callable[[], Any]) -> None:
    pool = make()
    future = pool.submit(pool.shutdown)
    with pytest.raises(RuntimeError, match="cannot join current thread"):
        future.result(LIMIT_S)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
    pool.shutdown()


@EACH_POOL
def test_others_finish_after_a_task_tried_to_wait_for_the_end(make: Callable[[], Any]) -> None:
    pool = make()
    started: concurrent.futures.Future[None] = concurrent.futures.Future()

    def end(wait: bool) -> None:
        started.result(LIMIT_S)
        pool.shutdown(wait=wait)

    ending = [pool.submit(end, wait) for wait in (True, False)]
    others = [pool.submit(pow, 2, n) for n in range(10)]
    started.set_result(None)
    assert [future.result(LIMIT_S) for future in others] == [2**n for n in range(10)]
    assert ending[1].result(LIMIT_S) is None
    assert isinstance(ending[0].exception(LIMIT_S), RuntimeError)
    pool.shutdown()
