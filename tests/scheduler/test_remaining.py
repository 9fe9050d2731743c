"""The estimate of the time until all tasks have ended."""

from __future__ import annotations

from typing import Any

import pytest

from futures_cluster.scheduler.views import overview
from futures_cluster.scheduler.views.remaining import running_tasks, seconds_left

from .builders import Cluster, submit


def row(duration_s: float | None, **numbers: int) -> dict[str, Any]:
    none = dict.fromkeys(("waiting", "queued", "assigned", "running", "unknown"), 0)
    return {**none, **numbers, "duration_s": duration_s}


@pytest.mark.parametrize(
    ("rows", "running", "slots", "left_s"),
    [
        ([], [], 4, None),
        ([row(10.0, queued=4)], [], 0, None),
        ([row(None, queued=4)], [], 2, None),  # nothing was measured
        ([row(10.0, queued=4)], [], 2, 20.0),
        ([row(10.0, waiting=1, queued=1, unknown=2)], [], 2, 20.0),
        ([row(10.0, assigned=2, running=2)], [(10.0, 4.0), (10.0, 9.0)], 2, 6.0),
        ([row(10.0, assigned=1, running=1)], [(10.0, 4.0)], 8, 6.0),  # other slots do not make it faster
        ([row(10.0, assigned=1, running=1)], [(10.0, 40.0)], 8, 0.0),
        ([row(10.0, assigned=3, running=1)], [(10.0, 4.0)], 1, 26.0),
        ([row(10.0, queued=1), row(None, queued=1)], [], 1, 20.0),  # what was not measured is as the others
        ([row(10.0, queued=1), row(None, assigned=1, running=1)], [(None, 4.0)], 1, 16.0),
    ],
)
def test_what_is_left(
    rows: list[dict[str, Any]], running: list[tuple[float | None, float]], slots: int, left_s: float | None
) -> None:
    assert seconds_left(rows, running, slots) == left_s


def test_what_runs_has_less_left_as_time_goes_by() -> None:
    cluster = Cluster(1)
    cluster.given(submit("a"))
    cluster.finish("a", duration_s=10.0)
    cluster.given(submit("b"))
    cluster.start("b")
    state = cluster.machine.state
    start = cluster.task("b").since_s
    assert [seconds_left(overview.progress(state), running_tasks(state, start + s), 1) for s in (0, 4, 11)] == [
        10,
        6,
        0,
    ]
