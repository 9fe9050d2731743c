"""Names in docstrings, comments and pages are those of what exists: a renamed module is named by its new name."""

from __future__ import annotations

import ast
import re

import names_in_prose as prose
import pytest
from test_layers import INNER_ROOMS, ROOMS

PAGES = sorted((prose.ROOT / "docs").rglob("*.md"))
PAGES += [prose.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]


def test_names_in_docstrings_and_comments_exist() -> None:
    found = {name: prose.missing_names(path.read_text(encoding="utf-8")) for name, path in prose.modules().items()}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_what_a_module_does_not_cover_is_where_it_says() -> None:
    docstrings = {name: ast.get_docstring(prose.parse(path)) or "" for name, path in prose.modules().items()}
    found = {name: prose.missing_pointers(text) for name, text in docstrings.items()}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_parameters_attributes_and_their_types_exist() -> None:
    found = {name: prose.missing_entries(prose.parse(path)) for name, path in prose.modules().items()}
    assert {name: missing for name, missing in found.items() if missing} == {}


# The released part of the changes names things as they were called then.
def test_dotted_names_on_pages_exist() -> None:
    found = {page.name: prose.missing_on_page(page.read_text(encoding="utf-8")) for page in PAGES}
    del found["changes.md"]
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_the_table_of_rooms_has_all_rooms_in_the_order_of_imports() -> None:
    text = (prose.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tables = text.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    first = [re.match(r"\| (`[^|]*) \|", line) for line in tables.splitlines()]
    rooms = [name.rstrip("/") for match in first if match for name in re.findall(r"`([^`]+)`", match[1])]
    number = len(ROOMS) - 1  # without __main__
    assert rooms[:number] == ROOMS[:-1]
    assert {*INNER_ROOMS} <= {*rooms[number:]}


@pytest.mark.parametrize(
    "name",
    ["machine.SchedulerMachine", "scheduler.machine.SchedulerMachine", "services.worker.service", "wire.frames"]
    + ["State.accepting", "Executor.submit", "Future.add_done_callback", "futures_cluster.errors", "dask.order"]
    + ["placement.fits", "signals", "max_workers", "ConnectionError"],
)
def test_what_exists_is_found(name: str) -> None:
    assert prose.is_resolved(name)


@pytest.mark.parametrize(
    "name",
    ["machine.SchedulerMachinery", "services.leader", "services.worker.process.nothing", "State.idle_workers"]
    + ["futures_cluster.coordination", "scheduler.queue", "no_such_name"],
)
def test_what_does_not_exist_is_noticed(name: str) -> None:
    assert not prose.is_resolved(name)


def test_pointers_in_brackets_are_modules_or_definitions() -> None:
    text = "One.\n\nCovers: this. Does not cover: that (``frames``), others\n(``rounds``, ``Executor``)."
    assert prose.missing_pointers(text) == ["rounds"]


def test_entries_of_sections_that_are_missing_are_noticed() -> None:
    sections = "Parameters\n    ----------\n    a : Parcel\n        A.\n    b : int\n        B."
    text = f'def f(a):\n    """Do.\n\n    {sections}\n    """'
    assert prose.missing_entries(ast.parse(text)) == ["line 1, f: Parcel", "line 1, f: b"]
