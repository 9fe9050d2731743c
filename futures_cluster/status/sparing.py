"""Answers that are made once for all viewers of a short time.

Covers: keeping them, and for how long. Does not cover: what they are (``api``).

Making an answer holds the lock of the scheduler, which meanwhile does nothing else. So the cache makes a new one only
when the last one is older than the viewer accepts, and never so often that making it takes more than a small share of
the time, however many viewers there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster import clocks

#: The share of the time that making one kind of answer may take.
MAX_SHARE = 0.05
#: Kinds of answers that are kept, the oldest go first: there is one for each task that a viewer looks at.
MAX_KEPT = 100


class ThrottledCache:
    """Keeps answers, by name.

    Parameters
    ----------
    clock : callable
        Seconds on a monotonic clock.

    Examples
    --------
    >>> now = 0.0
    >>> answers = ThrottledCache(lambda: now)
    >>> answers.get("a", lambda: "first", 0.5), answers.get("a", lambda: "second", 0.5)
    ('first', 'first')
    >>> now = 0.6
    >>> answers.get("a", lambda: "third", 0.5)
    'third'
    """

    def __init__(self, clock: Callable[[], float] = clocks.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, float, Any]] = {}  # name -> (when it was begun, how long it took, answer)

    def get(self, name: str, make: Callable[[], Any], age_s: float) -> Any:
        """Return the answer of this name: the last one if young or costly, or new."""
        now = self._clock()
        if name in self._kept:
            begun, _, answer = self._kept[name]
            if now - begun < max(age_s, self.pause_s(name)):
                return answer
        answer = make()
        self._kept.pop(name, None)
        self._kept[name] = (now, self._clock() - now, answer)
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return answer

    def pause_s(self, name: str) -> float:
        """Return the least time between answers of a name, by the last one's cost."""
        return self._kept[name][1] / MAX_SHARE if name in self._kept else 0.0
