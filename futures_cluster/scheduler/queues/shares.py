"""How much of the cluster's time each client has had, in each level of priority and nesting.

This is start-time fair queueing: a *flow* is what one client has of one level. Its virtual time is the expected
duration of all tasks that it was given workers for, and the flow with the smallest one is next (``fair``). A flow that
had no tasks for a time goes on at the system's virtual time, so that idle clients save nothing up.

Does not cover: the order of a client's own tasks (``fair``).
"""

from __future__ import annotations

#: What a flow is charged for a task while the duration of its function is unknown.
UNKNOWN_TURN_S = 0.01
#: Number of levels whose flows are remembered.
MAX_LEVELS = 1000

#: Priority and depth of nesting; the smaller one comes first.
Level = tuple[int, int]


class LevelShares:
    """The flows of one level.

    Attributes
    ----------
    system_time_s : float
        The system's virtual time: the largest that a flow had when it was charged. A flow that joins starts there.
    """

    __slots__ = ("flows", "system_time_s")

    def __init__(self, start_s: float) -> None:
        self.flows: dict[str, Flow] = {}  # by client
        self.system_time_s = start_s


class Flow:
    """A client's tasks of one level, in whatever queues they are."""

    __slots__ = ("_shares", "client", "level", "virtual_time_s")

    def __init__(self, client: str, level: Level, shares: LevelShares) -> None:
        self.client = client
        self.level = level
        self._shares = shares
        self.virtual_time_s = shares.system_time_s

    def catch_up(self) -> None:
        """Go on where the other flows are, after a time without tasks."""
        if self.virtual_time_s < self._shares.system_time_s:
            self.virtual_time_s = self._shares.system_time_s

    def charge(self, seconds: float) -> None:
        """Charge the expected duration of a task to the flow."""
        shares = self._shares
        if self.virtual_time_s > shares.system_time_s:
            shares.system_time_s = self.virtual_time_s
        self.virtual_time_s += seconds

    def catch_up_and_charge(self, seconds: float) -> None:
        """Do both at once, for a task that no queue had to hold."""
        shares, virtual_time_s = self._shares, self.virtual_time_s
        if virtual_time_s > shares.system_time_s:
            shares.system_time_s = virtual_time_s
        self.virtual_time_s = shares.system_time_s + seconds


class FairShares:
    """All flows, by level and client."""

    def __init__(self) -> None:
        self._levels: dict[Level, LevelShares] = {}
        self._start_s = 0.0  # of new levels: the largest system time of those that were forgotten

    def flow(self, client: str, level: Level) -> Flow:
        """Return the flow of a client's tasks of a level; make it if there is none."""
        shares = self._levels.get(level)
        if shares is None:
            if len(self._levels) >= MAX_LEVELS:
                self._forget_level(next(iter(self._levels)))
            shares = self._levels[level] = LevelShares(self._start_s)
        elif len(self._levels) >= MAX_LEVELS:  # the next to be forgotten is the least recently used
            self._levels[level] = self._levels.pop(level)
        flow = shares.flows.get(client)
        if flow is None:
            flow = shares.flows[client] = Flow(client, level, shares)
        return flow

    def forget(self, client: str) -> None:
        """Forget a client that has left."""
        for level, shares in list(self._levels.items()):
            if shares.flows.pop(client, None) is not None and not shares.flows:
                self._forget_level(level)

    def _forget_level(self, level: Level) -> None:
        self._start_s = max(self._start_s, self._levels.pop(level).system_time_s)
