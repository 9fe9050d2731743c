"""What a worker's memory monitor does at each amount of memory."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest

from futures_cluster.services.common import memory
from futures_cluster.services.common.memory import MemoryMonitor

LIMIT = 100 * 10**6


class Ended(BaseException):
    """Stands for the end of the process."""


class FakeWorker:
    def __init__(self, running: bool, pickling: int) -> None:
        self.running, self.pickling = running, pickling
        self.told: list[str] = []

    def retire(self) -> None:
        self.told.append("retire")

    def spill(self) -> None:
        self.told.append("spill")

    def runs_tasks(self) -> bool:
        return self.running

    def pickling_bytes(self) -> int:
        return self.pickling * LIMIT // 100


@pytest.fixture(autouse=True)
def _survive(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> NoReturn:
        assert code == memory.EXIT_CODE
        raise Ended

    monkeypatch.setattr(memory.os, "_exit", end)


def look(worker: Any, *used: int) -> list[str]:
    """Return what the worker is told when it takes these per cents, one look after the other."""
    amounts = iter(used)
    loop = asyncio.new_event_loop()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "resident_bytes", lambda: next(amounts) * LIMIT // 100)
            monitor = MemoryMonitor(loop, LIMIT, worker)
            for _ in used:
                monitor._look()
    except Ended:
        worker.told.append("end")
    finally:
        loop.close()
    return worker.told


@pytest.mark.parametrize(
    ("used", "running", "pickling", "told"),
    [
        (60, True, 0, []),
        (61, True, 0, ["spill"]),
        (80, False, 0, ["spill"]),
        (81, True, 0, ["retire", "spill"]),
        (95, True, 0, ["retire", "spill"]),
        (96, True, 0, ["end"]),
        (125, True, 20, ["retire", "spill"]),  # that much is for a moment
        (126, True, 20, ["end"]),
        (96, False, 0, ["retire", "spill"]),  # it delivers its results
        (150, False, 0, ["retire", "spill"]),
        (151, False, 0, ["end"]),
        (180, False, 20, ["retire", "spill"]),
        (181, False, 20, ["end"]),
    ],
)
def test_one_look(used: int, running: bool, pickling: int, told: list[str]) -> None:
    assert look(FakeWorker(running, pickling), used) == told


def test_pickling_that_ends_during_the_look_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = FakeWorker(True, 20)
    loop = asyncio.new_event_loop()

    def use() -> int:
        worker.pickling = 0
        return 120 * LIMIT // 100

    monkeypatch.setattr(memory, "resident_bytes", use)
    try:
        MemoryMonitor(loop, LIMIT, worker)._look()
    finally:
        loop.close()
    assert worker.told == ["retire", "spill"]


def test_it_retires_once_and_spills_each_time() -> None:
    assert look(FakeWorker(True, 0), 50, 85, 90, 50, 85) == ["retire", "spill", "spill", "spill"]


def test_before_its_first_task_it_ends_where_it_would_retire(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(memory, "resident_bytes", lambda: 81 * LIMIT // 100)
    try:
        with pytest.raises(Ended):
            MemoryMonitor(loop, LIMIT, FakeWorker(False, 0)).start()
    finally:
        loop.close()
    assert "used 81 MB, over 80% of its memory_limit of 100 MB" in capsys.readouterr().err
