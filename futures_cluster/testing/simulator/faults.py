"""What goes wrong in a simulation, and when: decided by a seed.

Covers: how often workers crash, hosts vanish, the network is cut, workers hang, retire or are slow, clients vanish,
messages are late or come twice, fetches fail. Does not cover: carrying it out (``mishaps``), what follows from it (the
machines).

Faults that real code never sees are not made. A delay keeps the order of messages on a link, because a connection
does. Nothing is delivered twice by a connection either: what comes twice was said twice, by a client that submits again
what it is not sure of, or by a worker that reports again after it has lost its connection. A message is lost only with
all that follow it on the same connection.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong. Rates are means over (simulated) seconds.

    Attributes
    ----------
    crashes_per_s : float
        Workers that die.
    most_crashes : int
        Number of crashes after which no more workers die.
    replace_after_s : float or None
        A worker that ended is followed by a new one, of another name, after this time; None for never.
    failed_starts : float
        Share of the starts of new workers that fail, for want of a process or a descriptor. They are repeated with the
        pauses of ``services.launch.restart_policy``, and never given up.
    delayed : float
        Share of the messages that are delayed.
    delay_s : float
        Longest delay.
    failed_fetches : float
        Share of the fetches between workers that fail though the data is there.
    host_losses_per_s : float
        Hosts that vanish with all their workers, without a word: only silence tells.
    partitions_per_s : float
        Sets of workers that are cut off, from the scheduler, from the others, or from both.
    longest_partition_s : float
        Longest time until a partition heals.
    stuck_per_s : float
        Workers that stop for a time, and neither compute nor answer.
    longest_stuck_s : float
        Longest time until they go on.
    busy_per_s : float
        Tasks that let no other thread of their worker run for a time: it does not answer, but is known to live.
    restarts_per_s : float
        Workers that die and are followed at once by another one of their name.
    silence_s : float
        Silence of the other end after which a connection is given up.
    resets_per_s : float
        Connections between a worker and the scheduler that break; the worker notices first, and joins again.
    retirements_per_s : float
        Workers that are asked to retire.
    vanishing_per_s : float
        Clients that vanish.
    slow : float
        Share of the workers that are slow.
    slowness : float
        How many times as long everything takes on those.
    repeated : float
        Share of the submissions, and of the last reports before a connection was lost, that are sent again.
    most_mishaps : int
        Maximum number of faults of each kind but crashes.
    """

    crashes_per_s: float = 0.0
    most_crashes: int = 1_000_000
    replace_after_s: float | None = 0.05
    failed_starts: float = 0.0
    delayed: float = 0.0
    delay_s: float = 0.01
    failed_fetches: float = 0.0
    host_losses_per_s: float = 0.0
    partitions_per_s: float = 0.0
    longest_partition_s: float = 2.0
    stuck_per_s: float = 0.0
    longest_stuck_s: float = 2.0
    busy_per_s: float = 0.0
    restarts_per_s: float = 0.0
    silence_s: float = 0.5
    resets_per_s: float = 0.0
    retirements_per_s: float = 0.0
    vanishing_per_s: float = 0.0
    slow: float = 0.0
    slowness: float = 10.0
    repeated: float = 0.0
    most_mishaps: int = 1_000_000


#: Sets of faults by name, for the command line. They are milder than those of the tests: work gets done.
PRESETS: dict[str, Faults] = {
    "none": Faults(),
    "crashes": Faults(crashes_per_s=1.0),
    "starts": Faults(crashes_per_s=1.0, failed_starts=0.7),
    "hosts": Faults(host_losses_per_s=0.3, replace_after_s=1.0),
    "partitions": Faults(partitions_per_s=0.5),
    "stuck": Faults(stuck_per_s=1.0),
    "busy": Faults(busy_per_s=1.0),
    "restarts": Faults(restarts_per_s=1.0),
    "slow": Faults(slow=0.1, slowness=5.0),
    "network": Faults(delayed=0.05, failed_fetches=0.02, repeated=0.2),
    "all": Faults(
        crashes_per_s=0.5,
        host_losses_per_s=0.1,
        partitions_per_s=0.3,
        stuck_per_s=0.3,
        busy_per_s=0.3,
        restarts_per_s=0.3,
        resets_per_s=0.3,
        retirements_per_s=0.3,
        slow=0.1,
        slowness=3.0,
        delayed=0.05,
        failed_fetches=0.02,
        repeated=0.2,
    ),
}

#: The kinds of faults that happen from time to time, and the field of ``Faults`` that says how often.
KINDS: dict[str, str] = {
    "crash": "crashes_per_s",
    "host": "host_losses_per_s",
    "partition": "partitions_per_s",
    "stuck": "stuck_per_s",
    "busy": "busy_per_s",
    "restart": "restarts_per_s",
    "reset": "resets_per_s",
    "retire": "retirements_per_s",
    "vanish": "vanishing_per_s",
}


def _happens(random: random.Random, share: float) -> bool:
    """Return whether something happens; what never does draws nothing."""
    return share > 0 and random.random() < share


class Dice:
    """The random decisions of one simulation, all from one seed.

    Each kind of fault has a generator of its own, so that a fault more of one kind does not move those of the others.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self._random = random.Random(seed)
        self._by_kind = {kind: random.Random(f"{seed} {kind}") for kind in KINDS}
        self._speeds = random.Random(f"{seed} speeds")
        self._starts = random.Random(f"{seed} starts")
        self._happened = dict.fromkeys(KINDS, 0)

    def next_s(self, kind: str) -> float | None:
        """Return seconds until the next fault of a kind; None if there will be none."""
        faults = self.faults
        rate: float = getattr(faults, KINDS[kind])
        most = faults.most_crashes if kind == "crash" else faults.most_mishaps
        if rate <= 0 or self._happened[kind] >= most:
            return None
        self._happened[kind] += 1
        return self._by_kind[kind].expovariate(rate)

    def choose(self, kind: str, names: list[str]) -> str:
        """Return one of them."""
        return self._by_kind[kind].choice(names)

    def partition(self, names: list[str]) -> tuple[list[str], float, bool, bool]:
        """Choose the workers to cut off, for how long, and from whom."""
        dice = self._by_kind["partition"]
        cut_off = dice.sample(names, dice.randint(1, max(1, len(names) // 2)))
        scheduler, peers = dice.choice([(True, True), (True, False), (False, True)])
        return cut_off, dice.uniform(0.0, self.faults.longest_partition_s), scheduler, peers

    def tosses(self, kind: str) -> bool:
        """Return which of two ways a fault of a kind takes."""
        return self._by_kind[kind].random() < 0.5

    def stuck_s(self, kind: str) -> float:
        """Return how long a worker hangs, or a task lets no other thread run."""
        return self._by_kind[kind].uniform(0.0, self.faults.longest_stuck_s)

    def speed(self) -> float:
        """Return how fast the next worker is; 1 is usual."""
        return 1.0 / self.faults.slowness if _happens(self._speeds, self.faults.slow) else 1.0

    def start_fails(self) -> bool:
        """Return whether the next start of a new worker fails."""
        return _happens(self._starts, self.faults.failed_starts)

    def noticed_s(self) -> float:
        """Return how long after the scheduler a worker notices a lost connection."""
        return self._random.uniform(0.0, self.faults.silence_s)

    def repeats(self) -> bool:
        """Return whether the next submission or last report is sent again."""
        return _happens(self._random, self.faults.repeated)

    def extra_delay_s(self) -> float:
        """Return how much longer than usual the next message takes."""
        faults = self.faults
        return self._random.uniform(0.0, faults.delay_s) if _happens(self._random, faults.delayed) else 0.0

    def fetch_fails(self) -> bool:
        """Return whether the next fetch fails."""
        return _happens(self._random, self.faults.failed_fetches)
