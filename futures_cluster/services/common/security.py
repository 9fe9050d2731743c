"""What a process needs to be let into a cluster, and what it says first.

Covers: the secret and the certificates that an address asks for, the first message. Does not cover: where the secret is
(``wire.credentials``), proving it (``wire.handshake``), whether two processes go together (``wire.versions``).

Each address is judged by itself: a scheduler may listen at a unix socket and at a port, and a worker of the one may
have to fetch results from a worker of the other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from futures_cluster import config, errors
from futures_cluster import messages as m
from futures_cluster.wire import versions
from futures_cluster.wire.transports import registry

log = logging.getLogger("futures_cluster.wire")


def find(
    address: str, certificates_folder: str | None = None, is_scheduler: bool = False, insecure: bool = False
) -> registry.Security:
    """Return what an address, or (``is_scheduler``) a listener, needs.

    Parameters
    ----------
    insecure : bool
        Whether to go without a secret, as ``FUTURES_CLUSTER_INSECURE`` says, too.

    Raises
    ------
    AuthenticationError
        When a network address would be used without a secret, or the secret cannot be used; it says what to do.
    OSError, ValueError
        When something else cannot be had; it says what to do.
    """
    guard = registry.guard(address)
    if guard == registry.HOST:
        return registry.NO_SECURITY
    files = _find_certificates(address, certificates_folder) if guard == registry.CERTIFICATES else None
    if insecure or config.insecure_of_environment():
        return _go_without(address, files)
    from futures_cluster.wire import credentials  # here, because programs without network addresses need no secrets

    secret = credentials.find_or_make_secret() if is_scheduler else credentials.find_secret()
    if secret is None and files is None:
        raise errors.SecretMissing(
            f"{address} needs a secret, and there is none here: without it, any process that can answer there could "
            f"run code here. A scheduler of this user leaves its secret in {credentials.secret_path()} when it starts; "
            f"from another machine copy that file, or set {config.SECRET_VARIABLE} to the same text on both sides. "
            f"--insecure or Executor(insecure=True) goes without"
        )
    return registry.Security(secret, files)


def _find_certificates(address: str, folder: str | None) -> registry.TlsFiles:
    folder = folder or config.certificates_folder()
    if folder is None:
        raise FileNotFoundError(
            f"{address} needs certificates: make them with `futures-cluster certificates FOLDER`, and name the "
            f"folder by --tls or by {config.CERTIFICATES_VARIABLE}"
        )
    from futures_cluster.wire.transports import certificates  # here, because it loads modules that only TLS needs

    return certificates.files_in(folder)


def _go_without(address: str, files: registry.TlsFiles | None) -> registry.Security:
    if config.secret_of_environment() is not None:
        raise errors.AuthenticationError(
            f"{config.SECRET_VARIABLE} is set, and {address} is to be used without a secret; drop one of the two"
        )
    if files is None:
        log.warning("%s is used without a secret: any process that can reach it can run code as this user", address)
    return registry.Security(None, files, insecure=True)


def at(address: str, own: registry.Security) -> registry.Security:
    """Return what to show at a peer's address, of whatever transport."""
    if address.startswith("unix://"):
        return registry.NO_SECURITY
    return find(address) if own == registry.NO_SECURITY else own


def describe(needed: Iterable[registry.Security]) -> str:
    """Return, in words, the source of the secret of these listeners."""
    listeners = list(needed)
    if any(security.secret is not None for security in listeners):
        if config.secret_of_environment() is not None:
            return f"from {config.SECRET_VARIABLE}"
        from futures_cluster.wire import credentials

        return credentials.secret_path()
    if any(security.insecure and security.tls is None for security in listeners):
        return "none (--insecure): any process that can reach it can run code as this user"
    if any(security.tls is not None for security in listeners):
        return "none: certificates are asked for"
    return "none: only processes of this user and of root can connect"


def hello(role: str, name: str) -> m.Hello:
    """Return the first message on a connection."""
    return m.Hello(role, name, pid=os.getpid(), versions=versions.own_versions())
