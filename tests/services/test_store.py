"""The store: what came over the network and nobody has used yet goes to disk, too."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from futures_cluster import messages as m
from futures_cluster.services.worker import store as store_module
from futures_cluster.services.worker.store import Store
from futures_cluster.wire import frames
from futures_cluster.wire.codec import payloads, shm
from futures_cluster.wire.codec.pickle_codec import PickleCodec
from futures_cluster.wire.codec.sizeof import sizeof
from tests.gate import wait_until

needs_segments = pytest.mark.skipif(not shm.available, reason="needs segments of shared memory")


@pytest.fixture
def spilled(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Has one more for each value that a store has spilled."""
    spilled = threading.Semaphore(0)
    monkeypatch.setattr(store_module, "trim", spilled.release)
    return spilled


@pytest.fixture
def pools() -> Iterator[tuple[shm.SegmentPool, shm.SegmentPool]]:
    """Segments of two processes."""
    pools = shm.SegmentPool(), shm.SegmentPool()
    yield pools
    for pool in pools:
        pool.close()


def as_fetched(value: object) -> payloads.Payload:
    head, buffers = frames.pack([m.Data(1, [("k", payloads.dump(value, None))])])
    ((message,),) = frames.FrameParser().feed(head + b"".join(buffer.memory for buffer in buffers))
    return message.found[0][1]  # type: ignore[attr-defined]


def test_what_was_fetched_is_spilled_before_it_is_used(spilled: threading.Semaphore) -> None:
    store = Store(PickleCodec(None), 1_000_000)
    store._resident = lambda: store.memory_bytes  # type: ignore[method-assign]
    values = {f"k{number}": np.full(60_000, number, dtype=float) for number in range(4)}
    for key, value in values.items():
        store.put_payload(key, as_fetched(value))
    for _ in range(2):
        assert spilled.acquire(timeout=30)
    assert store.spilled_count >= 2 and store.memory_bytes <= 1_000_000
    for key, value in values.items():
        back = store.get(key)
        np.testing.assert_array_equal(back, value)
        assert back.flags.writeable
    store.drop(values)
    assert store.memory_bytes == 0


def test_values_go_to_the_folder_that_was_named(tmp_path: Path, spilled: threading.Semaphore) -> None:
    """As files without names."""
    store = Store(PickleCodec(None), 100_000)
    store._resident = lambda: store.memory_bytes  # type: ignore[method-assign]
    store.folder = str(tmp_path)
    store.put("k", np.ones(100_000))
    assert spilled.acquire(timeout=30)
    assert store._values["k"].file.fileno() > 0 and os.listdir(tmp_path) == []
    if sys.platform == "linux":
        assert os.readlink(f"/proc/self/fd/{store._values['k'].file.fileno()}").startswith(f"{tmp_path}/")


def test_a_large_text_that_was_fetched_is_spilled(spilled: threading.Semaphore) -> None:
    """Its pickle itself is what travels beside the message."""
    store = Store(PickleCodec(None), 100_000)
    store.put_payload("k", as_fetched("ü" * 300_000))
    assert spilled.acquire(timeout=30)
    assert store.get("k") == "ü" * 300_000


def test_what_is_read_back_stays_in_memory_only_if_there_is_room_now(spilled: threading.Semaphore) -> None:
    """Not when there was room at the time of the last new value: tasks may take more by now."""
    store = Store(PickleCodec(None), 1_000_000)
    others = 0
    store._resident = lambda: others + store.memory_bytes  # type: ignore[method-assign]
    for number in range(3):
        store.put(f"k{number}", np.full(60_000, number, dtype=float))
    assert spilled.acquire(timeout=30)
    store.drop(["k1", "k2"])
    others = 950_000
    assert store.get("k0")[0] == 0
    assert store.memory_bytes == 0
    others = 0
    assert store.get("k0")[0] == 0
    assert store.memory_bytes >= 480_000


def test_values_go_to_disk_when_the_rest_of_the_process_takes_their_room(spilled: threading.Semaphore) -> None:
    """A task that grows puts nothing, so the monitor asks."""
    store = Store(PickleCodec(None), 1_000_000)
    task_bytes = 0
    store._resident = lambda: store.memory_bytes + task_bytes  # type: ignore[method-assign]
    store.put("k", [str(number) for number in range(10_000)])
    store.spill_if_full()
    assert store._thread is None and store.spilled_count == 0
    task_bytes = 800_000
    store.spill_if_full()
    assert spilled.acquire(timeout=30)
    assert store.spilled_count == 1 and store.get("k")[9_999] == "9999"


def test_the_value_that_is_written_counts_until_its_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    writing: list[int] = []
    store = Store(PickleCodec(None), 1_000_000)
    monkeypatch.setattr(store_module, "trim", lambda: writing.append(store.spilling_bytes))
    store._resident = lambda: store.memory_bytes  # type: ignore[method-assign]
    store.on_spill = lambda *_: writing.append(store.spilling_bytes)
    store.put("k", bytes(2_000_000))
    wait_until(lambda: store._thread is None)
    assert len(writing) == 2 and min(writing) >= 2_000_000
    assert store.spilling_bytes == 0


def test_nothing_to_spill_starts_no_thread_again() -> None:
    """Many small values, or values that do not pickle; asked ten times a second."""
    threads: list[bool] = []
    store = Store(PickleCodec(None), 1_000_000)
    store._resident = lambda: 10_000_000  # type: ignore[method-assign]
    lock = threading.Lock()
    store.put("k", [lock, bytes(300_000)])
    wait_until(lambda: store._thread is None)
    store._spill_soon = lambda: threads.append(store.memory_bytes > store._room_bytes)  # type: ignore[method-assign]
    store.spill_if_full()
    assert threads == []
    store.put("large", bytes(300_000))
    store.spill_if_full()
    assert threads == [True, True], "by both"


class Value(list[str]):
    """Can have weak references."""


def test_a_result_with_its_pickle_is_held_as_that_until_a_task_uses_it() -> None:
    store = Store(PickleCodec(None))
    value = Value(["a"] * 10_000)
    pickled = payloads.dump(value)
    there = weakref.ref(value)
    store.put("k", value, pickled)
    assert store.parts("k") == [pickled] == store.parts("k"), "sent as often as is asked for"
    del value
    assert there() is None
    used = store.get("k")
    assert used == ["a"] * 10_000 and store.get("k") is used, "all tasks share one object"
    assert store.parts("k") is None, "pickled again when it is sent"
    store.drop(["k"])
    assert store.parts("k") is None and len(store) == 0


def test_a_result_counts_as_what_it_is_held_as() -> None:
    store = Store(PickleCodec(None), 10**9)
    store._resident = lambda: store.memory_bytes  # type: ignore[method-assign]
    value = [[number] for number in range(10_000)]
    pickled = payloads.dump(value)
    store.put("k", value, pickled)
    assert store.memory_bytes == len(pickled)
    held = store.get("k")
    assert store.memory_bytes == sizeof(held) > len(pickled)
    store.drop(["k"])
    assert store.memory_bytes == 0


@pytest.mark.parametrize("has_segment", [False, pytest.param(True, marks=needs_segments)])
@pytest.mark.parametrize("is_near", [False, pytest.param(True, marks=needs_segments)])
def test_a_value_of_another_worker_is_sent_on_without_unpickling_it(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, has_segment: bool, is_near: bool
) -> None:
    """To the next worker by a segment or beside the message, however it came."""
    theirs, ours = request.getfixturevalue("pools") if has_segment or is_near else (None, None)
    store = Store(PickleCodec(None))
    array = np.arange(50_000)
    store.put_payload("k", payloads.attach(payloads.dump(array, theirs if has_segment else None)))
    with monkeypatch.context() as patched:
        patched.setattr(payloads, "loads", lambda *args: pytest.fail("it was unpickled"))
        parts = store.parts("k")
        assert parts is not None
        sent = payloads.pack(parts, ours if is_near else None)
    assert (payloads.segment_of(sent) is not None) == is_near
    frames.pack([m.Data(1, [("k", sent)])])
    assert np.array_equal(payloads.load(sent), array)
    assert np.array_equal(store.get("k"), array)


def test_a_value_with_its_pickle_is_spilled_without_pickling_it_again(spilled: threading.Semaphore) -> None:
    store = Store(PickleCodec(None), 100_000)
    store._resident = lambda: 0  # type: ignore[method-assign]
    store.put("small", None, payloads.dump(["x"] * 10, None))
    store.put("k", [str(number) for number in range(100_000)], payloads.dump("its pickle" * 20_000, None))
    assert spilled.acquire(timeout=30)
    assert store.on_disk_bytes > 200_000 and store.get("k") == "its pickle" * 20_000
    assert store.get("small") == ["x"] * 10
