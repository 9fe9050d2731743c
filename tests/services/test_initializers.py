"""Initializers that take something away from their worker before its first task."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from futures_cluster import Executor

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")


def change_root(folder: str) -> None:
    os.chroot(folder)
    os.chdir("/")


def change_user(folder: str) -> None:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


def divide(x: int, y: int) -> float:
    return x / y


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do this")
@pytest.mark.parametrize("restrict", [change_root, change_user])
def test_what_only_root_may_do(restrict: Callable[[str], None], tmp_path: Path) -> None:
    with Executor(2, initializer=restrict, initargs=(str(tmp_path),)) as ex:
        assert list(ex.map(divide, [4, 6], [2, 2])) == [2, 3]
        assert isinstance(ex.submit(divide, 1, 0).exception(), ZeroDivisionError)
        assert len(ex.submit(bytes, 5_000_000).result()) == 5_000_000


def test_an_initializer_runs_before_there_are_other_threads() -> None:
    def look() -> None:
        os.environ["THREADS_SEEN"] = str(threading.active_count())

    with Executor(1, initializer=look) as ex:
        assert ex.submit(os.getenv, "THREADS_SEEN").result() == "1"
