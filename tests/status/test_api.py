"""How often the scheduler is asked for what the page shows, however many look."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from futures_cluster.status import api
from futures_cluster.status.api import Api
from futures_cluster.status.http import BadRequest, HttpRequest
from futures_cluster.status.sparing import MAX_KEPT, MAX_SHARE, ThrottledCache


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Counts what it is asked for; making an answer takes ``cost_s``."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.cost_s = 0.0
        self.made: list[str] = []

    def _make(self, name: str) -> dict[str, Any]:
        self.made.append(name)
        self.clock.now += self.cost_s
        return {"name": name, "number": len(self.made)}

    def viewer(self, worker: str = "") -> AbstractContextManager[None]:
        return nullcontext()

    async def refresh(self, worker: str = "") -> None:
        pass

    def snapshot(self) -> dict[str, Any]:
        return {
            **self._make("snapshot"), "tasks": {}, "functions": [], "workers": [], "clients": [], "limits": [],
            "stealing": {"moved": 0}, "scheduler": {"cpu": 0.0, "memory_bytes": 1}, "metrics": {},
        }  # fmt: skip

    def stream(self, since: int = 0) -> dict[str, Any]:
        return {"last": 0, "chunks": [], "running": []}

    def worker(self, name: str) -> dict[str, Any]:
        return self._make("worker " + name)

    def task(self, key: str) -> dict[str, Any]:
        return self._make("task " + key)

    def function(self, name: str) -> dict[str, Any]:
        return self._make("function " + name)

    def graph(self) -> dict[str, Any]:
        return self._make("graph")

    def profile(self, worker: str = "") -> Any:
        self._make("profile " + worker)
        return [0, {}]

    def worker_metrics(self) -> dict[str, Any]:
        return {}


def make() -> tuple[Clock, Source, Api]:
    clock = Clock()
    source = Source(clock)
    return clock, source, Api(source, clock)


def get(served: Api, path: str, **query: str) -> bytes:
    return asyncio.run(served.answer(HttpRequest("GET", path, query, {}))).body


def test_who_asks_at_the_same_time_gets_the_same_snapshot() -> None:
    clock, source, served = make()
    bodies = {get(served, "/api/v1/snapshot") for _ in range(50)}
    assert len(bodies) == 1 and source.made == ["snapshot"]
    assert get(served, "/metrics").startswith(b"# HELP")
    assert source.made == ["snapshot"]
    clock.now += api.MAX_ANSWER_AGE_S
    assert json.loads(get(served, "/api/v1/snapshot"))["number"] == 2


def test_what_is_costly_is_made_less_often() -> None:
    clock, source, served = make()
    source.cost_s = 0.2
    get(served, "/api/v1/snapshot")
    begun = clock.now - source.cost_s
    while clock.now - begun < 10:
        get(served, "/api/v1/snapshot")
        clock.now += 0.05
    assert len(source.made) == 3  # at 0, 4 and 8 seconds: a twentieth of the time
    assert MAX_SHARE == 0.05


def test_other_answers_are_shared_by_those_who_ask_for_the_same() -> None:
    clock, source, served = make()
    for _ in range(3):
        for key in ("a", "b"):
            get(served, "/api/v1/task", key=key)
        get(served, "/api/v1/worker", name="a")
        get(served, "/api/v1/graph")
        get(served, "/api/v1/profile")
        get(served, "/api/v1/profile", worker="a")
    assert source.made == ["task a", "task b", "worker a", "graph", "profile ", "profile a"]
    clock.now += api.MAX_ANSWER_AGE_S
    get(served, "/api/v1/graph")
    assert source.made[-1] == "graph" and len(source.made) == 7


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "", "\u0663", "9" * 19, "9" * 5000])
def test_a_number_that_is_none_is_refused(since: str) -> None:
    _, _, served = make()
    with pytest.raises(BadRequest, match="since must be a whole number of at most 18 digits") as caught:
        get(served, "/api/v1/stream", since=since)
    assert caught.value.status == 400 and len(str(caught.value)) < 300


def test_all_viewers_see_one_snapshot() -> None:
    _, source, served = make()

    async def look() -> list[bytes]:
        responses = [await served.answer(HttpRequest("GET", "/api/v1/events", {}, {})) for _ in range(20)]
        streams = [response.events for response in responses]
        found = []
        for stream in streams:
            assert stream is not None
            assert (await anext(stream)).startswith(b"retry")
            found.append(await anext(stream))
            await stream.aclose()  # type: ignore[attr-defined]
        return found

    events = asyncio.run(look())
    assert len(set(events)) == 1 and events[0].startswith(b"event: snapshot\n")
    assert source.made == ["snapshot"]


def test_few_answers_are_kept() -> None:
    clock = Clock()
    kept = ThrottledCache(clock)
    for i in range(2 * MAX_KEPT):
        kept.get(f"k{i}", lambda i=i: i, 1.0)  # type: ignore[misc]
    assert kept.get(f"k{2 * MAX_KEPT - 1}", lambda: "anew", 1.0) == 2 * MAX_KEPT - 1
    assert kept.get("k0", lambda: "anew", 1.0) == "anew"
    assert len(kept._kept) == MAX_KEPT
