"""Where a soak runs, and what is done to it meanwhile.

Covers: two executors with worker processes of this machine; a scheduler and workers that are commands of their own.
Killing, stopping and restarting workers, programs that come and go. Does not cover: the jobs (``jobs``).

Each place spares one worker, so that the memory of a worker can be followed over the whole run.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from soaklib.growth import Process
from soaklib.jobs import Side
from soaklib.tally import Tally

from futures_cluster import Executor
from futures_cluster.testing.real_cluster import Cluster, Command

#: A scheduler gives up a worker that says nothing for so long; some are stopped for longer.
SILENCE_S = 6.0
LONG_STOP_S = 9.0
#: Preloaded by the processes whose memory is sampled.
TRIMMING = "benchmarks.soaklib.trimming"
#: A program that comes ends by itself after so long, and with a limit.
VISIT_S = 3.0
VISIT_LIMIT_S = 200.0

#: Things that can happen, and how often each comes up.
Kinds = dict[Callable[[random.Random], None], int]


class Place:
    """What the two kinds have in common.

    Attributes
    ----------
    sides : list of Side
        Where jobs run.
    processes : list of Process
        Those whose memory is followed.
    """

    sides: list[Side]
    processes: list[Process]

    def __init__(self, tally: Tally, folder: Path, mark: dict[str, str]) -> None:
        self.tally = tally
        self.folder = folder
        self.mark = mark  # a variable of the environment of all its processes
        self.mishaps: dict[str, int] = {}
        self._visits = 0

    def trouble(self, kinds: Kinds, rng: random.Random) -> None:
        """Do something to a worker, or have a program come."""
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        kind(rng)
        name = kind.__name__.replace("_", " ")
        self.mishaps[name] = self.mishaps.get(name, 0) + 1

    def mishap_kinds(self) -> Kinds:
        """What can happen to workers."""
        return {self.worker_killed: 5, self.worker_stopped: 2}

    def visit_kinds(self) -> Kinds:
        """How programs come and go."""
        return {self.program_came_and_went: 1, self.program_came_and_was_killed: 1}

    def victims(self) -> list[int]:
        """Processes of workers that may be killed."""
        raise NotImplementedError

    def spared(self) -> Executor:
        """An executor whose tasks run on the worker that is spared."""
        raise NotImplementedError

    def close(self) -> None:
        """End everything."""
        raise NotImplementedError

    # ---------------------------------------------------------------- mishaps

    def worker_killed(self, rng: random.Random) -> None:
        """By SIGKILL."""
        if (pid := self._choose(rng)) is not None:
            _signal(pid, signal.SIGKILL)

    def _choose(self, rng: random.Random) -> int | None:
        """A worker of this run, if there is one just now."""
        pid = rng.choice([*self.victims(), None])
        if pid is not None and pid > 1:
            with contextlib.suppress(psutil.Error):
                if self.mark.items() <= psutil.Process(pid).environ().items():
                    return pid
        return None

    def worker_stopped(self, rng: random.Random) -> None:
        """For a moment."""
        self._stop(rng, rng.uniform(0.1, 2.0))

    def _stop(self, rng: random.Random, seconds: float) -> None:
        if (pid := self._choose(rng)) is not None:
            _signal(pid, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                _signal(pid, signal.SIGCONT)

    def program_came_and_went(self, rng: random.Random) -> None:
        """A program of its own, that ends by itself."""
        self._visit(rng, kill_after_s=None)

    def program_came_and_was_killed(self, rng: random.Random) -> None:
        """A program of its own, that is killed while its tasks run."""
        self._visit(rng, kill_after_s=rng.uniform(0.3, 1 + VISIT_S))

    def _visit(self, rng: random.Random, kill_after_s: float | None) -> None:
        self._visits += 1
        script = str(Path(__file__).parents[1] / "soak.py")
        where, environment = self.visitors()
        command = [sys.executable, script, "--visit", where, "--seconds", str(VISIT_S), "--seed", str(rng.random())]
        with open(self.folder / f"visit-{self._visits}.log", "w+b") as log:
            with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log) as program:
                try:
                    answer, _ = program.communicate(timeout=kill_after_s or VISIT_LIMIT_S)
                except subprocess.TimeoutExpired:
                    program.kill()
                    if kill_after_s is None:
                        self.tally.add("hung", f"a program that came has not ended for {VISIT_LIMIT_S:g} s")
                    return
            if program.returncode or not answer:
                log.seek(0)
                text = log.read().decode(errors="replace")[-2000:]
                self.tally.add("failed", f"a program that came ended with {program.returncode}:\n{text}")
            else:
                self.tally.join(json.loads(answer))
        os.unlink(log.name)

    def visitors(self) -> tuple[str, dict[str, str]]:
        """The backend of programs that come, and their environment."""
        raise NotImplementedError


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Local(Place):
    """Two executors in this process: one whose workers live as long as it, and one with mishaps."""

    def __init__(self, tally: Tally, folder: Path, mark: dict[str, str]) -> None:
        super().__init__(tally, folder, mark)
        self._calm, self._troubled = Executor(2), Executor(3)
        self.sides = [Side(self._calm, None), Side(self._troubled, self._troubled)]
        workers = self._calm.run(os.getpid)
        self._troubled.run(os.getpid)
        worker = next(iter(workers.values()))
        self.processes = [Process("client and scheduler", os.getpid()), Process("worker", worker)]
        self._name = next(iter(workers))

    def mishap_kinds(self) -> Kinds:
        """See ``Place``."""
        return {**super().mishap_kinds(), self.number_of_workers_changed: 1}

    def victims(self) -> list[int]:
        """See ``Place``."""
        return [worker["pid"] for worker in self._troubled.workers().values()]

    def number_of_workers_changed(self, rng: random.Random) -> None:
        """More or fewer of them."""
        self._troubled.scale(rng.randint(1, 4))

    def spared(self) -> Executor:
        """See ``Place``."""
        return self._calm.with_options(workers=self._name)

    def visitors(self) -> tuple[str, dict[str, str]]:
        """See ``Place``."""
        return "processes", dict(os.environ)

    def close(self) -> None:
        """See ``Place``."""
        self._calm.shutdown()
        self._troubled.shutdown()


class Tcp(Place):
    """A scheduler, a worker that is spared, three that are not, each with a manager and a name of its own."""

    NAMES = ("w1", "w2", "w3")

    def __init__(self, tally: Tally, folder: Path, mark: dict[str, str]) -> None:
        super().__init__(tally, folder, mark)
        self._cluster = Cluster(folder, "--silence", f"{SILENCE_S:g}", "--preload", TRIMMING)
        self._cluster.add_worker("--name", "spared", "--preload", TRIMMING)
        self._starts = 0
        self._managers: dict[str, Command] = {name: self._start(name) for name in self.NAMES}
        self._ex = self._cluster.executor()
        self.sides = [Side(self._ex, self._ex.with_options(workers=self.NAMES))]
        self.processes = [
            Process("client", os.getpid()),
            Process("scheduler", self._cluster.scheduler.process.pid),
            Process("worker", self._ex.workers()["spared"]["pid"]),
        ]

    def _start(self, name: str) -> Command:
        command = self._cluster.add_worker("--name", name)
        self._starts += 1
        command.log_path = command.log_path.rename(self.folder / f"{name}-{self._starts}.log")
        return command

    def mishap_kinds(self) -> Kinds:
        """See ``Place``."""
        return {
            **super().mishap_kinds(),
            self.worker_stopped_until_it_was_given_up: 1,
            self.worker_restarted_in_order: 2,
            self.manager_killed: 1,
        }

    def victims(self) -> list[int]:
        """See ``Place``."""
        return [facts["pid"] for name, facts in self._ex.workers().items() if name in self.NAMES]

    def worker_stopped_until_it_was_given_up(self, rng: random.Random) -> None:
        """Its manager starts another one then, while the stopped one is killed or comes back."""
        self._stop(rng, LONG_STOP_S)

    def worker_restarted_in_order(self, rng: random.Random) -> None:
        """It hands over what it has, ends, and another comes under its name."""
        name = rng.choice(self.NAMES)
        self._restart(name, signal.SIGTERM)

    def manager_killed(self, rng: random.Random) -> None:
        """And its worker with it; another comes under its name."""
        self._restart(rng.choice(self.NAMES), signal.SIGKILL)

    def _restart(self, name: str, number: int) -> None:
        manager = self._managers[name]
        manager.end(number)
        self._cluster.commands.remove(manager)
        self._managers[name] = self._start(name)

    def spared(self) -> Executor:
        """See ``Place``."""
        return self._ex.with_options(workers="spared")

    def visitors(self) -> tuple[str, dict[str, str]]:
        """See ``Place``."""
        return self._cluster.address, self._cluster.environment

    def close(self) -> None:
        """See ``Place``."""
        self._ex.shutdown()
        self._cluster.close()


PLACES: dict[str, Any] = {"local": Local, "tcp": Tcp}
