"""The state of a cluster as text.

Covers: the table that `futures-cluster status` prints. Does not cover: where the facts come from
(``scheduler.snapshot``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def size(number: float | None) -> str:
    """Bytes in the unit that fits.

    Examples
    --------
    >>> size(1_500_000_000), size(12), size(None)
    ('1.5 GB', '12 B', '')
    """
    if number is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.3g} {unit}" if number >= 100 or unit == "B" else f"{number:.2g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def rows(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A table; numbers stand on the right.

    Examples
    --------
    >>> print(rows(["name", "tasks"], [["a", 1], ["long", 22]]))
    name  tasks
    a         1
    long     22
    """
    cells = [[str(cell) for cell in line] for line in (heads, *lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    right = [all(not isinstance(line[column], str) for line in lines) and bool(lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    )


def status(snapshot: dict[str, Any]) -> str:
    """The table of `futures-cluster status`, of what the scheduler answers."""
    return str(snapshot)
