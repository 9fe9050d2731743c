"""What multiprocessing tells tasks about their worker: a number, a name, and the process that started it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor
from futures_cluster.testing.real_cluster import Cluster

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")


def describe() -> tuple[tuple[int, ...], str, int, bool]:
    current = multiprocessing.current_process()
    return current._identity, current.name, os.getpid(), current.is_alive()  # type: ignore[attr-defined]


def parent() -> tuple[int, str, bool]:
    found: Any = multiprocessing.parent_process()
    found.join(0)
    return found.pid, found.name, found.is_alive()


def child(kind: str) -> tuple[str, tuple[int, ...], Any]:
    process = multiprocessing.get_context(kind).Process(target=os.getpid)  # type: ignore[attr-defined]
    process.start()
    process.join()
    return process.name, process._identity, process.exitcode


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor(1) as ex:
        ex.run(int)
        yield ex


def test_workers_count_among_the_children_of_the_program(ex: Executor) -> None:
    before, *_ = ex.submit(describe).result()
    started = multiprocessing.get_context("spawn").Process()
    with Executor(2) as other:
        found = list(other.run(describe).values())
        first = min(found)
        other.submit(os.kill, first[2], signal.SIGKILL).exception()
        later = [identity for identity, *_ in other.run(describe).values()]
    numbers = [identity[0] for identity, *_ in found]
    assert before[0] < started._identity[0] < min(numbers)  # type: ignore[attr-defined]
    assert sorted(numbers) == [min(numbers), min(numbers) + 1]
    assert first[0] not in later
    for identity, name, _, is_alive in found:
        assert name == f"FuturesClusterProcess-{identity[0]}" and is_alive


def test_the_parent_is_the_program(ex: Executor) -> None:
    assert ex.submit(parent).result() == (os.getpid(), "MainProcess", True)


@pytest.mark.parametrize("kind", ["fork", "spawn"])
def test_what_a_task_starts_counts_among_the_children_of_its_worker(ex: Executor, kind: str) -> None:
    own, *_ = ex.submit(describe).result()
    name, identity, code = ex.submit(child, kind).result()
    assert identity[:-1] == own and identity[-1] >= 1 and code == 0
    assert name == f"{kind.title()}Process-{':'.join(map(str, identity))}"


def test_an_executor_in_a_task_as_well(ex: Executor) -> None:
    def nested() -> Any:
        with Executor(1, backend="processes") as inner:
            return describe()[0], os.getpid(), inner.submit(describe).result()[0], inner.submit(parent).result()

    own, pid, inner, its_parent = ex.submit(nested).result()
    assert inner[:-1] == own
    assert its_parent == (pid, f"FuturesClusterProcess-{own[0]}", True)


def test_a_process_of_a_context_is_as_multiprocessing_made_it() -> None:
    with Executor(1, mp_context=multiprocessing.get_context("fork")) as ex:
        identity, name, _, _ = ex.submit(describe).result()
        assert name == f"ForkProcess-{identity[0]}"
        assert ex.submit(parent).result() == (os.getpid(), "MainProcess", True)


def test_log_records_that_a_task_handles_itself(ex: Executor) -> None:
    record: Any = ex.submit(logging.LogRecord, "", 0, "", 0, "", (), None)
    assert ex.submit(getattr, record, "processName").result() == ex.submit(describe).result()[1]


@pytest.mark.slow
def test_workers_of_a_cluster_are_children_of_their_manager(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        manager = cluster.add_worker("--workers", "2")
        with cluster.executor() as ex:
            found = ex.run(describe).values()
            assert sorted(identity for identity, *_ in found) == [(1,), (2,)]
            assert set(ex.run(parent).values()) == {(manager.process.pid, "MainProcess", True)}
