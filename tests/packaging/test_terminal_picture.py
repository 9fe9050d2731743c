"""The terminal that README.md shows: its program, its commands and what they print now.

Does not cover: how it looks, and the recorded times.
"""

from __future__ import annotations

import importlib.util
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 60_000


def load() -> Any:
    spec = importlib.util.spec_from_file_location("record_terminal", ROOT / "docs" / "_ext" / "record_terminal.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


recorder = load()


def shown() -> list[str]:
    """The lines of the picture, without the times and without blank lines."""
    texts = ET.fromstring(recorder.PICTURE.read_text(encoding="utf-8")).iter("{http://www.w3.org/2000/svg}text")
    return [str(text.text) for text in texts if text.get("class") != "time"]


def test_it_shows_the_program_and_the_commands_of_its_script() -> None:
    program = [line.strip() for line in recorder.PROGRAM.splitlines() if line]
    assert shown()[: len(program) + 1] == [f"$ {recorder.COMMANDS[0]}", *program]
    assert [line for line in shown() if line.startswith("$ ")] == [f"$ {command}" for command in recorder.COMMANDS]


def test_it_is_small_and_loads_nothing() -> None:
    text = recorder.PICTURE.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert text.count("http") == 1, "the name of SVG is the only address"
    assert not any(word in text for word in ("@import", "@font-face", "url(", "<image", "<script", "href"))


@pytest.mark.slow
def test_the_commands_still_print_what_it_shows() -> None:
    recorded = [line.text.strip() for line in recorder.record() if line.text]
    # What the standard library prints depends on the version of Python.
    begin = recorded.index(f"$ {recorder.COMMANDS[2]}")
    assert recorded[begin:] == shown()[-len(recorded[begin:]) :]
    assert any("BrokenProcessPool" in line for line in recorded[:begin])
