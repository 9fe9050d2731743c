"""Categories: columns of zeros and ones for the levels that all tables have together.

Covers: the levels of all tables, the encoding, the names of what it makes. Does not cover: the codes of one table
(``columns``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse

from futures_cluster.glm.array_types import Array
from futures_cluster.glm.columns import Features, Rows, levels_array, rows_of_frame

#: Categories with more levels than this together are encoded as CSR rows.
MAX_DENSE_LEVELS = 100


@dataclass(frozen=True)
class Encoding:
    """How columns of tables become the columns of a model.

    Attributes
    ----------
    columns : list of str
        Those of the table, in order.
    levels : dict
        The levels of each category.
    drop_first : bool
        The first level of each category gets no column; it is what the others are compared with.

    Examples
    --------
    >>> Encoding(["age", "city"], {"city": levels_array(["Bern", "Rome"])}).names
    ['age', 'city_Bern', 'city_Rome']
    """

    columns: list[str]
    levels: Mapping[str, Array] = field(default_factory=dict)
    drop_first: bool = False

    @property
    def features(self) -> Features:
        """The same columns of another table."""
        return Features(tuple(self.columns), self.levels, self.drop_first)

    @property
    def names(self) -> list[str]:
        """The model's columns, named as scikit-learn's ``OneHotEncoder`` names them."""
        first = int(self.drop_first)
        return [
            new
            for name in self.columns
            for new in ([f"{name}_{level}" for level in self.levels[name][first:]] if name in self.levels else [name])
        ]

    @property
    def is_sparse(self) -> bool:
        """Whether the encoded rows are CSR."""
        return sum(map(len, self.levels.values())) > MAX_DENSE_LEVELS

    def encode(self, rows: Rows) -> Array:
        """Return the rows with a column for each level of each category, in its place.

        Raises
        ------
        ValueError
            If a category has a value that is none of its levels; the text names both.
        """
        assert rows.columns is not None
        if rows.columns != self.columns:
            rows = Rows(rows.x[:, [rows.columns.index(name) for name in self.columns]], self.columns, rows.levels)
        if not self.levels:
            return rows.x
        n_rows = len(rows.x)
        kind = rows.x.dtype if rows.x.dtype == np.float32 else np.float64
        parts: list[Array] = []
        for i, name in enumerate(self.columns):
            values = rows.x[:, i]
            if name in self.levels:
                codes = self._codes(name, values, rows.levels[name])
                ones = (np.ones(n_rows, kind), codes, np.arange(n_rows + 1))
                part = scipy.sparse.csr_matrix(ones, shape=(n_rows, len(self.levels[name])))
                parts.append(part[:, 1:] if self.drop_first else part)
            else:
                parts.append(values[:, None])
        if self.is_sparse:
            parts = [part if scipy.sparse.issparse(part) else scipy.sparse.csr_matrix(part) for part in parts]
            return scipy.sparse.csr_matrix(scipy.sparse.hstack(parts, format="csr"))
        x = np.empty((n_rows, sum(part.shape[1] for part in parts)), dtype=kind)
        start = 0
        for part in parts:
            stop = start + part.shape[1]
            x[:, start:stop] = part.toarray() if scipy.sparse.issparse(part) else part
            start = stop
        return x

    def _codes(self, name: str, codes: Array, found: Array) -> Array:
        """Return the positions of values among all levels; ``codes`` are of its table."""
        position = {level: number for number, level in enumerate(self.levels[name].tolist())}
        unseen = [level for level in found.tolist() if level not in position]
        if unseen:
            some = ", ".join(map(repr, list(position)[:10])) + (", ..." if len(position) > 10 else "")
            raise ValueError(
                f"the category {name!r} has the value {unseen[0]!r}, which is not among the levels of the fit: {some}"
            )
        if np.any(np.isnan(codes)):
            raise ValueError(f"Input X contains NaN: the category {name!r} has missing values")
        lookup = np.array([position[level] for level in found.tolist()], dtype=np.intp)
        return lookup[codes.astype(np.intp)] if len(codes) else np.empty(0, np.intp)

    def encode_frame(self, frame: Any) -> tuple[Any, list[str] | None]:
        """Encode the categories of a data frame; return rows and names of columns.

        Other columns stay as they are, for scikit-learn to check. A frame without categories, and what is no frame,
        is left as it is; then there are no names.
        """
        there = {name: levels for name, levels in self.levels.items() if name in getattr(frame, "columns", ())}
        if not there:
            return frame, None
        rows = rows_of_frame(frame, Features(None, there))
        assert rows.columns is not None
        encoding = Encoding(rows.columns, there, self.drop_first)
        return encoding.encode(rows), encoding.names


def encoded_table(table: Any, features: Features) -> tuple[Array, Encoding]:
    """Return the chosen columns of a data frame, encoded, with their levels.

    Raises
    ------
    TypeError
        If it is no data frame with names of columns.
    """
    if not (hasattr(table, "columns") and hasattr(table, "to_numpy")):
        raise TypeError(f"columns= and categories= need tables with names of columns, and X is {type(table).__name__}")
    rows = rows_of_frame(table, features)
    if rows.columns is None:
        raise TypeError("columns= and categories= need names of columns that are texts")
    encoding = encoding_of(rows.columns, [rows.levels], features)
    return encoding.encode(rows), encoding


def encoding_of(columns: list[str], found: Iterable[Mapping[str, Array]], features: Features) -> Encoding:
    """Return the encoding by the levels of all tables, sorted, or as given.

    Raises
    ------
    ValueError
        If a category has numbers and texts, or two columns get one name.
    """
    values: dict[str, dict[Any, None]] = {name: {} for name in features.categories}
    for each in found:
        for name, levels in each.items():
            values[name].update(dict.fromkeys(levels.tolist()))
    known: dict[str, Array] = {}
    for name, given in features.categories.items():
        if given is None and is_mixed(values[name]):
            raise ValueError(
                f"the category {name!r} has texts and other values: give its levels by "
                f"categories={{{name!r}: [...]}}, or make all of them texts"
            )
        known[name] = levels_array(sorted(values[name])) if given is None else given
    encoding = Encoding(columns, known, features.drop_first)
    names = encoding.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two columns would be called {twice!r} after encoding categories: rename one of them")
    return encoding


def is_mixed(values: Iterable[Any]) -> bool:
    """Return whether only some of the values are texts."""
    return len({isinstance(value, str) for value in values}) > 1
