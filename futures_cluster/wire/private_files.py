"""Files and folders that no other user of the machine may read: secrets, keys of certificates, sockets.

Covers: making such a folder, and refusing a file that others can reach. Does not cover: what is in them
(``credentials``, ``certificates``).
"""

from __future__ import annotations

import os
import stat

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def make_private_folder(path: str) -> None:
    """Make a folder of mode 0700, and those of its parents that are missing.

    The mode does not depend on the umask. A folder that exists stays as it is.
    """
    path = os.path.abspath(path)
    if not os.path.isdir(parent := os.path.dirname(path)):
        make_private_folder(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    _give_owner_all(path)


def make_temporary_folder(prefix: str, parent: str | None) -> str:
    """Make a new folder of mode 0700, by default in the temporary folder."""
    import tempfile  # 5 ms that many processes do not need

    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    _give_owner_all(path)
    return path


def _give_owner_all(path: str) -> None:
    """Give a new folder the rights that a umask may have taken from its owner."""
    if os.stat(path).st_mode & 0o700 != 0o700:
        os.chmod(path, 0o700)


def check_is_file(path: str, status: os.stat_result, remedy: str) -> None:
    """Refuse what is no regular file: reading it may wait forever.

    Raises
    ------
    PermissionError
        With the remedy.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise PermissionError(f"{path} is {kind} and not a file. {remedy}")


def check_is_private(path: str, status: os.stat_result, remedy: str, rights: int = 0o077) -> None:
    """Refuse what is no regular file, or open to other users.

    Parameters
    ----------
    status : os.stat_result
        Of the file that is read, and not of one that may take its place meanwhile, where that is possible.
    remedy : str
        A sentence that says what to do.
    rights : int
        What others may not have: 0o022 for a file that they may read.

    Raises
    ------
    PermissionError
        With the remedy.
    """
    check_is_file(path, status, remedy)
    if not hasattr(os, "geteuid"):
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise PermissionError(f"{path} belongs to user {status.st_uid}. {remedy}")
    if status.st_mode & rights:
        done = "changed" if status.st_mode & 0o022 else "read"
        raise PermissionError(
            f"{path} has mode {stat.S_IMODE(status.st_mode):o}: others may have {done} it. {remedy}; or, if you trust "
            f"them, chmod 600 {path}"
        )
