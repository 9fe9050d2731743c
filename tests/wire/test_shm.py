"""Segments: used again only when nobody reads them, and gone with their last holder, however it ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from futures_cluster.wire.codec import shm

pytestmark = pytest.mark.skipif(not shm.available, reason="needs memfd_create")

MB = 2**20

#: Another process that maps segments, lets go of them, and writes its own, as it is told line by line.
PEER = """
import json, sys
from futures_cluster.wire.codec import shm
pool = shm.SegmentPool()
views = None
def say(x): print(json.dumps(x), flush=True)
for line in sys.stdin:
    word, value = json.loads(line)
    if word == "open":
        views = shm.open_segment(value)
        say([bytes(view[:5]).decode() for view in views])
    elif word == "look":
        say([bytes(view[:5]).decode() for view in views])
    elif word == "scribble":
        views[0][:5] = b"WRITE"
        say("done")
    elif word == "close":
        views = None
        say("done")
    elif word == "write":
        say(pool.write([value.encode()]))
"""


class Peer:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, word: str, value: Any = None) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([word, value]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def make_peer() -> Iterator[Callable[[], Peer]]:
    peers: list[Peer] = []

    def make() -> Peer:
        peers.append(Peer())
        return peers[-1]

    yield make
    for peer in peers:
        peer.kill()


@pytest.fixture
def pool() -> Iterator[shm.SegmentPool]:
    pool = shm.SegmentPool()
    yield pool
    pool.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ---------------------------------------------------------------- writing and reading


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_buffers_come_back(buffers: list[bytes]) -> None:
    pool = shm.SegmentPool()
    try:
        views = shm.open_segment(pool.write(buffers))
        assert [bytes(view) for view in views] == buffers
        for view in views:
            view[:] = b"x" * len(view)
    finally:
        pool.close()


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_many_buffers(count: int, pool: shm.SegmentPool) -> None:
    buffers = [str(i).encode() * (i % 50) for i in range(count)]  # some of no length
    assert [bytes(view) for view in shm.open_segment(pool.write(buffers))] == buffers


def test_buffers_of_all_kinds(pool: shm.SegmentPool) -> None:
    import array

    buffers = [b"bytes", bytearray(b"bytearray"), memoryview(b"0123456789")[2:5], array.array("d", [1.0, 2.0]), b""]
    views = shm.open_segment(pool.write(buffers))
    assert [bytes(view) for view in views] == [bytes(memoryview(buffer).cast("B")) for buffer in buffers]


def test_buffers_are_aligned(pool: shm.SegmentPool) -> None:
    reference = pool.write([b"x", b"y" * 65, b"z"])
    assert [offset for offset, _ in reference[4]] == [0, 64, 192]


def test_a_write_that_the_system_does_in_parts(pool: shm.SegmentPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call writes at most 2 GiB; here it writes at most 1,000 bytes."""
    real = os.pwritev

    def at_most_1000(fd: int, parts: list[Any], offset: int) -> int:
        return real(fd, [b"".join(bytes(part) for part in parts)[:1000]], offset)

    monkeypatch.setattr(os, "pwritev", at_most_1000)
    buffers = [bytes([i]) * (i * 37) for i in range(60)]
    assert [bytes(view) for view in shm.open_segment(pool.write(buffers))] == buffers


def test_readers_write_into_their_own_copy(pool: shm.SegmentPool, make_peer: Callable[[], Peer]) -> None:
    reference = pool.write([b"hello"])
    one, two = make_peer(), make_peer()
    assert one("open", reference) == two("open", reference) == ["hello"]
    one("scribble")
    assert one("look") == ["WRITE"]
    assert two("look") == ["hello"]
    assert bytes(shm.open_segment(reference)[0]) == b"hello"


# ---------------------------------------------------------------- using segments again


def test_a_released_segment_is_used_again(pool: shm.SegmentPool) -> None:
    first = pool.write([b"a" * MB])
    pool.release(first[5])
    second = pool.write([b"b" * MB])
    assert second[2] == first[2] and second[5] != first[5]
    assert (pool.written, pool.reused) == (2, 1)


def test_who_comes_too_late_does_not_get_what_was_written_since(pool: shm.SegmentPool) -> None:
    first = pool.write([b"a" * MB])
    pool.release(first[5])
    second = pool.write([b"b" * MB])
    assert second[2] == first[2]
    with pytest.raises(OSError) as caught:
        shm.open_segment(first)
    assert caught.value.errno == errno.ESTALE
    pool.release(first[5])  # it was released already: this is no word about the second
    assert pool.write([b"c" * MB])[2] != second[2]
    assert bytes(shm.open_segment(second)[0][:1]) == b"b"


def test_no_late_reader_gets_in_while_a_segment_is_filled(
    pool: shm.SegmentPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pool.write([b"a" * MB])
    pool.release(first[5])
    fill = shm._fill
    refused = []

    def late(*args: Any) -> None:
        with pytest.raises(OSError) as caught:
            shm.open_segment(first)
        refused.append(caught.value.errno)
        fill(*args)

    monkeypatch.setattr(shm, "_fill", late)
    assert pool.write([b"b" * MB])[2] == first[2]
    assert refused == [errno.ESTALE]


def test_a_finalizer_that_writes_while_a_free_segment_is_looked_for(
    pool: shm.SegmentPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it writes is not wiped out by the one that looks."""
    for reference in [pool.write([bytes(4000)]), pool.write([bytes(4000)])]:
        pool.release(reference[5])
    take_back = shm._take_back
    written: list[shm.Reference] = []

    def interrupted(segment: shm.Segment) -> bool:
        if not written:
            written.append(None)  # type: ignore[arg-type]  # not again for its own
            written[0] = pool.write([4000 * b"f"])
        return take_back(segment)

    monkeypatch.setattr(shm, "_take_back", interrupted)
    outer = pool.write([4000 * b"c"])
    found = [bytes(view) for reference in (written[0], outer) for view in shm.open_segment(reference)]
    assert found == [4000 * b"f", 4000 * b"c"]


def test_serial_numbers_do_not_go_on_in_a_forked_copy() -> None:
    last = shm._next_serial()
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if not child:
        os.write(write_fd, str(shm._next_serial()).encode())
        os._exit(0)
    os.close(write_fd)
    with open(read_fd) as file:
        serial = int(file.read())
    os.waitpid(child, 0)
    assert serial != last + 1 == shm._next_serial()


def test_a_segment_in_use_is_not(pool: shm.SegmentPool) -> None:
    first = pool.write([b"a" * MB])
    second = pool.write([b"b" * MB])
    assert second[2] != first[2] and pool.reused == 0
    assert bytes(shm.open_segment(first)[0][:1]) == b"a"


def test_a_much_larger_segment_is_left_for_larger_data(pool: shm.SegmentPool) -> None:
    large = pool.write([b"a" * 4 * MB])
    pool.release(large[5])
    assert pool.write([b"b" * MB])[2] != large[2]


def test_the_best_fit_is_taken(pool: shm.SegmentPool) -> None:
    large, fitting = pool.write([b"a" * 2 * MB]), pool.write([b"a" * MB])
    pool.release(large[5])
    pool.release(fitting[5])
    assert pool.write([b"b" * MB])[2] == fitting[2]


def test_not_while_any_reader_maps_it(pool: shm.SegmentPool, make_peer: Callable[[], Peer]) -> None:
    one, two = make_peer(), make_peer()
    reference = pool.write([b"first" * MB])
    one("open", reference)
    two("open", reference)
    mine = shm.open_segment(reference)
    pool.release(reference[5])
    for let_go in (lambda: one("close"), mine.clear, lambda: two("close")):
        other = pool.write([b"other" * MB])
        assert other[2] != reference[2]
        assert two("look") == ["first"]
        pool.release(other[5])
        pool._free = [segment for segment in pool._free if segment.fd == reference[2] or os.close(segment.fd)]
        let_go()
    assert pool.write([b"again" * MB])[2] == reference[2]


def test_a_view_of_a_view_keeps_the_lock(pool: shm.SegmentPool) -> None:
    reference = pool.write([b"first" * MB])
    part = shm.open_segment(reference)[0][10:20][2:4]
    pool.release(reference[5])
    assert pool.write([b"other" * MB])[2] != reference[2]
    assert bytes(part) == b"rs"


def test_a_killed_reader_frees_its_lock(pool: shm.SegmentPool, make_peer: Callable[[], Peer]) -> None:
    peer = make_peer()
    reference = pool.write([b"first" * MB])
    peer("open", reference)
    pool.release(reference[5])
    assert pool.write([b"other" * MB])[2] != reference[2]
    peer.kill()
    assert pool.write([b"again" * MB])[2] == reference[2]


def test_readers_keep_the_data_of_a_killed_writer(make_peer: Callable[[], Peer]) -> None:
    peer = make_peer()
    reference = peer("write", "hello")
    late = peer("write", "later")
    views = shm.open_segment(reference)
    peer.kill()
    assert bytes(views[0]) == b"hello"
    views[0][:2] = b"XX"
    with pytest.raises(OSError):
        shm.open_segment(late)


def test_a_descriptor_that_is_something_else_by_now(pool: shm.SegmentPool) -> None:
    reference = pool.write([b"x" * MB])
    with open(__file__) as file:
        for fd, serial in ((file.fileno(), reference[5]), (reference[2], reference[5] + 1)):
            with pytest.raises(OSError) as caught:
                shm.open_segment((*reference[:2], fd, *reference[3:5], serial))
            assert caught.value.errno == errno.ESTALE
    os.ftruncate(reference[2], 10)
    with pytest.raises(OSError):
        shm.open_segment(reference)


# ---------------------------------------------------------------- nothing is left


def test_nothing_has_a_name(pool: shm.SegmentPool) -> None:
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    pool.write([b"x" * MB])
    assert (set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()) == before


def test_a_thousand_writes_and_reads_leave_no_descriptors(pool: shm.SegmentPool) -> None:
    before = descriptors()
    for number in range(1000):
        reference = pool.write([bytes([number % 256]) * 300_000])
        views = shm.open_segment(reference)
        assert views[0][0] == number % 256
        del views
        pool.release(reference[5])
    assert pool.reused == 999
    assert descriptors() <= before + 1
    pool.close()
    assert descriptors() == before


def test_the_pool_keeps_neither_too_much_nor_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "MAX_KEPT", 4)
    pool = shm.SegmentPool(most_kept_bytes=3 * MB)
    before = descriptors()
    references = [pool.write([b"x" * 100_000]) for _ in range(10)]
    assert descriptors() == before + 10
    for reference in references:
        pool.release(reference[5])
    assert descriptors() == before + 4
    large = [pool.write([b"x" * MB]) for _ in range(5)]
    for reference in large:
        pool.release(reference[5])
    assert sum(segment.size for segment in pool._free) <= 3 * MB
    huge = pool.write([b"x" * 4 * MB])
    pool.release(huge[5])
    assert pool._free == [] and descriptors() == before
    pool.close()


def test_releasing_twice_or_what_is_unknown_does_nothing(pool: shm.SegmentPool) -> None:
    reference = pool.write([b"x"])
    for serial in (reference[5], reference[5], 12345):
        pool.release(serial)
    assert len(pool._free) == 1


def test_a_closed_pool_gives_up_all_and_writes_no_more() -> None:
    before = descriptors()
    pool = shm.SegmentPool()
    kept = shm.open_segment(pool.write([b"kept"]))
    pool.release(pool.write([b"free"])[5])
    pool.close()
    pool.close()
    with pytest.raises(OSError, match="closed"):
        pool.write([b"x"])
    assert bytes(kept[0]) == b"kept"
    del kept
    assert descriptors() == before


def test_a_write_that_fails_leaves_nothing(pool: shm.SegmentPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    before = descriptors()
    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="full"):
        pool.write([b"x"])
    assert descriptors() == before


def test_few_descriptors_are_left_to_the_program(pool: shm.SegmentPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a part of the limit nothing more is written, and what is read is copied."""
    reference = pool.write([b"hello", b""])
    newest = os.dup(0)
    os.close(newest)
    monkeypatch.setattr(shm.resource, "getrlimit", lambda what: (newest, newest))
    before = descriptors()
    with pytest.raises(OSError) as caught:
        pool.write([b"more"])
    assert caught.value.errno == errno.EMFILE
    views = shm.open_segment(reference)
    assert [bytes(view) for view in views] == [b"hello", b""]
    views[0][:1] = b"j"
    assert descriptors() == before
    fcntl.flock(reference[2], fcntl.LOCK_EX | fcntl.LOCK_NB)  # no reader has kept it


def test_the_last_descriptor_is_not_taken_for_a_mapping(pool: shm.SegmentPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose segment opens with a low number, because something was closed, has as few left."""
    reference = pool.write([b"hello"])

    def none_left(fd: int) -> int:
        raise OSError(errno.EMFILE, "none left")

    monkeypatch.setattr(os, "dup", none_left)
    before = descriptors()
    assert [bytes(view) for view in shm.open_segment(reference)] == [b"hello"]
    assert descriptors() == before


def test_writes_and_releases_from_many_threads(pool: shm.SegmentPool) -> None:
    """Submitting threads write, the loop's thread releases."""
    wrong = []

    def work(mark: int) -> None:
        for _ in range(100):
            reference = pool.write([bytes([mark]) * 5000])
            if set(bytes(shm.open_segment(reference)[0])) != {mark}:
                wrong.append(mark)
            pool.release(reference[5])

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pool.used_bytes == 0
    assert pool.written == 800
