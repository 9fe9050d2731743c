"""Handles of shared objects as objects: how they are shown and carried. What channels do is in the engine checks."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import pytest
from gate import wait_until

from futures_cluster import Executor
from futures_cluster.channels import Channel, ChannelReader

TIMEOUT_S = 30.0


def describe(channel: Any) -> tuple[str, str, int]:
    return type(channel).__name__, repr(channel), channel.maxlen


def put_in_nested(holder: dict[str, list[Channel]]) -> None:
    holder["channels"][0].put("from a task")


@pytest.mark.parametrize("backend", ["processes", "threads", "sync"])
def test_a_channel_travels_in_arguments(backend: str) -> None:
    with Executor(1, backend=backend) as ex:
        channel = ex.channel("x", maxlen=7)
        assert ex.submit(describe, channel).result(TIMEOUT_S) == ("Channel", "<Channel 'x'>", 7)
        ex.submit(put_in_nested, {"channels": [channel]}).result(TIMEOUT_S)
        assert next(channel.reader(TIMEOUT_S)) == "from a task"


def test_a_task_may_make_a_channel_anew_from_its_handle() -> None:
    """The handle says with which options, so it is the same channel though the first one was deleted meanwhile."""
    with Executor(1) as ex:
        channel = ex.channel("x", maxlen=7)
        channel.delete()
        assert ex.submit(describe, channel).result(TIMEOUT_S)[2] == 7


def test_a_handle_outside_of_tasks_cannot_be_unpickled() -> None:
    with Executor(backend="sync") as ex:
        data = pickle.dumps(ex.channel("x"))
        with pytest.raises(RuntimeError, match="can only be called inside a task"):
            pickle.loads(data)


def test_an_empty_channel_is_true() -> None:
    with Executor(backend="sync") as ex:
        channel = ex.channel("x")
        assert len(channel) == 0 and channel
        assert isinstance(iter(channel), ChannelReader) and isinstance(aiter(channel), ChannelReader)


def test_a_reader_keeps_nothing_that_was_read() -> None:
    """Results that were taken out of a batch are let go one by one, not with the last of it."""

    class Thing:
        pass

    with Executor(1, backend="threads") as ex:
        channel = ex.channel("x")
        channel.extend(ex.submit(Thing) for _ in range(3))
        reader = channel.reader(TIMEOUT_S)
        future = next(reader)
        thing = weakref.ref(future.result(TIMEOUT_S))
        first = weakref.ref(future)
        channel.delete()
        del future
        gc.collect()
        assert first() is None

        def is_gone() -> bool:
            ex.channel("nudge").put(1)  # what was released goes with the next message
            return thing() is None

        wait_until(is_gone)
        assert next(reader).result(TIMEOUT_S) is not None
