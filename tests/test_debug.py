"""Debug mode: tasks that change their inputs.

Covers: ``services.worker.input_checks`` on threads and processes. Does not cover: reading the variable
(``test_config``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from futures_cluster import Executor
from futures_cluster.config import DEBUG_VARIABLE
from futures_cluster.errors import InputChanged

LARGE = 2_000_000  # bytes: such a result stays with the worker


@pytest.fixture(params=["threads", "processes"])
def ex(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    with Executor(1, backend=request.param) as ex:
        yield ex


def set_item(value: Any, key: Any, item: Any) -> None:
    value[key] = item


def test_the_input_is_named(ex: Executor) -> None:
    first, second = ex.submit(list, "ab"), ex.submit(list, "cd")
    future = ex.submit(lambda a, pair: pair["it"].append(a[0]), first, {"it": second})
    with pytest.raises(InputChanged) as caught:
        future.result()
    text = str(caught.value)
    assert future.key in text and second.key in text and first.key not in text and "a list" in text


@pytest.mark.parametrize("size", [10, LARGE])
def test_buffers_are_looked_at(ex: Executor, size: int) -> None:
    block = ex.submit(bytearray, size)
    assert ex.submit(len, block).result() == size
    with pytest.raises(InputChanged, match="a bytearray"):
        ex.submit(set_item, block, size - 1, 1).result()


def test_what_tasks_may_do(ex: Executor) -> None:
    made = ex.submit(dict, {"a": [1]})
    assert ex.submit(lambda value: {**value, "b": 2}, made).result() == {"a": [1], "b": 2}
    assert ex.submit(lambda value: value, made).result() == {"a": [1]}
    assert ex.submit(list.append, [], 1).result() is None  # no future's value
    assert ex.with_options(resolve=False).submit(lambda: None).result() is None


def test_a_tasks_own_exception_goes_first(ex: Executor) -> None:
    def change_and_fail(value: list[str]) -> None:
        value.clear()
        raise ValueError("doh")

    with pytest.raises(ValueError, match="doh"):
        ex.submit(change_and_fail, ex.submit(list, "ab")).result()


def test_what_does_not_pickle_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    with Executor(1, backend="threads") as ex:
        lock = ex.submit(threading.Lock)
        assert ex.submit(lambda lock: lock.acquire(), lock).result() is True


@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_it_is_off_unless_asked_for(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    with Executor(1, backend=backend) as ex:
        assert ex.submit(list.append, ex.submit(list, "ab"), "c").result() is None
