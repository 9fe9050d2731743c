"""When worker processes are started after starts that have failed: a restart policy with exponential back-off.

Covers: counting failures in a row, the pause before the next start, and when to give up. Does not cover: starting
processes (``worker_pool``), what made a start fail (``launchers``).

The policy is pure: it reads no clock, and times are arguments. A start has failed when there was no descriptor or no
process for it, or when the process ended before it was ready. Starts under way at the same time often fail together and
for one reason, so they count as one failure. After a failure one start at a time probes whether the reason has gone
(a half-open circuit breaker): a worker that gets ready ends the row of failures, and all others may start.
"""

from __future__ import annotations

import math

#: Seconds of pause after the first failure; each further one in a row doubles them.
FIRST_PAUSE_S = 0.1
#: Maximum pause in seconds; and how long other starts wait for a probe that neither gets ready nor fails.
MAX_PAUSE_S = 5.0
#: After this number of failures in a row there are no further starts, unless some worker is left.
MAX_FAILURES = 6


class RestartPolicy:
    """Says when to start workers.

    Attributes
    ----------
    failures : int
        Failures since a worker got ready.
    next_s : float
        No start begins before this time.

    Examples
    --------
    >>> policy = RestartPolicy()
    >>> policy.failed(began_s=0.0, now_s=1.0), policy.failed(began_s=0.5, now_s=1.0)
    (True, False)
    >>> round(policy.pause_s(1.0), 3), policy.pause_s(2.0)
    (0.1, 0.0)
    """

    def __init__(self) -> None:
        self.failures = 0
        self.next_s = -math.inf
        self._counted_s = -math.inf  # starts that began before it have been counted

    def started(self, now_s: float) -> None:
        """Take note that a start begins; after a failure, others wait for it."""
        if self.failures:
            self.next_s = now_s + MAX_PAUSE_S

    def failed(self, began_s: float, now_s: float) -> bool:
        """Take note of a start that has failed; return whether it counts.

        A start that began before the end of the last pause failed together with the one that the pause is for.
        """
        if began_s < self._counted_s:
            return False
        self.failures += 1
        self.next_s = self._counted_s = now_s + min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 30))
        return True

    def succeeded(self) -> None:
        """Take note that a worker is ready."""
        self.failures = 0
        self.next_s = self._counted_s = -math.inf

    def pause_s(self, now_s: float) -> float:
        """Return the seconds until the next start may begin."""
        return max(0.0, self.next_s - now_s)

    @property
    def exhausted(self) -> bool:
        """Whether to give up, if no worker is left."""
        return self.failures >= MAX_FAILURES
