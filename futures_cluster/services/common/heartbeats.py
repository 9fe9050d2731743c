"""Noticing that the other side of a connection is silent.

Covers: saying from time to time that this side is alive, and giving up a peer that says nothing for too long. A peer
whose connection closes is noticed at once, by the connection; this is for a host that is gone, a network that is cut,
a process that is stuck. Each side says how long it bears silence; both then beat often enough for the less patient one.
Does not cover: what follows from silence.

Silence is what this side could have heard. While it is stopped, or busy in code that lets no other thread run, it hears
nothing, and that time does not count; neither does the time that a long message takes to arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m

#: Heartbeats in the time after which silence means death.
BEATS = 5
MAX_INTERVAL_S = 2.0
#: Each side bears at least this much silence, so that no peer can ask for heartbeats without a pause.
MIN_SILENCE_S = 0.5


def interval_s(silence_s: float) -> float:
    """Return seconds between two heartbeats."""
    return min(max(silence_s, MIN_SILENCE_S) / BEATS, MAX_INTERVAL_S)


class Heartbeats:
    """One side of one connection; on its loop only.

    Parameters
    ----------
    name : str
        Of this side.
    connection : Connection
        Where heartbeats are sent.
    silence_s : float
        Seconds without a sign of life after which the other side is given up.
    on_silence : callable
        Called while the other side is silent, as often as this one beats. Unless it returns True, nothing more is
        sent, and it is not called again.
    facts : callable
        What to say besides.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        connection: Any,
        silence_s: float,
        on_silence: Callable[[], bool | None],
        facts: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._loop = loop
        self._name = name
        self._connection = connection
        self._silence_s = silence_s
        self._on_silence = on_silence
        self._facts = facts
        self._interval_s = interval_s(silence_s)
        self._heard_at = 0.0
        self._due_at = 0.0
        self._received_bytes = 0  # at the last beat
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._heard_at = self._due_at = self._loop.time()
        self._beat()

    @property
    def silent_s(self) -> float:
        """For how long the other side has said nothing; 0 if its next word is not overdue."""
        silent_s = self._loop.time() - self._heard_at
        return silent_s if silent_s > 2 * self._interval_s else 0.0

    def heard(self) -> None:
        """Take note that the other side lives."""
        self._heard_at = self._loop.time()

    def agree(self, facts: dict[str, Any]) -> None:
        """Take the interval from a heartbeat of the other side."""
        theirs = facts.get("silence_s")
        if isinstance(theirs, (int, float)) and 0 < interval_s(theirs) < self._interval_s:
            self._interval_s = interval_s(theirs)
            if self._timer is not None:
                self._timer.cancel()
                self._due_at = self._loop.time()
                self._beat()

    def _beat(self) -> None:
        now = self._loop.time()
        before, self._received_bytes = self._received_bytes, self._connection.received_bytes
        if self._received_bytes != before:
            self._heard_at = now
        elif (late_s := now - self._due_at) > self._interval_s:
            self._heard_at = min(now, self._heard_at + late_s)  # what has arrived is read before the next beat
        if now - self._heard_at > self._silence_s:
            self._timer = None
            if not self._on_silence():
                return
        self._connection.send([m.Heartbeat(self._name, {"silence_s": self._silence_s, **self._facts()})])
        self._due_at = now + self._interval_s
        self._timer = self._loop.call_at(self._due_at, self._beat)

    def stop(self) -> None:
        """Stop sending and checking heartbeats."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
