"""A peer of a scheduler of its own: a client, worker or manager, at the other end of a connection.

Covers: its name and role, taking and checking what it says, refusing it. Does not cover: which peers there are, and
what follows when one goes (``server``), what each may say (``permissions``), connections (``wire.transports``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from futures_cluster import messages as m
from futures_cluster.errors import ProtocolError
from futures_cluster.messages import Message
from futures_cluster.services.common.heartbeats import Heartbeats
from futures_cluster.services.scheduler import permissions
from futures_cluster.services.scheduler.service import SchedulerService
from futures_cluster.wire.repeated import RepeatedWarnings
from futures_cluster.wire.transports import registry

log = logging.getLogger("futures_cluster.scheduler")

#: A peer that connects must introduce itself within this time.
HELLO_S = 10.0
#: A peer that lets more than this pile up no longer reads.
MAX_PENDING_BYTES = 4 * 2**30


class Server(Protocol):
    """What a peer asks of the server that it is connected to.

    Attributes
    ----------
    handlers : mapping
        Functions that take messages of a type before the service; one that returns True leaves them to it, too.
    warnings : RepeatedWarnings
        About peers that have not said who they are.
    """

    loop: asyncio.AbstractEventLoop
    service: SchedulerService
    warnings: RepeatedWarnings

    @property
    def handlers(self) -> Mapping[type[Message], Callable[[Any, Any], bool | None]]: ...
    def rejection_reason(self, hello: m.Hello) -> str | None: ...
    def enter(self, peer: Any) -> None: ...
    def leave(self, peer: Any, error: BaseException | None) -> None: ...


class Peer:
    """The other end of one connection."""

    def __init__(self, server: Server, connection: registry.Connection) -> None:
        self.server = server
        self.connection = connection
        self.role = ""
        self.name = ""
        self.heard_at = server.loop.time()
        self.silent = False  # a worker of which only its manager knows that it lives
        self.facts: dict[str, Any] = {}
        self.manager = ""  # of a worker: the manager that started it
        self.incarnation = ""  # of a worker: tells it from former ones of its name
        self.heartbeats: Heartbeats | None = None
        self.is_refused = False
        self.looks = contextlib.ExitStack()  # of a client that makes a report
        self.timer = server.loop.call_later(HELLO_S, self.refuse, "it did not say who it is")
        connection.on_messages, connection.on_close = self.received, self.lost

    def __str__(self) -> str:
        return f"{self.role} {self.name} at {self.connection.peer}" if self.role else self.connection.peer

    def received(self, messages: list[Message]) -> None:
        if self.is_refused:  # the connection is about to be closed
            return
        try:
            if not self.role:
                self.introduced(permissions.check_hello(messages))
                messages = messages[1:]
            for message in messages:
                permissions.check(self.role, self.name, message)
        except ProtocolError as error:
            self.refuse(str(error))
            return
        self.heard_at = self.server.loop.time()
        if self.silent:
            self.silent = False
            self.server.service.handle([m.WorkerSilent(self.name, False)])
        if self.heartbeats is not None:
            self.heartbeats.heard()
        others = []
        for message in messages:
            handler = self.server.handlers.get(type(message))
            if handler is None or handler(self, message):
                others.append(message)
        if others:
            self.server.service.handle(others)
        if self.connection.pending_bytes > MAX_PENDING_BYTES:
            self.refuse("it does not read what it is sent")

    def introduced(self, hello: m.Hello) -> None:
        reason = self.server.rejection_reason(hello)
        if reason is not None:
            self.connection.send([m.AskReply(0, None, reason)])
            raise ProtocolError(reason)
        self.timer.cancel()
        self.role, self.name = hello.role, hello.name
        self.server.enter(self)

    def refuse(self, why: str) -> None:
        """End the connection for what the peer did, or did not do."""
        self.is_refused = True
        told = str(self)  # a record that a log handler keeps must not keep this object
        if self.role:
            log.warning("dropping %s: %s", told, why)
        else:
            self.server.warnings.warning("unnamed", "dropping %s: %s", told, why)
        # After what was sent has gone: it may say why.
        self.server.loop.call_later(0.05 if self.connection.pending_bytes else 0, self.connection.close)
        self.lost(ProtocolError(why))

    def lost(self, error: BaseException | None) -> None:
        self.stop()
        self.server.leave(self, error)

    def stop(self) -> None:
        """End what goes on for this peer."""
        self.timer.cancel()
        if self.heartbeats is not None:
            self.heartbeats.stop()
        self.looks.close()

    def send(self, messages: list[Message]) -> None:
        self.connection.send(messages)
