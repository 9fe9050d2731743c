"""Parquet files as rows: little at a time, in blocks along row groups.

Covers: which columns of a file are an index, reading row groups into one array, joining row groups to blocks of a
useful size. Does not cover: which files there are (``files``), other tables (``columns``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.columns import Features, Rows, choose, code_column, refuse_non_numbers

#: Maximum bytes, as doubles, of a block of joined row groups of a Parquet file: enough to be worth a task,
#: few enough that a worker with little memory holds several. (A row group that is larger is a block.)
BLOCK_BYTES = 24 * 1024 * 1024
#: Bytes, as doubles, of the columns of a row group that are read at once: decoding takes three times that.
COLUMNS_BYTES = 4 * 1024 * 1024


def is_parquet(path: str) -> bool:
    """Return whether a file is Parquet, by the end of its name."""
    return path.lower().endswith((".parquet", ".pq", ".parq"))


def open_parquet(path: str) -> Any:
    """Open a file.

    Raises
    ------
    ValueError
        If it is no Parquet file; pyarrow's error does not name it.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"cannot read {path} as Parquet: {error}") from error


def row_groups_of(path: str, n_columns: int | None = None) -> list[list[int]]:
    """Return row groups of a Parquet file, joined to blocks of a useful size.

    Parameters
    ----------
    n_columns : int, optional
        Number of columns that are read, if not all.
    """
    blocks: list[list[int]] = [[]]
    size = 0
    with open_parquet(path) as file:
        columns = min(n_columns or file.metadata.num_columns, file.metadata.num_columns)
        for number in range(file.num_row_groups):
            group_size = 8 * file.metadata.row_group(number).num_rows * columns
            if blocks[-1] and size + group_size > BLOCK_BYTES:
                blocks.append([])
                size = 0
            blocks[-1].append(number)
            size += group_size
    return blocks


def index_columns(schema: Any) -> list[str]:
    """Return columns that pandas and Dask made of an index, by their metadata.

    A range has no column of its own, only an entry of another kind.
    """
    metadata = (schema.metadata or {}).get(b"pandas")
    entries = json.loads(metadata)["index_columns"] if metadata else []
    return [entry for entry in entries if isinstance(entry, str)]


def read_parquet(
    path: str,
    row_groups: list[int] | None,
    features: Features,
    own: Sequence[str],
    constants: Mapping[str, Any],
    implied: Sequence[str],
) -> tuple[Rows, list[Array]]:
    """Return rows of a file or row groups, with its own target and weights.

    A few columns at a time go into the array that the block keeps. A data frame between would need three times the
    memory, and the whole row group at once as an Arrow table and its pages three times as well.

    Parameters
    ----------
    constants, implied
        Columns that have one value for the whole file, by its folder; those of them that are features by default.

    Raises
    ------
    ValueError
        If columns are missing, or are neither numbers nor categories.
    """
    import pyarrow

    where = f" in {path}"
    with open_parquet(path) as file:
        schema = file.schema_arrow
        index = index_columns(schema)
        constants = {name: value for name, value in constants.items() if name not in schema.names}
        default = [name for name in schema.names if name not in index]
        default += [name for name in implied if name in constants]
        names = choose([*schema.names, *constants], default, features, own, where)
        kinds = {name: schema.field(name).type for name in [*names, *own] if name not in constants}
        numeric = [name for name in names if name not in features.categories]
        bad = {name: str(kinds[name]) for name in numeric if name in kinds and not _is_number(kinds[name])}
        bad |= {name: "text" for name in numeric if isinstance(constants.get(name), str)}
        refuse_non_numbers(bad, where)
        groups = list(range(file.num_row_groups)) if row_groups is None else row_groups
        n_rows = sum(file.metadata.row_group(group).num_rows for group in groups)
        narrow = numeric and all(name in kinds and pyarrow.types.is_float32(kinds[name]) for name in numeric)
        x = np.empty((n_rows, len(names)), dtype=np.float32 if narrow else np.float64)
        parts: dict[str, list[Array]] = {name: [] for name in own}
        start = 0
        for group in groups:
            stop = start + file.metadata.row_group(group).num_rows
            at_once = max(1, COLUMNS_BYTES // (8 * max(1, stop - start)))
            stored = [(number, name) for number, name in enumerate(names) if name in kinds and name in numeric]
            for first in range(0, len(stored), at_once):
                some = stored[first : first + at_once]
                table = file.read_row_group(group, columns=[name for _, name in some], use_threads=False)
                for number, name in some:
                    x[start:stop, number] = _values(table.column(name), as_numbers=True)
            table = file.read_row_group(group, columns=[name for name in own if name in kinds], use_threads=False)
            for name in [name for name in own if name in kinds]:
                parts[name].append(_values(table.column(name)))
            start = stop
        levels: dict[str, Array] = {}
        for number, name in enumerate(names):
            if name in features.categories and name in kinds:
                column = file.read_row_groups(groups, columns=[name], use_threads=False).column(name)
                x[:, number], levels[name] = code_column(column.to_pandas())
            elif name in features.categories:
                x[:, number], levels[name] = code_column(_constant(constants[name], n_rows))
            elif name in constants:
                x[:, number] = np.nan if constants[name] is None else constants[name]
        targets = [_constant(constants[name], n_rows) if name in constants else _joined(parts[name]) for name in own]
        table = column = None
    pyarrow.default_memory_pool().release_unused()
    return Rows(x, names, levels), targets


def _constant(value: Any, n_rows: int) -> Array:
    return np.full(n_rows, value, dtype=object if value is None or isinstance(value, str) else None)


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return any(
        test(kind) for test in (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal, types.is_null)
    )


def _values(column: Any, as_numbers: bool = False) -> Array:
    """Return a column as an array; numbers are NaN where there is none."""
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_decimal(column.type) or types.is_null(column.type):
        column = column.cast(pyarrow.float64())
    elif types.is_boolean(column.type) and (as_numbers or column.null_count):
        column = column.cast(pyarrow.uint8())
    return column.to_numpy()
