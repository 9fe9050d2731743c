"""Our executor on a real local Ray: the checks that every engine passes (slow), and a few of them always."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


class Checks:
    """The process that runs the checks."""

    def __init__(self, stderr: Path) -> None:
        command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("ray_checks.py"))]
        self._stderr = stderr
        with stderr.open("w") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True
            )

    def run(self, name: str) -> str:
        """The traceback of a check, or ""."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(name, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            end = self._stderr.read_text(errors="replace")[-4000:]
            pytest.fail(f"the process with Ray has ended ({self.process.wait()}); the end of its stderr:\n{end}")
        return str(json.loads(answer))


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checks]:
    checks = Checks(tmp_path_factory.mktemp("ray") / "stderr")
    commands.shared_pids.add(checks.process.pid)
    yield checks
    checks.process.communicate(timeout=60)
    commands.shared_pids.discard(checks.process.pid)


@pytest.mark.parametrize(
    "name",
    sorted([name for name, check in CHECKS.items() if check.is_meant_for(ENGINES["ray"].traits)], key=needs_one_worker),
)
def test_engine(name: str, checks: Checks) -> None:
    assert checks.run(name) == ""
