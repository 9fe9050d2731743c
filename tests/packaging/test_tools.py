"""The versions of the tools that check style and types: the same in tox, in the hooks and in CONTRIBUTING.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pinned(name: str, tool: str) -> set[str]:
    """Return the exact versions of a tool that a file asks for."""
    return set(re.findall(rf"\b{tool}==([0-9.]*[0-9])", (ROOT / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
@pytest.mark.parametrize("name", [".pre-commit-config.yaml", "CONTRIBUTING.md"])
def test_versions_are_those_of_tox(name: str, tool: str) -> None:
    expected = pinned("tox.ini", tool)
    assert len(expected) == 1
    assert pinned(name, tool) == expected
