"""Numbers and names of other types than Python's own: numpy's above all.

Covers: every argument that is a number of something, seconds or a name. Does not cover: bounds (``test_config``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from futures_cluster import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from futures_cluster.config import make_config
from futures_cluster.engines.options import SubmitOptions, changed

each_backend = pytest.mark.parametrize("backend", ["processes", "threads", "sync"])
each_second = pytest.mark.parametrize("seconds", [np.float32(60), np.float64(60), np.int64(60), np.uint8(60)])


class Name(str):
    """What code that compares types does not know."""


@pytest.mark.parametrize("name", ["max_workers", "max_tasks_per_child", "threads_per_worker"])
def test_settings_are_whole_numbers(name: str) -> None:
    for number in (np.int64(2), np.uint8(2)):
        value = getattr(make_config(**{name: number}), name)
        assert value == 2 and type(value) is int
    assert getattr(make_config(**{name: True}), name) == 1  # as in the standard library
    for wrong in (2.0, np.float64(2), "2", np.array([1, 2])):
        with pytest.raises(TypeError, match=name):
            make_config(**{name: wrong})


def test_amounts_become_floats() -> None:
    resources = make_config(resources={"GPU": np.float32(2)}).resources  # type: ignore[dict-item]
    assert resources == {"GPU": 2.0} and type(resources["GPU"]) is float
    assert type(make_config(memory_limit=np.float32(2e9)).memory_limit) is int  # type: ignore[arg-type]


def test_options_become_plain() -> None:
    task = changed(
        SubmitOptions(),
        priority=np.int8(3),  # type: ignore[arg-type]
        retries=np.int64(2),  # type: ignore[arg-type]
        timeout=np.float32(1.5),  # type: ignore[arg-type]
        resources={"GPU": np.int64(1)},  # type: ignore[dict-item]
        workers=[Name("a"), np.str_("b")],
    ).task
    assert [type(value) for value in (task.priority, task.retries, task.timeout_s)] == [int, int, float]
    assert [type(name) for name in task.workers] == [str, str]
    for options in ({"priority": 1.5}, {"retries": np.float64(1)}):
        with pytest.raises(TypeError, match="whole number"):
            changed(SubmitOptions(), **options)  # type: ignore[arg-type]


@each_backend
def test_executors_take_them(backend: str) -> None:
    with Executor(np.int64(1), backend=backend, resources={"GPU": np.int64(2)}) as ex:  # type: ignore[arg-type,dict-item]
        assert list(ex.map(abs, range(5), chunksize=np.int64(2))) == list(range(5))
        assert list(ex.map(abs, range(5), buffersize=np.int64(2))) == list(range(5))
        assert ex.with_options(priority=np.int64(1), retries=np.int64(1)).submit(abs, -1).result() == 1
        assert ex.with_options(resources={"GPU": np.int8(1)}).submit(abs, -1).result() == 1
        assert ex.scatter(1, replicas=np.int64(1)).result() == 1
        ex.channel("c", maxlen=np.int64(3)).put(1)
        if backend == "processes":
            ex.adapt(np.int64(1), np.int64(2))
            ex.scale(np.int64(1))


@each_backend
@each_second
def test_seconds(backend: str, seconds: Any) -> None:
    with Executor(1, backend=backend) as ex:
        assert ex.submit(abs, -1).result(seconds) == 1
        many = [ex.submit(abs, -1) for _ in range(50)]
        assert many[-1].result(seconds) == 1 and many[0].exception(seconds) is None
        assert list(ex.map(abs, range(5), timeout=seconds)) == list(range(5))
        assert len(list(as_completed(many, timeout=seconds))) == 50
        assert ex.with_options(timeout=seconds).submit(abs, -1).result() == 1
        channel = ex.channel(f"seconds {type(seconds).__name__}")
        channel.put(1)
        assert next(channel.reader(timeout=seconds)) == 1


@each_backend
@pytest.mark.parametrize("kind", [Name, np.str_])
def test_keys(backend: str, kind: type[str]) -> None:
    """A key of a subclass of ``str`` once stopped the client's mailbox, and with it every later task."""
    with Executor(1, backend=backend) as ex:
        assert ex.with_options(key=kind("mine")).submit(abs, -1).result() == 1
        assert ex.submit(abs, -2).result() == 2
        assert ex.channel(kind("c")).maxlen > 0


def test_pools() -> None:
    for pool in (ThreadPoolExecutor, ProcessPoolExecutor):
        with pool(np.int64(1)) as ex:  # type: ignore[arg-type]
            assert ex.submit(abs, -1).result() == 1
