"""What mypy and pyright see of an executor: each line is checked, and none is run."""

from __future__ import annotations

import asyncio
import multiprocessing
import operator
from pathlib import Path
from typing import Any, assert_type

from futures_cluster import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, current_executor
from futures_cluster.executor.map_iterator import MapIterator
from futures_cluster.glm import LogisticRegression


def square(x: int) -> int:
    return x * x


def label(x: int, name: str = "", *, loud: bool = False) -> str:
    return f"{name}{x}{loud}"


async def wait_for(x: int) -> int:
    return x


class Model:
    def __init__(self, size: int) -> None:
        self.size = size

    def predict(self, x: float) -> float:
        return x


def makes() -> None:
    assert_type(Executor(2, multiprocessing.get_context("spawn"), resources={"GPU": 1}), Executor)
    assert_type(ProcessPoolExecutor(2, multiprocessing.get_context("spawn")), ProcessPoolExecutor)
    assert_type(LogisticRegression(executor=Executor()), LogisticRegression)


def submits(ex: Executor) -> None:
    assert_type(ex.submit(len, "a"), Future[int])
    assert_type(ex.submit(len, "a").result(), int)
    assert_type(ex.submit(label, 1, "x", loud=True).result(), str)
    assert_type(ex.submit(label, 1, name="x"), Future[str])
    assert_type(ex.submit(Model, 3).result(), Model)
    assert_type(ex.submit(Model(3).predict, 1.0).result(), float)
    assert_type(ex.submit(Path.cwd).result(), Path)


def submits_generic_and_overloaded_functions(ex: Executor) -> None:
    assert_type(ex.submit(sorted, [3, 1, 2]).result(), list[int])
    assert_type(ex.submit(pow, 2, 3).result(), int)
    assert_type(ex.submit(abs, -1.5).result(), float)


def submits_futures_as_arguments(ex: Executor) -> None:
    """The second overload: the values of futures arrive, so their types say nothing of the parameters."""
    number = ex.submit(square, 2)
    assert_type(ex.submit(square, number), Future[int])
    assert_type(ex.submit(label, number, name=ex.submit(str, 1), loud=True), Future[str])
    assert_type(ex.submit(sum, [number, number]).result(), int)
    assert_type(ex.submit(Model, number).result(), Model)
    assert_type(ex.submit(operator.index, ex.scatter(1)), Future[int])


def maps(ex: Executor) -> None:
    assert_type(ex.map(square, [1, 2]), MapIterator[int])
    assert_type(list(ex.map(abs, [-1.5])), list[float])
    assert_type(next(ex.map(label, [1, 2], ["a", "b"])), str)
    assert_type(list(ex.map(label, [1], ["a"], [True], timeout=1, chunksize=2, buffersize=3)), list[str])
    assert_type(ex.map(square, range(3)).futures, list[Future[int]])
    assert_type(list(ex.map(square, [ex.submit(square, 1)])), list[int])


def scatters(ex: Executor) -> None:
    assert_type(ex.scatter(1.5), Future[float])
    assert_type(ex.scatter([1, 2], replicas=2), list[Future[int]])
    assert_type(ex.scatter(("a", "b")), tuple[Future[str], ...])
    assert_type(ex.scatter({"a": 1.5}), dict[str, Future[float]])


def gathers(ex: Executor) -> None:
    number, text = ex.submit(square, 1), ex.submit(str, 1)
    assert_type(ex.gather(number), int)
    assert_type(ex.gather([number, number]), list[int])
    assert_type(ex.gather((number, text)), tuple[int, str])
    assert_type(ex.gather((number, text, number)), tuple[int, str, int])
    assert_type(ex.gather({number}), set[int])
    assert_type(ex.gather(frozenset([text])), frozenset[str])
    assert_type(ex.gather({"a": number}), dict[str, int])
    assert_type(ex.gather(ex.map(square, [1]).futures), list[int])
    assert_type(ex.gather({"deep": [number]}), Any)


def computes(ex: Executor, collection: Model) -> None:
    assert_type(ex.compute(collection), Future[Any])
    assert_type(ex.compute(collection, collection, optimize_graph=False), list[Future[Any]])
    assert_type(ex.compute([collection]), list[Future[Any]])
    assert_type(ex.persist(collection), Model)
    assert_type(ex.persist([collection]), list[Model])
    assert_type(ex.persist(collection, collection), list[Model])


def runs(ex: Executor) -> None:
    assert_type(ex.run(square, 1), dict[str, int])
    assert_type(ex.run(label, 1, name="a"), dict[str, str])


def observes(ex: Executor) -> None:
    assert_type(ex.workers(), dict[str, dict[str, Any]])
    assert_type(ex.explain(ex.submit(square, 1)), str)
    assert_type(ex.future_of_key("key"), Future[Any])
    assert_type(ex.status_url, str)


def keeps_the_class(ex: Executor, threads: ThreadPoolExecutor, processes: ProcessPoolExecutor) -> None:
    assert_type(current_executor(), Executor)
    assert_type(ex.with_options(retries=2), Executor)
    assert_type(threads.with_options(priority=1), ThreadPoolExecutor)
    assert_type(threads.submit(square, 1).result(), int)
    assert_type(list(processes.map(square, [1])), list[int])
    with ProcessPoolExecutor(2) as pool:
        assert_type(pool, ProcessPoolExecutor)


async def runs_in_asyncio(ex: Executor) -> None:
    assert_type(await asyncio.get_running_loop().run_in_executor(ex, square, 1), int)
