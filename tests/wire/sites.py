"""Listeners and both ends of connections to them, for the tests of transports."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from futures_cluster import messages as m
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.registry import Connection, Listener, Security


class End:
    """One side of a connection: what it got, and how it ended."""

    def __init__(self, connection: Connection) -> None:
        self.got: list[list[m.Message]] = []
        self.reasons: list[BaseException | None] = []
        self.closed = threading.Event()
        self.enough = threading.Event()
        self.wanted = 10**9
        self.connection = connection
        connection.on_messages, connection.on_close = self.receive, self.close

    def receive(self, messages: list[m.Message]) -> None:
        self.got.append(messages)
        if len(self.got) >= self.wanted:
            self.enough.set()

    def close(self, error: BaseException | None) -> None:
        self.reasons.append(error)
        self.closed.set()

    def wait_for(self, count: int) -> None:
        self.wanted = count
        if len(self.got) < count:
            assert self.enough.wait(60), len(self.got)


class Site:
    """A listener, and the ends of the connections made to it."""

    def __init__(self, address: str, security: Security, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.security = security
        self.accepted: list[End] = []
        self.connected: list[End] = []
        self.arrived = threading.Semaphore(0)
        self.listener: Listener = self.run(registry.listen(address, loop, security, self._take))

    def _take(self, connection: Connection) -> None:
        self.accepted.append(End(connection))
        self.arrived.release()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        async def call() -> Any:
            return function(*args)

        return self.run(call())

    def connect(self, is_started: bool = True, address: str = "") -> tuple[End, End]:
        """The connecting and the listening end of a new connection."""
        one = End(self.run(registry.connect(address or self.listener.address, self.loop, self.security)))
        self.connected.append(one)
        assert self.arrived.acquire(timeout=60)
        two = self.accepted[-1]
        if is_started:
            self.call(one.connection.start)
            self.call(two.connection.start)
        return one, two

    def close(self) -> None:
        self.call(self.listener.close)
        for end in [*self.accepted, *self.connected]:
            self.call(end.connection.close)
