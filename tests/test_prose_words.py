"""The words of pages, messages, help texts and docstrings, by the rules under "Prose" of CONTRIBUTING.md.

Covers: words without a named actor (in comments, too), bare quantities, and first lines of functions' docstrings. Does
not cover: names (``test_prose_names``), sections of public docstrings (``test_numpydoc``), spelling (codespell, see
``tox -e lint``).
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
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
#: The words that comments and whole docstrings are searched for, too.
NAMELESS = re.compile(rf"\b(?:{'|'.join(list(INSTEAD)[:3])})\b", re.IGNORECASE)

#: With which the first line of a function's docstring may begin. Add what is missing; nouns do not belong here.
VERBS = frozenset(
    """
    Accept Adapt Add Admit Adopt Advise Answer Append Apply Ask Assign Attach Become Begin Bind Break Bring Build
    Call Cancel Capture Carry Catch Chain Change Charge Check Choose Claim Clear Close Collect Combine Commit Compare
    Compile Complete Compress Compute Connect Convert Copy Count Create Cut Deal Decide Declare Decode Delay Delete
    Deliver Derive Describe Detach Disable Discard Divide Do Draw Drop Dump Empty Enable Encode End Ensure Enter
    Escape Estimate Evaluate Evict Execute Exit Expand Expect Explain Extend Extract Fail Fetch Fill Filter Find
    Finish Fit Flush Forget Format Forward Free Freeze Generate Get Give Go Group Guard Hand Handle Hash Have Hold
    Import Increment Insert Install Iterate Join Keep Kill Leave Lend Let Limit List Listen Load Lock Log Look
    Lose Make Map Mark Measure Merge Minimize Move Multiply Name Never Normalize Note Notice Notify
    Offer Open Order Overwrite Pack Parse Pass Patch Pause Persist Pickle Pin Place Poll Post Predict
    Prefetch Prepare Print Propose Publish Put Queue Raise Reach Read Rebuild Receive Record Reduce Refuse
    Register Reject Release Remember Remove Rename Render Repeat Replace Reply Report Request Rerun Reserve Reset
    Resolve Restart Restore Resume Retire Retry Return Reuse Run Save Say Scale Schedule Score See Select Send
    Separate Serve Set Shake Show Shut Signal Simulate Skip Solve Sort Spill Split Stand Start Steal Stop
    Store Submit Subtract Sum Swap Take Tell Track Transfer Trim Truncate Turn Undo Unlock Unpack Unpickle
    Unpin Unregister Update Upload Use Validate Verify Wait Wake Walk Warn Watch Withdraw Work Wrap Write Yield
    """.split()  # noqa: SIM905
)
MAX_COLUMNS = 79

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield all string literals but docstrings: what users read at run time is among them."""
    docstrings = {id(node) for node in prose.docstring_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions inside of a node that are no properties, which are nouns."""
    for each in ast.walk(node):
        if isinstance(each, FUNCTIONS):
            decorators = {name.rpartition(".")[2] for name in map(ast.unparse, each.decorator_list)}
            if not decorators & {"property", "cached_property", "setter"}:
                yield each


def first_lines(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the first line of the docstring of each function."""
    for function in functions(tree):
        if text := ast.get_docstring(function):
            yield function.lineno, text.splitlines()[0]


def all_first_lines(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the first lines of the docstrings of modules, classes, properties and functions."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text.splitlines()[0]


def without_verb(lines: Iterator[tuple[int, str]]) -> list[str]:
    return [f"line {line}: {text!r}" for line, text in lines if (re.match(r"[`\w]+", text) or [""])[0] not in VERBS]


def too_long(lines: Iterator[tuple[int, str]]) -> list[str]:
    return [f"line {line}: {text!r}" for line, text in lines if len(text) > MAX_COLUMNS]


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


def found_in_package(take: Callable[[ast.Module], list[str]]) -> dict[str, list[str]]:
    found = {name: take(prose.parse(path)) for name, path in prose.modules().items()}
    return {name: lines for name, lines in found.items() if lines}


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments and the docstrings of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in prose.docstring_nodes(ast.parse(source)):
        yield node.lineno, node.value


def nameless(source: str) -> list[str]:
    return [f"line {line}: {match[0]!r}" for line, text in comments(source) for match in NAMELESS.finditer(text)]


#: What first lines are held to.
RULES: dict[str, Callable[[ast.Module], list[str]]] = {
    "begins with a verb": lambda tree: without_verb(first_lines(tree)),
    "names an actor": lambda tree: forbidden(all_first_lines(tree)),
    "is short": lambda tree: too_long(first_lines(tree)),
}


def test_messages_name_who_does_what() -> None:
    assert found_in_package(lambda tree: forbidden(messages(tree))) == {}


def test_comments_name_who_does_what() -> None:
    found = {name: nameless(path.read_text(encoding="utf-8")) for name, path in prose.modules().items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


# The released part of the changes stays as it was published.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "changes.md"], ids=lambda page: page.name)
def test_pages_name_who_does_what(page: Path) -> None:
    assert forbidden(prose_of_page(page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("rule", RULES)
def test_first_lines_keep_to_the_rules(rule: str) -> None:
    found = found_in_package(RULES[rule])
    if rule == "begins with a verb":  # a check's docstring is the statement that it checks
        found = {name: lines for name, lines in found.items() if not name.startswith("testing.engine_checks")}
    assert found == {}


def test_the_rules_find_what_they_forbid() -> None:
    tree = ast.parse(
        'def f():\n    """The number of tasks that somebody wants."""\n    raise ValueError(\'nobody listens\')\n'
        '@property\ndef g(self):\n    """The number."""\n'
    )
    assert (
        len(forbidden(messages(tree))) == len(forbidden(first_lines(tree))) == len(without_verb(first_lines(tree))) == 1
    )
    assert nameless('"""Nobody."""\nx = "nobody"  # any more\n') == ["line 2: 'any more'", "line 1: 'Nobody'"]
    assert too_long(iter([(1, "Return " + "x" * 80)]))
    assert forbidden(prose_of_page("`nobody`\n```\nnobody\n```\n")) == []
    assert forbidden(prose_of_page("It is told.\n")) == ["line 1: 'is told' in 'It is told.'"]
