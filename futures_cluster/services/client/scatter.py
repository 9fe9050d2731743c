"""Putting data onto workers of a cluster, past the scheduler.

Covers: choosing a worker, handing it the data, telling the scheduler. Does not cover: making copies (the scheduler has
workers do that), data on workers of this program, which goes the way of arguments (``client``).

The way of a value: pickled on the user's thread -> ``PutData`` to one worker, through shared memory if that is on this
machine -> its answer -> ``ScatterData`` to the scheduler, before anything can be submitted that uses it ->
``TasksDone`` once there are as many copies as were asked for.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from futures_cluster import messages as m
from futures_cluster.errors import DuplicateKey
from futures_cluster.services.client.client import Client
from futures_cluster.services.common.peers import PeerLost, Peers
from futures_cluster.services.common.reminders import result_aloud
from futures_cluster.wire.codec import payloads, pickle_codec, shm

#: For this long the client believes what it has heard of the workers.
FACTS_S = 1.0
#: Between two looks whether a worker has come.
POLL_INTERVAL_S = 0.05


class Scatterer:
    """Scatters for one client.

    Parameters
    ----------
    ask : callable
        ``await ask("workers", None)``: facts about the workers, by name.
    command : callable
        ``command(workers)``: what starts a worker that takes the data.
    """

    def __init__(
        self,
        client: Client,
        peers: Peers,
        loop: asyncio.AbstractEventLoop,
        ask: Callable[[str, Any], Awaitable[dict[str, Any]]],
        command: Callable[[Sequence[str]], str],
    ) -> None:
        self._client = client
        self._peers = peers
        self._loop = loop
        self._ask = ask
        self._command = command
        self._pool = shm.SegmentPool() if shm.available else None
        self._turns = itertools.count()
        self._facts: dict[str, Any] = {}
        self._asked_at = float("-inf")

    def scatter(self, value: Any, key: m.Key | None, workers: Sequence[str], replicas: int) -> Any:
        """Put a value onto a worker, and return its future; not on the loop's thread.

        Raises
        ------
        ValueError
            When the key is taken.
        """
        future = self._client.new_future(key, "scatter")
        try:
            pickled = payloads.dumps_large(value, self._client.codec.scope)
            placed = self._put(future.key, pickled, pickle_codec.can_change(value), workers, key is not None)
            running = asyncio.run_coroutine_threadsafe(placed, self._loop)
            worker, size_bytes = result_aloud(running, lambda seconds: self._sentence(workers, seconds))
        except Exception as error:
            self._client.fail_future(future, error)
            return future
        self._client.send_sync([m.ScatterData(self._client.name, [(future.key, size_bytes, worker)], replicas)])
        return future

    async def _put(
        self, key: m.Key, pickled: Any, private: bool, workers: Sequence[str], is_chosen: bool
    ) -> tuple[str, int]:
        while True:
            name, address = await self._choose(workers)
            payload: Any = None
            try:
                shares = self._pool is not None and await self._peers.shares_memory_with(address)
                payload = payloads.pack_large(pickled, self._pool if shares else None)
                row = (key, payloads.as_private(payload) if private else payload)
                if await self._peers.put_data(address, [row]):
                    raise PeerLost("it could not open the shared memory")
                return name, payloads.payload_size(payload)
            except (PeerLost, DuplicateKey) as error:
                if is_chosen and isinstance(error, DuplicateKey):
                    raise  # one that this client made is its own, put there before the connection was lost
                self._asked_at = float("-inf")  # what is known of the workers is old
                await asyncio.sleep(POLL_INTERVAL_S)
            finally:
                if payload is not None:
                    payloads.release(payload, self._pool)

    async def _choose(self, workers: Sequence[str]) -> tuple[str, str]:
        """Return the next worker, in turn; waits until there is one."""
        while True:
            if self._loop.time() - self._asked_at > FACTS_S:
                self._facts = await self._ask("workers", None)
                self._asked_at = self._loop.time()
            places = list(map(m.place_of, workers))
            names = [
                name
                for name, facts in self._facts.items()
                if not facts["retiring"] and (not places or m.place_of(name) in places)
            ]
            if names:
                name = names[next(self._turns) % len(names)]
                return name, self._facts[name]["exact_address"]
            await asyncio.sleep(POLL_INTERVAL_S)
            self._asked_at = float("-inf")

    def _sentence(self, workers: Sequence[str], seconds: float) -> str:
        names = f", one of {', '.join(workers)}" if workers else ""
        return (
            f"scatter() has waited {seconds:.0f} s for a worker that takes the data{names}; the workers are "
            f"{', '.join(self._facts) or 'none'}. Start one with: {self._command(workers)}"
        )

    def close(self) -> None:
        """Give up the shared memory."""
        if self._pool is not None:
            self._pool.close()
