"""The soak benchmark, for seconds: everything at once, while workers are killed and programs come and go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from futures_cluster.services.launch import fork_server_process

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"

pytestmark = pytest.mark.skipif(not fork_server_process.available, reason="needs unix sockets")


def soak(where: str, minutes: float) -> None:
    command = [sys.executable, str(SCRIPT), "--where", where, "--minutes", str(minutes), "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * minutes + 400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left behind" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", "tcp"])
def test_a_minute(where: str) -> None:
    soak(where, 1.0)


def test_a_moment() -> None:
    soak("local", 0.03)
