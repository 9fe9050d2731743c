"""Who joins a cluster, and when: other versions, workers that are started first, addresses that do not work.

Covers: what the commands and executors say, with which code commands end. Does not cover: the secret itself
(``test_network``).
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from futures_cluster import Executor
from futures_cluster.errors import HandshakeError, SchedulerLost
from futures_cluster.testing.real_cluster import Cluster, Command
from futures_cluster.wire import versions

WAIT_S = 60

#: A command with this in its path says that it runs on another Python, in the role that is named.
SITE = """
import futures_cluster.services.common.security as security
hello = security.hello
def another(role, name):
    found = hello(role, name)
    if role in {roles!r}:
        found.versions["python"] = "3.99"
    return found
security.hello = another
"""


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class TestVersions:
    def pretend(self, cluster: Cluster, folder: Path, *roles: str) -> None:
        """Commands that are started from now on run on another Python, so they say."""
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SITE.format(roles=roles))
        cluster.environment["PYTHONPATH"] = f"{site}{os.pathsep}{cluster.environment['PYTHONPATH']}"

    def test_a_worker_of_another_python(self, cluster: Cluster, tmp_path: Path) -> None:
        path = cluster.environment["PYTHONPATH"]
        self.pretend(cluster, tmp_path, "manager", "worker")
        other = cluster.start("worker", cluster.address, "--workers", "2")
        assert other.process.wait(WAIT_S) == 1
        here = versions.own_versions()["python"]
        assert other.log == (
            f"no worker can start here: python is 3.99 here and {here} for the scheduler; "
            "install the same versions on all machines\n"
        )
        refused = [line for line in cluster.scheduler.log.splitlines() if "3.99" in line]
        assert len(refused) == 1 and "Traceback" not in cluster.scheduler.log
        cluster.environment["PYTHONPATH"] = path
        cluster.add_worker()  # one that fits is let in

    @pytest.mark.slow
    def test_a_worker_process_that_is_refused_while_its_manager_is_not(self, cluster: Cluster, tmp_path: Path) -> None:
        self.pretend(cluster, tmp_path, "worker")
        other = cluster.start("worker", cluster.address, "--workers", "1", "--name", "w")
        assert other.process.wait(WAIT_S) == 1
        assert "worker w: python is 3.99 here" in other.log and "Traceback" not in other.log
        assert "no worker can start here: 6 attempts in a row" in other.log
        assert "dropping" in cluster.scheduler.log  # similar refusals are counted in few lines

    def test_a_client_of_another_python_locks_no_worker_out(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own_versions = versions.own_versions
        with monkeypatch.context() as patch:
            patch.setattr(versions, "own_versions", lambda: {**own_versions(), "python": "3.99"})
            with pytest.raises(HandshakeError, match=r"python is 3\.99 here"):
                cluster.executor()
        cluster.add_worker()
        with cluster.executor() as ex:
            assert ex.submit(abs, -1).result(WAIT_S) == 1


class TestAWorkerThatIsStartedFirst:
    def test_waits_for_the_scheduler_and_its_secret(self, tmp_path: Path, free_port: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FUTURES_CLUSTER")}
        environment["XDG_CONFIG_HOME"] = str(tmp_path / "config")
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        address = f"tcp://127.0.0.1:{free_port}"
        arguments = ["worker", address, "--workers", "1", "--name", "early"]
        worker = Command(arguments, tmp_path / "worker.log", environment, [])
        scheduler = None
        try:
            worker.wait_for("waiting 60 s for the scheduler")
            scheduler = Command(["scheduler", "--port", free_port], tmp_path / "scheduler.log", environment, [])
            scheduler.wait_for("worker early at")
            assert len(worker.log.splitlines()) == 2  # that it waits, and that it has joined
        finally:
            worker.end()
            if scheduler is not None:
                scheduler.end()

    def test_leaves_when_it_is_told_to(self, tmp_path: Path, free_port: str) -> None:
        worker = Command(["worker", f"tcp://127.0.0.1:{free_port}"], tmp_path / "log", dict(os.environ), [])
        try:
            worker.wait_for("waiting 60 s for the scheduler")
            assert worker.end(signal.SIGTERM) == 0
        finally:
            worker.end()

    def test_does_not_wait_for_what_no_time_changes(self, cluster: Cluster) -> None:
        cluster.environment["FUTURES_CLUSTER_SECRET"] = secrets.token_hex(32)
        worker = cluster.start("worker", cluster.address)
        assert worker.process.wait(WAIT_S) == 1
        assert "waiting" not in worker.log and "the listener has another secret" in worker.log


class TestSentences:
    @pytest.mark.parametrize("command", [("status",), ("explain", "key"), ("worker", "--wait", "0")])
    @pytest.mark.parametrize("host", ["127.0.0.1", "none.invalid"])
    def test_an_address_that_does_not_work(
        self, command: tuple[str, ...], host: str, free_port: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FUTURES_CLUSTER_SECRET", secrets.token_hex(32))
        address = f"tcp://{host}:{free_port}"
        line = [sys.executable, "-m", "futures_cluster", command[0], address, *command[1:]]
        done = subprocess.run(line, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == 1 and done.stdout == ""
        said = "nothing listens there" if host == "127.0.0.1" else "the name 'none.invalid' does not resolve"
        assert done.stderr.startswith(f"futures-cluster {command[0]}: cannot connect to {address}: {said}")
        assert done.stderr.count("\n") == 1 and "Errno" not in done.stderr
        with pytest.raises(SchedulerLost, match=said):
            Executor(backend=address)

    @pytest.mark.parametrize("option", ["--port", "--status-port"])
    def test_a_port_that_is_taken(self, option: str, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            options = ["--port", "0", option, port]
            environment = {**os.environ, "FUTURES_CLUSTER_SECRET": secrets.token_hex(32)}
            done = subprocess.run(
                [sys.executable, "-m", "futures_cluster", "scheduler", *options],
                capture_output=True,
                text=True,
                timeout=WAIT_S,
                env=environment,
            )
        assert done.returncode == 1
        assert done.stderr.startswith("futures-cluster scheduler: cannot listen at ")
        assert f":{port}: another process listens there" in done.stderr and done.stderr.count("\n") == 1

    def test_a_worker_that_cannot_listen(self, cluster: Cluster) -> None:
        worker = cluster.start("worker", cluster.address, "--workers", "1", "--name", "w", "--host", "none.invalid")
        worker.wait_for("worker w: cannot listen at tcp://none.invalid:0: the name 'none.invalid' does not resolve")
        assert "Traceback" not in worker.log
