"""Counters and timings: totals, the last minute, quantiles."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster import metrics
from futures_cluster.metrics import Buckets, Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(1e-8, 1e6), min_size=1, max_size=300), st.floats(0.01, 1))
def test_buckets_are_right_to_some_percent(values: list[float], fraction: float) -> None:
    buckets = Buckets()
    buckets.add(values)
    exact = sorted(values)[min(len(values) - 1, max(0, math.ceil(fraction * len(values) - 1e-9) - 1))]
    assert buckets.quantile(fraction) == pytest.approx(exact, rel=0.026)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50), st.lists(st.floats(1e-6, 1e3), max_size=50))
def test_buckets_in_any_portions(first: list[float], second: list[float]) -> None:
    one, two = Buckets(), Buckets()
    one.add(first + second)
    two.add(second)
    two.add(first)
    for fraction in metrics.QUANTILES:
        assert one.quantile(fraction) == two.quantile(fraction)


def test_buckets_of_nothing_and_of_zero() -> None:
    buckets = Buckets()
    assert math.isnan(buckets.quantile(0.5))
    buckets.add([0.0, -1.0])
    assert buckets.quantile(0.5) == 0.0


def test_counts_of_the_last_minute_and_since_the_start() -> None:
    clock = Clock()
    m = Metrics(clock)
    m.count("stolen")
    m.count("stolen", 4)
    assert m.summary()["counts"] == {"stolen": {"minute": 5, "start": 5}}
    clock.now += 61
    m.count("stolen")
    assert m.summary()["counts"] == {"stolen": {"minute": 1, "start": 6}}
    for _ in range(1000):  # what is old is forgotten
        clock.now += 10
        m.count("stolen")
    assert m.summary()["counts"] == {"stolen": {"minute": 6, "start": 1006}}
    assert len(m._recent["stolen"]) <= 2 * metrics.SLICES


def test_a_timing_is_measured_however_the_block_ends() -> None:
    clock = Clock()
    m = Metrics(clock)
    with m.timing("connect"):
        clock.now += 0.5
    with pytest.raises(ValueError, match="no"), m.timing("connect"):
        clock.now += 1.5
        raise ValueError("no")
    start = m.summary()["timings"]["connect"]["start"]
    assert (start["count"], start["sum"], start["max"]) == (2, 2.0, 1.5)
    assert start["p99"] == pytest.approx(1.5, rel=0.03)


def test_timings_of_the_last_minute() -> None:
    clock = Clock()
    m = Metrics(clock)
    for _ in range(2500):
        m.record("spill", 0.01)
    clock.now += 70
    for _ in range(10):
        m.record("spill", 1.0)
    found = m.summary()["timings"]["spill"]
    assert (found["minute"]["count"], found["start"]["count"]) == (10, 2510)
    assert found["minute"]["p50"] == pytest.approx(1.0, rel=0.03)
    assert found["start"]["p50"] == pytest.approx(0.01, rel=0.03)
    clock.now += 30
    for _ in range(30):
        m.record("spill", 4.0)
    minute = m.summary()["timings"]["spill"]["minute"]  # of all its slices together, not a mean of theirs
    assert (minute["count"], minute["sum"], minute["max"]) == (40, 130.0, 4.0)
    assert minute["p50"] == pytest.approx(4.0, rel=0.03)
    clock.now += 1000
    assert m.summary()["timings"]["spill"]["minute"] == {
        "count": 0, "sum": 0, "max": 0.0, "p50": None, "p90": None, "p99": None
    }  # fmt: skip


def test_names_without_end_are_dropped() -> None:
    m = Metrics(Clock())
    for i in range(metrics.MAX_NAMES + 7):
        m.count(f"c{i}")
        m.record(f"t{i}", 1.0)
    m.count("c0")
    m.record("t0", 2.0)
    found = m.summary()
    assert (len(found["counts"]), len(found["timings"])) == (metrics.MAX_NAMES, metrics.MAX_NAMES)
    assert (found["counts"]["c0"]["start"], found["timings"]["t0"]["start"]["count"]) == (2, 2)


def test_counting_in_many_threads_loses_nothing() -> None:
    m = Metrics()
    threads = [threading.Thread(target=lambda: [m.count("n") for _ in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert m.summary()["counts"]["n"]["start"] == 20_000
