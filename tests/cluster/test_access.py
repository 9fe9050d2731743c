"""Which processes a cluster lets in at which address, and what it says to the others; with real commands."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from futures_cluster import Executor
from futures_cluster.errors import AuthenticationError, SecretMissing
from futures_cluster.testing.real_cluster import Command

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60
SECRET = secrets.token_hex(16)


class Commands:
    """Commands of one user, who has no secret at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FUTURES_CLUSTER")},
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        self.running: list[Command] = []

    def start(self, *arguments: str, **variables: str) -> Command:
        log = self.folder / f"{len(self.running)}.log"
        command = Command(list(arguments), log, {**self.environment, **variables}, [])
        self.running.append(command)
        return command

    def scheduler(self, *arguments: str, **variables: str) -> tuple[Command, list[str]]:
        """A scheduler and its addresses."""
        command = self.start("scheduler", "--status-port", "none", *arguments, **variables)
        command.wait_for("use it")
        return command, command.log.partition("listens at")[2].splitlines()[0].split()

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run a command to its end; its exit code and what it has printed."""
        done = subprocess.run(
            [sys.executable, "-m", "futures_cluster", *arguments],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        return done.returncode, done.stdout + done.stderr

    def close(self) -> None:
        for command in reversed(self.running):
            command.end()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    for name in ("FUTURES_CLUSTER_SECRET", "FUTURES_CLUSTER_INSECURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    commands = Commands(tmp_path)
    try:
        yield commands
    finally:
        commands.close()


@pytest.fixture
def sockets(tmp_path: Path) -> Path:
    folder = tmp_path / "sockets"
    folder.mkdir(mode=0o700)
    return folder


def wait_for_worker(ex: Executor, name: str) -> None:
    end = time.monotonic() + WAIT_S
    while name not in ex.workers():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("unix_first", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_each_listener_asks_for_what_its_own_address_needs(
    unix_first: bool, commands: Commands, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unix = f"unix://{sockets / 's'}"
    both = [unix, "tcp://127.0.0.1:0"] if unix_first else ["tcp://127.0.0.1:0", unix]
    scheduler, addresses = commands.scheduler(*(part for one in both for part in ("--listen", one)))
    (tcp,) = (address for address in addresses if address.startswith("tcp://"))
    with Executor(backend=unix) as ex:
        assert ex.workers() == {}
    elsewhere = commands.folder / "elsewhere"
    code, said = commands.run("status", tcp, "--insecure", XDG_CONFIG_HOME=str(elsewhere))
    assert code == 1 and "the listener wants a secret" in said
    code, said = commands.run("status", tcp, FUTURES_CLUSTER_SECRET=SECRET)
    assert code == 1 and "the listener has another secret" in said
    scheduler.wait_for("it has another secret")

    # Results go from workers of one listener to clients and workers of the other.
    commands.start("worker", unix, "--workers", "1", "--name", "by-unix")
    commands.start("worker", tcp, "--workers", "1", "--name", "by-tcp")
    for address in (unix, tcp):
        with Executor(backend=address) as ex:
            for name in ("by-unix", "by-tcp"):
                wait_for_worker(ex, name)
            for one, other in (("by-unix", "by-tcp"), ("by-tcp", "by-unix")):
                made = ex.with_options(workers=one).submit(np.ones, 100_000)
                assert ex.with_options(workers=other).submit(np.sum, made).result(WAIT_S) == 100_000
                assert made.result(WAIT_S).sum() == 100_000


def test_without_a_secret_nothing_connects(commands: Commands) -> None:
    address = "tcp://127.0.0.1:9"
    for arguments in (("worker", address, "--wait", "0"), ("status", address), ("explain", address, "key")):
        code, said = commands.run(*arguments)
        assert code == 1, said
        assert f"{address} needs a secret" in said and "--insecure" in said and "Traceback" not in said
    with pytest.raises(SecretMissing, match="needs a secret"):
        Executor(backend=address)


def test_without_a_secret_nothing_listens(commands: Commands) -> None:
    (commands.folder / "config").touch()  # so that no file can be made
    code, said = commands.run("scheduler", "--listen", "unix:///nowhere/s", "--listen", "tcp://127.0.0.1:0")
    assert code == 1
    assert "cannot put a new secret" in said and "set FUTURES_CLUSTER_SECRET" in said and "Traceback" not in said


@pytest.mark.parametrize(
    "bad", [{"FUTURES_CLUSTER_SECRET": "abcd"}, {"FUTURES_CLUSTER_INSECURE": "maybe"}], ids=lambda bad: next(iter(bad))
)
def test_settings_that_cannot_be_used_are_said_in_a_sentence(bad: dict[str, str], commands: Commands) -> None:
    address = "tcp://127.0.0.1:9"
    for arguments in (("scheduler", "--port", "0"), ("worker", address)):
        code, said = commands.run(*arguments, **bad)
        assert code == 1 and next(iter(bad)) in said and "Traceback" not in said


def test_a_fifo_in_the_place_of_the_secret_does_not_hang(commands: Commands) -> None:
    folder = commands.folder / "config" / "futures_cluster"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "secret", 0o600)
    for arguments in (("scheduler", "--port", "0"), ("status", "tcp://127.0.0.1:9")):
        code, said = commands.run(*arguments)
        assert code == 1 and "is a FIFO and not a file. Move it elsewhere" in said and "Traceback" not in said


def test_insecure_on_both_sides(commands: Commands) -> None:
    scheduler, (address,) = commands.scheduler("--port", "0", "--insecure")
    assert "secret        none (--insecure): any process that can reach it" in scheduler.log
    commands.start("worker", address, "--workers", "1", "--name", "w", "--insecure")
    with Executor(backend=address, insecure=True) as ex:
        wait_for_worker(ex, "w")
        assert ex.submit(pow, 2, 5).result(WAIT_S) == 32
    code, said = commands.run("status", address, FUTURES_CLUSTER_INSECURE="1")
    assert code == 0 and "workers    1" in said

    # A process that has a secret stays away from a cluster that has none.
    code, said = commands.run("status", address, FUTURES_CLUSTER_SECRET=SECRET)
    assert code == 1 and "the listener has no secret, and there is one here" in said
    os.environ["FUTURES_CLUSTER_SECRET"] = SECRET
    try:
        with pytest.raises(AuthenticationError, match="the listener has no secret"):
            Executor(backend=address)
    finally:
        del os.environ["FUTURES_CLUSTER_SECRET"]


def test_the_file_of_the_user_is_all_that_one_machine_needs(commands: Commands) -> None:
    _, (address,) = commands.scheduler("--port", "0")
    commands.start("worker", address, "--workers", "1", "--name", "w")
    with Executor(backend=address) as ex:
        wait_for_worker(ex, "w")
        assert ex.submit(pow, 2, 5).result(WAIT_S) == 32
