"""The first bytes of a connection, before anything else is decoded: the peer's identity and proof.

Covers: two pure machines, ``Connector`` and ``Acceptor``, that take bytes and say what to send. Does not cover: sockets
and time limits (``streams``), where the secret comes from (``credentials``), the versions of Python and its packages
(``versions``, in the message ``Hello``).

Each message has a fixed layout; the longest has 108 bytes. Nothing is allocated, looked up or decoded by what they say.

    connector                                       acceptor
    OPENING   flags, nonce, audience, host ----->
                                          <------   CHALLENGE   flags, nonce, host
    PROOF     HMAC of both, as connector  ------>
                                          <------   WELCOME     HMAC of both, as acceptor
                                             or     REFUSAL     reason, instead of any of its messages

The connector proves first: otherwise any process that can reach the port could collect proofs and try secrets against
them offline. Both proofs cover both nonces, the flags, the hosts and the side that made them, so neither can be used
again or sent back. They cover the audience, too, the listener that the connector means (see ``audience``), and an
acceptor refuses connectors that mean another: a third party can pass a handshake on to where it was to go, and nowhere
else. Keys for the frames that follow (``session_keys``, see ``authenticator``) come from the secret and all of this, so
the third party can change nothing afterwards, either. Without a secret the key is empty: the same way is gone, and
proves and binds nothing.

Magic and version stand at the same place in all messages of all versions, and a refusal will always look like this, so
that other versions understand each other's refusal. Transitions:

    Connector: start -> challenged -> welcomed (done)          any -> refused or failed (error)
    Acceptor:  opened -> proved (done)                         any -> refused or failed (error)
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable

from futures_cluster.errors import AuthenticationError, HandshakeError, VersionMismatch
from futures_cluster.wire.audience import AUDIENCE_BYTES, UNBOUND

MAGIC = b"\xfcFUTCLU\n"
#: Raised with every change of the handshake, of frames or of messages that the other side must know of.
VERSION = 2
NONCE_BYTES = HOST_BYTES = PROOF_BYTES = 32
#: No message of any version is longer.
MAX_BYTES = 512

_HEAD = struct.Struct("<8sHBB")  # magic, version, kind, flags or reason
_OPENING, _CHALLENGE, _PROOF, _WELCOME, _REFUSAL = range(1, 6)
_LENGTHS = {
    _OPENING: _HEAD.size + NONCE_BYTES + AUDIENCE_BYTES + HOST_BYTES,
    _CHALLENGE: _HEAD.size + NONCE_BYTES + HOST_BYTES,
    _PROOF: _HEAD.size + PROOF_BYTES,
    _WELCOME: _HEAD.size + PROOF_BYTES,
    _REFUSAL: _HEAD.size,
}
_HAS_SECRET = 1
_VERSION_END = 10  # of magic and version, in bytes

#: Reasons of a refusal, as bytes on the wire.
OTHER_VERSION, SECRET_NEEDED, SECRET_UNKNOWN, WRONG_SECRET, NOT_OURS, OTHER_AUDIENCE, BUSY = range(1, 8)

#: A host that no peer has.
NO_HOST = bytes(HOST_BYTES)

_HOW_TO_AGREE = (
    "both sides need the same secret: set FUTURES_CLUSTER_SECRET to the same text for both, or give the file with the "
    "scheduler's secret to this user"
)

_GOES_WITHOUT = (
    "this process is set to use none: drop --insecure, insecure=True or FUTURES_CLUSTER_INSECURE, whichever is given"
)

_HOW_TO_FORWARD = (
    "the connection arrived at another address than the one it was made to: a port forward (ssh -L, a container's "
    "published port, NAT) or a relay lies between. If you set up the forward, name the scheduler that it leads to by "
    "the name of its host and its port there, like tcp://localhost:9000#node-1:8786"
)


class ListenerBusy(HandshakeError):
    """The listener has more handshakes under way than it admits; the connector may try again."""


def _describe_strangers(data: bytes) -> str:
    """Return what bytes that are not ours look like."""
    if data[:2] in (b"\x16\x03", b"\x15\x03"):
        return "it speaks TLS; write tls:// if both sides are to use it"
    first = data.split(b" ", 1)[0]
    if first[:5] == b"HTTP/" or first in (b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"PRI"):
        return "it speaks HTTP; this port is not for browsers"
    return "it does not speak the protocol of futures_cluster"


class HungUp(HandshakeError):
    """The peer has closed the connection in the middle of the handshake."""


def hung_up(peer: str, mismatch: str = "") -> HungUp:
    """Make the error for a peer that hangs up; the likeliest cause comes first."""
    text = (
        f"{peer} closed the connection in the middle of the handshake: its process may have ended (look whether it "
        "runs, and at the end of its log), or it is no scheduler or worker"
    )
    return HungUp(f"{text}, or {mismatch}" if mismatch else text)


class Handshake:
    """What both sides share.

    Parameters
    ----------
    secret : bytes or None
        Known to both sides, or to none.
    nonce : bytes
        ``NONCE_BYTES`` random bytes, never used before.
    host : bytes
        ``HOST_BYTES`` that are the same for processes which may share memory, or ``NO_HOST``.

    Attributes
    ----------
    done : bool
        The other side may be talked to; nothing more is received here.
    error : HandshakeError or None
        Why it may not be. Send what ``receive`` gave, and close.
    left_over : bytes
        What came behind the handshake: the beginning of the first frame.
    same_host : bool
        Whether both sides gave the same host; known when done.
    """

    _sides: tuple[bytes, bytes]  # this one, the other one

    def __init__(self, secret: bytes | None, nonce: bytes, host: bytes = NO_HOST) -> None:
        if len(nonce) != NONCE_BYTES or len(host) != HOST_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes, a host {HOST_BYTES}")
        if secret is not None and not secret:
            raise ValueError("the secret is empty")
        self._secret = secret
        self._flags = 0 if secret is None else _HAS_SECRET
        self._nonce = nonce
        self._host = host
        self._buffer = b""
        self._awaited: dict[int, Callable[[int, bytes], bytes]] = {}
        self._transcript = b""
        self.done = False
        self.error: HandshakeError | None = None
        self.left_over: bytes = b""
        self.same_host: bool = False

    def start(self) -> bytes:
        """Return what to send before anything is received."""
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take bytes however they are cut; what to send now. Never raises: see ``error``."""
        if self.done:
            self.left_over += data
            return b""
        if self.error is not None:
            return b""
        self._buffer += data
        buffer = self._buffer
        answer = self._check_head(buffer)
        if self.error is not None or len(buffer) < _HEAD.size:
            return answer
        _, _, kind, flags = _HEAD.unpack_from(buffer)
        if kind not in self._awaited:
            return self._fail(HandshakeError(f"the handshake went wrong: message {kind} was not to come now"), NOT_OURS)
        length = _LENGTHS[kind]
        if len(buffer) < length:
            return b""
        self._buffer = b""
        answer = self._awaited[kind](flags, buffer[:length])
        if self.done:
            self.left_over = buffer[length:]
        elif len(buffer) > length and self.error is None:
            if _REFUSAL in self._awaited:  # perhaps it is one
                return answer + self.receive(buffer[length:])
            self._fail(HandshakeError("the handshake went wrong: more came than was asked for"), NOT_OURS)
        return answer

    def _check_head(self, buffer: bytes) -> bytes:
        """Return magic and version, as far as they have come."""
        magic = buffer[: len(MAGIC)]
        if magic != MAGIC[: len(magic)]:
            return self._fail(HandshakeError(_describe_strangers(buffer)), NOT_OURS)
        if len(buffer) >= _VERSION_END:
            (version,) = struct.unpack_from("<H", buffer, len(MAGIC))
            if version != VERSION:
                return self._fail(VersionMismatch(_other_version(version)), OTHER_VERSION)
        return b""

    def _message(self, kind: int, flags: int = 0, content: bytes = b"") -> bytes:
        return _HEAD.pack(MAGIC, VERSION, kind, flags) + content

    def _proof(self, side: bytes) -> bytes:
        return hmac.digest(self._secret or b"", side + self._transcript, "sha256")

    def session_keys(self) -> tuple[bytes, bytes] | None:
        """Return the keys of sent and of received frames, once the handshake is done.

        Both nonces are in the transcript, so no other connection has the same. None without a secret.
        """
        if self._secret is None or not self.done:
            return None
        key = self._proof(b"session")
        ours, theirs = (hmac.digest(key, b"frames of the " + side, "sha256") for side in self._sides)
        return ours, theirs

    def _compare_hosts(self, message: bytes) -> None:
        theirs = message[-HOST_BYTES:]
        self.same_host = theirs != NO_HOST and theirs == self._host

    def _fail(self, error: HandshakeError, reason: int) -> bytes:
        """End with an error; the bytes that tell the other side, if it understands them."""
        self.error = error
        self._buffer = b""
        self._awaited = {}
        return b""


def _other_version(version: int) -> str:
    newer = "newer" if version > VERSION else "older"
    return (
        f"the other side speaks version {version} of the protocol, {newer} than version {VERSION} of this one; "
        "install the same version of futures_cluster on both sides"
    )


class Connector(Handshake):
    """The side that connects.

    Parameters
    ----------
    audience : bytes
        The listener that is meant; see ``audience``.
    insecure : bool
        Whether the user said to go without a secret.

    Examples
    --------
    >>> import os
    >>> one, two = Connector(b"secret", os.urandom(32)), Acceptor(b"secret", os.urandom(32))
    >>> welcome = two.receive(one.receive(two.receive(one.start())))
    >>> one.receive(welcome), one.done, two.done
    (b'', True, True)
    """

    _sides = (b"connector", b"acceptor")

    def __init__(
        self,
        secret: bytes | None,
        nonce: bytes,
        host: bytes = NO_HOST,
        audience: bytes = UNBOUND,
        insecure: bool = False,
    ) -> None:
        super().__init__(secret, nonce, host)
        self._audience = audience
        self._lack = f"and {_GOES_WITHOUT}" if insecure else f"and there is none here; {_HOW_TO_AGREE}"

    def start(self) -> bytes:
        """Return the opening."""
        opening = self._message(_OPENING, self._flags, self._nonce + self._audience + self._host)
        self._transcript = opening
        self._awaited = {_CHALLENGE: self._challenged, _REFUSAL: self._refused}
        return opening

    def _challenged(self, flags: int, message: bytes) -> bytes:
        if flags & _HAS_SECRET != self._flags:
            # An honest acceptor would have refused; without this check a false one could do without the secret.
            reason = SECRET_UNKNOWN if self._secret is not None else SECRET_NEEDED
            return self._refused(reason, b"")
        self._transcript += message
        self._compare_hosts(message)
        self._awaited = {_WELCOME: self._welcomed, _REFUSAL: self._refused}
        return self._message(_PROOF, 0, self._proof(b"connector"))

    def _welcomed(self, flags: int, message: bytes) -> bytes:
        if hmac.compare_digest(message[_HEAD.size :], self._proof(b"acceptor")):
            self.done = True
            return b""
        return self._fail(AuthenticationError(f"the listener does not know the secret; {_HOW_TO_AGREE}"), WRONG_SECRET)

    def _refused(self, reason: int, message: bytes) -> bytes:
        errors: dict[int, HandshakeError] = {
            SECRET_NEEDED: AuthenticationError(f"the listener wants a secret, {self._lack}"),
            SECRET_UNKNOWN: AuthenticationError(f"the listener has no secret, and there is one here; {_HOW_TO_AGREE}"),
            WRONG_SECRET: AuthenticationError(f"the listener has another secret; {_HOW_TO_AGREE}"),
            OTHER_AUDIENCE: AuthenticationError(f"the listener is not the one that was meant: {_HOW_TO_FORWARD}"),
            BUSY: ListenerBusy("the listener has too many handshakes under way; try again later"),
        }
        error = errors.get(reason) or HandshakeError(f"the listener refused the connection, for reason {reason}")
        return self._fail(error, reason)


def busy() -> bytes:
    """Return what a listener says that has no room for another handshake."""
    return _HEAD.pack(MAGIC, VERSION, _REFUSAL, BUSY)


class Acceptor(Handshake):
    """The side that listens. It answers every failure with a refusal, except to peers that do not speak its protocol.

    Parameters
    ----------
    audiences : frozenset of bytes
        Those of connectors that mean this listener; empty if it binds nothing. Ignored without a secret.
    """

    _sides = (b"acceptor", b"connector")

    def __init__(
        self,
        secret: bytes | None,
        nonce: bytes,
        host: bytes = NO_HOST,
        audiences: frozenset[bytes] = frozenset(),
    ) -> None:
        super().__init__(secret, nonce, host)
        self._audiences = audiences
        self._awaited = {_OPENING: self._opened}

    def _opened(self, flags: int, message: bytes) -> bytes:
        if flags & _HAS_SECRET != self._flags:
            if self._secret is not None:
                return self._fail(AuthenticationError("it has no secret"), SECRET_NEEDED)
            return self._fail(AuthenticationError("it has a secret, and there is none here"), SECRET_UNKNOWN)
        audience = message[-HOST_BYTES - AUDIENCE_BYTES : -HOST_BYTES]
        if self._secret is not None and self._audiences and audience not in self._audiences:
            return self._fail(
                AuthenticationError(
                    "it means another listener: a port forward or a relay lies between. Through a forward of your own, "
                    "connect to an address that ends with # and the name of this host and port"
                ),
                OTHER_AUDIENCE,
            )
        challenge = self._message(_CHALLENGE, self._flags, self._nonce + self._host)
        self._transcript = message + challenge
        self._compare_hosts(message)
        self._awaited = {_PROOF: self._proved}
        return challenge

    def _proved(self, flags: int, message: bytes) -> bytes:
        if not hmac.compare_digest(message[_HEAD.size :], self._proof(b"connector")):
            return self._fail(AuthenticationError("it has another secret"), WRONG_SECRET)
        self.done = True
        return self._message(_WELCOME, 0, self._proof(b"acceptor"))

    def _fail(self, error: HandshakeError, reason: int) -> bytes:
        super()._fail(error, reason)
        return b"" if reason == NOT_OURS else self._message(_REFUSAL, reason)
