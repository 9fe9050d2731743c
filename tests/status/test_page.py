"""The status page of an executor on this machine: true numbers, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import urllib.error
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import Gate

from futures_cluster import Executor, NotSupported, wait
from futures_cluster.services.observe.page_thread import StatusPage

from .looking import TIMEOUT_S, Events, ask, eventually, read, refusal


def square(x: int) -> int:
    return x * x


def fail(x: int) -> None:
    raise ValueError(f"no square of {x}")


def large(size: int) -> bytearray:
    return bytearray(size)


def length(*parts: bytearray) -> int:
    return sum(map(len, parts))


@contextlib.contextmanager
def opening(gate: Gate) -> Iterator[None]:
    """Let tasks go on however the block ends: the executor's end would wait for them."""
    try:
        yield
    finally:
        gate.open()


def row_of(snapshot: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [row for row in snapshot["functions"] if row["name"] == name]
    return dict(found)


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_limits_are_shown(backend: str, gate: Gate) -> None:
    with Executor(2, backend=backend, limits={"api": 2, "mail": 1}) as ex, opening(gate):
        url = ex.status_url
        view = ex.with_options(limits={"api": 2})
        held = view.submit(gate.hold)
        gate.wait_come()
        waiting = [view.submit(square, number) for number in range(3)]
        waiting[0].cancel()
        rows = eventually(lambda: (found := ask(url, "snapshot")["limits"])[0]["waiting"] == 2 and found)
        assert rows == [
            {"name": "api", "total": 2.0, "used": 2.0, "waiting": 2},
            {"name": "mail", "total": 1.0, "used": 0.0, "waiting": 0},
        ]
        gate.open()
        wait([held, *waiting])


def test_the_numbers_are_true(gate: Gate) -> None:
    with Executor(2) as ex, opening(gate):
        url = ex.status_url
        done = [ex.submit(square, i) for i in range(10)]
        failed = [ex.submit(fail, i) for i in range(3)]
        wait([*done, *failed])
        blocked = [ex.submit(gate.hold) for _ in range(5)]
        waiting = ex.submit(square, blocked[0])
        gate.wait_come(2)
        snapshot = ask(url, "snapshot")
        assert snapshot["version"] == 1
        squares = row_of(snapshot, "square")
        assert (squares["finished"], squares["memory"], squares["waiting"]) == (10, 10, 1)
        raised = row_of(snapshot, "fail")
        assert (raised["raised"], raised["failed"], raised["finished"]) == (3, 3, 0)
        held = row_of(snapshot, "Gate.hold")
        assert (held["running"], held["assigned"] + held["queued"]) == (2, 5)
        assert snapshot["tasks"]["total"] == 19
        workers = snapshot["workers"]
        assert {row["pid"] for row in workers} == {facts["pid"] for facts in ex.workers().values()}
        assert all(row["memory_bytes"] > 1e6 and row["running"] == 1 and row["cpu"] is not None for row in workers)
        texts = {row["key"]: row["text"] for row in snapshot["failures"] if row["final"]}
        assert texts.keys() == {future.key for future in failed}
        assert "ValueError: no square of 1" in texts[failed[1].key] and "in fail\n" in texts[failed[1].key]
        story = ask(url, "task", key=waiting.key)
        assert story["inputs"] == [{"key": blocked[0].key, "function": "Gate.hold", "state": "assigned"}]
        assert "waits for 1 of its 1 input:" in story["explanation"][0]
        assert ask(url, "task", key="no such task")["known"] is False
        graph = ask(url, "graph")
        assert (graph["tasks"], graph["folded"], len(graph["nodes"])) == (19, False, 19)
        gate.open()
        wait([waiting])


def test_the_stream_has_each_run(gate: Gate) -> None:
    with Executor(2) as ex, opening(gate), Events(ex.status_url) as events:
        ex.run(os.getpid)
        eventually(lambda: all(row["report_age_s"] is not None for row in events.next("snapshot")["workers"]))
        futures = [ex.submit(square, i) for i in range(100)] + [ex.submit(fail, 1), ex.submit(gate.hold)]
        gate.wait_come(1)
        gate.open()
        wait(futures)
        counts: Counter[str] = Counter()
        while sum(number for name, number in counts.items() if name != "getpid") < 102:
            for worker, _, rows in events.next("stream")["chunks"]:
                assert worker in ex.workers()
                for kind, lane, function, start, end, number, key, size, failed in rows:
                    assert (kind, lane, failed) == (0, 0, function == "fail")
                    assert end >= start and key and size >= 0
                    counts[function] += number
        del counts["getpid"]
        assert counts == {"square": 100, "fail": 1, "Gate.hold": 1}


def test_the_stream_has_what_has_not_ended(gate: Gate) -> None:
    with Executor(1) as ex, opening(gate), Events(ex.status_url) as events:
        future = ex.submit(gate.hold)
        gate.wait_come(1)
        while not (running := events.next("stream")["running"]):
            pass
        ((worker, lane, function, key, start),) = running
        assert (worker, lane, function, key) == (next(iter(ex.workers())), 0, "Gate.hold", future.key)
        before = events.next("snapshot")["time"]
        assert start < before
        gate.open()
        while events.next("stream")["running"]:
            pass


def test_transfers_are_seen(tmp_path: Path) -> None:
    with Executor(2) as ex, Events(ex.status_url) as events:
        events.next("snapshot")
        names = list(ex.run(os.getpid))
        parts = [ex.with_options(workers=name).submit(large, 2_000_000) for name in names]
        total = ex.with_options(workers=names[0]).submit(length, *parts)
        assert total.result() == 4_000_000
        transfers = eventually(lambda: ask(ex.status_url, "snapshot")["transfers"])
        ((holder, asker, size, fetches, seconds),) = transfers
        assert (holder, asker, fetches) == (names[1], names[0], 1)
        assert 2_000_000 <= size < 2_100_000 and seconds > 0
        kinds = Counter()
        while not kinds[1]:
            for _, _, rows in events.next("stream")["chunks"]:
                kinds.update(row[0] for row in rows)
        worker = ask(ex.status_url, "worker", name=names[0])
        assert worker["known"] and worker["traffic"][0][:2] == [names[1], size]
        assert worker["metrics"]["timings"]["connect"]["start"]["count"] == 1
        assert {row["key"] for row in worker["held"]} == {part.key for part in parts}


def test_a_killed_worker_turns_up() -> None:
    with Executor(2) as ex:
        names = list(ex.run(os.getpid))
        url = ex.status_url
        pid = ex.workers()[names[0]]["pid"]
        os.kill(pid, signal.SIGKILL)

        def lost() -> Any:
            return [event for event in ask(url, "snapshot")["events"] if event[1] == "worker lost"]

        ((_, _, name, cause),) = eventually(lost)
        assert name == names[0] and "SIGKILL" in cause
        eventually(lambda: len(ask(url, "snapshot")["workers"]) == 2)
        assert pid not in {row["pid"] for row in ask(url, "snapshot")["workers"]}


def test_threads_have_a_page_too(gate: Gate) -> None:
    with Executor(2, backend="threads") as ex, opening(gate):
        url = ex.status_url
        squares = [ex.submit(square, i) for i in range(10)]
        failed = ex.submit(fail, 2)
        wait([*squares, failed])
        ex.submit(gate.hold)
        gate.wait_come(1)
        with Events(url) as events:
            snapshot = events.next("snapshot")
            assert row_of(snapshot, "square")["finished"] == 10
            assert [row["name"] for row in snapshot["workers"]] == ["threads"]
            eventually(lambda: "ValueError: no square of 2" in ask(url, "snapshot")["failures"][0]["text"])
            eventually(lambda: "hold" in str(ask(url, "profile")["tree"]))  # the thread that waits is sampled
            gate.open()
            eventually(lambda: events.next("stream"))


def test_the_address_is_shown_once_it_was_asked_for() -> None:
    with Executor(1) as ex:
        assert repr(ex) == "<Executor with 1 worker>"
        url = ex.status_url
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        assert ex.status_url == url
        assert repr(ex) == f"<Executor with 1 worker, {url}>"
        assert f'href="{url}"' in ex._repr_html_()
        assert ex.with_options(priority=1).status_url == url
    assert repr(ex) == "<Executor, shut down>" and "shut down" in ex._repr_html_() and "http" not in ex._repr_html_()
    with pytest.raises(RuntimeError, match="after shutdown"):
        _ = ex.status_url
    with pytest.raises(urllib.error.URLError):
        read(url, "api")


def test_viewers_do_not_hold_up_the_end() -> None:
    with Executor(1) as ex:
        events = Events(ex.status_url)
        events.next("snapshot")
    with events, pytest.raises((AssertionError, OSError)):
        while True:
            events.next("snapshot")


def test_nobody_who_looks_costs_the_scheduler_nothing() -> None:
    """A page that is served and not looked at: no message, no timer, no call for any task."""
    with Executor(2) as ex:
        ex.run(os.getpid)
        assert ex.status_url
        engine: Any = ex._engine
        service, monitor = engine.cluster.scheduler, engine.cluster.view().monitor
        noticed: list[Any] = []
        service.monitor = type("Counting", (), {"on_message": lambda self, message: noticed.append(message)})()
        sent: list[Any] = []
        for name, send in list(service.workers.items()):

            def listen(messages: list[Any], send: Any = send) -> None:
                sent.extend(type(message).__name__ for message in messages)
                send(messages)

            service.workers[name] = listen
        assert list(ex.map(square, range(500))) == [i * i for i in range(500)]
        assert noticed == []
        assert "RunTasks" in sent and "Observe" not in sent
        assert monitor._loop_timer is None and monitor._watched == {}


def test_without_viewers_workers_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("futures_cluster.services.observe.monitor.ANSWER_TIMEOUT_S", TIMEOUT_S)
    with Executor(1) as ex:
        engine: Any = ex._engine
        with Events(ex.status_url) as events:
            events.next("snapshot")
            monitor = engine.cluster.view().monitor
            eventually(lambda: monitor._watched)
        eventually(lambda: monitor.viewers == 0)

        def told() -> bool:
            return all(order.interval_s < 0 for order in monitor._watched.values())

        eventually(told)
        # Whoever asks once gets an answer that is new, all the same; at first perhaps one that others have just got.

        def is_new() -> bool:
            ages = [row["report_age_s"] for row in ask(ex.status_url, "snapshot")["workers"]]
            return len(ages) == 1 and ages[0] is not None and ages[0] < 5

        eventually(is_new)


def loaded_for_viewers() -> set[str]:
    """What a worker loads only when somebody looks."""
    names = ("reporter", "task_stream", "profiler", "stdout_capture")
    return {name for name in names if f"futures_cluster.services.worker.{name}" in sys.modules}


def test_workers_load_what_viewers_need_with_the_first_look() -> None:
    with Executor(1) as ex:
        assert ex.submit(loaded_for_viewers).result() == set()
        with pytest.raises(ValueError, match="no square"):
            ex.submit(fail, 1).result()
        assert ex.submit(loaded_for_viewers).result() == set()
        (failure,) = ask(ex.status_url, "snapshot")["failures"]
        assert "no square of 1" in failure["text"]  # though nobody looked
        assert ex.submit(loaded_for_viewers).result() == {"reporter", "task_stream", "profiler", "stdout_capture"}


def test_who_asks_waits_for_answers_and_not_for_workers_that_are_lost(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("futures_cluster.services.observe.monitor.ANSWER_TIMEOUT_S", TIMEOUT_S)
    with Executor(2) as ex, opening(gate):
        one, other = ex.run(os.getpid)
        engine: Any = ex._engine
        monitor = engine.cluster.view().monitor
        monitor.ask_workers().result(TIMEOUT_S)
        assert monitor._heard.keys() == {one, other}
        assert monitor.ask_workers("no such worker").done()
        # One that has stopped cannot answer. As soon as it is lost nobody waits for it any longer.
        pid = ex.workers()[one]["pid"]
        os.kill(pid, signal.SIGSTOP)
        answered = monitor._rounds.begin([one])
        os.kill(pid, signal.SIGKILL)
        answered.result(TIMEOUT_S)


def test_where_there_is_no_scheduler_to_look_at() -> None:
    with Executor(backend="sync") as ex:
        with pytest.raises(NotSupported, match="need the processes, threads or cluster backend"):
            _ = ex.status_url
        with pytest.raises(NotSupported), ex.report("never.html"):
            pass
        assert repr(ex) == "<Executor with 1 worker>" and "Status page" not in ex._repr_html_()
    with Executor(1) as ex, pytest.raises(NotSupported):
        ex.submit(_own_page).result()


def _own_page() -> str:
    from futures_cluster import current_executor

    return str(current_executor().status_url)


def test_a_page_bound_elsewhere_has_a_token() -> None:
    with Executor(1) as ex:
        engine: Any = ex._engine
        ex.submit(square, 1).result()
        page = StatusPage(engine.cluster.view().monitor, "0.0.0.0", 0)
        try:
            assert page.url == f"http://{socket.gethostname()}:{page.port}/?token={page.token}"
            assert len(page.token) >= 20
            near = f"http://127.0.0.1:{page.port}/"
            for path in ("", "api/v1/snapshot", "metrics", "api/v1/events"):
                assert refusal(near, path) == 403
            assert b"<title>" in read(near, "", token=page.token)
            assert ask(near, "snapshot", token=page.token)["version"] == 1
            assert read(near, "page.css")
        finally:
            page.close()


def test_the_index_lists_what_there_is() -> None:
    with Executor(1) as ex:
        ex.submit(square, 2).result()
        url = ex.status_url
        for path in ask(url, "")["addresses"]:
            if not path.endswith("events"):
                assert read(url, path.lstrip("/"))
        assert b"futures_cluster_tasks" in read(url, "metrics")
        assert refusal(url, "api/v1/../../etc/passwd") == 404
        assert refusal(url, "page.py") == 404


def test_arguments_and_results_are_nowhere(tmp_path: Path) -> None:
    with Executor(1) as ex:
        url = ex.status_url
        secret = ex.submit("kept-{}-kept".format, "secret-argument")
        user = ex.submit(len, secret)
        wait([user])
        paths = [("snapshot", {}), ("task", {"key": secret.key}), ("graph", {}), ("stream", {}), ("profile", {})]
        with ex.report(tmp_path / "run.html"):
            pass
        texts = [read(url, "api/v1/" + path, **parameters) for path, parameters in paths]
        for text in [*texts, (tmp_path / "run.html").read_bytes()]:
            assert b"secret-argument" not in text and b"kept-" not in text


def test_a_report_is_written_also_when_the_part_fails(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    with Executor(2) as ex:
        with pytest.raises(ValueError, match="no square"), ex.report(path, "A run"):
            assert list(ex.map(square, range(20))) == [i * i for i in range(20)]
            ex.submit(fail, 5).result()
    text = path.read_text()
    assert "A run" in text and "no square of 5" in text
    (found,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)
    data = json.loads(found)
    assert row_of(data["snapshot"], "square")["finished"] == 20
    rows = [row for _, _, rows in data["stream"]["chunks"] for row in rows]
    assert sum(row[5] for row in rows if row[2] == "square") <= 20
    assert any(row[8] for row in rows)


def test_a_report_that_cannot_be_written_fails_before_the_part(tmp_path: Path) -> None:
    with Executor(1) as ex, pytest.raises(FileNotFoundError, match="its folder does not exist"):
        with ex.report(tmp_path / "missing" / "run.html"):
            pytest.fail("the part ran")
