"""The listener that a connector means: handshakes are bound to it, and cannot be relayed to another one.

A connector names its *audience* in the handshake, the one listener that its proof is for, and a listener refuses
connectors that mean another one. There are two ways to name a listener:

- by the IP address and port that the connector's socket is connected to. The listener compares them with those at
  which its own socket was reached. They are the same however the listener was bound (``0.0.0.0``) and named, unless
  something in between forwards the connection: a relay, but also ``ssh -L``, a container's published port or NAT.
- by its identity, ``HOSTNAME:PORT`` as the listener's own machine calls itself, behind ``#`` in the address:
  ``tcp://localhost:9000#node-1:8786``. It does not depend on the way, so it goes through forwards.

The loopback addresses of two machines are not told apart: ``ssh -L 8786:localhost:8786`` leads from one to the other.
Identities need not be secret, because the proof is; listeners with the same secret must have different ones.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from typing import Any

AUDIENCE_BYTES = 32
#: The audience of connectors on transports that bind nothing (unix sockets, memory).
UNBOUND = bytes(AUDIENCE_BYTES)


def of_identity(identity: str) -> bytes:
    """Return the audience of connectors that know the listener's identity."""
    return hashlib.sha256(b"identity\0" + identity.encode("utf-8", "surrogateescape")).digest()


def of_address(address: Any) -> bytes:
    """Return the audience of connectors whose socket is connected to this address.

    Examples
    --------
    >>> of_address(("::ffff:10.0.0.1", 8786, 0, 0)) == of_address(("10.0.0.1", 8786))
    True
    """
    host: Any = ipaddress.ip_address(address[0].partition("%")[0])
    host = getattr(host, "ipv4_mapped", None) or host
    if host == ipaddress.IPv6Address("::1"):
        host = ipaddress.IPv4Address("127.0.0.1")
    return hashlib.sha256(f"address\0{host}\0{address[1]}".encode()).digest()


def own_identity(port: int) -> str:
    """Return the identity of a listener of this machine."""
    return f"{socket.gethostname()}:{port}"


def split_identity(rest: str) -> tuple[str, str]:
    """Split ``HOST:PORT#IDENTITY`` into its parts; the identity may be empty.

    Examples
    --------
    >>> split_identity("localhost:9000#node-1:8786")
    ('localhost:9000', 'node-1:8786')
    """
    address, _, identity = rest.partition("#")
    return address, identity
