"""Predictions for collections: the same kind comes back.

Covers: Dask arrays and dataframes (lazy), lists of futures (a list of futures), files (one array, made by tasks).
Does not cover: arrays in this process (the estimators' own methods).
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from futures_cluster.glm.columns import Features, target_of
from futures_cluster.glm.files import DataFile, blocks_of, files_of, read_rows
from futures_cluster.glm.offsets import Offset
from futures_cluster.glm.sources import chunked_like, kind_of, of_same_length
from futures_cluster.glm.sums import submit_of

if TYPE_CHECKING:
    from futures_cluster.executor import Executor


def predict_collection(model: Any, x: Any, method: str, executor: Executor | None, offset: Offset | None = None) -> Any:
    """Call ``model.method`` for each block of ``x``, with its part of the offset."""
    kind = kind_of(x)
    features = features_of_model(model)
    model = without_process(model)
    if kind == "dask":
        return _predict_dask(model, x, method, offset)
    submit, shared = submit_of(executor), model if executor is None else executor.scatter(model)
    if kind == "futures":
        beside = offset_of_blocks(offset, len(x))
        futures = [submit(predict_block, shared, method, each, **own) for each, own in zip(x, beside)]
        return [future.result() for future in futures] if executor is None else futures
    if offset is not None and not isinstance(offset.values, str):
        raise TypeError(f"for files {offset.name} is the name of a column, not {type(offset.values).__name__}")
    keywords: dict[str, Any] = {} if offset is None else {offset.name: offset.values}
    blocks = [block for file in files_of(x) for block in blocks_of(file, features)]
    futures = [submit(predict_file, shared, method, block, features, **keywords) for block in blocks]
    return np.concatenate([future.result() for future in futures])


def offset_of_blocks(offset: Offset | None, number: int) -> list[dict[str, Any]]:
    """Return the keyword of each block of a list of futures."""
    if offset is None:
        return [{}] * number
    values = offset.values
    parts = [values] * number if isinstance(values, str) else of_same_length(offset.name, values, number)
    return [{offset.name: part} for part in parts]


def without_process(model: Any) -> Any:
    """Return the model without what belongs to this process."""
    model = copy.copy(model)
    model.executor = model.callback = None
    return model


def features_of_model(model: Any) -> Features:
    """Return the columns of tables on which the model was fitted."""
    if model._encoding_ is not None:
        features: Features = model._encoding_.features
        return features
    names = getattr(model, "feature_names_in_", None)
    return Features(None if names is None else tuple(names))


def predict_block(model: Any, method: str, x: Any, **offset: Any) -> Any:
    """Predict for one block; of a pair ``(X, y)`` for its rows; a task."""
    if isinstance(x, tuple):
        x = x[0]
    return predict_rows(model, method, _own_columns(model, x), **_offset_in(x, offset))


def predict_file(model: Any, method: str, file: DataFile, features: Features, **offset: str) -> Any:
    """Predict for a file, or some of its row groups; a task."""
    rows, values = read_rows(file, features, list(offset.values()))
    beside = dict(zip(offset, values))
    encoding = model._encoding_
    if encoding is None:
        return predict_rows(model, method, rows.x, rows.columns, **beside)
    return predict_rows(model, method, encoding.encode(rows), encoding.names, **beside)


def predict_rows(model: Any, method: str, x: Any, columns: list[str] | None = None, **offset: Any) -> Any:
    """Return predictions for rows of one block, also for none.

    Parameters
    ----------
    columns : list of str, optional
        Names of the columns of an array or a CSR matrix: those of the fit.
    """
    n_rows = x.shape[0] if hasattr(x, "shape") else len(x)
    if n_rows == 0:
        return getattr(model, method)(_one_row(model))[:0]
    if columns is not None and _has_names(model):
        assert columns == list(model.feature_names_in_)
        model = copy.copy(model)
        del model.feature_names_in_  # scikit-learn would warn that the array has none
    return getattr(model, method)(x, **offset)


def _offset_in(table: Any, offset: dict[str, Any]) -> dict[str, Any]:
    """Return the offset as numbers, where it names a column.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    for name, value in offset.items():
        if isinstance(value, str):
            if value not in getattr(table, "columns", ()):
                raise ValueError(f"there is no column {value!r}, which {name} names")
            return {name: target_of(table[value])}
    return offset


def _own_columns(model: Any, x: Any) -> Any:
    """Return only the columns that the model was fitted on."""
    names = features_of_model(model).names
    if names is None or not hasattr(x, "columns"):
        return x
    return x[list(names)] if set(names) <= set(x.columns) else x


def _predict_dask(model: Any, x: Any, method: str, offset: Offset | None) -> Any:
    sample = getattr(model, method)(_one_row(model))
    if hasattr(x, "map_partitions"):  # a dataframe
        import pandas

        meta: Any = pandas.Series(sample[:0]) if sample.ndim == 1 else pandas.DataFrame(sample[:0])
        beside = () if offset is None else (offset.name, offset.values)
        return x.map_partitions(_predict_frame, model, method, *beside, meta=meta)
    if len(x.chunks[1]) > 1:
        x = x.rechunk({1: -1})
    predict = functools.partial(_predict_array, model, method, None if offset is None else offset.name)
    columns = [] if offset is None else [chunked_like(x, offset.values, offset.name)[:, None]]
    import dask.array

    shape: dict[str, Any] = {"drop_axis": 1} if sample.ndim == 1 else {"chunks": (x.chunks[0], (sample.shape[1],))}
    return dask.array.map_blocks(predict, x, *columns, dtype=sample.dtype, meta=sample[:0], **shape)


def _has_names(model: Any) -> bool:
    return hasattr(model, "feature_names_in_")


def _predict_array(model: Any, method: str, offset: str | None, block: Any, column: Any = None) -> Any:
    columns = list(model.feature_names_in_) if _has_names(model) else None
    beside = {} if offset is None else {offset: column[:, 0]}
    return predict_rows(model, method, block, columns, **beside)


def _one_row(model: Any) -> Any:
    row = np.zeros((1, model.n_features_in_))
    if not _has_names(model):
        return row
    import pandas

    return pandas.DataFrame(row, columns=list(model.feature_names_in_))


def _predict_frame(frame: Any, model: Any, method: str, name: str | None = None, offset: Any = None) -> Any:
    import pandas

    beside = {} if name is None else _offset_in(frame, {name: offset})
    values = predict_rows(model, method, _own_columns(model, frame), **beside)
    if values.ndim == 1:
        return pandas.Series(values, index=frame.index)
    return pandas.DataFrame(values, index=frame.index)
