"""What the scheduler's server makes of workers and their managers, over connections that are only objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.services.client.scatter import Scatterer
from futures_cluster.services.common import security
from futures_cluster.services.scheduler.server import SchedulerServer


class FakePeer:
    """A connection of which the test is the other side."""

    def __init__(self, server: SchedulerServer, role: str, name: str) -> None:
        self.peer = "here"
        self.pending_bytes = self.received_bytes = 0
        self.sent: list[m.Message] = []
        self.on_messages: Callable[[list[m.Message]], None]
        self.on_close: Callable[[BaseException | None], None]
        server._accept(self)  # type: ignore[arg-type]
        self.says(security.hello(role, name))

    def start(self) -> None:
        pass

    def send(self, messages: list[m.Message]) -> None:
        self.sent += messages

    def close(self) -> None:
        pass

    def says(self, *messages: m.Message) -> None:
        self.on_messages(list(messages))

    def stops(self) -> list[m.StopWorker]:
        return [message for message in self.sent if isinstance(message, m.StopWorker)]


def play(script: Callable[[SchedulerServer], None]) -> None:
    async def run() -> None:
        async with SchedulerServer(asyncio.get_running_loop(), silence_s=60.0) as server:
            script(server)

    asyncio.run(run())


def worker(server: SchedulerServer, incarnation: str) -> FakePeer:
    peer = FakePeer(server, "worker", "w")
    peer.says(m.WorkerConnected("w", "tcp://w", manager="m", incarnation=incarnation))
    return peer


def ended(incarnation: str, **news: Any) -> m.WorkerEnded:
    return m.WorkerEnded("w", [], incarnation=incarnation, **news)


def test_the_last_words_of_a_former_worker_are_not_taken_for_its_successors() -> None:
    def script(server: SchedulerServer) -> None:
        manager = FakePeer(server, "manager", "m")
        first = worker(server, "1")
        first.on_close(None)
        worker(server, "2")
        manager.says(ended("1", cause="killed"))
        assert not server._exit_reports and "w" in server.service.machine.state.workers
        manager.says(ended("2", cause="killed"))
        assert server._exit_reports["w"].incarnation == "2"

    play(script)


def test_a_worker_has_joined_when_it_takes_tasks_and_not_before(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def script(server: SchedulerServer) -> None:
        peer = FakePeer(server, "worker", "w")
        assert "joined" not in caplog.text
        peer.says(m.WorkerConnected("w", "tcp://w"))
        assert "worker w at here joined" in caplog.text
        FakePeer(server, "client", "c")
        assert "client c at here joined" in caplog.text

    play(script)


def test_clients_are_told_the_address_by_which_they_connect() -> None:
    """With the identity of the listener: a plain one leads nowhere through NAT, and to another connection."""

    def script(server: SchedulerServer) -> None:
        peer = FakePeer(server, "worker", "w")
        peer.says(m.WorkerConnected("w", "tcp://10.0.0.1:5#node-1:5"))
        facts = server.questions.worker_facts()
        assert (facts["w"]["address"], facts["w"]["exact_address"]) == ("tcp://10.0.0.1:5", "tcp://10.0.0.1:5#node-1:5")

        async def ask(what: str, argument: Any) -> Any:
            return facts

        loop = asyncio.get_running_loop()
        scatterer = Scatterer(None, None, loop, ask, str)  # type: ignore[arg-type]
        try:
            choice = scatterer._choose([])
            with pytest.raises(StopIteration) as chosen:
                choice.send(None)
            assert chosen.value.value == ("w", "tcp://10.0.0.1:5#node-1:5")
        finally:
            scatterer.close()

    play(script)


def test_a_manager_is_told_which_worker_to_stop() -> None:
    def script(server: SchedulerServer) -> None:
        manager = FakePeer(server, "manager", "m")
        first = worker(server, "1")
        server._stop_worker(m.StopWorker("w", True, "its task was cancelled"))
        first.on_close(None)
        assert [(stop.incarnation, stop.deliberate) for stop in manager.stops()] == [("1", True), ("1", False)]

    play(script)


@pytest.mark.parametrize(("running", "is_lost"), [(["1"], False), (["2"], True), ([], True), (None, True), (7, True)])
def test_a_silent_worker_is_waited_for_as_long_as_its_manager_sees_it_run(running: Any, is_lost: bool) -> None:
    def script(server: SchedulerServer) -> None:
        manager = FakePeer(server, "manager", "m")
        worker(server, "1")
        manager.says(m.Heartbeat("m", {} if running is None else {"running": running}))
        assert server._silent(server._workers["w"]) is not is_lost
        found = server.service.machine.state.workers
        assert ("w" in found) is not is_lost
        assert is_lost or found["w"].silent

    play(script)


def test_a_silent_worker_is_lost_when_its_manager_is_silent_too() -> None:
    def script(server: SchedulerServer) -> None:
        manager = FakePeer(server, "manager", "m")
        silent = worker(server, "1")
        manager.says(m.Heartbeat("m", {"running": ["1"]}))
        known = server._workers["w"]
        assert server._silent(known)
        silent.says(m.Heartbeat("w"))
        assert not server.service.machine.state.workers["w"].silent
        server._managers["m"].heard_at -= 31.0
        assert not server._silent(known)
        assert "w" not in server.service.machine.state.workers

    play(script)
