"""Run Dask's own installed tests on an executor: all of them, or each so manieth.

    python -m tests.adapters.run_dask_tests                      # all: some 17,000 tests, an hour on two cores
    python -m tests.adapters.run_dask_tests --every 50           # a fiftieth of the large ones
    python -m tests.adapters.run_dask_tests array bag -- -x      # parts; what follows -- is for pytest

Covers: which modules, and pytest's options for them. Does not cover: the executor (``dask_plugin``), the failures that
are expected (``dask_failures``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: Name of each part: its modules, and whether it is so large that ``--every`` applies to it.
PARTS: dict[str, tuple[list[str], bool]] = {
    "delayed": (["dask.tests.test_delayed", "dask.tests.test_base", "dask.tests.test_graph_manipulation"], False),
    "bag": (["dask.bag.tests"], True),
    "array": (["dask.array.tests"], True),
    "dataframe": (["dask.dataframe.tests"], True),
    "expr": (["dask.dataframe.dask_expr.tests"], True),
    "io": (["dask.dataframe.io.tests", "dask.dataframe.tseries.tests"], True),
    "glm": ([], True),
}
#: Modules of each kind that are collected fast, for CI.
PARTS["quick"] = (
    [
        *("dask.tests.test_delayed", "dask.array.tests.test_reshape", "dask.array.tests.test_overlap"),
        *("dask.array.tests.test_sparse", "dask.array.tests.test_stats", "dask.bag.tests.test_bag"),
        *("dask.dataframe.dask_expr.tests.test_shuffle", "dask.dataframe.dask_expr.tests.test_cumulative"),
        *("dask.dataframe.tests.test_hyperloglog", "dask.dataframe.tests.test_merge_column_and_index"),
    ],
    True,
)

#: Of one test. Some take Dask's own threads a minute on a busy machine, such as test_split_out_automatically.
TIMEOUT_S = 300

#: Tests that start schedulers of their own, or need the network; ``test_analyze`` starts one, too.
LEFT_OUT = "not distributed and not network and not test_analyze"


def command_of(part: str, more: list[str]) -> list[str] | None:
    """pytest's command line; None if what it tests is not installed."""
    modules, _ = PARTS[part]
    targets = ["--rootdir=/", "--pyargs", *modules]
    if part == "glm":  # its tests are no package
        spec = find_spec("dask_glm")
        if spec is None or not spec.submodule_search_locations:
            return None
        folder = f"{next(iter(spec.submodule_search_locations))}/tests"
        targets = [f"--rootdir={folder}", folder]
    return [
        *(sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "dask_plugin", "-p", "no:cacheprovider"),
        *("-o", "asyncio_mode=auto", "-o", "xfail_strict=false", "-W", "ignore", "-q", "--tb=short"),
        *(f"--timeout={TIMEOUT_S}", "-k", LEFT_OUT, *targets, *more),
    ]


def run(part: str, every: int = 1, backend: str = "processes", more: list[str] | None = None, **options: object) -> int:
    """Run a part; pytest's exit code. ``options`` are for ``subprocess.run``."""
    command = command_of(part, more or [])
    if command is None:
        return 0
    path = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {
        "PYTHONPATH": path,
        "DASK_PLUGIN_BACKEND": backend,
        "DASK_PLUGIN_EVERY": str(every if PARTS[part][1] else 1),
    }
    return subprocess.run(command, env=environment, check=False, **options).returncode  # type: ignore[call-overload,no-any-return]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[part for part in PARTS if part != "quick"], help=", ".join(PARTS))
    parser.add_argument("--every", type=int, default=1, help="only each so manieth test of the large parts")
    parser.add_argument("--backend", default="processes", help="processes, threads, or baseline: Dask's own schedulers")
    arguments, more = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1 :]
    options = parser.parse_args(arguments)
    codes = {part: run(part, options.every, options.backend, more) for part in options.parts}
    print({part: "passed" if code in (0, 5) else f"failed ({code})" for part, code in codes.items()})
    return max(0 if code == 5 else code for code in codes.values())


if __name__ == "__main__":
    raise SystemExit(main())
