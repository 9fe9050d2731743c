"""More and fewer workers while a program runs: nothing is lost, nothing runs twice, nothing is left."""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from futures_cluster import Executor
from futures_cluster.errors import NotSupported

WAIT_S = 60


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def note(folder: Path, name: str) -> np.ndarray:
    """Write down that a task ran; a result that stays on its worker."""
    with open(folder / name, "ab") as file:
        file.write(b"x")
    return np.ones(50_000)


def hold(folder: Path) -> int:
    while not (folder / "go").exists():
        time.sleep(0.005)
    return os.getpid()


def test_scale_up_and_down_keeps_what_is_held(tmp_path: Path) -> None:
    with Executor(1) as ex:
        ex.scale(4)
        wait_for(lambda: len(ex.workers()) == 4)
        held = [ex.submit(note, tmp_path, f"k{i}") for i in range(40)]
        concurrent.futures.wait(held)
        ex.scale(1)
        more = [ex.submit(note, tmp_path, f"more{i}") for i in range(40)]
        assert [future.result(WAIT_S).sum() for future in held + more] == [50_000] * 80
        wait_for(lambda: len(ex.workers()) == 1)
        assert all((tmp_path / f"{name}{i}").stat().st_size == 1 for name in ("k", "more") for i in range(40))
        assert ex._max_workers == 1


def test_workers_follow_the_work(tmp_path: Path) -> None:
    with Executor(1) as ex:
        ex.adapt(1, 3)
        waiting = [ex.submit(hold, tmp_path) for _ in range(3)]
        wait_for(lambda: len(ex.workers()) == 3)
        (tmp_path / "go").touch()
        assert len({future.result(WAIT_S) for future in waiting}) == 3
        wait_for(lambda: len(ex.workers()) == 1)
        assert ex.submit(pow, 2, 2).result(WAIT_S) == 4


def test_scaling_while_tasks_run_loses_none(tmp_path: Path) -> None:
    with Executor(3) as ex:
        futures = []
        for number in (1, 3, 2, 4, 1):
            futures += [ex.submit(note, tmp_path, f"{len(futures) + i}") for i in range(30)]
            ex.scale(number)
            concurrent.futures.wait(futures[-30:], return_when=concurrent.futures.FIRST_COMPLETED)
        total = ex.submit(lambda *parts: sum(int(part.sum()) for part in parts), *futures)
        assert total.result(WAIT_S) == 50_000 * len(futures)
        assert all((tmp_path / str(i)).stat().st_size == 1 for i in range(len(futures)))


def test_what_makes_no_sense_is_refused() -> None:
    with Executor(1, backend="threads") as ex, pytest.raises(NotSupported, match="fixed"):
        ex.scale(2)
    with Executor(1) as ex:
        with pytest.raises(ValueError, match="at least one"):
            ex.scale(0)
        with pytest.raises(ValueError, match="minimum"):
            ex.adapt(3, 2)


def test_explain_says_why_a_task_does_not_run(tmp_path: Path) -> None:
    with Executor(1) as ex:
        running = ex.submit(hold, tmp_path)
        behind = ex.submit(pow, running, 1)
        wait_for(running.running)
        assert running.key in ex.explain(behind)
        (tmp_path / "go").touch()
        assert behind.result(WAIT_S)
