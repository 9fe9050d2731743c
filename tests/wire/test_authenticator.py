"""Tags of frames: whatever a third party does to the bytes is found, before anything of them is decoded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError, ProtocolError
from futures_cluster.wire import authenticator, frames
from futures_cluster.wire.authenticator import Opener, Sealer
from futures_cluster.wire.codec.buffers import Buffer
from futures_cluster.wire.frames import FrameParser
from futures_cluster.wire.transports.sockets import HASHED_BYTES

KEY = b"k" * 32
TAG = authenticator.TAG_BYTES


def message(number: int, buffers: list[bytes]) -> m.Data:
    payload: Any = (b"pickle", ("raw", tuple(map(Buffer, buffers)))) if buffers else b"pickle"
    return m.Data(number, ((f"key {number}", payload),), (), ())


def sealed(sealer: Sealer, number: int, buffers: list[bytes], most_bytes: int = 2**20) -> bytes:
    """The bytes of one frame on the wire."""
    return sealed_message(sealer, message(number, buffers), most_bytes)


def sealed_message(sealer: Sealer, content: m.Message, most_bytes: int = 2**20) -> bytes:
    head, behind = sealer.seal(*frames.pack([content]))
    parts = [head]
    for buffers_and_tag in behind:
        while taken := buffers_and_tag.take(most_bytes):
            assert sum(view.nbytes for view in taken) <= max(most_bytes, TAG)
            parts.extend(bytes(view) for view in taken)
        assert buffers_and_tag.nbytes == 0
    return b"".join(parts)


def parse(data: bytes, step: int, into_space: bool = False) -> list[m.Message]:
    """What a receiver hands on, for bytes that come in such portions."""
    parser = FrameParser(opener=Opener(KEY))
    found = []
    at = 0
    while at < len(data):
        part = data[at : at + step]
        if into_space and parser.arriving is not None:
            space = parser.arriving.prepared_space()
            count = min(space.nbytes, len(part))
            space[:count] = part[:count]
            found.extend(parser.filled(count))
            at += count
        else:
            found.extend(parser.feed(part))
            at += len(part)
    return [each for batch in found for each in batch]


#: Buffers of a frame; none for a small one.
BUFFERS = st.lists(st.binary(max_size=300), max_size=4)
HISTORY = st.lists(BUFFERS, min_size=1, max_size=4)
STEP = st.integers(1, 500)


def send(history: list[list[bytes]], most_bytes: int = 2**20) -> list[bytes]:
    sealer = Sealer(KEY)
    return [sealed(sealer, number, buffers, most_bytes) for number, buffers in enumerate(history)]


@given(HISTORY, STEP, st.booleans(), st.integers(1, 400))
def test_what_was_sent_arrives(history: list[list[bytes]], step: int, into_space: bool, most_bytes: int) -> None:
    expected = [message(number, buffers) for number, buffers in enumerate(history)]
    assert parse(b"".join(send(history, most_bytes)), step, into_space) == expected


@given(HISTORY, STEP, st.booleans(), st.data())
def test_any_flipped_bit_is_found(history: list[list[bytes]], step: int, into_space: bool, data: st.DataObject) -> None:
    sent = send(history)
    number = data.draw(st.integers(0, len(sent) - 1))
    changed = bytearray(sent[number])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    sent[number] = bytes(changed)
    assert_found(b"".join(sent), step, number, history, into_space)


def assert_found(data: bytes, step: int, good: int, history: list[list[bytes]], into_space: bool = False) -> None:
    """The frames before the wrong one arrive, and nothing of it or of those behind it."""
    parser = FrameParser(opener=Opener(KEY))
    found: list[m.Message] = []
    with pytest.raises(AuthenticationError, match=f"frame {good} of the connection has a wrong authentication tag"):
        at = 0
        while at < len(data):
            part = data[at : at + step]
            if into_space and parser.arriving is not None:
                space = parser.arriving.prepared_space()
                count = min(space.nbytes, len(part))
                space[:count] = part[:count]
                batches = parser.filled(count)
                at += count
            else:
                batches = parser.feed(part)
                at += len(part)
            for batch in batches:
                found.extend(batch)
    assert found == [message(number, history[number]) for number in range(good)]


@given(HISTORY, STEP, st.data())
def test_any_cut_is_found_by_what_follows(history: list[list[bytes]], step: int, data: st.DataObject) -> None:
    sent = [*send([*history, []])]
    number = data.draw(st.integers(0, len(history) - 1))
    start = data.draw(st.integers(0, len(sent[number]) - 1))
    stop = data.draw(st.integers(start + 1, len(sent[number])))
    cut = sent[number][:start] + sent[number][stop:]
    rest = b"".join(sent[number + 1 :]) + bytes(len(sent[number]))  # the receiver may wait for as much
    assert_found(b"".join(sent[:number]) + cut + rest, step, number, history)


@given(HISTORY, STEP, st.data())
def test_any_inserted_bytes_are_found(history: list[list[bytes]], step: int, data: st.DataObject) -> None:
    sent = send([*history, []])
    number = data.draw(st.integers(0, len(history) - 1))
    at = data.draw(st.integers(0, len(sent[number]) - 1))
    inserted = data.draw(st.binary(min_size=1, max_size=100))
    changed = sent[number][:at] + inserted + sent[number][at:]
    if changed.startswith(sent[number]):  # what was inserted is what stood there: the next frame is the wrong one
        return
    assert_found(b"".join(sent[:number]) + changed + b"".join(sent[number + 1 :]), step, number, history)


@given(st.lists(BUFFERS, min_size=2, max_size=4), STEP, st.data())
def test_frames_in_another_order_are_found(history: list[list[bytes]], step: int, data: st.DataObject) -> None:
    sent = send(history)
    one, two = sorted(data.draw(st.permutations(range(len(sent))))[:2])
    sent[one], sent[two] = sent[two], sent[one]
    assert_found(b"".join(sent), step, one, history)


@given(HISTORY, STEP, st.data())
def test_a_frame_that_comes_again_is_found(history: list[list[bytes]], step: int, data: st.DataObject) -> None:
    sent = send(history)
    number = data.draw(st.integers(0, len(sent) - 1))
    again = data.draw(st.integers(number + 1, len(sent)))
    repeated = [*sent[:again], sent[number], *sent[again:]]
    assert_found(b"".join(repeated), step, again, [*history, []])


@given(HISTORY, STEP, st.data())
def test_a_frame_that_is_left_out_is_found(history: list[list[bytes]], step: int, data: st.DataObject) -> None:
    sent = send([*history, []])
    number = data.draw(st.integers(0, len(history) - 1))
    assert_found(b"".join(sent[:number] + sent[number + 1 :]), step, number, history)


def test_frames_of_another_connection_are_found() -> None:
    data = sealed(Sealer(b"x" * 32), 0, [])
    assert_found(data, 1000, 0, [[]])


@pytest.mark.parametrize("bit", range(20 * 8))
def test_a_wrong_length_is_found_before_it_is_waited_for(bit: int) -> None:
    """A length that is changed on the way must not make the receiver wait for bytes that never come."""
    at = TAG + bit // 8  # in the head, or in the lengths of the buffers behind it
    data = bytearray(send([[b"a buffer"]])[0][: TAG + frames.HEAD.size + 8 + TAG])
    data[at] ^= 1 << bit % 8
    with pytest.raises(AuthenticationError):
        list(FrameParser(opener=Opener(KEY)).feed(bytes(data)))


def test_nothing_is_decoded_before_the_tag_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(*args: Any) -> Any:
        raise AssertionError("decoded")

    monkeypatch.setattr(frames, "unpack", unpack)
    for buffers in ([], [b"a", b"b"]):
        data = send([buffers])[0]
        with pytest.raises(AuthenticationError):
            list(FrameParser(opener=Opener(KEY)).feed(data[:-1] + bytes([data[-1] ^ 1])))


def test_large_buffers_are_not_copied() -> None:
    large = bytearray(3 * 2**20)
    _, (behind,) = Sealer(KEY).seal(*frames.pack([message(0, [large])]))  # type: ignore[list-item]
    (first,) = behind.take(HASHED_BYTES)
    assert first.obj is large and first.nbytes == 2**20 == HASHED_BYTES
    assert behind.nbytes == 2 * 2**20 + TAG


def test_a_frame_that_is_authentic_and_not_ours() -> None:
    """A peer that knows the secret is checked as before."""
    head, _ = Sealer(KEY).seal(frames.HEAD.pack(1, 0) + b"\xc1", ())
    with pytest.raises(ProtocolError, match="is not msgpack"):
        list(FrameParser(opener=Opener(KEY)).feed(head))


def test_who_passes_a_buffer_on_does_not_hash_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (arrived,) = parse(send([[b"first", b""]])[0], 1000)
    _, buffers = frames.pack([arrived])
    assert [len(buffer.digest) for buffer in buffers] == [32, 32]
    monkeypatch.setattr(authenticator.hashlib, "sha256", None)
    passed_on = sealed_message(Sealer(KEY), arrived)
    monkeypatch.undo()
    assert parse(passed_on, 1000) == [arrived]


def test_memory_that_was_handed_out_is_hashed_again() -> None:
    """Its owner may have written to it since it came."""
    (arrived,) = parse(send([[b"first"]])[0], 1000)
    _, (buffer,) = frames.pack([arrived])
    buffer.view[:] = b"other"
    assert parse(sealed_message(Sealer(KEY), arrived), 1000) == [message(0, [b"other"])]
