"""Folders that killed programs have left: ours are removed, those of others are not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from futures_cluster import Executor
from futures_cluster.errors import InitializerFailed
from futures_cluster.services.common import socket_folders
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
    mine = Path(socket_folders.make_folder())
    assert mine.stat().st_mode & 0o777 == 0o700
    where = socket_folders._where()
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
    other = Path(socket_folders.make_folder())
    assert other != mine
    assert not left.exists()
    assert mine.exists() and all(path.exists() for path in stay)
    for path in (mine, other):
        socket_folders.remove_folder(str(path))
        assert not path.exists()


OWNER = """
import os, sys
from futures_cluster.services.common import socket_folders as folders
print(folders.make_folder(sys.argv[1]), flush=True)
forked = os.fork() if len(sys.argv) > 2 else 1
sys.stdin.read()
"""


@pytest.mark.parametrize("forks", [False, True])
def test_the_lock_tells_whether_the_owner_lives(root: Path, forks: bool) -> None:
    """Also if its number is that of a process that lives, as in containers, or the owner has left a forked copy."""
    arguments = [sys.executable, "-c", OWNER, str(root), *(["forks"] if forks else [])]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdin is not None and owner.stdout is not None
        made = Path(owner.stdout.readline().strip())
        # As if it belonged to a former process with the number of this one.
        renamed = made.rename(root / f"futures_cluster-{os.getpid()}-{socket_folders._where()}-abc")
        socket_folders._sweep(str(root))
        assert renamed.exists()
        owner.kill()
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
        socket_folders._sweep(str(root))
        assert not renamed.exists()


def test_the_lock_means_nothing_on_another_machine(root: Path) -> None:
    there = root / f"futures_cluster-{dead_pid()}-{socket_folders._where()}-abc"
    there.mkdir()
    (there / socket_folders.LOCK).write_text("another start of another machine")
    socket_folders._sweep(str(root))
    assert there.exists()


def test_sweeping_keeps_the_locks_of_this_process(root: Path) -> None:
    mine = socket_folders.make_folder()
    socket_folders._sweep(str(root))
    lock = os.path.join(mine, socket_folders.LOCK)
    tried = f"import fcntl; fcntl.lockf(open({lock!r}, 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert b"BlockingIOError" in subprocess.run([sys.executable, "-c", tried], capture_output=True).stderr
    socket_folders.remove_folder(mine)
    assert not socket_folders._held


def test_a_file_system_without_locks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(socket_folders.fcntl, "lockf", refuse)
    mine = socket_folders.make_folder()
    assert os.path.isdir(mine) and not socket_folders._held
    socket_folders.remove_folder(mine)


@pytest.mark.parametrize("umask", [0, 0o277])
def test_modes_do_not_depend_on_the_umask(umask: int, root: Path) -> None:
    before = os.umask(umask)
    try:
        made = [Path(socket_folders.make_folder()), Path(socket_folders.make_folder(str(root / "a" / "b")))]
        made.append(Path(private_files.make_temporary_folder("worker-", str(made[0]))))
    finally:
        os.umask(before)
    for path in (*made, root / "a", root / "a" / "b"):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in made[:2]:
        socket_folders.remove_folder(str(path))


def test_a_worker_that_cannot_begin_says_why(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket_folders.make_folder()
    os.chmod(made, 0o755)  # sockets are not opened where others can enter
    monkeypatch.setattr("futures_cluster.services.local.cluster.make_folder", lambda: made)
    with Executor(1) as ex:
        with pytest.raises(InitializerFailed, match="has mode 755; a socket is only opened in a folder of mode 700"):
            ex.submit(int).result()
