"""Holds the walls between the rooms of the package, by reading its source.

Covers: the direction of imports, the purity of the machines, the length of modules, docstrings, and
what an import of the package loads. Does not cover: what the code does.
"""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from futures_cluster import late

PACKAGE = "futures_cluster"
ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / PACKAGE

# Each room may import itself and the rooms before it.
ROOMS = [
    "clocks",
    "late",
    "locks",
    "pool_errors",
    "errors",
    "numbers",
    "config",
    "metrics",
    "messages",
    "context",
    "log_filter",
    "wire",
    "scheduler",
    "worker",
    "status",
    "services",
    "engines",
    "dask_reference",
    "future_callbacks",
    "future_state",
    "future",
    "as_completed",
    "plugins",
    "transports",
    "channels",
    "executor",
    "adapters",
    "glm",
    "testing",
    "demo",
    "cli",
    "__main__",
]

# The same inside of rooms: each of these may import itself and those before it. "" are the modules beside the folders.
INNER_ROOMS = {
    "services": ["common", "client", "worker", "launch", "observe", "scheduler", "local"],
    "wire": ["codec", "", "transports"],
    "engines": ["", "inprocess", "external"],
}

# (importing module, imported room): why this one import may point downwards.
ALLOWED_DOWNWARDS: dict[tuple[str, str], str] = {
    ("executor.dask_methods", "adapters"): "loaded when a method of the executor gets a collection",
}

# These use the package as its users do, by the names of its __init__: every room is before them.
USERS_OF_THE_FACE = ("demo", "cli", "__main__")

PURE_ROOMS = ("scheduler", "worker")

# The first group is what the design forbids by name; the second is the same in other clothes.
IMPURE = frozenset(
    {"asyncio", "multiprocessing", "os", "random", "selectors", "socket", "subprocess", "threading", "time"}
    | {"_thread", "concurrent", "queue", "secrets", "select", "signal", "socketserver", "ssl", "tempfile"}
    | {"uuid"}
)

# What ``clocks`` has copies of: the originals are replaced by tests that freeze time.
CLOCKS = frozenset({"monotonic", "perf_counter", "process_time", "sleep", "time"})
CLOCKS |= {f"{name}_ns" for name in CLOCKS} | {"clock_gettime", "thread_time"}

MAX_LINES = 500

# What neither an import of the package nor a new executor loads. Each takes milliseconds, some of them for what they
# import themselves (``dataclasses`` imports ``inspect`` and ``ast``).
HEAVY = (
    *("ast", "asyncio", "concurrent.futures.process", "dask", "dataclasses", "hashlib", "inspect", "multiprocessing"),
    *("numpy", "pandas", "ssl"),
)
# What starts the process that workers are forked from: a new executor has it, because its first task will need it.
STARTERS = ("socket", "subprocess")

MODULES = sorted(SOURCE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name below the package: 'wire.frames', 'wire' for its __init__, '' for the package's own."""
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.Module, *, name: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of everything imported, wherever the statement stands.

    Imports inside functions and under TYPE_CHECKING count, and so does import_module("literal").
    `from a import b` yields 'a.b', since b may be a module.
    """
    here = [PACKAGE, *filter(None, name.split("."))]
    if not is_package:
        here.pop()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                base = here[: len(here) - node.level + 1] + base
            for alias in node.names:
                yield node.lineno, ".".join([*base, alias.name])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            target = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(target, str):
                yield node.lineno, ".".join(here) + target if target.startswith(".") else target


def wrong_directions(tree: ast.Module, *, name: str, is_package: bool) -> list[str]:
    """What this module imports from later rooms, from unknown rooms, or through the package's face."""
    room = name.split(".")[0]
    wrong = []
    for line, imported in imports(tree, name=name, is_package=is_package):
        parts = imported.split(".")
        if parts[0] != PACKAGE:
            continue
        target = parts[1] if len(parts) > 1 else ""
        if (name, target) in ALLOWED_DOWNWARDS:
            continue
        if target not in ROOMS:
            if room in USERS_OF_THE_FACE:
                continue
            wrong.append(f"line {line}: {imported} is no room; import from the room itself")
        elif ROOMS.index(target) > ROOMS.index(room):
            wrong.append(f"line {line}: {room} comes before {target} and must not import {imported}")
    return wrong


def inner_room(name: str) -> str:
    """The folder in which a module of a room is; "" beside the folders."""
    room, *rest = name.split(".")
    return rest[0] if rest and rest[0] in INNER_ROOMS[room] else ""


def wrong_inner_directions(tree: ast.Module, *, name: str, is_package: bool) -> list[str]:
    """What this module imports from later folders of its own room."""
    room = name.split(".")[0]
    if room not in INNER_ROOMS or name == room:  # the __init__ of a room may choose among all of it
        return []
    order, wrong = INNER_ROOMS[room], []
    for line, imported in imports(tree, name=name, is_package=is_package):
        if imported.startswith(f"{PACKAGE}.{room}."):
            target = inner_room(imported.removeprefix(f"{PACKAGE}."))
            if order.index(target) > order.index(inner_room(name)):
                wrong.append(f"line {line}: {room} comes before {target} and must not import {imported}")
    return wrong


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, by Tarjan's strongly connected components."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(name: str) -> None:
        numbers[name] = lowest[name] = len(numbers)
        path.append(name)
        for other in sorted(graph[name]):
            if other not in numbers:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in path:
                lowest[name] = min(lowest[name], numbers[other])
        if lowest[name] == numbers[name]:
            at = path.index(name)
            if len(path) > at + 1:
                found.append(sorted(path[at:]))
            del path[at:]

    for name in sorted(graph):
        if name not in numbers:
            visit(name)
    return found


def is_unordered(node: ast.expr) -> bool:
    """Whether the expression is visibly a set, also inside list(), tuple(), enumerate() and the like."""
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor | ast.Sub):
        return is_unordered(node.left) or is_unordered(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("set", "frozenset"):
            return True
        if node.func.id in ("list", "tuple", "enumerate", "iter", "reversed", "map", "filter", "zip"):
            return any(is_unordered(arg) for arg in node.args)
    return False


def set_iterations(tree: ast.Module) -> list[str]:
    return [
        f"line {node.iter.lineno}: iterates a set: {ast.unparse(node.iter)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and is_unordered(node.iter)
    ]


def impure_imports(tree: ast.Module, *, name: str, is_package: bool) -> list[str]:
    return [
        f"line {line}: {imported}"
        for line, imported in imports(tree, name=name, is_package=is_package)
        if imported.split(".")[0] in IMPURE or f"{imported}.".startswith(f"{PACKAGE}.clocks.")
    ]


def freezable_clocks(tree: ast.Module) -> list[str]:
    """Where a clock of the module ``time`` is used; handing ``time.sleep`` to somebody else is fine."""
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            if node.attr in CLOCKS and (node in called or node.attr != "sleep"):
                wrong.append(f"line {node.lineno}: time.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            wrong += [f"line {node.lineno}: {alias.name}" for alias in node.names if alias.name in CLOCKS]
    return wrong


each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: module_name(path) or PACKAGE)
each_pure_module = pytest.mark.parametrize(
    "path", [path for path in MODULES if module_name(path).split(".")[0] in PURE_ROOMS], ids=module_name
)


@pytest.mark.parametrize("path", [path for path in MODULES if path != SOURCE / "__init__.py"], ids=module_name)
def test_imports_point_upwards(path: Path) -> None:
    name = module_name(path)
    assert name.split(".")[0] in ROOMS, f"{name} is in no room: add it to ROOMS at its place"
    assert wrong_directions(parse(path), name=name, is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize("path", [path for path in MODULES if path != SOURCE / "__init__.py"], ids=module_name)
def test_imports_inside_of_rooms_point_upwards(path: Path) -> None:
    name = module_name(path)
    assert wrong_inner_directions(parse(path), name=name, is_package=path.name == "__init__.py") == []


def test_every_folder_of_an_ordered_room_has_its_place() -> None:
    for room, order in INNER_ROOMS.items():
        assert {path.name for path in (SOURCE / room).iterdir() if (path / "__init__.py").exists()} == {*order} - {""}


def test_no_modules_import_each_other() -> None:
    """Not for types either: two modules that name each other cannot be read one after the other."""
    names = {module_name(path): path for path in MODULES}
    graph = {}
    for name, path in names.items():
        found = {
            imported.removeprefix(f"{PACKAGE}.") for _, imported in imports(parse(path), name=name, is_package=False)
        }
        graph[name] = {full if full in names else full.rpartition(".")[0] for full in found}
        graph[name] &= {*names} - {name, ""}
    assert circles(graph) == []


def late_names() -> dict[str, str]:
    """Every ``"module:name"`` of this package that stands in it as a string, and the module where it stands."""
    found = {}
    for path in MODULES:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                module, separator, name = node.value.partition(":")
                if separator and module.startswith(f"{PACKAGE}.") and name.isidentifier():
                    found[node.value] = module_name(path)
    return found


def test_what_is_imported_by_name_stands_in_one_table_and_exists() -> None:
    names = late_names()
    assert len(names) > 3 and {*names.values()} == {"late"}
    for name in names:
        assert callable(late.load(name))


def test_exceptions_are_used() -> None:
    """An exception whose import has gone must go too."""
    used = set()
    for path in MODULES:
        name = module_name(path)
        for _, imported in imports(parse(path), name=name, is_package=path.name == "__init__.py"):
            if imported.startswith(PACKAGE + "."):
                used.add((name, imported.split(".")[1]))
    assert [pair for pair in ALLOWED_DOWNWARDS if pair not in used] == []


@each_pure_module
def test_the_machines_import_nothing_impure(path: Path) -> None:
    name = module_name(path)
    assert impure_imports(parse(path), name=name, is_package=path.name == "__init__.py") == []


@each_pure_module
def test_the_machines_iterate_no_sets(path: Path) -> None:
    assert set_iterations(parse(path)) == []


@pytest.mark.parametrize("path", [path for path in MODULES if path != SOURCE / "clocks.py"], ids=module_name)
def test_clocks_cannot_be_frozen(path: Path) -> None:
    assert freezable_clocks(parse(path)) == []


@each_module
def test_modules_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: split it by idea"


@each_module
def test_modules_have_a_docstring(path: Path) -> None:
    assert ast.get_docstring(parse(path))


def modules_after(statement: str) -> list[str]:
    """The modules that a fresh interpreter has after a statement."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    # -I: neither PYTHON* variables nor the user's site-packages may add modules.
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stdout)
    return modules


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        (f"import {PACKAGE}", (*HEAVY, *STARTERS)),
        (f"from {PACKAGE} import Executor", (*HEAVY, *STARTERS)),
        (f"from {PACKAGE} import Executor; Executor(2)", HEAVY),
    ],
)
def test_import_loads_nothing_heavy(statement: str, heavy: tuple[str, ...]) -> None:
    assert sorted(set(heavy).intersection(modules_after(statement))) == []


def test_no_dataclass_is_made_when_workers_start() -> None:
    """All workers wait for what their template imports, and a dataclass compiles its methods each time."""
    loaded = modules_after(
        f"from {PACKAGE}.services.launch import fork_server_main; fork_server_main.import_for_workers()"
    )
    names = {module_name(path): path for path in MODULES if f"{PACKAGE}.{module_name(path)}" in loaded}
    assert "services.worker.process" in names
    for name, path in names.items():
        imported = [each for _, each in imports(parse(path), name=name, is_package=path.name == "__init__.py")]
        assert not any(each.startswith("dataclasses") for each in imported), name


# The checks themselves, on small examples: a wall that cannot fail is no wall.


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from futures_cluster.executor import Executor", "scheduler.machine"),
        ("from ..executor import Executor", "scheduler.machine"),
        ("from .. import executor", "scheduler.machine"),
        ("import futures_cluster.services.worker.service", "worker.machine"),
        ("from futures_cluster import Executor", "services.worker.service"),
        ("from . import executor", "future"),
        ("def f():\n    from .executor import Executor", "future"),
        ("if TYPE_CHECKING:\n    from ..executor import Executor", "engines.base"),
        ("import importlib\nimportlib.import_module('futures_cluster.executor')", "context"),
    ],
)
def test_downward_imports_are_found(source: str, name: str) -> None:
    assert wrong_directions(ast.parse(source), name=name, is_package=False)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from ..messages import Reference", "scheduler.machine"),
        ("from .. import messages", "scheduler.machine"),
        ("from .state import Task", "scheduler.machine"),
        ("from futures_cluster.executor import Executor", "cli"),
        ("from futures_cluster import Executor", "demo"),
        ("import socket", "wire.sockets"),
    ],
)
def test_upward_imports_pass(source: str, name: str) -> None:
    assert wrong_directions(ast.parse(source), name=name, is_package=False) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from futures_cluster.services.scheduler import server", "services.worker.service"),
        ("from futures_cluster.services.client.client import Client", "services.common.peers"),
        ("from futures_cluster.wire.transports.registry import connect", "wire.frames"),
    ],
)
def test_downward_imports_inside_of_rooms_are_found(source: str, name: str) -> None:
    assert wrong_inner_directions(ast.parse(source), name=name, is_package=False)


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "c"}}) == [["b", "c"]]


@pytest.mark.parametrize(
    "source",
    [
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "for x in list(frozenset(y)): pass",
        "for x in set(y) - z: pass",
        "[x for x in {y for y in z}]",
    ],
)
def test_iterated_sets_are_found(source: str) -> None:
    assert set_iterations(ast.parse(source))


def test_ordered_iterations_pass() -> None:
    assert set_iterations(ast.parse("for x in sorted({1, 2}): pass\nfor x in {1: 2}: pass")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os.path",
        "from time import monotonic",
        "def f():\n    import random",
        "from futures_cluster import clocks",
        "from futures_cluster.clocks import time",
    ],
)
def test_impure_imports_are_found(source: str) -> None:
    assert impure_imports(ast.parse(source), name="worker.machine", is_package=False)


@pytest.mark.parametrize(
    "source",
    ["time.monotonic()", "def f(clock=time.time): pass", "from time import perf_counter_ns", "time.sleep(1)"],
)
def test_freezable_clocks_are_found(source: str) -> None:
    assert freezable_clocks(ast.parse(source))


def test_other_uses_of_time_pass() -> None:
    source = "from time import strftime\nclocks.sleep(1)\nex.submit(time.sleep, 1)\ntime.localtime(0)"
    assert freezable_clocks(ast.parse(source)) == []
