"""A selection of Dask's own installed tests, with an executor as the scheduler; all: ``run_dask_tests``."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytest.importorskip("dask")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

sys.path.insert(0, __file__.rpartition("/")[0])

import dask_failures
import run_dask_tests


@pytest.mark.slow
@pytest.mark.timeout(600)  # a whole suite; each test in it has a limit of its own
def test_selection() -> None:
    more = ["-n0"] if find_spec("xdist") else []
    assert run_dask_tests.run("quick", 16, more=more, timeout=580) == 0


def test_each_expected_failure_has_a_reason() -> None:
    assert all(len(reason) > 10 and "::" in name for name, reason in dask_failures.EXPECTED.items())


def test_the_command_shows_its_help() -> None:
    done = subprocess.run(
        [sys.executable, run_dask_tests.__file__, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "--every" in done.stdout
