"""Check by pyright that the type of each public name is known: ``python tests/typing/public_types.py``.

``pyright --verifytypes`` takes all modules without an underscore for public, and most of this package's are the rooms
of its machinery. So this takes those symbols out of its answer that users import: the names of ``PUBLIC``, and the
members of their classes and of the bases of these. Classes of ``glm`` count by their members only, as they derive from
scikit-learn's, which have no types.

Run it where pyright is installed. The packages that pyright and this look into are those of ``--python-executable``.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "futures_cluster"
ROOT = Path(__file__).resolve().parents[2]

#: Modules whose names are public.
PUBLIC = (
    "",
    ".glm",
    ".channels",
    ".plugins",
    ".transports",
    ".errors",
    ".metrics",
    ".testing",
    ".testing.real_cluster",
)
#: What public methods return.
RETURNED = (
    "executor.map_iterator.MapIterator",
    "adapters.defaults.Default",
    "adapters.progress.Progress",
    "services.client.task_output.Line",
    "glm.inference.Summary",
)


def public_names() -> list[str]:
    """The full names of what users import, where it is defined, too."""
    found = {f"{PACKAGE}.{name}" for name in RETURNED}
    for path in PUBLIC:
        module = importlib.import_module(PACKAGE + path)
        for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
            found.add(f"{module.__name__}.{name}")
            value = getattr(module, name)
            parts = value.__mro__ if isinstance(value, type) else [value] if inspect.isfunction(value) else []
            found.update(f"{part.__module__}.{part.__qualname__}" for part in parts)
    return sorted(name for name in found if name.startswith(f"{PACKAGE}."))


def verified(python: str) -> list[dict[str, Any]]:
    """All symbols of the package, as pyright sees them."""
    with tempfile.TemporaryDirectory() as elsewhere:  # not in the clone, where pyright takes the package for a program
        done = subprocess.run(
            ["pyright", "--pythonpath", python, "--verifytypes", PACKAGE, "--ignoreexternal", "--outputjson"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=elsewhere,
            stdout=subprocess.PIPE,
            text=True,
        )
    symbols: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    return symbols


def is_unknown(symbol: dict[str, Any]) -> bool:
    if symbol["category"] == "class" and f"{symbol['name']}.".startswith(f"{PACKAGE}.glm."):
        return False
    return symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Check that the type of each public name is known.")
    parser.add_argument("--python-executable", default=sys.executable, help="has what the package imports")
    parser.add_argument("--names", action="store_true", help="only print the public names")
    arguments = parser.parse_args()
    if arguments.names:
        print("\n".join(public_names()))
        return 0
    listed = subprocess.run(
        [arguments.python_executable, __file__, "--names"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    names = listed.stdout.split()
    prefixes = tuple(f"{name}." for name in names)
    symbols = [one for one in verified(arguments.python_executable) if f"{one['name']}.".startswith(prefixes)]
    unknown = [one for one in symbols if is_unknown(one)]
    for one in unknown:
        print(one["name"])
        for each in one["diagnostics"]:
            print(f"    {each['file']}:{each.get('range', {}).get('start', {}).get('line', 0) + 1}: {each['message']}")
    print(f"{len(symbols) - len(unknown)} of {len(symbols)} public symbols have known types")
    return 1 if unknown or not symbols else 0


if __name__ == "__main__":
    sys.exit(main())
