"""A scheduler, workers and clients as separate commands: what works, and what happens when one of them is lost."""

from __future__ import annotations

import asyncio
import concurrent.futures
import operator
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from relay import Tampering, flip_the_last_bit, relaying

from futures_cluster import Executor, TaskTimeout, WorkerDied, as_completed, current_executor
from futures_cluster.errors import (
    AuthenticationError,
    DataLost,
    DeserializationError,
    HandshakeError,
    NotSupported,
    SchedulerLost,
)
from futures_cluster.services.common.peers import Peers
from futures_cluster.testing.real_cluster import Cluster, outlasting
from futures_cluster.wire.codec import payloads
from futures_cluster.wire.transports.certificates import make_certificates
from futures_cluster.wire.transports.registry import Security

WAIT_S = 60


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, "--silence", "30") as cluster:
        yield cluster


@pytest.fixture
def ex(cluster: Cluster) -> Iterator[Executor]:
    """A client of a cluster of two worker processes under one manager."""
    cluster.add_worker("--workers", "2", "--name", "w")
    with cluster.executor() as ex:
        yield ex


def note(folder: Path, name: str) -> int:
    """Write down that a task ran; how often it has by now."""
    with open(folder / name, "ab") as file:
        file.write(b"x")
        return file.tell()


def runs(folder: Path, name: str) -> int:
    path = folder / name
    return path.stat().st_size if path.exists() else 0


def hold(folder: Path, name: str) -> int:
    """Run until somebody makes a file; the pid of the worker."""
    note(folder, name)
    while not (folder / "go").exists():
        time.sleep(0.005)
    return os.getpid()


def wait_for(condition: object) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def die(folder: Path) -> None:
    note(folder, "die")
    print("the last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


class TestWork:
    def test_results_of_all_sizes(self, ex: Executor) -> None:
        assert list(ex.map(pow, range(1000), [2] * 1000)) == [i * i for i in range(1000)]
        block = ex.submit(np.arange, 3_000_000)
        total = ex.submit(np.sum, block)
        assert total.result(WAIT_S) == 3_000_000 * 2_999_999 // 2
        array = block.result(WAIT_S)
        array[0] = 7  # it arrives writable
        assert ex.submit(np.sum, array).result(WAIT_S) == total.result() + 7

    def test_workers_fetch_from_each_other(self, ex: Executor) -> None:
        one, two = (ex.with_options(workers=f"w-{i}").submit(np.full, 500_000, i) for i in range(2))
        both = [ex.with_options(workers=f"w-{i}").submit(lambda a, b: int((a + b).sum()), one, two) for i in range(2)]
        assert [future.result(WAIT_S) for future in both] == [500_000, 500_000]

    def test_tasks_submit_tasks(self, ex: Executor) -> None:
        def tree(depth: int) -> int:
            if depth == 0:
                return 1
            inner = current_executor()
            return sum(future.result() for future in [inner.submit(tree, depth - 1) for _ in range(2)])

        assert ex.submit(tree, 4).result(WAIT_S) == 16

    def test_tasks_of_one_program_after_the_other_submit_the_same_function(self, cluster: Cluster) -> None:
        """Its id says whose tasks it runs, and goes with that program."""

        def submit_another(value: int) -> int:
            return current_executor().submit(abs, value).result()

        cluster.add_worker()
        for value in range(3):
            with cluster.executor() as ex:
                assert ex.submit(submit_another, -value).result(WAIT_S) == value

    def test_a_task_that_two_programs_want_outlives_the_first(self, cluster: Cluster, tmp_path: Path) -> None:
        """It calls the function of a program that is gone, which its worker has known before."""
        os.mkfifo(tmp_path / "gate")
        cluster.add_worker()
        with cluster.executor() as ex, cluster.executor() as gone:
            assert gone.submit(operator.neg, 1).result(WAIT_S) == -1
            holding = ex.submit((tmp_path / "gate").read_text)
            pure = [each.with_options(pure=True).submit(operator.neg, 2) for each in (gone, ex)]
            assert pure[0].key == pure[1].key
            gone.shutdown(cancel_futures=True)
            name = gone._engine.client.name  # type: ignore[attr-defined]
            wait_for(lambda: any(name in line and " left (" in line for line in cluster.scheduler.log.splitlines()))
            (tmp_path / "gate").write_text("open")
            assert holding.result(WAIT_S) == "open"
            assert pure[1].result(WAIT_S) == -2

    def test_as_completed_takes_more(self, ex: Executor) -> None:
        done = as_completed([ex.submit(pow, 2, i) for i in range(5)])
        seen = []
        for future in done:
            seen.append(future.result())
            if len(seen) <= 5:
                done.add(ex.submit(pow, 3, len(seen)))
        assert sorted(seen) == sorted([2**i for i in range(5)] + [3**i for i in range(1, 6)])

    def test_clients_share_what_is_pure_and_nothing_else(self, cluster: Cluster, ex: Executor, tmp_path: Path) -> None:
        with cluster.executor() as other:
            one = ex.with_options(pure=True).submit(note, tmp_path, "shared")
            assert one.result(WAIT_S) == 1
            two = other.with_options(pure=True).submit(note, tmp_path, "shared")
            assert two.result(WAIT_S) == 1 and two.key == one.key
            del one
            assert other.with_options(pure=True).submit(note, tmp_path, "shared").result(WAIT_S) == 1
        assert [ex.submit(note, tmp_path, "own").result(WAIT_S) for _ in range(2)] == [1, 2]

    def test_small_and_large_scattered_data(self, ex: Executor) -> None:
        large = ex.scatter(np.ones(1_000_000))
        small = ex.scatter([1, 2])
        assert ex.submit(np.sum, large).result(WAIT_S) == 1e6
        assert ex.submit(lambda pair: sum(pair), list(small)).result(WAIT_S) == 3
        assert large.result(WAIT_S).sum() == 1e6

    def test_modules_of_the_client_are_found(self, cluster: Cluster, ex: Executor, tmp_path: Path) -> None:
        (tmp_path / "far_away_module.py").write_text("def answer():\n    return 42\n")
        script = "import far_away_module, os, futures_cluster as f\n"
        script += f"with f.Executor(backend={cluster.address!r}) as ex:\n"
        script += "    print(ex.submit(far_away_module.answer).result())\n"
        (tmp_path / "script.py").write_text(script)
        command = [sys.executable, str(tmp_path / "script.py")]
        result = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=WAIT_S)
        assert result.stdout == "42\n", result.stderr

    def test_what_a_cluster_cannot_do_is_said(self, cluster: Cluster) -> None:
        with pytest.raises(NotSupported, match="--memory-limit"):
            cluster.executor(memory_limit="1GB")
        with cluster.executor() as ex, pytest.raises(NotSupported, match="not this executor's"):
            ex.kill_workers()


class TestLoss:
    def test_a_task_that_kills_workers_is_blamed_with_the_reason(self, ex: Executor, tmp_path: Path) -> None:
        innocent = [ex.submit(pow, i, 2) for i in range(50)]
        killer = ex.submit(die, tmp_path)
        with pytest.raises(WorkerDied, match="SIGKILL") as caught:
            killer.result(WAIT_S)
        assert "the last words" in str(caught.value)
        assert runs(tmp_path, "die") == 3
        assert [future.result(WAIT_S) for future in innocent] == [i * i for i in range(50)]

    def test_what_a_dead_worker_held_is_computed_again(self, ex: Executor, tmp_path: Path) -> None:
        block = ex.with_options(workers="w-0").submit(np.ones, 200_000)
        concurrent.futures.wait([block])
        os.kill(ex.workers()["w-0"]["pid"], signal.SIGKILL)
        assert ex.submit(np.sum, block).result(WAIT_S) == 200_000
        assert block.result(WAIT_S).shape == (200_000,)

    def test_a_manager_that_is_killed_takes_its_workers_with_it(
        self, cluster: Cluster, ex: Executor, tmp_path: Path
    ) -> None:
        other = cluster.add_worker("--name", "other")
        held = ex.with_options(workers=["other", "w-0"]).submit(hold, tmp_path, "held")
        wait_for(lambda: runs(tmp_path, "held"))
        victims = [other] if "other" in [n for n, f in ex.workers().items() if f["tasks"]] else [cluster.commands[1]]
        children = victims[0].children()
        victims[0].kill()
        assert not outlasting(children)
        if victims[0] is not other:
            cluster.add_worker("--workers", "2", "--name", "w")
        (tmp_path / "go").touch()
        assert held.result(WAIT_S)
        assert runs(tmp_path, "held") == 2

    def test_the_scheduler_is_lost(self, cluster: Cluster, ex: Executor, tmp_path: Path) -> None:
        manager = cluster.commands[1]
        held = ex.submit(hold, tmp_path, "held")
        block = ex.submit(np.ones, 200_000)
        concurrent.futures.wait([block])
        cluster.scheduler.kill()
        with pytest.raises(SchedulerLost, match="Create a new Executor"):
            held.result(WAIT_S)
        with pytest.raises((SchedulerLost, DataLost)):
            block.result(WAIT_S)
        with pytest.raises(SchedulerLost):
            ex.submit(pow, 2, 2)
        manager.wait_for("is gone; leaving")
        assert manager.process.wait(WAIT_S) == 0
        (tmp_path / "go").touch()

    def test_workers_wait_for_a_scheduler_that_is_started_again(self, tmp_path: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        with Cluster(tmp_path, "--port", port) as cluster:
            cluster.add_worker("--reconnect", "60")
            with cluster.executor() as ex:
                assert ex.submit(pow, 2, 2).result(WAIT_S) == 4
            cluster.scheduler.kill()
            cluster.scheduler.process.wait()
            cluster.scheduler = cluster.start("scheduler", "--port", port)
            cluster.scheduler.wait_for("scheduler: worker w1")
            with cluster.executor() as ex:
                assert ex.submit(pow, 2, 3).result(WAIT_S) == 8

    def test_a_running_task_is_stopped(self, ex: Executor, tmp_path: Path) -> None:
        held = ex.submit(hold, tmp_path, "held")
        wait_for(lambda: runs(tmp_path, "held"))
        assert held.cancel(force=True)
        with pytest.raises(TaskTimeout):
            ex.with_options(timeout=0.2).submit(hold, tmp_path, "late").result(WAIT_S)
        assert ex.submit(pow, 2, 2).result(WAIT_S) == 4

    def test_a_worker_that_says_nothing_is_given_up(self, tmp_path: Path) -> None:
        with Cluster(tmp_path, "--silence", "1") as cluster:
            cluster.add_worker("--name", "w", "--silence", "30")
            with cluster.executor() as ex:
                pid = ex.submit(os.getpid).result(WAIT_S)
                held = ex.submit(hold, tmp_path, "held")
                wait_for(lambda: runs(tmp_path, "held"))
                os.kill(pid, signal.SIGSTOP)
                (tmp_path / "go").touch()
                assert held.result(WAIT_S) != pid
                assert runs(tmp_path, "held") == 2
            assert "it said nothing for 1 s" in cluster.scheduler.log
            wait_for(lambda: not psutil.pid_exists(pid))  # its manager was told to kill it

    def test_nobody_takes_the_names_of_others(self, cluster: Cluster, ex: Executor) -> None:
        """They would throw each other out for ever."""
        pids = {name: facts["pid"] for name, facts in ex.workers().items()}
        printed = cluster.run("worker", cluster.address, "--name", "w")
        assert "the name 'w' belongs to the workers of manager w@" in printed
        assert "choose another one with --name" in printed and "Traceback" not in printed
        assert {name: facts["pid"] for name, facts in ex.workers().items()} == pids
        assert "in its name" not in cluster.scheduler.log

    def test_a_worker_that_leaves_hands_over_what_it_holds(
        self, cluster: Cluster, ex: Executor, tmp_path: Path
    ) -> None:
        leaving = cluster.add_worker("--name", "leaving")

        def make() -> np.ndarray:
            note(tmp_path, "made")
            return np.ones(200_000)

        block = ex.with_options(workers="leaving").submit(make)
        concurrent.futures.wait([block])
        assert leaving.end(signal.SIGTERM) == 0
        assert block.result(WAIT_S).sum() == 200_000
        assert ex.submit(np.sum, block).result(WAIT_S) == 200_000
        assert runs(tmp_path, "made") == 1
        assert "leaving" not in ex.workers()

    def test_a_manager_leaves_at_once_while_a_worker_starts(self, cluster: Cluster, tmp_path: Path) -> None:
        """The scheduler does not know that worker, and would never say that it has handed over what it holds."""
        (tmp_path / "slow_module.py").write_text("import os\nos.mkfifo('begun')\nopen('never').read()\n")
        os.mkfifo(tmp_path / "never")
        code = f"import os; os.chdir({str(tmp_path)!r}); from futures_cluster.cli import main; main()"
        options = ["worker", cluster.address, "--workers", "1", "--preload", "slow_module"]
        with subprocess.Popen([sys.executable, "-c", code, *options], env=cluster.environment) as manager:
            try:
                wait_for((tmp_path / "begun").exists)
                manager.send_signal(signal.SIGTERM)
                assert manager.wait(WAIT_S / 2) == 0
            finally:
                manager.kill()

    def test_scattered_data_is_lost_with_its_only_worker_but_not_with_one_of_two(self, ex: Executor) -> None:
        array = np.ones(200_000)
        once = ex.with_options(workers="w-0").scatter(array)
        twice = ex.with_options(workers="w-0").scatter(array, replicas=2)
        concurrent.futures.wait([once, twice])
        os.kill(ex.workers()["w-0"]["pid"], signal.SIGKILL)
        assert ex.submit(np.sum, twice).result(WAIT_S) == 200_000
        with pytest.raises(DataLost, match="replicas=2"):
            ex.submit(np.sum, once).result(WAIT_S)


def test_what_a_client_put_before_it_vanished_is_dropped(tmp_path: Path) -> None:
    async def put(cluster: Cluster, address: str) -> None:
        """Scatter half: the data goes to the worker, and nobody tells the scheduler."""
        loop = asyncio.get_running_loop()
        peers = Peers(loop, Security(cluster.environment["FUTURES_CLUSTER_SECRET"].encode()))
        assert await peers.put_data(address, [("orphan", payloads.dump(b"x" * 100_000))]) == []
        wait_for(lambda: all(facts.get("stored") == 1 for facts in ex.workers().values()))
        peers.close()

    with Cluster(tmp_path, "--silence", "1") as cluster:
        cluster.add_worker()
        with cluster.executor() as ex:
            (facts,) = ex.workers().values()
            asyncio.run(put(cluster, facts["address"]))
            wait_for(lambda: all(facts.get("stored") == 0 for facts in ex.workers().values()))


def raw_connection(cluster: Cluster) -> socket.socket:
    host, _, port = cluster.address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), WAIT_S)


class TestNobodyGetsIn:
    @pytest.mark.parametrize(
        ("secret", "advice"),
        [("another" * 5, "FUTURES_CLUSTER_SECRET to the same text"), (None, "drop --insecure")],
    )
    def test_a_wrong_secret_or_none(
        self, cluster: Cluster, secret: str | None, advice: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(cluster.folder / "empty"))
        if secret is None:
            monkeypatch.delenv("FUTURES_CLUSTER_SECRET", raising=False)
        else:
            monkeypatch.setenv("FUTURES_CLUSTER_SECRET", secret)
        with pytest.raises(HandshakeError, match=advice):
            Executor(backend=cluster.address, insecure=secret is None)
        cluster.scheduler.wait_for("refused a connection")
        assert len(cluster.scheduler.log.partition("use it")[2].strip().splitlines()) == 2  # the address, and why

    def test_plain_http(self, cluster: Cluster) -> None:
        with raw_connection(cluster) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            while sock.recv(4096):
                pass
        cluster.scheduler.wait_for("refused a connection")
        assert "Traceback" not in cluster.scheduler.log

    def test_nobody_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FUTURES_CLUSTER_SECRET", secrets.token_hex(16))
        with pytest.raises(SchedulerLost, match="futures-cluster scheduler"):
            Executor(backend="tcp://127.0.0.1:9")

    def test_what_is_no_address(self) -> None:
        with pytest.raises((ValueError, OSError), match="tcp"):
            Executor(backend="http://127.0.0.1:9")


class TestManyClients:
    SCRIPT = """
import os, signal, sys, futures_cluster as f, numpy as np
ex = f.Executor(backend=sys.argv[1])
futures = [ex.submit(pow, i, 2) for i in range(20)] + [ex.submit(np.ones, 50_000) for _ in range(3)]
f.wait(futures[:5])
futures.append(ex.scatter(np.ones(50_000)))
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
ex.shutdown()
"""

    @pytest.mark.parametrize("number", [6, pytest.param(100, marks=pytest.mark.slow)])
    def test_clients_that_come_and_vanish_leave_nothing(self, cluster: Cluster, ex: Executor, number: int) -> None:
        scheduler = psutil.Process(cluster.scheduler.process.pid)
        ex.submit(pow, 2, 2).result(WAIT_S)

        def visit(numbers: range) -> None:
            clients = [
                subprocess.Popen(
                    [sys.executable, "-c", self.SCRIPT, cluster.address, "kill" if i % 2 else "end"],
                    env=cluster.environment,
                )
                for i in numbers
            ]
            for client in clients:
                client.wait(WAIT_S)

        visit(range(4))
        wait_for(lambda: cluster.scheduler.log.count("client ") == 2 * 4 + 1)
        wait_for(lambda: all(not facts["results"] and not facts["tasks"] for facts in ex.workers().values()))
        handles, memory = scheduler.num_fds(), scheduler.memory_info().rss
        for first in range(0, number, 10):
            visit(range(first, min(first + 10, number)))
        wait_for(lambda: cluster.scheduler.log.count("client ") == 2 * (4 + number) + 1)
        wait_for(lambda: all(not facts["results"] and not facts["tasks"] for facts in ex.workers().values()))
        assert scheduler.num_fds() == handles
        assert scheduler.memory_info().rss < memory + 20e6
        assert ex.submit(pow, 2, 2).result(WAIT_S) == 4


class TestCommands:
    def test_status_and_explain(self, cluster: Cluster, ex: Executor, tmp_path: Path) -> None:
        held = ex.submit(hold, tmp_path, "held")
        behind = ex.with_options(resources={"GPU": 1}).submit(pow, held, 1)
        wait_for(held.running)
        status = cluster.run("status", cluster.address)
        words = cluster.run("explain", cluster.address, behind.key)
        same = ex.explain(behind)
        nobody = cluster.run("explain", cluster.address, "nobody")
        behind.cancel()  # first: nothing will ever run it
        (tmp_path / "go").touch()
        assert "2 with 2 slots" in status and "w-0" in status and "hold" in status, status
        assert held.key in words.splitlines()[0] and words.splitlines()[0] == same.splitlines()[0], words
        assert (
            nobody
            == "'nobody' is not known: it never came here, was cancelled, or has ended and no client holds its future\n"
        )
        command = [sys.executable, "-m", "futures_cluster", "explain", cluster.address, "nobody"]
        done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == 1 and not done.stdout and done.stderr == nobody
        assert held.result(WAIT_S)

    def test_preloaded_modules(self, cluster: Cluster, tmp_path: Path) -> None:
        (tmp_path / "preloaded_here.py").write_text("import builtins\nbuiltins.preloaded = 42\n")
        (tmp_path / "plugin_here.py").write_text(
            "from futures_cluster.services.common.plugin_runner import WorkerPlugin\n"
            "class Count(WorkerPlugin):\n"
            "    runs = 0\n"
            "    def run_started(self, event): Count.runs += 1\n"
        )
        cluster.environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
        cluster.add_worker("--preload", "preloaded_here", "--preload", "plugin_here:Count")
        with cluster.executor() as ex:
            assert ex.submit(eval, "preloaded").result(WAIT_S) == 42
            wait_for(lambda: ex.submit(eval, "__import__('plugin_here').Count.runs").result(WAIT_S) > 0)

    def test_uploaded_modules(self, cluster: Cluster, ex: Executor, tmp_path: Path) -> None:
        module = tmp_path / "uploaded_module.py"
        package = tmp_path / "uploaded_package"
        package.mkdir()
        (package / "__init__.py").write_text("from uploaded_package.inner import answer\n")
        (package / "inner.py").write_text("answer = 42\n")
        for version in (1, 2):
            module.write_text(f"version = {version}\n")
            ex.upload(str(module))
            assert ex.submit(eval, "__import__('uploaded_module').version").result(WAIT_S) == version
        ex.upload(str(package))
        assert ex.submit(eval, "__import__('uploaded_package').answer").result(WAIT_S) == 42
        cluster.add_worker("--name", "late")  # gets them as well
        late = ex.with_options(workers="late")
        assert late.submit(eval, "__import__('uploaded_module').version").result(WAIT_S) == 2

    def test_a_missing_module_is_said_with_what_to_do(self, ex: Executor, tmp_path: Path) -> None:
        code = compile("class C:\n    pass\n", "nowhere", "exec")
        import types

        module = types.ModuleType("not_there_at_all")
        exec(code, module.__dict__)
        sys.modules["not_there_at_all"] = module
        try:
            with pytest.raises(DeserializationError, match=r"not_there_at_all.*upload"):
                ex.submit(repr, module.C()).result(WAIT_S)
        finally:
            del sys.modules["not_there_at_all"]


class TestTls:
    def test_work_and_a_wrong_certificate(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        right, wrong = (str(tmp_path / name) for name in ("right", "wrong"))
        for folder in (right, wrong):
            make_certificates(folder, ["127.0.0.1", "localhost"])
        with Cluster(tmp_path, "--tls", right) as cluster:
            assert cluster.address.startswith("tls://")
            cluster.add_worker("--tls", right)
            monkeypatch.setenv("FUTURES_CLUSTER_TLS", right)
            with cluster.executor() as ex:
                assert ex.submit(np.sum, ex.submit(np.ones, 200_000)).result(WAIT_S) == 200_000
            monkeypatch.setenv("FUTURES_CLUSTER_TLS", wrong)
            with pytest.raises(HandshakeError, match="certificate"):
                cluster.executor()
            cluster.scheduler.wait_for("refused a connection")
            assert "Traceback" not in cluster.scheduler.log


class TestThirdParties:
    """A third party between a program and the cluster; see also tests/wire/test_relay.py."""

    def test_a_forward_needs_the_name_of_where_it_leads_to(self, cluster: Cluster) -> None:
        cluster.add_worker()
        with relaying(cluster.address) as relay, cluster.secret():
            with pytest.raises(AuthenticationError, match="#node-1:8786"):
                Executor(backend=f"tcp://127.0.0.1:{relay.port}")
        told = cluster.scheduler.log.partition("forwarded as")[2].split()[0]  # tcp://localhost:PORT#...
        with relaying(cluster.address) as relay, cluster.secret():
            with Executor(backend=told.replace("localhost:PORT", f"127.0.0.1:{relay.port}")) as ex:
                assert list(ex.map(abs, range(-10, 0))) == list(range(10, 0, -1))
        assert "it means another listener" in cluster.scheduler.log

    def test_a_frame_that_was_changed_ends_the_connection_in_words(self, cluster: Cluster) -> None:
        cluster.add_worker()
        identity = cluster.scheduler.log.partition("#")[2].split()[0]
        tampering = Tampering(flip_the_last_bit)
        with relaying(cluster.address, to_connector=tampering) as relay, cluster.secret():
            with Executor(backend=f"tcp://127.0.0.1:{relay.port}#{identity}") as ex:
                assert ex.submit(abs, -1).result(WAIT_S) == 1
                tampering.begin.set()
                with pytest.raises(SchedulerLost, match="wrong authentication tag: a third party changed"):
                    ex.submit(abs, -2).result(WAIT_S)

    def test_the_scheduler_tells_of_frames_that_were_changed(self, cluster: Cluster) -> None:
        cluster.add_worker()
        identity = cluster.scheduler.log.partition("#")[2].split()[0]
        tampering = Tampering(flip_the_last_bit)
        with relaying(cluster.address, tampering) as relay, cluster.secret():
            with Executor(backend=f"tcp://127.0.0.1:{relay.port}#{identity}") as ex:
                assert ex.submit(abs, -1).result(WAIT_S) == 1
                tampering.begin.set()
                with pytest.raises(SchedulerLost):
                    ex.submit(abs, -2).result(WAIT_S)
        wait_for(lambda: "wrong authentication tag" in cluster.scheduler.log)

    def test_whoever_fetches_tells_of_frames_that_were_changed(
        self, cluster: Cluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        cluster.add_worker()
        secret = Security(cluster.environment["FUTURES_CLUSTER_SECRET"].encode())
        with cluster.executor() as ex:
            (facts,) = ex.workers().values()
        tampering = Tampering(flip_the_last_bit)

        async def fetch(address: str) -> None:
            peers = Peers(asyncio.get_running_loop(), secret)
            try:
                assert (await peers.get_data(address, ["key"])).missing == ["key"]
                tampering.begin.set()
                with pytest.raises(ConnectionError, match="wrong authentication tag"):
                    await peers.get_data(address, ["key"])
            finally:
                peers.close()

        with relaying(facts["address"], to_connector=tampering) as relay:
            identity = facts["exact_address"].partition("#")[2]
            asyncio.run(fetch(f"tcp://127.0.0.1:{relay.port}#{identity}"))
        assert "wrong authentication tag" in caplog.text

    def test_connections_between_workers_are_bound(self, cluster: Cluster) -> None:
        """A worker's data cannot be fetched by a connection that was made to another address."""
        cluster.add_worker()
        secret = Security(cluster.environment["FUTURES_CLUSTER_SECRET"].encode())

        async def fetch(address: str) -> object:
            peers = Peers(asyncio.get_running_loop(), secret)
            try:
                return (await peers.get_data(address, ["key"])).missing
            finally:
                peers.close()

        with cluster.executor() as ex:
            (facts,) = ex.workers().values()
            with (
                relaying(facts["address"]) as relay,
                pytest.raises(ConnectionError, match="not the one that was meant"),
            ):
                asyncio.run(fetch(f"tcp://127.0.0.1:{relay.port}"))
            assert asyncio.run(fetch(facts["address"])) == ["key"]

    def test_workers_tell_their_identity(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster.add_worker()
        asked = []
        original = Peers.get_data

        async def get_data(self: Peers, address: str, keys: list[str]) -> object:
            asked.append(address)
            return await original(self, address, keys)

        monkeypatch.setattr(Peers, "get_data", get_data)
        with cluster.executor() as ex:
            assert ex.submit(bytes, 1_000_000).result(WAIT_S) == bytes(1_000_000)
            (facts,) = ex.workers().values()
        port = facts["address"].rpartition(":")[2]
        assert asked == [f"{facts['address']}#{socket.gethostname()}:{port}"]
