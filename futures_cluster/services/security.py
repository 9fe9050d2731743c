"""What a process needs to be let into a cluster, and what it says first.

Covers: the secret and the certificates that an address asks for, the first message, whether two processes go together.
Does not cover: where the secret is (``wire.credentials``), proving it (``wire.handshake``).
"""

from __future__ import annotations

import os

from futures_cluster import config
from futures_cluster import messages as m
from futures_cluster.wire import credentials, transports, versions

#: Others cannot get at these anyway: a folder that only this user can enter, this process.
_PRIVATE = ("unix", "inproc")


def find(address: str, certificates_folder: str | None = None, is_scheduler: bool = False) -> transports.Security:
    """What is needed to connect to an address, or (``is_scheduler``) to listen there.

    Raises
    ------
    OSError, ValueError
        When it cannot be had; it says what to do.
    """
    scheme = address.partition("://")[0]
    if scheme in _PRIVATE:
        return transports.NO_SECURITY
    files = None
    if scheme == "tls":
        folder = certificates_folder or config.certificates_folder()
        if folder is None:
            raise FileNotFoundError(
                f"{address} needs certificates: make them with `futures-cluster certificates FOLDER`, and name the "
                f"folder by --tls or by {config.CERTIFICATES_VARIABLE}"
            )
        from futures_cluster.wire import certificates  # here, because it loads much that nobody else needs

        files = certificates.files_in(folder)
    secret = credentials.find_or_make_secret() if is_scheduler else credentials.find_secret()
    return transports.Security(secret, files)


def source() -> str:
    """Where the secret comes from, in words."""
    if config.secret_of_environment() is not None:
        return f"from {config.SECRET_VARIABLE}"
    return credentials.secret_path()


def hello(role: str, name: str) -> m.Hello:
    """The first message on a connection."""
    return m.Hello(role, name, pid=os.getpid(), versions=versions.own_versions())


def complaint(one: dict[str, str], other: dict[str, str], name: str, exchange_pickles: bool) -> str | None:
    """Why two processes do not go together; ``name`` is the other one, for the text."""
    return versions.compare(one, other, name, exchange_pickles)
