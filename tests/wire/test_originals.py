"""Scattered data as a worker keeps it: however it came, each load is a new object over the same memory."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from futures_cluster import messages as m
from futures_cluster.services.worker import store as store_module
from futures_cluster.services.worker.store import Store
from futures_cluster.wire import frames
from futures_cluster.wire.codec import compress, payloads, shm
from futures_cluster.wire.codec.originals import Original
from futures_cluster.wire.codec.pickle_codec import PickleCodec

LENGTH = 60_000  # 480 kB: goes through shared memory


def sent(payload: payloads.Payload) -> payloads.Payload:
    """As it arrives from another host."""
    head, buffers = frames.pack([m.Data(1, [("k", payload)])])
    ((message,),) = frames.FrameParser().feed(head + b"".join(buffer.memory for buffer in buffers))
    return message.found[0][1]  # type: ignore[attr-defined]


@pytest.fixture
def pool() -> Iterator[shm.SegmentPool | None]:
    pool = shm.SegmentPool() if shm.available else None
    yield pool
    if pool is not None:
        pool.close()


@pytest.fixture
def spilled(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Has one more for each value that a store has spilled."""
    spilled = threading.Semaphore(0)
    monkeypatch.setattr(store_module, "trim", spilled.release)
    return spilled


def payload_of(value: Any, way: str, pool: shm.SegmentPool | None) -> payloads.Payload:
    if way == "memory":
        return payloads.attach(payloads.as_private(payloads.dump(value, pool)))
    codec = compress.available()[0] if way == "compressed" else None
    return sent(payloads.as_private(payloads.dump(value, None, codec=codec)))


@pytest.mark.parametrize("way", ["memory", "network", "compressed"])
@pytest.mark.parametrize("length", [3, 6_000, LENGTH])
def test_each_load_is_a_new_object(way: str, length: int, pool: shm.SegmentPool | None) -> None:
    value = {"a": np.ones(length), "b": list(range(length)), "c": "text" * length}
    for own in (pool, None):
        original = Original(payload_of(value, way, pool), own)
        first = original.load()
        first["a"] += 1
        first["b"].clear()
        second = original.load()
        np.testing.assert_array_equal(second["a"], value["a"])
        assert second["b"] == value["b"] and second["c"] == value["c"] and (first["a"] == 2).all()


@pytest.mark.skipif(not shm.available, reason="needs shared memory")
def test_what_came_over_a_network_moves_to_a_segment(pool: shm.SegmentPool) -> None:
    original = Original(payload_of(np.ones(LENGTH), "network", pool), pool)
    assert original.segment_bytes == 0
    threads = [threading.Thread(target=original.load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert original.segment_bytes == original.size_bytes >= 8 * LENGTH
    assert pool.written == 1 and pool.used_bytes == 0


@pytest.mark.skipif(not shm.available, reason="needs shared memory")
def test_others_of_the_machine_get_the_same_memory(pool: shm.SegmentPool) -> None:
    original = Original(payload_of(np.ones(LENGTH), "memory", pool), pool)
    payload = original.dump(pool)
    segment = payloads.segment_of(payload)
    assert segment is not None
    other = Original(payloads.attach(payload), None)
    pool.release(segment[1])
    changed = other.load()
    changed += 1
    del original
    assert other.load()[0] == 1 and (other.load() == 1).all()
    assert pool.written == 1 and not pool._lent


def test_others_of_another_host_get_the_buffers(pool: shm.SegmentPool | None) -> None:
    original = Original(payload_of(np.ones(LENGTH), "memory", pool), pool)
    for codec in (None, *compress.available()):
        payload = sent(original.dump(None, codec))
        assert payloads.is_private(payload) and (payloads.load(payload) == 1).all()


@pytest.mark.skipif(not shm.available, reason="needs shared memory")
def test_what_its_client_keeps_is_known_to_others(pool: shm.SegmentPool) -> None:
    payload = payload_of(np.ones(LENGTH), "memory", pool)
    original = Original(payloads.as_private(payload, payloads.KEPT), pool)
    assert original.is_kept and not original.segment_bytes
    assert Original(payloads.attach(original.dump(pool)), None).is_kept
    assert not Original(sent(original.dump(None)), None).is_kept  # a copy


@pytest.mark.parametrize("way", ["memory", "network"])
def test_on_disk_it_is_loaded_anew(way: str, pool: shm.SegmentPool | None, spilled: threading.Semaphore) -> None:
    store = Store(PickleCodec(None), 1_000_000, pool=pool)
    store._resident = lambda: store.memory_bytes  # type: ignore[method-assign]
    for number in range(4):
        store.put_payload(f"k{number}", payload_of(np.full(LENGTH, number, dtype=float), way, pool))
    for _ in range(2):
        assert spilled.acquire(timeout=30)
    assert store.memory_bytes <= 1_000_000 and store.on_disk_bytes >= 2 * 8 * LENGTH
    assert len(store.spilled_keys(10)) == 2
    for number in range(4):
        for _ in range(2):
            value = store.get(f"k{number}")
            assert (value == number).all()
            value += 100
        original = store.original(f"k{number}")
        assert original is not None and (payloads.load(sent(original.dump(None))) == number).all()
    store.drop([f"k{number}" for number in range(4)])
    assert store.memory_bytes == store.on_disk_bytes == store.held_segments_bytes() == 0


def test_on_disk_it_lies_in_the_folder_that_is_named(tmp_path: Path, spilled: threading.Semaphore) -> None:
    store = Store(PickleCodec(None), 100_000)
    store._resident = lambda: store.memory_bytes  # type: ignore[method-assign]
    store.folder = str(tmp_path)
    store.put_payload("k", payload_of(np.ones(LENGTH), "network", None))
    assert spilled.acquire(timeout=30)
    assert os.listdir(tmp_path) == []
    original = store.original("k")
    assert original is not None and original.is_on_disk and (store.get("k") == 1).all()
    if sys.platform == "linux":
        assert original._segment is not None
        assert os.readlink(f"/proc/self/fd/{original._segment.fd}").startswith(f"{tmp_path}/")


def test_a_kept_segment_is_never_spilled(pool: shm.SegmentPool | None) -> None:
    if pool is None:
        pytest.skip("needs shared memory")
    store = Store(PickleCodec(None), 100_000, pool=pool)
    payload = payloads.as_private(payload_of(np.ones(LENGTH), "memory", pool), payloads.KEPT)
    store.put_payload("k", payload)
    assert store.memory_bytes == 0 and store._next_to_spill() is None
