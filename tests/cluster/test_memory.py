"""A worker keeps to its memory limit, with real processes."""

from __future__ import annotations

import concurrent.futures
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
    from futures_cluster.services.worker.store import Store

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


def shared_bytes() -> int:
    """What the worker that runs this keeps of shared segments for use again."""
    from futures_cluster.wire.codec.shm import SegmentPool

    (pool,) = [obj for obj in gc.get_objects() if type(obj) is SegmentPool]
    return sum(segment.size for segment in pool._free)


def test_segments_for_use_again_are_a_small_part_of_the_limit() -> None:
    """They are memory that nobody uses meanwhile, and not of the process as the system counts."""
    with Executor(1, memory_limit="400MB") as ex:
        for _ in range(3):  # several at a time, each in a segment of its own
            assert len(ex.gather([ex.submit(block, i) for i in range(20)])) == 20
        assert ex.submit(shared_bytes).result(WAIT_S) <= 25 * MB


def test_results_of_others_count_as_results() -> None:
    """They lie in shared segments of who made them: the store takes them for results, and not for something else."""
    from futures_cluster.services.common.memory import occupied_bytes, resident_bytes

    def grown(x: object) -> tuple[int, int]:
        float(x.sum())  # type: ignore[attr-defined]
        return resident_bytes() >> 20, occupied_bytes() >> 20

    with Executor(2, memory_limit="1GB") as ex:
        names = list(ex.run(os.getpid))
        made = ex.with_options(workers=[names[0]]).submit(np.ones, 100 * MB // 8)
        private, occupied = ex.with_options(workers=[names[1]]).submit(grown, made).result(WAIT_S)
        assert occupied - private >= 90


def once(folder: str, i: int) -> bytes:
    Path(folder, f"{i}-{os.getpid()}-{len(os.listdir(folder))}").touch()
    return bytes(20 * MB)


@pytest.mark.parametrize("way", ["the end", "callbacks"])
@pytest.mark.parametrize("rerun", [True, False])
def test_all_results_on_disk_are_fetched_at_once(tmp_path: Path, rerun: bool, way: str) -> None:
    """They take turns: together they are more than the worker's memory."""
    came: list[int] = []
    with Executor(1, memory_limit="150MB") as ex:
        futures = [ex.with_options(rerun=rerun).submit(once, str(tmp_path), i) for i in range(10)]
        assert sum(ex.map(len, futures)) == 200 * MB
        if way == "callbacks":
            for future in futures:
                future.add_done_callback(lambda future: came.append(len(future.result())))
    assert [len(future.result(WAIT_S)) for future in futures] == [20 * MB] * 10
    assert came in ([], [20 * MB] * 10) and bool(came) == (way == "callbacks")
    assert len(os.listdir(tmp_path)) == 10, "each ran once"


def test_the_end_of_the_workers_takes_nothing_that_was_fetched() -> None:
    with Executor(1) as ex:
        future = ex.with_options(rerun=False).submit(bytes, 5 * MB)
        assert ex.submit(len, future).result(WAIT_S) == 5 * MB
    assert len(future.result(WAIT_S)) == 5 * MB


@pytest.mark.slow
@pytest.mark.parametrize("waits", [True, False])
def test_results_of_python_objects_cost_no_worker_its_life(waits: bool) -> None:
    """Spilling and sending them take memory on top; one worker then holds more than the limit."""

    def rows(i: int) -> list[tuple[int, int, str]]:  # by value: this module would bring pytest into the workers
        return [(i, j, str(j)) for j in range(200_000)]  # 33 MB in memory, a tenth of it as a pickle

    with Executor(2, memory_limit="150MB") as ex:
        futures = [ex.with_options(rerun=False).submit(rows, i) for i in range(6)]
        if waits:
            concurrent.futures.wait(futures, WAIT_S)
        for i, future in enumerate(futures):
            assert future.result(WAIT_S)[::199_999] == [(i, 0, "0"), (i, 199_999, "199999")]
