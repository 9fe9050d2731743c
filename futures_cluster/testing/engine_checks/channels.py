"""Checks of channels: what clients and tasks put and read, and what lives on in a channel.

Covers: ``Executor.channel`` as users see it. Does not cover: clients that die.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

from futures_cluster.context import current_executor
from futures_cluster.errors import ChannelClosed, SharedObjectError
from futures_cluster.executor import Executor
from futures_cluster.testing.engine_checks import tasks
from futures_cluster.testing.engine_checks.harness import TIMEOUT_S, MakeExecutor, check, raises
from futures_cluster.testing.engine_checks.shared_folder import SharedFolder

# ---------------------------------------------------------------- tasks


def put_values(name: str, values: list[Any]) -> None:
    """Put into a channel by its name."""
    channel = current_executor().channel(name)
    for value in values:
        channel.put(value)


def put_children(channel: Any, count: int) -> None:
    """Submit tasks, put their futures into a channel, and end without waiting."""
    ex = current_executor()
    for number in range(count):
        channel.put((number, ex.submit(tasks.same, number)))


def put_a_tree(channel: Any, depth: int) -> None:
    """Tasks that submit tasks, each of which puts what it has made."""
    ex = current_executor()
    channel.put({"depth": depth, "futures": [ex.submit(pow, 2, depth)]})
    if depth:
        ex.submit(put_a_tree, channel, depth - 1)


def echo(questions: Any, answers: Any) -> int:
    """Answer what comes by one channel through another."""
    count = 0
    for question in questions:
        answers.put(question + 1)
        count += 1
    return count


# ---------------------------------------------------------------- checks


@check("channel")
def check_channel_values(make_executor: MakeExecutor) -> None:
    """Values come out in order, in tasks and outside, and each reader has them all."""
    values: list[Any] = [1, "two", [3.0, {"four": (5,)}], None, b"six", {7}]
    with make_executor() as ex:
        channel = ex.channel("values")
        ex.submit(put_values, "values", values).result(TIMEOUT_S)
        assert len(channel) == len(values)
        channel.extend(range(1000))
        channel.close()
        assert list(channel) == list(channel.reader(timeout=TIMEOUT_S)) == [*values, *range(1000)]
        assert ex.submit(list, channel).result(TIMEOUT_S) == [*values, *range(1000)]


@check("channel")
def check_channel_futures(make_executor: MakeExecutor) -> None:
    """A future that was taken out has its value, its error, and is an argument."""
    with make_executor() as ex:
        channel = ex.channel("futures")
        made = [ex.submit(tasks.same, 1), ex.submit(bytes, 10**6), ex.submit(tasks.fail), ex.scatter([1, 2])]
        for future in made:
            channel.put(future)
        channel.put(["deep", {"in": (ex.submit(tasks.same, 5),)}])
        del made, future
        reader = channel.reader(timeout=TIMEOUT_S)
        small, large, failing, scattered, deep = (next(reader) for _ in range(5))
        assert small.result(TIMEOUT_S) == 1 and len(large.result(TIMEOUT_S)) == 10**6
        assert isinstance(failing.exception(TIMEOUT_S), ValueError)
        assert ex.submit(len, scattered).result(TIMEOUT_S) == 2
        assert ex.submit(len, large).result(TIMEOUT_S) == 10**6
        assert deep[0] == "deep" and deep[1]["in"][0].result(TIMEOUT_S) == 5
        del small, large, failing, scattered, deep
        again = list(zip(range(4), channel, strict=False))  # still there for others
        assert again[0][1].result(TIMEOUT_S) == 1 and len(again[1][1].result(TIMEOUT_S)) == 10**6


@check("channel")
def check_channel_outlives_the_maker(make_executor: MakeExecutor) -> None:
    """A task puts its children's futures into a channel and ends; the client reads."""
    with make_executor() as ex:
        channel = ex.channel("children")
        ex.submit(put_children, channel, 20).result(TIMEOUT_S)
        reader = channel.reader(timeout=TIMEOUT_S)
        found = [next(reader) for _ in range(20)]
        assert [number for number, _ in found] == list(range(20))
        assert [future.result(TIMEOUT_S) for _, future in found] == list(range(20))
        ex.submit(put_a_tree, channel, 5)
        grown = [next(reader) for _ in range(6)]
        assert [item["depth"] for item in grown] == [5, 4, 3, 2, 1, 0]
        assert [item["futures"][0].result(TIMEOUT_S) for item in grown] == [32, 16, 8, 4, 2, 1]


@check("channel")
def check_channel_rolls(make_executor: MakeExecutor) -> None:
    """A channel keeps its newest items; a reader knows how many it missed."""
    with make_executor() as ex:
        channel = ex.channel("rolling", maxlen=3)
        channel.extend(range(5))
        assert len(channel) == channel.maxlen == 3
        reader = channel.reader(timeout=TIMEOUT_S)
        assert [next(reader) for _ in range(3)] == [2, 3, 4] and reader.missed == 0
        channel.extend(range(5, 15))
        assert [next(reader) for _ in range(3)] == [12, 13, 14] and reader.missed == 7
        assert "maxlen=3" in str(raises(SharedObjectError, ex.channel, "rolling", maxlen=4))
        assert ex.channel("rolling", maxlen=3).maxlen == 3


@check("channel")
def check_channel_limits(make_executor: MakeExecutor) -> None:
    """What cannot be put says why, and what to do instead."""
    with make_executor() as ex:
        channel = ex.channel("limits")
        error = raises(ValueError, channel.put, b"x" * 100_000)
        assert "scatter" in str(error) and "100,0" in str(error)
        channel.put(ex.scatter(b"x" * 100_000))
        released = ex.submit(tasks.same, 1)
        released.result(TIMEOUT_S)
        released.release()
        raises(ValueError, channel.put, released)
        with make_executor() as other:
            error = raises(ValueError, lambda: channel.put(other.submit(tasks.same, 1)))
        assert "another executor" in str(error)
        channel.close()
        assert "'limits'" in str(raises(ChannelClosed, channel.put, 1)) and channel.closed
        raises(TypeError, ex.channel, 3)
        assert len(next(iter(channel)).result(TIMEOUT_S)) == 100_000


@check("channel")
def check_channel_time_limit(make_executor: MakeExecutor) -> None:
    """A reader waits no longer than its timeout, and may go on afterwards."""
    with make_executor() as ex:
        channel = ex.channel("slow")
        reader = channel.reader(timeout=0.01)
        for _ in range(2):
            raises(TimeoutError, next, reader)
        channel.put(1)
        reader.timeout = 0
        assert next(reader) == 1
        raises(TimeoutError, next, reader)
        channel.close()
        reader.timeout = TIMEOUT_S
        assert list(reader) == [] and list(reader) == []


@check("channel")
def check_channel_delete(make_executor: MakeExecutor) -> None:
    """A deleted channel is gone for all clients, and another one may have its name."""
    with make_executor() as ex:
        channel = ex.channel("deleted")
        channel.put(1)
        reader = iter(channel)
        assert next(reader) == 1
        channel.delete()
        for fails in (lambda: channel.put(1), lambda: next(reader), lambda: len(channel)):
            assert "deleted" in str(raises(SharedObjectError, fails))
        again = ex.channel("deleted")
        assert len(again) == 0
        raises(SharedObjectError, next, reader)


@check("channel", traits=("concurrent",))
def check_channel_blocks(make_executor: MakeExecutor) -> None:
    """Readers in threads and tasks wait for what comes later."""
    with SharedFolder() as folder, make_executor(max_workers=2) as ex:
        channel = ex.channel("later")
        reading: list[concurrent.futures.Future[list[Any]]] = [ex.submit(list, channel) for _ in range(2)]
        thread = concurrent.futures.ThreadPoolExecutor(1)
        reading.append(thread.submit(list, channel))
        thread.shutdown(wait=False)
        try:
            channel.put("first")
            channel.put(("held", ex.submit(tasks.same, 1).result(TIMEOUT_S)))
        finally:
            channel.close()
        assert [future.result(TIMEOUT_S) for future in reading] == [["first", ("held", 1)]] * 3

        questions, answers = ex.channel("questions"), ex.channel("answers")
        echoing = ex.submit(echo, questions, answers)
        reader = answers.reader(timeout=TIMEOUT_S)
        for number in range(50):
            questions.put(number)
            assert next(reader) == number + 1
        questions.close()
        assert echoing.result(TIMEOUT_S) == 50

        pending = ex.submit(tasks.begin_and_wait, folder, "begun", "go", 7)
        answers.put(pending)
        assert next(reader) is pending  # the same future in the same client
        folder.set("go")
        assert pending.result(TIMEOUT_S) == 7


@check("channel", traits=("concurrent",))
def check_channel_readers_give_their_slots_back(make_executor: MakeExecutor) -> None:
    """More tasks wait for a channel than there are workers, and its writer runs."""
    with make_executor(max_workers=1) as ex:
        channel = ex.channel("crowd")
        readers = [ex.submit(list, channel) for _ in range(4)]
        ex.submit(put_values, "crowd", [1, 2]).result(TIMEOUT_S)
        channel.close()
        assert [future.result(TIMEOUT_S) for future in readers] == [[1, 2]] * 4


@check("channel", traits=("concurrent",))
def check_channel_in_coroutines(make_executor: MakeExecutor) -> None:
    """``async for``; a cancelled coroutine leaves the reader as it was."""

    async def read(ex: Executor) -> list[Any]:
        channel = ex.channel("async")
        reader = channel.reader()
        waiting = asyncio.ensure_future(reader.__anext__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        reader.timeout = 0.01
        outcomes: Any = await asyncio.gather(reader.__anext__(), return_exceptions=True)
        assert isinstance(outcomes[0], TimeoutError)
        reader.timeout = None
        ex.submit(put_values, "async", [1, 2, 3])
        seen = []
        async for value in reader:
            seen.append(value)
            if len(seen) == 3:
                channel.put(ex.submit(tasks.same, 4))
                channel.close()
        return [*seen[:3], await seen[3]]

    with make_executor() as ex:
        assert asyncio.run(read(ex)) == [1, 2, 3, 4]


@check("channel")
def check_channel_after_shutdown(make_executor: MakeExecutor) -> None:
    """A reader that waits when the executor ends gets an error that says so."""
    ex = make_executor()
    channel = ex.channel("end")
    channel.put(1)
    reader = iter(channel)
    assert next(reader) == 1
    thread = concurrent.futures.ThreadPoolExecutor(1)
    waiting = thread.submit(next, reader)
    ex.shutdown()
    assert type(waiting.exception(TIMEOUT_S)) is RuntimeError
    thread.shutdown()
    raises(RuntimeError, channel.put, 2)
    raises(RuntimeError, ex.channel, "too late")
