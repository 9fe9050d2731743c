"""Transports, for their users and authors: connecting and listening, the interfaces, and registering a transport.

``StreamTransport`` is the base of transports over stream sockets; ``make_certificates`` makes what ``tls://`` needs.
"""

from futures_cluster.wire.transports.certificates import make_certificates
from futures_cluster.wire.transports.registry import (
    Connection,
    Listener,
    Security,
    TlsFiles,
    Transport,
    connect,
    listen,
    register,
    schemes,
)
from futures_cluster.wire.transports.streams import BACKLOG, StreamTransport

__all__ = [
    "connect",
    "listen",
    "register",
    "schemes",
    "Connection",
    "Listener",
    "Security",
    "TlsFiles",
    "Transport",
    "BACKLOG",
    "StreamTransport",
    "make_certificates",
]
