"""Sources: from what users have to row blocks.

Covers: lists of futures, Dask arrays and dataframes, files; the target and the weights beside the rows, or as columns
of the same table. Does not cover: how files are read (``files``), arrays in this process (``estimators`` checks these
as scikit-learn does).

The way of data: each kind becomes a list of *loads*, calls that give one ``RowBlock`` with the target as the user has
it. With an executor they are its tasks, so files are read on the workers and blocks stay there; without one they run
here.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from futures_cluster.glm.columns import Features, choose, rows_of_frame
from futures_cluster.glm.files import DataFile, blocks_of, files_of, read_rows
from futures_cluster.glm.rowblocks import RowBlock, make_block
from futures_cluster.glm.sums import submit_of

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


@dataclass
class Load:
    """A call that gives a block, and what errors call the block."""

    fn: Callable[..., RowBlock]
    args: tuple[Any, ...]
    name: str = ""


def kind_of(x: Any) -> str:
    """Return ``"array"`` for this process, or ``"futures"``, ``"dask"``, ``"files"``.

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


def loads_of(x: Any, y: Any, weights: Any, executor: Executor | None, offset: Any, features: Features) -> list[Load]:
    """Return the loads of a collection.

    Parameters
    ----------
    offset
        The values of an offset or an exposure, or None.
    features : Features
        Which columns of tables, and which of these are categories.

    Raises
    ------
    ValueError, TypeError
        When rows, target, weights and offset do not go together.
    """
    kind = kind_of(x)
    if kind == "files":
        return _file_loads(x, y, weights, offset, features)
    if kind == "dask":
        loads = _dask_loads(x, y, weights, executor, offset, features)
    else:
        loads = _future_loads(list(x), y, weights, offset)
    for number, load in enumerate(loads):
        load.args += (features,)
        load.name = f"block {number}"
    return loads


def place(
    loads: Iterable[Load], executor: Executor | None, look: Callable[..., Any], *args: Any
) -> tuple[list[Any], list[Any]]:
    """Return futures of the blocks, and of ``look(block, *args)`` of each.

    ``look`` gets a block as soon as it is made, before others are made: if not all fit into memory, it is still there.
    """
    submit = submit_of(executor)
    blocks, found = [], []
    for load in loads:
        blocks.append(submit(load.fn, *load.args))
        found.append(submit(look, blocks[-1], *args))
    return blocks, found


# ---------------------------------------------------------------- one block; these run on workers


def from_table(table: Any, target: str, weight: str | None, offset: str | None, features: Features) -> RowBlock:
    """Return a block of a data frame that has the target as a column.

    Raises
    ------
    TypeError
        When it is no data frame.
    ValueError
        When there is no such column.
    """
    if not hasattr(table, "columns"):
        raise TypeError(f"y={target!r} names a column, but a block is no table: {type(table).__name__}")
    names = (target, weight, offset)
    rows = rows_of_frame(table, features, [name for name in names if name is not None])
    return make_block(rows, *(None if name is None else table[name] for name in names))


def from_pair(pair: Any, offset: Any, features: Features) -> RowBlock:
    """Return a block of a future's ``(rows, target)`` or ``(rows, target, weights)``.

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
    x, y, weights = pair if len(pair) == 3 else (*pair, None)
    return make_block(x, y, weights, offset, features)


def from_file(
    file: DataFile,
    target: str,
    weight: str | None,
    offset: str | None,
    features: Features,
) -> RowBlock:
    """Return a block of a file, or of some row groups of a Parquet file."""
    names = (target, weight, offset)
    own = [name for name in names if name is not None]
    rows, values = read_rows(file, features, own)
    found = dict(zip(own, values))
    return make_block(rows, *(None if name is None else found[name] for name in names))


def from_delayed(part: Any, y: Any, weights: Any, offset: Any, features: Features) -> RowBlock:
    """Return a block of Dask's delayed values, computed where this runs."""
    part, y, weights, offset = _dask_compute()(part, y, weights, offset, scheduler="synchronous")
    if isinstance(y, str):
        return from_table(part, y, weights, offset, features)
    return make_block(part, y, weights, offset, features)


def _dask_compute() -> Any:
    import dask.base

    return dask.base.compute


# ---------------------------------------------------------------- lists of blocks


def _file_loads(x: Any, target: Any, weight: Any, offset: Any, features: Features) -> list[Load]:
    if not isinstance(target, str):
        raise TypeError(f"for files y is the name of the target's column, not {type(target).__name__}")
    if weight is not None and not isinstance(weight, str):
        raise TypeError(f"for files sample_weight is the name of a column, not {type(weight).__name__}")
    if offset is not None and not isinstance(offset, str):
        raise TypeError(f"for files offset and exposure are names of columns, not {type(offset).__name__}")
    return [
        Load(from_file, (block, target, weight, offset, features), name=block.path)
        for file in files_of(x)
        for block in blocks_of(file, features)
    ]


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
    return [Load(make_block, each) for each in zip(x, *beside)]


def _must_be_name(value: Any, name: str) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"when y is the name of a column, {name} must be one too, not {type(value).__name__}")


def of_same_length(name: str, parts: Any, number: int) -> list[Any]:
    """Return one entry for each block; of None, None for each."""
    if parts is None:
        return [None] * number
    if not isinstance(parts, list | tuple):
        raise TypeError(f"{name} must be a list like X, one entry for each block, not {type(parts).__name__}")
    if len(parts) != number:
        raise ValueError(f"X has {number} blocks, and {name} has {len(parts)}")
    return list(parts)


def _dask_loads(x: Any, y: Any, weights: Any, executor: Executor | None, offset: Any, features: Features) -> list[Load]:
    beside = {"y": y, "sample_weight": weights, "offset or exposure": offset}
    if features.names is not None and hasattr(x, "columns"):
        own = [value for value in beside.values() if isinstance(value, str)]
        there = list(x.columns)
        x = x[[*choose(there, there, features, own), *own]]  # Dask reads no others
    x_parts = _delayed_parts(x)
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
        fn = from_table if names else make_block
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
    """Return a target, weights or an offset cut where the rows are, if that is known."""
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
