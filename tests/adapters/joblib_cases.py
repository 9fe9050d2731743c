"""Calls of joblib with arrays, for the backends to be compared: the same code, on loky and on ours.

Covers: the cases, each a function that returns what it has seen as JSON has it. Does not cover: comparing
(``test_joblib_memmaps``).

    python -c "from adapters.joblib_cases import main; main(FOLDER, False)"
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend

CASES: dict[str, Callable[[Path], Any]] = {}
#: These have options, for each of which loky starts its workers anew.
CASES_WITH_OPTIONS: dict[str, Callable[[Path], Any]] = {}
TIMEOUT_S = 30


def case(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Have a function compared."""
    CASES[function.__name__] = function
    return function


def case_with_options(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Have a function compared that takes long on loky."""
    CASES_WITH_OPTIONS[function.__name__] = function
    return function


class Holder:
    """An object with an array somewhere in it."""

    def __init__(self, array: Any) -> None:
        self.inside = {"array": (array,)}

    def fill(self, i: int) -> None:
        self.inside["array"][0][i] = i + 1


# ---------------------------------------------------------------- in the calls


def fill(out: Any, i: int) -> None:
    out[i] = i + 1


def set_all(out: Any, i: int) -> None:
    out[...] = i + 1


def fill_nested(arrays: Any, i: int) -> None:
    arrays["out"][0][0][i] = i + 1


def fill_and_flush(out: Any, i: int) -> None:
    out[i] = i + 1
    out.flush()


def outcome_of_writing(array: Any) -> str:
    before = array.flat[0]
    try:
        array.flat[0] = -1
    except ValueError as error:
        return str(error)
    seen = float(array.flat[0])
    array.flat[0] = before
    return f"wrote {seen}"


def outcome_of_writing_inside(held: Holder) -> str:
    return outcome_of_writing(held.inside["array"][0])


def facts(array: Any, *others: Any) -> Any:
    """What a call sees of an array."""
    return [array.shape, array.dtype.str, float(array.sum()), float(array[(0,) * array.ndim]), array.flags.writeable]


def both_write(array: Any, i: int) -> bool:
    """Whether two calls at a time see what the other one writes."""
    array[i] = i + 1
    end = time.monotonic() + TIMEOUT_S
    while array[1 - i] != 2 - i:
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def write_and_read(array: Any, i: int) -> list[float]:
    array[i] += 1
    return [float(value) for value in array[:4]]


def thread_limits() -> Any:
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return [os.environ.get("OMP_NUM_THREADS"), sorted({library["num_threads"] for library in threadpool_info()})]


# ---------------------------------------------------------------- memmaps


def filled(path: Path, calls: Callable[[Any], Any], mode: str = "w+", **options: Any) -> Any:
    """What a file holds after calls have written to its memmap."""
    if mode == "r+":
        path.write_bytes(bytes(8 * 20))
    out = np.memmap(path, mode=mode, dtype="f8", **({"shape": (20,)} | options))  # type: ignore[call-overload]
    Parallel()(calls(out))
    del out
    return np.fromfile(path).tolist()


@case
def written(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(fill)(out, i) for i in range(20)))


@case
def written_mode_of_files_that_are_there(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(fill)(out, i) for i in range(20)), mode="r+")


@case
def written_and_flushed(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(fill_and_flush)(out, i) for i in range(20)))


@case
def written_behind_an_offset(folder: Path) -> Any:
    calls = lambda out: (delayed(fill)(out, i) for i in range(20))  # noqa: E731
    return filled(folder / "a", calls, offset=4096 + 16)


@case
def written_by_columns(folder: Path) -> Any:
    return [
        filled(folder / "a", lambda out: (delayed(set_all)(out[:, i], i) for i in range(3)), shape=(4, 3)),
        filled(folder / "b", lambda out: (delayed(set_all)(out[i], i) for i in range(4)), shape=(4, 3), order="F"),
    ]


@case
def written_to_views(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(fill)(out[i : i + 1], 0) for i in range(20)))


@case
def written_to_arrays_over_memmaps(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(fill)(np.asarray(out)[2:], i) for i in range(18)))


@case
def written_to_other_types(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(fill)(out.view("i8"), i) for i in range(20)))


@case
def written_inside_of_containers(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(fill_nested)({"out": [(out,)]}, i) for i in range(20)))


@case
def written_inside_of_objects(folder: Path) -> Any:
    return filled(folder / "a", lambda out: (delayed(Holder(out).fill)(i) for i in range(20)))


@case
def written_by_partials_and_closures(folder: Path) -> Any:
    def closure(out: Any) -> Any:
        return lambda i: fill(out, i)

    return [
        filled(folder / "a", lambda out: (delayed(functools.partial(fill, out))(i) for i in range(20))),
        filled(folder / "b", lambda out: (delayed(closure(out))(i) for i in range(20))),
    ]


@case_with_options
def written_without_memmapping(folder: Path) -> Any:
    """``max_nbytes=None`` is about arrays in memory."""
    out = np.memmap(folder / "a", mode="w+", dtype="f8", shape=20)
    Parallel(max_nbytes=None)(delayed(fill)(out, i) for i in range(20))
    return out.tolist()


@case
def read_only_and_private_memmaps(folder: Path) -> Any:
    np.arange(1.0, 301.0).tofile(folder / "a")
    seen = []
    for mode in ("r", "c"):
        array = np.memmap(folder / "a", mode=mode, dtype="f8", shape=(30, 10))
        seen += Parallel()(delayed(outcome_of_writing)(each) for each in (array, array[3:]))
        seen += Parallel()(delayed(facts)(each) for each in (array, array[3:], array[2], array[::2, 1:3]))
    return [*seen, np.fromfile(folder / "a")[0]]


def look_into(path: str, mode: str) -> Any:
    array = np.memmap(path, mode=mode, dtype="f8", shape=(30, 10))
    return array, {"rows": [array[2:5]], "plain": np.asarray(array)[1], "sum": float(array.sum())}


@case
def memmaps_as_results(folder: Path) -> Any:
    np.arange(300.0).tofile(folder / "a")
    seen = []
    for mode in ("r", "r+"):
        for array, others in Parallel()(delayed(look_into)(str(folder / "a"), mode) for _ in range(2)):
            rows = others["rows"][0]
            seen += [
                array.mode,
                Path(array.filename).name,
                rows.mode,
                facts(array),
                facts(rows),
                facts(others["plain"]),
            ]
            if mode == "r+":
                rows[0, 0] += 1000
    for array in Parallel()(delayed(np.asarray)(np.memmap(folder / "a", mode="r", dtype="f8")) for _ in range(2)):
        seen.append(facts(array))
    return [*seen, np.fromfile(folder / "a").sum()]


# ---------------------------------------------------------------- arrays in memory


@case_with_options
def modes_of_large_arrays(folder: Path) -> Any:
    array = np.arange(1.0, 40_001.0)
    seen = []
    for mode in ("r", "c", "r+", "w+"):
        for each in (array, array.reshape(200, 200).T, array.reshape(200, 200)[:, ::2], array.view("M8[s]").view("f8")):
            seen += Parallel(max_nbytes=1000, mmap_mode=mode)(delayed(facts)(each) for _ in range(2))
            seen += Parallel(max_nbytes=1000, mmap_mode=mode)(delayed(outcome_of_writing)(each) for _ in range(2))
    assert array[0] == 1
    return seen


@case_with_options
def writes_that_others_see(folder: Path) -> Any:
    array = np.zeros(1000)
    with parallel_config(max_nbytes="1K", mmap_mode="r+"):
        seen = Parallel(batch_size=1)(delayed(both_write)(array, i) for i in range(2))
    return [seen, array[:2].tolist()]


@case_with_options
def writes_that_others_do_not_see(folder: Path) -> Any:
    array = np.zeros(1000)
    with parallel_config(max_nbytes=1000, mmap_mode="c"):
        return [Parallel(batch_size=1)(delayed(write_and_read)(array, i) for i in range(4)), array[:4].tolist()]


@case_with_options
def sizes(folder: Path) -> Any:
    """Which arrays are large: those with more bytes than ``max_nbytes``."""
    small, large = np.zeros(125), np.zeros(126)
    seen = []
    for options in ({}, {"max_nbytes": 1000}, {"max_nbytes": "1K"}, {"max_nbytes": None}):
        seen += Parallel(**options)(delayed(facts)(array) for array in (small, large, np.zeros(129)))
        with parallel_config(**options):
            seen += Parallel()(delayed(facts)(array) for array in (small, large, np.zeros(129)))
    return seen


@case_with_options
def large_arrays_inside_of_others(folder: Path) -> Any:
    array = np.arange(1000.0)
    with parallel_config(max_nbytes=1000):
        return [
            Parallel()(delayed(lambda them: facts(them["x"][0]))({"x": [array]}) for _ in range(2)),
            Parallel()(delayed(lambda held: facts(held.inside["array"][0]))(Holder(array)) for _ in range(2)),
            Parallel()(delayed(lambda: facts(array))() for _ in range(2)),
            Parallel()(delayed(facts)(np.array([object(), 1] * 100)[1::2]) for _ in range(2)),
        ]


@case_with_options
def a_folder_for_large_arrays(folder: Path) -> Any:
    array = np.arange(1000.0)
    with parallel_config(max_nbytes=1000, temp_folder=str(folder / "t")):
        seen = [Parallel(mmap_mode=mode)(delayed(facts)(array) for _ in range(2)) for mode in ("r", "c", "r+")]
    return seen


# ---------------------------------------------------------------- threads of libraries


@case
def threads_inside_of_calls(folder: Path) -> Any:
    return Parallel()(delayed(thread_limits)() for _ in range(2))


@case
def limited_threads_inside_of_calls(folder: Path) -> Any:
    with parallel_config(backend=another_backend(), n_jobs=2, inner_max_num_threads=2):
        limited = Parallel()(delayed(thread_limits)() for _ in range(2))
    return [limited, Parallel()(delayed(thread_limits)() for _ in range(2))]


def another_backend() -> Any:
    """One like that which is configured."""
    active: Any = get_active_backend()[0]
    return type(active)(**({"executor": active._given_executor} if hasattr(active, "_given_executor") else {}))


def main(folder: str, has_options: bool) -> None:
    """Print what the cases see on loky."""
    from joblib.externals.loky import get_reusable_executor

    seen = {}
    with parallel_config(backend="loky", n_jobs=2):
        for name, function in (CASES_WITH_OPTIONS if has_options else CASES).items():
            place = Path(folder) / name
            place.mkdir()
            seen[name] = function(place)
    get_reusable_executor().shutdown()
    print(json.dumps(seen))
