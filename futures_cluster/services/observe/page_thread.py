"""The status page of one scheduler: a thread that serves it.

Covers: starting it, its address, ending it. Does not cover: what is served (``status.api``), and from what
(``monitor``).

It has a thread and a loop of its own, so that browsers and what it costs to answer them are not in the way of the
scheduler's loop.
"""

from __future__ import annotations

import asyncio
import secrets
import socket

from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.services.observe.monitor import ClusterMonitor
from futures_cluster.status.api import PUBLIC, Api
from futures_cluster.status.http import LOOPBACK_NAMES, AccessPolicy, HttpServer
from futures_cluster.wire.transports.addresses import in_words

DEFAULT_PORT = 8787
#: Seconds that ending waits for readers to leave.
CLOSE_S = 5.0


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens there.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("node7")
    (True, True, False, False)
    """
    return host == "localhost" or host == "::1" or host.startswith("127.")


class StatusPage:
    """Serves the page of a scheduler until ``close``.

    Parameters
    ----------
    host : str
        Where it listens; anywhere but on loopback the address has a token.
    port : int
        0 for any that is free.

    Attributes
    ----------
    url : str
        For a browser; with the token, if there is one.

    Raises
    ------
    OSError
        If the page cannot listen there; in a sentence.
    """

    def __init__(self, monitor: ClusterMonitor, host: str = "127.0.0.1", port: int = 0) -> None:
        local = is_loopback(host)
        self.token = "" if local else secrets.token_urlsafe(16)
        names = (*LOOPBACK_NAMES, host.lower(), f"[{host.lower()}]") if local else ()
        gate = AccessPolicy(self.token, names, PUBLIC)
        api = Api(monitor)
        self._thread = LoopThread("futures_cluster-status")
        self._thread.start()
        self._server = HttpServer(api.answer, gate)
        listening = self._server.listen(host, port)
        try:
            self.port = asyncio.run_coroutine_threadsafe(listening, self._thread.loop).result()
        except BaseException as error:
            self._end_thread()
            if isinstance(error, OSError):
                raise in_words(error, f"http://{host}:{port}", listens=True) from None
            raise
        shown = socket.gethostname() if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def close(self) -> None:
        """Send all readers away and end the thread; not on its own loop."""
        try:
            closing = asyncio.run_coroutine_threadsafe(self._server.close(), self._thread.loop)
            closing.result(CLOSE_S)
        finally:
            self._end_thread()

    async def close_from_loop(self) -> None:
        """Close the page from another loop, which goes on meanwhile."""
        try:
            closing = asyncio.run_coroutine_threadsafe(self._server.close(), self._thread.loop)
            async with asyncio.timeout(CLOSE_S):
                await asyncio.wrap_future(closing)
        finally:
            self._end_thread()

    def _end_thread(self) -> None:
        self._thread.stop()
        self._thread.thread.join()
