"""Answers of a worker with a memory limit take turns."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.services.common.worker_settings import WorkerSettings
from futures_cluster.services.worker import data_server
from futures_cluster.services.worker.data_server import DataServer, Turns
from futures_cluster.services.worker.service import WorkerService
from futures_cluster.wire.codec.pickle_codec import PickleCodec


def test_turns_come_in_order_and_one_always_may() -> None:
    came: list[int] = []

    async def take(turns: Turns, size: int) -> None:
        await turns.take(size)
        came.append(size)

    async def check() -> None:
        turns = Turns(100)
        tasks = [asyncio.ensure_future(take(turns, size)) for size in (500, 60, 30, 20)]
        await asyncio.sleep(0)
        assert came == [500]
        turns.give(500)
        for _ in range(3):
            await asyncio.sleep(0)
        assert came == [500, 60, 30]
        turns.give(60)
        await asyncio.gather(*tasks)
        assert came == [500, 60, 30, 20] and turns.taken_bytes == 50

    asyncio.run(check())


class Asker:
    """A connection that has sent what it was given when it is told so."""

    def __init__(self) -> None:
        self.same_host, self.closed, self.peer, self.pending_bytes = False, False, "here", 0
        self.sent: list[Any] = []

    def start(self) -> None:
        """Nothing to do."""

    def send(self, messages: list[Any]) -> None:
        self.sent += messages
        self.pending_bytes += 1


@pytest.mark.parametrize(("limit", "at_once"), [(8_000_000, 1), (None, 5)])
def test_an_answer_is_under_way_until_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, at_once: int
) -> None:
    monkeypatch.setattr(data_server, "_DRAIN_INTERVAL_S", 0)
    asker = Asker()

    async def check() -> None:
        settings = WorkerSettings("w", "", memory_limit=limit)
        loop = asyncio.get_running_loop()
        service = WorkerService(settings, PickleCodec(None), loop, lambda messages: None, lambda: None)
        service.store.put("k", b"value")
        service.machine.handle(m.DataPut([("k", 1_000_000)]), 0.0)
        server = DataServer(service)
        server.accept(asker)
        asker.on_messages([m.GetData(number, ["k"]) for number in range(5)])  # type: ignore[attr-defined]
        for number in range(5 // at_once):
            for _ in range(20):
                await asyncio.sleep(0)
            assert [data.request for data in asker.sent] == [*range((number + 1) * at_once)]
            asker.pending_bytes = 0
        await asyncio.gather(*server._tasks)

    asyncio.run(check())
