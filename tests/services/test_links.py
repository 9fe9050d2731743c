"""What a scheduler takes from whom: rules of roles, values of rows, shapes of reports. How it holds: ``tests/fuzz``."""

from __future__ import annotations

from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.services.scheduler import permissions
from futures_cluster.wire import contents
from futures_cluster.wire.codec.buffers import Buffer

NAN, INF = float("nan"), float("inf")
SUMMARY = dict.fromkeys(("count", "sum", "max", "p50", "p90", "p99"), 1.0)
REPORT = {
    "metrics": {"counts": {"a": {"minute": 1, "start": 2}}, "timings": {"b": {"minute": SUMMARY, "start": SUMMARY}}}
}


def nested(depth: int) -> Any:
    value: Any = ()
    for _ in range(depth):
        value = (value,)
    return value


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (m.SlotsChanged("w", -1), r"SlotsChanged\.slots must be from 0 to \d+, got -1"),
        (m.WorkerConnected("w", "a", 0), r"WorkerConnected\.slots must be from 1 to \d+, got 0"),
        (m.WorkerConnected("w", "a\nb"), r"WorkerConnected\.address must have at most \d+ characters, all printable"),
        (m.WorkerConnected("w", "a", 1, True, {"G\r": 1}), r"WorkerConnected\.resources must have at most"),
        (m.WorkerConnected("w", "a", incarnation="x" * 300), r"WorkerConnected\.incarnation must have at most 255"),
        (m.WorkerConnected("w", "a", 1, True, {"GPU": NAN}), r"WorkerConnected\.resources holds nan"),
        (m.WorkerConnected("w", "a", 1, True, {"GPU": "two"}), r"WorkerConnected\.resources holds 'two'"),
        (m.TasksFinished("w", [("k", 1, b"", -1, 0.1)]), r"TasksFinished\.finished holds -1, where a whole number"),
        (m.TasksFinished("w", [("k", 1, b"", 0.5, 0.1)]), r"TasksFinished\.finished holds 0.5, where a whole number"),
        (m.TasksFinished("w", [("k", 1, b"", 1, NAN)]), r"TasksFinished\.finished holds nan, where a number from 0 to"),
        (m.TasksFinished("w", [("k", 1, b"", 1, INF)]), r"TasksFinished\.finished holds inf"),
        (m.TasksFinished("w", [("k", 1, b"", 1, -0.1)]), r"TasksFinished\.finished holds -0.1"),
        (m.TasksFinished("w", [("k", 1, 5, 1, 0.1)]), r"TasksFinished\.finished .* where a payload must be"),
        (m.TasksFinished("w", [], [("k", 1, b"", NAN)]), r"TasksFinished\.failed holds nan"),
        (m.TasksFinished("w", [], [("k", 1, nested(600), 0.1)]), r"TasksFinished\.failed .* where bytes must be"),
        (m.DataAdded("w", ["k"], 1, NAN), r"DataAdded\.duration_s must be from 0 to \d+, got nan"),
        (m.DataAdded("w", ["k"], -1), r"DataAdded\.size_bytes must be from 0 to \d+, got -1"),
        (m.LogRecords("w", [("k", "text")]), r"LogRecords\.rows .* where bytes must be"),
        (m.LogRecords("w", [], -1), r"LogRecords\.dropped must be from 0"),
        (
            m.Heartbeat("w", {"silence_s": 1e-9}),
            r"Heartbeat\.facts\['silence_s'\] must be at least 0.5, got 1e-09",
        ),
        (m.Heartbeat("w", {"silence_s": NAN}), r"Heartbeat\.facts\['silence_s'\]"),
        (m.SubmitTasks("w", [("k", 1, b"", [])]), r"SubmitTasks\.tasks holds int, where a text must be"),
        (m.SubmitTasks("w", [("k", "f", b"", [1])]), r"SubmitTasks\.tasks holds int, where a text must be"),
        (m.SubmitTasks("w", [("k", "f", b"", 1)]), r"SubmitTasks\.tasks .* where a list of keys must be"),
        (m.SubmitTasks("w", [("k", "f", nested(9), [])]), r"SubmitTasks\.tasks .* where a payload must be"),
        (m.SubmitTasks("w", [], [], m.DEFAULT_OPTIONS, -1), r"SubmitTasks\.depth must be from 0"),
        (m.ScatterData("w", [("k", -5, "w")]), r"ScatterData\.rows holds -5"),
        (m.ScatterData("w", [("k", 5, "w")], 0), r"ScatterData\.replicas must be from 1"),
        (m.AskShared("w", 1, "channel", "c", "put", [nested(200)]), r"AskShared\.args .* too many levels"),
        (m.AskScheduler(1, "explain", nested(200)), r"AskScheduler\.argument .* too many levels"),
        (m.ReportMissing("w", [("k", 5)]), r"ReportMissing\.missing holds int"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, m.Message) else "",
)
def test_what_makes_no_sense_is_refused_with_its_field(message: m.Message, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        permissions.check(permissions.WORKER, "w", message)


@pytest.mark.parametrize(
    "message",
    [
        m.WorkerConnected("w", "a", 2, True, {"GPU": 2}),
        m.TasksFinished("w", [("k", 1, None, 2**40, 0), ("l", 1, b"", 0, 0.5)], [("k", 1, b"", 1)]),
        m.SubmitTasks("w", [("k", "", None, ()), ("l", "f", (b"p", ("raw", (Buffer(b""),))), ("k",))]),
        m.Heartbeat("w", {"silence_s": INF}),
        m.WorkerReport("w", REPORT),
        m.AskShared("w", 1, "channel", "c", "put", [[(b"item", 4, ("k",))]]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_makes_sense_passes(message: m.Message) -> None:
    permissions.check(permissions.WORKER, "w", message)


VERSION = ("module", "/module.py", -1, 10, "hash")


@pytest.mark.parametrize(
    ("at", "odd", "text"),
    [
        (1, 1, r"ShareCode\.versions holds int, where a text must be"),
        (2, 1.5, r"ShareCode\.versions holds float, where a whole number must be"),
        (3, -1, r"ShareCode\.versions holds -1, where a whole number from 0"),
        (4, b"", r"ShareCode\.versions holds bytes, where a text must be"),
    ],
)
def test_versions_of_modules(at: int, odd: Any, text: str) -> None:
    permissions.check(permissions.CLIENT, "c", m.ShareCode("c", [], [], [VERSION]))
    with pytest.raises(ProtocolError, match=text):
        permissions.check(
            permissions.CLIENT, "c", m.ShareCode("c", [], [], [VERSION, (*VERSION[:at], odd, *VERSION[at + 1 :])])
        )


def test_facts_that_this_version_does_not_know_are_left_out() -> None:
    beat = m.Heartbeat("w", {"stored": 1, "name": "other", "silence_s": 5.0, "spilled": []})
    permissions.check(permissions.WORKER, "w", beat)
    assert beat.facts == {"silence_s": 5.0, "stored": 1}
    report = m.WorkerReport("w", {**REPORT, "name": "other"})
    permissions.check(permissions.WORKER, "w", report)
    assert report.facts == REPORT


@pytest.mark.parametrize(
    "facts",
    [
        {"cpu": "much"},
        {"now": NAN},
        {"pid": None},
        {"running": [[1]]},
        {"stream_dropped": -1},
        {"metrics": {"counts": {}}},
        {"metrics": {"counts": {"a": {"minute": 1}}, "timings": {}}},
        {"profile": [1, {"f": 2}]},
        {"profile": [2**60, {}]},
        {"detail": {1: 2}},
        {"detail": {"a": nested(50)}},
        {"output": [["k", 1]]},
    ],
    ids=str,
)
def test_facts_of_another_shape_are_left_out(facts: dict[str, Any]) -> None:
    """And the worker is kept, with what it holds."""
    report = m.WorkerReport("w", {**facts, "raised": 1})
    permissions.check(permissions.WORKER, "w", report)
    assert report.facts == {"raised": 1}


@pytest.mark.parametrize(
    ("payload", "fits"),
    [
        (None, True),
        (b"pickle", True),
        ((b"pickle", ("raw", ())), True),
        ((None, ("raw", (Buffer(b"x"),)), "private"), True),
        ((None, ("shm", 1, 2, 3, ((0, 3),), 5)), True),
        ((b"pickle", ("packed", (Buffer(b"x"),), "zlib", (5,))), True),
        ((b"pickle", ("packed", (Buffer(b"x"),), "zlib", ())), False),
        ((None, ("shm", -1, 2, 3, ((0, 3),), 5)), False),
        ((None, ("shm", 1, 2, 3, ((0,),), 5)), False),
        ((None, ("raw", (b"x",))), False),
        ((None, ("other",)), False),
        ((None, ()), False),
        ((None,), False),
        ("text", False),
        ({"a": 1}, False),
    ],
)
def test_payloads(payload: Any, fits: bool) -> None:
    assert contents.is_payload(payload) is fits


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], "the first frame was empty"),
        ([m.DropData(["k"])], "was a DropData and not a Hello"),
        ([m.Hello("king", "n")], "role 'king'"),
        ([m.Hello("client", "")], "name ''"),
        ([m.Hello("client", "n", versions={"python": 3})], r"Hello\.versions holds int"),  # type: ignore[dict-item]
    ],
)
def test_introductions(messages: list[m.Message], text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        permissions.check_hello(messages)
