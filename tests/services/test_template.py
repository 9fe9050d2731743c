"""The start of worker processes: nothing before the first use, and nothing left when it fails.

Covers: what an executor has before and while it starts. Does not cover: what its processes do then.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import weakref
from multiprocessing import forkserver
from typing import Any

import psutil
import pytest

import futures_cluster
from futures_cluster.services.common import process_lifetime
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.services.common.plugin_runner import SchedulerPlugin
from futures_cluster.services.launch import fork_server_main, fork_server_process
from futures_cluster.services.local import cluster

pytestmark = pytest.mark.skipif(not fork_server_process.available, reason="needs unix sockets")


def fails(*args: Any) -> None:
    raise OSError("no descriptors left")


def no_thread(*args: Any) -> None:
    raise RuntimeError("can't start new thread")


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[fork_server_process.Template]:
    """The template processes that are started meanwhile."""
    made: list[fork_server_process.Template] = []

    class Noted(fork_server_process.Template):
        def __init__(self, environment: dict[str, str]) -> None:
            super().__init__(environment)
            made.append(self)

    monkeypatch.setattr(fork_server_process, "Template", Noted)
    monkeypatch.setattr(cluster, "Template", Noted)
    return made


def test_an_executor_that_is_not_used_starts_nothing() -> None:
    before, threads = children(), threading.active_count()
    ex = futures_cluster.Executor(max_workers=3)
    assert repr(ex) == "<Executor with 3 workers>"
    assert ex._engine._cluster is None  # type: ignore[attr-defined]
    assert (children(), threading.active_count()) == (before, threads)
    ex.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(int)
    assert ex._engine._cluster is None  # type: ignore[attr-defined]
    assert children() == before


def test_the_cluster_is_imported_after_the_template_was_started() -> None:
    program = """
import subprocess, sys
import futures_cluster
ex = futures_cluster.Executor(max_workers=1)
popen = subprocess.Popen
def noted(*args, **kwargs):
    late = {"asyncio", "concurrent.futures.process", "futures_cluster.services.local.cluster", "multiprocessing"}
    print(sorted(late & set(sys.modules)))
    return popen(*args, **kwargs)
subprocess.Popen = noted
print(ex.submit(abs, -2).result())
ex.shutdown()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n2\n", "")


def test_workers_share_what_they_import_until_their_first_task() -> None:
    """And what is imported then is imported without a look for garbage, which workers have again."""
    program = """
import futures_cluster
with futures_cluster.Executor(max_workers=1) as ex:
    print(*ex.submit(eval, "[*__import__('sys').modules]").result())
    print(ex.submit(__import__("gc").isenabled).result())
"""
    load = "from futures_cluster.services.launch import fork_server_main as f; f.import_for_workers()"
    template_only = f"import sys; {load}"
    outputs = []
    for code in (program, f"{template_only}; print(*sys.modules)"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.stderr == ""
        outputs.append(done.stdout)
    modules, collects = outputs[0].splitlines()
    assert sorted(set(modules.split()) - set(outputs[1].split())) == []
    assert collects == "True"


def test_threads_that_submit_at_once_start_one_cluster(started: list[fork_server_process.Template]) -> None:
    gate = threading.Barrier(8)
    results: list[int] = []
    with futures_cluster.Executor(max_workers=2) as ex:

        def use() -> None:
            gate.wait()
            results.append(ex.submit(abs, -1).result())

        users = [threading.Thread(target=use) for _ in range(8)]
        for user in users:
            user.start()
        for user in users:
            user.join()
    assert results == [1] * 8
    assert len(started) == 1


def test_a_shutdown_that_comes_between_the_look_and_the_start(
    started: list[fork_server_process.Template], monkeypatch: pytest.MonkeyPatch
) -> None:
    ex = futures_cluster.Executor(max_workers=1)
    register = process_lifetime.register_after_fork

    def shut_down(thing: Any) -> None:
        ex.shutdown()
        register(thing)

    monkeypatch.setattr(process_lifetime, "register_after_fork", shut_down)
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(int)
    assert started == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.watch(SchedulerPlugin())


def test_a_start_that_fails_leaves_no_process_and_can_be_repeated(
    started: list[fork_server_process.Template], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    with futures_cluster.Executor(max_workers=1) as ex:
        with monkeypatch.context() as patch:
            patch.setattr(cluster, "LocalCluster", fails)
            with pytest.raises(OSError, match="no descriptors"):
                ex.submit(int)
        assert children() == before
        assert [each.process.returncode for each in started] == [-9]
        assert ex.submit(abs, -3).result() == 3
    assert len(started) == 2
    assert children() == before


def test_workers_that_cannot_be_made_leave_no_template(
    started: list[fork_server_process.Template], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    with futures_cluster.Executor(max_workers=1) as ex:
        with monkeypatch.context() as patch:
            patch.setattr("futures_cluster.services.launch.worker_pool.WorkerHandle", fails)
            with pytest.raises(OSError, match="no descriptors"):
                ex.submit(int)
        assert children() == before
        assert ex.submit(abs, -3).result() == 3


@pytest.mark.parametrize("method", [None, "fork"])
def test_a_thread_that_cannot_be_started_leaves_nothing(
    started: list[fork_server_process.Template], monkeypatch: pytest.MonkeyPatch, method: str | None
) -> None:
    """The next submit tries again."""
    before = children()
    context = None if method is None else multiprocessing.get_context(method)
    with futures_cluster.Executor(max_workers=2, mp_context=context) as ex:
        with monkeypatch.context() as patch:
            patch.setattr(LoopThread, "start", no_thread)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                ex.submit(int)
        assert children() == before
        assert ex.submit(abs, -3).result() == 3


def test_an_initializer_that_needs_a_context_uses_no_template(started: list[fork_server_process.Template]) -> None:
    lock = multiprocessing.get_context().Lock()
    before = children()
    with futures_cluster.Executor(max_workers=1, initializer=print, initargs=(lock,)) as ex:
        assert ex.submit(abs, -1).result() == 1
        assert [each.process.returncode for each in started] == [-9]
    # The default context of Python 3.14 and later has a server, which multiprocessing keeps for the next worker; with
    # other versions an earlier test may have started it.
    kept = {forkserver._forkserver._forkserver_pid}
    assert children() - kept == before - kept


class Thing:
    """Something that an initializer gets."""


def test_what_an_initializer_gets_is_not_kept_after_the_end() -> None:
    """A lock or a queue of multiprocessing has to be let go of, also if somebody keeps the executor."""
    thing = Thing()
    known = weakref.ref(thing)
    ex = futures_cluster.Executor(max_workers=1, initializer=id, initargs=(thing,))
    assert ex.submit(abs, -1).result() == 1
    ex.shutdown()
    del thing
    assert known() is None


def test_a_plugin_before_the_first_task(started: list[fork_server_process.Template]) -> None:
    joined: list[str] = []

    class Watch(SchedulerPlugin):
        def worker_joined(self, event: Any) -> None:
            joined.append(event.worker)

    with futures_cluster.Executor(max_workers=1) as ex:
        ex.watch(Watch())
        assert started == []
        assert ex.submit(abs, -1).result() == 1
    assert joined == ["worker-0"]
    assert len(started) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_copy_can_use_an_executor_that_was_not_used_yet() -> None:
    program = """
import os, sys
import futures_cluster
ex = futures_cluster.Executor(max_workers=1)
pid = os.fork()
with ex:  # it is each one's own
    print(ex.submit(abs, -4).result(30), flush=True)
if pid:
    assert os.waitpid(pid, 0)[1] == 0
"""
    options = ["-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run([sys.executable, *options], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("4\n4\n", "")


def test_ctrl_c_while_workers_start_does_not_end_their_template() -> None:
    """A terminal sends it to all processes of the program; this one handles it, and goes on."""
    program = """
import os, signal, threading, time
signal.signal(signal.SIGINT, lambda *args: None)
from futures_cluster import Executor
def press():
    for _ in range(40):
        os.killpg(0, signal.SIGINT)
        time.sleep(0.005)
with Executor(1) as ex:
    thread = threading.Thread(target=press)
    thread.start()
    print(ex.submit(abs, -1).result())
    thread.join()
    print(ex.submit(abs, -2).result())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert (done.stdout, done.stderr) == ("1\n2\n", "")


@pytest.mark.parametrize("sent", [b"", b"\1", b"\5\0\0\0ab"])
def test_a_client_that_dies_while_it_sends_has_closed(sent: bytes) -> None:
    """Also within the length: the template read on for ever."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(sent)
        with pytest.raises(EOFError):
            fork_server_main.receive(ours)
