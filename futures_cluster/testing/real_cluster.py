"""A real cluster for tests: schedulers and workers as the commands that users type, in processes of their own.

Covers: starting them, waiting until they are ready, killing them, and leaving nothing behind. Does not cover: what the
tests do with it, clusters that are not real (``simulation``). Each has a secret of its own and ports that were free.

The way: ``Cluster`` starts a scheduler, ``add_worker`` the workers, ``executor`` makes a client; ``close`` ends all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from futures_cluster import clocks
from futures_cluster.executor import Executor
from futures_cluster.services.launch.fork_server_main import die_with_parent

TIMEOUT_S = 30.0
KILL = int(getattr(signal, "SIGKILL", signal.SIGTERM))
#: Commands of clusters that several tests share: what they start and open may stay from test to test.
shared_pids: set[int] = set()


def _bind_to_this_process() -> Callable[[], None] | None:
    """Return what a new process calls so that it ends with this one.

    A test may be killed. The kernel ends the new process with the thread that starts it, and of all threads only the
    main one lives as long as this process: for all others, None.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return die_with_parent if is_main and sys.platform == "linux" else None


class Command:
    """A running command, and what it has printed.

    On Linux it ends with the process that starts it, if that does so on its main thread.
    """

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str], prefix: list[str]) -> None:
        self.log_path = log
        with open(log, "wb") as file:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [*prefix, sys.executable, "-m", "futures_cluster", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
                preexec_fn=_bind_to_this_process(),
            )

    @property
    def log(self) -> str:
        """All it has printed."""
        return self.log_path.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until it has printed this."""
        self._wait_until(lambda: text in self.log, f"{text!r} was not printed")

    def _wait_until(self, is_so: Callable[[], bool], complaint: str) -> None:
        """Wait until something is so, while the command runs."""
        end = clocks.monotonic() + TIMEOUT_S
        while not is_so():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log}"
            assert clocks.monotonic() < end, f"{complaint}:\n{self.log}"
            clocks.sleep(0.01)

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started, theirs included."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self.process.pid).children(recursive=True))
        return []

    def kill(self, number: int = KILL) -> None:
        """Send a signal to the command itself, not to what it has started."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def end(self, number: int = KILL) -> int:
        """Send a signal, wait until all that it has started is gone; return the code."""
        children = self.children()
        self.kill(number)
        code = self.process.wait(TIMEOUT_S)
        alive = outlasting(children)
        assert not alive, f"left behind: {alive}\n{self.log}"
        return code


def outlasting(processes: list[psutil.Process], limit_s: float = TIMEOUT_S) -> list[psutil.Process]:
    """Wait until other processes have ended; return those that are left.

    Unlike ``psutil.wait_procs`` it does not wait for their parent to read their exit codes, for which the first process
    of a system may take seconds.
    """
    end = clocks.monotonic() + limit_s
    while (alive := [process for process in processes if not _has_ended(process)]) and clocks.monotonic() < end:
        clocks.sleep(0.005)
    return alive


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Cluster:
    """A scheduler and the workers that were added to it."""

    def __init__(
        self, folder: Path, *scheduler_options: str, prefix: list[str] | None = None, is_shared: bool = False
    ) -> None:
        self.folder = folder
        self.is_shared = is_shared
        self.environment: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FUTURES_CLUSTER")},
            "FUTURES_CLUSTER_SECRET": secrets.token_hex(16),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        }
        self.commands: list[Command] = []
        options = scheduler_options if "--port" in scheduler_options else ("--port", "0", *scheduler_options)
        address_file = folder / "address"
        self.scheduler: Command = self.start("scheduler", *options, "--address-file", str(address_file), prefix=prefix)
        self.scheduler.wait_for("use it")
        self.address: str = self.scheduler.log.partition("listens at")[2].split()[0]

    def start(self, *arguments: str, prefix: list[str] | None = None) -> Command:
        """Start any command."""
        log = self.folder / f"{len(self.commands)}-{arguments[0]}.log"
        command = Command(list(arguments), log, self.environment, prefix or [])
        self.commands.append(command)
        if self.is_shared:
            shared_pids.add(command.process.pid)
        return command

    def run(self, *arguments: str) -> str:
        """Run a command to its end; what it has printed."""
        command = [sys.executable, "-m", "futures_cluster", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_S)
        return done.stdout + done.stderr

    def add_worker(self, *options: str, prefix: list[str] | None = None) -> Command:
        """Start one worker (or more, by ``--workers``) and wait until it has joined."""
        if "--workers" not in options:
            options = ("--workers", "1", *options)
        if "--name" not in options:
            options = ("--name", f"w{len(self.commands)}", *options)
        number = self._workers_joined() + int(options[options.index("--workers") + 1])
        command = self.start("worker", self.address, *options, prefix=prefix)
        command._wait_until(lambda: self._workers_joined() >= number, "not all of its workers have joined")
        return command

    def _workers_joined(self) -> int:
        return sum(".scheduler: worker " in line and " joined" in line for line in self.scheduler.log.splitlines())

    @contextlib.contextmanager
    def secret(self) -> Any:
        """Give this process the secret of the cluster until the block ends."""
        name = "FUTURES_CLUSTER_SECRET"
        former = os.environ.get(name)
        os.environ[name] = self.environment[name]
        try:
            yield
        finally:
            if former is None:
                del os.environ[name]
            else:
                os.environ[name] = former

    def executor(self, **options: Any) -> Executor:
        """Return a client of this cluster, in this process."""
        with self.secret():
            return Executor(backend=self.address, **options)

    def close(self) -> None:
        """End all; each must take its children with it."""
        for command in reversed(self.commands):
            command.end()
            shared_pids.discard(command.process.pid)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
