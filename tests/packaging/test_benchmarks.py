"""The benchmarks' command lines. Does not cover: what the benchmarks measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["scheduler_cost", "simulate", "status_cost", "transports"])
def test_help_describes_a_benchmark_and_measures_nothing(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith(f"usage: {name}.py") and not done.stderr
