"""What the demo shows: a bar while it searches, and the lines of its report.

Does not cover: finding anything out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from futures_cluster.demo.search import Setting, best_setting

if TYPE_CHECKING:
    from futures_cluster.demo.timing import StepTimes


class ProgressLine:
    """What the demo does now, and a bar, on stderr, if that is a terminal; nothing otherwise."""

    WIDTH = 30

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.stream = stream or sys.stderr
        self.active = self.stream.isatty()
        self._step = ""

    def __enter__(self) -> ProgressLine:
        return self

    def step(self, name: str) -> None:
        """Say what begins."""
        self._step = name
        self._write(f"{name} ...")

    def show(self, done: int, total: int, more: str = "") -> None:
        """Draw the bar of this step."""
        bar = "#" * (self.WIDTH * done // total)
        self._write(f"{self._step} [{bar:.<{self.WIDTH}}] {done}/{total}  {more}".rstrip())

    def _write(self, line: str) -> None:
        if self.active:
            self.stream.write(f"\r{line}\x1b[K")
            self.stream.flush()

    def __exit__(self, *_: object) -> None:
        self._write("")


def answer_lines(answers: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'':<24}{'flights':>12}{'not cancelled':>16}{'mean departure delay':>23}"
    yield f"{'all airports':<24}{answers['flights']:>12,}{answers['flights not cancelled']:>16,}"
    for airport, flights in sorted(answers["flights per airport"].items()):
        kept = answers["flights not cancelled per airport"][airport]
        delay = answers["mean departure delay per airport"][airport]
        yield f"{airport:<24}{flights:>12,}{kept:>16,}{delay:>19.2f} min"
    by_weekday = answers["mean departure delay per weekday"]
    yield ""
    yield f"{'':<24}" + "".join(f"{day:>7}" for day in by_weekday)
    yield (f"{'mean departure delay':<24}" + "".join(f"{delay:>7.2f}" for delay in by_weekday.values()) + " min")
    yield f"{'largest departure delay':<24}{answers['largest departure delay']:>7,.0f} min"


def search_lines(errors: Mapping[Setting, float]) -> Iterator[str]:
    best = best_setting(errors)
    yield f"{f'best of {len(errors)} settings':<24}{best}"
    yield f"{'error on held-out rows':<24}{errors[best]:.3f} min (arrival delay, root mean square)"
    yield f"{'with straight lines':<24}{errors[Setting()]:.3f} min"


def time_lines(ours: StepTimes, theirs: StepTimes, workers: int, blas_threads: int = 1) -> Iterator[str]:
    crew = f"{workers} worker{'s' * (workers != 1)}"
    yield f"{'seconds':<24}{crew:>12}{'one process':>16}{'ratio':>10}"
    rows = [(name, ours.seconds[name], theirs.seconds.get(name)) for name in ours.seconds]
    for name, mine, other in [*rows, ("all", ours.total, theirs.total)]:
        # below half a hundredth of a second, what the table shows is no base for a ratio
        ratio = f"{other / mine:>9.2f}x" if other is not None and min(mine, other) >= 0.005 else ""
        yield f"{name:<24}{mine:>12.2f}{'' if other is None else f'{other:.2f}':>16}{ratio}"
    yield f"each process uses {blas_threads} BLAS thread{'s' * (blas_threads != 1)}"
    verb = "is" if workers == 1 else "are"
    if ours.total <= theirs.total:
        yield f"{crew} {verb} {theirs.total / ours.total:.2f} times as fast as one process"
    else:
        yield f"{crew} {verb} slower than one process: {ours.total / theirs.total:.2f} times its time"
