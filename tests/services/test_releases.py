"""Futures that are gone: the scheduler learns it soon, though no message follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from futures_cluster import Executor, current_executor
from futures_cluster.clocks import monotonic, sleep

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(1) as ex:
        ex.run(int)
        yield ex


def some_results(ex: Executor) -> list[int]:
    """A few tasks, whose futures are gone at the end."""
    return [ex.submit(abs, -number).result(TIMEOUT_S) for number in range(5)]


def some_results_of_a_task(ex: Executor) -> list[int]:
    """The same by a task, so that the worker has the futures."""
    return ex.submit(lambda: [current_executor().submit(abs, -number).result() for number in range(5)]).result()


@pytest.mark.parametrize("work", [some_results, some_results_of_a_task])
def test_the_last_small_results_do_not_stay(ex: Executor, work: Any) -> None:
    assert work(ex) == list(range(5))
    engine: Any = ex._engine
    end_s = monotonic() + TIMEOUT_S
    left: list[str] = ["not looked at"]
    while left and monotonic() < end_s:
        with engine.cluster.scheduler.reading() as state:
            left = list(state.tasks)
        sleep(0.01)
    assert not left
