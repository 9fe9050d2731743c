"""How much of the cluster's time each client has had, in each level of priority and nesting.

Does not cover: the order of a client's own tasks (``fair``).
"""

from __future__ import annotations

#: What one turn counts for, as long as nobody knows how long the function takes.
UNKNOWN_TURN_S = 0.01
#: Levels of which the shares are remembered.
MAX_LEVELS = 1000

#: Priority and depth of nesting; the smaller one comes first.
Level = tuple[int, int]


class FairLevel:
    """The flows of one level.

    Attributes
    ----------
    level_virtual_time_s : float
        The virtual time of the flow that had the last turn; a flow that joins starts there.
    """

    __slots__ = ("lanes", "level_virtual_time_s")

    def __init__(self, reached_s: float) -> None:
        self.lanes: dict[str, Flow] = {}
        self.level_virtual_time_s = reached_s


class Flow:
    """A client's tasks of one level, in whatever queues they are."""

    __slots__ = ("client", "level", "share", "virtual_time_s")

    def __init__(self, client: str, level: Level, share: FairLevel) -> None:
        self.client = client
        self.level = level
        self.share = share
        self.virtual_time_s = share.level_virtual_time_s  # expected seconds of work that it was given

    def catch_up(self) -> None:
        """Start where the other flows are, after a time with nothing to do."""
        if self.virtual_time_s < self.share.level_virtual_time_s:
            self.virtual_time_s = self.share.level_virtual_time_s

    def charge(self, seconds: float) -> None:
        """Charge the expected duration of a task to the flow."""
        share = self.share
        if self.virtual_time_s > share.level_virtual_time_s:
            share.level_virtual_time_s = self.virtual_time_s
        self.virtual_time_s += seconds

    def take_turn(self, seconds: float) -> None:
        """Catch up, and charge a task that comes alone."""
        share, reached_s = self.share, self.virtual_time_s
        if reached_s > share.level_virtual_time_s:
            share.level_virtual_time_s = reached_s
        self.virtual_time_s = share.level_virtual_time_s + seconds


class FairShares:
    """All flows, by level and client."""

    def __init__(self) -> None:
        self._shares: dict[Level, FairLevel] = {}
        self._level_virtual_time_s = 0.0  # by levels that are forgotten

    def __len__(self) -> int:
        return sum(len(share.lanes) for share in self._shares.values())

    def flow(self, client: str, level: Level) -> Flow:
        """Return the flow of a client."""
        share = self._shares.get(level)
        if share is None:
            if len(self._shares) >= MAX_LEVELS:
                oldest = self._shares.pop(next(iter(self._shares)))
                self._level_virtual_time_s = max(self._level_virtual_time_s, oldest.level_virtual_time_s)
            share = self._shares[level] = FairLevel(self._level_virtual_time_s)
        elif len(self._shares) >= MAX_LEVELS:  # those used last are forgotten last
            self._shares[level] = self._shares.pop(level)
        lane = share.lanes.get(client)
        if lane is None:
            lane = share.lanes[client] = Flow(client, level, share)
        return lane

    def forget(self, client: str) -> None:
        """Forget a client that has left."""
        for level, share in list(self._shares.items()):
            if share.lanes.pop(client, None) is not None and not share.lanes:
                del self._shares[level]
                self._level_virtual_time_s = max(self._level_virtual_time_s, share.level_virtual_time_s)
