"""A picture of what the demo found out, by matplotlib.

Covers: the delays, the search and the times, side by side. Does not cover: finding them out, the text (``report``).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any


def draw(
    path: str,
    answers: Mapping[str, Any],
    errors: Sequence[float],
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
) -> None:
    """Write the picture; the ending of the path says in which format.

    Parameters
    ----------
    answers : dict
        As ``flights.ask`` gives them.
    errors : sequence of float
        Error of each setting, in the order of the search.
    ours, theirs : dict
        Seconds of each step, on the workers and in one process.
    """
    matplotlib: Any = import_module("matplotlib.figure")  # not pyplot, which looks for a screen
    figure = matplotlib.Figure(figsize=(13, 4), layout="constrained")
    delays, search, times = figure.subplots(1, 3)
    days: Mapping[str, float] = answers["mean departure delay per weekday"]
    delays.bar(list(days), list(days.values()))
    delays.set(title="mean departure delay", ylabel="minutes")
    search.plot(errors, ".", label="each setting")
    search.plot(list(itertools.accumulate(errors, min)), label="best so far")
    search.set(title="error on held-out rows", xlabel="settings", ylabel="minutes")
    search.legend()
    for position, (name, seconds) in enumerate((("workers", ours), ("one process", theirs))):
        steps = [seconds.get(step, 0.0) for step in ours]
        places = [number + 0.4 * position for number in range(len(steps))]
        times.bar(places, steps, width=0.4, label=name)
    times.set_xticks([number + 0.2 for number in range(len(ours))], list(ours), rotation=20)
    times.set(title="time", ylabel="seconds")
    times.legend()
    figure.savefig(path)
