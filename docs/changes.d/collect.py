"""Collects the entries of the next release: prints them, or moves them to docs/changes.md under a version."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CHANGES = FOLDER.parent / "changes.md"
#: In the order in which readers need them: what may break their programs is first.
KINDS = ("removed", "changed", "added", "fixed")
UNRELEASED = "## Unreleased\n"
WIDTH = 128


def fragments(folder: Path) -> list[Path]:
    """Return the files of entries by kind and name.

    Raises
    ------
    ValueError
        If the name of a file has no kind.
    """
    found = [path for path in folder.glob("*.md") if path.name != "README.md"]
    for path in found:
        if re.fullmatch(rf"[a-z0-9-]+\.(?:{'|'.join(KINDS)})\.md", path.name) is None:
            raise ValueError(f"{path.name}: name it NAME.KIND.md, with a KIND of {', '.join(KINDS)}")
    return sorted(found, key=lambda path: (KINDS.index(path.name.split(".")[-2]), path.name))


def entry(text: str) -> str:
    """Make a bullet of the text of a file.

    Raises
    ------
    ValueError
        If the text is empty, a list or several paragraphs, or does not end with a full stop.
    """
    text = text.strip()
    if not text or text.startswith(("-", "*", "#")) or "\n\n" in text or not text.endswith("."):
        raise ValueError(f"an entry is one paragraph of sentences, without a bullet, got {text!r}")
    return textwrap.fill(
        " ".join(text.split()),
        WIDTH,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def entries(folder: Path) -> str:
    """Return the bullets of all files."""
    return "".join(entry(path.read_text(encoding="utf-8")) + "\n" for path in fragments(folder))


def release(changes: str, new: str, version: str) -> str:
    """Return the text of the changes with the new entries, under a version in the place of "Unreleased"."""
    before, found, after = changes.partition(UNRELEASED)
    if not found:
        raise ValueError(f"there is no heading {UNRELEASED.strip()!r}")
    section, heading, older = after.partition("\n## ")
    section = section.strip("\n")
    text = "\n\n".join(filter(None, [f"## {version}", section])) + "\n"
    text += new if section.splitlines()[-1:] and section.splitlines()[-1].startswith(("- ", "  ")) else f"\n{new}"
    return f"{before}{UNRELEASED}\n{text}{heading}{older}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", help="move the entries to docs/changes.md under this version")
    version = parser.parse_args().version
    new = entries(FOLDER)
    if version is None:
        print(new, end="")
        return
    CHANGES.write_text(release(CHANGES.read_text(encoding="utf-8"), new, version), encoding="utf-8")
    for path in fragments(FOLDER):
        path.unlink()


if __name__ == "__main__":
    main()
