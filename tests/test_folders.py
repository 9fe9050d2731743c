"""Folders that killed programs have left: ours are removed, those of others are not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from futures_cluster import Executor
from futures_cluster.errors import InitializerFailed
from futures_cluster.services import folders
from futures_cluster.wire import private_files


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_is_removed(root: Path) -> None:
    mine = Path(folders.make_folder())
    assert mine.stat().st_mode & 0o777 == 0o700
    where = folders._where()
    left = root / f"futures_cluster-{dead_pid()}-{where}-abc"
    stay = [
        root / f"futures_cluster-{dead_pid()}-0123456789-abc",  # of a container that shares this folder
        root / f"futures_cluster-{os.getppid()}-{where}-abc",
        root / "futures_cluster-code-abc",
        root / "something",
    ]
    for path in (left, *stay):
        path.mkdir()
        (path / "worker-0.sock").touch()
    other = Path(folders.make_folder())
    assert other != mine
    assert not left.exists()
    assert mine.exists() and all(path.exists() for path in stay)


@pytest.mark.parametrize("umask", [0, 0o277])
def test_modes_do_not_depend_on_the_umask(umask: int, root: Path) -> None:
    before = os.umask(umask)
    try:
        made = [Path(folders.make_folder()), Path(folders.make_folder(str(root / "a" / "b")))]
        made.append(Path(private_files.make_temporary_folder("worker-", str(made[0]))))
    finally:
        os.umask(before)
    for path in (*made, root / "a", root / "a" / "b"):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_worker_that_cannot_begin_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = folders.make_folder()
    os.chmod(made, 0o755)  # sockets are not opened where others can enter
    monkeypatch.setattr("futures_cluster.services.local.make_folder", lambda: made)
    with Executor(1) as ex:
        with pytest.raises(InitializerFailed, match="has mode 755; a socket is only opened in a folder of mode 700"):
            ex.submit(int).result()
