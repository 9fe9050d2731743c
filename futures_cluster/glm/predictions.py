"""Predictions for collections: the same kind comes back.

Covers: Dask arrays and dataframes (lazy), lists of futures (a list of futures), files (one array, made by tasks).
Does not cover: arrays in this process (the estimators' own methods).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from futures_cluster.glm.sources import files_of, is_parquet, kind_of, read_table, row_groups_of


def predict_collection(model: Any, x: Any, method: str, executor: Any) -> Any:
    """Call ``model.method`` for each block of ``x``.

    Raises
    ------
    TypeError
        For a list of futures without an executor.
    """
    kind = kind_of(x)
    model = copy.copy(model)
    model.executor = model.callback = None  # belong to this process
    if kind == "dask":
        return _predict_dask(model, x, method)
    if kind == "futures":
        if executor is None:
            return [predict_block(model, method, each.result()) for each in x]
        shared = executor.scatter(model)
        return [executor.submit(predict_block, shared, method, each) for each in x]
    parts = []
    for path in files_of(x):
        for groups in row_groups_of(path) if is_parquet(path) else [None]:
            parts.append((path, groups))
    if executor is None:
        return np.concatenate([predict_file(model, method, *part) for part in parts])
    shared = executor.scatter(model)
    futures = [executor.submit(predict_file, shared, method, *part) for part in parts]
    return np.concatenate([future.result() for future in futures])


def predict_block(model: Any, method: str, x: Any) -> Any:
    """The task: predictions for one block; of a pair ``(X, y)`` for its rows."""
    if isinstance(x, tuple):
        x = x[0]
    return getattr(model, method)(_own_columns(model, x))


def predict_file(model: Any, method: str, path: str, row_groups: list[int] | None) -> Any:
    """The task for a file, or some of its row groups."""
    return getattr(model, method)(_own_columns(model, read_table(path, row_groups)))


def _own_columns(model: Any, x: Any) -> Any:
    """Only what the model was fitted on: tables have the target and other columns too."""
    names = getattr(model, "feature_names_in_", None)
    if names is None or not hasattr(x, "columns"):
        return x
    return x[list(names)] if set(names) <= set(x.columns) else x


def _predict_dask(model: Any, x: Any, method: str) -> Any:
    sample = getattr(model, method)(np.zeros((1, model.n_features_in_)), **{}) if not _has_names(model) else None
    if sample is None:
        import pandas

        frame = pandas.DataFrame(np.zeros((1, model.n_features_in_)), columns=list(model.feature_names_in_))
        sample = getattr(model, method)(frame)
    if hasattr(x, "map_partitions"):  # a dataframe
        import pandas

        meta: Any = pandas.Series(sample[:0]) if sample.ndim == 1 else pandas.DataFrame(sample[:0])
        return x.map_partitions(_predict_frame, model, method, meta=meta)
    if len(x.chunks[1]) > 1:
        x = x.rechunk({1: -1})
    predict = _ArrayPredictor(model, method)
    if sample.ndim == 1:
        return x.map_blocks(predict, drop_axis=1, dtype=sample.dtype, meta=sample[:0])
    return x.map_blocks(predict, chunks=(x.chunks[0], (sample.shape[1],)), dtype=sample.dtype, meta=sample[:0])


def _has_names(model: Any) -> bool:
    return hasattr(model, "feature_names_in_")


class _ArrayPredictor:
    """A function of a block, for Dask."""

    def __init__(self, model: Any, method: str) -> None:
        self.model = model
        self.method = method

    def __call__(self, block: Any) -> Any:
        if hasattr(self.model, "feature_names_in_"):
            import pandas

            block = pandas.DataFrame(block, columns=list(self.model.feature_names_in_))
        if len(block) == 0:
            # scikit-learn refuses no rows; Dask may have such blocks.
            return getattr(self.model, self.method)(_one_row(self.model))[:0]
        return getattr(self.model, self.method)(block)


def _one_row(model: Any) -> Any:
    row = np.zeros((1, model.n_features_in_))
    if not _has_names(model):
        return row
    import pandas

    return pandas.DataFrame(row, columns=list(model.feature_names_in_))


def _predict_frame(frame: Any, model: Any, method: str) -> Any:
    import pandas

    rows = _own_columns(model, frame)
    values = getattr(model, method)(rows if len(rows) else _one_row(model))[: len(rows)]
    if values.ndim == 1:
        return pandas.Series(values, index=frame.index)
    return pandas.DataFrame(values, index=frame.index)
