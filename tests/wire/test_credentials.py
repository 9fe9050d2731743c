"""The secret: where it is found, how it is made once, and which files are refused."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from futures_cluster.config import SECRET_VARIABLE
from futures_cluster.errors import AuthenticationError, InvalidSecret
from futures_cluster.wire import credentials
from futures_cluster.wire.credentials import find_or_make_secret, find_secret, secret_path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user who has nothing yet."""
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "futures_cluster"


def test_nothing_there(folder: Path) -> None:
    assert find_secret() is None
    assert not folder.exists()


def test_it_is_made_once_and_found(folder: Path) -> None:
    secret = find_or_make_secret()
    assert len(secret) >= 40
    assert find_secret() == find_or_make_secret() == secret
    assert os.listdir(folder) == ["secret"]
    assert stat.S_IMODE(os.stat(secret_path()).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


@pytest.mark.parametrize("umask", [0, 0o277])
def test_the_mode_does_not_depend_on_the_umask(umask: int, folder: Path) -> None:
    before = os.umask(umask)
    try:
        find_or_make_secret()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(secret_path()).st_mode) & ~0o600 == 0
    for made in (folder, folder.parent):
        assert stat.S_IMODE(os.stat(made).st_mode) == 0o700


def test_secrets_differ(folder: Path) -> None:
    secret = find_or_make_secret()
    os.unlink(secret_path())
    assert find_or_make_secret() != secret


def test_many_make_one(folder: Path) -> None:
    start = threading.Barrier(8)
    found: list[bytes] = []

    def make() -> None:
        start.wait()
        found.append(find_or_make_secret())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert os.listdir(folder) == ["secret"]


def test_the_environment_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_or_make_secret()
    told = "from the environment, and long enough"
    monkeypatch.setenv(SECRET_VARIABLE, told)
    assert find_secret() == find_or_make_secret() == told.encode()
    monkeypatch.setenv(SECRET_VARIABLE, "")  # as when a shell script passes on what is not set
    assert find_secret() not in (None, b"", told.encode())


def test_a_relative_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert secret_path() == str(tmp_path / "home" / ".config" / "futures_cluster" / "secret")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_file_that_others_can_reach_is_refused(mode: int, folder: Path) -> None:
    find_or_make_secret()
    os.chmod(secret_path(), mode)
    for find in (find_secret, find_or_make_secret):
        with pytest.raises(PermissionError, match=f"has mode {mode:o}: .* Remove the file and restart the scheduler"):
            find()


def test_a_file_of_somebody_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_or_make_secret()
    owner = os.stat(secret_path()).st_uid
    if owner == 0:
        os.chown(secret_path(), 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(PermissionError, match="belongs to user"):
        find_secret()


def test_a_file_that_this_user_cannot_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_or_make_secret()

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(credentials.os, "open", refuse)
    # A new secret would be another than the scheduler's.
    with pytest.raises(InvalidSecret, match=r"Permission denied.*FUTURES_CLUSTER_SECRET to the text of the scheduler"):
        find_secret()
    with pytest.raises(InvalidSecret, match=r"Permission denied.*openssl"):
        find_or_make_secret()


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_an_empty_file_is_refused(content: bytes, folder: Path) -> None:
    find_or_make_secret()
    Path(secret_path()).write_bytes(content)
    for find in (find_secret, find_or_make_secret):
        with pytest.raises(InvalidSecret, match="is empty; remove it"):
            find()


def _make_fifo(path: str) -> None:
    os.mkfifo(path, 0o600)


def _make_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


def _make_device(path: str) -> None:
    os.symlink("/dev/zero", path)


@pytest.mark.skipif(os.name != "posix", reason="needs such files")
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkdir, "a directory and not a file. Move it"),
        (_make_fifo, "a FIFO"),
        (_make_device, "a device"),
        # The system itself does not open a socket.
        (_make_socket, "secret"),
    ],
)
def test_what_is_no_file_is_refused_at_once(
    make: Callable[[str], None], kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)  # paths of sockets are short
    make("secret")
    for find in (find_secret, find_or_make_secret):
        with pytest.raises(OSError, match=kind):
            find()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff" * 40, "is not UTF-8 text. Remove the file"),
        (b"swordfish", r"at most 54 bits.*128 bits are needed\. Remove the file"),
        (b"0123456789abcdef", "at most 64 bits"),
        (b"1234567890" * 3, "at most 99 bits"),
        (b"x" * 5000, "has more than 4096 bytes"),
    ],
)
def test_a_file_with_a_weak_secret_or_none_is_refused(content: bytes, why: str, folder: Path) -> None:
    find_or_make_secret()
    Path(secret_path()).write_bytes(content)
    for find in (find_secret, find_or_make_secret):
        with pytest.raises(AuthenticationError, match=why):
            find()


@pytest.mark.parametrize("told", ["swordfish", "0123456789abcdef0123456789abcde", "\udcff"])
def test_a_weak_secret_in_the_environment_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, told)
    with pytest.raises(InvalidSecret, match=r"FUTURES_CLUSTER_SECRET.*openssl rand -hex 32"):
        find_secret()


@pytest.mark.parametrize("make", [secrets.token_hex, secrets.token_urlsafe])
def test_what_generators_make_of_128_bits_is_enough(
    make: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = make(16)
    monkeypatch.setenv(SECRET_VARIABLE, told)
    assert find_secret() == told.encode()


def test_a_folder_in_which_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot put a new secret into .* set FUTURES_CLUSTER_SECRET instead"):
        find_or_make_secret()


def test_a_draft_is_not_left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(credentials.os, "link", refuse)
    with pytest.raises(OSError, match="no links here"):
        find_or_make_secret()
    assert os.listdir(folder) == []
