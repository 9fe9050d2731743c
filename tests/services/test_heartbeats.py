"""Silence: what this side could have heard, and did not; on a loop whose clock the test sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.services.common.heartbeats import MIN_SILENCE_S, Heartbeats, interval_s


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Timers are called when the test says so, as late as it says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None], Timer]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, function: Callable[[], None]) -> Timer:
        timer = Timer()
        self.timers.append((when, function, timer))
        return timer

    def run(self, until: float) -> None:
        """Let time pass, with each timer at its time."""
        while self.timers and min(row[0] for row in self.timers) <= until:
            row = min(self.timers, key=lambda row: row[0])
            self.timers.remove(row)
            self.now = max(self.now, row[0])
            if not row[2].cancelled:
                row[1]()
        self.now = until


class Connection:
    def __init__(self) -> None:
        self.sent: list[m.Message] = []
        self.received_bytes = 0

    def send(self, messages: list[m.Message]) -> None:
        self.sent += messages


def begin(silence_s: float = 60.0) -> tuple[Loop, Connection, Heartbeats, list[float]]:
    loop, connection = Loop(), Connection()
    silent: list[float] = []
    beats: Any = Heartbeats(loop, "me", connection, silence_s, lambda: silent.append(loop.now))  # type: ignore[arg-type]
    beats.start()
    return loop, connection, beats, silent


def test_silence_is_noticed() -> None:
    loop, _, _, silent = begin()
    loop.run(159.0)
    assert silent == []
    loop.run(163.0)
    assert len(silent) == 1


def test_what_is_heard_begins_the_time_anew() -> None:
    loop, _, beats, silent = begin()
    loop.run(150.0)
    beats.heard()
    loop.run(209.0)
    assert silent == []
    loop.run(213.0)
    assert len(silent) == 1


def test_a_long_message_is_no_silence() -> None:
    loop, connection, _, silent = begin()
    for second in range(101, 400):
        connection.received_bytes += 1000
        loop.run(float(second))
    assert silent == []
    loop.run(463.0)
    assert len(silent) == 1


@pytest.mark.parametrize("pause_s", [61.0, 130.0, 10_000.0])
def test_a_process_that_could_not_hear_blames_nobody(pause_s: float) -> None:
    """It was stopped, or held the interpreter's lock: the timer comes before what has arrived meanwhile is read."""
    loop, connection, beats, silent = begin()
    loop.run(110.0)
    beats.heard()
    loop.now += pause_s
    loop.run(loop.now)  # the beat that is late
    assert silent == []
    connection.received_bytes += 100
    beats.heard()
    loop.run(loop.now + 59.0)
    assert silent == []


def test_a_peer_that_has_gone_during_a_pause_is_noticed_after_it() -> None:
    loop, _, _, silent = begin()
    loop.now += 130.0
    loop.run(loop.now + 63.0)
    assert len(silent) == 1


def test_silence_of_one_slow_beat_after_another_is_noticed() -> None:
    """A loop that is always late takes longer, and comes to an end."""
    loop, _, _, silent = begin()
    for _ in range(100):
        loop.now += 10.0
        loop.run(loop.now)
    assert len(silent) == 1


@pytest.mark.parametrize("silence_s", [1e-9, 0.0, -1.0, float("nan"), 5e-324])
def test_no_peer_can_ask_for_heartbeats_without_a_pause(silence_s: float) -> None:
    loop, connection, beats, _ = begin()
    beats.agree({"silence_s": silence_s})
    loop.run(110.0)
    assert len(connection.sent) <= 10.0 / interval_s(MIN_SILENCE_S) + 2


def test_both_beat_for_the_less_patient_one() -> None:
    loop, connection, beats, _ = begin(float("inf"))
    beats.agree({"silence_s": 1.0})
    count = len(connection.sent)
    loop.run(110.1)
    assert len(connection.sent) - count == 50
