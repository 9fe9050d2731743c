"""How much of the cluster's time each client has had, in each level of priority and nesting.

Does not cover: the order of a client's own tasks (``fair``).
"""

from __future__ import annotations

#: What one turn counts for, as long as nobody knows how long the function takes.
UNKNOWN_TURN_S = 0.01
#: Levels of which the shares are remembered.
MOST_LEVELS = 1000

#: Priority and depth of nesting; the smaller one comes first.
Level = tuple[int, int]


class Share:
    """The lanes of one level.

    Attributes
    ----------
    reached_s : float
        The time that the lanes that had turns have had by now; who joins them starts there.
    """

    __slots__ = ("lanes", "reached_s")

    def __init__(self, reached_s: float) -> None:
        self.lanes: dict[str, Lane] = {}
        self.reached_s = reached_s


class Lane:
    """A client's tasks of one level, in whatever queues they are."""

    __slots__ = ("client", "level", "share", "spent_s")

    def __init__(self, client: str, level: Level, share: Share) -> None:
        self.client = client
        self.level = level
        self.share = share
        self.spent_s = share.reached_s  # expected seconds of work that it was given

    def catch_up(self) -> None:
        """Start where the other lanes are, after a time with nothing to do."""
        if self.spent_s < self.share.reached_s:
            self.spent_s = self.share.reached_s

    def take_turn(self, seconds: float) -> None:
        """A task of this lane gets a worker for so long."""
        share = self.share
        if self.spent_s > share.reached_s:
            share.reached_s = self.spent_s
        self.spent_s += seconds


class Shares:
    """All lanes, by level and client."""

    def __init__(self) -> None:
        self._shares: dict[Level, Share] = {}
        self._reached_s = 0.0  # by levels that are forgotten

    def __len__(self) -> int:
        return sum(len(share.lanes) for share in self._shares.values())

    def lane(self, client: str, level: Level) -> Lane:
        """The lane of a client."""
        share = self._shares.get(level)
        if share is None:
            if len(self._shares) >= MOST_LEVELS:
                oldest = self._shares.pop(next(iter(self._shares)))
                self._reached_s = max(self._reached_s, oldest.reached_s)
            share = self._shares[level] = Share(self._reached_s)
        elif len(self._shares) >= MOST_LEVELS:  # those used last are forgotten last
            self._shares[level] = self._shares.pop(level)
        lane = share.lanes.get(client)
        if lane is None:
            lane = share.lanes[client] = Lane(client, level, share)
        return lane

    def forget(self, client: str) -> None:
        """The client has left."""
        for level, share in list(self._shares.items()):
            if share.lanes.pop(client, None) is not None and not share.lanes:
                del self._shares[level]
                self._reached_s = max(self._reached_s, share.reached_s)
