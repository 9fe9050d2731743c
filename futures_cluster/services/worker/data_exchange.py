"""The data of a worker that comes from other processes, and goes to them.

Covers: fetching inputs from peers, answering peers and clients that ask for results, taking what clients scatter. Does
not cover: connections to peers (``peers``) and from them (``data_server``), what is held (``store``).
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from futures_cluster import clocks
from futures_cluster import messages as m
from futures_cluster.services.common import plugin_runner
from futures_cluster.services.common.peers import PeerLost, Peers
from futures_cluster.services.worker.slots import Slot
from futures_cluster.services.worker.stats import WorkerStats
from futures_cluster.services.worker.store import Store
from futures_cluster.wire.codec import compress, payloads, shm
from futures_cluster.worker.machine import WorkerMachine
from futures_cluster.worker.runs import Run

if TYPE_CHECKING:
    from futures_cluster.services.worker.task_stream import TaskStreamRecorder

#: Answers to peers from this size on are pickled in a thread, not on the loop.
LARGE_BYTES = 2 * 2**20


class DataExchange:
    """Part of ``WorkerService``: its data on the way from and to other processes."""

    machine: WorkerMachine
    store: Store
    peers: Peers
    stats: WorkerStats
    recorder: TaskStreamRecorder | None
    _codec: Any
    _pool: shm.SegmentPool | None
    _loop: asyncio.AbstractEventLoop
    _lock: threading.Lock
    _plugins: plugin_runner.PluginRunner | None

    def _carry_out(self, commands: list[Any], slot: Slot | None, starts_timer: bool = True) -> Run | None:
        """Carry out commands of the machine under the lock."""
        raise NotImplementedError

    def _start_fetch(self, command: m.FetchData) -> None:
        self._loop.create_task(self._fetch(command))

    async def _fetch(self, command: m.FetchData) -> None:
        duration_s = 0.0
        try:
            if not command.address:
                raise PeerLost("no worker holds it")
            start = clocks.perf_counter()
            data = await self.peers.get_data(command.address, command.keys)
            duration_s = clocks.perf_counter() - start
        except PeerLost:
            data = m.Data(0, [], command.keys)
        except Exception as failure:  # runs that need the data fail with it, and do not wait forever
            payload = self._codec.dump_error(failure)
            data = m.Data(0, [], [], [(key, payload) for key in command.keys])
        arrived = []
        for key, payload in data.found:
            self.store.put_payload(key, payload)
            arrived.append((key, payloads.payload_size(payload)))
        for key, error in data.errors:
            self.store.put_error(key, error)
            arrived.append((key, 0))
        event = m.FetchEnded(command.holder, arrived, list(data.missing), duration_s)
        if arrived:
            keys, size_bytes = tuple(key for key, _ in arrived), sum(size for _, size in arrived)
            self.stats.traffic.add_received(command.holder, size_bytes, duration_s)
            if self.recorder is not None:
                self.recorder.fetched(command.holder, keys, size_bytes, duration_s)
            if self._plugins is not None:
                self._plugins.post([plugin_runner.DataFetched(keys, self.machine.name, command.holder, size_bytes)])
        with self._lock:
            self._carry_out(self.machine.handle(event, clocks.monotonic()), None)

    def answer_bytes(self, request: m.GetData) -> int:
        """Return the size of the values that a peer asks for."""
        replicas = self.machine.replicas
        return sum([replicas[key].size_bytes for key in request.keys if key in replicas])

    async def answer(self, request: m.GetData, shared: bool) -> m.Data:
        """Answer a peer's request; a thread pickles large values."""
        pool = self._pool if shared else None
        codec = compress.choose(request.codecs)
        if self.answer_bytes(request) > LARGE_BYTES:
            return await asyncio.to_thread(self._answer, request, pool, codec)
        return self._answer(request, pool, codec)

    def _answer(self, request: m.GetData, pool: shm.SegmentPool | None, codec: str | None) -> m.Data:
        found: list[m.DataRow] = []
        missing: list[str] = []
        failed: list[m.DataRow] = []
        for key in request.keys:
            original = self.store.original(key)
            try:
                parts = self.store.parts(key) if original is None else None
                value = self.store.get(key) if original is None and parts is None else None
            except KeyError:
                missing.append(key)
                continue
            except BaseException as error:  # the stored payload does not unpickle
                failed.append((key, self._codec.dump_error(error)))
                continue
            try:
                if original is not None:
                    payload = original.dump(pool, codec)
                elif parts is not None:
                    payload = payloads.pack(parts, pool, codec=codec)
                else:
                    payload = payloads.dump(value, pool, copy=False, codec=codec)
                found.append((key, payload))
            except BaseException as error:
                failed.append((key, self._codec.dump_error(error)))
        self.stats.traffic.sent_bytes += sum(payloads.payload_size(payload) for _, payload in found)
        return m.Data(request.request, found, missing, failed)

    def keep(self, message: m.PutData) -> m.Data:
        """Store data that a client scatters; return which was refused, or here already."""
        rows, refused, taken = [], [], []
        for key, payload in message.rows:
            replica = self.machine.replicas.get(key)
            if replica is not None and replica.held:  # never replaced: a task may be reading it
                taken.append((key, b""))
                continue
            try:
                payload = payloads.attach(payload)
            except (OSError, OverflowError, ValueError):  # its segment is gone, or never was one
                refused.append(key)
                continue
            self.store.put_payload(key, payload)
            rows.append((key, payloads.payload_size(payload)))
        with self._lock:
            self._carry_out(self.machine.handle(m.DataPut(rows), clocks.monotonic()), None)
        return m.Data(message.request, [], refused, taken)
