"""Predictions for collections: the same kind comes back.

Covers: Dask arrays and dataframes (lazy), lists of futures (a list of futures), files (one array, made by tasks).
Does not cover: arrays in this process (the estimators' own methods).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from futures_cluster.glm.offsets import Offset
from futures_cluster.glm.sources import (
    chunked_like,
    files_of,
    is_parquet,
    kind_of,
    of_same_length,
    read_table,
    row_groups_of,
)


def predict_collection(model: Any, x: Any, method: str, executor: Any, offset: Offset | None = None) -> Any:
    """Call ``model.method`` for each block of ``x``, with its part of the offset.

    Raises
    ------
    TypeError
        For a list of futures without an executor.
    """
    kind = kind_of(x)
    model = copy.copy(model)
    model.executor = model.callback = None  # belong to this process
    if kind == "dask":
        return _predict_dask(model, x, method, offset)
    if kind == "futures":
        beside = offset_of_blocks(offset, len(x))
        if executor is None:
            return [predict_block(model, method, each.result(), **_result(own)) for each, own in zip(x, beside)]
        shared = executor.scatter(model)
        return [executor.submit(predict_block, shared, method, each, **own) for each, own in zip(x, beside)]
    if offset is not None and not isinstance(offset.values, str):
        raise TypeError(f"for files {offset.name} is the name of a column, not {type(offset.values).__name__}")
    keywords: dict[str, Any] = {} if offset is None else {offset.name: offset.values}
    parts = []
    for path in files_of(x):
        for groups in row_groups_of(path) if is_parquet(path) else [None]:
            parts.append((path, groups))
    if executor is None:
        return np.concatenate([predict_file(model, method, *part, **keywords) for part in parts])
    shared = executor.scatter(model)
    futures = [executor.submit(predict_file, shared, method, *part, **keywords) for part in parts]
    return np.concatenate([future.result() for future in futures])


def offset_of_blocks(offset: Offset | None, number: int) -> list[dict[str, Any]]:
    """The keyword of each block of a list of futures."""
    if offset is None:
        return [{}] * number
    values = offset.values
    parts = [values] * number if isinstance(values, str) else of_same_length(offset.name, values, number)
    return [{offset.name: part} for part in parts]


def _result(keywords: dict[str, Any]) -> dict[str, Any]:
    return {name: value.result() if hasattr(value, "result") else value for name, value in keywords.items()}


def predict_block(model: Any, method: str, x: Any, **offset: Any) -> Any:
    """The task: predictions for one block; of a pair ``(X, y)`` for its rows."""
    if isinstance(x, tuple):
        x = x[0]
    return getattr(model, method)(_own_columns(model, x), **_offset_in(x, offset))


def predict_file(model: Any, method: str, path: str, row_groups: list[int] | None, **offset: Any) -> Any:
    """The task for a file, or some of its row groups."""
    return predict_block(model, method, read_table(path, row_groups), **offset)


def _offset_in(table: Any, offset: dict[str, Any]) -> dict[str, Any]:
    """The offset as numbers, where it names a column.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    for name, value in offset.items():
        if isinstance(value, str):
            if value not in getattr(table, "columns", ()):
                raise ValueError(f"there is no column {value!r}, which {name} names")
            return {name: table[value].to_numpy()}
    return offset


def _own_columns(model: Any, x: Any) -> Any:
    """Only what the model was fitted on: tables have the target and other columns too."""
    names = getattr(model, "feature_names_in_", None)
    if names is None or not hasattr(x, "columns"):
        return x
    return x[list(names)] if set(names) <= set(x.columns) else x


def _predict_dask(model: Any, x: Any, method: str, offset: Offset | None) -> Any:
    sample = getattr(model, method)(np.zeros((1, model.n_features_in_)), **{}) if not _has_names(model) else None
    if sample is None:
        import pandas

        frame = pandas.DataFrame(np.zeros((1, model.n_features_in_)), columns=list(model.feature_names_in_))
        sample = getattr(model, method)(frame)
    if hasattr(x, "map_partitions"):  # a dataframe
        import pandas

        meta: Any = pandas.Series(sample[:0]) if sample.ndim == 1 else pandas.DataFrame(sample[:0])
        beside = () if offset is None else (offset.name, offset.values)
        return x.map_partitions(_predict_frame, model, method, *beside, meta=meta)
    if len(x.chunks[1]) > 1:
        x = x.rechunk({1: -1})
    predict = _ArrayPredictor(model, method, None if offset is None else offset.name)
    columns = [] if offset is None else [chunked_like(x, offset.values, offset.name)[:, None]]
    import dask.array

    shape: dict[str, Any] = {"drop_axis": 1} if sample.ndim == 1 else {"chunks": (x.chunks[0], (sample.shape[1],))}
    return dask.array.map_blocks(predict, x, *columns, dtype=sample.dtype, meta=sample[:0], **shape)


def _has_names(model: Any) -> bool:
    return hasattr(model, "feature_names_in_")


class _ArrayPredictor:
    """A function of a block, for Dask."""

    def __init__(self, model: Any, method: str, offset: str | None = None) -> None:
        self.model = model
        self.method = method
        self.offset = offset

    def __call__(self, block: Any, column: Any = None) -> Any:
        if hasattr(self.model, "feature_names_in_"):
            import pandas

            block = pandas.DataFrame(block, columns=list(self.model.feature_names_in_))
        if len(block) == 0:
            # scikit-learn refuses no rows; Dask may have such blocks.
            return getattr(self.model, self.method)(_one_row(self.model))[:0]
        keywords = {} if self.offset is None else {self.offset: column[:, 0]}
        return getattr(self.model, self.method)(block, **keywords)


def _one_row(model: Any) -> Any:
    row = np.zeros((1, model.n_features_in_))
    if not _has_names(model):
        return row
    import pandas

    return pandas.DataFrame(row, columns=list(model.feature_names_in_))


def _predict_frame(frame: Any, model: Any, method: str, name: str | None = None, offset: Any = None) -> Any:
    import pandas

    rows = _own_columns(model, frame)
    if len(rows):
        values = getattr(model, method)(rows, **({} if name is None else _offset_in(frame, {name: offset})))
    else:
        values = getattr(model, method)(_one_row(model))[:0]
    if values.ndim == 1:
        return pandas.Series(values, index=frame.index)
    return pandas.DataFrame(values, index=frame.index)
