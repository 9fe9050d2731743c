"""Data on the connections between a program and its workers, where a worker cannot get it otherwise.

Covers: arguments in shared memory that a worker may not open, results of workers to whose sockets no way leads.
Does not cover: when that is so (``peers``), results that can be fetched (``data_server``).

A task may change its process's user, and so may the program; a cleaner of temporary files may remove sockets. The
socket pair of each worker, which is older, still works then. So the program fetches for its workers, and sends its own
questions to them on that way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from futures_cluster import messages as m
from futures_cluster.services.common.peers import PeerLost, Peers
from futures_cluster.services.common.sending import failed
from futures_cluster.services.scheduler.service import SchedulerService
from futures_cluster.wire.codec import payloads


class DataRelay:
    """The relay of one program; used on its loop only.

    Parameters
    ----------
    hurry : callable
        Has the loop read the workers' connections soon.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scheduler: SchedulerService,
        peers: Peers,
        hurry: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._scheduler = scheduler
        self._peers = peers
        self._hurry = hurry
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no reference
        self._names: dict[str, str] = {}  # workers that were asked, by address
        peers.other_way = self._ask

    def _ask(self, address: str, question: m.GetData) -> bool:
        """Ask a worker on the connection that it was born with."""
        with self._scheduler.lock:
            workers = self._scheduler.machine.state.workers
            name = next((name for name, worker in workers.items() if worker.address == address), "")
        send = self._scheduler.workers.get(name)
        if send is None:
            return False
        self._names[name] = address
        send([question])
        self._hurry()
        return True

    def worker_ended(self, name: str) -> None:
        """Fail what a worker was asked on this way."""
        address = self._names.pop(name, None)
        if address is not None:
            self._peers.forget([address])

    def received(self, message: m.RelayData | m.Data) -> None:
        """Take a question or an answer of a worker."""
        if isinstance(message, m.Data):
            self._peers.received(message)
            return
        task = self._loop.create_task(self._serve(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: m.RelayData) -> None:
        send = self._scheduler.workers.get(request.worker)
        if send is None:
            return
        try:
            send([await self._answer(request)])
        except Exception as error:  # the worker must not wait for ever
            send([failed(request, error)])

    async def _answer(self, request: m.RelayData) -> m.Data:
        if request.address:
            try:
                data = await self._peers.get_data(request.address, request.keys)
            except PeerLost:
                data = m.Data(0, [], request.keys)
        else:
            data = self._arguments(request.keys)
        found, missing = [], list(data.missing)
        for key, payload in data.found:
            try:
                found.append((key, payloads.beside(payload)))
            except OSError:
                missing.append(key)
        return m.Data(request.request, found, missing, data.errors)

    def _arguments(self, keys: list[m.Key]) -> m.Data:
        with self._scheduler.reading() as state:
            tasks = state.tasks
            found = [(key, tasks[key].payload) for key in keys if key in tasks]
        return m.Data(0, found, [key for key in keys if key not in tasks])
