"""The entries of the next release: their files, and how they get into docs/changes.md."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "changes.d"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("collect", FOLDER / "collect.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


collect = load()


def test_the_entries_of_this_checkout_are_well_formed() -> None:
    for line in collect.entries(FOLDER).splitlines():
        assert len(line) <= collect.WIDTH


def test_entries_are_ordered_by_kind_and_wrapped(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# No entry\n")
    (tmp_path / "a-call.fixed.md").write_text("A call\nno longer hangs.\n")
    (tmp_path / "b.removed.md").write_text("word " * 40 + "ends.")
    first, second, third = collect.entries(tmp_path).splitlines()
    assert first.startswith("- word") and second.startswith("  word") and second.endswith("ends.")
    assert third == "- A call no longer hangs."


@pytest.mark.parametrize("name", ["a.md", "a.broken.md", "A call.fixed.md", "a.fixed.md.md"])
def test_a_name_without_a_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("A call no longer hangs.")
    with pytest.raises(ValueError, match=r"NAME\.KIND\.md"):
        collect.entries(tmp_path)


@pytest.mark.parametrize("text", ["", "- A bullet.", "# A heading.", "One.\n\nTwo.", "No full stop"])
def test_a_text_that_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one paragraph"):
        collect.entry(text)


def test_a_release_takes_what_is_unreleased() -> None:
    changes = "# Changes\n\n## Unreleased\n\nA summary.\n\n- One.\n\n## 0.1.0\n\n- Old.\n"
    expected = "# Changes\n\n## Unreleased\n\n## 0.2.0\n\nA summary.\n\n- One.\n- Two.\n\n## 0.1.0\n\n- Old.\n"
    assert collect.release(changes, "- Two.\n", "0.2.0") == expected


def test_a_release_of_entries_alone() -> None:
    changes = "# Changes\n\n## Unreleased\n\n## 0.1.0\n\n- Old.\n"
    expected = "# Changes\n\n## Unreleased\n\n## 0.2.0\n\n- Two.\n\n## 0.1.0\n\n- Old.\n"
    assert collect.release(changes, "- Two.\n", "0.2.0") == expected
