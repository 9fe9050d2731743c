"""How much of the cluster's time each client has had, in each level of priority and nesting.

Does not cover: the order of a client's own tasks (``fair``).
"""

from __future__ import annotations

#: The cost of one turn while the duration of the function is unknown.
UNKNOWN_TURN_S = 0.01
#: Levels of which the shares are remembered.
MAX_LEVELS = 1000

#: Priority and depth of nesting; the smaller one comes first.
Level = tuple[int, int]


class FairLevel:
    """The flows of one level.

    Attributes
    ----------
    virtual_time_s : float
        The virtual time of the flow that had the last turn; a flow that joins starts there.
    """

    __slots__ = ("flows", "virtual_time_s")

    def __init__(self, reached_s: float) -> None:
        self.flows: dict[str, Flow] = {}
        self.virtual_time_s = reached_s


class Flow:
    """A client's tasks of one level, in whatever queues they are."""

    __slots__ = ("client", "fair_level", "level", "virtual_time_s")

    def __init__(self, client: str, level: Level, fair_level: FairLevel) -> None:
        self.client = client
        self.level = level
        self.fair_level = fair_level
        self.virtual_time_s = fair_level.virtual_time_s  # expected seconds of work that it was given

    def catch_up(self) -> None:
        """Start where the other flows are, after a time with nothing to do."""
        if self.virtual_time_s < self.fair_level.virtual_time_s:
            self.virtual_time_s = self.fair_level.virtual_time_s

    def charge(self, seconds: float) -> None:
        """Charge the expected duration of a task to the flow."""
        fair_level = self.fair_level
        if self.virtual_time_s > fair_level.virtual_time_s:
            fair_level.virtual_time_s = self.virtual_time_s
        self.virtual_time_s += seconds

    def take_turn(self, seconds: float) -> None:
        """Catch up, and charge a task that comes alone."""
        fair_level, reached_s = self.fair_level, self.virtual_time_s
        if reached_s > fair_level.virtual_time_s:
            fair_level.virtual_time_s = reached_s
        self.virtual_time_s = fair_level.virtual_time_s + seconds


class FairShares:
    """All flows, by level and client."""

    def __init__(self) -> None:
        self._levels: dict[Level, FairLevel] = {}
        self._virtual_time_s = 0.0  # by levels that are forgotten

    def __len__(self) -> int:
        return sum(len(fair_level.flows) for fair_level in self._levels.values())

    def flow(self, client: str, level: Level) -> Flow:
        """Return the flow of a client."""
        fair_level = self._levels.get(level)
        if fair_level is None:
            if len(self._levels) >= MAX_LEVELS:
                oldest = self._levels.pop(next(iter(self._levels)))
                self._virtual_time_s = max(self._virtual_time_s, oldest.virtual_time_s)
            fair_level = self._levels[level] = FairLevel(self._virtual_time_s)
        elif len(self._levels) >= MAX_LEVELS:  # those used last are forgotten last
            self._levels[level] = self._levels.pop(level)
        flow = fair_level.flows.get(client)
        if flow is None:
            flow = fair_level.flows[client] = Flow(client, level, fair_level)
        return flow

    def forget(self, client: str) -> None:
        """Forget a client that has left."""
        for level, fair_level in list(self._levels.items()):
            if fair_level.flows.pop(client, None) is not None and not fair_level.flows:
                del self._levels[level]
                self._virtual_time_s = max(self._virtual_time_s, fair_level.virtual_time_s)
