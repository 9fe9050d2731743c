"""Limits that the whole cluster shares, such as the requests at a time that a server allows.

Covers: the declared limits, and how much of each the assigned tasks have. Does not cover: the queues of the tasks that
wait for a limit (``constrained``), taking and giving back (``dispatch``, ``worker_transitions``).
"""

from __future__ import annotations

from futures_cluster.messages import Amounts

#: Amounts are floats, whose sums are not exact.
TOLERANCE = 1e-9


class Limit:
    """One limit.

    Attributes
    ----------
    total : float
        What all assigned tasks together may have.
    used : float
        What they have.
    users : int
        Number of these tasks.
    """

    __slots__ = ("total", "used", "users")

    def __init__(self, total: float) -> None:
        self.total = total
        self.used = 0.0
        self.users = 0


class Limits:
    """The limits of a cluster, by name."""

    __slots__ = ("by_name",)

    def __init__(self) -> None:
        self.by_name: dict[str, Limit] = {}

    def declare(self, totals: dict[str, float]) -> None:
        """Add limits; one that is there already stays as it is."""
        for name, total in totals.items():
            if name not in self.by_name:
                self.by_name[name] = Limit(total)

    def totals(self) -> dict[str, float]:
        """Return the declared limits."""
        return {name: limit.total for name, limit in self.by_name.items()}

    def are_free(self, amounts: Amounts) -> bool:
        """Return whether a task could have these amounts now."""
        for name, amount in amounts:
            limit = self.by_name[name]
            if limit.used + amount > limit.total + TOLERANCE:
                return False
        return True

    def take(self, amounts: Amounts) -> None:
        """Count the amounts of a task that was assigned."""
        for name, amount in amounts:
            limit = self.by_name[name]
            limit.used += amount
            limit.users += 1

    def give_back(self, amounts: Amounts) -> None:
        """Count the amounts of such a task as free again."""
        for name, amount in amounts:
            limit = self.by_name[name]
            limit.users -= 1
            limit.used = limit.used - amount if limit.users else 0.0  # no rounding error stays for long
