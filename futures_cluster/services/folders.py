"""Folders for the sockets and files of this program, and the removal of those that killed programs have left.

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

from futures_cluster.wire.private_files import make_private_folder, make_temporary_folder

PREFIX = "futures_cluster-"


def make_folder(parent: str | None = None) -> str:
    """Make a new folder of mode 0700, and remove those of programs that were killed.

    Parameters
    ----------
    parent : str or None
        Where to make it; the place for temporary files, if not given.
    """
    if parent is None:
        parent = tempfile.gettempdir()
    else:
        make_private_folder(parent)
    _sweep(parent)
    return make_temporary_folder(f"{PREFIX}{os.getpid()}-{_where()}-", os.path.abspath(parent))


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


def _sweep(root: str) -> None:
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
