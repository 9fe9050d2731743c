"""Which results come along with one that a program reads."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from futures_cluster import Executor
from futures_cluster.services.client.read_ahead import MAX_BYTES, MAX_REMEMBERED, MAX_RESULTS, NEAR, ReadAhead
from futures_cluster.services.common.peers import Peers

LIMIT_S = 60.0


class FakeFuture:
    def __init__(self, key: str, worker: str = "w") -> None:
        self.key = key
        self._holders = [(worker, "address")]
        self.remote = True

    def _is_remote(self) -> bool:
        return self.remote


class Reader:
    """Reads as a program does: what came along is here then."""

    def __init__(self, futures: list[FakeFuture], size_bytes: int = 1000) -> None:
        self.futures = {future.key: future for future in futures}
        self.ahead = ReadAhead(self.futures)
        for future in futures:
            self.ahead.add(future.key, size_bytes)

    def read(self, future: FakeFuture) -> list[str]:
        along: list[Any] = self.ahead.along(future)  # type: ignore[arg-type]
        for each in (future, *along):
            each.remote = False
        return [each.key for each in along]


def named(number: int, worker: str = "w") -> list[FakeFuture]:
    return [FakeFuture(f"{worker}{index}", worker) for index in range(number)]


def test_more_and_more_come_along_to_one_that_reads_in_order() -> None:
    futures = named(100)
    reader = Reader(futures)
    questions = []
    for future in futures:
        if future.remote:
            questions.append(len(reader.read(future)))
    assert questions == [0, 1, 2, 4, 8, MAX_RESULTS, MAX_RESULTS, MAX_RESULTS, MAX_RESULTS, 11]
    assert len(reader.ahead) == 0


def test_nothing_comes_along_to_one_that_reads_here_and_there() -> None:
    futures = named(200)
    reader = Reader(futures)
    assert [reader.read(futures[index]) for index in (150, 30, 90, 199)] == [[]] * 4
    assert reader.read(futures[0]) == []
    assert reader.read(futures[1]) == ["w2"]
    assert reader.read(futures[NEAR + 100]) == []
    assert reader.read(futures[3]) == [], "it begins again"


def test_results_of_the_same_worker_come_along() -> None:
    mine, others = named(20, "a"), named(20, "b")
    reader = Reader(list(itertools.chain(*zip(mine, others, strict=True))))
    assert [reader.read(mine[0]), reader.read(mine[1]), reader.read(mine[3])] == [[], ["a2"], ["a4", "a5"]]


def test_the_bytes_are_bounded() -> None:
    futures = named(20)
    reader = Reader(futures, MAX_BYTES // 3)
    assert [len(reader.read(futures[index])) for index in (0, 1, 3, 6, 10)] == [0, 1, 2, 3, 3]
    large = named(3, "l")
    reader = Reader(large, MAX_BYTES + 1)
    assert [reader.read(future) for future in large] == [[], [], []]


def test_released_and_read_futures_do_not_come_along() -> None:
    futures = named(10)
    reader = Reader(futures)
    reader.read(futures[0])
    del reader.futures["w2"]
    futures[3].remote = False
    assert reader.read(futures[1]) == ["w4"]
    assert len(reader.ahead) == 5


def test_results_that_are_never_read_are_forgotten() -> None:
    ahead = ReadAhead({})
    for index in range(10 * MAX_REMEMBERED):
        ahead.add(str(index), 1)
    assert len(ahead) <= MAX_REMEMBERED


@pytest.mark.parametrize("way", ["loop", "map"])
def test_a_program_that_reads_in_order_asks_few_questions(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    asked: list[int] = []
    get_data = Peers.get_data

    async def counting(self: Peers, address: str, keys: list[str]) -> Any:
        asked.append(len(keys))
        return await get_data(self, address, keys)

    monkeypatch.setattr(Peers, "get_data", counting)

    def rows(first: int) -> list[tuple[int, str]]:
        return [(number, str(number)) for number in range(first, first + 5000)]

    with Executor(1) as ex:
        futures = [ex.submit(rows, number) for number in range(100)]
        ex.submit(int).result(LIMIT_S)  # the last that ends
        results = [future.result(LIMIT_S) for future in futures] if way == "loop" else list(ex.map(rows, range(100)))
    assert results == [rows(number) for number in range(100)]
    if way == "loop":
        assert sum(asked) == 100 and len(asked) <= 12
    else:
        assert sum(asked) >= 100
