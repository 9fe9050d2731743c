"""The engine of this process, where it differs from one with a scheduler.

Covers: what is not made for plain calls, order, resources, long chains, graphs. Does not cover: what every engine does
(``test_engine_checks``).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from gate import LIMIT_S, wait_until

from futures_cluster import Executor
from futures_cluster.engines.inprocess.ready import MAX_OVERTAKEN, Ready
from futures_cluster.errors import TaskTimeout
from futures_cluster.services.client.graphs import Graph, GraphTask


@pytest.fixture
def ex() -> Iterator[Executor]:
    with Executor(1, backend="threads") as ex:
        yield ex


class Blocked:
    """The one thread of an executor executes this, until the end of the block."""

    def __init__(self, ex: Executor) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.future = ex.submit(self.run)

    def run(self) -> None:
        self.begun.set()
        assert self.go.wait(LIMIT_S)

    def __enter__(self) -> Blocked:
        assert self.begun.wait(LIMIT_S)
        return self

    def __exit__(self, *exc: object) -> None:
        self.go.set()


class Thing:
    """Has weak references."""


def test_nothing_is_made_that_nobody_asks_for(ex: Executor) -> None:
    with Blocked(ex):
        future = ex.submit(abs, -1)
    assert future.result(LIMIT_S) == 1
    assert future._lazy_condition is None and "key" not in vars(future)
    assert future.key.startswith("abs-") and ex.future_of_key(future.key) is future
    assert not ex._engine.queued  # type: ignore[attr-defined]


def test_polling_leaves_nothing_behind(ex: Executor) -> None:
    with Blocked(ex) as blocked:
        other = threading.Thread(target=blocked.future.result)
        other.start()
        wait_until(lambda: blocked.future._awaited_by is not None)
        waits = blocked.future._awaited_by
        for _ in range(20):
            with pytest.raises(TimeoutError):
                blocked.future.result(1e-4)
        assert blocked.future._awaited_by is waits and waits.next is None
    other.join(LIMIT_S)
    assert not other.is_alive()


def test_plain_work_changes_places_with_what_is_urgent(ex: Executor) -> None:
    order: list[str] = []
    with Blocked(ex):
        plain = [ex.submit(order.append, f"plain {number}") for number in range(3)]
        late = ex.with_options(priority=-1).submit(order.append, "late")
        urgent = ex.with_options(priority=1).submit(order.append, "urgent")
    for future in [*plain, late, urgent]:
        future.result(LIMIT_S)
    assert order == ["urgent", "plain 0", "plain 1", "plain 2", "late"]


def test_what_waits_for_resources_holds_up_nothing_else() -> None:
    with Executor(2, backend="threads", resources={"one": 0.5}) as ex:
        with Blocked(ex.with_options(resources={"one": 0.5})), Blocked(ex.with_options(resources={"one": 0.5})) as two:
            waiting = ex.with_options(resources={"one": 0.5}).submit(abs, -1)
            two.go.set()
            assert waiting.result(LIMIT_S) == 1
            assert ex.submit(abs, -2).result(LIMIT_S) == 2


class Demand:
    """Work, as far as the queue looks at it."""

    def __init__(self, number: float, **amounts: float) -> None:
        self.order = (0, 0, number)
        self.resources = tuple(amounts.items())


@pytest.mark.parametrize("seed", range(4))
def test_a_large_demand_is_not_overtaken_for_ever(seed: int) -> None:
    """Small ones come without end, so that what the large one needs is never free by itself."""
    random = Random(seed)
    ready = Ready({"api": 3.0, "disk": 1.0})
    running: list[Any] = []
    chosen: list[Any] = []

    def take_all() -> None:
        while ready.size():
            if (work := ready.choose(ready.get())) is not None:
                running.append(work)
                chosen.append(work)

    first = random.randrange(5, 50)
    large: Any = Demand(first, api=3.0)
    for number in range(10 * MAX_OVERTAKEN):
        small: Any = large if number == first else Demand(number, api=random.choice([1.0, 1.0, 0.5]))
        ready.put_ordered(small)
        if random.random() < 0.2:  # has nothing to do with it, and is never held up
            other: Any = Demand(number + 0.5, disk=1.0)
            ready.put_ordered(other)
            take_all()
            assert running.pop() is other
            ready.give_back(other)
        take_all()
        assert sum(work.resources[0][1] for work in running) <= 3.0
        if len(running) > 1 or (small is not large and small not in chosen):
            ready.give_back(running.pop(random.randrange(len(running))))
            take_all()
    while running:
        ready.give_back(running.pop())
        take_all()
    asked = [work for work in chosen if work.resources[0][0] == "api"]
    assert len(asked) == 10 * MAX_OVERTAKEN  # none is left
    assert sum(work.order > large.order for work in asked[: asked.index(large)]) == MAX_OVERTAKEN


def test_amounts_that_are_no_exact_numbers_add_up() -> None:
    ready = Ready({"api": 0.3})
    for number in range(100):
        works: list[Any] = [Demand(number + part / 4, api=0.1) for part in range(3)]
        for work in works:
            ready.put_ordered(work)
        assert [ready.choose(ready.get()) for _ in works] == works
        for work in works:
            ready.give_back(work)
    whole: Any = Demand(100, api=0.3)
    ready.put_ordered(whole)
    assert ready.choose(ready.get()) is whole


def test_a_timeout_does_not_wait_for_the_function(ex: Executor) -> None:
    go = threading.Event()
    late = ex.with_options(timeout=0.01).submit(go.wait, LIMIT_S)
    behind = ex.submit(abs, -1)
    assert isinstance(late.exception(LIMIT_S), TaskTimeout)
    assert not behind.done()  # the thread is free when the function returns
    go.set()
    assert behind.result(LIMIT_S) == 1


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
def test_a_chain_of_thousands(ex: Executor, end: str) -> None:
    with Blocked(ex):
        first = ex.submit(int, "x")
        chain = [first]
        for _ in range(3000):
            chain.append(ex.submit(abs, chain[-1]))
        if end == "is cancelled":
            assert first.cancel()
    if end == "fails":
        assert isinstance(chain[-1].exception(LIMIT_S), ValueError)
    assert all(future.done() and future.cancelled() == (end == "is cancelled") for future in chain)


# ---------------------------------------------------------------- graphs


def graph_of(steps: list[tuple[str, Callable[..., Any], list[str]]], wanted: list[str], **options: Any) -> Graph:
    tasks = [GraphTask(key, key, (function,), inputs) for key, function, inputs in steps]
    return Graph(lambda function, *values: function(*values), tasks, wanted, **options)


def test_a_value_goes_with_its_last_user(ex: Executor) -> None:
    made: list[weakref.ref[Thing]] = []
    there: list[bool] = []

    def make() -> Thing:
        thing = Thing()
        made.append(weakref.ref(thing))
        return thing

    def look(_: object) -> None:
        there.append(made[0]() is not None)

    steps = [("make", make, []), ("use", look, ["make"]), ("later", look, ["use"])]
    with Blocked(ex):  # until nothing on this thread has the graph any more
        futures = ex._engine.submit_graph(graph_of(steps, ["later"]))  # type: ignore[attr-defined]
    futures["later"].result(LIMIT_S)
    assert there == [True, False]


def test_what_nobody_wants_any_more_does_not_begin(ex: Executor) -> None:
    begun: list[str] = []
    engine: Any = ex._engine
    with Blocked(ex):
        steps: Any = [("a", lambda: begun.append("a"), []), ("b", lambda _: begun.append("b"), ["a"])]
        steps += [("c", lambda _: begun.append("c"), ["a"]), ("unwanted", lambda _: begun.append("unwanted"), ["a"])]
        futures = engine.submit_graph(graph_of(steps, ["b", "c"]))
        kept = futures["c"]
        assert len(engine.queued) == 3
        del futures
        wait_until(lambda: len(engine.queued) == 2)
    kept.result(LIMIT_S)
    assert begun == ["a", "c"]
    with Blocked(ex):
        futures = engine.submit_graph(graph_of(steps, ["b"]))
        assert futures["b"].cancel()
        assert not engine.queued  # nor what only it needed


def test_a_graph_waits_for_futures(ex: Executor) -> None:
    with Blocked(ex):
        one, bad = ex.submit(abs, -1), ex.submit(int, "x")
        steps: Any = [("sum", lambda *values: sum(values), [one.key, one.key])]
        good = ex._engine.submit_graph(graph_of(steps, ["sum"], references=[one]))["sum"]  # type: ignore[attr-defined]
        steps = [("first", abs, [bad.key]), ("second", abs, ["first"])]
        graph = graph_of(steps, ["first", "second"], references=[bad])
        failing = ex._engine.submit_graph(graph)  # type: ignore[attr-defined]
    assert good.result(LIMIT_S) == 2
    errors = [future.exception(LIMIT_S) for future in failing.values()]
    assert [type(error) for error in errors] == [ValueError, ValueError]
    assert errors[0] is not errors[1]  # each has its own
