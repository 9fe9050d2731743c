"""How many worker processes are started, and when, after starts that fail: on a clock of its own, without processes."""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from futures_cluster import messages as m
from futures_cluster.services.common import descriptors
from futures_cluster.services.common.worker_settings import LOST_CODE, WorkerSettings
from futures_cluster.services.launch import restart_policy
from futures_cluster.services.launch.launchers import WorkerHandle
from futures_cluster.services.launch.worker_pool import WorkerProcesses
from futures_cluster.services.local.scaling import Scaling

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")


class Timer:
    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do

    def cancel(self) -> None:
        self.do = lambda: None


class VirtualLoop:
    """As much of a loop as is needed: a clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now_s

    def call_at(self, time_s: float, do: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(lambda: do(*args))
        heapq.heappush(self.timers, (time_s, next(self._numbers), timer))
        return timer

    def call_later(self, delay_s: float, do: Callable[..., None], *args: Any) -> Timer:
        return self.call_at(self.now_s + delay_s, do, *args)

    def call_soon_threadsafe(self, do: Callable[..., None], *args: Any) -> None:
        do(*args)

    def add_reader(self, *args: Any) -> None: ...

    def remove_reader(self, *args: Any) -> None: ...

    def remove_writer(self, *args: Any) -> None: ...

    def sleep(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.timers and self.timers[0][0] <= end_s:
            self.now_s, _, timer = heapq.heappop(self.timers)
            timer.do()
        self.now_s = end_s


class Launcher:
    """Starts nothing; tests say what becomes of each start."""

    def __init__(self) -> None:
        self.starts: list[tuple[float, str]] = []
        self.error: Exception | None = None
        self.loop: VirtualLoop

    def start(self, handle: WorkerHandle) -> None:
        self.starts.append((self.loop.now_s - 1000.0, handle.name))
        if self.error is not None:
            raise self.error


class Machine:
    """Worker processes of a machine, and what their owner is told."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.launcher = Launcher()
        self.launcher.loop = self.loop
        self.ended: list[tuple[str, str]] = []
        self.hopeless: list[str] = []
        numbers = itertools.count()

        def make_settings(former: WorkerSettings | None) -> WorkerSettings:
            return WorkerSettings(f"w{next(numbers)}", "tcp://127.0.0.1:0")

        self.processes = WorkerProcesses(
            self.loop,  # type: ignore[arg-type]
            make_settings,
            lambda handle: lambda messages: None,
            lambda handle: None,
            lambda handle, cause: self.ended.append((handle.name, cause)),
            self.hopeless.append,
        )
        self.processes.launcher = self.launcher

    def add(self, number: int) -> None:
        for _ in range(number):
            self.processes.add()

    def join(self, *names: str) -> None:
        for name in names or list(self.processes.handles):
            self.processes.joined(name)

    @property
    def times(self) -> list[float]:
        return [round(time_s, 6) for time_s, _ in self.launcher.starts]

    def close(self) -> None:
        self.processes.wanted = False
        for name in list(self.processes.handles):
            self.processes.process_ended(name, 0)
        self.processes._close_tracker()
        self.processes._stderr.close()


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    try:
        yield machine
    finally:
        machine.close()


NO_FORK = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_a_start_that_fails_is_repeated_with_pauses(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.launcher.error = NO_FORK
    machine.add(1)
    machine.loop.sleep(1.0)
    assert machine.times == [0.0, 0.1, 0.3, 0.7]
    machine.launcher.error = None
    machine.loop.sleep(60)
    assert machine.times == [0.0, 0.1, 0.3, 0.7, 1.5]
    assert len(machine.processes.handles) == 1 and not machine.hopeless
    assert "failed to start (the next attempt follows in 0.1 s): could not be started: Resource temp" in caplog.text
    machine.join()
    machine.processes.process_ended("w4", -9)  # the row has ended: it is replaced at once
    assert machine.times[-1] == 60 + 1.0


def test_four_that_fail_together_are_one_failure(machine: Machine) -> None:
    machine.launcher.error = NO_FORK
    machine.add(4)
    machine.loop.sleep(0.7)
    assert machine.times == [0.0, *[0.1, 0.3, 0.7]]  # one that fails keeps the others from trying in vain
    machine.launcher.error = None
    machine.loop.sleep(1.0)
    assert len(machine.processes.handles) == 1  # the others wait for what becomes of it
    machine.join()
    assert len(machine.processes.handles) == 4


def test_a_probe_that_hangs_does_not_keep_the_others_waiting_for_ever(machine: Machine) -> None:
    machine.launcher.error = NO_FORK
    machine.add(2)
    machine.launcher.error = None
    machine.loop.sleep(0.2)
    assert len(machine.processes.handles) == 1
    machine.loop.sleep(restart_policy.MAX_PAUSE_S)
    assert len(machine.processes.handles) == 2


def test_a_probe_that_is_not_wanted_any_more(machine: Machine) -> None:
    """It ends without a successor, and another takes its place as the probe."""
    machine.launcher.error = NO_FORK
    machine.add(2)
    machine.launcher.error = None
    machine.loop.sleep(0.2)
    (handle,) = machine.processes.handles.values()
    handle.replaced, handle.deliberate = True, "fewer workers are wanted"
    machine.processes.process_ended(handle.name, -9)
    machine.loop.sleep(restart_policy.MAX_PAUSE_S)
    assert len(machine.processes.handles) == 1


def test_hopeless_when_no_worker_is_left(machine: Machine) -> None:
    machine.launcher.error = NO_FORK
    machine.add(4)
    machine.loop.sleep(1000)
    assert len(machine.launcher.starts) == restart_policy.MAX_FAILURES
    (text,) = machine.hopeless
    assert text.startswith("6 attempts in a row to start a worker failed") and "temporarily unavailable" in text
    assert not machine.processes.wanted and not machine.processes.handles


def test_the_healthy_go_on_and_attempts_do_not_end(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.add(2)
    machine.join()
    machine.launcher.error = NO_FORK
    machine.processes.process_ended("w0", -9)
    machine.loop.sleep(100)
    assert list(machine.processes.handles) == ["w1"] and not machine.hopeless
    assert machine.times[-1] - machine.times[-2] == pytest.approx(restart_policy.MAX_PAUSE_S)
    assert caplog.text.count("attempts in a row") == 1
    machine.launcher.error = None
    machine.loop.sleep(restart_policy.MAX_PAUSE_S)
    assert len(machine.processes.handles) == 2


def test_hopeless_when_the_last_healthy_one_is_lost_too(machine: Machine) -> None:
    machine.add(2)
    machine.join()
    machine.launcher.error = NO_FORK
    machine.processes.process_ended("w0", -9)
    machine.loop.sleep(100)
    machine.processes.process_ended("w1", -9)
    machine.loop.sleep(2 * restart_policy.MAX_PAUSE_S)
    assert len(machine.hopeless) == 1


def test_workers_that_end_before_they_are_ready(machine: Machine) -> None:
    machine.add(2)
    while machine.processes.wanted:
        machine.loop.sleep(0.05)
        for name in list(machine.processes.handles):
            machine.processes.process_ended(name, 77)
    assert "exited with code 77" in machine.hopeless[0]
    assert len(machine.launcher.starts) == 2 + (restart_policy.MAX_FAILURES - 1)


@pytest.mark.parametrize(
    ("code", "how", "is_cut_off"),
    [
        (-9, "lost its connection", True),
        (LOST_CODE, "lost its connection", True),
        (-11, "was killed by SIGSEGV", False),
        (3, "exited with code 3", False),
    ],
)
def test_one_that_is_to_be_killed_may_have_ended_by_itself(
    machine: Machine, code: int, how: str, is_cut_off: bool
) -> None:
    """On a busy machine the end of its connection is heard long before its own."""
    machine.add(1)
    machine.join()
    handle = machine.processes.handles["w0"]
    handle.cut_off = True
    machine.processes.process_ended("w0", code)
    assert machine.ended[0][1].startswith(how) and handle.cut_off is is_cut_off


def test_one_that_is_stopped_before_it_is_ready_is_no_failure(machine: Machine) -> None:
    machine.add(1)
    machine.processes.handles["w0"].deliberate = "it was stopped"
    machine.processes.process_ended("w0", -9)
    assert machine.times == [0.0, 0.0]


def test_no_descriptor_for_a_worker(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of its descriptors it is: those before are closed, and the start is repeated."""
    machine.add(1)
    machine.join()
    open_before = set(os.listdir("/proc/self/fd"))

    def none(*args: object) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    attempts = 0
    with monkeypatch.context() as patch:
        for module, name in ((descriptors, "socketpair"), (descriptors, "pipe"), (os, "memfd_create")):
            with patch.context() as one:
                one.setattr(module, name, none)
                if attempts == 0:
                    machine.processes.add()
                else:
                    machine.loop.sleep(machine.processes._restarts.pause_s(machine.loop.now_s))
                attempts += 1
                assert machine.processes._restarts.failures == attempts
                assert set(os.listdir("/proc/self/fd")) <= open_before
    machine.loop.sleep(60)
    assert len(machine.processes.handles) == 2


def test_a_replaced_worker_that_retires_while_starts_fail(machine: Machine) -> None:
    """One that only serves data is no worker for the tasks that wait."""
    machine.add(1)
    machine.join()
    machine.launcher.error = NO_FORK
    machine.processes.retires("w0")
    machine.loop.sleep(100)
    assert list(machine.processes.handles) == ["w0"] and len(machine.hopeless) == 1


def test_errors_of_other_kinds_are_failed_starts(machine: Machine) -> None:
    machine.launcher.error = RuntimeError("can't start new thread")
    machine.add(1)
    machine.loop.sleep(100)
    assert 'RuntimeError("can\'t start new thread")' in machine.hopeless[0]


def test_missing_workers_can_be_dropped(machine: Machine) -> None:
    machine.launcher.error = NO_FORK
    machine.add(3)
    assert len(machine.processes._missing) == 3
    machine.processes.set_missing(1)
    machine.launcher.error = None
    machine.loop.sleep(60)
    assert len(machine.processes.handles) == 1


def test_scaling_counts_workers_that_are_missing(machine: Machine) -> None:
    no_scheduler: Any = None
    scaling = Scaling(machine.loop, machine.processes, no_scheduler, 0, 1)  # type: ignore[arg-type]
    machine.launcher.error = NO_FORK
    for number in (4, 4, 6, 1):
        scaling.scale(number)
        assert len(machine.processes._missing) == number
    machine.launcher.error = None
    machine.loop.sleep(60)
    assert len(machine.processes.handles) == 1


def test_nothing_starts_after_the_end_was_asked_for(machine: Machine) -> None:
    machine.launcher.error = NO_FORK
    machine.add(1)
    machine.launcher.error = None
    machine.processes.kill_all(True, "the end")
    machine.loop.sleep(60)
    assert machine.times == [0.0]


def test_stop_of_a_worker_that_could_not_start_is_ignored(machine: Machine) -> None:
    machine.launcher.error = NO_FORK
    machine.add(1)
    with contextlib.suppress(KeyError):
        machine.processes.stop(m.StopWorker("w0", True, "it was stopped"))
    assert [name for name, _ in machine.ended] == ["w0"]
