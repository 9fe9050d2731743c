"""Answers of a worker take turns where memory has a limit, and blame no data once the worker ends."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.parametrize("is_stopping", [False, True])
def test_what_a_worker_that_ends_cannot_serve_is_missing(monkeypatch: pytest.MonkeyPatch, is_stopping: bool) -> None:
    """Python ends thread pools before a process: large answers need one, and the error is not that of the data."""
    monkeypatch.setattr(data_server, "DRAIN_TIMEOUT_S", 0)
    asker = Asker()

    async def check() -> None:
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor()
        loop.set_default_executor(pool)
        pool.shutdown()
        service = WorkerService(WorkerSettings("w", ""), PickleCodec(None), loop, lambda messages: None, lambda: None)
        for key, size in (("large", 2 * data_server.LARGE_BYTES), ("small", 10)):
            service.store.put(key, bytes(size))
            service.machine.handle(m.DataPut([(key, size)]), 0.0)
        if is_stopping:
            service.stop()
        server = DataServer(service)
        server.accept(asker)
        asker.on_messages([m.GetData(1, ["large"]), m.GetData(2, ["small"])])  # type: ignore[attr-defined]
        await asyncio.gather(*server._tasks)

    asyncio.run(check())
    large, small = sorted(asker.sent, key=lambda data: data.request)
    assert large.missing == (["large"] if is_stopping else [])
    assert [key for key, _ in large.errors] == ([] if is_stopping else ["large"])
    assert [key for key, _ in small.found] == ["small"]  # it serves as long as it can
