"""Log records of workers on a cluster: whose they are, and that they come only to a client that asks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import current_executor
from futures_cluster.testing.real_cluster import Cluster

log = logging.getLogger("app.cluster")


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append((record.worker_name, record.task_key, record.getMessage()))  # type: ignore[attr-defined]


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


def say(text: str, level: int = logging.INFO) -> bool:
    log.log(level, text)
    return log.isEnabledFor(logging.INFO)


def say_nested(text: str) -> None:
    current_executor().submit(say, text).result()


def warn() -> None:
    warnings.warn("careful", stacklevel=1)


def test_a_client_gets_what_its_tasks_log_if_it_asks(cluster: Cluster, records: Records) -> None:
    anna = cluster.add_worker("--name", "anna")
    with cluster.executor() as silent:
        assert not silent.submit(say, "not shown").result()
        silent.submit(say, "a warning", logging.WARNING).result()
        with cluster.executor(forward_logs=True) as ex:
            first = ex.submit(say, "first")
            assert first.result()
            assert silent.submit(say, "of another client").result()
            nested = ex.submit(say_nested, "nested")
            nested.result()
            cluster.add_worker("--name", "berta")
            second = ex.with_options(workers="berta").submit(say, "second", logging.WARNING)
            second.result()
        while silent.with_options(workers="anna").submit(log.getEffectiveLevel).result() != logging.WARNING:
            pass  # the scheduler has not noticed yet that the other client has left
    assert [row for row in records.all if row[2] != "nested"] == [
        ("anna", first.key, "first"),
        ("berta", second.key, "second"),
    ]
    assert [row[2] for row in records.all].count("nested") == 1
    # What a worker writes to its own stderr stays as it was.
    anna.wait_for("a warning")
    assert "first" not in anna.log


def test_warnings(cluster: Cluster) -> None:
    anna = cluster.add_worker("--name", "anna")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with cluster.executor(forward_logs=True) as ex:
            ex.submit(warn).result()
    assert [(str(each.message), each.category, each.filename) for each in caught] == [
        ("careful", UserWarning, __file__)
    ]
    anna.wait_for("UserWarning: careful")
