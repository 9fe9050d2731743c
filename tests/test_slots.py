"""Slots, and who reads a worker's connection while they wait and execute.

Covers: ``services.worker.slots``, and of ``services.worker.service`` the timer that hands the reading over.
Does not cover: executing and reporting as such (``cluster``, ``engines``).
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gate import LIMIT_S, wait_until

from futures_cluster import messages as m
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.services.common.worker_settings import WorkerSettings
from futures_cluster.services.worker.service import WorkerService
from futures_cluster.services.worker.slots import MainSlot, Slot
from futures_cluster.wire.codec.pickle_codec import PickleCodec
from futures_cluster.worker.runs import Run

# ---------------------------------------------------------------- alone


def new_run(key: str) -> Run:
    return Run(key, 1, "f", b"", (0, 0, 0), (), 0)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def main(sockets: tuple[socket.socket, socket.socket]) -> Iterator[MainSlot]:
    connection: Any = SimpleNamespace(fileno=sockets[0].fileno, read=lambda: bool(sockets[0].recv(100)))
    slot = MainSlot(0, connection)
    yield slot
    slot._wake_pipe.close()


def in_thread(function: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def test_runs_come_in_order(main: MainSlot) -> None:
    for slot in (Slot(0), main):
        runs = [new_run(str(number)) for number in range(3)]
        for run in runs:
            slot.give(run)
        slot.give(None)
        assert [slot.take() for _ in range(4)] == [*runs, None]


def test_a_run_of_another_thread_wakes_the_main_thread(main: MainSlot) -> None:
    for _ in range(100):
        run = new_run("run")
        thread = in_thread(main.give, run)  # before, while or after this one begins to wait
        assert main.take() is run
        thread.join()
    assert not main.waits


def test_a_run_that_the_main_thread_itself_reads(main: MainSlot, sockets: tuple[socket.socket, socket.socket]) -> None:
    run = new_run("run")
    waited = []

    def read() -> bool:
        sockets[0].recv(100)
        waited.append(main.waits)
        if len(waited) == 2:
            main.give(run)
        return True

    main.connection.read = read  # type: ignore[method-assign]
    thread = in_thread(lambda: [sockets[1].send(b"."), wait_until(lambda: waited), sockets[1].send(b".")])
    assert main.take() is run
    thread.join()
    assert waited == [True, True] and not main.waits


def test_giving_never_blocks(main: MainSlot) -> None:
    """Not even when nobody takes what would fill the pipe."""
    run = new_run("run")
    thread = in_thread(lambda: [main.give(run) for _ in range(70_000)])
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    for _ in range(70_000):
        assert main.take() is run
    in_thread(main.give, None).join()
    assert main.take() is None


# ---------------------------------------------------------------- in a worker


class Pins:
    """What tasks of this module wait for; they are pickled by name and so find it."""

    begun = threading.Event()
    go_on = threading.Event()


def hold(value: Any) -> Any:
    Pins.begun.set()
    assert Pins.go_on.wait(LIMIT_S)
    return value


def give_back(value: Any) -> Any:
    return value


class Worker:
    """A worker service with its main slot on a thread; it says what it sent, and whether the loop reads."""

    def __init__(self) -> None:
        self.codec = PickleCodec(None)
        self.thread = LoopThread("futures_cluster-test")
        self.sent: list[m.Message] = []
        self.loop_reads: bool | None = None
        self.ours, self.theirs = socket.socketpair()
        settings = WorkerSettings("w", "")
        self.service = WorkerService(settings, self.codec, self.thread.loop, self.sent.extend, lambda: None)
        self.slot = in_thread(self._run)
        self.thread.start()
        wait_until(lambda: self.service._main is not None and self.service._main.waits)

    def _run(self) -> None:
        connection = SimpleNamespace(fileno=self.ours.fileno, read=lambda: True, watch=self._watch)
        self.service.run_slot(self.service.add_main_slot(connection))

    def _watch(self, on: bool) -> None:
        self.loop_reads = on

    def run(self, key: str, function: Any, value: Any, inputs: Any = ()) -> m.RunTasks:
        payload, _, _ = self.codec.dump_call((value,), {}, True)
        name = function.__name__
        return m.RunTasks(
            [(key, 1, name, payload, (0, 0, 0), inputs, 0)], [(name, name, self.codec.dump_function(function)[0])]
        )

    def receive(self, *messages: m.Message) -> None:
        self.thread.call(self.service.receive, list(messages))

    def finished(self) -> list[str]:
        return [row[0] for message in list(self.sent) if type(message) is m.TasksFinished for row in message.finished]

    def started(self) -> list[str]:
        return [row[0] for message in list(self.sent) if type(message) is m.TasksStarted for row in message.runs]

    def close(self) -> None:
        Pins.go_on.set()
        self.service.stop()
        self.slot.join(LIMIT_S)
        self.thread.stop()
        self.thread.thread.join(LIMIT_S)
        assert self.service._main is not None
        self.service._main._wake_pipe.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def worker() -> Iterator[Worker]:
    Pins.begun.clear()
    Pins.go_on.clear()
    worker = Worker()
    try:
        yield worker
    finally:
        worker.close()


def test_the_loop_reads_while_the_main_thread_executes(worker: Worker) -> None:
    worker.receive(worker.run("long", hold, 1))
    assert Pins.begun.wait(LIMIT_S)
    wait_until(lambda: worker.loop_reads)
    wait_until(lambda: worker.started() == ["long"])
    wait_until(lambda: not worker.service._ticker.runs)
    assert worker.loop_reads  # also when the timer rests
    Pins.go_on.set()
    wait_until(lambda: worker.finished() == ["long"])
    # From the next message on the main thread reads; unless the timer, which looks for some time after each message,
    # never saw it wait.
    for number in range(100):
        worker.receive(worker.run(f"short-{number}", give_back, 1))
        wait_until(lambda number=number: f"short-{number}" in worker.finished())
        wait_until(lambda: not worker.loop_reads or not worker.service._ticker.runs)
        if not worker.loop_reads:
            break
    assert not worker.loop_reads


def test_the_loop_reads_when_inputs_come_after_the_timer_has_stopped(worker: Worker) -> None:
    arrive = asyncio.Event()

    async def get_data(address: str, keys: list[str]) -> m.Data:
        await arrive.wait()
        payload, _, _ = worker.codec.dump_call((5,), {}, True)
        return m.Data(0, [(key, payload) for key in keys], [])

    worker.service.peers.get_data = get_data  # type: ignore[method-assign]
    worker.receive(worker.run("long", hold, 1, [("input", 10, None, [("other", "unix://other")])]))
    wait_until(lambda: worker.loop_reads is False and not worker.service._ticker.runs)
    worker.thread.call(arrive.set)
    assert Pins.begun.wait(LIMIT_S)
    wait_until(lambda: worker.loop_reads)
    wait_until(lambda: worker.started() == ["long"])


def test_what_ended_is_told_while_the_next_one_executes(worker: Worker) -> None:
    worker.receive(worker.run("short", give_back, 1), worker.run("long", hold, 1))
    assert Pins.begun.wait(LIMIT_S)
    wait_until(lambda: worker.finished() == ["short"])
    wait_until(lambda: worker.started()[-1:] == ["long"])


def test_the_loop_leaves_the_reading_to_a_thread_that_waits_in_between(worker: Worker) -> None:
    seen: list[bool | None] = []
    main = worker.service._main
    assert main is not None
    busy = SimpleNamespace(waits=False, has_waited=True, connection=main.connection)

    def look() -> None:
        worker.service._main = busy  # type: ignore[assignment]
        for _ in range(2):
            worker.service._tick()
            seen.append(worker.loop_reads)
        worker.service._main = main
        worker.service._ticker.start()

    worker.thread.call(look)
    wait_until(lambda: len(seen) == 2)
    assert seen == [None, True]  # it has waited since the look before; it has not
    wait_until(lambda: worker.loop_reads is False)
