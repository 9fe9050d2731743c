"""The same work on workers and in one process, and whether the answers agree.

Covers: both ways from start to stop with the time of each step, and comparing what they found out.
Does not cover: the work itself (``flights``, ``search``), printing (``report``).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from futures_cluster import Executor, wait
from futures_cluster.demo.flights import (
    COLUMNS,
    Answer,
    ask,
    ask_pandas,
    distinct_carriers,
    load_libraries,
    read_partition,
    reduce_in_pairs,
    union,
    unpack,
)
from futures_cluster.demo.report import ProgressLine
from futures_cluster.demo.search import Setting, gram, held_out_error, prepare, search
from futures_cluster.demo.timing import StepTimes

RELATIVE_TOLERANCE = 1e-9


CHECKING = "checking against pandas in one process"
START, READ, ASK, SEARCH, STOP = "start, import", "read", "questions", "model search", "stop"


@dataclass(frozen=True)
class Outcome:
    """What one of the two ways found out, and how long it took."""

    answers: dict[str, Answer]
    errors: dict[Setting, float]
    lengths: list[int]
    clock: StepTimes


def on_workers(
    archive: Path,
    workers: int,
    backend: str | None,
    count: int,
    rows: int | None,
    progress: ProgressLine,
    report: str | None = None,
) -> Outcome:
    """Compute everything through the executor; no partition comes to this process."""
    clock = StepTimes(progress.step)
    with (
        tempfile.TemporaryDirectory(prefix="futures-cluster-demo-") as folder,
        contextlib.ExitStack() as stack,
    ):

        def show(done: int, best: float) -> None:
            progress.show(done, count, f"best {best:.3f} min")

        with clock.step(START):
            ex = stack.enter_context(Executor(max_workers=workers, backend=backend))
            stack.push(lambda kind, error, trace: ex.shutdown(wait=False, cancel_futures=True) if kind else None)
            if report is not None:
                stack.enter_context(ex.report(report, "futures-cluster demo"))
            for future in [ex.submit(load_libraries, number) for number in range(workers)]:
                future.result()
        with clock.step(READ):
            table = ex.submit(unpack, str(archive), folder, max(8, 2 * workers), rows).result()
            parts = [ex.submit(read_partition, table, number) for number in range(len(table.ranges))]
            wait(parts)
        with clock.step(ASK):
            answers = ask(ex, parts)
        with clock.step(SEARCH):
            carriers = reduce_in_pairs(ex, union, [ex.submit(distinct_carriers, part) for part in parts])
            blocks = [ex.submit(prepare, part, carriers) for part in parts]
            errors = search(ex, blocks, count, 2 * workers + 2, show)
        lengths = list(ex.map(len, parts))
        with clock.step(STOP):
            stack.close()
    return Outcome(answers, errors, lengths, clock)


def in_one_process(
    archive: Path, lengths: Sequence[int], settings: Collection[Setting], rows: int | None, progress: ProgressLine
) -> Outcome:
    """Compute the same by pandas and numpy.

    The settings and the held-out rows are those of the search.
    """
    clock = StepTimes(lambda step: progress.step(f"{CHECKING}: {step}"))
    with clock.step(START):
        load_libraries()
        import pandas as pd
    with clock.step(READ):
        flights = pd.read_csv(archive, usecols=list(COLUMNS), nrows=rows)
    with clock.step(ASK):
        answers = ask_pandas(flights)
    with clock.step(SEARCH):
        stops = list(itertools.accumulate(lengths))
        parts = [flights.iloc[stop - length : stop] for length, stop in zip(lengths, stops, strict=True)]
        carriers = distinct_carriers(flights)
        blocks = [prepare(part, carriers) for part in parts]
        errors = {}
        for setting in settings:
            errors[setting] = held_out_error([gram(block, setting) for block in blocks], setting.log_alpha)
            progress.show(len(errors), len(settings))
    return Outcome(answers, errors, [len(part) for part in parts], clock)


def same(one: object, other: object) -> bool:
    """Return whether integers are equal and floats close; no float is a count."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a line for each answer that differs or is missing, by key in groups."""
    found = []
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        name = f"{prefix}{key}"
        if key not in ours or key not in theirs:
            found.append(f"{name}: only {'on the workers' if key in ours else 'in one process'}")
        elif isinstance(ours[key], Mapping) and isinstance(theirs[key], Mapping):
            found += differences(ours[key], theirs[key], f"{name}: ")
        elif not same(ours[key], theirs[key]):
            found.append(f"{name}: {ours[key]!r} on the workers, {theirs[key]!r} in one process")
    return found


def comparable(outcome: Outcome) -> dict[str, Any]:
    """Return all that must agree: the answers, and the error of every setting."""
    return {
        **outcome.answers,
        "error of the model": {str(key): value for key, value in outcome.errors.items()},
    }
