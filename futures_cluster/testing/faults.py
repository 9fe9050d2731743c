"""What goes wrong in a simulation, and when: decided by a seed.

Covers: crashes of workers, delays of messages, fetches that fail. Does not cover: what follows from them (the
machines), carrying them out (``simulator``).

A delay keeps the order of messages on a link, because a connection does: a message that overtakes another would be a
fault that real code never sees.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong.

    Attributes
    ----------
    crashes_per_s : float
        Mean number of workers that die in a (simulated) second.
    most_crashes : int
        After so many no more workers die.
    replace_after_s : float or None
        A worker that ended is followed by a new one, of another name, after this time; None for never.
    delayed : float
        Share of the messages that are delayed.
    delay_s : float
        Longest delay.
    failed_fetches : float
        Share of the fetches between workers that fail though the data is there.
    """

    crashes_per_s: float = 0.0
    most_crashes: int = 1_000_000
    replace_after_s: float | None = 0.05
    delayed: float = 0.0
    delay_s: float = 0.01
    failed_fetches: float = 0.0


class Dice:
    """The random decisions of one simulation, all from one seed."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self._random = random.Random(seed)
        self._crashes = 0

    def next_crash_s(self) -> float | None:
        """Seconds until the next worker dies; None if none will."""
        faults = self.faults
        if faults.crashes_per_s <= 0 or self._crashes >= faults.most_crashes:
            return None
        self._crashes += 1
        return self._random.expovariate(faults.crashes_per_s)

    def choose(self, names: list[str]) -> str:
        """One of them."""
        return self._random.choice(names)

    def extra_delay_s(self) -> float:
        """How much longer than usual the next message takes."""
        faults = self.faults
        if faults.delayed and self._random.random() < faults.delayed:
            return self._random.uniform(0.0, faults.delay_s)
        return 0.0

    def fetch_fails(self) -> bool:
        """Whether the next fetch fails."""
        share = self.faults.failed_fetches
        return bool(share) and self._random.random() < share
