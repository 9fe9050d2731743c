"""What mypy and pyright refuse: both complain of a ``type: ignore`` that is not needed. No line is run."""

from __future__ import annotations

import concurrent.futures

from futures_cluster import Executor, Future, ThreadPoolExecutor, as_completed
from futures_cluster.channels import Channel
from futures_cluster.glm import LogisticRegression


def submits(ex: Executor) -> None:
    ex.submit()  # type: ignore[call-overload]
    ex.submit(3)  # type: ignore[call-overload]
    ex.run()  # type: ignore[call-overload]
    wrong: Future[str] = ex.submit(len, "a")  # type: ignore[arg-type]
    ex.submit(len, "a").result().upper()  # type: ignore[attr-defined]
    ex.submit(len, "a").result("1 s")  # type: ignore[arg-type]
    ex.submit(len, "a").cancel(force="yes")  # type: ignore[arg-type]
    del wrong


def maps(ex: Executor) -> None:
    ex.map(len, 3)  # type: ignore[call-overload]
    ex.map(len, ["a"], chunksize="2")  # type: ignore[call-overload]
    next(ex.map(len, ["a"])).upper()  # type: ignore[attr-defined]


def data(ex: Executor) -> None:
    ex.scatter(1, replicas="2")  # type: ignore[call-overload]
    ex.scatter([1]).result()  # type: ignore[attr-defined]
    ex.gather(ex.submit(len, "a")).upper()  # type: ignore[attr-defined]
    ex.gather()  # type: ignore[call-overload]


def options(ex: Executor) -> None:
    Executor(2, backed="threads")  # type: ignore[call-arg]
    LogisticRegression(executor=concurrent.futures.ThreadPoolExecutor())  # type: ignore[arg-type]
    ThreadPoolExecutor(2, backend="threads")  # type: ignore[call-arg]
    ex.with_options(retries="two")  # type: ignore[arg-type]
    ex.with_options(retry=2)  # type: ignore[call-arg]
    ex.adapt("1")  # type: ignore[arg-type]


def completed(futures: list[Future[int]]) -> None:
    as_completed([3])  # type: ignore[type-var]
    as_completed(futures).add(3)  # type: ignore[arg-type]
    next(as_completed(futures))[1]  # type: ignore[index]
    for future in as_completed(futures, with_results=True):
        future.result()  # type: ignore[attr-defined]


def channels(ex: Executor) -> None:
    texts: Channel[str] = ex.channel("texts")
    texts.put(3)  # type: ignore[arg-type]
    texts.extend([3])  # type: ignore[list-item]
