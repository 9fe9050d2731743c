"""Systems that lack what Linux has: the package imports, and works as far as it can.

Covers: systems without ``fcntl``, ``resource``, memory files and epoll (macOS has the first two), by taking them away
from new interpreters. Does not cover: what a real macOS or Windows does otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Read by each interpreter at its start, also by those of workers.
TAKE_AWAY = """
import os, select, signal, socket, sys
import asyncio, multiprocessing.util, psutil, subprocess  # these find out themselves what there is
for name in {modules!r}:
    sys.modules[name] = None
for name in {names!r}:
    module, _, attribute = name.partition(".")
    if hasattr(sys.modules[module], attribute):
        delattr(sys.modules[module], attribute)
"""
UNIX = (("fcntl", "resource"), ("os.memfd_create", "os.MFD_CLOEXEC", "select.epoll"))
WINDOWS = (
    (*UNIX[0], "pwd", "grp", "termios"),
    (*UNIX[1], "select.poll", "socket.send_fds", "socket.recv_fds", "os.fork", "os.register_at_fork")
    + ("os.sched_getaffinity", "os.geteuid", "os.getuid", "os.preadv", "os.pwritev", "os.O_CLOEXEC", "os.O_DIRECTORY")
    + ("signal.SIGKILL", "signal.SIGCHLD", "signal.SIGALRM", "signal.set_wakeup_fd"),
)


def python(folder: Path, lack: tuple[tuple[str, ...], tuple[str, ...]], *arguments: str, limit_s: float = 60) -> str:
    (folder / "sitecustomize.py").write_text(TAKE_AWAY.format(modules=lack[0], names=lack[1]))
    path = os.pathsep.join([str(folder), str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("lack", [UNIX, WINDOWS], ids=["unix", "windows"])
def test_every_module_imports(lack: tuple[tuple[str, ...], tuple[str, ...]], tmp_path: Path) -> None:
    source = """
import importlib, pkgutil
import futures_cluster
# Other libraries have to be there for these, and find out themselves what the system has.
extras = "adapters. glm engines.external.dask engines.external.ray wire.transports.zeromq"
extras = tuple("futures_cluster." + name for name in extras.split())
for module in pkgutil.walk_packages(futures_cluster.__path__, "futures_cluster."):
    if not module.name.endswith("__main__") and not module.name.startswith(extras):
        importlib.import_module(module.name)
from futures_cluster import Executor, NotSupported
from futures_cluster.services.client import direct_reader as leader
from futures_cluster.wire.codec import shm
print(shm.available, leader.available)
for backend in ("threads", "sync"):
    with Executor(2, backend=backend) as ex:
        print(ex.submit(sum, ex.submit(list, [1, 2])).result())
try:
    with Executor(1) as ex:
        print(ex.submit(int).result())
except NotSupported as error:
    print("threads" in str(error))
"""
    expected = "True" if lack is WINDOWS else "0"
    assert python(tmp_path, lack, "-c", source).split() == ["False", "False", "3", "3", expected]


def test_processes_without_shared_memory(tmp_path: Path) -> None:
    source = """
import os
from futures_cluster import Executor, WorkerDied
from futures_cluster.wire.codec import shm

def without():
    from futures_cluster.wire.codec import shm
    return shm.available

def die():
    os._exit(3)

with Executor(2) as ex:
    print(ex.submit(without).result(), shm.available)
    block = ex.scatter(bytearray(b"x" * 3_000_000))
    copies = [ex.submit(bytearray, block) for _ in range(4)]  # stay with their workers
    joined = [ex.submit(lambda a, b: (a + b).count(b"x"), copies[i], copies[3 - i]) for i in range(4)]
    print([future.result() for future in joined], len(copies[0].result()))
    try:
        ex.submit(die).result()
    except WorkerDied as error:
        print("exited with code 3" in str(error))
    print(ex.submit(pow, 2, 3).result())
"""
    lines = python(tmp_path, UNIX, "-c", source).splitlines()
    assert lines == ["False False", "[6000000, 6000000, 6000000, 6000000] 3000000", "True", "8"]


@pytest.mark.slow
@pytest.mark.timeout(400)  # a whole file of tests; half a minute when nothing else runs
def test_the_checks_of_engines_without_shared_memory(tmp_path: Path) -> None:
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/engines/test_engine_checks.py")
    assert "passed" in python(tmp_path, UNIX, *arguments, "-k", "processes", limit_s=380)
