"""Who reads the workers' connections: the leader, the loop, and how each hands over to the other.

Covers: ``services.client.direct_reader`` on a socket pair, and many threads at once on whole executors.
Does not cover: what is read, and Ctrl-C while a thread leads (``test_interrupts``).
"""

from __future__ import annotations

import concurrent.futures
import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gate import LIMIT_S, Gate, wait_until

from futures_cluster import Executor, as_completed, clocks
from futures_cluster import messages as m
from futures_cluster.services.client import direct_reader as leader_module
from futures_cluster.services.client.direct_reader import DirectReader
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.wire import frames
from futures_cluster.wire.transports.sockets import SocketConnection

pytestmark = pytest.mark.skipif(not leader_module.available, reason="needs epoll")


class Awaited:
    """A future without anything around it."""

    _awaited_by: Any = None

    def __init__(self) -> None:
        self.is_done = False

    def done(self) -> bool:
        return self.is_done

    def end(self) -> None:
        self.is_done = True
        if self._awaited_by is not None:
            self._awaited_by.wake()


class Rig:
    """A loop, a connection, its other end, and a leader; ``handle`` is called with what is read."""

    def __init__(self) -> None:
        self.loop_thread = LoopThread("futures_cluster-test")
        self.pending = 0
        self.ours, self.peer = socket.socketpair()
        self.readers: list[threading.Thread] = []
        self.handle: Callable[[], None] = lambda: None
        self.lost = threading.Event()
        self.connection = SocketConnection(
            self.ours, self.loop_thread.loop, self._received, lambda error: self.lost.set()
        )
        self.leader = DirectReader(self.loop_thread.loop, lambda: self.pending)
        self.loop_thread.start()
        self.on_loop(self.connection.start)
        self.on_loop(self.leader.add, self.connection)

    def _received(self, messages: list[m.Message]) -> None:
        self.readers.append(threading.current_thread())
        self.handle()

    def send(self) -> None:
        self.peer.sendall(frames.pack([m.GetData(0, [])])[0])

    def on_loop(self, function: Callable[..., Any], *args: Any) -> None:
        done = threading.Event()

        def call() -> None:
            function(*args)
            done.set()

        self.loop_thread.call(call)
        assert done.wait(LIMIT_S)

    def lead(self, future: Awaited, timeout: float | None = None) -> Waiting:
        return Waiting(self.leader, future, timeout)

    def close(self) -> None:
        self.on_loop(self.leader.close)
        self.on_loop(self.leader.remove, self.connection)
        self.on_loop(self.connection.close)
        self.on_loop(self.leader.free)
        self.loop_thread.stop()
        self.loop_thread.thread.join(LIMIT_S)
        self.peer.close()


class Waiting:
    """A thread that waits for a future."""

    def __init__(self, leader: DirectReader, future: Awaited, timeout: float | None) -> None:
        self.result: Any = None
        self.thread = threading.Thread(target=self._run, args=(leader, future, timeout))
        self.thread.start()

    def _run(self, leader: DirectReader, future: Awaited, timeout: float | None) -> None:
        self.result = leader.wait_for(future, timeout)

    def join(self) -> Any:
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        return self.result


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    try:
        yield rig
    finally:
        rig.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop leaves a leader alone however long it waits."""
    monkeypatch.setattr(leader_module, "IDLE_TIMEOUT_S", 1e9)


# ---------------------------------------------------------------- one hand-over at a time


def test_who_waits_reads(rig: Rig, patient: None) -> None:
    future = Awaited()
    rig.handle = future.end
    waiting = rig.lead(future)
    wait_until(lambda: not rig.connection._watched)
    rig.send()
    assert waiting.join() is True
    assert rig.readers == [waiting.thread]
    assert future._awaited_by is None


def test_one_leads_and_others_are_sent_away(rig: Rig, patient: None) -> None:
    first, second = Awaited(), Awaited()
    leading = rig.lead(first)
    wait_until(lambda: first._awaited_by)
    assert rig.leader.wait_for(second, None) is False
    assert second._awaited_by is None
    first.end()
    assert leading.join() is True
    second.end()
    assert rig.leader.wait_for(second, None) is True  # the place is free again


def test_who_leaves_while_others_wait_gives_the_reading_to_the_loop(
    rig: Rig, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_module, "TICK_S", 1e6)  # not the timer
    future = Awaited()
    read = threading.Event()
    rig.pending = 2
    rig.handle = future.end
    leading = rig.lead(future)
    wait_until(lambda: not rig.connection._watched)
    rig.send()
    assert leading.join() is True
    rig.handle = read.set
    rig.send()
    assert read.wait(LIMIT_S)
    assert rig.readers == [leading.thread, rig.loop_thread.thread]


def test_when_nobody_leads_any_more_the_timer_gives_the_reading_back(rig: Rig, patient: None) -> None:
    future = Awaited()
    read = threading.Event()
    rig.handle = future.end
    leading = rig.lead(future)
    wait_until(lambda: not rig.connection._watched)
    rig.send()
    leading.join()
    assert not rig.connection._watched  # as the same thread is likely to be back soon
    rig.pending = 1  # somebody waits, but not as the leader
    rig.handle = read.set
    rig.send()
    assert read.wait(LIMIT_S)
    assert rig.readers[-1] is rig.loop_thread.thread


def test_the_loop_joins_a_leader_that_waits_for_long(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    future = Awaited()
    leading = rig.lead(future)
    wait_until(lambda: not rig.leader._ticker.runs and rig.connection._watched)
    rig.handle = future.end
    rig.send()  # either of them reads it
    assert leading.join() is True
    assert len(rig.readers) == 1


def test_both_may_read_and_nothing_is_handled_twice_or_out_of_order(rig: Rig) -> None:
    future = Awaited()
    seen: list[int] = []
    rig.connection.on_messages = lambda messages: seen.extend(message.request for message in messages)  # type: ignore[attr-defined]
    leading = rig.lead(future)
    for number in range(500):
        rig.peer.sendall(frames.pack([m.GetData(number, [])])[0])
        if number % 50 == 0:
            rig.on_loop(rig.leader._watch, number % 100 == 0)
    rig.on_loop(rig.leader._watch, True)
    wait_until(lambda: len(seen) >= 500)
    future.end()
    leading.join()
    assert seen == list(range(500))


def test_the_time_is_over(rig: Rig, patient: None) -> None:
    future = Awaited()
    for timeout in (0.0, 0.001):
        assert rig.leader.wait_for(future, timeout) is False
        assert future._awaited_by is None
    future.end()
    assert rig.leader.wait_for(future, 0.0) is True


def test_no_wait_is_without_end(rig: Rig, patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may come too late for Python and too early for the system; then nothing would end the wait."""
    monkeypatch.setattr(leader_module, "POLL_INTERVAL_S", 0.001)
    epoll, waits, looked = rig.leader._epoll, [], threading.Semaphore(0)

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(epoll, name)

        def poll(self, left_s: float | None, max_events: int) -> Any:
            waits.append(left_s)
            looked.release()
            return epoll.poll(left_s, max_events)

    rig.leader._epoll = Watched()  # type: ignore[assignment]
    for timeout in (None, LIMIT_S):
        future = Awaited()
        waiting = rig.lead(future, timeout)
        for _ in range(3):
            assert looked.acquire(timeout=LIMIT_S)
        future.end()
        assert waiting.join() is True
    assert all(left_s is not None and left_s <= 0.001 for left_s in waits)


def test_another_thread_ends_what_the_leader_waits_for(rig: Rig, patient: None) -> None:
    for _ in range(50):
        future = Awaited()
        leading = rig.lead(future)
        future.end()  # before, while or after the other one begins to wait
        assert leading.join() is True


def test_the_loop_never_waits_for_itself(rig: Rig) -> None:
    answers: list[bool] = []
    rig.on_loop(lambda: answers.append(rig.leader.wait_for(Awaited(), None)))
    assert answers == [False]


def test_closing_sends_the_leader_away(rig: Rig, patient: None) -> None:
    future = Awaited()
    leading = rig.lead(future)
    wait_until(lambda: not rig.connection._watched)
    rig.on_loop(rig.leader.close)
    assert leading.join() is False
    assert rig.connection._watched
    assert rig.leader.wait_for(future, None) is False


def test_the_peer_hangs_up(rig: Rig, patient: None) -> None:
    future = Awaited()
    leading = rig.lead(future)
    wait_until(lambda: not rig.connection._watched)
    rig.peer.shutdown(socket.SHUT_RDWR)
    assert rig.lost.wait(LIMIT_S)
    wait_until(lambda: rig.leader._epoll.poll(0) == [])  # nothing that would keep the leader turning
    future.end()
    assert leading.join() is True


def test_a_new_connection_under_the_number_of_one_that_has_ended(rig: Rig, patient: None) -> None:
    class Ended:
        """Closed while a leader reads it; the number goes to a new connection at once."""

        def fileno(self) -> int:
            return rig.ours.fileno()

        def watch(self, on: bool) -> None: ...

        def read(self) -> bool:
            rig.leader._epoll.unregister(self.fileno())  # as closing does
            rig.on_loop(rig.leader.add, rig.connection)
            return False

    rig.on_loop(rig.leader.remove, rig.connection)
    rig.on_loop(rig.connection.watch, False)
    rig.on_loop(rig.leader.add, Ended())
    future = Awaited()
    rig.handle = future.end
    rig.send()  # first the one that has ended reads, then the new one
    assert rig.leader.wait_for(future, LIMIT_S) is True
    assert rig.readers == [threading.current_thread()]


def test_nothing_is_written_to_a_descriptor_that_was_given_up() -> None:
    rig = Rig()
    number = rig.leader._wake_pipe.write_fd
    rig.close()
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        if write != number:
            os.dup2(write, number)  # as it might have been given to another file
        rig.leader.wake()
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
    finally:
        for fd in {read, write, number}:
            os.close(fd)


def test_the_loop_does_not_read_between_two_results(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on: list[bool] = []
    watched: list[bool] = []
    monkeypatch.setattr(rig.leader, "_watch", watched.append)
    now_s = clocks.monotonic()
    rig.pending = 1  # submitted, and nobody waits yet
    monkeypatch.setattr(rig.leader, "_since", now_s + 1e6)  # the leader has just ended
    rig.on_loop(lambda: goes_on.append(rig.leader._tick()))
    assert (goes_on, watched) == ([True], [])
    monkeypatch.setattr(rig.leader, "_since", now_s - leader_module.BETWEEN_S)  # it did not come back
    rig.on_loop(lambda: goes_on.append(rig.leader._tick()))
    assert (goes_on, watched) == ([True, False], [True])


# ---------------------------------------------------------------- closing while another thread reads


def test_a_connection_is_not_closed_under_a_thread_that_reads_it(rig: Rig, patient: None) -> None:
    future, reading, go_on = Awaited(), threading.Event(), threading.Event()

    def handle() -> None:
        reading.set()
        assert go_on.wait(LIMIT_S)
        future.end()

    rig.handle = handle
    leading = rig.lead(future)
    rig.send()
    assert reading.wait(LIMIT_S)
    rig.on_loop(rig.leader.remove, rig.connection)
    # As the reader may be the loop, which joined: not on it.
    rig.connection.close()
    assert rig.ours.fileno() != -1
    go_on.set()
    assert leading.join() is True
    wait_until(lambda: rig.ours.fileno() == -1)


def test_draining_waits_for_the_thread_that_took_the_last_message(rig: Rig, patient: None) -> None:
    future, reading, go_on = Awaited(), threading.Event(), threading.Event()
    drained = threading.Event()

    def handle() -> None:
        reading.set()
        assert go_on.wait(LIMIT_S)
        future.end()

    def drain() -> None:
        rig.connection.drain()
        assert future.is_done
        drained.set()

    rig.handle = handle
    leading = rig.lead(future)
    wait_until(lambda: not rig.connection._watched)
    rig.send()
    assert reading.wait(LIMIT_S)
    draining = threading.Thread(target=drain)
    draining.start()
    assert not drained.wait(0.02)
    go_on.set()
    assert drained.wait(LIMIT_S)
    draining.join()
    leading.join()


# ---------------------------------------------------------------- callbacks of a future that the leader delivers


@pytest.fixture(scope="module")
def processes() -> Iterator[Executor]:
    with Executor(2) as ex:
        ex.run(int)  # on both workers: a single task does not wait for the second one
        yield ex


def test_callbacks_do_not_run_on_the_thread_that_waits(processes: Executor, gate: Gate) -> None:
    lock, called = threading.Lock(), threading.Event()
    names: list[str] = []

    def call_back(future: Any) -> None:
        with lock:  # which the thread that waits holds
            names.append(threading.current_thread().name)
        called.set()

    future = processes.submit(gate.hold, 1)
    future.add_done_callback(call_back)
    gate.wait_come()
    with lock:
        gate.open(1)
        assert future.result(LIMIT_S) == 1
    assert called.wait(LIMIT_S)
    assert names == ["futures_cluster-callbacks"]


def test_a_callback_that_blocks_does_not_hold_the_scheduler(gate: Gate) -> None:
    """Other threads go on to submit, and the one that waits for a result can be interrupted."""
    begun, go_on = threading.Event(), threading.Event()

    def call_back(future: Any) -> None:
        begun.set()
        assert go_on.wait(LIMIT_S)

    with Executor(1) as ex:
        future = ex.submit(gate.hold)
        future.add_done_callback(call_back)
        gate.wait_come()
        gate.open(1)
        assert begun.wait(LIMIT_S)
        try:
            lock = ex._engine.cluster.scheduler.lock  # type: ignore[attr-defined]
            assert lock.acquire(timeout=LIMIT_S)
            lock.release()
        finally:
            go_on.set()


def test_a_callback_may_shut_down_while_a_thread_leads(gate: Gate) -> None:
    ex = Executor(1)
    future = ex.submit(gate.hold, 1)
    future.add_done_callback(lambda future: ex.shutdown())
    gate.wait_come()
    gate.open(1)
    assert future.result(LIMIT_S) == 1
    ex.shutdown()


# ---------------------------------------------------------------- many threads at once

THREADS, STEPS = 8, 120


class Doh(Exception):
    pass


def work(kind: int) -> Any:
    if kind == 0:
        raise Doh
    if kind == 1:
        return bytes(100_000)  # stays with the worker
    return kind


def use_at_random(ex: Executor, seed: int, ended: Counter[int], made: list[Any]) -> None:
    choose = random.Random(seed)
    mine: list[Any] = []

    def check(future: Any) -> None:
        kind = future.kind
        try:
            value = future.result(LIMIT_S)
        except Doh:
            assert kind == 0
        except concurrent.futures.CancelledError:
            assert future.cancelled()
        else:
            assert value == (kind if kind > 1 else bytes(100_000)), kind

    for _ in range(STEPS):
        step = choose.randrange(8)
        if step <= 2 or not mine:
            for _ in range(choose.choice((1, 1, 1, 3, 20))):
                kind = choose.choice((0, 1, 2, 3))
                future = ex.submit(work, kind)
                future.kind = kind  # type: ignore[attr-defined]
                if choose.random() < 0.5:
                    future.counted = True  # type: ignore[attr-defined]
                    future.add_done_callback(lambda future: ended.update([id(future)]))
                mine.append(future)
                made.append(future)
        elif step <= 4:
            check(mine.pop(choose.randrange(len(mine))))
        elif step == 5:
            choose.choice(mine).cancel()
        elif step == 6:
            some = choose.sample(mine, min(len(mine), 5))
            done = list(as_completed(some, LIMIT_S))
            assert len(done) == len(some) and {id(f) for f in done} == {id(f) for f in some}
        else:
            try:
                choose.choice(mine).result(choose.choice((0, 0.001)))
            except (TimeoutError, Doh, concurrent.futures.CancelledError):
                pass
    for future in mine:
        check(future)


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_many_threads_at_random(backend: str) -> None:
    ended: Counter[int] = Counter()
    made: list[Any] = []
    failures: list[BaseException] = []

    def body(seed: int) -> None:
        try:
            use_at_random(ex, seed, ended, made)
        except BaseException as error:
            failures.append(error)

    with Executor(2, backend=backend) as ex:
        threads = [threading.Thread(target=body, args=(seed,)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        wait_until(lambda: len(ended) == sum(hasattr(future, "counted") for future in made))
    assert all(future.done() for future in made)
    assert set(ended.values()) == {1}
