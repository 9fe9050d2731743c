"""How long each step of the demo takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from futures_cluster import clocks


class Clock:
    """Seconds for each named step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = clocks.perf_counter()
        yield
        self.seconds[name] = clocks.perf_counter() - started

    @property
    def total(self) -> float:
        return sum(self.seconds.values())
