"""Plugins are told what happened, in order, and can neither delay nor break anything."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from gate import Gate

from futures_cluster import Executor, NotSupported, current_executor
from futures_cluster import messages as m
from futures_cluster.channels import load_extension
from futures_cluster.scheduler.machine import SchedulerMachine
from futures_cluster.services.client.shared_objects import load_on_worker
from futures_cluster.services.common import plugin_runner
from futures_cluster.services.common.plugin_runner import SchedulerPlugin, WorkerPlugin, watch_worker

TIMEOUT_S = 30.0


class Log(SchedulerPlugin):
    """All events, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.closed = False

    def task_finished(self, event: Any) -> None:
        self.events.append(event)

    task_failed = task_moved = worker_joined = worker_lost = task_finished

    def close(self) -> None:
        self.closed = True

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


def fail() -> None:
    raise ValueError


# ---------------------------------------------------------------- on a scheduler


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_plugin_hears_of_tasks_and_workers(backend: str) -> None:
    log = Log()
    with Executor(2, backend=backend) as ex:
        ex.watch(log)
        futures = [ex.submit(pow, 2, 3), ex.submit(fail)]
        assert futures[0].result(TIMEOUT_S) == 8
        assert futures[1].exception(TIMEOUT_S) is not None
    assert log.closed
    assert len(log.of(plugin_runner.WorkerJoined)) == (2 if backend == "processes" else 1)
    (finished,) = log.of(plugin_runner.TaskFinished)
    assert (finished.key, finished.function) == (futures[0].key, "pow")
    assert finished.duration_s >= 0 and finished.size_bytes > 0
    assert finished.worker in {event.worker for event in log.of(plugin_runner.WorkerJoined)}
    assert [(event.key, event.function) for event in log.of(plugin_runner.TaskFailed)] == [(futures[1].key, "fail")]
    if backend == "processes":
        assert [event.deliberate for event in log.of(plugin_runner.WorkerLost)] == [True, True]


def test_only_what_counts_is_told() -> None:
    """An answer to an old attempt is none, and a task that was cancelled has not moved."""
    machine = SchedulerMachine()
    for event in (
        m.ClientJoined("c"),
        m.WorkerConnected("w", "a", slots=2),
        m.SubmitTasks("c", [("k", "f", b"", []), ("l", "f", b"", [])], [("f", "name", b"")]),
    ):
        machine.handle(event, 0.0)
    attempt, other = machine.state.tasks["k"].attempt, machine.state.tasks["l"].attempt

    def look(event: m.Message) -> list[Any]:
        return plugin_runner.look(event, machine.state)

    assert look(m.TasksFinished("w", [("k", attempt - 1, b"", 1, 0.5)])) == []
    assert look(m.TasksFinished("other", [("k", attempt, b"", 1, 0.5)])) == []
    assert look(m.TasksFinished("w", [("unknown", 1, b"", 1, 0.5)])) == []
    assert look(m.TasksReturned("w", [("k", attempt), ("l", other)])) == [
        plugin_runner.TaskMoved("k", "name", "w"),
        plugin_runner.TaskMoved("l", "name", "w"),
    ]
    machine.handle(m.CancelTasks("c", ["l"]), 0.0)
    assert look(m.TasksReturned("w", [("l", other)])) == []
    both = m.TasksFinished("w", [("k", attempt, b"", 1, 0.5)], [("l", other, b"", 0.25)])
    assert look(both) == [
        plugin_runner.TaskFinished("k", "name", "w", 0.5, 1),
        plugin_runner.TaskFailed("l", "name", "w", 0.25),
    ]
    assert look(m.Tick()) == []


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_plugin_that_raises_is_switched_off(kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SchedulerPlugin):
        calls = 0

        def task_finished(self, event: Any) -> None:
            self.calls += 1
            raise kind("on purpose")

    broken, log = Broken(), Log()
    with caplog.at_level(logging.ERROR, "futures_cluster"), Executor(1, backend="threads") as ex:
        ex.watch(broken)
        ex.watch(log)
        ex.watch(log)  # is told once all the same
        assert list(ex.map(abs, range(5))) == [0, 1, 2, 3, 4]
    assert broken.calls == 1
    assert len(log.of(plugin_runner.TaskFinished)) == 5
    assert [record.getMessage().count("is switched off") for record in caplog.records] == [1]


def test_a_slow_plugin_delays_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(plugin_runner, "MAX_EVENTS", 10)
    go = threading.Event()

    class Slow(SchedulerPlugin):
        heard = 0

        def task_finished(self, event: Any) -> None:
            self.heard += 1
            assert go.wait(TIMEOUT_S)

    slow = Slow()
    with Executor(1, backend="threads") as ex:
        ex.watch(slow)
        for number in range(30):
            assert ex.submit(abs, -number).result(TIMEOUT_S) == number
        go.set()
    assert 10 <= slow.heard < 30
    assert [record.getMessage() for record in caplog.records] == ["plugins are too slow: events are dropped"]
    # Not on the scheduler's: a handler of the user's may block.
    assert [record.threadName for record in caplog.records] == ["futures_cluster-plugins"]


def test_where_no_scheduler_is() -> None:
    with Executor(backend="sync") as ex, pytest.raises(NotSupported):
        ex.watch(Log())
    with Executor(1, backend="processes") as ex:
        error = ex.submit(lambda: current_executor().watch(None)).exception(TIMEOUT_S)
        assert isinstance(error, NotSupported)
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.watch(Log())


def test_an_executor_that_never_ran_ends_its_plugins() -> None:
    log = Log()
    ex = Executor(1, backend="threads")
    ex.watch(log)
    ex.shutdown()
    assert log.closed


class Loaded(Log):
    made: list[Loaded] = []

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)


def test_a_plugin_that_is_loaded_watches_every_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_runner, "_for_all_schedulers", [])
    monkeypatch.setattr(Loaded, "made", [])
    assert load_extension(f"{__name__}:Loaded") is Loaded
    for _ in range(2):
        with Executor(1, backend="threads") as ex:
            assert ex.submit(abs, -1).result(TIMEOUT_S) == 1
    (log,) = Loaded.made
    assert len(log.of(plugin_runner.TaskFinished)) == 2
    with pytest.raises(TypeError, match="no subclass of SharedState or SchedulerPlugin"):
        load_extension("json:JSONDecoder")
    assert load_extension("json") is json
    with pytest.raises(TypeError, match="no subclass of WorkerPlugin"):
        load_on_worker("json", "json:JSONDecoder")


# ---------------------------------------------------------------- on workers


class Lines(WorkerPlugin):
    """Writes a line an event, to one file for each worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run_started(self, event: Any) -> None:
        self.write(event.worker, "started", event.key)

    def run_ended(self, event: Any) -> None:
        self.write(event.worker, "failed" if event.failed else "ended", event.key)

    def data_fetched(self, event: Any) -> None:
        self.write(event.worker, "fetched", *event.keys)

    def close(self) -> None:
        for path in self.folder.iterdir():
            with path.open("a") as file:
                file.write("closed\n")

    def write(self, worker: str, *words: str) -> None:
        with (self.folder / worker).open("a") as file:
            file.write(" ".join(words) + "\n")


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_plugin_of_a_worker_hears_of_its_runs(backend: str, tmp_path: Path) -> None:
    plugin = Lines(tmp_path)
    with Executor(1, backend=backend, initializer=watch_worker, initargs=(plugin,)) as ex:
        good, bad = ex.submit(abs, -1), ex.submit(fail)
        assert good.result(TIMEOUT_S) == 1 and bad.exception(TIMEOUT_S) is not None
    (path,) = tmp_path.iterdir()
    assert path.read_text().splitlines() == [
        f"started {good.key}",
        f"ended {good.key}",
        f"started {bad.key}",
        f"failed {bad.key}",
        "closed",
    ]


def test_a_plugin_of_a_worker_hears_of_what_it_fetches(tmp_path: Path, gate: Gate) -> None:
    with Executor(2) as ex:
        ex.run(watch_worker, Lines(tmp_path))  # a task may do it as well
        one, two = ex.workers()
        large = ex.with_options(workers=one).submit(bytes, 10**6)
        assert ex.with_options(workers=two).submit(len, large).result(TIMEOUT_S) == 10**6
    assert f"fetched {large.key}" in (tmp_path / two).read_text().splitlines()


def test_watch_worker_is_for_workers() -> None:
    with pytest.raises(RuntimeError, match="for tasks and initializers"):
        watch_worker(Lines(Path()))
