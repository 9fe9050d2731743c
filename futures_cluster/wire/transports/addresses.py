"""Errors of addresses in sentences: why a process cannot connect to an address, or listen there, and what to do.

Covers: the errors of the system and of the resolver, for every transport. Does not cover: refusals by the other side,
which say themselves what they mean (``handshake``).
"""

from __future__ import annotations

import errno
import socket


class MalformedAddress(OSError, ValueError):
    """The text of an address does not fit its scheme, so that no wait for the other side helps."""


_NO_DESCRIPTOR = "this process has no free descriptor; raise its limit (ulimit -n)"
_BOTH = {errno.EMFILE: _NO_DESCRIPTOR, errno.ENFILE: "this machine has no free descriptor"}
_CONNECTING = {
    **_BOTH,
    errno.ECONNREFUSED: "nothing listens there",
    errno.ENOENT: "there is no such socket",
    errno.ECONNRESET: "the other side closed the connection at once",
    errno.EHOSTUNREACH: "this machine does not reach that host",
    errno.ENETUNREACH: "this machine does not reach that network",
    errno.ETIMEDOUT: "that host does not answer; is the address right, and does a firewall drop the packets?",
    errno.EACCES: "this user may not connect to it",
    errno.EPERM: "a firewall of this machine forbids it",
}
_LISTENING = {
    **_BOTH,
    errno.EADDRINUSE: "another process listens there; end that process, or choose another port (0: one that is free)",
    errno.EADDRNOTAVAIL: "this machine has no such address; write one of its own, or 0.0.0.0 for all of them",
    errno.EACCES: "this user may not listen there; ports below 1024 are for root",
    errno.ENOENT: "there is no such folder",
}


def limit_in_words(error: OSError) -> str:
    """Return why a process that listens cannot have another connection now."""
    return _BOTH.get(error.errno or 0) or str(error)


def in_words(error: OSError, address: str, listens: bool = False) -> OSError:
    """Return an error that says why an address cannot be reached or used.

    Parameters
    ----------
    error : OSError
        What the system said. Any other error already has a sentence, and is returned as it is.
    address : str
        As the user wrote it.
    listens : bool
        Whether this process was to listen there.

    Examples
    --------
    >>> in_words(ConnectionRefusedError(111, "Connection refused"), "tcp://127.0.0.1:9")
    ConnectionRefusedError('cannot connect to tcp://127.0.0.1:9: nothing listens there')
    """
    if error.strerror is None:
        return error
    what = f"cannot {'listen at' if listens else 'connect to'} {address}"
    if error.filename is not None:
        why = f"{error.filename}: {error.strerror}"
    elif isinstance(error, socket.gaierror):
        host = address.partition("://")[2].rpartition(":")[0]
        why = f"the name {host!r} does not resolve ({error.strerror}); correct it, or write an IP address"
    else:
        known = _LISTENING if listens else _CONNECTING
        why = known.get(error.errno or 0) or error.strerror or repr(error)
    # Errors of other modules may need other arguments.
    kind = type(error) if type(error).__module__ in ("builtins", "socket") else OSError
    explained = kind(f"{what}: {why}")
    explained.errno = error.errno
    return explained
