"""Frames: every message comes back as it was, however the bytes are cut, and garbage raises one error only."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.wire import frames

names = st.text(max_size=8)
integers = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False) | st.integers(-1000, 1000)
payloads = st.none() | st.binary(max_size=20) | st.tuples(st.binary(max_size=5), st.tuples(st.just("raw"), st.binary()))
options = st.builds(
    m.TaskOptions,
    priority=st.integers(-100, 100),
    retries=st.integers(0, 5),
    timeout_s=st.none() | st.floats(0.1, 1e9),
    resources=st.lists(st.tuples(names, st.floats(0, 10)), max_size=2).map(tuple),
    workers=st.lists(names, max_size=2).map(tuple),
    rerun=st.booleans(),
)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "str": names,
    "Key": names,
    "int": integers,
    "bool": st.booleans(),
    "float": numbers,
    "dict[str, float]": st.dictionaries(names, numbers, max_size=3),
    "TaskOptions": options,
    "Payload": payloads,
    "PlainValue": st.recursive(
        payloads | names | integers | st.booleans() | st.floats(allow_nan=False),
        lambda x: st.lists(x, max_size=3).map(tuple) | st.dictionaries(names, x, max_size=3),
        max_leaves=5,
    ),
    "None": st.none(),
}


def field_values(cls: type[m.Message], name: str) -> st.SearchStrategy[Any]:
    row_length = frames._ROW_LENGTHS.get((cls, name))
    if row_length is not None:
        rest = [payloads] * (row_length - 1)
        return st.lists(st.tuples(names, *rest), max_size=3).map(tuple)
    strategies = []
    for part in cls.__annotations__[name].split(" | "):
        if part.startswith("list["):
            strategies.append(st.lists(SCALARS[part[5:-1]], max_size=3).map(tuple))
        else:
            strategies.append(SCALARS[part])
    return st.one_of(strategies)


any_message = st.one_of(
    [st.builds(cls, *(field_values(cls, name) for name in m.field_names(cls))) for cls in m.WIRE_MESSAGES]
)
batches = st.lists(any_message, max_size=4)


def feed(parser: frames.FrameParser, data: bytes) -> list[list[m.Message]]:
    return list(parser.feed(data))


@pytest.mark.parametrize("cls", m.WIRE_MESSAGES, ids=lambda cls: cls.__name__)
def test_each_class_comes_back(cls: type[m.Message]) -> None:
    @given(st.builds(cls, *(field_values(cls, name) for name in m.field_names(cls))))
    def check(message: m.Message) -> None:
        frame = frames.pack([message])
        assert frames.unpack(frame[8:]) == [message]
        assert feed(frames.FrameParser(), frame) == [[message]]

    check()


def test_every_batch_of_rows_has_a_length() -> None:
    """A new message with rows must say how long they are, or they are not checked."""
    for cls in m.WIRE_MESSAGES:
        for name in m.field_names(cls):
            is_rows = "list[Any]" in cls.__annotations__[name]
            assert is_rows == ((cls, name) in frames._ROW_LENGTHS), (cls, name)


@given(batches, batches, st.data())
def test_however_the_bytes_are_cut(first: list[m.Message], second: list[m.Message], data: st.DataObject) -> None:
    stream = frames.pack(first) + frames.pack(second)
    assert feed(frames.FrameParser(), stream) == [first, second]  # several frames at once
    parser = frames.FrameParser()
    one_by_one = [batch for i in range(len(stream)) for batch in parser.feed(stream[i : i + 1])]
    assert one_by_one == [first, second]
    at = data.draw(st.integers(0, len(stream)))
    parser = frames.FrameParser()
    assert feed(parser, stream[:at]) + feed(parser, memoryview(stream)[at:]) == [first, second]


@given(batches, st.binary(max_size=7))
def test_trailing_bytes_wait(batch: list[m.Message], trailing: bytes) -> None:
    parser = frames.FrameParser()
    assert feed(parser, frames.pack(batch) + trailing) == [batch]
    assert feed(parser, b"") == []
    assert bytes(parser._buffer) == trailing


def test_a_cut_frame_says_what_is_missing() -> None:
    frame = frames.pack([m.DropData(["k"])])
    parser = frames.FrameParser()
    assert parser.missing_bytes == 0
    assert feed(parser, frame[:9]) == []
    assert parser.missing_bytes == len(frame) - 9
    assert feed(parser, frame[9:]) == [[m.DropData(("k",))]]
    assert parser.missing_bytes == 0


def test_a_reader_that_stops_loses_nothing() -> None:
    one, two = frames.pack([m.DropData(["a"])]), frames.pack([m.DropData(["b"])])
    parser = frames.FrameParser()
    for batch in parser.feed(one + two):
        assert batch == [m.DropData(("a",))]
        break
    assert feed(parser, b"") == [[m.DropData(("b",))]]


# ---------------------------------------------------------------- what is not ours


def only_protocol_errors(data: bytes) -> None:
    try:
        feed(frames.FrameParser(), data)
    except ProtocolError:
        pass


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    only_protocol_errors(data)
    only_protocol_errors(struct.pack("<Q", len(data)) + data)


@given(batches, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_frames(batch: list[m.Message], changes: list[tuple[int, int]]) -> None:
    body = bytearray(frames.pack(batch)[8:])
    for at, value in changes:
        body[at % len(body)] = value
    only_protocol_errors(struct.pack("<Q", len(body)) + body)


json_like = st.recursive(
    st.none() | st.booleans() | integers | st.floats() | names | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3),
    max_leaves=15,
)


@given(st.integers(-2, len(m.WIRE_MESSAGES) + 1), st.lists(json_like, max_size=8))
def test_values_that_are_no_messages(code: int, values: list[Any]) -> None:
    body = msgpack.packb([[code, *values]])
    try:
        (message,) = frames.unpack(body)
    except ProtocolError:
        return
    assert type(message) is m.WIRE_MESSAGES[code]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (msgpack.packb([]) + b"x", "not msgpack"),
        (msgpack.packb({}), "not a list"),
        (msgpack.packb([5]), "no code"),
        (msgpack.packb([[True]]), "no code"),
        (msgpack.packb([[99]]), "code 99"),
        (msgpack.packb([[1]]), "0 fields instead of 1"),
        (msgpack.packb([[1, 5]]), "ClientJoined.client is of type int"),
        (msgpack.packb([[5, "client", [1]]]), "ReleaseKeys.keys holds"),
        (
            msgpack.packb([[3, "c", [["key"]], [], [0, 0, None, [], [], True], 0, None]]),
            "SubmitTasks.tasks has other rows",
        ),
        (
            msgpack.packb([[3, "c", ["four"], [], [0, 0, None, [], [], True], 0, None]]),
            "SubmitTasks.tasks has other rows",
        ),
        (
            msgpack.packb([[3, "c", [[{}, "f", b"", []]], [], [0, 0, None, [], [], True], 0, None]]),
            "does not begin with a key",
        ),
        (msgpack.packb([[3, "c", [], [], [0, 0, None, []], 0, None]]), "SubmitTasks.options"),
        (msgpack.packb([[3, "c", [], [], [float("inf"), 0, None, [], [], True], 0, None]]), "SubmitTasks.options"),
        (msgpack.packb([[3, "c", [], [], [0, 0, "soon", [], [], True], 0, None]]), "SubmitTasks.options"),
        (msgpack.packb([[3, "c", [], [], [0, 0, None, [], [5], True], 0, None]]), "SubmitTasks.options"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        frames.unpack(body)


def test_every_cut_of_a_body_is_an_error() -> None:
    body = frames.pack([m.TasksFinished("w", [("k", 1, b"payload", 7, 0.1)])])[8:]
    for end in range(len(body)):
        with pytest.raises(ProtocolError):
            frames.unpack(body[:end])


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, frames.MOST_BYTES + 1])
def test_a_claimed_length_takes_no_memory(length: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="over the limit"):
            feed(frames.FrameParser(), struct.pack("<Q", length) + b"x" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_length_within_the_limit_takes_memory_only_as_bytes_come() -> None:
    tracemalloc.start()
    try:
        parser = frames.FrameParser()
        feed(parser, struct.pack("<Q", frames.MOST_BYTES) + b"x" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
)
def test_claimed_lengths_inside_take_no_memory(head: bytes) -> None:
    body = b"\x91\x92\x05" + head + b"\x01" * 100
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            frames.unpack(body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_does_not_pack_is_refused_by_the_sender() -> None:
    with pytest.raises(TypeError, match="object cannot be part of a message"):
        frames.pack([m.DropData([object()])])
