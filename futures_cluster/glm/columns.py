"""Columns of tables: which of them are features, and how they become numbers.

Covers: choosing columns, columns of data frames as arrays. Does not cover: reading files (``parquet``, ``files``), the
encoding of categories (``categories``), the classes of a target (``targets``).

The way of data: a table becomes ``Rows``, in which a category is one column of codes, beside the levels that this table
has. The levels of all tables together are known only when all were read; then an ``Encoding`` makes a column of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from futures_cluster.glm.array_types import Array

#: What pandas calls the values of a column of objects, if they are numbers.
NUMBERS = ("integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty")


@dataclass(frozen=True)
class Features:
    """The columns of a table that are features.

    Attributes
    ----------
    names : tuple of str or None
        None: all columns but the target and the weights.
    categories : dict
        The names of categories, with their levels, or None where the levels are to be found in the data.
    drop_first : bool
        The first level of each category gets no column.
    """

    names: tuple[str, ...] | None = None
    categories: Mapping[str, Array | None] = field(default_factory=dict)
    drop_first: bool = False

    @property
    def are_chosen(self) -> bool:
        """Whether the caller has said anything about columns."""
        return self.names is not None or bool(self.categories)

    @property
    def texts(self) -> list[str]:
        """Categories whose levels are texts; readers of CSV files must not take ``007`` for a number."""
        known = [(name, levels) for name, levels in self.categories.items() if levels is not None]
        return [name for name, levels in known if all(isinstance(level, str) for level in levels.tolist())]


def features_of(columns: Any, categories: Any, drop_first: Any = False) -> Features:
    """Check the arguments of a fit that are about columns.

    Raises
    ------
    TypeError, ValueError
        If they are not names.

    Examples
    --------
    >>> features_of(["age", "city"], ["city"])
    Features(names=('age', 'city'), categories={'city': None}, drop_first=False)
    """
    names = None if columns is None else tuple(_names("columns", columns))
    levels: dict[str, Array | None] = {}
    if isinstance(categories, Mapping):
        for name, values in categories.items():
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise TypeError(f"the levels of categories[{name!r}] must be a list, got {values!r}")
            levels[name] = known = levels_array(list(values))
            if not len(known) or len(set(known.tolist())) < len(known):
                raise ValueError(f"the levels of categories[{name!r}] must be one or more, all different")
    elif categories is not None:
        levels = dict.fromkeys(_names("categories", categories))
    for name in levels:
        if names is not None and name not in names:
            raise ValueError(f"categories has {name!r}, which is not in columns: add it to columns")
    if drop_first and not levels:
        raise ValueError(f"drop_first={drop_first!r} is about categories: name them by categories=[...]")
    return Features(names, levels, bool(drop_first))


def _names(argument: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{argument} must be a list of names of columns, got {value!r}")
    names = [str(name) if isinstance(name, str) else name for name in value]
    if not names or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{argument} must be one or more names of columns, all different, got {value!r}")
    return names


def choose(
    available: Sequence[Any], default: Sequence[Any], features: Features, own: Sequence[str], where: str = ""
) -> list[Any]:
    """Return the columns of one table that are features, in order.

    Parameters
    ----------
    available, default : sequence of names
        All columns; those that are features if the caller chose none.
    own : sequence of str
        The target and the weights.
    where : str
        Where the table is, for errors.

    Raises
    ------
    ValueError
        If a column is not there, or is there twice.
    """
    wanted = [*own, *(features.names or ()), *features.categories]
    missing = [name for name in wanted if name not in available]
    if missing:
        there = ", ".join(map(str, available[:20])) or "none"
        raise ValueError(f"there is no column {missing[0]!r}{where}; there are {there}")
    if features.names is None:
        names = [name for name in default if name not in own]
        names += [name for name in features.categories if name not in names]
    else:
        names = list(features.names)
    both = [name for name in own if name in names or name in features.categories]
    if both:
        raise ValueError(f"{both[0]!r} is the target or the weights, and cannot be a feature: take it out of columns")
    if not names:
        raise ValueError(f"there is no column for features{where}: all are the target, the weights, or an index")
    twice = [name for name in [*names, *own] if list(available).count(name) > 1]
    if twice:
        raise ValueError(f"the column {twice[0]!r} occurs more than once{where}: rename the others, or choose columns=")
    return names


def refuse_non_numbers(kinds: Mapping[Any, str], where: str = "") -> None:
    """Say which columns are no numbers, and what to do.

    Raises
    ------
    ValueError
        If there are any.
    """
    if not kinds:
        return
    some = list(kinds.items())[:5]
    what = ", ".join(f"{name} ({kind})" for name, kind in some) + (", ..." if len(kinds) > len(some) else "")
    name = some[0][0]
    rename = "" if isinstance(name, str) else "make names of columns texts by map(str), and "
    raise ValueError(
        f"columns must be numbers, and {what} {'is' if len(kinds) == 1 else 'are'} not{where}: {rename}"
        f"encode categories by fit(..., categories=[{str(name)!r}]), or leave them out by fit(..., columns=[...])"
    )


# ---------------------------------------------------------------- one table


@dataclass
class Rows:
    """A table as numbers.

    Attributes
    ----------
    x : array of shape (rows, columns)
    columns : list of str or None
    levels : dict
        The levels of each category; its column in ``x`` has their positions, and NaN where the value is missing.
    """

    x: Array
    columns: list[str] | None
    levels: dict[str, Array] = field(default_factory=dict)


def rows_of_frame(frame: Any, features: Features, own: Sequence[str] = (), where: str = "") -> Rows:
    """Return a data frame as numbers.

    Raises
    ------
    ValueError
        If columns are missing, or are neither numbers nor categories.
    """
    there = list(frame.columns)
    names = choose(there, there, features, own, where)
    if names != there:
        frame = frame[names]
    kinds = [frame.dtypes.iloc[i] for i in range(len(names))]
    if not features.categories and all(isinstance(kind, np.dtype) and kind.kind in "fiub" for kind in kinds):
        return Rows(frame.to_numpy(dtype=np.result_type(*kinds)), names_of_columns(names))
    levels: dict[str, Array] = {}
    numbers: list[Array] = []
    bad: dict[Any, str] = {}
    for i, name in enumerate(names):
        column = frame.iloc[:, i]
        if name in features.categories:
            values, levels[name] = code_column(column)
        else:
            values = numbers_of(column)
            if values is None:
                bad[name] = kind_of_column(column)
                continue
        numbers.append(values)
    refuse_non_numbers(bad, where)
    x = np.empty((len(frame), len(names)), dtype=np.result_type(np.float32, *{values.dtype for values in numbers}))
    for i, values in enumerate(numbers):
        x[:, i] = values
    return Rows(x, names_of_columns(names), levels)


def refuse_texts(frame: Any) -> None:
    """Refuse columns of a data frame that are no numbers, as in other tables.

    Raises
    ------
    ValueError
        If there are any.
    """
    if not (hasattr(frame, "iloc") and getattr(frame, "ndim", 0) == 2):
        return
    bad: dict[Any, str] = {}
    for i, kind in enumerate(frame.dtypes):
        if getattr(kind, "kind", "O") not in "fiubc":
            found = kind_of_column(frame.iloc[:, i])
            if found not in NUMBERS:
                bad[frame.columns[i]] = found
    refuse_non_numbers(bad)


def without_named(frame: Any, features: Features, values: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """Return the features of a data frame, and values, some named by columns.

    Parameters
    ----------
    values : dict
        From names of parameters to what was given; a text names a column, which then is no feature.

    Raises
    ------
    ValueError
        If there is no such column, or ``frame`` is an array.
    """
    named = {name: value for name, value in values.items() if isinstance(value, str)}
    if not named:
        return frame, list(values.values())
    if not hasattr(frame, "iloc"):
        name, value = next(iter(named.items()))
        raise ValueError(
            f"{name}={value!r} names a column, and X is {type(frame).__name__}, which has none: give the values "
            "themselves; names are for files, and for data frames of pandas, Dask or futures"
        )
    there = list(frame.columns)
    own = list(dict.fromkeys(named.values()))
    features_there = choose(there, there, features, own)
    return frame[features_there], [frame[value] if name in named else value for name, value in values.items()]


def names_of_columns(names: Sequence[Any]) -> list[str] | None:
    """Return names, if all are texts; None if none is, as in scikit-learn.

    Raises
    ------
    TypeError
        If only some are.
    """
    texts = [isinstance(name, str) for name in names]
    if all(texts):
        return [str(name) for name in names]
    if any(texts):
        raise TypeError(f"names of columns must all be texts, got {list(names)[:20]!r}: rename them by map(str)")
    return None


def numbers_of(column: Any) -> Array | None:
    """Return a series as numbers, NaN where missing; None for anything else."""
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "fiub":
        return column.to_numpy()
    if len(column) == 0:
        return np.empty(0)
    if getattr(kind, "kind", "O") in "fiub" or kind_of_column(column) in NUMBERS:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return None


def target_of(values: Any) -> Array:
    """Return a target or weights, from a series or anything like an array.

    Columns of numbers and booleans in which values are missing become numbers with NaN.
    """
    if not (hasattr(values, "to_numpy") and hasattr(values, "infer_objects") and values.ndim == 1):
        return np.asarray(values)
    values = values.infer_objects()
    kind = values.dtype
    if isinstance(kind, np.dtype) and kind.kind != "O":
        return values.to_numpy()
    if getattr(kind, "kind", "O") in "fiub" and not values.hasnans:
        return values.to_numpy(dtype=kind.numpy_dtype if hasattr(kind, "numpy_dtype") else None)
    numbers = numbers_of(values)
    return values.to_numpy(dtype=object, na_value=None) if numbers is None else numbers


def kind_of_column(column: Any) -> str:
    """Return what pandas finds in a series, for errors: "string", "datetime64"."""
    import pandas

    kind: str = pandas.api.types.infer_dtype(column, skipna=True)
    return kind


def code_column(column: Any) -> tuple[Array, Array]:
    """Return codes of a category, NaN where missing, and the levels they count."""
    import pandas

    codes, levels = pandas.factorize(column)
    codes = codes.astype(np.float32 if len(levels) < 2**20 else np.float64)
    codes[codes < 0] = np.nan
    return codes, levels_array(levels.tolist())


def levels_array(levels: list[Any]) -> Array:
    """Return levels as an array of objects, so that numpy makes no texts of them."""
    array = np.empty(len(levels), dtype=object)
    array[:] = [level.item() if isinstance(level, np.generic) else level for level in levels]
    return array
