"""Folders for the sockets and files of this program, and the removal of those that killed programs have left.

Covers: whose folder it is, also when containers or machines share the place for temporary files.
Does not cover: what is in them (``local``, ``process``).

The owner of a folder holds a lock on a file in it, which the kernel gives up when the owner ends, however it ends. A
process number tells less: the command of a container has the number 1 in each, so a folder that it has left seems to
belong to its successor. The lock says something on this machine only, since file systems of a network may not pass it
on. Where there is none (folders of older versions, file systems without locks), the folder's name decides: it has the
number of the process, and where that number means something. A process in another container, or on another machine,
sees other processes under the same numbers, or none, and leaves their folders alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import socket
import tempfile

from futures_cluster.services.common import descriptors
from futures_cluster.wire.private_files import make_private_folder, make_temporary_folder

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = "futures_cluster-"
LOCK = "owner.lock"

#: The locks that this process holds: descriptors, by the paths of folders.
_held: dict[str, int] = {}
#: Tells the folders of this process from those of a former one with its number.
_TOKEN = os.urandom(3).hex()


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
    path = make_temporary_folder(_own_prefix(), os.path.abspath(parent))
    with contextlib.suppress(OSError):  # without a lock the name decides
        _lock(path)
    return path


def remove_folder(path: str) -> None:
    """Remove a folder that this process has made, with all that is in it."""
    shutil.rmtree(path, ignore_errors=True)
    fd = _held.pop(path, None)
    if fd is not None:
        os.close(fd)


def _own_prefix() -> str:
    return f"{PREFIX}{os.getpid()}-{_where()}-{_TOKEN}"


@functools.cache
def _machine() -> str:
    """Return an id of this start of this machine."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return socket.gethostname()


@functools.cache
def _where() -> str:
    """Return an id of the space of process numbers: start and namespace."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # no namespaces here
        space = ""
    return hashlib.sha1(f"{_machine()} {space}".encode(), usedforsecurity=False).hexdigest()[:10]


def _lock(path: str) -> None:
    if fcntl is None:
        return
    draft = os.path.join(path, f"{LOCK}.new")
    fd = descriptors.above_standard(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        # Not flock: a copy of this process that users' code forks would have it, too, and may outlive this one.
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, _machine().encode())
        os.rename(draft, os.path.join(path, LOCK))  # has its name only when it is locked
    except BaseException:
        os.close(fd)
        raise
    _held[path] = fd


def _sweep(root: str) -> None:
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(root):
            # Not our own: a process that closes any descriptor of a file loses its locks on it.
            if name.startswith(PREFIX) and not name.startswith(_own_prefix()):
                with contextlib.suppress(OSError):  # the owner holds the lock, or the folder is gone
                    _remove_if_left(os.path.join(root, name), name[len(PREFIX) :])


def _remove_if_left(path: str, owner: str) -> None:
    pid, _, rest = owner.partition("-")
    if not pid.isdigit() or os.stat(path).st_uid != os.getuid():
        return
    try:
        fd = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        if rest.partition("-")[0] == _where() and not _is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
        return
    try:
        if os.read(fd, 256) == _machine().encode():
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while the owner lives
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
