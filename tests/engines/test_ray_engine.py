"""Our executor on a real local Ray: the checks that every engine passes (slow), and a few of them always."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster.testing import commands
from futures_cluster.testing.engine_checks import CHECKS, ENGINES

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.slow,
]


def needs_one_worker(name: str) -> bool:
    """Checks that ask for the same number of workers run together, as Ray takes seconds to start."""
    return (
        "max_workers=1"
        in Path(CHECKS[name].function.__code__.co_filename).read_text().split(f"def {name}(")[1].split("\ndef ")[0]
    )


@pytest.fixture(scope="module")
def process() -> Iterator[Any]:
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("ray_checks.py"))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    commands.shared_pids.add(process.pid)
    yield process
    process.communicate(timeout=60)
    commands.shared_pids.discard(process.pid)


@pytest.mark.parametrize(
    "name",
    sorted([name for name, check in CHECKS.items() if check.is_meant_for(ENGINES["ray"].traits)], key=needs_one_worker),
)
def test_engine(name: str, process: Any) -> None:
    print(name, file=process.stdin, flush=True)
    outcome = json.loads(process.stdout.readline())
    assert outcome == ""
