"""Folders for the sockets of this program, and the removal of those that killed programs have left.

Covers: whose folder it is, also when containers or machines share the place for temporary files.
Does not cover: what is in them (``local``, ``worker_process``).

A folder's name has the number of its process, and where that number means something: a process in a container, or on
another machine, sees other processes under the same numbers, or none, and must leave their folders alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import socket
import tempfile

PREFIX = "futures_cluster-"


def make_folder() -> str:
    """A new folder of mode 0700; those of programs that were killed are removed."""
    _sweep()
    return tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-{_where()}-")


@functools.cache
def _where() -> str:
    """Names the space of process numbers: this start of this machine, and the namespace."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            machine = file.read().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # no namespaces here
        machine, space = socket.gethostname(), ""
    return hashlib.sha1(f"{machine} {space}".encode(), usedforsecurity=False).hexdigest()[:10]


def _sweep() -> None:
    root = tempfile.gettempdir()
    with contextlib.suppress(OSError):
        for name in os.listdir(root):
            if not name.startswith(PREFIX):
                continue
            pid, _, rest = name[len(PREFIX) :].partition("-")
            if not pid.isdigit() or rest.partition("-")[0] != _where() or _is_alive(int(pid)):
                continue
            path = os.path.join(root, name)
            if os.stat(path).st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
