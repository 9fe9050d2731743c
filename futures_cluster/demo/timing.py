"""How long each step of the demo takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from futures_cluster import clocks


class StepTimes:
    """Seconds for each named step."""

    def __init__(self, begins: Callable[[str], object] = lambda step: None) -> None:
        self.seconds: dict[str, float] = {}
        self._begins = begins

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._begins(name)
        started = clocks.perf_counter()
        yield
        self.seconds[name] = clocks.perf_counter() - started

    @property
    def total(self) -> float:
        return sum(self.seconds.values())
