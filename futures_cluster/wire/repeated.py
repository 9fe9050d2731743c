"""Lines of the log that strangers cause: the first at once, then a count at growing intervals.

Without this, any peer that can reach a port could fill a disk. Similar lines have a common key, for example the address
of the peer. There are few keys; all further sources share the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from futures_cluster import clocks

#: After the first line of a key, the next one comes after this time; each time after twice as long.
FIRST_INTERVAL_S = 10.0
LONGEST_INTERVAL_S = 3600.0
#: Number of keys that have lines of their own.
MAX_KEYS = 32
_OTHERS = "others"


class _Line:
    """What is known of the lines with one key."""

    __slots__ = ("args", "count", "interval_s", "since", "text")

    def __init__(self, now: float) -> None:
        self.since = now  # the last line was written
        self.interval_s = FIRST_INTERVAL_S
        self.count = 0  # of those that were not written
        self.text = ""
        self.args: tuple[object, ...] = ()


class RepeatedWarnings:
    """Warnings of which a peer can cause as many as it likes.

    Parameters
    ----------
    log : logging.Logger
        Where they are written.
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = clocks.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    def warning(self, key: str, text: str, *args: object) -> None:
        """Write a line, or count it if one with this key was written a short time ago."""
        now = self._clock()
        line = self._lines.get(key)
        if line is None and len(self._lines) >= MAX_KEYS:
            self._forget(now)
            if len(self._lines) >= MAX_KEYS:
                line = self._lines.get(key := _OTHERS)
        if line is None or (not line.count and now - line.since >= line.interval_s):
            self._lines[key] = _Line(now)
            self._log.warning(text, *args)
            return
        line.count += 1
        line.text, line.args = text, args
        if now - line.since >= line.interval_s:
            self._tell(line, now)
            line.interval_s = min(2 * line.interval_s, LONGEST_INTERVAL_S)

    def _tell(self, line: _Line, now: float) -> None:
        suffix = " (%d like this in the last %.0f s)"
        self._log.warning(line.text + suffix, *line.args, line.count, now - line.since)
        line.since, line.count = now, 0

    def _forget(self, now: float) -> None:
        """Drop keys that were quiet, after logging their counts, to make room for others."""
        for key, line in list(self._lines.items()):
            if now - line.since >= line.interval_s:
                if line.count:
                    self._tell(line, now)
                del self._lines[key]

    def close(self) -> None:
        """Write the counts that were not written yet."""
        now = self._clock()
        for line in self._lines.values():
            if line.count:
                self._tell(line, now)
        self._lines = {}
