"""Sizes are right for flat data, of the right order for the rest, and found without walking through objects."""

from __future__ import annotations

import collections
import functools
import pickle
import sys
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.wire import contents
from futures_cluster.wire.codec import sizeof as module
from futures_cluster.wire.codec.sizeof import OBJECT_BYTES, flat_size, sizeof

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

MB = 1_000_000


@functools.cache
def flat() -> dict[str, tuple[Any, int]]:
    sparse = pytest.importorskip("scipy.sparse")
    numbers = np.arange(MB, dtype=float)
    matrix = sparse.random(2000, 2000, 0.05, format="csr", random_state=0)
    multi = pd.MultiIndex.from_product([np.arange(1000), np.arange(100)])
    return {
        "array": (numbers, 8 * MB),
        "slice": (numbers[::2], 4 * MB),
        "small array": (np.arange(10.0), 180),
        "structured": (np.zeros(MB, dtype="i4,f8"), 12 * MB),
        "masked": (np.ma.masked_greater(numbers, 5), 8 * MB),
        "memmap's kin": (numbers.view(np.recarray), 8 * MB),
        "frame": (pd.DataFrame({"a": numbers, "b": numbers.astype("i4")}), 12 * MB),
        "wide frame": (pd.DataFrame(np.zeros((100, 3000))), 100 * 3000 * 8),
        "series": (pd.Series(numbers), 8 * MB),
        "series with index": (pd.Series(numbers, index=numbers), 16 * MB),
        "index": (pd.Index(numbers), 8 * MB),
        "dates": (pd.date_range("2020", periods=MB, freq="s"), 8 * MB),
        "zoned dates": (pd.DataFrame({"t": pd.date_range("2020", periods=MB, freq="s", tz="UTC")}), 8 * MB),
        "multi-index": (pd.Series(np.zeros(100_000), index=multi), 100_000 * 8 + sum(c.nbytes for c in multi.codes)),
        "categories": (pd.Series(pd.Categorical(["a", "b"] * (MB // 2))), MB),
        "nullable": (pd.DataFrame({"n": pd.array(np.arange(MB), dtype="Int64")}), 9 * MB),
        "extension array": (pd.array(np.arange(MB), dtype="Int64"), 9 * MB),
        "sparse": (matrix, matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes),
        "bytes": (b"x" * MB, MB),
        "bytearray": (bytearray(MB), MB),
        "text": ("x" * MB, MB),
        "wide text": ("\u20ac" * MB, 2 * MB),
        "list of arrays": ([np.zeros(1000) for _ in range(50)], 50 * 8000),
        "list of numbers": (list(range(1000, MB)), MB * 36),
        "list of texts": ([str(i) * 100 for i in range(10_000)], sum(len(str(i)) * 100 + 49 for i in range(10_000))),
        "one object many times": ([numbers] * 100, 8 * MB),
        "dict": ({i: np.zeros(1000) for i in range(50)}, 50 * 8000),
        "nested": ({"a": [np.zeros(1000)], "b": (np.zeros(1000), {"c": np.zeros(1000)})}, 3 * 8000),
        "set": ({float(i) for i in range(100_000)}, 100_000 * 24 + sys.getsizeof({float(i) for i in range(100_000)})),
        "deque": (collections.deque(np.zeros(1000) for _ in range(50)), 50 * 8000),
        "default dict": (collections.defaultdict(list, {1: np.zeros(1000)}), 8000),
    }


@pytest.mark.parametrize("name", flat())
def test_within_a_factor_of_two(name: str) -> None:
    value, truth = flat()[name]
    assert truth / 2 <= sizeof(value) <= truth * 2


def test_attributes_count() -> None:
    class Model:
        def __init__(self) -> None:
            self.name = "m"
            self.weights = [np.zeros(100_000) for _ in range(3)]

    assert 2_400_000 / 2 <= sizeof(Model()) <= 2_400_000 * 2
    assert sizeof(Model) < 5000  # of a class, what it is made of does not


def test_broadcast_arrays_are_in_memory_once_but_pickle_in_full() -> None:
    row = np.arange(1000.0)
    array = np.broadcast_to(row, (10_000, 1000))
    assert sizeof(array) <= 2 * row.nbytes
    size = flat_size(array)
    assert size is not None and array.nbytes <= size <= array.nbytes + 1000
    assert flat_size(array[:100]) == pytest.approx(len(pickle.dumps(array[:100], 5)), rel=0.01)
    assert sizeof(np.broadcast_to(1.0, (5, 5))) < 300
    assert sizeof(np.broadcast_to(row[:0], (5, 0))) < 300


def test_objects_in_arrays_and_columns_are_guessed_pessimistically() -> None:
    texts = [f"text {i}" for i in range(10_000)]
    truth = sum(map(sys.getsizeof, texts))
    for value in (
        np.array(texts, dtype=object),
        pd.Series(texts, dtype=object),
        pd.DataFrame({"t": pd.Series(texts, dtype=object)}),
        pd.Series(texts, dtype=pd.StringDtype("python")),
        pd.DataFrame({"t": pd.Series(texts, dtype=pd.StringDtype("python"))}),
        pd.Index(texts, dtype=object),
        np.zeros(10_000, dtype=[("a", object), ("b", "f8")]),
    ):
        assert truth <= sizeof(value) <= 3 * 10_000 * OBJECT_BYTES
    assert flat_size(np.array(texts, dtype=object)) is None


def test_arrow_columns_are_measured() -> None:
    pytest.importorskip("pyarrow")
    texts = pd.Series([f"text {i}" for i in range(10_000)], dtype=pd.StringDtype("pyarrow"))
    assert 80_000 <= sizeof(texts) <= 300_000
    table = pytest.importorskip("pyarrow").table({"a": np.arange(1000.0)})
    assert 8000 <= sizeof(table) <= 9000
    assert 8000 <= sizeof(table.column("a")) <= 9000


class Counted(list):  # type: ignore[type-arg]
    looked_at = 0

    def __getitem__(self, index: Any) -> Any:
        Counted.looked_at += 1
        return super().__getitem__(index)

    def __iter__(self) -> Any:
        raise AssertionError("iterated")


class CountedDict(dict):  # type: ignore[type-arg]
    looked_at = 0

    def items(self) -> Any:
        for item in super().items():
            CountedDict.looked_at += 1
            yield item


def test_few_items_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    Counted.looked_at = CountedDict.looked_at = 0
    sizeof(Counted(range(100_000)))
    assert Counted.looked_at <= module.SAMPLES
    sizeof(CountedDict.fromkeys(range(100_000)))
    assert CountedDict.looked_at <= module.SAMPLES + 1
    calls = []
    real = module._sizeof
    monkeypatch.setattr(module, "_sizeof", lambda obj, depth: calls.append(obj) or real(obj, depth))
    nested: Any = 1
    for _ in range(30):
        nested = [[nested] for _ in range(30)] if _ % 3 else {i: [nested, i] for i in range(30)}
    sizeof(nested)
    assert len(calls) <= (2 * module.SAMPLES) ** 4


@pytest.mark.parametrize("make", [lambda n: pd.Series(["x"] * n, dtype=object), lambda n: pd.Index(["x"] * n)])
def test_pandas_does_not_look_at_every_value(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    value = make(1000)
    for cls in (pd.Series, pd.Index, pd.DataFrame):
        monkeypatch.setattr(cls, "memory_usage", lambda *a, **k: pytest.fail("walks through the objects"))
    assert sizeof(value) > 0


def test_few_columns_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({i: pd.Categorical(["a"]) for i in range(2500)})
    looked_at = []
    real = pd.Series.array

    def array(self: Any) -> Any:
        looked_at.append(1)
        return real.__get__(self)

    monkeypatch.setattr(pd.Series, "array", property(array))
    sizeof(frame)
    assert len(looked_at) <= module.MAX_COLUMNS + 2


def test_nothing_makes_it_fail() -> None:
    class Bad:
        def __sizeof__(self) -> int:
            raise RuntimeError("no size")

    class BadDict:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError("no attributes")

    circle: list[Any] = []
    circle.append(circle)
    for value in (Bad(), [Bad()] * 3, BadDict(), circle, object(), type, len, lambda: 0, iter([]), sys):
        assert sizeof(value) > 0


def test_only_what_is_known_to_pickle_is_flat() -> None:
    class Frame(pd.DataFrame):  # type: ignore[misc]
        pass

    assert flat_size(pd.DataFrame({"a": [1.0]})) is not None
    for value in (Frame({"a": [1.0]}), [1], {}, object(), np.ma.zeros(3), None):
        assert flat_size(value) is None
    assert sizeof(Frame({"a": np.zeros(1000)})) > 8000


def test_no_size_is_larger_than_a_message_may_name() -> None:
    """A scheduler would give up the worker that says it."""

    class Boastful:
        def __sizeof__(self) -> int:
            return 2**62

    row = contents.ROWS[m.TasksFinished]["finished"]
    check = dict(row)[3]
    for size in (flat_size(np.broadcast_to(1.0, (10**9, 10**9))), sizeof(Boastful()), sizeof([Boastful()] * 9)):
        assert check([size]) == ""
