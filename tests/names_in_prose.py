"""Finds the names that docstrings, comments and pages mention, and what the package has under them.

Reads source only. Does not cover: names of other packages (``dask.order``), and expressions (``fn(*args)``).
"""

from __future__ import annotations

import ast
import builtins
import collections
import concurrent.futures
import functools
import keyword
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "futures_cluster"
ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / PACKAGE
IN_SOURCE = re.compile(r"``([^`\n]+)``")
ON_PAGES = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
WELL_KNOWN = {*dir(builtins), *sys.stdlib_module_names, *keyword.kwlist}
# What classes of this package may have from classes of the standard library.
INHERITED = {
    name
    for base in (concurrent.futures.Future, concurrent.futures.Executor, OSError, ImportError, tuple, dict, int)
    for name in (*dir(base), *dir(threading.Thread), "__init__", "name", "value")
}
# Packages whose names some of our modules have, and "__main__", the users' program.
OTHER_PACKAGES = {"dask", "joblib", "ray", "__main__"}
# Names of other packages, of the operating system, and of formulas.
OF_OTHERS = {"OneHotEncoder", "TCP_USER_TIMEOUT", "_reset_run_tracking", "optimize_graph", "parent_process"}
OF_OTHERS |= {"spec_from_file_location", "D", "M", "f_i", "Dask"}
# Of Dask's client, and a file that readers of a page write.
OF_OTHERS |= {"client.restart", "client.dashboard_link", "client.get_executor", "first.py"}


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def modules() -> dict[str, Path]:
    """Map the modules of the package by dotted name below it ('wire.frames', 'wire') to their files."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def docstring_nodes(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the docstrings of modules, classes and functions, and the strings behind attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def own_names(node: ast.AST) -> Iterator[str]:
    """Yield the names that one node has, without those of the nodes inside of it."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            yield name
        case ast.keyword(arg=name) if name:
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=name, asname=other):
            yield from [*name.split("."), *([other] if other else [])]
        case ast.Constant(value=str(text)) if " " not in text.strip():
            yield from re.findall(r"\w+", text)  # options, messages, files; not sentences


@functools.cache
def identifiers() -> frozenset[str]:
    """Collect each name that the package's code uses, in strings too, and the parts of its modules' names."""
    found = {part for name in modules() for part in name.split(".")}
    for path in modules().values():
        prose = {id(node) for node in docstring_nodes(parse(path))}
        for node in ast.walk(parse(path)):
            if id(node) not in prose:
                found.update(own_names(node))
    return frozenset(found)


@functools.cache
def top_level(path: Path) -> frozenset[str]:
    """Collect what a module defines, at any depth of its statements, and imports."""
    found = set()
    for node in ast.walk(parse(path)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="*")]):
                found |= top_level(modules()[module.removeprefix(f"{PACKAGE}.")])
            case ast.alias(name=name, asname=other):
                found.add((other or name).split(".")[0])
    return frozenset(found)


@functools.cache
def classes() -> dict[str, list[ast.ClassDef]]:
    found: dict[str, list[ast.ClassDef]] = collections.defaultdict(list)
    for path in modules().values():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(node)
    return dict(found)


@functools.cache
def members(name: str) -> frozenset[str]:
    """Collect what the classes of a name have: methods, attributes, slots, and the same of their bases."""
    found: set[str] = set(INHERITED)
    for cls in classes().get(name, ()):
        for base in cls.bases:
            named = base.value if isinstance(base, ast.Subscript) else base
            other = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
            found |= members(other) if other != name else set()
        for node in ast.walk(cls):
            match node:
                case ast.FunctionDef(name=each) | ast.AsyncFunctionDef(name=each):
                    found.add(each)
                case ast.Name(id=each, ctx=ast.Store()) | ast.Attribute(attr=each, ctx=ast.Store()):
                    found.add(each)
                case ast.arg(arg=each):
                    found.add(each)
                case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                    found.update(each for part in ast.walk(value) for each in own_names(part))
    return frozenset(found)


def candidates(first: str) -> list[str]:
    """Return the modules and rooms that may be meant by this first part of a dotted name."""
    return [name for name in modules() if name and name.split(".")[-1] == first]


def is_resolved(name: str) -> bool:
    """Return whether the package has what a dotted name says, or the name belongs to another package."""
    first, *rest = name.removeprefix(f"{PACKAGE}.").split(".")
    if name in OF_OTHERS:
        return True
    if not rest:
        return first in identifiers() or first in WELL_KNOWN
    if first in OTHER_PACKAGES or first in sys.stdlib_module_names:
        return True
    if first in classes():
        return rest[0] in members(first)
    for module in candidates(first):
        depth = 0
        while depth < len(rest) and ".".join([module, *rest[: depth + 1]]) in modules():
            depth += 1
        found = modules()[".".join([module, *rest[:depth]])]
        left = rest[depth:]
        if not left or (left[0] in top_level(found) and (len(left) == 1 or is_resolved(".".join(left)))):
            return True
    return not candidates(first) and not name.startswith(PACKAGE)


def missing_names(source: str) -> list[str]:
    """Find the names in docstrings, comments and messages that the package does not have, with their lines."""
    found = []
    for number, line in enumerate(source.splitlines(), start=1):
        for match in IN_SOURCE.finditer(line):
            name = match[1].removesuffix("()")
            if DOTTED.fullmatch(name) and not is_resolved(name):
                found.append(f"line {number}: {name}")
    return found


def missing_on_page(text: str) -> list[str]:
    """Find the files on a page, and the dotted names that begin with a part of the package, that do not exist."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for match in ON_PAGES.finditer(line):
            name = match[1].removesuffix("()")
            if re.fullmatch(r"[\w/]+\.py", name):
                folders = (SOURCE, ROOT, ROOT / "benchmarks")
                missing = name not in OF_OTHERS and not any((folder / name).exists() for folder in folders)
            else:
                missing = "." in name and DOTTED.fullmatch(name) is not None and not is_resolved(name)
            if missing:
                found.append(f"line {number}: {name}")
    return found


@functools.cache
def definitions() -> frozenset[str]:
    """Collect the names of modules, and what modules define at their top level."""
    found = {part for name in modules() for part in name.split(".")}
    for path in modules().values():
        for node in parse(path).body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    found.add(name)
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(name)
    return frozenset(found)


def missing_pointers(docstring: str) -> list[str]:
    """Find the names in brackets behind "Does not cover" that are neither modules nor definitions."""
    _, found, rest = docstring.partition("not cover:")
    rest = rest.partition("\n\n")[0]
    brackets = re.findall(r"\(([^()]*)\)", rest if found else "")
    names = [name for each in brackets for name in IN_SOURCE.findall(each) if name.isidentifier()]
    return [name for name in names if name not in definitions() and name not in WELL_KNOWN]


@functools.cache
def attributes(name: str) -> frozenset[str]:
    """Collect the attributes of the classes of a name, and of their bases: what is set on ``self`` or in the body."""
    found: set[str] = set()
    for cls in classes().get(name, ()):
        for base in cls.bases:
            named = base.value if isinstance(base, ast.Subscript) else base
            other = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
            found |= attributes(other) if other != name else set()
        for node in cls.body:
            match node:
                case ast.FunctionDef(name=each) | ast.AsyncFunctionDef(name=each):
                    found.add(each)
                case ast.AnnAssign(target=ast.Name(id=each)):
                    found.add(each)
                case ast.Assign(targets=targets, value=value):
                    found.update(
                        each for part in (*targets, value) for part in ast.walk(part) for each in own_names(part)
                    )
        for node in ast.walk(cls):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    return frozenset(found)


def sections(docstring: str) -> Iterator[tuple[str, list[str], str]]:
    """Yield (section, names, type) for each entry of the numpydoc sections of a docstring."""
    lines = docstring.splitlines()
    section = ""
    for line, below in zip(lines, [*lines[1:], ""]):
        if re.fullmatch(r"-{3,}", below):
            section = line
        elif section in ("Parameters", "Attributes") and re.match(r"[*\w]", line) and " : " in line:
            names, _, type_ = line.partition(" : ")
            yield section, [name.strip().lstrip("*") for name in names.split(",")], type_


def missing_entries(tree: ast.Module) -> list[str]:
    """Find entries in docstrings' sections whose parameter, attribute or type does not exist."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.ClassDef, *FUNCTIONS)):
            continue
        for section, names, type_ in sections(ast.get_docstring(node) or ""):
            if isinstance(node, ast.ClassDef):
                have = attributes(node.name) if section == "Attributes" else members(node.name)
            else:
                have = frozenset(each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg))
            types = re.findall(r"\b[A-Z][a-z]+[A-Z]?\w+", type_)
            missing = [name for name in names if name not in have]
            missing += [name for name in types if name not in identifiers() | WELL_KNOWN | OF_OTHERS]
            found += [f"line {node.lineno}, {node.name}: {name}" for name in missing]
    return found
