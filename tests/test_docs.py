"""Runs the examples of README.md, CONTRIBUTING.md and docs/, and checks the README's two commands and links.

Covers: each block fenced as ```python. The blocks of one file run in order in one namespace, in a
process of their own. A block after the line `<!-- no-run -->` is only compiled. A page with the line
`<!-- needs: a, b -->` is slow, and skipped where one of these modules is missing. If text blocks follow lines
that begin with "It prints", they are what the program of the page prints, where `...` stands for
anything. Does not cover: blocks in other languages.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TIMEOUT_S = 90
NO_RUN = "<!-- no-run -->"
#: The only public attribute that no page lists: users do not call it.
CALLED_BY_DASK = {"substitute"}


@dataclass
class Block:
    """One example. `line` is the number of its first line in the file, counted from 1."""

    line: int
    source: str
    is_run: bool


def python_blocks(text: str) -> list[Block]:
    blocks: list[Block] = []
    fence = None  # the language of the block we are in
    last_line = ""  # the last one that was not blank, outside of blocks
    for number, line in enumerate(text.splitlines(), start=1):
        if fence is None:
            if line.lstrip().startswith("```"):
                fence = line.strip().removeprefix("```")
                if fence == "python":
                    assert line.startswith("```"), f"line {number}: an indented example would not be run"
                    blocks.append(Block(number + 1, "", last_line != NO_RUN))
            elif line.strip():
                last_line = line.strip()
        elif line.strip() == "```":
            fence = None
            last_line = ""
        elif fence == "python":
            blocks[-1].source += line + "\n"
    assert fence is None, "the last fence is not closed"
    return blocks


def script_of(blocks: list[Block]) -> str:
    """One script of the blocks that are run, each at its own line numbers: tracebacks fit the file."""
    script = ""
    for block in blocks:
        if block.is_run:
            script += "\n" * (block.line - 1 - script.count("\n")) + block.source
    return script


def printed_text(text: str) -> str:
    """What the page says that its program prints; empty if it says nothing."""
    return "".join(re.findall(r"^It prints[^\n]*:\n\n```text\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))


def needs(text: str) -> list[str]:
    """The modules without which the examples cannot run."""
    return [
        name.strip() for line in re.findall(r"^<!-- needs: (.*) -->$", text, flags=re.M) for name in line.split(",")
    ]


def run_script(path: Path, folder: Path) -> tuple[int, str]:
    """Run in a process group of its own, so that a hanging example leaves no process behind."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FUTURES_CLUSTER_")}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(path)],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"not finished after {TIMEOUT_S} s; output so far:\n{output}")
    return process.returncode, output


def pages() -> list[Any]:
    """All files; those whose examples import large libraries are slow."""
    found = []
    for path in FILES:
        is_slow = needs(path.read_text(encoding="utf-8"))
        found.append(pytest.param(path, marks=pytest.mark.slow if is_slow else (), id=str(path.relative_to(ROOT))))
    return found


@pytest.mark.parametrize("path", pages())
def test_examples(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = python_blocks(text)
    for block in blocks:
        compile("\n" * (block.line - 1) + block.source, path.name, "exec")
    script = script_of(blocks)
    if not script:
        return
    missing = [module for module in needs(text) if find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    copy = tmp_path / f"{path.stem.replace('-', '_')}_examples.py"
    copy.write_text(script, encoding="utf-8")
    code, output = run_script(copy, tmp_path)
    assert code == 0, f"{path.name}: exit code {code}; line numbers are those of the file\n{output}"
    if expected := printed_text(text):
        printed = "\n".join(line.rstrip() for line in output.splitlines()) + "\n"
        is_as_said = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
        assert is_as_said, f"{path.name} printed:\n{output}"


def test_each_how_to_page_has_one_program_and_says_what_it_prints() -> None:
    for path in sorted((ROOT / "docs" / "how-to").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if path.name != "index.md":
            assert sum(block.is_run for block in python_blocks(text)) == 1, path.name
            assert printed_text(text), path.name


@pytest.mark.parametrize("module", ["", ".channels", ".errors", ".glm", ".plugins", ".transports"])
def test_the_reference_has_each_public_name(module: str) -> None:
    if module == ".glm":
        pytest.importorskip("sklearn")
    page = ROOT / "docs" / "reference" / f"{module.removeprefix('.') or 'executor'}.md"
    words = set(re.findall(r"\w+", page.read_text(encoding="utf-8")))
    missing = set(importlib.import_module(f"futures_cluster{module}").__all__) - words
    assert not missing, f"{page.name} lacks {sorted(missing)}"


def documented_names(page: str) -> dict[type, set[str]]:
    """The attributes that a page of the reference lists of each class, and those that the class's docstring lists."""
    found: dict[type, set[str]] = {}
    lines = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8").splitlines()
    module, cls = None, object
    for line in lines:
        if named := re.match(r"\.\. module:: (\S+)", line):
            module = importlib.import_module(named[1])
        elif named := re.match(r"\.\. autoclass:: (\S+)", line):
            cls = getattr(module, named[1])
            section = re.search(r"Attributes\n-+\n(.*?)(\n\n|$)", inspect.getdoc(cls) or "", flags=re.DOTALL)
            found[cls] = set(re.findall(r"^(\w+) :", section[1], flags=re.MULTILINE)) if section else set()
        elif named := re.match(r"   :members:(.*)", line):
            found[cls].update(re.findall(r"\w+", named[1]))
    return found


@pytest.mark.parametrize("page", ["executor", "channels", "plugins"])
def test_the_reference_has_each_public_attribute(page: str) -> None:
    documented = documented_names(page)
    assert documented
    for cls in documented:
        foreign = [part for part in cls.__mro__ if part.__module__.partition(".")[0] != "futures_cluster"]
        theirs = {name for part in foreign for name in dir(part)}
        public = {name for name in dir(cls) if not name.startswith("_")} - theirs
        listed = set().union(*(names for part, names in documented.items() if part in cls.__mro__))
        assert not public - listed - CALLED_BY_DASK, f"{page}.md lacks public attributes of {cls.__name__}"


@pytest.mark.parametrize("kind", ["demo", "test"])
def test_the_readme_has_the_command_on_one_line(kind: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(rf"^<!-- {kind}-command -->\n```sh\n(.*)\n```$", readme, flags=re.MULTILINE)
    assert len(found) == 1
    assert found[0].startswith("python3 -m venv ")


def test_links_between_files_lead_to_files() -> None:
    """Does not cover: links to headings, which the build of the site checks; pages of the gallery, which it makes."""
    wrong = []
    for path in [*FILES, ROOT / "SECURITY.md"]:
        # Entries of the next release are moved to docs/changes.md.
        is_entry = path.parent.name == "changes.d" and path.name != "README.md"
        folder = path.parent.parent if is_entry else path.parent
        for link in re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8")):
            if "://" not in link and "gallery/" not in link and not (folder / link).exists():
                wrong.append(f"{path.relative_to(ROOT)}: {link}")
    assert not wrong


def test_pages_that_the_package_names_exist() -> None:
    wrong = []
    for path in [*(ROOT / "futures_cluster").rglob("*.py"), ROOT / "docker-compose.yml"]:
        names = re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names if not (ROOT / name).is_file()]
    assert not wrong


def test_blocks_keep_their_line_numbers() -> None:
    text = "a\n```python\nx = 1\n```\n<!-- no-run -->\n\n```python\ny\n```\n"
    text += "```sh\nls\n```\n```python\nz = 2\n```\n"
    blocks = python_blocks(text)
    assert [(block.line, block.source, block.is_run) for block in blocks] == [
        (3, "x = 1\n", True),
        (8, "y\n", False),
        (14, "z = 2\n", True),
    ]
    assert script_of(blocks).splitlines()[2] == "x = 1"
    assert script_of(blocks).splitlines()[13] == "z = 2"
