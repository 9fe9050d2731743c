"""Sources: from what users have to row blocks.

Covers: lists of futures, Dask arrays and dataframes, CSV and Parquet files or globs; the target and the weights
beside the rows, or as columns of the same table. Does not cover: arrays in this process (``estimators`` checks these
as scikit-learn does).

The way of data: each kind becomes a list of *loads*, calls that give one ``RowBlock`` with the target as the user has
it. With an executor they are its tasks, so files are read on the workers and blocks stay there; without one they run
here.
"""

from __future__ import annotations

import concurrent.futures
import glob
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from futures_cluster.glm.rowblocks import RowBlock, make_block

#: Row groups of a Parquet file are joined to blocks of at most so many bytes, as doubles: enough to be worth a task,
#: few enough that a worker with little memory holds several. (A row group that is larger is a block.)
BLOCK_BYTES = 24 * 1024 * 1024
#: Columns of a row group that are read at once take about so many bytes as doubles: decoding takes three times that.
COLUMNS_BYTES = 4 * 1024 * 1024


@dataclass
class Load:
    """A call that gives a block."""

    fn: Callable[..., RowBlock]
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


def kind_of(x: Any) -> str:
    """``"array"`` for what is in this process, else ``"futures"``, ``"dask"`` or ``"files"``.

    Examples
    --------
    >>> kind_of([[1.0]]), kind_of("data/*.parquet"), kind_of(["a.csv", "b.csv"])
    ('array', 'files', 'files')
    """
    if isinstance(x, str | os.PathLike):
        return "files"
    if _is_dask(x):
        return "dask"
    if isinstance(x, list | tuple) and len(x):
        if all(isinstance(each, concurrent.futures.Future) for each in x):
            return "futures"
        if all(isinstance(each, str | os.PathLike) for each in x):
            return "files"
    return "array"


def _is_dask(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(x, "__dask_graph__")


def loads_of(x: Any, y: Any, weights: Any, executor: Any, offset: Any = None) -> list[Load]:
    """The loads of a collection; ``offset`` has the values of an offset or an exposure.

    Raises
    ------
    ValueError, TypeError
        When rows, target, weights and offset do not go together.
    """
    kind = kind_of(x)
    if kind == "files":
        return _file_loads(x, y, weights, offset)
    if kind == "dask":
        return _dask_loads(x, y, weights, executor, offset)
    return _future_loads(list(x), y, weights, offset)


def place(loads: Iterable[Load], executor: Any, look: Callable[..., Any], *args: Any) -> tuple[list[Any], list[Any]]:
    """The blocks, and ``look(block, *args)`` of each; with an executor, futures of both.

    A block is looked at as soon as it is made, before others: if not all fit into memory, it is still there.
    """
    blocks, found = [], []
    for load in loads:
        if executor is None:
            block: Any = load.fn(*_values(load.args), **load.options)
            found.append(look(block, *args))
        else:
            block = executor.submit(load.fn, *load.args, **load.options)
            found.append(executor.submit(look, block, *args))
        blocks.append(block)
    return blocks, found


def _values(args: tuple[Any, ...]) -> list[Any]:
    return [each.result() if isinstance(each, concurrent.futures.Future) else each for each in args]


# ---------------------------------------------------------------- one block; these run on workers


def from_parts(x: Any, y: Any, weights: Any = None, offset: Any = None) -> RowBlock:
    """A block of rows, target, weights and offset."""
    return make_block(x, y, weights, offset)


def from_table(table: Any, target: str, weight: str | None = None, offset: str | None = None) -> RowBlock:
    """A block of a data frame that has the target as a column.

    Raises
    ------
    ValueError
        When there is no such column.
    """
    names = [name for name in (target, weight, offset) if name is not None]
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(f"there is no column {missing[0]!r}; there are {', '.join(map(str, table.columns[:20]))}")
    rows = table.drop(columns=names)
    beside = [None if name is None else table[name].to_numpy() for name in (target, weight, offset)]
    return make_block(rows, *beside)


def from_pair(pair: Any, offset: Any = None) -> RowBlock:
    """A block of a future's ``(rows, target)`` or ``(rows, target, weights)``.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(pair, RowBlock):
        return pair
    if not isinstance(pair, tuple | list) or len(pair) not in (2, 3):
        raise TypeError(
            f"without y each future must give (X, y) or (X, y, sample_weight), and one gave {type(pair).__name__}"
        )
    x, y = pair[:2]
    return make_block(x, y, pair[2] if len(pair) == 3 else None, offset)


def read_file(
    path: str,
    target: str,
    weight: str | None = None,
    row_groups: list[int] | None = None,
    offset: str | None = None,
) -> RowBlock:
    """A block of a file, or of some row groups of a Parquet file."""
    if is_parquet(path):
        return _read_parquet(path, target, weight, row_groups, offset)
    return from_table(read_table(path, row_groups), target, weight, offset)


def _read_parquet(
    path: str, target: str, weight: str | None, row_groups: list[int] | None, offset: str | None
) -> RowBlock:
    """Some columns at a time into the array that the block keeps.

    A data frame between would need three times the memory, and the whole row group at once as an Arrow table and its
    pages three times as well.
    """
    import numpy as np
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = [name for name in schema.names if not name.startswith("__index_level_")]
        own = [name for name in (target, weight, offset) if name is not None]
        for name in own:
            if name not in names:
                raise ValueError(f"there is no column {name!r} in {path}; there are {', '.join(names[:20])}")
        columns = [name for name in names if name not in own]
        kinds = [schema.field(name).type for name in columns]
        types = pyarrow.types
        bad = [
            name
            for name, kind in zip(columns, kinds)
            if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind))
        ]
        if bad:
            raise ValueError(
                f"columns must be numbers, and {', '.join(bad[:5])} are not: encode texts and categories first"
            )
        groups = list(range(file.num_row_groups)) if row_groups is None else row_groups
        rows = sum(file.metadata.row_group(group).num_rows for group in groups)
        narrow = all(types.is_float32(kind) for kind in kinds)
        x = np.empty((rows, len(columns)), dtype=np.float32 if narrow else np.float64)
        own_parts: list[list[Any]] = [[] for _ in own]
        start = 0
        for group in groups:
            stop = start + file.metadata.row_group(group).num_rows
            at_once = max(1, COLUMNS_BYTES // (8 * max(1, stop - start)))
            for first in range(0, len(columns), at_once):
                some = columns[first : first + at_once]
                table = file.read_row_group(group, columns=some, use_threads=False)
                for number, name in enumerate(some, first):
                    x[start:stop, number] = table.column(name).to_numpy()
            table = file.read_row_group(group, columns=own, use_threads=False)
            for parts, name in zip(own_parts, own):
                column = table.column(name)
                if types.is_dictionary(column.type):
                    column = column.cast(column.type.value_type)
                parts.append(column.to_numpy())
            start = stop
        table = column = None
    pyarrow.default_memory_pool().release_unused()
    values = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in zip(own, own_parts)}
    block = make_block(x, *[None if name is None else values[name] for name in (target, weight, offset)])
    block.columns = columns
    return block


def read_table(path: str, row_groups: list[int] | None = None) -> Any:
    """A data frame of a CSV or Parquet file."""
    if is_parquet(path):
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as file:
            groups = list(range(file.num_row_groups)) if row_groups is None else row_groups
            return file.read_row_groups(groups, use_threads=False).to_pandas(use_threads=False)
    import pandas

    return pandas.read_csv(path)


def from_delayed(part: Any, y: Any, weights: Any = None, offset: Any = None) -> RowBlock:
    """A block of Dask's delayed values, or of one and names of its columns, computed where this runs."""
    part, y, weights, offset = _dask_compute()(part, y, weights, offset, scheduler="synchronous")
    if isinstance(y, str):
        return from_table(part, y, weights, offset)
    return make_block(part, y, weights, offset)


def _dask_compute() -> Any:
    import dask.base

    return dask.base.compute


# ---------------------------------------------------------------- lists of blocks


def is_parquet(path: str) -> bool:
    """By the end of its name."""
    return path.lower().endswith((".parquet", ".pq", ".parq"))


def files_of(x: Any) -> list[str]:
    """The files of a path, a glob, a folder, or a list of these, sorted within each.

    Raises
    ------
    FileNotFoundError
        When nothing is there.
    """
    patterns: list[Any] = [x] if isinstance(x, str | os.PathLike) else list(x)
    found: list[str] = []
    for pattern in [str(os.fspath(each)) for each in patterns]:
        if os.path.isdir(pattern):
            names = sorted(os.path.join(pattern, name) for name in os.listdir(pattern))
            here = [name for name in names if is_parquet(name) or name.lower().endswith((".csv", ".csv.gz"))]
        else:
            here = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
        if not here:
            raise FileNotFoundError(f"there is no file {pattern}")
        found += here
    return found


def row_groups_of(path: str) -> list[list[int]]:
    """Row groups of a Parquet file, joined to blocks of a useful size."""
    import pyarrow.parquet

    blocks: list[list[int]] = [[]]
    size = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            group_size = 8 * file.metadata.row_group(number).num_rows * file.metadata.num_columns
            if blocks[-1] and size + group_size > BLOCK_BYTES:
                blocks.append([])
                size = 0
            blocks[-1].append(number)
            size += group_size
    return blocks


def _file_loads(x: Any, target: Any, weight: Any, offset: Any) -> list[Load]:
    if not isinstance(target, str):
        raise TypeError(f"for files y is the name of the target's column, not {type(target).__name__}")
    if weight is not None and not isinstance(weight, str):
        raise TypeError(f"for files sample_weight is the name of a column, not {type(weight).__name__}")
    if offset is not None and not isinstance(offset, str):
        raise TypeError(f"for files offset and exposure are names of columns, not {type(offset).__name__}")
    loads = []
    for path in map(os.path.abspath, files_of(x)):
        for groups in row_groups_of(path) if is_parquet(path) else [None]:
            loads.append(Load(read_file, (path, target, weight, groups, offset)))
    return loads


def _future_loads(x: list[Any], y: Any, weights: Any, offset: Any) -> list[Load]:
    if isinstance(y, str):
        _must_be_name(weights, "sample_weight")
        _must_be_name(offset, "offset or exposure")
        return [Load(from_table, (each, y, weights, offset)) for each in x]
    offsets = of_same_length("offset or exposure", offset, len(x))
    if y is None:
        if weights is not None:
            raise TypeError("without y each future gives its weights itself: (X, y, sample_weight)")
        return [Load(from_pair, pair) for pair in zip(x, offsets)]
    beside = [of_same_length("y", y, len(x)), of_same_length("sample_weight", weights, len(x)), offsets]
    return [Load(from_parts, each) for each in zip(x, *beside)]


def _must_be_name(value: Any, name: str) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"when y is the name of a column, {name} must be one too, not {type(value).__name__}")


def of_same_length(name: str, parts: Any, number: int) -> list[Any]:
    """One entry for each block; of None, None for each."""
    if parts is None:
        return [None] * number
    if not isinstance(parts, list | tuple):
        raise TypeError(f"{name} must be a list like X, one entry for each block, not {type(parts).__name__}")
    if len(parts) != number:
        raise ValueError(f"X has {number} blocks, and {name} has {len(parts)}")
    return list(parts)


def _dask_loads(x: Any, y: Any, weights: Any, executor: Any, offset: Any) -> list[Load]:
    x_parts = _delayed_parts(x)
    beside = {"y": y, "sample_weight": weights, "offset or exposure": offset}
    if isinstance(y, str):
        for name, value in beside.items():
            _must_be_name(value, name)
        names = [y, weights, offset]
        columns = [x_parts]
    else:
        names = []
        given = {name: value for name, value in beside.items() if value is not None or name == "y"}
        columns = [
            x_parts,
            *(_delayed_parts(chunked_like(x, value, name), len(x_parts), name) for name, value in given.items()),
        ]
    fn: Callable[..., RowBlock] = from_delayed
    if executor is None or hasattr(executor, "compute"):
        fn = from_table if names else from_parts
        if executor is None:
            columns = [list(each) for each in _dask_compute()(*columns)]
        else:
            # One graph for all: what blocks have in common is computed once.
            futures = executor.compute([part for column in columns for part in column])
            columns = [futures[i * len(x_parts) : (i + 1) * len(x_parts)] for i in range(len(columns))]
    if names:
        return [Load(fn, (part, *names)) for part in columns[0]]
    computed = dict(zip(given, columns[1:]))
    nothing = [None] * len(x_parts)
    return [Load(fn, parts) for parts in zip(columns[0], *(computed.get(name, nothing) for name in beside))]


def chunked_like(x: Any, other: Any, name: str) -> Any:
    """A target, weights or an offset cut where the rows are, if that is known."""
    if not _is_dask(other):
        raise TypeError(f"with rows from Dask {name} must be a Dask collection or the name of a column")
    if not (hasattr(x, "chunks") and hasattr(other, "chunks")):
        return other
    known = all(size == size for size in (*x.chunks[0], *other.chunks[0]))  # unknown sizes are NaN
    if known and x.shape[0] != other.shape[0]:
        raise ValueError(f"X has {x.shape[0]} rows, and {name} has {other.shape[0]}")
    return other.rechunk({0: x.chunks[0]}) if known and other.chunks[0] != x.chunks[0] else other


def _delayed_parts(x: Any, number: int | None = None, name: str = "X") -> list[Any]:
    if hasattr(x, "chunks") and x.ndim == 2 and len(x.chunks[1]) > 1:
        x = x.rechunk({1: -1})
    parts = x.to_delayed()
    parts = list(parts.ravel()) if hasattr(parts, "ravel") else list(parts)
    if number is not None and len(parts) != number:
        raise ValueError(f"X has {number} blocks, and {name} has {len(parts)}: give both the same chunks")
    return parts
