"""What programs do to their interpreter and process must not matter to an executor in it.

Covers: flags and variables of the interpreter, and settings that a program changes before it makes an executor.
Does not cover: frozen clocks (``test_frozen_time``), closed standard streams.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from futures_cluster import Executor

ROOT = Path(__file__).resolve().parents[1]

#: What a settled executor does: small and large arguments and results, errors, inputs.
WORK = """
import sys
sys.path[:0] = {paths!r}
from futures_cluster import Executor, as_completed
{setting}
with Executor(2) as ex:
    assert list(ex.map(abs, range(-20, 0))) == list(range(20, 0, -1)) or 1 / 0
    assert ex.submit(len, bytes(2_000_000)).result(60) == 2_000_000 or 1 / 0
    assert len(ex.submit(bytes, 2_000_000).result(60)) == 2_000_000 or 1 / 0
    assert len(list(as_completed([ex.submit(pow, 2, n) for n in range(50)], timeout=60))) == 50 or 1 / 0
    assert isinstance(ex.submit(int, "x").exception(60), ValueError) or 1 / 0
    assert ex.submit(sum, ex.submit(list, range(10))).result(60) == 45 or 1 / 0
{undo}
print("ok")
"""

#: Each changes something by itself; all of them together do not disturb each other.
SETTINGS = {
    "pause": "import time; time.sleep = lambda seconds: None",
    "seeds": "import random, numpy; random.seed(0); numpy.random.seed(0)",
    "sockets' timeout": "import socket; socket.setdefaulttimeout(0.05)",
    "recursion": "sys.setrecursionlimit(150)",
    "warnings": "import warnings; warnings.simplefilter('error')",
    "switching": "sys.setswitchinterval(0.0001)",
    "no garbage": "import gc; gc.disable()",
    "digits": "sys.set_int_max_str_digits(640)",
    "folders": "import os; os.environ.update(TMPDIR='/nonexistent', HOME='/nonexistent')",
    "decimal": "import decimal; decimal.getcontext().prec = 2; decimal.getcontext().traps[decimal.Inexact] = True",
    "protocol": "import pickle; pickle.DEFAULT_PROTOCOL = 2",
    "stack": "import threading; threading.stack_size(256 * 1024)",
    "signals": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})",
    "children": "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "pipes": "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "descriptors": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))",
}
TIMER = """
import signal
signal.signal(signal.SIGALRM, lambda signum, frame: None)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
"""
FLAGS = (
    "-W error",
    "-X dev",
    "-X dev -W error",
    "-bb",
    "-O",
    "-OO",
    "-I",
    "-E",
    "-s",
    "-P",
    "-u",
    "-X frozen_modules=off",
)
VARIABLES = ("PYTHONDEVMODE=1", "PYTHONWARNINGS=error", "PYTHONSAFEPATH=1", "PYTHONOPTIMIZE=2", "PYTHONASYNCIODEBUG=1")


def run(setting: str = "", *, flags: str = "", variable: str = "", undo: str = "") -> None:
    name, _, value = variable.partition("=")
    environment = os.environ | ({name: value} if name else {})
    code = WORK.format(setting=setting, undo=undo, paths=[path for path in sys.path if path])
    command = [sys.executable, *flags.split(), "-c", code]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        try:
            output, _ = program.communicate(timeout=60)
        finally:
            program.kill()  # also one that blocks SIGTERM
    assert output == "ok\n" and program.returncode == 0, output


def test_all_settings_together() -> None:
    run("\n".join(SETTINGS.values()))


def test_a_timer_interrupts_everything() -> None:
    run(TIMER, undo="signal.setitimer(signal.ITIMER_REAL, 0)")


def test_strict_flags_together() -> None:
    run(flags="-X dev -W error -bb -OO -P -u", variable="PYTHONASYNCIODEBUG=1")


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_the_kind_of_loops_is_ours(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs choose another by a policy, such as uvloop's."""
    monkeypatch.setattr(asyncio, "new_event_loop", None)
    with Executor(1, backend=backend) as ex:
        assert ex.submit(abs, -1).result() == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting(name: str) -> None:
    run(SETTINGS[name])


@pytest.mark.slow
@pytest.mark.parametrize("flags", FLAGS)
def test_each_flag(flags: str) -> None:
    run(flags=flags)


@pytest.mark.slow
@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable(variable: str) -> None:
    run(variable=variable)
