"""The words of pages, messages, help texts and docstrings, by the rules under "Prose" of CONTRIBUTING.md.

Covers: words without a named actor, bare quantities, and first lines of docstrings. Does not cover: names
(``test_prose_names``), spelling (codespell, see ``tox -e lint``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import names_in_prose as prose
import pytest

PAGES = sorted((prose.ROOT / "docs").rglob("*.md"))
PAGES += [prose.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]

#: Words, and what to write in their place.
INSTEAD = {
    r"nobody|no one": "name the actor: no client, no task",
    r"somebody|someone|anybody|anyone|whoever|everybody": "name the actor: a client, another process, the caller",
    r"any more": "no longer",
    r"anew": "again, or re- (restart)",
    r"so many|so long|so much": "a number with its unit, or the parameter's name",
    r"(?:is|are|was|were|be) told": "say which process sends what: the scheduler tells the worker",
    r"who (?:does|is|has|can|wants|asks|looks|needs|knows|gets)": "name the actor",
    r"one's own|of one's": "your, or the caller's",
    r"is to be had|are to be had|how it stands": "say what is available",
}
FORBIDDEN = re.compile(rf"\b(?:{'|'.join(INSTEAD)})\b", re.IGNORECASE)

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield all string literals but docstrings: what users read at run time is among them."""
    docstrings = {id(node) for node in prose.docstring_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def first_lines(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the first line of each docstring of a function or method."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and (text := ast.get_docstring(node)):
            yield node.lineno, text.splitlines()[0]


def prose_of_page(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page without its examples and without code in backticks."""
    in_block = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            in_block = not in_block
        elif not in_block:
            yield number, re.sub(r"`[^`]*`", "``", line)


def forbidden(lines: Iterator[tuple[int, str]]) -> list[str]:
    return [f"line {line}: {match[0]!r} in {text!r}" for line, text in lines for match in FORBIDDEN.finditer(text)]


def found_in_package(kind: str) -> dict[str, list[str]]:
    take = {"messages": messages, "first lines": first_lines}[kind]
    found = {name: forbidden(take(prose.parse(path))) for name, path in prose.modules().items()}
    return {name: lines for name, lines in found.items() if lines}


def test_messages_name_who_does_what() -> None:
    assert found_in_package("messages") == {}


# The released part of the changes stays as it was published.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "changes.md"], ids=lambda page: page.name)
def test_pages_name_who_does_what(page: Path) -> None:
    assert forbidden(prose_of_page(page.read_text(encoding="utf-8"))) == []
