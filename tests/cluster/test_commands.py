"""Commands that tests start: how long they live. Does not cover: what they do (the other modules here)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from futures_cluster.testing.real_cluster import Command, outlasting

#: Runs in the place of the command.
SLEEP = ["sh", "-c", "exec sleep 600"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes with a thread")


def test_a_command_outlives_the_thread_that_starts_it(tmp_path: Path) -> None:
    found: list[Command] = []
    thread = threading.Thread(target=lambda: found.append(Command([], tmp_path / "log", dict(os.environ), SLEEP)))
    thread.start()
    thread.join()
    while Path(f"/proc/self/task/{thread.native_id}").exists():  # it ends a moment after it can be joined
        pass
    assert found[0].end(signal.SIGTERM) == -signal.SIGTERM


STARTER = """
import os, pathlib, signal, sys
from futures_cluster.testing.real_cluster import Command

command = Command([], pathlib.Path(sys.argv[1]), dict(os.environ), sys.argv[2:])
print(command.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_command_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STARTER, str(tmp_path / "log"), *SLEEP], stdout=subprocess.PIPE)
    assert done.returncode == -signal.SIGKILL
    try:
        command = psutil.Process(int(done.stdout))
    except psutil.NoSuchProcess:
        return
    assert not outlasting([command])
