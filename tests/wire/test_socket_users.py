"""Unix sockets of other users: neither side talks to the other, whatever the mode of the folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster.errors import AuthenticationError
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import NO_SECURITY

OTHER_USER = 54321
#: A process of another user that connects to the socket in the folder, or listens there; and how it ended.
STRANGER = """
import os, socket, sys
os.setresuid({user}, {user}, {user})
os.chdir({folder!r})
sock = socket.socket(socket.AF_UNIX)
if {listens}:
    sock.bind("s")
    sock.listen(1)
    print("listens", flush=True)
    sock, _ = sock.accept()
else:
    sock.connect("s")
while sock.recv(4096):
    pass
"""
needs_root = pytest.mark.skipif(
    not hasattr(socket, "SO_PEERCRED") or os.geteuid() != 0, reason="needs Linux, and root to become another user"
)


@contextlib.contextmanager
def stranger_at(folder: Path, listens: bool) -> Iterator[subprocess.Popen[str]]:
    script = STRANGER.format(user=OTHER_USER, folder=str(folder), listens=listens)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


class Ends:
    """Listeners and connections of this process, on a loop in a thread."""

    def __init__(self) -> None:
        self._thread = LoopThread("test-loop")
        self._thread.start()
        self._opened: list[Any] = []

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._thread.loop).result(30)

    def listen(self, address: str) -> None:
        self._opened.append(self._run(registry.listen(address, self._thread.loop, NO_SECURITY, self._opened.append)))

    def connect(self, address: str) -> None:
        self._opened.append(self._run(registry.connect(address, self._thread.loop)))

    def close(self) -> None:
        async def close() -> None:
            for one in self._opened:
                one.close()

        self._run(close())
        self._thread.stop()
        self._thread.thread.join()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that all users can get at, unlike the folders of tests."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o700)
        yield Path(name)


@needs_root
def test_a_connector_of_another_user_is_refused(
    shared_folder: Path, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="futures_cluster.wire")
    ends.listen(f"unix://{shared_folder / 's'}")
    os.chmod(shared_folder, 0o777)  # the mode of the folder does not protect it any more
    os.chmod(shared_folder / "s", 0o777)
    with stranger_at(shared_folder, listens=False) as process:
        assert process.wait(30) == 0  # it was connected, and hung up on without a byte
    (record,) = caplog.records
    assert f"belongs to user {OTHER_USER}, and this process to user 0" in record.getMessage()
    ends.connect(f"unix://{shared_folder / 's'}")


@needs_root
def test_a_listener_of_another_user_is_refused(shared_folder: Path, ends: Ends) -> None:
    os.chmod(shared_folder, 0o777)
    with stranger_at(shared_folder, listens=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "listens\n"
        with pytest.raises(AuthenticationError, match=f"belongs to user {OTHER_USER}"):
            ends.connect(f"unix://{shared_folder / 's'}")


@needs_root
def test_a_listener_of_root_is_trusted(shared_folder: Path) -> None:
    """By a connector of another user; the listener lets in only its own."""
    os.chmod(shared_folder, 0o777)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared_folder / "s"))
        listener.listen(1)
        script = f"""
import os, socket
from futures_cluster.wire.transports.unix import check_user
os.setresuid({OTHER_USER}, {OTHER_USER}, {OTHER_USER})
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect({str(shared_folder / "s")!r})
    check_user(sock)
"""
        os.chmod(shared_folder / "s", 0o777)
        subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
