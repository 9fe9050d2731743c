"""The engine of this process, where it differs from one with a scheduler.

Covers: what is not made for plain calls, order, resources, long chains, graphs. Does not cover: what every engine does
(``test_engine_checks``).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gate import LIMIT_S, wait_until

from futures_cluster import Executor
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
