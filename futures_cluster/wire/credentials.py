"""The secret that the processes of one cluster share: where it is found, and how it is made.

Covers: the environment variable and the file of this user. Does not cover: proving it (``handshake``), certificates
(``certificates``).

The first that there is: ``FUTURES_CLUSTER_SECRET``, then the file ``futures_cluster/secret`` in the user's
configuration folder. The scheduler makes the file if there is neither; clients and workers of the same user find it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat

from futures_cluster import config

_NAME = "secret"
_RANDOM_BYTES = 32
_MOST_BYTES = 4096


def secret_path() -> str:
    """Where the file with this user's secret is, or would be."""
    return os.path.join(config.user_folder(), _NAME)


def find_secret() -> bytes | None:
    """The secret; None if there is none.

    Raises
    ------
    PermissionError
        When others than this user can read or change the file.
    ValueError
        When there is nothing in it.
    """
    told = config.secret_of_environment()
    if told is not None:
        return told.encode()
    try:
        return _read(secret_path())
    except FileNotFoundError:
        return None


def find_or_make_secret() -> bytes:
    """The secret; a new one is put into the file if there is none.

    Raises
    ------
    PermissionError, ValueError
        See ``find_secret``.
    OSError
        When the file cannot be written.
    """
    found = find_secret()
    if found is not None:
        return found
    path = secret_path()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    # Complete before it has its name: a client that starts now finds all of it or nothing.
    draft = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_RANDOM_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):  # another scheduler was faster: both take the same
            os.link(draft, path)
    finally:
        os.unlink(draft)
    return _read(path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())  # of what is read, and not of what may take its place meanwhile
        if hasattr(os, "geteuid"):
            if status.st_uid not in (os.geteuid(), 0):
                raise PermissionError(
                    f"{path} belongs to user {status.st_uid}; remove it, or set {config.SECRET_VARIABLE} instead"
                )
            if status.st_mode & 0o077:
                raise PermissionError(
                    f"{path} has mode {stat.S_IMODE(status.st_mode):o}: others may have read the secret in it. Remove "
                    f"the file and restart the scheduler, which makes a new one; or, if you trust them, chmod 600 it"
                )
        content = file.read(_MOST_BYTES).strip()
    if not content:
        raise ValueError(f"{path} is empty; remove it, and the scheduler makes a new one")
    return content
