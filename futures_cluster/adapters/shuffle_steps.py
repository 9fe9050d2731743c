"""What workers run of a shuffle by tasks: splitting a partition, joining pieces, and what Dask's own tasks would do.

Covers: frames, with the number of a row's partition in a column, and bags, as groups with that number. Does not cover:
which of these tasks there are, and in which stages (``shuffles``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable
from typing import Any

#: Of a partition's bag: number of the partition, key and items of each group.
Groups = list[tuple[int, Any, list[Any]]]


#: What P2P hands its last task of a merge, in this order.
_MERGE_OPTIONS = ("left_on", "right_on", "result_meta", "suffixes", "left_index", "right_index", "indicator")


def number_rows(frame: Any, index: Any, column: Any, partitions: int, is_index: bool) -> Any:
    """Add the column of partitions' numbers, by hash, as Dask does for a merge."""
    from dask.dataframe.dask_expr._shuffle import AssignPartitioningIndex

    return AssignPartitioningIndex.operation(frame, index, column, partitions, frame, is_index)


def split_frame(frame: Any, starts: list[int], is_last: bool, column: Any) -> Any:
    """Split a frame by the number of the partition.

    Parameters
    ----------
    frame : DataFrame
    starts : list of int
        The first partition of each piece, ascending.
    is_last : bool
        Each piece is one partition; rows of other partitions are not wanted.
    column : object
        The name of the column with the numbers.

    Returns
    -------
    dict
        From 0, 1, ... to the pieces, some of which may be empty.
    """
    import numpy as np
    from dask.dataframe.dispatch import group_split_dispatch

    numbers = frame[column].to_numpy()
    where = np.searchsorted(starts, numbers, side="right") - 1
    wanted = np.asarray(starts)[where] == numbers if is_last else where >= 0
    if not wanted.all():
        frame, where = frame[wanted], where[wanted]
    return group_split_dispatch(frame, where, len(starts), ignore_index=False)


def join_frames(*pieces: Any) -> Any:
    """Put the pieces of a partition together."""
    from dask.dataframe.core import _concat

    return _concat(list(pieces))


def without_column(frame: Any, column: Any) -> Any:
    """Drop the numbers of partitions."""
    return frame.drop(columns=column)


def merge_parts(left: Any, right: Any, columns: tuple[Any, Any], how: str, *rest: Any) -> Any:
    """Merge two partitions, as P2P's last task does."""
    from dask.dataframe.multi import merge_chunk

    options = dict(zip(_MERGE_OPTIONS, rest, strict=True))
    return merge_chunk(left.drop(columns=columns[0]), right.drop(columns=columns[1]), how=how, **options)


def group_items(grouper: Any, items: Iterable[Any], partitions: int) -> Groups:
    """Group the items of a bag's partition: rows of partition, key and items."""
    from dask.tokenize import tokenize
    from toolz import groupby  # type: ignore[import-untyped]

    return [(int(tokenize(key), 16) % partitions, key, found) for key, found in groupby(grouper, items).items()]


def split_groups(groups: Groups, starts: list[int], is_last: bool, column: Any) -> list[Groups]:
    """Split groups by the number of the partition; see ``split_frame``."""
    pieces: list[Groups] = [[] for _ in starts]
    for row in groups:
        at = bisect_right(starts, row[0]) - 1
        if at >= 0 and (not is_last or starts[at] == row[0]):
            pieces[at].append(row)
    return pieces


def join_groups(*pieces: Groups) -> Groups:
    """Put the pieces of a partition together."""
    return [row for piece in pieces for row in piece]


def merge_groups(groups: Groups) -> list[tuple[Any, list[Any]]]:
    """Make one group of those with the same key."""
    merged: dict[Hashable, list[Any]] = {}
    for _, key, items in groups:
        merged.setdefault(key, []).extend(items)
    return list(merged.items())
