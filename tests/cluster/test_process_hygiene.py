"""What worker processes inherit, hold and leave, shown by scripts as users write them.

Covers: closed and blocked standard streams, ``sys.path``, programs that are no Python interpreter, shared memory, pools
of modules that workers import, the end of a worker, a working folder that is gone. Does not cover: interrupts.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor
from futures_cluster.services.launch import fork_server_process, restart_policy
from futures_cluster.services.worker.bootstrap import SWITCH_INTERVAL_S

pytestmark = pytest.mark.skipif(not fork_server_process.available, reason="needs unix sockets")

METHODS = ["", "fork", "spawn", "forkserver"]
#: Of each script: an executor as the first argument says, by a start method or by our own start.
HEAD = """
import atexit, multiprocessing, os, sys, threading, time, weakref
from multiprocessing import shared_memory
import futures_cluster

def executor(**options):
    if sys.argv[1]:
        options["mp_context"] = multiprocessing.get_context(sys.argv[1])
    return futures_cluster.Executor(max_workers=1, **options)
"""


def run_script(folder: Path, program: str, method: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(HEAD + program)
    command = [sys.executable, str(script), method]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": folder, "timeout": 60, **options}
    return subprocess.run(command, text=True, check=False, **options)


# ---------------------------------------------------------------- standard streams

CLOSED = """
def talk():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    return 7

if __name__ == "__main__":
    for fd in map(int, os.environ["CLOSED"]):
        # As a shell does for 2>&-: the interpreter starts without.
        if os.environ.get("AGAIN") is None:
            os.close(fd)
    if os.environ.get("AGAIN") is None:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "AGAIN": "1"})
    data = [open(f"data{number}", "w") for number in os.environ["CLOSED"]]
    assert [str(file.fileno()) for file in data] == list(os.environ["CLOSED"])
    with executor() as ex, open("result", "w") as result:
        print(ex.submit(talk).result(30), file=result)
    for file in data:
        file.write("data")
        file.close()
"""


@pytest.mark.parametrize(
    ("method", "closed"),
    [("", "0"), ("", "1"), *((method, closed) for method in METHODS for closed in ("2", "012"))],
)
def test_standard_streams_that_are_closed(tmp_path: Path, method: str, closed: str) -> None:
    """Nothing of the workers gets into the files that have the numbers of the streams."""
    environment = {**os.environ, "CLOSED": closed}
    done = run_script(tmp_path, CLOSED, method, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result").read_text() == "7\n"
    for number in closed:
        text = (tmp_path / f"data{number}").read_text()
        # A forked worker has the caller's descriptors, and its stdout with them.
        assert text == "data", number
    if "2" not in closed:
        assert "to stderr" in done.stderr


REPLACED = """
def talk():
    print("to stderr", file=sys.stderr)

if __name__ == "__main__":
    if os.environ["KIND"] == "file":
        os.close(2)
        with open("data", "w") as data:
            assert data.fileno() == 2
            with executor() as ex:
                ex.submit(talk).result(30)
    else:
        with open("data", "w") as data:
            os.dup2(data.fileno(), 2)
        with executor() as ex:
            ex.submit(talk).result(30)
"""


@pytest.mark.parametrize(("kind", "expected"), [("file", ""), ("redirected", "to stderr\n")])
def test_a_stderr_that_is_replaced_later(tmp_path: Path, kind: str, expected: str) -> None:
    """A file that happens to get the number 2 is not the standard error; one that is put there is."""
    done = run_script(tmp_path, REPLACED, env={**os.environ, "KIND": kind})
    assert done.returncode == 0
    assert (tmp_path / "data").read_text() == expected


def test_a_stderr_that_takes_nothing_stops_no_task(tmp_path: Path) -> None:
    program = """
def talk(number):
    for _ in range(200):
        print("x" * 1000, file=sys.stderr)
    return number

if __name__ == "__main__":
    _, full = os.pipe()
    os.dup2(full, 2)
    with executor() as ex:
        print(sum(ex.map(talk, range(10))))
"""
    done = run_script(tmp_path, program)
    assert done.stdout == "45\n"


def test_what_was_dropped_is_counted() -> None:
    """Once stderr takes something again, a line says how much is missing."""
    program = """
import os, threading
from futures_cluster.services.launch import stderr
stderr.MAX_WAITING_BYTES = 200_000
read_fd, write_fd = os.pipe()
os.set_blocking(write_fd, False)
try:
    while True:
        os.write(write_fd, b"y" * 4096)
except BlockingIOError:  # it takes nothing
    os.set_blocking(write_fd, True)
os.dup2(write_fd, 2)
writer = stderr.StderrWriter()
for _ in range(5):
    writer.write(b"x" * 65536)
got = []
reader = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(read_fd, 65536), b"")))
reader.start()
stderr.DRAIN_S = 60
writer.close()
os.close(write_fd)
os.close(2)
reader.join()
text = b"".join(got)
print(text.count(b"x"), text.lstrip(b"xy").decode().strip())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == (
        "196608 [131072 bytes of the workers' stderr were dropped: this program's stderr took nothing]\n"
    )


# ---------------------------------------------------------------- what a start needs


def test_a_path_that_is_long_and_has_entries_of_any_kind(tmp_path: Path) -> None:
    program = """
import pathlib
class Text(str):
    pass

sys.path += [pathlib.Path("/nowhere"), *(f"/{'x' * 150}{number}" for number in range(1500)), Text("last"), "\\udcff"]
def entries():
    return [entry for entry in sys.path if not entry.startswith("/x")][-3:], {type(entry) for entry in sys.path}

if __name__ == "__main__":
    with executor() as ex:
        found, types = ex.submit(entries).result(30)
        print(ascii(found[-2:]), types)
"""
    done = run_script(tmp_path, program)
    assert (done.stdout, done.stderr) == ("['last', '\\udcff'] {<class 'str'>}\n", "")


@pytest.mark.parametrize("method", METHODS)
def test_a_working_folder_that_was_deleted(tmp_path: Path, method: str) -> None:
    program = """
os.mkdir("gone")
os.chdir("gone")
os.rmdir(os.path.join("..", "gone"))
if __name__ == "__main__":
    try:
        with executor() as ex:
            print(ex.submit(abs, -1).result(30))
    except FileNotFoundError as error:
        print(error.strerror)
"""
    program = program.replace('os.path.join("..", "gone")', repr(str(tmp_path / "gone")))
    done = run_script(tmp_path, program, method)
    if method in ("", "fork"):
        assert (done.stdout, done.stderr) == ("1\n", "")
    else:
        assert "the working folder of this process was deleted" in done.stdout


def write_program(folder: Path, text: str) -> Path:
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return program


EXECUTABLE = """
sys.executable = os.environ["PROGRAM"] or None
if os.environ.get("SETS"):
    multiprocessing.set_executable(os.environ["SETS"])
with open("starts", "a") as starts:
    starts.write("x")
if __name__ == "__main__":
    from futures_cluster.services.launch import launchers as launch
    launch.ANSWER_TIMEOUT_S = 1.0
    try:
        with executor() as ex:
            print(ex.submit(abs, -1).result(30))
    except (RuntimeError, futures_cluster.BrokenExecutor) as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("text", "expected", "starts"),
    [
        (None, "RuntimeError worker processes cannot be started: sys.executable is None", 1),
        ("missing", "RuntimeError worker processes cannot be started: ", 1),
        ("exit 3", "exited with code 3, and has not answered", 1),
        ("exec sleep 1000", "did not answer within 1 s", 1),
        (f"exec {sys.executable} script.py ''", "exited with code 0, and has not answered", 2),
        (f'exec {sys.executable} "$@"', "1\n", 1),
    ],
    ids=["none", "missing", "fails", "hangs", "itself", "wraps"],
)
def test_an_executable_that_is_no_interpreter(tmp_path: Path, text: str | None, expected: str, starts: int) -> None:
    path = "" if text is None else "/nowhere/python" if text == "missing" else str(write_program(tmp_path, text))
    # Without a cache of its own, as multiprocessing has looked at sys.executable when it was imported.
    program = EXECUTABLE.replace(
        "sys.executable = ", "sys.modules.pop('multiprocessing.spawn', None)\nsys.executable = "
    )
    done = run_script(tmp_path, program, env={**os.environ, "PROGRAM": path})
    assert expected in done.stdout
    assert (tmp_path / "starts").read_text() == "x" * starts
    if starts == 2:
        assert "this process was itself started to run the workers of another" in done.stdout
    if expected != "1\n":
        assert "multiprocessing.set_executable(path)" in done.stdout


def test_an_executable_that_multiprocessing_was_told(tmp_path: Path) -> None:
    wrapper = write_program(tmp_path, f'touch {tmp_path}/used\nexec {sys.executable} "$@"')
    done = run_script(tmp_path, EXECUTABLE, env={**os.environ, "PROGRAM": "/nowhere/python", "SETS": str(wrapper)})
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert (tmp_path / "used").exists()


@pytest.mark.parametrize("supports", [True, False])
def test_a_frozen_program(tmp_path: Path, supports: bool) -> None:
    """Packers have it understand multiprocessing's command line; this one is a script that claims to be frozen."""
    wrapper = write_program(tmp_path, f'exec {sys.executable} {tmp_path}/script.py "$@"')
    program = """
import multiprocessing.spawn
sys.frozen, sys.executable = True, os.environ["PROGRAM"]
def square(x):
    return x * x

if __name__ == "__main__":
    if os.environ["SUPPORTS"]:
        multiprocessing.spawn.freeze_support()
    try:
        with futures_cluster.Executor(max_workers=1) as ex:
            print(ex.submit(square, 3).result(30), ex.submit(abs, -1).result(30))
    except (RuntimeError, futures_cluster.BrokenExecutor) as error:
        print(type(error).__name__, error)
"""
    environment = {**os.environ, "PROGRAM": str(wrapper), "SUPPORTS": "1" if supports else ""}
    done = run_script(tmp_path, program, env=environment)
    if supports:
        assert (done.stdout, done.stderr) == ("9 1\n", "")
    else:
        assert done.stdout.count("multiprocessing.freeze_support()") == 2  # what it says itself, and its copy


# ---------------------------------------------------------------- modules that use an executor


@pytest.mark.parametrize("options", ["", "backend='processes'", "initializer=task", "mp_context=spawn"])
def test_an_executor_that_a_module_uses_while_workers_import_it(tmp_path: Path, options: str) -> None:
    (tmp_path / "pooled.py").write_text(f"""
import multiprocessing
import futures_cluster
spawn = multiprocessing.get_context("spawn")
def task(*args):
    return 1

with open("imports", "a") as imports:
    imports.write("x")
with futures_cluster.Executor(max_workers=1, {options}) as ex:
    ex.submit(task).result(30)
""")
    program = """
if __name__ == "__main__":
    try:
        import pooled
    except futures_cluster.BrokenExecutor as error:
        print(error)
"""
    done = run_script(tmp_path, program)
    assert 'under: if __name__ == "__main__":' in done.stdout
    assert (tmp_path / "imports").read_text() == "xx"


def test_an_executor_that_a_script_uses_while_spawned_workers_import_it(tmp_path: Path) -> None:
    program = """
with open("imports", "a") as imports:
    imports.write("x")
with executor() as ex:
    ex.submit(abs, -1).result(30)
"""
    done = run_script(tmp_path, program, "spawn")
    assert 'under: if __name__ == "__main__":' in done.stderr
    assert len((tmp_path / "imports").read_text()) <= 1 + restart_policy.MAX_FAILURES


def test_a_module_may_make_an_executor_and_use_it_in_tasks(tmp_path: Path) -> None:
    (tmp_path / "pooled.py").write_text("""
import warnings
import futures_cluster
warnings.simplefilter("ignore")
ex = futures_cluster.Executor(max_workers=1)
def inner(x):
    return x + 1

def outer(x):
    return ex.submit(inner, x).result(30) + 1
""")
    program = """
if __name__ == "__main__":
    import pooled
    with pooled.ex as ex:
        print(ex.submit(pooled.outer, 1).result(30))
"""
    done = run_script(tmp_path, program)
    assert done.stdout == "3\n"


# ---------------------------------------------------------------- shared memory

SHARED = """
from multiprocessing import resource_tracker

def pipe():
    return os.fstat(resource_tracker._resource_tracker.getfd()).st_ino

def touch(name):
    segment = shared_memory.SharedMemory(name=name)
    segment.buf[0] += 1
    segment.close()
    return pipe()

def make():
    segment = shared_memory.SharedMemory(create=True, size=10)
    segment.buf[0] = 7
    segment.close()
    return segment.name

if __name__ == "__main__":
    def new():
        return shared_memory.SharedMemory(create=True, size=10)
    segments = [new()] if os.environ["BEFORE"] else []
    with executor() as ex:
        ex.submit(abs, -1).result(30)
        segments.append(new())
        tracker = pipe()
        for segment in segments:
            assert ex.submit(touch, segment.name).result(30) == tracker
        name = ex.submit(make).result(30)
    for segment in segments:
        assert segment.buf[0] == 1
        shared_memory.SharedMemory(name=segment.name).close()
        segment.close()
        segment.unlink()
    made = shared_memory.SharedMemory(name=name)
    assert made.buf[0] == 7
    made.close()
    made.unlink()
    print("done")
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("before", ["1", ""])
def test_shared_memory_outlives_workers(tmp_path: Path, method: str, before: str) -> None:
    """Workers use the caller's resource tracker, also if that is started after they were."""
    done = run_script(tmp_path, SHARED, method, env={**os.environ, "BEFORE": before})
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_no_resource_tracker_without_need(tmp_path: Path) -> None:
    program = """
if __name__ == "__main__":
    with executor() as ex:
        ex.submit(abs, -1).result(30)
        tracker = sys.modules.get("multiprocessing.resource_tracker")
        print(tracker is None or tracker._resource_tracker._fd)
"""
    done = run_script(
        tmp_path, program.replace("if __name__", "from multiprocessing import resource_tracker\nif __name__")
    )
    assert (done.stdout, done.stderr) == ("None\n", "")


# ---------------------------------------------------------------- the end of a worker

ENDS = """
from concurrent.futures import ThreadPoolExecutor
kept = []
def note(text):
    with open("notes", "a") as notes:
        print(text, file=notes)

def leave():
    gate = threading.Event()
    atexit.register(note, "atexit")
    def linger():
        threading.main_thread().join()
        note("thread")
    threading.Thread(target=linger).start()
    pool = ThreadPoolExecutor(1)
    pool.submit(gate.wait).add_done_callback(lambda future: note("pool"))
    threading._register_atexit(gate.set)
    kept.append(pool)
    from multiprocessing import util
    util.Finalize(None, note, ("finalizer",), exitpriority=0)

if __name__ == "__main__":
    atexit.register(print, "the caller's")
    with executor(**eval(os.environ["OPTIONS"])) as ex:
        ex.submit(leave).result(30)
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{}, {"max_tasks_per_child": 1}], ids=["shutdown", "replaced"])
def test_the_end_of_a_worker_is_that_of_an_interpreter(tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    if options and method == "fork":
        pytest.skip("the standard library refuses max_tasks_per_child with fork")
    program = ENDS.replace("threading.main_thread().join()", "gate.wait()")
    done = run_script(tmp_path, program, method, env={**os.environ, "OPTIONS": repr(options)})
    assert (done.stdout, done.stderr) == ("the caller's\n", "")
    notes = (tmp_path / "notes").read_text().split()
    assert sorted(notes) == ["atexit", "finalizer", "pool", "thread"]


def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    program = """
import logging
def leave():
    threading.Thread(target=threading.Event().wait).start()

if __name__ == "__main__":
    from futures_cluster.services.launch import worker_pool as processes
    processes.STOP_TIMEOUT_S = 0.5
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    with executor() as ex:
        ex.submit(leave).result(30)
    print("ended")
"""
    done = run_script(tmp_path, program)
    first, last = done.stdout.splitlines()
    assert "did not end within" in first
    assert "thread that a task has left running" in first
    assert last == "ended"


def test_programs_that_tasks_start_inherit_no_descriptor(tmp_path: Path) -> None:
    program = """
def listed():
    os.system("ls /proc/self/fd > listed")

if __name__ == "__main__":
    with executor() as ex:
        ex.submit(listed).result(30)
"""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    done = run_script(tmp_path, program)
    assert done.returncode == 0
    assert (tmp_path / "listed").read_text().split() == ["0", "1", "2", "3"]  # the last is what ls reads


# ---------------------------------------------------------------- the interpreter


@pytest.mark.parametrize("method", METHODS)
def test_threads_of_workers_switch_soon_unless_an_initializer_sets_another_interval(method: str) -> None:
    """Else a task that runs Python code delays each piece of an answer of its worker's loop by 5 ms."""
    context = multiprocessing.get_context(method) if method else None
    with Executor(1, mp_context=context) as ex:
        assert ex.submit(sys.getswitchinterval).result(60) == pytest.approx(SWITCH_INTERVAL_S)
    with Executor(1, mp_context=context, initializer=sys.setswitchinterval, initargs=(0.01,)) as ex:
        assert ex.submit(sys.getswitchinterval).result(60) == pytest.approx(0.01)
