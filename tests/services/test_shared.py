"""Questions to shared objects and their answers: several clients of one scheduler, and all that can come between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import Gate, wait_until

from futures_cluster import Executor, current_executor
from futures_cluster import messages as m
from futures_cluster.channels import Channel, SharedHandle, SharedState, register
from futures_cluster.engines.client import ClientEngine
from futures_cluster.errors import ForkedExecutor, SharedObjectError, WorkerDied
from futures_cluster.executor import executor_in_task
from futures_cluster.future import Future
from futures_cluster.scheduler.shared import objects as shared
from futures_cluster.services.client.client import Client

TIMEOUT_S = 30.0


class Box(SharedState):
    """Holds one item; who asks before there is one waits."""

    kind = "box"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.content: Any = None
        self.waiting: dict[Any, None] = {}

    def on_fill(self, request: Any, value: Any) -> None:
        self.content = self.item(value)
        self.keep(self.content)
        self.reply(request)
        self.give()

    def on_take(self, request: Any) -> None:
        self.waiting[request] = None
        self.give()

    def on_count(self, request: Any) -> None:
        self.reply(request, len(self.waiting), self.content is not None)

    def withdrawn(self, request: Any) -> None:
        del self.waiting[request]

    def give(self) -> None:
        if self.content is not None and self.waiting:
            request = next(iter(self.waiting))
            del self.waiting[request]
            content, self.content = self.content, None
            self.reply(request, content)
            self.let_go(content)


class BoxHandle(SharedHandle):
    kind = "box"

    def fill(self, value: Any) -> None:
        self.ask("fill", self.pack(value))

    def take(self, timeout: float | None = TIMEOUT_S) -> Any:
        answer = self.ask("take", timeout=timeout, undo=lambda answer: self.tell("fill", answer[0]))
        return answer.load(answer[0])

    def count(self) -> Any:
        return self.ask("count").values


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(shared, "_kinds", dict(shared._kinds))
    register(Box)
    yield


@pytest.fixture(params=["processes", "threads"])
def ex(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with Executor(2, backend=request.param) as ex:
        assert ex.submit(abs, -1).result(TIMEOUT_S) == 1
        yield ex


#: Threads share objects without a scheduler, and it is a scheduler that has several clients.
with_scheduler = pytest.mark.parametrize("ex", ["processes"], indirect=True)


def state_of(ex: Executor) -> Any:
    engine: Any = ex._engine
    return engine.cluster.scheduler.machine.state


def wait_forgotten(ex: Executor, *keys: str) -> None:
    """Wait until the scheduler remembers none of these tasks."""

    def is_forgotten() -> bool:
        ex.channel("nudge").put(1)  # what was released goes with the next message
        return not any(key in state_of(ex).tasks for key in keys)

    wait_until(is_forgotten, "the tasks are kept though nobody needs them")


class Guest:
    """A second client of an executor's scheduler, in the same process."""

    def __init__(self, ex: Executor, name: str = "guest") -> None:
        engine: Any = ex._engine
        self.cluster = engine.cluster
        scheduler = self.cluster.scheduler
        self.client = Client(
            name,
            self.cluster.codec,
            Future,
            self.cluster._loop,
            scheduler.handle_locked,
            self.cluster._peers,
            scheduler.lock,
            scheduler.could_start,
        )
        scheduler.clients[name] = self.client.deliver
        scheduler.handle([m.ClientJoined(name)])
        self.client.joined = True
        self.executor = executor_in_task(self.client)
        assert isinstance(self.executor._engine, ClientEngine)

    def vanish(self) -> None:
        """Its process is gone: it says nothing more, not even what it releases."""
        self.client.forked = True
        del self.cluster.scheduler.clients[self.client.name]
        self.cluster.scheduler.handle([m.ClientLeft(self.client.name)])
        self.client.close(RuntimeError("it has vanished"))


# ---------------------------------------------------------------- several clients


@with_scheduler
def test_clients_share_by_names(ex: Executor) -> None:
    guest = Guest(ex)
    ours, theirs = ex.channel("x"), guest.executor.channel("x")
    theirs.put((1, guest.executor.submit(pow, 2, 10)))
    ours.put(2)
    number, future = next(reader := ours.reader(TIMEOUT_S))
    assert (number, future.result(TIMEOUT_S)) == (1, 1024) and next(reader) == 2
    assert ex.submit(abs, future).result(TIMEOUT_S) == 1024  # it is ours as well
    with pytest.raises(ValueError, match="another executor"):
        theirs.put(future)
    guest.vanish()
    assert next(ours.reader(TIMEOUT_S))[0] == 1


@with_scheduler
@pytest.mark.parametrize("is_released", [True, False])
def test_the_computation_goes_on_when_its_maker_vanishes(ex: Executor, gate: Gate, is_released: bool) -> None:
    guest = Guest(ex)
    channel = ex.channel("x")
    future = guest.executor.submit(gate.hold, 5)
    chained = guest.executor.submit(abs, future)
    gate.wait_come()
    guest.executor.channel("x").extend([chained, guest.executor.submit(bytes, 10**6)])
    if is_released:
        del future, chained
    guest.vanish()
    gate.open()
    found = [future for _, future in zip(range(2), channel, strict=False)]
    keys = [future.key for future in found]
    assert found[0].result(TIMEOUT_S) == 5
    assert len(found[1].result(TIMEOUT_S)) == 10**6
    del found
    channel.delete()
    wait_forgotten(ex, *keys)
    assert not state_of(ex).held


@with_scheduler
def test_what_a_vanished_reader_was_given_goes_to_nobody(ex: Executor) -> None:
    guest = Guest(ex)
    ex.channel("x").put(ex.submit(abs, -1))
    reader = guest.executor.channel("x").reader(TIMEOUT_S)
    future = next(reader)
    assert future.result(TIMEOUT_S) == 1
    guest.vanish()
    ex.channel("x").delete()
    wait_forgotten(ex, future.key)


# ---------------------------------------------------------------- waiting


def take_second(box: BoxHandle) -> Any:
    return box.take()[1].result(TIMEOUT_S)


def test_a_question_waits_until_somebody_answers(ex: Executor) -> None:
    box = BoxHandle(ex, "b")
    taken = ex.submit(take_second, box)
    wait_until(lambda: box.count() == (1, False))
    box.fill([1, ex.submit(abs, -2)])
    assert taken.result(TIMEOUT_S) == 2


def test_a_time_limit_withdraws_the_question(ex: Executor) -> None:
    box = BoxHandle(ex, "b")
    with pytest.raises(TimeoutError, match="take of the box 'b'"):
        box.take(timeout=0.01)
    assert box.count() == (0, False)
    with pytest.raises(TimeoutError):
        ex.submit(BoxHandle.take, box, 0.01).result(TIMEOUT_S)
    assert box.count() == (0, False)
    box.fill(1)
    assert box.take(timeout=0) == 1


def test_the_questions_of_a_dead_worker_are_withdrawn() -> None:
    with Executor(1) as ex:
        box = BoxHandle(ex, "b")
        (facts,) = ex.workers().values() if ex.submit(abs, 1).result() else ()
        taken = ex.with_options(rerun=False).submit(BoxHandle.take, box)
        wait_until(lambda: box.count() == (1, False))
        os.kill(facts["pid"], signal.SIGKILL)
        assert isinstance(taken.exception(TIMEOUT_S), WorkerDied)
        assert box.count() == (0, False)
        box.fill(3)
        assert box.take() == 3


def test_an_answer_that_comes_too_late_is_undone() -> None:
    """The answer is under way when the one who asked gives up."""
    with Executor(1) as ex:
        assert ex.submit(abs, -1).result(TIMEOUT_S) == 1
        guest = Guest(ex)
        held: list[Any] = []
        scheduler = guest.cluster.scheduler
        scheduler.clients["guest"] = held.extend  # messages to the guest take their time
        box, theirs = BoxHandle(ex, "b"), BoxHandle.__new__(BoxHandle)
        theirs._bind(guest.executor, "b", {})
        theirs.tell("open", {})
        port = guest.client.shared
        undone: list[Any] = []

        def undo(answer: Any) -> None:
            undone.append(answer[0])
            theirs.tell("fill", answer[0])

        number, question = port._begin("box", "b", "take", (), undo)
        box.fill(ex.submit(abs, -7))
        port._abandon(number, question)
        guest.client.deliver(held)
        assert len(undone) == 1
        assert box.take().result(TIMEOUT_S) == 7  # it is back, with its task
        wait_until(lambda: not guest.cluster.scheduler.machine.shared.lent)
        assert not state_of(ex).held
        guest.vanish()


def test_ctrl_c_while_waiting(tmp_path: Path) -> None:
    """One traceback, and the program ends."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, threading\n"
        "from futures_cluster import Executor\n"
        "with Executor(1) as ex:\n"
        "    channel = ex.channel('x')\n"
        "    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    next(iter(channel))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.stderr.count("Traceback") == 1 and "KeyboardInterrupt" in done.stderr, done.stderr


# ---------------------------------------------------------------- order


def put_after_many(channel: Channel, count: int) -> list[int]:
    """More submissions than the loop hands over at a time, and the last of them into the channel at once."""
    ex = current_executor()
    futures = [ex.submit(abs, -number) for number in range(count)]
    channel.put(futures[-1])
    return [future.result() for future in futures[:-1]]


def test_a_future_that_was_just_submitted_can_be_put(ex: Executor) -> None:
    channel = ex.channel("x")
    put_here = [ex.submit(abs, -number) for number in range(5000)]
    channel.put(put_here[-1])
    del put_here
    assert next(reader := channel.reader(TIMEOUT_S)).result(TIMEOUT_S) == 4999
    work = ex.submit(put_after_many, channel, 3000)
    assert next(reader).result(TIMEOUT_S) == 2999
    assert len(work.result(TIMEOUT_S)) == 2999


def test_many_threads_at_once(ex: Executor) -> None:
    channel = ex.channel("x")

    def put(name: int) -> None:
        for number in range(100):
            channel.put((name, number))

    threads = [threading.Thread(target=put, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    reader = channel.reader(TIMEOUT_S)
    seen = [next(reader) for _ in range(400)]
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [number for other, number in seen if other == name] == list(range(100))


# ---------------------------------------------------------------- what cannot be


def test_what_cannot_be_asked(ex: Executor) -> None:
    box = BoxHandle(ex, "b")
    with pytest.raises(TypeError, match="pack"):
        box.ask("fill", {1, 2})
    with pytest.raises(ValueError, match="64 bits"):
        box.ask("fill", 2**70)
    with pytest.raises(SharedObjectError, match="does not take this 'fill'"):
        box.ask("fill", 5)
    with pytest.raises(SharedObjectError, match="does not take this 'nothing'"):
        box.ask("nothing")

    class Unknown(SharedHandle):
        kind = "unknown"

    with pytest.raises(SharedObjectError, match="--preload"):
        Unknown(ex, "u")


def test_a_failed_or_cancelled_future_cannot_be_put(ex: Executor, gate: Gate) -> None:
    channel = ex.channel("x")
    has_scheduler = hasattr(ex._engine, "cluster")
    if has_scheduler:  # where arguments are pickled
        with pytest.raises(Exception, match="pickle"):
            channel.put(ex.submit(abs, threading.Lock()))
    blocked = [ex.submit(gate.hold) for _ in range(2)]
    gate.wait_come(2)
    cancelled = ex.submit(abs, 1)
    assert cancelled.cancel()
    with pytest.raises(ValueError, match="is cancelled"):
        channel.put(cancelled)
    dependency = ex.submit(abs, -1)
    dependent = ex.submit(abs, dependency)
    channel.put(dependent)
    assert dependency.cancel()
    gate.open()
    shared = next(channel.reader(TIMEOUT_S))
    if has_scheduler:
        assert shared.result(TIMEOUT_S) == 1  # it goes on, and so does what it needs
    else:
        assert shared is dependent and shared.cancelled()
    assert [future.result(TIMEOUT_S) for future in blocked] == [None, None]


def test_a_forked_copy_cannot_ask() -> None:
    with Executor(1) as ex:
        channel = ex.channel("x")
        pid = os.fork()
        if not pid:
            code = 1
            try:
                channel.put(1)
            except ForkedExecutor:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert len(channel) == 0
