"""No identity comes again after the death of its owner: real workers that are restarted under their names."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from futures_cluster import Executor, current_executor
from futures_cluster.errors import DuplicateKey
from futures_cluster.testing.real_cluster import Cluster, Command

WAIT_S = 60


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def keep(number: int) -> str:
    """Submit a task, and put its future where it outlives the worker."""
    future = current_executor().submit(abs, number)
    future.result()
    current_executor().channel("kept").put(future)
    return str(future.key)


def nested(number: int) -> int:
    return int(current_executor().submit(abs, number).result())


def killed(cluster: Cluster, command: Command, ex: Executor) -> Command:
    """The worker dies, and its manager starts another one under its name."""
    pid = ex.workers()["w"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: ex.workers().get("w", {}).get("pid", pid) != pid)
    return command


def restarted(cluster: Cluster, command: Command, ex: Executor) -> Command:
    """The command ends in good order, and is typed again."""
    assert command.end(signal.SIGTERM) == 0
    return cluster.add_worker("--name", "w")


@pytest.mark.parametrize("restart", [killed, restarted])
def test_a_channel_holds_a_future_of_a_worker_that_is_restarted_under_its_name(
    cluster: Cluster, restart: Callable[[Cluster, Command, Executor], Command]
) -> None:
    command = cluster.add_worker("--name", "w")
    with cluster.executor() as ex:
        key = ex.submit(keep, -100).result(WAIT_S)
        for number in (-5, -6):
            command = restart(cluster, command, ex)
            assert ex.submit(nested, number).result(WAIT_S) == -number
        assert key.startswith("abs-w-") and key.endswith("-1")
        future = next(ex.channel("kept").reader(WAIT_S))
        assert future.key == key and future.result(WAIT_S) == 100


def test_a_chosen_key_is_shared_by_equal_calls_and_refused_for_others(cluster: Cluster) -> None:
    cluster.add_worker()
    with cluster.executor() as one, cluster.executor() as two:
        first = one.with_options(key="k").submit(pow, 2, 3)
        assert first.result(WAIT_S) == 8
        same = two.with_options(key="k").submit(pow, 2, 3)
        assert same.result(WAIT_S) == 8
        del same
        for args in ((3, 2), ([2], 3), (2, 3, 5)):
            other = two.with_options(key="k").submit(pow, *args)
            after = two.submit(list, [other])
            with pytest.raises(DuplicateKey, match="'k' belongs to another call"):
                other.result(WAIT_S)
            with pytest.raises(DuplicateKey):
                after.result(WAIT_S)
            del other, after
        data = two.with_options(key="k").scatter(b"x" * 100_000)
        with pytest.raises(DuplicateKey):
            data.result(WAIT_S)
        assert first.result(WAIT_S) == 8


def test_scattered_data_is_not_replaced_by_others_of_its_key(cluster: Cluster) -> None:
    cluster.add_worker()
    with cluster.executor() as one, cluster.executor() as two:
        mine = one.with_options(key="k").scatter(b"a" * 100_000)
        assert one.submit(len, mine).result(WAIT_S) == 100_000
        with pytest.raises(DuplicateKey, match="'k' belongs to another"):
            two.with_options(key="k").scatter(b"b" * 5).result(WAIT_S)
        assert one.submit(bytes.count, mine, b"a").result(WAIT_S) == 100_000
