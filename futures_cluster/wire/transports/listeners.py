"""The handshakes under way at a listener, whose peers are strangers as long.

Covers: what listeners of all kinds do with them, and the lines of the log ``futures_cluster.wire`` about peers that are
refused, which are limited (``repeated``). Does not cover: accepting (``streams``, ``zeromq``), which handshakes go when
there are too many (``admission``, pure).

When too many handshakes are under way, the listener tells the connectors of some to try again, which they do until
their time is over: a crowd of honest peers takes turns, and a crowd of idle ones cannot keep the others out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from futures_cluster.wire.handshake import HungUp
from futures_cluster.wire.repeated import RepeatedWarnings
from futures_cluster.wire.transports import admission, registry
from futures_cluster.wire.transports.registry import Connection, OnConnection, Security

log = logging.getLogger("futures_cluster.wire")


class HandshakingListener:
    """Base class of listeners with handshakes under way; see ``registry.Listener``."""

    def __init__(
        self,
        address: str,
        identity: str,
        loop: asyncio.AbstractEventLoop,
        security: Security,
        on_connection: OnConnection,
        most: int,
    ) -> None:
        self.address = address
        self.exact_address = f"{address}#{identity}" if identity else address
        self._identity = identity
        self._loop = loop
        self._security = security
        self._on_connection = on_connection
        self._under_way = admission.Admission(most)
        self._tasks: set[asyncio.Task[None]] = set()
        self._warnings = RepeatedWarnings(log)
        self._closed = False

    def _begin(self, handshake: Coroutine[Any, Any, None], source: str, end: Any) -> None:
        """Begin a handshake at one end of a connection."""
        task = self._loop.create_task(handshake)
        self._tasks.add(task)
        self._under_way.enter(task, source, self._loop.time())
        task.add_done_callback(partial(self._ended, end))

    def _ended(self, end: Any, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._under_way.leave(task)
        if task.cancelled():  # before it began
            end.close()

    def _end_some(self, is_urgent: bool = False) -> float:
        """End handshakes until there are few enough; return seconds to wait."""
        while True:
            victim, wait_s = self._under_way.victim(self._loop.time(), is_urgent)
            if victim is None:
                return wait_s
            self._under_way.leave(victim)
            victim.cancel()
            is_urgent = False

    def _refused(self, peer: str, source: str, reason: Any) -> None:
        """Log that a handshake has failed."""
        if isinstance(reason, TimeoutError):
            reason = f"it has not passed the handshake within {registry.TIMEOUT_S:g} s"
        if self._closed:
            return
        text = "refused a connection to %s from %s: %s"
        if isinstance(reason, HungUp) and self.address.startswith("unix://"):
            # A process of this host that has ended, as a worker that was retired: who started it says so.
            log.info(text, self.address, peer, reason)
        else:
            self._warnings.warning(f"{source}: {reason}", text, self.address, peer, reason)

    def _passed(self, connection: Connection) -> None:
        """Hand over a connection, at the end of its handshake's task."""
        if self._security.secret is not None:
            self._under_way.passed(asyncio.current_task())
        if self._closed:
            connection.close()
        else:
            self._on_connection(connection)

    def close(self) -> None:
        """See ``registry.Listener``."""
        if not self._closed:
            self._closed = True
            self._warnings.close()
            for task in self._tasks:
                task.cancel()
            self._give_up()

    def _give_up(self) -> None:
        """Accept nothing from now on; called once."""
        raise NotImplementedError
