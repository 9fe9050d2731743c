"""What ``resources`` counts: each worker, which on threads is each thread, offers what the executor was made with."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from futures_cluster import Executor

WAIT_S = 60

everywhere = pytest.mark.parametrize("backend", ["processes", "threads"])


def meet(folder: Path, name: str, number: int) -> None:
    """Run until so many of these run at a time."""
    (folder / name).touch()
    end = time.monotonic() + WAIT_S
    while len(list(folder.iterdir())) < number:
        assert time.monotonic() < end, "the others do not run beside this one"
        time.sleep(0.002)


@everywhere
def test_each_worker_has_what_the_executor_says(backend: str, tmp_path: Path) -> None:
    with Executor(3, backend=backend, resources={"api": 1}) as ex:
        one = ex.with_options(resources={"api": 1})
        for future in [one.submit(meet, tmp_path, f"task-{i}", 3) for i in range(3)]:
            future.result(WAIT_S)


@everywhere
def test_no_task_gets_more_than_one_worker_has(backend: str) -> None:
    with (
        Executor(3, backend=backend, resources={"api": 1}) as ex,
        pytest.raises(ValueError, match="a task asks for 2 of 'api', and each worker offers 1"),
    ):
        ex.with_options(resources={"api": 2}).submit(abs, -1)
