"""A selection of Dask's own installed tests, with an executor as the scheduler; all: ``run_dask_tests``."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("dask")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

sys.path.insert(0, __file__.rpartition("/")[0])

import dask_failures  # noqa: E402
import run_dask_tests  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "every"), [("delayed", 1), ("bag", 9), ("array", 211), ("dataframe", 199), ("expr", 151), ("io", 101)]
)
def test_selection(part: str, every: int) -> None:
    done = run_dask_tests.run(part, every, more=["-n0"] if _has("xdist") else [], timeout=110)
    assert done == 0


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_each_expected_failure_has_a_reason() -> None:
    assert all(len(reason) > 10 and "::" in name for name, reason in dask_failures.EXPECTED.items())


def test_the_command_shows_its_help() -> None:
    done = subprocess.run(
        [sys.executable, run_dask_tests.__file__, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and "--every" in done.stdout
