"""Which handshake goes when too many are under way, and how many lines of log strangers cause."""

from __future__ import annotations

import logging
import resource

import pytest

from futures_cluster.wire import repeated
from futures_cluster.wire.repeated import RepeatedWarnings
from futures_cluster.wire.transports import admission
from futures_cluster.wire.transports.admission import GRACE_S, Admission

LATER = 10.0


def end_all(door: Admission, now: float = LATER) -> list[str]:
    """All that have to go."""
    gone = []
    while (victim := door.victim(now)[0]) is not None:
        door.leave(victim)
        gone.append(victim)
    return gone


def test_the_oldest_of_a_crowd_goes_and_the_others_stay() -> None:
    door = Admission(8)
    door.enter("honest", "10.0.0.2", 0.0)
    for number in range(6):
        door.enter(f"crowd {number}", "10.0.0.1", 0.1 + number / 100)
    assert end_all(door) == ["crowd 0", "crowd 1"]
    assert len(door) == 5


def test_crowds_from_many_sources_push_out_the_largest() -> None:
    door = Admission(8)
    for number in range(9):
        door.enter(number, f"10.0.0.{number // 2}", float(number))
    assert end_all(door) == [0]


def test_each_handshake_is_given_a_moment() -> None:
    door = Admission(2)
    door.enter("one", "a", 1.0)
    door.enter("two", "a", 2.0)
    victim, wait_s = door.victim(1.0)
    assert victim is None and wait_s == pytest.approx(GRACE_S)
    assert door.victim(1.0 + GRACE_S)[0] == "one"


def test_known_peers_have_places_of_their_own() -> None:
    door = Admission(4)
    door.enter("first", "10.0.0.2", 0.0)
    door.passed("first")
    for number in range(100):
        door.enter(number, f"10.1.0.{number}", 1.0)
    door.enter("known", "10.0.0.2", 0.5)
    assert end_all(door) == list(range(96))
    assert len(door) == 5
    door.leave("known")
    door.leave("known")  # twice does no harm
    assert len(door) == 4


def test_few_known_sources_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_KNOWN", 2)
    door = Admission(4)
    for source in ("a", "b", "a", "c"):
        door.enter(source, source, 0.0)
        door.passed(source)
    assert list(door._known) == ["a", "c"]


def test_without_descriptors_one_goes_though_there_are_places() -> None:
    door = Admission(4)
    assert door.victim(LATER, is_urgent=True) == (None, 0.0)
    door.enter("one", "a", 0.0)
    assert door.victim(LATER) == (None, 0.0)
    assert door.victim(LATER, is_urgent=True) == ("one", 0.0)


@pytest.mark.parametrize(
    ("limit", "places"), [(64, 16), (8, 8), (1024, 256), (10**6, 512), (resource.RLIM_INFINITY, 512)]
)
def test_places_follow_the_descriptors(limit: int, places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    assert admission.places() == places


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_sources(host: str, source: str) -> None:
    assert admission.source_of(host) == source


# ---------------------------------------------------------------- lines of log


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def warnings(clock: Clock, caplog: pytest.LogCaptureFixture) -> RepeatedWarnings:
    caplog.set_level(logging.WARNING)
    return RepeatedWarnings(logging.getLogger("test.repeated"), clock)


def test_the_first_line_and_then_counts(
    warnings: RepeatedWarnings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(64_000):  # 128 in a second
        warnings.warning("10.0.0.1", "refused %s", number)
        clock.now += 1 / 128
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "refused 0"
    assert lines[1] == "refused 1280 (1280 like this in the last 10 s)"
    assert lines[2] == "refused 3840 (2560 like this in the last 20 s)"
    assert len(lines) == 6
    warnings.close()
    assert sum(int(line.partition("(")[2].split()[0]) for line in caplog.messages[1:]) == 63_999


def test_sources_have_lines_of_their_own(warnings: RepeatedWarnings, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        for source in ("a", "b"):
            warnings.warning(source, "refused %s", source)
    assert caplog.messages == ["refused a", "refused b"]


def test_many_sources_share_a_line(warnings: RepeatedWarnings, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10_000):
        warnings.warning(str(number), "refused %s", number)
    assert len(caplog.messages) == repeated.MAX_KEYS + 1
    assert len(warnings._lines) == repeated.MAX_KEYS + 1


def test_after_a_while_it_is_the_first_line_again(
    warnings: RepeatedWarnings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    warnings.warning("a", "first")
    clock.now += repeated.FIRST_INTERVAL_S
    warnings.warning("a", "second")
    assert caplog.messages == ["first", "second"]
    clock.now += repeated.FIRST_INTERVAL_S
    for number in range(repeated.MAX_KEYS + 5):  # keys that were quiet make room
        warnings.warning(f"key {number}", "other")
    assert "a" not in warnings._lines
