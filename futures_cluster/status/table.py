"""The state of a cluster as text.

Covers: the table that `futures-cluster status` prints. Does not cover: where the facts come from
(``scheduler.views.snapshot``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from futures_cluster.numbers import counted


def size(number: float | None) -> str:
    """Return bytes in the unit that fits.

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


def plain(text: str) -> str:
    r"""Return a name without signs that a terminal obeys.

    Examples
    --------
    >>> print(plain("a\x1b[2Jb\n"))
    a\x1b[2Jb\n
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def plain_lines(text: str, separator: str = "\n") -> str:
    r"""Return a text of several lines without signs that a terminal obeys.

    Examples
    --------
    >>> print(plain_lines("one\x1b[2J\ntwo\r", "\n  "))
    one\x1b[2J
      two\r
    """
    return separator.join(plain(line) for line in text.split("\n"))


def rows(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Return a table; numbers stand on the right.

    Examples
    --------
    >>> print(rows(["name", "tasks"], [["a", 1], ["long", 22]]))
    name  tasks
    a         1
    long     22
    """
    cells = [[plain(str(cell)) for cell in line] for line in (heads, *lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    right = [all(not isinstance(line[column], str) for line in lines) and bool(lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    )


def status(snapshot: dict[str, Any], now: float, former: dict[str, Any] | None = None, seconds: float = 0.0) -> str:
    """Return the table of `futures-cluster status`.

    Parameters
    ----------
    snapshot : dict
        What the scheduler answers to ``status``.
    now : float
        Seconds since 1970.
    former : dict or None
        The one before, ``seconds`` ago: then it is also said how many tasks a second end.
    """
    workers, tasks, scheduler = snapshot["workers"], snapshot["tasks"], snapshot["scheduler"]
    slots = sum(worker["slots"] for worker in workers)
    hosts, names = {worker["host"] for worker in workers}, {worker["name"] for worker in workers}
    parts = [
        f"scheduler  {' '.join(scheduler['addresses'])}, for {now - scheduler['since']:.0f} s, pid {scheduler['pid']}",
        f"workers    {len(workers)} with {counted(slots, 'slot')} on {counted(len(hosts), 'host')}",
        f"clients    {len([name for name in snapshot['clients'] if name not in names])}",  # workers' tasks submit, too
        "tasks      " + ", ".join(f"{number} {name}" for name, number in tasks.items() if number or name == "total"),
    ]
    if former is not None and seconds > 0:
        parts.append(f"rate       {max(0, _finished(snapshot) - _finished(former)) / seconds:.4g} tasks a second")
    if workers:
        heads = ("worker", "host", "status", "running", "committed", "results", "held", "memory", "silent")
        lines = [
            (
                worker["name"],
                worker["host"],
                worker["status"],
                f"{worker['running']}/{worker['slots']}",
                worker["committed"],
                worker["results"],
                size(worker["held_bytes"]),
                size(worker.get("memory_bytes")),
                "" if worker["silent_s"] is None else f"{worker['silent_s']:.0f} s",
            )
            for worker in workers
        ]
        parts += ["", rows(heads, lines)]
    means = [
        (name, row["tasks"], "" if row["duration_s"] is None else f"{row['duration_s'] * 1e3:.3g} ms")
        for name, row in snapshot["functions"].items()
        if row["tasks"]
    ]
    if means:
        parts += ["", rows(("function", "tasks", "mean"), means)]
    if snapshot["limits"]:
        limits = [(row["name"], f"{row['used']:g} of {row['total']:g}", row["waiting"]) for row in snapshot["limits"]]
        parts += ["", rows(("limit", "in use", "waiting"), limits)]
    return "\n".join(parts)


def _finished(snapshot: dict[str, Any]) -> int:
    return sum(row.get("finished", 0) for row in snapshot["functions"].values())
