"""Payloads: what comes back, what is copied on the way, and futures among the arguments."""

from __future__ import annotations

import functools
import operator
import pickle
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster import messages as m
from futures_cluster.context import TaskContext, local
from futures_cluster.errors import NotSendable
from futures_cluster.future import Future
from futures_cluster.messages import Reference
from futures_cluster.wire import frames
from futures_cluster.wire.codec import payloads, pickle_codec, pickling, shm

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

needs_shared_memory = pytest.mark.skipif(not shm.available, reason="needs memfd_create")


CODEC = pickle_codec.PickleCodec(None)


@pytest.fixture
def pool() -> Iterator[shm.SegmentPool]:
    pool = shm.SegmentPool()
    yield pool
    pool.close()


def travel(payload: Any) -> Any:
    """As a frame would carry it."""
    head, buffers = frames.pack([m.Data(1, [("k", payload)])])
    ((message,),) = frames.FrameParser().feed(head + b"".join(buffer.memory for buffer in buffers))
    return message.found[0][1]  # type: ignore[attr-defined]


def round_trip(obj: Any, pool: shm.SegmentPool | None = None) -> Any:
    return payloads.load(travel(payloads.dump(obj, pool)))


# ---------------------------------------------------------------- objects


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("around", ["nothing", "list", "arguments", "method", "partial"])
def test_an_object_of_the_script_is_asked_for_its_state_once(around: str) -> None:
    """It may hand its state over, as the standard library's pickles let it."""

    class Buffer:  # of a function, so it travels by value, as the classes of a script do
        def __init__(self) -> None:
            self.rows = [1, 2, 3]

        def __getstate__(self) -> dict[str, Any]:
            rows, self.rows = self.rows, []
            return {"rows": rows}

        def read(self) -> list[int]:
            return self.rows

    buffer = Buffer()
    if around in ("method", "partial"):
        function = buffer.read if around == "method" else functools.partial(Buffer.read, buffer)
        assert pickling.loads(pickling.dump_function(function)[0])() == [1, 2, 3]
    else:
        objects = {"nothing": buffer, "list": [buffer], "arguments": ((1, buffer), {"k": 2})}
        back: Any = round_trip(objects[around])
        if around != "nothing":
            back = back[0] if around == "list" else back[0][1]
        assert back.rows == [1, 2, 3]


@given(plain)
def test_plain_objects(obj: Any) -> None:
    assert round_trip(obj) == obj


def top_level(x: int) -> int:
    return x + 1


def test_functions_and_classes_that_the_plain_pickler_cannot() -> None:
    offset = 10

    class Local:
        def method(self, x: int) -> int:
            return x + offset

    assert round_trip(top_level) is top_level
    assert round_trip(lambda x: x + 1)(1) == 2
    assert round_trip(lambda x: x + offset)(1) == 11
    assert round_trip(Local)().method(1) == 11
    assert round_trip(Local()).method(1) == 11
    assert round_trip([Local().method, len])[0](1) == 11


def test_the_same_local_class_comes_back_as_itself() -> None:
    class Local:
        pass

    assert type(round_trip(Local())) is Local


def test_what_belongs_to_main_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the name means something else in the other process's ``__main__``."""
    main = types.ModuleType("__main__")
    exec("class Point:\n    x = 1\ndef double(n): return 2 * n * scale\nscale = 10", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    data = [payloads.dump(value) for value in (main.double, main.Point(), [main.Point])]
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    double, point, (cls,) = (payloads.load(one) for one in data)
    assert double(2) == 40
    assert point.x == cls.x == 1


def test_modules_registered_to_travel_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    module = types.ModuleType("only_here")
    exec("def f(): return 'by value'", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    cloudpickle.register_pickle_by_value(module)
    try:
        data = payloads.dump(module.f)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    monkeypatch.delitem(sys.modules, "only_here")
    assert payloads.load(data)() == "by value"


def test_an_object_that_does_not_pickle_raises_its_own_error() -> None:
    with pytest.raises(TypeError, match="lock"):
        payloads.dump([threading.Lock()])


class SaysWhy:
    def __reduce__(self) -> Any:
        raise ValueError("not today")


def test_the_error_of_the_user_s_own_pickling_is_kept() -> None:
    with pytest.raises(ValueError, match="not today"):
        payloads.dump(SaysWhy())


def test_buffers_of_a_first_attempt_are_not_sent_twice() -> None:
    """The plain pickler meets the array, then fails at the lambda; cloudpickle starts again."""
    array = np.arange(100_000)
    data, buffers = pickling.dumps_apart([array, lambda: 1])
    assert [buffer.nbytes for buffer in buffers] == [array.nbytes]
    loaded = pickle.loads(data, buffers=buffers)
    assert (loaded[0] == array).all()


# ---------------------------------------------------------------- arrays and other buffers


ARRAYS = {
    "large": lambda: np.arange(100_000.0),
    "small": lambda: np.arange(10.0),
    "medium": lambda: np.arange(10_000.0),
    "not contiguous": lambda: np.arange(200_000.0)[::2],
    "transposed": lambda: np.arange(100_000.0).reshape(100, 1000).T,
    "F-order": lambda: np.asfortranarray(np.arange(100_000.0).reshape(100, 1000)),
    "three dimensions": lambda: np.arange(100_000.0).reshape(10, 100, 100)[:, ::3],
    "0-d": lambda: np.array(5.0),
    "empty": lambda: np.empty((0, 7)),
    "objects": lambda: np.array([1, "two", None] * 30_000, dtype=object),
    "structured": lambda: np.zeros(50_000, dtype=[("a", "i4"), ("b", "f8")]),
    "read-only": lambda: as_read_only(np.arange(100_000.0)),
    "small and read-only": lambda: as_read_only(np.arange(10.0)),
    "broadcast": lambda: np.broadcast_to(np.arange(100.0), (1000, 100)),
    "dates": lambda: np.arange(50_000).astype("M8[s]"),
    "strings": lambda: np.array(["a", "bcd"] * 30_000),
    "masked": lambda: np.ma.masked_greater(np.arange(100_000.0), 7),
}


def as_read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("shared", [pytest.param(True, marks=needs_shared_memory), False])
def test_arrays(name: str, shared: bool, pool: shm.SegmentPool) -> None:
    array = ARRAYS[name]()
    back = round_trip(array, pool if shared else None)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype and back.shape == array.shape
    assert back.flags.f_contiguous == array.flags.f_contiguous or not array.flags.contiguous
    if "read-only" in name:
        assert not back.flags.writeable  # as pickle 5 has it
        return
    assert back.flags.writeable
    if back.size:
        back.flat[0] = array.flat[-1]  # as copies are, whoever holds the other one


@needs_shared_memory
def test_writing_to_what_has_arrived_changes_nothing_elsewhere(pool: shm.SegmentPool) -> None:
    array = np.zeros(100_000)
    payload = payloads.dump(array, pool)
    first, second = payloads.load(payload), payloads.load(payload)
    first[:] = 1
    assert not array.any() and not second.any() and not payloads.load(payload).any()


@needs_shared_memory
def test_large_arrays_are_copied_once(pool: shm.SegmentPool) -> None:
    array = np.arange(1_000_000.0)
    data, buffers = pickling.dumps_apart(array)
    assert len(data) < 1000
    assert len(buffers) == 1 and np.shares_memory(np.frombuffer(buffers[0]), array)
    payload = payloads.dump([array, {"again": array}, array[:500_000]], pool)
    assert pool.written == 1
    assert payload[0] is None  # the pickle is in the segment, too
    lengths = [length for _, length in payload[1][4]]
    assert lengths[1:] == [array.nbytes, array.nbytes // 2]  # the same array is there once
    loaded = payloads.load(payload)
    assert loaded[0] is loaded[1]["again"]
    attached = payloads.attach(payload)
    view = attached[1][1][1]
    assert np.shares_memory(np.frombuffer(view), payloads.load(attached)[0])  # read where it lies


@needs_shared_memory
@pytest.mark.parametrize("size", [0, 1, 70_000, 300_000])
def test_bytes_are_not_copied_into_the_pickle(size: int, pool: shm.SegmentPool) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    back = round_trip(data, pool)
    assert type(back) is bytes and back == data
    payload, _, _ = pickle_codec.PickleCodec(pool).dump_call((data,), {"more": data}, True)
    assert CODEC.load_call(payload, ()) == ((data,), {"more": data})
    if len(data) >= pickling.OUT_OF_BAND_BYTES:
        pickled, *_ = (length for _, length in payload[1][4]) if payload[0] is None else [len(payload[0])]
        assert pickled < 1000


def test_large_bytearrays_and_texts() -> None:
    for value in (bytearray(b"x" * 400_000), "ü" * 400_000):
        back = round_trip(value)
        assert type(back) is type(value) and back == value


def test_medium_buffers_go_in_the_frame() -> None:
    array = np.arange(10_000.0)
    payload = payloads.dump(array, None)
    assert payload[1][0] == "raw"
    assert payloads.payload_size(travel(payload)) >= array.nbytes
    assert round_trip(array).flags.writeable


@needs_shared_memory
def test_without_memory_for_a_segment_buffers_go_in_the_frame(
    pool: shm.SegmentPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shm, "WRITE_LIMIT", 0.0)
    array = np.arange(100_000.0)
    payload = payloads.dump(array, pool)
    assert payload[1][0] == "raw"
    np.testing.assert_array_equal(payloads.load(travel(payload)), array)


def test_too_many_buffers_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "MAX_BUFFERS", 3)
    payloads.dump([np.arange(10_000.0) for _ in range(2)], None)
    with pytest.raises(NotSendable, match="3 large buffers cannot travel without shared memory"):
        payloads.dump([np.arange(10_000.0) for _ in range(3)], None)


@pytest.mark.parametrize("rows", [3, 50_000])
@pytest.mark.parametrize("shared", [pytest.param(True, marks=needs_shared_memory), False])
def test_frames_of_pandas(rows: int, shared: bool, pool: shm.SegmentPool) -> None:
    frame = pd.DataFrame(
        {
            "number": np.arange(rows, dtype=float),
            "whole": np.arange(rows),
            "text": ["a", "bc", "d"][:3] * (rows // 3) + ["x"] * (rows % 3),
            "when": pd.date_range("2020", periods=rows, freq="h", tz="UTC"),
            "kind": pd.Categorical(["u", "v"] * (rows // 2) + ["u"] * (rows % 2)),
            "maybe": pd.array([1, None] * (rows // 2) + [3] * (rows % 2), dtype="Int64"),
        },
        index=pd.Index(np.arange(rows) * 2, name="i"),
    )
    back = round_trip(frame, pool if shared else None)
    pd.testing.assert_frame_equal(back, frame)
    back.loc[0, "number"] = -1.0
    back["whole"] += 1
    assert frame.loc[0, "number"] == 0.0
    series = round_trip(frame["text"], pool if shared else None)
    pd.testing.assert_series_equal(series, frame["text"])


@pytest.mark.parametrize("rows", [3, 50_000])
def test_frames_over_read_only_memory_arrive_writable(rows: int) -> None:
    values = as_read_only(np.arange(rows * 2.0).reshape(rows, 2))
    frame = round_trip(pd.DataFrame(values))
    frame.iloc[0, 0] = 7.0
    frame[1].to_numpy(copy=True)[0] = 1
    assert frame.iloc[0, 0] == 7.0


# ---------------------------------------------------------------- results


class Holder:
    """Not a flat type: it is pickled to see whether it can be."""

    def __init__(self, array: Any) -> None:
        self.array = array


@pytest.mark.parametrize(
    ("value", "stays"),
    [
        (None, False),
        (7, False),
        ("x" * 1000, False),
        (b"x" * 100_000, True),
        (np.zeros(10), False),
        (np.zeros(100_000), True),
        (Holder(np.zeros(100_000)), True),
        ([np.zeros(100_000)] * 2, True),
        (list(range(100_000)), True),
        (np.broadcast_to(1.0, 1_000_000), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_large_results_stay(value: Any, stays: bool) -> None:
    codec = pickle_codec.PickleCodec(None)
    payload, size = codec.dump_result(value, keep=False)
    assert (payload is None or size > pickle_codec.INLINE_BYTES) == stays
    assert size > 0
    if stays and isinstance(value, list) and not isinstance(value[0], np.ndarray):
        assert codec.load(payload) == value, "pickled once"
    if not stays:
        back = codec.load(travel(payload))
        assert type(back) is type(value)
        if isinstance(back, np.ndarray):
            assert back.flags.writeable
    assert codec.dump_result(value, keep=True)[0] is None


def test_large_parts_of_results_are_not_copied_to_see_whether_they_pickle() -> None:
    import tracemalloc

    value = [np.zeros(1_000_000), Holder(np.zeros(1_000_000))]
    tracemalloc.start()
    try:
        assert pickle_codec.PickleCodec(None).dump_result(value, keep=False)[1] > 16_000_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_large_flat_results_are_not_pickled_to_see_whether_they_can() -> None:
    """A broadcast array would become a thousand times larger."""
    value = np.broadcast_to(1.0, (1000, 1_000_000))  # 8 GB, if it was written out
    assert pickle_codec.PickleCodec(None).dump_result(value, keep=False) == (None, value.nbytes + 100)


def test_results_that_do_not_pickle_fail() -> None:
    with pytest.raises(TypeError, match="lock"):
        pickle_codec.PickleCodec(None).dump_result([np.zeros(100_000), threading.Lock()], keep=False)


# ---------------------------------------------------------------- futures among the arguments


class Box:
    def __init__(self, content: Any) -> None:
        self.content = content


class Pair(NamedTuple):
    left: Any
    right: Any


class Anywhere:
    """The executor of a task, for futures that arrive as futures."""

    def future_of_key(self, key: str) -> Future:
        return Future(key)


@pytest.fixture
def in_a_task() -> Iterator[None]:
    host: Any = types.SimpleNamespace(executor=Anywhere)
    local.task = TaskContext(host, "task", 1, 0)
    yield
    local.task = None


def call(*args: Any, values: dict[str, Any], resolve: bool = True, **kwargs: Any) -> Any:
    """Arguments as they arrive; ``values`` are the results of the futures, by their keys."""
    payload, keys, _ = CODEC.dump_call(args, kwargs, resolve)
    return CODEC.load_call(travel(payload), [values[key] for key in keys])


A, B = Future("a"), Future("b")
VALUES = {"a": 1, "b": [2]}


def test_futures_are_replaced_at_any_depth() -> None:
    args, kwargs = call(A, [A, (B, {"k": A, A: 5}), {A}, frozenset([A])], key=[[[[B]]]], self=A, values=VALUES)
    assert args == (1, [1, ([2], {"k": 1, 1: 5}), {1}, frozenset([1])])
    assert kwargs == {"key": [[[[[2]]]]], "self": 1}


def test_a_future_is_an_input_once() -> None:
    payload, keys, references = CODEC.dump_call((A, [A, B], A), {"x": B}, True)
    assert keys == ["a", "b"]
    assert references == [A, B]
    (one, (two, three), four), kwargs = CODEC.load_call(payload, [[1], [2]])
    assert one is two is four
    assert three is kwargs["x"]


def test_two_futures_of_one_key_are_one_input() -> None:
    twin = Future("a")
    payload, keys, references = CODEC.dump_call((A, [twin]), {}, True)
    assert keys == ["a"]
    assert references == [A, twin]  # both are kept alive
    assert CODEC.load_call(payload, [7]) == ((7, [7]), {})


def test_futures_in_attributes_stay_futures(in_a_task: None) -> None:
    args, _ = call(Box(A), values=VALUES)
    assert type(args[0].content) is Future and args[0].content.key == "a"
    _, keys, references = CODEC.dump_call((Box(A),), {}, True)
    assert keys == [] and references == [A]


def test_a_future_can_be_both(in_a_task: None) -> None:
    """The same future as an argument, in a list, and as an attribute: only the last stays a future."""
    for arguments in [(A, Box(A)), (Box(A), A), (Box(A), [A]), ([A], Box([A]))]:
        args, _ = call(*arguments, values=VALUES)
        for sent, arrived in zip(arguments, args, strict=True):
            if type(sent) is Box:
                inner = arrived.content[0] if type(arrived.content) is list else arrived.content
                assert type(inner) is Future
            else:
                assert arrived in (1, [1])


def test_subclasses_of_containers_are_objects(in_a_task: None) -> None:
    args, _ = call(Pair(A, 1), [A], values=VALUES)
    assert type(args[0].left) is Future
    assert args[1] == [1]


def test_with_resolve_false_all_stay_futures(in_a_task: None) -> None:
    args, kwargs = call(A, [A], x=A, values=VALUES, resolve=False)
    assert [type(one) for one in (args[0], args[1][0], kwargs["x"])] == [Future] * 3
    _, keys, references = CODEC.dump_call((A, [B]), {}, False)
    assert keys == [] and references == [A, B]


def test_containers_with_circles() -> None:
    circle: list[Any] = [A]
    circle.append(circle)
    circle.append((circle, {"c": circle}))
    args, _ = call(circle, values=VALUES)
    (back,) = args
    assert back[0] == 1
    assert back[1] is back and back[2][0] is back and back[2][1]["c"] is back


def test_what_is_one_object_stays_one() -> None:
    shared = [A]
    args, _ = call(shared, {"same": shared}, values=VALUES)
    assert args[0] is args[1]["same"]


def test_the_caller_s_containers_are_left_alone() -> None:
    container = [A, {"k": (A,)}]
    call(container, values=VALUES)
    assert container[0] is A and container[1]["k"][0] is A


@given(st.recursive(st.just(A) | st.just(B) | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_nesting(obj: Any) -> None:
    def expected(x: Any) -> Any:
        if isinstance(x, Reference):
            return VALUES[x.key]
        if type(x) is list:
            return [expected(item) for item in x]
        if type(x) is dict:
            return {key: expected(item) for key, item in x.items()}
        return x

    assert call(obj, x=obj, values=VALUES) == ((expected(obj),), {"x": expected(obj)})


def test_future_beside_a_lambda() -> None:
    """What needs cloudpickle does not disturb the search."""
    args, _ = call([A], lambda x: x + 1, values=VALUES)
    assert args[0] == [1] and args[1](1) == 2


class Swallows:
    """Its pickling goes on whatever happens."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> Any:
        try:
            return pickle.loads, (pickle.dumps(self.content),)
        except BaseException:
            return int, ()


def test_a_pickling_that_swallows_errors_does_not_lose_futures(in_a_task: None) -> None:
    args, _ = call(Swallows(A), [A], values=VALUES)
    assert type(args[0]) is Future
    assert args[1] == [1]


class Resubmits:
    """Submits while it is pickled, as a proxy of a remote object might."""

    def __init__(self) -> None:
        self.inner: Any = None

    def __reduce__(self) -> Any:
        self.inner = CODEC.dump_call((B, [B]), {}, True)
        function = CODEC.dump_function(lambda: A)  # a future in a function is no argument
        return operator.add, (len(self.inner[1]), len(function) * 0)


def test_submitting_while_arguments_are_pickled() -> None:
    resubmits = Resubmits()
    payload, keys, _ = CODEC.dump_call((A, resubmits, [A]), {"x": B}, True)
    assert keys == ["a", "b"]
    assert CODEC.load_call(payload, [1, 2]) == ((1, 1, [1]), {"x": 2})
    inner, inner_keys, _ = resubmits.inner
    assert inner_keys == ["b"]
    assert CODEC.load_call(inner, [5]) == ((5, [5]), {})
    assert pickle_codec.current_collector() is None


def load_more(payload: Any, value: Any) -> tuple[Any, Any]:
    """Called by the unpickler."""
    return CODEC.load_call(payload, ["inner"]), value


class Reloads:
    def __init__(self, *content: Any) -> None:
        self.content = content

    def __reduce__(self) -> Any:
        payload, _, _ = CODEC.dump_call((B,), {}, True)
        return load_more, (payload, "plain")


def test_loading_while_arguments_are_loaded() -> None:
    args, _ = call([Reloads(), A], A, values=VALUES)
    assert args == ([((("inner",), {}), "plain"), 1], 1)
    assert pickle_codec._local.inputs == ()


def test_an_error_while_pickling_leaves_nothing_behind() -> None:
    with pytest.raises(ValueError, match="not today"):
        CODEC.dump_call((A, SaysWhy()), {}, True)
    assert pickle_codec.current_collector() is None
    with pytest.raises(TypeError, match="lock"):
        CODEC.dump_call(([A], threading.Lock()), {}, True)
    assert pickle_codec.current_collector() is None


@needs_shared_memory
def test_no_segment_is_lost_when_the_search_starts_again(pool: shm.SegmentPool) -> None:
    payload, keys, _ = pickle_codec.PickleCodec(pool).dump_call((Swallows(A), np.zeros(100_000), [A]), {}, True)
    assert keys == ["a"]
    assert len(pool._used) == 1
    payloads.release(payload, pool)
    assert pool.used_bytes == 0


# ---------------------------------------------------------------- between hosts


def test_compressed_buffers_arrive_as_they_were() -> None:
    value = [np.zeros(100_000), np.random.default_rng(0).random(100_000), "ü" * 500_000, b"y" * 300_000]
    payload = payloads.dump(value, None, codec="zlib")
    assert payload[1][0] == "packed"
    arrived = travel(payload)
    assert payloads.payload_size(arrived) < 900_000
    for back in (payloads.load(arrived), payloads.load(payload)):
        np.testing.assert_array_equal(back[0], value[0])
        np.testing.assert_array_equal(back[1], value[1])
        assert back[2:] == value[2:]
        assert back[0].flags.writeable and back[1].flags.writeable
    data, views = payloads.parts_in_memory(arrived)  # type: ignore[misc]
    np.testing.assert_array_equal(pickle.loads(data, buffers=views)[1], value[1])


def test_what_does_not_compress_is_not() -> None:
    payload = payloads.dump(np.random.default_rng(0).random(100_000), None, codec="zlib")
    assert payload[1][0] == "raw"
    assert payloads.dump(np.zeros(100), None, codec="zlib") == payloads.dump(np.zeros(100), None)


@pytest.mark.parametrize("copy", [True, False])
def test_a_copy_or_none(copy: bool) -> None:
    array = np.arange(100_000.0)
    payload = payloads.dump(array, None, copy=copy)
    assert np.shares_memory(np.frombuffer(payload[1][1][0].view), array) != copy
    array[0] = 7
    assert payloads.load(travel(payload))[0] == (0 if copy else 7)


def test_what_arrived_is_used_where_it_lies() -> None:
    arrived = travel(payloads.dump(np.arange(100_000.0), None))
    assert np.shares_memory(payloads.load(arrived), np.frombuffer(arrived[1][1][0].view))
    own = payloads.dump(np.arange(100_000.0), None)  # did not travel
    assert not np.shares_memory(payloads.load(own), np.frombuffer(own[1][1][0].view))
