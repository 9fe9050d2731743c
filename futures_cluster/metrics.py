"""Counters and timings: one line where something happens, and it shows up on the status page and in ``/metrics``.

    metrics.count("stolen")
    with metrics.timing("connect"):
        ...

Covers: recording, from any thread, and summaries over the last minute and since the start of this process. Does not
cover: what happens to each task (the machines count that themselves, and recording here would cost more than
scheduling does), showing it (``status``), bringing it from the workers (``services.worker.reporter``).

A measurement is appended to a list, and only sorted into buckets when a caller asks, or when the list is long.
Quantiles come from the buckets' counts, and are right to 2.5 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from futures_cluster import clocks, locks

#: Length of the slices in which the last minute is kept, in seconds.
SLICE_S = 10.0
SLICES = 6
#: Measurements that may wait to be sorted in.
MAX_WAITING = 1000
#: Names beyond these are dropped: a name made of what changes is a mistake.
MAX_NAMES = 500
QUANTILES = (0.5, 0.9, 0.99)
#: Ratio of the bounds of a bucket.
_STEP = 1.05
_LOG_STEP = math.log(_STEP)
_SMALLEST = 1e-9


class Buckets:
    """Counts of values in buckets that grow by a constant factor, with their sum and their largest.

    Examples
    --------
    >>> buckets = Buckets()
    >>> buckets.add([1.0] * 99 + [100.0])
    >>> round(buckets.quantile(0.5), 1), round(buckets.quantile(1.0) / 100, 1)
    (1.0, 1.0)
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._sum = self._max = 0.0

    def add(self, values: list[float]) -> None:
        """Add values; those that are not positive count as the smallest one.

        Parameters
        ----------
        values : list of float
            Measured values.
        """
        self._counts.update(
            math.ceil(math.log(value) / _LOG_STEP) if value > _SMALLEST else -1_000_000 for value in values
        )
        self._sum += sum(values)
        self._max = max([self._max, *values])

    def merge(self, other: Buckets) -> None:
        """Add the values of other buckets.

        Parameters
        ----------
        other : Buckets
            Buckets, which stay as they are.
        """
        self._counts.update(other._counts)
        self._sum += other._sum
        self._max = max(self._max, other._max)

    def quantile(self, fraction: float) -> float:
        """Estimate a quantile, to 2.5 %.

        Parameters
        ----------
        fraction : float
            Fraction of the values that lie below it, from 0 to 1.

        Returns
        -------
        float
            The quantile; nan if there are no values.
        """
        left = fraction * self._counts.total()
        for place in sorted(self._counts):
            left -= self._counts[place]
            if left <= 1e-9:
                break
        else:
            return math.nan
        return 0.0 if place == -1_000_000 else 2 * _STEP**place / (_STEP + 1)

    def summary(self) -> dict[str, Any]:
        """Return the facts about the values.

        Returns
        -------
        dict
            ``count``, ``sum``, ``max``, and the quantiles, which are None if there are no values.
        """
        found: dict[str, Any] = {"count": self._counts.total(), "sum": self._sum, "max": self._max}
        for fraction in QUANTILES:
            found[f"p{fraction * 100:g}"] = self.quantile(fraction) if self._counts else None
        return found


class _Series:
    """The measurements of one name."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, float]] = []  # (time, value)
        self._all = Buckets()
        self._slices: dict[int, Buckets] = {}  # by number

    def add(self, value: float, now: float) -> None:
        self._waiting.append((now, value))
        if len(self._waiting) >= MAX_WAITING:
            self._sort_in(now)

    def _sort_in(self, now: float) -> None:
        waiting, self._waiting = self._waiting, []
        by_slice: dict[int, list[float]] = {}
        for when, value in waiting:
            by_slice.setdefault(int(when // SLICE_S), []).append(value)
        for number, values in by_slice.items():
            self._all.add(values)
            self._slices.setdefault(number, Buckets()).add(values)
        oldest = int(now // SLICE_S) - SLICES
        for number in [number for number in self._slices if number <= oldest]:
            del self._slices[number]

    def summary(self, now: float) -> dict[str, Any]:
        self._sort_in(now)
        minute = Buckets()
        for part in self._slices.values():
            minute.merge(part)
        return {"minute": minute.summary(), "start": self._all.summary()}


class Metrics:
    """The counters and timings of one process; each method is safe in any thread.

    Parameters
    ----------
    clock : callable
        Seconds on a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = clocks.monotonic) -> None:
        self._clock = clock
        self._lock = locks.Lock()
        self._counts: dict[str, float] = {}
        self._recent: dict[str, dict[int, float]] = {}  # name -> slice -> amount
        self._series: dict[str, _Series] = {}

    def count(self, name: str, number: float = 1) -> None:
        """Add to a counter.

        Parameters
        ----------
        name : str
            Name of the counter.
        number : float
            Number of events, or of bytes.
        """
        with self._lock:
            if name not in self._counts and len(self._counts) >= MAX_NAMES:
                return
            self._counts[name] = self._counts.get(name, 0) + number
            place = int(self._clock() // SLICE_S)
            recent = self._recent.setdefault(name, {})
            recent[place] = recent.get(place, 0) + number
            if len(recent) > 2 * SLICES:
                for old in [old for old in recent if old <= place - SLICES]:
                    del recent[old]

    def record(self, name: str, value: float) -> None:
        """Record a measurement.

        Parameters
        ----------
        name : str
            Name of the quantity.
        value : float
            Time in seconds, or another quantity.
        """
        with self._lock:
            series = self._series.get(name)
            if series is None:
                if len(self._series) >= MAX_NAMES:
                    return
                series = self._series[name] = _Series()
            series.add(value, self._clock())

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Record how long a block takes, however it ends.

        Parameters
        ----------
        name : str
            Name of the quantity.
        """
        start = self._clock()
        try:
            yield
        finally:
            self.record(name, self._clock() - start)

    def summary(self) -> dict[str, Any]:
        """Return all counters and measurements as plain values.

        Returns
        -------
        dict
            ``counts``: name -> {``minute``, ``start``}; ``timings``: name -> {``minute``, ``start``}, each with
            ``count``, ``sum``, ``max``, ``p50``, ``p90``, ``p99``.
        """
        with self._lock:
            now = self._clock()
            oldest = int(now // SLICE_S) - SLICES
            counts = {
                name: {"minute": sum(n for place, n in self._recent[name].items() if place > oldest), "start": number}
                for name, number in self._counts.items()
            }
            return {"counts": counts, "timings": {name: s.summary(now) for name, s in self._series.items()}}


_process = Metrics()
count: Final = _process.count
record: Final = _process.record
timing: Final = _process.timing
summary: Final = _process.summary
