"""A cleaner of temporary files removes the folder with the workers' sockets while the program runs."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path

import pytest

from futures_cluster import Executor

LARGE = 2**20


def make(runs: str, number: int) -> bytes:
    with open(runs, "a") as file:
        file.write(str(number))
    return bytes(LARGE)


def total(*parts: bytes) -> int:
    return sum(map(len, parts))


@pytest.mark.skipif(os.name != "posix", reason="needs unix sockets")
def test_results_come_all_the_same_and_workers_are_replaced(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with Executor(2) as ex:
        pids = set(ex.run(os.getpid).values())
        (folder,) = Path(tempfile.gettempdir()).glob(f"futures_cluster-{os.getpid()}-*")
        shutil.rmtree(folder)
        made = [ex.submit(make, str(runs), number) for number in range(4)]
        assert ex.submit(total, *made).result(30) == 4 * LARGE
        assert [len(each.result(30)) for each in made] == 4 * [LARGE]
        assert sorted(runs.read_text()) == list("0123")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert len(ex.submit(bytes, LARGE).result(30)) == LARGE
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
