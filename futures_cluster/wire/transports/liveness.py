"""Whether the host at the other end of a TCP connection is still there, however busy its process is.

Covers: asking the kernel what it knows of the peer's kernel, and giving up a connection on which nothing is
acknowledged. Does not cover: idle connections (the kernel's keepalive, set by ``tcp``), silence of the peer's
process (``services.common.heartbeats``).

A process that is stopped, or holds the interpreter's lock, reads nothing: its receive window fills, and the sender's
kernel asks from time to time whether there is room again. The peer's kernel answers each of these probes, so its host
is there. ``TCP_USER_TIMEOUT`` ends a connection whose window stays closed for that time, answered probes or not, and
without it the kernel retransmits for a quarter of an hour to a host that was unplugged. Therefore the question is asked
here: is something unanswered, and since when has no acknowledgement come?
"""

from __future__ import annotations

import asyncio
import socket
import struct

from futures_cluster.wire.transports.sockets import SocketConnection

#: Seconds without an acknowledgement of what was sent, after which the peer's host is gone.
GONE_S = 90.0
#: Questions to the kernel in that time.
QUESTIONS = 9

#: Of ``struct tcp_info``: retransmissions and probes that are unanswered, milliseconds since the last acknowledgement.
_INFO = struct.Struct("=2x2B52xI")


class Acknowledgements:
    """Judges what the kernel says of one connection, one question after the other.

    Examples
    --------
    >>> heard = Acknowledgements(gone_s=90.0)
    >>> heard.is_gone(now=0.0, unanswered=0, acked_s=500.0)  # idle
    False
    >>> heard.is_gone(1.0, 1, 501.0), heard.is_gone(80.0, 3, 580.0), heard.is_gone(92.0, 4, 592.0)
    (False, False, True)
    """

    def __init__(self, gone_s: float) -> None:
        self._gone_s = gone_s
        self._since: float | None = None

    def is_gone(self, now: float, unanswered: int, acked_s: float) -> bool:
        """Return whether nothing has been acknowledged for too long.

        Parameters
        ----------
        now : float
            Seconds on a monotonic clock.
        unanswered : int
            Number of retransmissions and probes since the last acknowledgement.
        acked_s : float
            Seconds since the last acknowledgement. Probes come up to two minutes apart: the time counts from the first
            unanswered one that was seen, and not from the last answer.
        """
        if not unanswered:
            self._since = None
        elif self._since is None or now - acked_s > self._since:
            self._since = now
        return self._since is not None and now - self._since > self._gone_s


class TcpConnection(SocketConnection):
    """A connection that ends when the peer's host is gone. See ``SocketConnection``."""

    _question: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """See ``registry.Connection``."""
        if hasattr(socket, "TCP_INFO") and not self.closed:
            self._acknowledgements = Acknowledgements(GONE_S)
            self._ask_later()
        super().start()

    def _ask_later(self) -> None:
        self._question = self._loop.call_later(GONE_S / QUESTIONS, self._ask)

    def _ask(self) -> None:
        if self.closed:
            return
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        retransmitted, probed, acked_ms = _INFO.unpack(info)
        if self._acknowledgements.is_gone(self._loop.time(), retransmitted + probed, acked_ms / 1000):
            self._end(TimeoutError(f"its host has acknowledged nothing for {GONE_S:g} s"))
        else:
            self._ask_later()

    def _give_up(self) -> None:
        super()._give_up()
        if self._question is not None:
            self._question.cancel()
