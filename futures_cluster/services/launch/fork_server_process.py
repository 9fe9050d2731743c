"""The template process that workers are forked from, seen from the client's process: its start and its end.

Covers: finding the program to run, starting it with the options of this interpreter; the socket by which it is asked
for workers. Does not cover: what it does (``fork_server_main``), what is asked of it (``launchers``).

Its settings do not go into its command line, which is limited and which other users can read: they are in a file
without a name. A frozen program, which is no interpreter, is started as multiprocessing starts it: its
``multiprocessing.freeze_support()`` reads that file.

This module imports next to nothing, so that the template can be started before the client imports the rest.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Any

from futures_cluster import config
from futures_cluster.services.common import descriptors, process_lifetime

#: Whether sockets can carry descriptors to worker processes.
available = hasattr(socket, "AF_UNIX") and hasattr(socket, "send_fds")

#: What to do about a program that cannot be the template.
ADVICE = (
    "Name a Python interpreter by multiprocessing.set_executable(path); in a frozen program call "
    "multiprocessing.freeze_support() as the first thing in its main module; or use backend='threads'"
)


def import_path() -> list[str]:
    """Return the entries of ``sys.path`` that imports look into: plain strings."""
    return [str.__str__(entry) for entry in sys.path if isinstance(entry, str)]


def has_folder() -> bool:
    """Return whether the working folder of this process is there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _find_interpreter() -> str:
    """Return the interpreter to start: multiprocessing's, or this one.

    Raises
    ------
    RuntimeError
        When there is none.
    """
    spawn = sys.modules.get("multiprocessing.spawn")
    found = sys.executable if spawn is None else spawn.get_executable()
    if not found:
        raise RuntimeError(
            f"worker processes cannot be started: sys.executable is {sys.executable!r}, so the Python interpreter "
            f"is not known. {ADVICE}"
        )
    return os.fsdecode(found)


class Template:
    """The process, which starts at once; from any thread.

    Parameters
    ----------
    environment : dict
        What it has in its environment besides what this process has.

    Raises
    ------
    RuntimeError
        When there is no interpreter that can be started, or when this process is itself a program that was to become
        a template, and is none.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        if config.started_as_template():
            raise RuntimeError(
                f"worker processes cannot be started: this process was itself started to run the workers of another "
                f"({sys.executable!r} in the place of a Python interpreter), and runs as an ordinary program. {ADVICE}"
            )
        is_frozen = bool(getattr(sys, "frozen", False))
        self.program = sys.executable if is_frozen else _find_interpreter()
        process_lifetime.register_after_fork(self)
        ours, theirs = descriptors.socketpair()
        self.control = ours
        try:
            start = _frozen_start if is_frozen else self._start
            self.process = start(theirs.fileno(), {**os.environ, **environment, config.TEMPLATE_VARIABLE: "1"})
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError) and error.filename is not None:
                raise RuntimeError(f"worker processes cannot be started: {error}. {ADVICE}") from error
            raise
        finally:
            theirs.close()

    def _start(self, control_fd: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        # The options of this interpreter (-O, -W, ...) hold for the workers as well.
        options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        if not has_folder():
            options = [*options, "-P"]  # Python 3.13 cannot import sockets if it has looked there for modules
        code = (
            f"import os, sys; os.close(start_fd); sys.path[:] = {import_path()!a}\n"
            f"from futures_cluster.services.launch.fork_server_main import main; main({control_fd})"
        ).encode()
        start_fd = descriptors.file_with(code)
        # In a namespace of its own: the workers' __main__ stays empty.
        read = f"exec(__import__('os').read({start_fd}, {len(code)}), {{'start_fd': {start_fd}}})"
        command = [self.program, *options, "-c", read]
        return _open_process(command, start_fd, control_fd, environment)

    def kill(self) -> None:
        """End it now, and with it the workers that it has forked."""
        self.control.close()
        self.process.kill()
        self.process.wait()

    def after_fork_in_child(self) -> None:
        """Close the socket in a forked copy, which would hide the client's end."""
        self.control.close()


def _frozen_start(control_fd: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    import pickle
    from multiprocessing import spawn

    from futures_cluster.services.launch.fork_server_main import FrozenTemplate

    data = pickle.dumps({"sys_path": import_path()}) + pickle.dumps(FrozenTemplate(control_fd))
    start_fd = descriptors.file_with(data)
    command: list[Any] = spawn.get_command_line(pipe_handle=start_fd)
    return _open_process(command, start_fd, control_fd, environment)


def _open_process(
    command: list[Any], start_fd: int, control_fd: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start it with valid standard streams, and no file with their numbers.

    Ctrl-C at a terminal goes to all its processes: this one inherits that it is blocked, until it ignores it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,)) if hasattr(signal, "pthread_sigmask") else None
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=None if descriptors.is_standard(1) else subprocess.DEVNULL,
            stderr=None if descriptors.is_standard(2) else subprocess.DEVNULL,
            pass_fds=[start_fd, control_fd],
            env=environment,
        )
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(start_fd)
