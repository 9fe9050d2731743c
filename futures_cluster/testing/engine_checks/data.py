"""Checks of data and options: futures as arguments, scattering, and what ``with_options`` can say.

Covers: what goes from task to task. Does not cover: tasks that submit.
"""

from __future__ import annotations

import gc
import os
import time
import weakref
from typing import Any

from futures_cluster import clocks
from futures_cluster.errors import DataLost, TaskTimeout
from futures_cluster.testing.engine_checks import tasks
from futures_cluster.testing.engine_checks.harness import TIMEOUT_S, MakeExecutor, check, raises, wait_until
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

# ---------------------------------------------------------------- data


@check()
def check_futures_as_arguments(make_executor: MakeExecutor) -> None:
    """Futures in lists, tuples, dicts and sets are replaced by their values."""
    with make_executor() as ex:
        one, two = ex.submit(tasks.same, 1), ex.submit(tasks.same, "two")
        nested = ex.submit(tasks.everything, one, [one, (two, {one: {"k": {two}}})], x=[frozenset([one])])
        assert nested.result(TIMEOUT_S) == ((1, [1, ("two", {1: {"k": {"two"}}})]), {"x": [frozenset([1])]})
        assert ex.submit(sum, ex.submit(list, range(10))).result(TIMEOUT_S) == 45
        total = ex.submit(tasks.same, 0)
        for number in range(30):
            total = ex.submit(lambda *x: sum(x), total, number)
        assert total.result(TIMEOUT_S) == sum(range(30))
        assert ex.submit(lambda box: type(box.content).__name__, tasks.Box(one)).result(TIMEOUT_S) == "Future"
        assert ex.submit(len, {ex.submit(list)}).exception(TIMEOUT_S) is not None  # no set holds a list
        assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1


@check()
def check_futures_stay_futures(make_executor: MakeExecutor) -> None:
    """``with_options(resolve=False)`` passes futures, and a task can wait for them."""
    with make_executor() as ex:
        futures = [ex.submit(tasks.same, i) for i in range(5)]
        assert ex.with_options(resolve=False).submit(tasks.sum_results, futures).result(TIMEOUT_S) == 10


@check()
def check_scatter_and_gather(make_executor: MakeExecutor) -> None:
    """Data goes out once, to be used by many tasks, and comes back."""
    with make_executor() as ex:
        block = ex.scatter("data")
        assert [ex.submit(len, block).result(TIMEOUT_S) for _ in range(3)] == [4] * 3
        assert ex.gather(block) == "data"
        assert ex.gather(ex.scatter([1, "two"])) == [1, "two"]
        assert ex.gather(ex.scatter((1, 2))) == (1, 2)
        assert ex.gather(ex.scatter({"a": 1})) == {"a": 1}
        futures = ex.scatter([5, 6])
        assert ex.gather({"x": [futures[0], (futures[1], 7)], "y": "text"}) == {"x": [5, (6, 7)], "y": "text"}
        large = tasks.large()
        assert len(ex.gather(ex.scatter(large))) == len(large)


@check(traits=("isolated",))
def check_scattered_data_is_private(make_executor: MakeExecutor) -> None:
    """A task may change what was scattered; no other task or caller sees it."""
    with make_executor() as ex:
        values = {"short": [1, 2], "long": list(range(50_000)), "deep": {"a": [bytearray(100_000)]}}
        scattered = ex.scatter(values)
        for name, future in scattered.items():
            changed = ex.submit(tasks.change, future).result(TIMEOUT_S)
            assert changed != values[name] and tasks.change(future.result(TIMEOUT_S)) == changed
            assert [ex.submit(tasks.change, future).result(TIMEOUT_S) for _ in range(3)] == [changed] * 3


@check()
def check_results_after_the_end(make_executor: MakeExecutor) -> None:
    """Results of live futures can be read after the end; scattered data is gone."""
    with make_executor() as ex:
        large, small, bad = ex.submit(tasks.large), ex.submit(tasks.same, 1), ex.submit(tasks.fail)
        chain = ex.submit(len, large)
        mapped = ex.map(tasks.same, range(5))
    assert len(large.result()) == chain.result() and small.result() == 1
    assert isinstance(bad.exception(), ValueError)
    assert list(mapped) == list(range(5))
    with make_executor() as ex:
        scattered = ex.scatter(tasks.large())
    try:
        assert len(scattered.result()) > 0  # where it never went away
    except DataLost:
        pass


# ---------------------------------------------------------------- options


@check("priority", traits=("concurrent",))
def check_priority(make_executor: MakeExecutor) -> None:
    """Higher runs first; among equals, what was submitted first."""

    # Never measured, both of them: nothing is assigned in advance.
    def begin_before(folder: SharedFolder) -> None:
        tasks.begin_and_wait(folder, "begun", "go")

    def log_in_order(folder: SharedFolder, line: str) -> None:
        folder.log(line)

    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        ex.submit(begin_before, folder)
        folder.wait("begun")
        for number, priority in enumerate([0, -1, 5, 0, 7, -1, 5]):
            ex.with_options(priority=priority).submit(log_in_order, folder, f"{priority}:{number}")
        ex.workers()  # the answer comes after all that was submitted has arrived
        folder.set("go")
        ex.shutdown()
        assert folder.log_lines() == ["7:4", "5:2", "5:6", "0:0", "0:3", "-1:1", "-1:5"]


@check()
def check_retries(make_executor: MakeExecutor) -> None:
    """A task that raises runs again ``retries`` times; the last error arrives."""
    table = {0: ["ok"], 1: ["fail", "ok"], 2: ["fail", "fail", "ok"], 3: ["fail"] * 3, 4: ["fail"] * 3}
    with SharedFolder() as folder, make_executor() as ex:
        futures = [ex.with_options(retries=2).submit(tasks.outcome, folder, table, item) for item in table]
        assert [future.result(TIMEOUT_S) for future in futures[:3]] == [0, 1, 2]
        for item in (3, 4):
            assert futures[item].exception(TIMEOUT_S).args == (f"attempt 3 of {item}",)  # type: ignore[union-attr]
        assert sum(name.startswith("item-") for name in folder.names()) == 1 + 2 + 3 + 3 + 3
        raises(ValueError, ex.with_options, retries=-1)


@check("backoff")
def check_backoff(make_executor: MakeExecutor) -> None:
    """A task that raised waits for at least half of ``backoff`` before it runs again."""
    table = {0: ["fail", "fail", "ok"]}
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        view = ex.with_options(retries=2, backoff=0.05)
        start = clocks.monotonic()
        assert view.submit(tasks.outcome, folder, table, 0).result(TIMEOUT_S) == 0
        assert clocks.monotonic() - start >= 0.075
        for wrong in (-1, 301, float("nan")):
            raises(ValueError, ex.with_options, backoff=wrong)


@check("backoff", traits=("concurrent",))
def check_cancelled_backoff(make_executor: MakeExecutor) -> None:
    """A task that waits for its next try has no slot, says so, and can be cancelled."""
    with SharedFolder() as folder, make_executor(max_workers=1) as ex:
        future = ex.with_options(retries=3, backoff=300).submit(tasks.outcome, folder, {0: ["fail"] * 4}, 0)
        folder.wait("item-0.1")
        assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1
        wait_until(lambda: "before try 2 of 4" in ex.explain(future), lambda: ex.explain(future))
        assert not future.running() and not future.done()
        assert future.cancel() and future.cancelled()
        assert "item-0.2" not in folder.names()


@check("limits")
def check_limits(make_executor: MakeExecutor) -> None:
    """A task that could never have what it asks of a limit is refused.

    This goes for a graph and a batch as well.
    """
    with make_executor(limits={"check_limits": 3}) as ex:
        assert ex.with_options(limits={"check_limits": 3}).submit(tasks.same, 1).result(TIMEOUT_S) == 1
        assert list(ex.with_options(limits={"check_limits": 1}).map(tasks.same, range(9))) == list(range(9))
        wrongs: list[dict[str, float]] = [{"check_limits": 4}, {"check_limits_undeclared": 1}]
        for wrong in wrongs:
            view = ex.with_options(limits=wrong)
            assert next(iter(wrong)) in str(raises(ValueError, view.submit, tasks.same, 1))
            raises(ValueError, view.map, tasks.same, range(3))
        raises(ValueError, ex.with_options, limits={"check_limits": -1})
        assert ex.with_options(limits={"check_limits": 0}).submit(tasks.same, 2).result(TIMEOUT_S) == 2


@check("limits", traits=("concurrent",))
def check_limits_hold(make_executor: MakeExecutor) -> None:
    """Tasks over the limit wait in order and say for what.

    Others pass them, and an end or a failure lets one go on.
    """
    name = "check_limits_hold"
    with SharedFolder() as folder, make_executor(max_workers=3, limits={name: 1}) as ex:
        view = ex.with_options(limits={name: 1})
        first = view.submit(tasks.begin_and_wait, folder, "begun", "go", 0)
        folder.wait("begun")
        waiting = [view.submit(tasks.begin_and_wait, folder, f"begun {number}", f"go {number}") for number in range(3)]
        assert ex.submit(tasks.same, 1).result(TIMEOUT_S) == 1  # nothing waits in front of it
        ex.workers()  # the answer comes after all that was submitted has arrived
        assert repr(name) in ex.explain(waiting[0]) and waiting[1].cancel()
        assert not [each for each in folder.names() if each.startswith("begun ")]
        folder.set("go")
        folder.wait("begun 0")
        assert "begun 2" not in folder.names() and first.result(TIMEOUT_S) == 0
        folder.set("go 0")
        folder.wait("begun 2")
        folder.set("go 2")
        assert isinstance(view.submit(tasks.fail).exception(TIMEOUT_S), ValueError)
        assert sorted(view.map(tasks.same, range(20))) == list(range(20))


@check("timeout")
def check_timeout(make_executor: MakeExecutor) -> None:
    """A task that runs too long fails with ``TaskTimeout``, and no other."""
    with make_executor() as ex:
        view = ex.with_options(timeout=0.1)
        assert isinstance(view.submit(time.sleep, 0.4).exception(TIMEOUT_S), TaskTimeout)
        assert ex.with_options(timeout=TIMEOUT_S).submit(tasks.same, 1).result(TIMEOUT_S) == 1
        assert view.with_options(timeout=None).submit(tasks.same, 2).result(TIMEOUT_S) == 2
        raises(ValueError, ex.with_options, timeout=0)


@check("timeout", traits=("concurrent",))
def check_timeout_of_one_among_others(make_executor: MakeExecutor) -> None:
    """The time counts from the start of the task, and no other task is affected."""

    # Never measured: Dask puts others behind what it takes for short, and leaves them there.
    def begin_beside_others(folder: SharedFolder) -> str:
        return str(tasks.begin_and_wait(folder, "begun", "go", "beside"))

    with SharedFolder() as folder, make_executor(max_workers=2) as ex:
        beside = ex.submit(begin_beside_others, folder)
        folder.wait("begun")
        late = ex.with_options(timeout=0.2).submit(folder.wait, "never")
        behind = [ex.with_options(timeout=TIMEOUT_S).submit(tasks.same, i) for i in range(5)]
        assert isinstance(late.exception(TIMEOUT_S), TaskTimeout)
        folder.set("never")
        assert [future.result(TIMEOUT_S) for future in behind] == list(range(5))
        folder.set("go")
        assert beside.result(TIMEOUT_S) == "beside"


@check()
def check_resources(make_executor: MakeExecutor) -> None:
    """No more tasks run on a worker than its resources allow."""
    with SharedFolder() as folder, make_executor(max_workers=2, threads_per_worker=2, resources={"token": 1}) as ex:
        view = ex.with_options(resources={"token": 1})
        at_once = [view.submit(tasks.in_turn, folder, number) for number in range(20)]
        assert max(future.result(TIMEOUT_S) for future in at_once) <= 2


@check(traits=("closed",))
def check_impossible_demands(make_executor: MakeExecutor) -> None:
    """What no worker will ever offer is refused, and so is a missing worker."""
    with make_executor(max_workers=2, resources={"token": 1}) as ex:

        def run_with(**options: Any) -> object:
            return ex.with_options(**options).submit(tasks.same, 1).result(TIMEOUT_S)

        for impossible in ({"token": 2.0}, {"unheard of": 1.0}):
            raises(ValueError, run_with, resources=impossible)
        raises(ValueError, run_with, workers=["no-such-worker"])


@check()
def check_pure(make_executor: MakeExecutor) -> None:
    """Equal calls of ``pure=True`` are one task while its future lives."""
    with SharedFolder() as folder, make_executor() as ex:
        pure = ex.with_options(pure=True)
        one, two = pure.submit(tasks.count, folder, "pure"), pure.submit(tasks.count, folder, "pure")
        assert one.result(TIMEOUT_S) == two.result(TIMEOUT_S) == 1
        assert pure.submit(tasks.count, folder, "other").result(TIMEOUT_S) == 1
        assert pure.submit(tasks.log_line, folder, "x").key != pure.submit(tasks.log_line, folder, "y").key
        numbers = [1, 2]
        three = pure.submit(sum, numbers)
        assert three.result(TIMEOUT_S) == 3
        numbers.append(3)  # the same list, and not the same call
        assert pure.submit(sum, numbers).result(TIMEOUT_S) == 6
        twice = [ex.submit(folder.count_call, "twice") for _ in range(2)]
        assert sorted(future.result(TIMEOUT_S) for future in twice) == [1, 2]


@check()
def check_key(make_executor: MakeExecutor) -> None:
    """A key of the user's own names the task while its future lives."""
    with make_executor() as ex:
        future = ex.with_options(key="my own").submit(tasks.same, 1)
        assert future.key == "my own" and future.result(TIMEOUT_S) == 1
        raises(ValueError, lambda: ex.with_options(key="my own").submit(tasks.same, 2))
        assert ex.submit(tasks.same, [future]).result(TIMEOUT_S) == [1]
        assert ex.submit(tasks.same, "my own").result(TIMEOUT_S) == "my own"  # a text is a text
        gone = weakref.ref(future)
        del future
        gc.collect()  # the error above holds frames that hold it
        assert gone() is None
        assert ex.with_options(key="my own").submit(tasks.same, 3).result(TIMEOUT_S) == 3


@check("workers")
def check_workers(make_executor: MakeExecutor) -> None:
    """Tasks can be sent to workers by name."""
    with make_executor(max_workers=2) as ex:
        ex.run(int)
        for name, facts in ex.workers().items():
            pids = {ex.with_options(workers=name).submit(os.getpid).result(TIMEOUT_S) for _ in range(5)}
            assert pids == {facts["pid"] or os.getpid()}


@check("workers")
def check_run(make_executor: MakeExecutor) -> None:
    """``run`` calls a function once on every worker."""
    with SharedFolder() as folder, make_executor(max_workers=2) as ex:
        results = ex.run(folder.count_call, "run")
        assert results and set(results) <= set(ex.workers())
        assert sorted(results.values()) == list(range(1, len(results) + 1))
        raises(ValueError, ex.run, tasks.fail)
