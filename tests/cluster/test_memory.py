"""A worker keeps to its memory limit, with real processes."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from futures_cluster import Executor, WorkerDied

np = pytest.importorskip("numpy")

WAIT_S = 60
MB = 10**6


def block(i: int) -> object:
    return np.full(5 * MB // 8, i, dtype=float)


def spilled() -> int:
    """How many results the worker that runs this has on disk."""
    from futures_cluster.services.store import Store

    (store,) = [obj for obj in gc.get_objects() if type(obj) is Store]
    return store.spilled_count


def test_results_over_the_limit_go_to_disk_and_come_back() -> None:
    with Executor(1, memory_limit="400MB") as ex:
        blocks = [ex.submit(block, i) for i in range(100)]  # 500 MB
        sums = ex.map(lambda x: float(x[0]), blocks)
        assert list(sums) == list(range(100))
        assert ex.submit(spilled).result(WAIT_S) > 10
        assert [float(b.result(WAIT_S)[0]) for b in blocks[::20]] == [0, 20, 40, 60, 80]


def test_without_a_limit_nothing_is_spilled() -> None:
    with Executor(1) as ex:
        blocks = [ex.submit(block, i) for i in range(20)]
        assert [float(b.result(WAIT_S)[-1]) for b in blocks] == list(range(20))
        assert ex.submit(spilled).result(WAIT_S) == 0


def test_a_worker_that_leaks_is_replaced(tmp_path: Path) -> None:
    def leak() -> int:
        import builtins

        builtins.leaked = np.ones(260 * MB // 8)  # type: ignore[attr-defined]
        return os.getpid()

    with Executor(1, memory_limit="330MB") as ex:
        first = ex.submit(leak).result(WAIT_S)
        pids = set()
        while not pids - {first}:
            pids.add(ex.submit(os.getpid).result(WAIT_S))


def test_a_task_that_takes_too_much_is_told_why() -> None:
    def eat() -> None:
        taken = []
        while True:
            taken.append(np.ones(10 * MB // 8))
            sum(len(x) for x in taken)

    with Executor(1, memory_limit="200MB") as ex:
        with pytest.raises(WorkerDied, match="over 95% of its memory_limit of 200 MB"):
            ex.submit(eat).result(WAIT_S)
        assert ex.submit(pow, 2, 3).result(WAIT_S) == 8
