"""Frames: every message comes back as it was, however the bytes are cut, and garbage raises one error only."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import msgpack
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster import messages as m
from futures_cluster.errors import NotSendable, ProtocolError
from futures_cluster.wire import arriving, frames
from futures_cluster.wire.codec import buffers
from futures_cluster.wire.codec.buffers import Buffer

names = st.text(st.characters(), max_size=8)  # with halves of surrogate pairs
integers = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False) | st.integers(-1000, 1000)
arrived = st.builds(Buffer, st.binary(max_size=30).map(bytearray), st.just(True))
payloads = (
    st.none()
    | st.binary(max_size=20)
    | st.tuples(st.none() | st.binary(max_size=5), st.tuples(st.just("raw"), st.lists(arrived, max_size=3).map(tuple)))
)
options = st.builds(
    m.TaskOptions,
    priority=st.integers(-100, 100),
    retries=st.integers(0, 5),
    timeout_s=st.none() | st.floats(0.1, 1e9),
    resources=st.dictionaries(names, st.floats(0.1, 10), max_size=2).map(lambda found: tuple(found.items())),
    workers=st.lists(names, max_size=2).map(tuple),
    rerun=st.booleans(),
    backoff_s=st.floats(0, 300),
    limits=st.dictionaries(names, st.floats(0.1, 10), max_size=2).map(lambda found: tuple(found.items())),
)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "str": names,
    "Key": names,
    "FunctionId": names,
    "int": integers,
    "bool": st.booleans(),
    "float": numbers,
    "dict[str, float]": st.dictionaries(names, numbers, max_size=3),
    "dict[str, str]": st.dictionaries(names, names, max_size=3),
    "dict[str, Any]": st.dictionaries(names, st.none() | numbers | names, max_size=3),
    "Any": st.none() | names | numbers,
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
    row_length = dict((field, length) for field, _, _, length in frames._fields_of(cls))[name]
    if row_length:
        rest: list[st.SearchStrategy[Any]] = [payloads] * (row_length - 1)
        if (cls, name) == (m.SubmitTasks, "option_overrides"):
            rest = [options]
        return st.lists(st.tuples(names, *rest), max_size=3).map(tuple)
    strategies = []
    for part in m.field_types(cls)[name].split(" | "):
        if part.startswith("list["):
            strategies.append(st.lists(SCALARS[part[5:-1]], max_size=3).map(tuple))
        else:
            strategies.append(SCALARS[part])
    return st.one_of(strategies)


any_message = st.one_of(
    [st.builds(cls, *(field_values(cls, name) for name in m.field_names(cls))) for cls in m.WIRE_MESSAGES]
)
batches = st.lists(any_message, max_size=4)


def pack(batch: list[m.Message]) -> bytes:
    """A whole frame."""
    head, buffers = frames.pack(batch)
    return head + b"".join(buffer.memory for buffer in buffers)


def frame_of(body: bytes, lengths: tuple[int, ...] = (), buffers: bytes = b"") -> bytes:
    """A frame as nobody packs it."""
    return frames.HEAD.pack(len(body), len(lengths)) + struct.pack(f"<{len(lengths)}Q", *lengths) + body + buffers


def feed(parser: frames.FrameParser, data: bytes) -> list[list[m.Message]]:
    return list(parser.feed(data))


@pytest.mark.parametrize("cls", m.WIRE_MESSAGES, ids=lambda cls: cls.__name__)
def test_each_class_comes_back(cls: type[m.Message]) -> None:
    @given(st.builds(cls, *(field_values(cls, name) for name in m.field_names(cls))))
    def check(message: m.Message) -> None:
        frame = pack([message])
        assert feed(frames.FrameParser(), frame) == [[message]]

    check()


def test_every_batch_of_rows_has_a_length() -> None:
    """A new message with rows must say of what kind they are, or they are not checked."""
    kinds = set()
    for cls in m.WIRE_MESSAGES:
        for (name, _, items, row_length), kind in zip(frames._fields_of(cls), m.field_types(cls).values(), strict=True):
            assert "list[Any]" not in kind, (cls, name)
            if kind.startswith("list["):
                assert (row_length > 0) == kind.endswith("Row]") == (items is None and kind != "list[PlainValue]"), kind
                kinds.add(kind)
    assert frames._row_length("TaskRow") == 4 and frames._row_length("Key") == 0
    assert len(kinds) > 10


@given(batches, batches, st.data())
def test_however_the_bytes_are_cut(first: list[m.Message], second: list[m.Message], data: st.DataObject) -> None:
    stream = pack(first) + pack(second)
    assert feed(frames.FrameParser(), stream) == [first, second]  # several frames at once
    parser = frames.FrameParser()
    one_by_one = [batch for i in range(len(stream)) for batch in parser.feed(stream[i : i + 1])]
    assert one_by_one == [first, second]
    at = data.draw(st.integers(0, len(stream)))
    parser = frames.FrameParser()
    assert feed(parser, stream[:at]) + feed(parser, memoryview(stream)[at:]) == [first, second]


@given(batches, st.binary(max_size=11))
def test_trailing_bytes_wait(batch: list[m.Message], trailing: bytes) -> None:
    parser = frames.FrameParser()
    assert feed(parser, pack(batch) + trailing) == [batch]
    assert feed(parser, b"") == []
    assert bytes(parser._buffer) == trailing


def test_a_reader_that_stops_loses_nothing() -> None:
    one, two = pack([m.DropData(["a"])]), pack([m.DropData(["b"])])
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
    only_protocol_errors(frame_of(data))


@given(batches, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_frames(batch: list[m.Message], changes: list[tuple[int, int]]) -> None:
    body = bytearray(pack(batch)[12:])
    for at, value in changes:
        body[at % len(body)] = value
    only_protocol_errors(frame_of(bytes(body)))


json_like = st.recursive(
    st.none() | st.booleans() | integers | st.floats() | names | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3),
    max_leaves=15,
)


@given(st.integers(-2, len(m.WIRE_MESSAGES) + 1), st.lists(json_like, max_size=8))
def test_values_that_are_no_messages(code: int, values: list[Any]) -> None:
    body = msgpack.packb([[code, *values]], unicode_errors="surrogatepass")
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
            msgpack.packb([[3, "c", [["key"]], [], [0, 0, None, [], [], True, 0.0, []], 0, None, [], []]]),
            "SubmitTasks.tasks has other rows",
        ),
        (
            msgpack.packb([[3, "c", ["four"], [], [0, 0, None, [], [], True, 0.0, []], 0, None, [], []]]),
            "SubmitTasks.tasks has other rows",
        ),
        (
            msgpack.packb([[3, "c", [[{}, "f", b"", []]], [], [0, 0, None, [], [], True, 0.0, []], 0, None, [], []]]),
            "does not begin with a key",
        ),
        (msgpack.packb([[14, "w", [["k", 1, b"", 1, 0.1], ["k", 1]], []]]), "TasksFinished.finished has other rows"),
        (msgpack.packb([[14, "w", [["k", 1, b"", 1, 0.1], "split"], []]]), "TasksFinished.finished has other rows"),
        (msgpack.packb([[14, "w", [], [["k", 1, b"", 0.1], [1, 1, b"", 0.1]]]]), "TasksFinished.failed has a row that"),
        (msgpack.packb([[3, "c", [], [], [0, 0, None, []], 0, None, [], []]]), "SubmitTasks.options"),
        (
            msgpack.packb([[3, "c", [], [], [float("inf"), 0, None, [], [], True, 0.0, []], 0, None, [], []]]),
            "SubmitTasks.options",
        ),
        (
            msgpack.packb([[3, "c", [], [], [0, 0, "soon", [], [], True, 0.0, []], 0, None, [], []]]),
            "SubmitTasks.options",
        ),
        (
            msgpack.packb([[3, "c", [], [], [0, 0, float("nan"), [], [], True, 0.0, []], 0, None, [], []]]),
            "timeout must be .* got nan",
        ),
        (
            msgpack.packb([[3, "c", [], [], [0, -1, None, [], [], True, 0.0, []], 0, None, [], []]]),
            "retries must be .* got -1",
        ),
        (
            msgpack.packb([[3, "c", [], [], [2**63, 0, None, [], [], True, 0.0, []], 0, None, [], []]]),
            "priority must be",
        ),
        (
            msgpack.packb([[3, "c", [], [], [0, 0, None, [["g", float("nan")]], [], True, 0.0, []], 0, None, [], []]]),
            r"resources\['g'\] must be .* got nan",
        ),
        (
            msgpack.packb([[3, "c", [], [], [0, 0, None, [["g", 1], ["g", 2]], [], True, 0.0, []], 0, None, [], []]]),
            "resources has a name twice",
        ),
        (
            msgpack.packb([[3, "c", [], [], [0, 0, None, [], [5], True, 0.0, []], 0, None, [], []]]),
            "SubmitTasks.options",
        ),
        (
            msgpack.packb([[3, "c", [], [], [0, 0, None, [], [], True, 0.0, []], 0, None, [["k", [0]]], []]]),
            "SubmitTasks.options",
        ),
    ],
)
def test_what_is_wrong_is_said(body: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        frames.unpack(body)


def test_every_cut_of_a_body_is_an_error() -> None:
    body = pack([m.TasksFinished("w", [("k", 1, b"payload", 7, 0.1)])])[12:]
    for end in range(len(body)):
        with pytest.raises(ProtocolError):
            frames.unpack(body[:end])


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, frames.MAX_BODY_BYTES + 1])
def test_a_claimed_length_takes_no_memory(length: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="over the limit"):
            feed(frames.FrameParser(), frames.HEAD.pack(length, 0) + b"x" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_length_within_the_limit_takes_memory_only_as_bytes_come() -> None:
    tracemalloc.start()
    try:
        parser = frames.FrameParser()
        feed(parser, frames.HEAD.pack(frames.MAX_BODY_BYTES, 0) + b"x" * 1000)
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
    with pytest.raises(NotSendable, match="object cannot be part of a message"):
        pack([m.DropData([object()])])


# ---------------------------------------------------------------- buffers beside the messages


def with_buffers(*contents: bytes) -> m.Data:
    return m.Data(1, (("k", (b"pickle", ("raw", tuple(Buffer(content) for content in contents)))),))


def views(batch: list[m.Message]) -> list[bytes]:
    return [buffer.view.tobytes() for buffer in batch[0].found[0][1][1][1]]  # type: ignore[attr-defined]


def test_buffers_are_not_copied_by_the_sender() -> None:
    content = bytearray(b"x" * 1000)
    head, parts = frames.pack([with_buffers(bytes(5), content)])
    assert parts[1].memory.obj is content
    assert len(head) < 100


@pytest.mark.parametrize("size", [1, 1000, buffers.MAPPED_BYTES, 2 * buffers.COMMIT_BYTES + 1])
def test_buffers_are_read_into_memory_of_their_own(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    frame = pack([with_buffers(content, b"", content)])
    parser = frames.FrameParser()
    at = frame.index(content[:50]) if size > 1 else len(frame) - 2
    assert feed(parser, frame[:at]) == []
    got: list[list[m.Message]] = []
    while at < len(frame):
        assert parser.arriving is not None and parser.arriving.space is not None
        count = min(parser.arriving.space.nbytes, 1_000_000)
        parser.arriving.prepared_space()[:count] = frame[at : at + count]
        at += count
        got += parser.filled(count)
    assert parser.arriving is None and parser.received_bytes == len(frame)
    (batch,) = got
    assert views(batch) == [content, b"", content]
    for buffer in batch[0].found[0][1][1][1]:  # type: ignore[attr-defined]
        assert buffer.arrived and not buffer.view.readonly
    assert feed(parser, pack([m.DropData(["next"])])) == [[m.DropData(("next",))]]


def test_what_arrived_is_passed_on_without_a_copy() -> None:
    (batch,) = feed(frames.FrameParser(), pack([with_buffers(b"y" * 1000)]))
    _, parts = frames.pack(batch)
    parts[0].memory[:1] = b"z"
    assert views(batch) == [b"z" + b"y" * 999]


def test_a_reader_that_stops_between_frames_with_buffers_loses_nothing() -> None:
    stream = pack([with_buffers(b"a")]) + pack([with_buffers(b"b")]) + pack([with_buffers(b"c")])
    parser = frames.FrameParser()
    for batch in parser.feed(stream[:-1]):
        assert views(batch) == [b"a"]
        break
    assert [views(batch) for batch in parser.feed(b"")] == [[b"b"]]
    assert [views(batch) for batch in parser.feed(stream[-1:])] == [[b"c"]]


MARK = b"\xc7\x00\x01"


@pytest.mark.parametrize(
    ("body", "lengths", "text"),
    [
        (MARK, (), "a mark for a buffer that it does not have"),
        (b"\x90", (1,), "buffers that no message has a mark for"),
        (b"\x92" + MARK + MARK, (1,), "marks that do not fit"),
        (b"\x91" + MARK, (1, 1), "buffers that no message"),
        (b"\x91\xd4\x01x", (1,), "marks that do not fit"),
        (b"\x91\xc7\x00\x02", (1,), "marks that do not fit"),
        (b"\x91\x91" + MARK, (1,), "a message has no code"),
        (b"\x91\x92\x01" + MARK, (1,), "ClientJoined.client is of type Buffer"),
    ],
)
def test_marks_that_are_wrong(body: bytes, lengths: tuple[int, ...], text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        feed(frames.FrameParser(), frame_of(body, lengths, b"x" * sum(lengths)))


@given(
    st.binary(max_size=40) | batches.map(lambda batch: frames.pack(batch)[0][12:]),
    st.lists(st.integers(0, 50), max_size=4).map(tuple),
    st.binary(max_size=200),
    st.integers(1, 100),
)
def test_random_bodies_and_buffers(body: bytes, lengths: tuple[int, ...], rest: bytes, step: int) -> None:
    stream = frame_of(body, lengths, rest)
    parser = frames.FrameParser()
    try:
        for at in range(0, len(stream), step):
            feed(parser, stream[at : at + step])
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (frames.HEAD.pack(1, 2**32 - 1), "buffers is over the limit"),
        (frames.HEAD.pack(1, 2) + struct.pack("<QQ", 2**63, 2**63) + b"\x90", "is over the limit"),
        (frames.HEAD.pack(1, 1) + struct.pack("<Q", 2**64 - 1) + b"\x90", "is over the limit"),
    ],
)
def test_claimed_buffers_take_no_memory(head: bytes, text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=text):
            feed(frames.FrameParser(), head + b"x" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_claimed_buffer_takes_memory_only_as_bytes_come() -> None:
    before = psutil.Process().memory_info().rss
    parsers = []
    for _ in range(10):
        parser = frames.FrameParser()
        feed(parser, frame_of(b"\x91" + MARK, (2**30,), b"x" * 1000))
        assert parser.arriving is not None and parser.arriving.space is not None
        assert parser.arriving.space.nbytes == 2**30 - 1000
        parsers.append(parser)
    assert psutil.Process().memory_info().rss - before < 200 * 2**20
    assert len(parsers) == 10


def test_a_buffer_for_which_there_can_be_no_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(size: int) -> memoryview:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(arriving, "reserve", refuse)
    with pytest.raises(ProtocolError, match="no memory for a buffer of 5 bytes"):
        feed(frames.FrameParser(), frame_of(b"\x91" + MARK, (5,)))


def test_too_many_buffers_are_refused_by_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_BUFFERS", 2)
    with pytest.raises(NotSendable, match="3 buffers are too many"):
        frames.pack([with_buffers(b"a", b"b", b"c")])
    frames.pack([m.DropData(["k"])])


def test_threads_and_failures_do_not_mix_what_is_packed() -> None:
    with pytest.raises(NotSendable):
        frames.pack([with_buffers(b"a"), m.DropData([object()])])
    _, parts = frames.pack([with_buffers(b"b")])
    assert [part.memory.tobytes() for part in parts] == [b"b"]
    kept = len(frames._packers)
    large = pack([m.Data(1, (("k", b"x" * (2 * frames._MAX_KEPT_BYTES)),))])
    assert len(frames._packers) < kept  # its memory is gone
    assert len(large) > 2 * frames._MAX_KEPT_BYTES
