"""Memory for buffers: taken only as it is used, and equal to what was put there."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from futures_cluster.wire.codec import buffers
from futures_cluster.wire.codec.buffers import COMMIT_BYTES, MAPPED_BYTES, Buffer, commit, copy_of, reserve

SIZES = [0, 1, MAPPED_BYTES - 1, MAPPED_BYTES, COMMIT_BYTES, 3 * COMMIT_BYTES + 12345]


@pytest.mark.parametrize("size", SIZES)
def test_reserved_memory_is_zero_and_writable(size: int) -> None:
    memory = reserve(size)
    assert memory.nbytes == size and not memory.readonly
    assert memory == bytes(size)
    if size:
        memory[-1] = 1
        assert memory[-1] == 1


def test_reserving_takes_nothing() -> None:
    before = psutil.Process().memory_info().rss
    kept = [reserve(2**30) for _ in range(20)]
    assert psutil.Process().memory_info().rss - before < 50 * 2**20
    commit(kept[0], 0)
    assert psutil.Process().memory_info().rss - before < 50 * 2**20 + COMMIT_BYTES


def test_more_than_there_can_be() -> None:
    with pytest.raises((OSError, MemoryError, OverflowError)):
        reserve(2**62)


@pytest.mark.parametrize("size", SIZES)
def test_committing_piece_by_piece(size: int) -> None:
    memory = reserve(size)
    start = 0
    while start < size:
        end = commit(memory, start)
        assert start < end <= size
        start = end + 1 if end < size else end  # from the middle of a page as well
    assert memory == bytes(size)


def test_a_system_that_cannot_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_POPULATE_WRITE", 9999)
    memory = reserve(2 * COMMIT_BYTES)
    assert commit(memory, 0) == memory.nbytes
    assert copy_of(memoryview(b"x" * MAPPED_BYTES)) == b"x" * MAPPED_BYTES


@pytest.mark.parametrize("size", SIZES)
def test_copies(size: int) -> None:
    source = np.arange(size, dtype=np.uint8)
    copy = copy_of(memoryview(source))
    source[:] = 0
    np.testing.assert_array_equal(np.frombuffer(copy, np.uint8), np.arange(size, dtype=np.uint8))


def test_buffers_count_in_bytes() -> None:
    array = np.arange(10.0)
    buffer = Buffer(array)
    assert len(buffer) == 80 and buffer.view.format == "B"
    assert buffer == Buffer(array.tobytes()) and buffer != Buffer(b"") and buffer != array.tobytes()
    assert repr(buffer) == "Buffer of 80 bytes"
    with pytest.raises(TypeError):
        hash(buffer)
