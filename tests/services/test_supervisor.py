"""The supervisor of a machine's workers, beside a scheduler that answers at any moment."""

from __future__ import annotations

import asyncio
from typing import Any

from futures_cluster import messages as m
from futures_cluster.services.launch.supervisor import WorkerNodeConfig, WorkerSupervisor
from futures_cluster.wire.transports import registry


class AnswersAtOnce:
    """A connection that hands over the scheduler's answer while it is started, as ``zmq://`` may."""

    closed = False
    received_bytes = pending_bytes = 0
    peer = "scheduler"

    def __init__(self, answer: m.Message) -> None:
        self._answer = answer
        self.on_messages: Any = None
        self.on_close: Any = None

    def start(self) -> None:
        self.on_messages([self._answer])

    def send(self, messages: list[m.Message]) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_an_answer_that_comes_at_once() -> None:
    async def main() -> str:
        offer = WorkerNodeConfig("tcp://127.0.0.1:1", "w", find_security=lambda: registry.NO_SECURITY)
        supervisor = WorkerSupervisor(asyncio.get_running_loop(), offer)
        refusal: Any = m.AskReply(0, None, "it has a worker of this name")
        await asyncio.wait_for(supervisor._introduce(AnswersAtOnce(refusal)), 30)
        supervisor._heartbeats.stop()
        return supervisor._hopeless

    assert asyncio.run(main()) == "it has a worker of this name"
