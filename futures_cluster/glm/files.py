"""Files: those that a path, a glob, a folder or a list stands for, and their rows.

Covers: the order of files, the columns in the names of folders (``year=2024``, as Hive has them), CSV. Does not cover:
Parquet (``parquet``).
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.columns import Features, Rows, choose, rows_of_frame, target_of
from futures_cluster.glm.parquet import is_parquet, read_parquet, row_groups_of

#: Names of files in folders that are read as CSV; pandas knows the compressions.
CSV = re.compile(r"\.csv(\.(gz|bz2|zip|xz|zst|tar))?$", re.IGNORECASE)
#: The name that Hive has for a missing value.
MISSING = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class DataFile:
    """A file, or some row groups of it.

    Attributes
    ----------
    path : str
    constants : dict
        Columns that have one value in the whole file, which the names of its folders tell.
    implied : tuple of str
        Those of them which differ between the files of one folder or list: they are features by default.
    row_groups : list of int or None
    """

    path: str
    constants: dict[str, Any] = field(default_factory=dict)
    implied: tuple[str, ...] = ()
    row_groups: list[int] | None = None


def files_of(x: Any) -> list[DataFile]:
    """Return the files of a path, a glob, a folder, or a list of these.

    Those of a folder or a glob are in the order of the numbers in their names: ``part.2`` before ``part.10``. Folders
    in folders are read, too, but not what starts with a dot or an underscore, as pandas and Dask do.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    given = [os.path.abspath(os.fspath(each)) for each in ([x] if isinstance(x, str | os.PathLike) else x)]
    single = [path for path in given if os.path.exists(path) and not os.path.isdir(path)]
    common = os.path.commonpath([os.path.dirname(path) for path in single]) if single else ""
    found: list[tuple[str, str]] = []  # and the folder below which names of folders are columns by default
    for path in given:
        if os.path.isdir(path):
            here, base = _files_in(path), path
            if not here:
                raise FileNotFoundError(f"the folder {path} has no CSV or Parquet files: name the files, or a glob")
        elif os.path.exists(path):
            here, base = [path], common
        else:
            matches, base = sorted(glob.glob(path, recursive=True), key=natural_order), _base_of(path)
            inside = [_files_in(name) if os.path.isdir(name) else [name] for name in matches]
            here = list(dict.fromkeys(itertools.chain.from_iterable(inside)))  # ** has folders and what is in them
            if not here:
                what = "no file matches" if glob.has_magic(path) else "there is no file"
                raise FileNotFoundError(f"{what} {path}")
        found += [(name, base) for name in here]
    return _with_partitions(found)


def natural_order(path: str) -> list[Any]:
    """Return a key for sorting by the numbers in names.

    Examples
    --------
    >>> sorted(["part.10", "part.2"], key=natural_order)
    ['part.2', 'part.10']
    """
    parts: list[Any] = re.split(r"(\d+)", path)
    parts[1::2] = map(int, parts[1::2])
    return parts


def _files_in(folder: str) -> list[str]:
    def refuse(error: OSError) -> None:
        raise error  # os.walk would go on without the folder

    found = []
    for path, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        names = [name for name in names if not name.startswith((".", "_"))]
        found += [os.path.join(path, name) for name in names if is_parquet(name) or CSV.search(name)]
    return sorted(found, key=natural_order)


def _base_of(pattern: str) -> str:
    """Return the folders of a glob before the first that has a wildcard."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def partitions_of(path: str) -> dict[str, str]:
    """Return columns in the names of folders.

    Examples
    --------
    >>> partitions_of("/data/year=2024/city=New%20York/part.0.parquet")
    {'year': '2024', 'city': 'New York'}
    """
    folders = os.path.dirname(path).split(os.sep)
    pairs = [name.split("=", 1) for name in folders if "=" in name]
    return {unquote(key): unquote(value) for key, value in pairs if key}


def _with_partitions(found: list[tuple[str, str]]) -> list[DataFile]:
    """Add columns of folder names, as numbers if all files have whole ones."""
    partitions = [partitions_of(path) for path, _ in found]
    values: dict[str, set[str]] = {}
    for each in partitions:
        for key, value in each.items():
            values.setdefault(key, set()).add(value)
    numbers = {key for key, all_values in values.items() if all(map(_is_number, all_values - {MISSING}))}
    files = []
    for (path, base), each in zip(found, partitions):
        constants = {
            key: None if value == MISSING else int(value) if key in numbers else value for key, value in each.items()
        }
        above = partitions_of(os.path.join(base, ""))
        files.append(DataFile(path, constants, tuple(key for key in constants if key not in above)))
    return files


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None


def blocks_of(file: DataFile, features: Features) -> list[DataFile]:
    """Return a file as one block, or a Parquet file as several."""
    if not is_parquet(file.path):
        return [file]
    # Columns beside the features: the target and the weights.
    groups = row_groups_of(file.path, None if features.names is None else len(features.names) + 1)
    return [DataFile(file.path, file.constants, file.implied, each) for each in groups]


def read_rows(file: DataFile, features: Features, own: Sequence[str] = ()) -> tuple[Rows, list[Array]]:
    """Return the rows of a file, and its own columns: the target and the weights.

    Raises
    ------
    ValueError
        If the file cannot be read, lacks columns, or has some that are neither numbers nor categories.
    """
    constants = {
        name: str(value) if name in features.texts and value is not None else value
        for name, value in file.constants.items()
    }
    if is_parquet(file.path):
        return read_parquet(file.path, file.row_groups, features, own, constants, file.implied)
    return _read_csv(file.path, features, own, constants, file.implied)


def _read_csv(
    path: str, features: Features, own: Sequence[str], constants: dict[str, Any], implied: Sequence[str]
) -> tuple[Rows, list[Array]]:
    import pandas

    where = f" in {path}"
    unreadable = (OSError, EOFError, UnicodeDecodeError, pandas.errors.EmptyDataError, pandas.errors.ParserError)
    try:
        # As data: otherwise pandas gives names to columns that have none, and to the second of two that have one.
        header = pandas.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
        constants = {name: value for name, value in constants.items() if name not in header}
        default = [*header, *(name for name in implied if name in constants)]
        names = choose([*header, *constants], default, features, own, where)
        if "" in names:
            raise ValueError(
                f"column {header.index('')} has no name{where}, as when pandas writes an index: write the file by "
                "to_csv(..., index=False), or choose columns by fit(..., columns=[...])"
            )
        stored = [name for name in [*names, *own] if name not in constants]
        frame = pandas.read_csv(path, usecols=stored, dtype=dict.fromkeys(set(features.texts) & set(stored), str))
    except unreadable as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # not found, not permitted
        raise ValueError(f"cannot read {path} as CSV: {error}") from error
    for name in [name for name in [*names, *own] if name in constants]:
        frame[name] = np.nan if constants[name] is None else constants[name]
    rows = rows_of_frame(frame[names], Features(tuple(names), features.categories), (), where)
    return rows, [target_of(frame[name]) for name in own]
