"""A cluster over ZeroMQ, whose connections only the loop can read: tasks submit, wait, and use shared objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from futures_cluster import Executor, current_executor
from futures_cluster.testing.real_cluster import Cluster

pytest.importorskip("zmq")

WAIT_S = 30


@pytest.fixture(scope="module")
def ex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    with Cluster(tmp_path_factory.mktemp("zmq"), "--listen", "zmq://127.0.0.1:0", is_shared=True) as cluster:
        cluster.add_worker()
        with cluster.executor() as ex:
            yield ex


def put(channel: Any, value: int) -> int:
    channel.put(value)
    return len(channel)


def take(channel: Any) -> int:
    value: int = next(iter(channel))
    return value


def nested(value: int) -> int:
    ex = current_executor()
    return int(ex.submit(abs, ex.submit(abs, value)).result(WAIT_S))


def test_tasks_use_channels(ex: Executor) -> None:
    channel = ex.channel("c")
    assert ex.submit(put, channel, 5).result(WAIT_S) == 1
    assert ex.submit(take, channel).result(WAIT_S) == 5


def test_tasks_submit_and_wait(ex: Executor) -> None:
    assert ex.submit(nested, -3).result(WAIT_S) == 3
    assert len(ex.submit(bytes, ex.submit(int, "3000000")).result(WAIT_S)) == 3_000_000
