"""Which results come along with one that a program reads."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from futures_cluster import Executor, wait
from futures_cluster import future as future_module
from futures_cluster import messages as m
from futures_cluster.services.client.fetching import Fetching
from futures_cluster.services.client.read_ahead import MAX_BYTES, MAX_REMEMBERED, MAX_RESULTS, NEAR, ReadAhead
from futures_cluster.services.common.peers import Peers

LIMIT_S = 60.0


class FakeFuture:
    def __init__(self, key: str, worker: str = "w") -> None:
        self.key = key
        self._holders = [(worker, "address")]
        self.remote = True
        self.payload: bytes | None = None

    def _is_remote(self) -> bool:
        return self.remote

    def _take_fetched(self, payload: bytes) -> None:
        self.payload, self._holders = payload, None  # type: ignore[assignment]

    def _take_unread(self) -> bytes | None:
        return self.payload


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


def test_a_timeout_of_one_wait_leaves_the_others_alone() -> None:
    """Of three results in one answer: that asked for, one that comes along, one whose wait is cancelled."""
    futures = named(3)
    reader = Reader(futures)
    reader.read(futures[0])
    futures.append(FakeFuture("w3"))
    reader.futures["w3"] = futures[3]
    reader.ahead.add("w3", 1000)
    reader.read(futures[1])  # with w2
    more = [FakeFuture(f"m{index}") for index in range(3)]
    for future in more:
        reader.futures[future.key] = future
        reader.ahead.add(future.key, 1000)
    questions: list[list[str]] = []

    async def fetch() -> Any:
        let_go = asyncio.Event()

        class FakePeers:
            async def get_data(self, address: str, keys: list[str]) -> m.Data:
                questions.append(keys)
                await let_go.wait()
                return m.Data(0, [(key, key.encode()) for key in keys], [], [])

        fetching = Fetching(
            asyncio.get_running_loop(), FakePeers(), lambda *_: None, lambda _: ValueError(), reader.ahead
        )  # type: ignore[arg-type]
        asked = asyncio.create_task(fetching._fetch(futures[3]))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        given_up, waits = (asyncio.create_task(fetching._fetch(more[0])) for _ in range(2))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        let_go.set()
        return await asyncio.gather(asked, given_up, waits, return_exceptions=True)

    asked, given_up, waits = asyncio.run(fetch())
    assert (asked, waits) == (b"w3", b"m0") and isinstance(given_up, asyncio.CancelledError)
    assert questions == [["w3", "m0", "m1"]]


@pytest.mark.parametrize("backend", ["processes", "threads"])
@pytest.mark.parametrize("read", ["result", "map"])
def test_what_is_done_comes_in_spite_of_any_timeout(backend: str, read: str) -> None:
    """As in the standard library, where it is here by then."""
    with Executor(1, backend=backend) as ex:
        if read == "result":
            futures = [ex.submit(list, range(number, 100_000)) for number in range(4)]
            wait(futures)
            for timeout in (0, 1e-9, 0.001):
                assert [len(future.result(timeout=timeout)) for future in futures] == [100_000 - i for i in range(4)]
        else:
            found = ex.map(list, [range(100_000)] * 3, timeout=0.001)
            ex.submit(int).result()  # one worker: the others have ended before
            assert [len(each) for each in found] == [100_000] * 3


def test_a_fetch_goes_on_after_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that polls gets even what takes longer than each of its waits."""
    monkeypatch.setattr(future_module, "MIN_FETCH_S", 0.0)
    asked: list[int] = []
    get_data = Peers.get_data

    async def slow(self: Peers, address: str, keys: list[str]) -> Any:
        asked.append(len(keys))
        await asyncio.sleep(0.2)
        return await get_data(self, address, keys)

    monkeypatch.setattr(Peers, "get_data", slow)
    with Executor(1) as ex:
        future = ex.submit(list, range(100_000))
        wait([future])
        refused = 0
        while True:
            try:
                assert len(future.result(timeout=0.01)) == 100_000
                break
            except TimeoutError:
                refused += 1
    assert refused and asked == [1]


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
