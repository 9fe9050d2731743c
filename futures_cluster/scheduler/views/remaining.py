"""An estimate of the time until all tasks have ended, for the status page.

Covers: the work that is left, by the mean durations of functions. Does not cover: counting the tasks (``overview``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from futures_cluster.scheduler.state import State


def running_tasks(state: State, now: float) -> list[tuple[float | None, float]]:
    """Return of each running task its function's mean duration and its age."""
    return [(task.function.group.duration_s, now - task.since_s) for task in state.running()]


def seconds_left(
    rows: Sequence[dict[str, Any]], running: Iterable[tuple[float | None, float]], slots: int
) -> float | None:
    """Return the time until the end of all tasks; None without an estimate.

    A running task needs the rest of the mean of its function, none if it has already run longer. The work that is left
    is shared by all slots, but no task can end before its own rest. A function that was never measured has the mean of
    the other tasks.

    Parameters
    ----------
    rows : sequence of dict
        Tasks of each function, as ``overview.progress`` counts them.
    running : iterable of tuple
        As ``running_tasks`` returns them.
    slots : int
        Of all workers.

    Examples
    --------
    >>> row = {"waiting": 0, "queued": 4, "assigned": 2, "running": 2, "unknown": 0, "duration_s": 10.0}
    >>> seconds_left([row], [(10.0, 9.0), (10.0, 13.0)], slots=2)
    20.5
    """
    waits = [(row["waiting"] + row["queued"] + row["assigned"] - row["running"] + row["unknown"]) for row in rows]
    tasks, work = 0, 0.0
    for row, number in zip(rows, waits, strict=True):
        if row["duration_s"] is not None:
            tasks += number + row["running"]
            work += (number + row["running"]) * row["duration_s"]
    if not slots or not tasks:
        return None
    usual_s = work / tasks
    total = longest = 0.0
    for row, number in zip(rows, waits, strict=True):
        if number > 0:
            duration_s = usual_s if row["duration_s"] is None else row["duration_s"]
            total += number * duration_s
            longest = max(longest, duration_s)
    for mean_s, has_run_s in running:
        left_s = max(0.0, (usual_s if mean_s is None else mean_s) - has_run_s)
        total += left_s
        longest = max(longest, left_s)
    return max(total / slots, longest)
