"""Waits that no worker can end say so, in real clusters, with real logging; the times are shortened."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor, as_completed, current_executor
from futures_cluster.errors import HandshakeError
from futures_cluster.services.client import wait_watch
from futures_cluster.services.common import reminders
from futures_cluster.services.launch import fork_server_process
from futures_cluster.testing.real_cluster import Cluster

slow = pytest.mark.slow
WAIT_S = 60
#: In place of 5 s, and what goes with it.
SHORT = {"reminders.FIRST_S": 0.2, "reminders.EARLY_S": 0.0, "wait_watch.CHECK_INTERVAL_S": 0.11}


class Said(logging.Handler):
    """What was said, line by line."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        if "waited" in record.getMessage() or "answered" in record.getMessage():
            self._lines.put(record.getMessage())

    def next(self, what: str = "waited") -> str:
        """The next line of this kind, which comes soon; on a busy machine the scheduler may answer late."""
        while what not in (line := self._lines.get(timeout=WAIT_S)):
            pass
        return line

    def rest(self) -> list[str]:
        """All lines about waits that have come."""
        return [line for _ in range(self._lines.qsize()) if "waited" in (line := self._lines.get())]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[Said]:
    for name, value in SHORT.items():
        module, _, attribute = name.partition(".")
        monkeypatch.setattr({"reminders": reminders, "wait_watch": wait_watch}[module], attribute, value)
    logger, handler = logging.getLogger("futures_cluster"), Said()
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


def results(futures: list[Any]) -> list[Any]:
    return [future.result(WAIT_S) for future in futures]


def waited(futures: list[Any]) -> list[Any]:
    done, _ = concurrent.futures.wait(futures, WAIT_S)
    return sorted(future.result() for future in done)


def in_order(futures: list[Any]) -> list[Any]:
    return sorted(future.result() for future in as_completed(futures, WAIT_S))


def awaited(futures: list[Any]) -> list[Any]:
    async def gather() -> list[Any]:
        return await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))

    return asyncio.run(gather())


@pytest.mark.parametrize("wait", [waited, *(pytest.param(each, marks=slow) for each in (results, in_order, awaited))])
def test_a_cluster_without_workers(cluster: Cluster, said: Said, wait: Callable[[list[Any]], list[Any]]) -> None:
    with cluster.executor() as ex, concurrent.futures.ThreadPoolExecutor() as threads:
        futures = [ex.submit(pow, i, 2) for i in range(3)]
        # Several waits of one executor are one wait.
        waiting = [threads.submit(wait, futures) for _ in range(3)]
        line = said.next()
        assert line.startswith(f"3 tasks (such as {futures[0].key}) have waited 0 s for a worker; there is none. ")
        assert line.endswith(
            f"Start one with: futures-cluster worker {cluster.address}; or give the tasks up with cancel(force=True)"
        )
        assert said.next().partition(" have waited")[0] == line.partition(" have waited")[0]
        cluster.add_worker()
        assert [each.result(WAIT_S) for each in waiting] == [[0, 1, 4]] * 3
    assert len(said.rest()) <= 4  # while the worker started, which takes seconds on a busy machine


@slow
def test_a_resource_that_nobody_offers_beside_tasks_that_run(cluster: Cluster, said: Said) -> None:
    cluster.add_worker("--workers", "2")
    with cluster.executor() as ex:
        future = ex.with_options(resources={"GPU": 1}).submit(pow, 2, 3)
        assert list(ex.map(abs, range(100))) == list(range(100))
        line = said.next()
        assert "1 task (such as pow-" in line and "for a worker with {'GPU': 1}" in line
        assert "the most that a worker has is {'GPU': 0}" in line
        assert f"futures-cluster worker {cluster.address} --resources GPU=1;" in line
        cluster.add_worker("--resources", "GPU=1")
        assert future.result(WAIT_S) == 8


@slow
def test_a_task_of_a_task(cluster: Cluster, said: Said) -> None:
    def outer() -> int:
        inner = current_executor()
        return inner.with_options(workers="far").submit(abs, -7).result()

    cluster.add_worker("--name", "near")
    with cluster.executor() as ex:
        future = ex.submit(outer)
        line = said.next()
        assert "1 task (such as abs-near-" in line and "for the worker far; the workers are near. " in line
        assert "--workers 1 --name far;" in line
        cluster.add_worker("--name", "far")
        assert future.result(WAIT_S) == 7


@slow
def test_a_result_that_was_lost_with_the_last_worker(cluster: Cluster, said: Said) -> None:
    worker = cluster.add_worker()
    with cluster.executor() as ex, concurrent.futures.ThreadPoolExecutor() as threads:
        future = ex.submit(bytes, 1_000_000)
        concurrent.futures.wait([future], WAIT_S)  # its result stays on the worker
        worker.end()
        fetching = threads.submit(future.result, WAIT_S)
        line = said.next()
        assert f"1 task (such as {future.key}) has waited" in line and "there is none (the last one, w" in line
        cluster.add_worker()
        assert len(fetching.result(WAIT_S)) == 1_000_000


def test_run_and_scatter_wait_for_a_worker(cluster: Cluster, said: Said) -> None:
    with cluster.executor() as ex, concurrent.futures.ThreadPoolExecutor() as threads:
        running = threads.submit(ex.run, abs, -1)
        assert said.next().startswith("run() has waited")
        block = threads.submit(ex.scatter, bytes(1_000_000))
        while "scatter() has waited" not in (line := said.next()):
            assert line.startswith("run() has waited")
        assert line.endswith(f"Start one with: futures-cluster worker {cluster.address}")
        cluster.add_worker("--name", "w")
        assert running.result(WAIT_S) == {"w": 1}
        assert len(block.result(WAIT_S).result(WAIT_S)) == 1_000_000


def test_tasks_that_run_say_nothing(cluster: Cluster, said: Said, tmp_path: Path) -> None:
    """Also those behind them, which wait for their turn."""
    os.mkfifo(tmp_path / "gate")
    cluster.add_worker("--workers", "1")
    looks = threading.Semaphore(0)
    with cluster.executor() as ex:
        futures = [ex.submit((tmp_path / "gate").read_text) for _ in range(3)]
        watch: Any = ex._engine.client.watch  # type: ignore[attr-defined]
        find = watch._ask

        async def ask() -> Any:
            looks.release()
            return await find()

        watch._ask = ask
        for _ in range(5):
            assert looks.acquire(timeout=WAIT_S)
        for future in futures:
            with open(tmp_path / "gate", "w") as gate:
                gate.write("open")
            assert future.result(WAIT_S) == "open"
    assert said.rest() == []


def test_a_scheduler_that_says_nothing(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUTURES_CLUSTER_SECRET", "0123456789abcdef0123456789abcdef")
    with socket.create_server(("127.0.0.1", 0)) as server, concurrent.futures.ThreadPoolExecutor() as threads:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        connecting = threads.submit(Executor, backend=address)
        connection, _ = server.accept()
        assert said.next("answered").startswith(f"the scheduler at {address} has not answered for 0 s; ")
        connection.close()
        with pytest.raises(HandshakeError):
            connecting.result(WAIT_S)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not fork_server_process.available, reason="needs unix sockets")
def test_a_worker_process_that_is_gone(said: Said) -> None:
    """No other has its name. The end need not wait for such tasks when it is asked to cancel them."""
    with Executor(max_workers=2) as ex:
        (name, *_) = ex.run(abs, -1)
        ex._engine.cluster.processes.wanted = False  # type: ignore[attr-defined]  # as if none could be started
        future = ex.with_options(workers=name).submit(die)  # which is to run again
        while future.key not in (line := said.next()):
            assert "run() has waited" in line  # it took long to start
        assert f"for the worker {name}; the workers are" in line
        ex.shutdown(cancel_futures=True)
        assert future.cancelled()


@pytest.mark.skipif(not fork_server_process.available, reason="needs unix sockets")
def test_worker_processes_that_are_gone_for_good(said: Said) -> None:
    with Executor(max_workers=1) as ex:
        pid = ex.submit(os.getpid).result(WAIT_S)
        ex._engine.cluster.processes.wanted = False  # type: ignore[attr-defined]  # as if none could be started
        os.kill(pid, signal.SIGKILL)
        future = ex.submit(abs, -1)
        while future.key not in (line := said.next()):
            assert "getpid" in line  # it took long to start
        assert "for a worker; there is none (the last one, worker-0: was killed by SIGKILL" in line
        assert "No more worker processes start" in line
        ex.shutdown(cancel_futures=True)
        assert future.cancelled()


PROGRAM = """
import sys
from futures_cluster import Executor
from futures_cluster.services.client import wait_watch
from futures_cluster.services.common import reminders

{short}
def work():
    ex = Executor(backend=sys.argv[1])
    ex.with_options(resources={{"GPU": 1}}).submit(print, "run at last")
    return ex

if sys.argv[2] == "with":
    with work():
        pass
elif sys.argv[2] == "shutdown":
    work().shutdown(wait=True)
else:
    ex = work()
"""


@pytest.mark.parametrize("end", ["with", "shutdown", "exit"])
def test_a_program_that_ends_with_tasks_that_cannot_run(cluster: Cluster, tmp_path: Path, end: str) -> None:
    """It has no handlers, and logging prints the line to stderr."""
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.format(short="\n".join(f"{name} = {value}" for name, value in SHORT.items())))
    command = [sys.executable, str(script), cluster.address, end]
    with subprocess.Popen(command, env=cluster.environment, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        try:
            # With such short times a busy scheduler is late with its answer.
            while "has not answered" in (line := program.stderr.readline()):
                pass
            assert line.startswith("1 task (such as print-") and "for a worker with {'GPU': 1}; there is none" in line
            cluster.add_worker("--resources", "GPU=1")
            rest = program.stderr.read()
            assert program.wait(WAIT_S) == 0
            said = [other for other in rest.splitlines() if "has not answered" not in other]
            assert all(other.startswith("1 task (such as print-") for other in said)
        finally:
            program.kill()


@pytest.mark.parametrize("wait", ["result", "channel"])
def test_a_scheduler_that_is_stopped(cluster: Cluster, said: Said, wait: str) -> None:
    cluster.add_worker()
    with cluster.executor() as ex, concurrent.futures.ThreadPoolExecutor() as threads:
        channel = ex.channel("numbers")
        channel.put(0)
        os.kill(cluster.scheduler.process.pid, signal.SIGSTOP)
        try:
            waiting = threads.submit(channel.put, 1) if wait == "channel" else threads.submit(ex.submit(abs, -1).result)
            line = said.next("answered")
            assert line.startswith(f"the scheduler at {cluster.address} has not answered for 0 s; look whether")
        finally:
            os.kill(cluster.scheduler.process.pid, signal.SIGCONT)
        assert waiting.result(WAIT_S) == (None if wait == "channel" else 1)


@pytest.mark.parametrize("wait", ["result", *(pytest.param(each, marks=slow) for each in ("fetch", "restart"))])
def test_a_worker_that_is_stopped(tmp_path: Path, said: Said, wait: str) -> None:
    with Cluster(tmp_path, "--silence", "1.5") as cluster:
        cluster.add_worker("--name", "w")
        with cluster.executor() as ex, concurrent.futures.ThreadPoolExecutor() as threads:
            large = ex.submit(bytes, 1_000_000)
            concurrent.futures.wait([large], WAIT_S)  # its result stays on the worker
            pid = ex.workers()["w"]["pid"]
            os.kill(pid, signal.SIGSTOP)
            try:
                if wait == "restart":
                    waiting, who = threads.submit(ex.restart_workers), "restart_workers()"
                elif wait == "fetch":
                    waiting, who = threads.submit(large.result), f"the result of {large.key}"
                else:
                    future = ex.submit(abs, -1)
                    waiting, who = threads.submit(future.result), f"1 task (such as {future.key})"
                line = said.next()
                assert line.startswith(f"{who} has waited 0 s for the worker w; it has said nothing for ")
                assert "Look whether its process is stopped" in line
            finally:
                os.kill(pid, signal.SIGCONT)
            waiting.result(WAIT_S)
