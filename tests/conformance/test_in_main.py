"""CPython's own tests of executors in the ``__main__`` of a script, together with all that they submit.

Covers: each of the suites that ``test_conformance`` runs on processes, by our own start and by each context.
Does not cover: how the script is made (``main_script``), where ours differ on purpose (``deviations``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 13):
    pytest.skip("needs Python 3.13 or later with its test package", allow_module_level=True)
pytest.importorskip("test.test_concurrent_futures")

import main_script
import shim

# Each worker that is spawned imports the whole script again.
LIMIT_S = 280.0
pytestmark = [pytest.mark.conformance, pytest.mark.timeout(LIMIT_S + 20)]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conformance") / "script.py"
    path.write_text(main_script.generate())
    return path


def cases() -> list[object]:
    return [
        pytest.param(start, test, marks=[] if start == "OwnStart" else [pytest.mark.slow], id=f"{start}-{test}")
        for test in main_script.TESTS
        for start in main_script.STARTS
    ]


@pytest.mark.parametrize(("start", "test"), cases())
def test_suite(start: str, test: str, script: Path) -> None:
    path = os.pathsep.join(filter(None, [str(shim.ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(script), "-v", main_script.class_name(start, test)],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nOK" in done.stderr, done.stderr
