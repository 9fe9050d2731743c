"""What mypy and pyright see of futures, of ``as_completed`` and of channels: no line is run."""

from __future__ import annotations

import concurrent.futures
from typing import assert_type

from futures_cluster import Executor, Future, as_completed, wait
from futures_cluster.channels import Channel, ChannelReader
from futures_cluster.services.common.protocols import ClientFuture


def square(x: int) -> int:
    return x * x


def take(future: Future[int]) -> None: ...


def take_stdlib(future: concurrent.futures.Future[int]) -> None: ...


async def a_future(future: Future[int]) -> None:
    assert_type(future.result(timeout=1.5), int)
    assert_type(await future, int)
    assert_type(future.exception(), BaseException | None)
    assert_type(future.cancel(force=True), bool)
    assert_type(future.key, str)
    future.add_done_callback(take)
    future.add_done_callback(take_stdlib)
    take_stdlib(future)
    assert_type(wait([future]).done.pop().result(), int)


def what_clients_ask(future: Future[int]) -> ClientFuture:
    """The client cannot import the class, so nothing else compares it with the protocol."""
    return future


async def completed(futures: list[Future[int]], foreign: list[concurrent.futures.Future[str]]) -> None:
    for future in as_completed(futures):
        assert_type(future, Future[int])
    for future in as_completed(future for future in futures):
        assert_type(future.result(), int)
    async for future in as_completed(futures, timeout=1.5):
        assert_type(future, Future[int])
    for other in as_completed(foreign):
        assert_type(other.result(), str)
    assert_type(as_completed(futures, 1.5).next_batch(block=False), list[Future[int]])


async def completed_with_results(futures: list[Future[int]], foreign: list[concurrent.futures.Future[str]]) -> None:
    for future, result in as_completed(futures, with_results=True):
        assert_type(future, Future[int])
        assert_type(result, int)
    async for _, result in as_completed(futures, with_results=True):
        assert_type(result, int)
    for other, text in as_completed(foreign, with_results=True):
        assert_type(other.result(), str)
        assert_type(text, str)
    assert_type(as_completed(futures, with_results=True).next_batch(), list[tuple[Future[int], int]])


def completed_later(ex: Executor) -> None:
    later: as_completed[Future[int]] = as_completed()
    later.add(ex.submit(square, 1))
    later.update([ex.submit(square, 2)])
    assert_type(next(later), Future[int])


def channels(ex: Executor) -> None:
    squares: Channel[Future[int]] = ex.channel("squares", maxlen=2)
    squares.put(ex.submit(square, 1))
    squares.extend([ex.submit(square, 2)])
    for future in squares:
        assert_type(future.result(), int)
    assert_type(squares.reader(timeout=1), ChannelReader[Future[int]])
    assert_type(next(squares.reader()), Future[int])
    assert_type(len(squares), int)
