"""More, fewer and fresh worker processes while a program runs.

Covers: starting more, retiring some without losing what they hold, following the work between two bounds, putting
fresh processes in the place of all.
Does not cover: how many the work wants (``scheduler.adapting``), moving data (``scheduler.replication``), processes.

Everything happens on the loop. A worker that is to go takes no more tasks and hands over what only it holds; then the
scheduler has it stopped, and it is not replaced.
"""

from __future__ import annotations

import asyncio
from typing import Any

from futures_cluster import messages as m
from futures_cluster.scheduler.adapting import desired_workers
from futures_cluster.services.launch.worker_pool import WorkerProcesses
from futures_cluster.services.scheduler.service import SchedulerService

#: Seconds between two looks at the work.
CHECK_INTERVAL_S = 0.25
#: Number of looks in a row that must find fewer workers enough before some are retired: starting takes time.
CHECKS_BEFORE_RETIRING = 8


class Scaling:
    """The number of workers of one cluster.

    Attributes
    ----------
    number : int
        How many there are to be.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        processes: WorkerProcesses,
        scheduler: SchedulerService,
        number: int,
        slots: int,
    ) -> None:
        self.number = number
        self._loop = loop
        self._processes = processes
        self._scheduler = scheduler
        self._slots = slots
        self._fewer = 0  # looks in a row that found fewer to be enough
        self._timer: asyncio.TimerHandle | None = None

    def scale(self, number: int) -> None:
        """Have this number of workers from now on, whatever the work."""
        self.close()
        self._set(number)

    def adapt(self, minimum: int, maximum: int) -> None:
        """Have as many workers as the work wants, between these bounds."""
        self.close()
        self._fewer = 0
        self._set(max(minimum, min(maximum, self.number)))
        self._look_later(minimum, maximum)

    async def restart(self) -> None:
        """Put a fresh process in the place of each worker, one after another.

        Raises
        ------
        RuntimeError
            If a fresh process does not become ready.
        """
        for handle in list(self._processes.handles.values()):
            if handle.replaced or self._processes.handles.get(handle.name) is not handle:
                continue  # another has taken its place already
            if not await self._processes.replace(handle):
                raise RuntimeError(f"no fresh process became ready in the place of {handle.name}")
            handle.replaced = True
            self._send_away([handle], "it was restarted")
        self._set(self.number)  # one that has ended meanwhile was replaced twice

    def close(self) -> None:
        """Stop following the work."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self, minimum: int, maximum: int) -> None:
        self._timer = self._loop.call_later(CHECK_INTERVAL_S, self._look, minimum, maximum)

    def _look(self, minimum: int, maximum: int) -> None:
        with self._scheduler.reading() as state:
            wanted = desired_workers(state, self._slots, minimum, maximum)
        self._fewer = self._fewer + 1 if wanted < self.number else 0
        if wanted > self.number or self._fewer >= CHECKS_BEFORE_RETIRING:
            self._fewer = 0
            self._set(wanted)
        self._look_later(minimum, maximum)

    def _set(self, number: int) -> None:
        self.number = number
        processes = self._processes
        if not processes.wanted:
            return
        staying = [handle for handle in processes.handles.values() if not handle.replaced]
        processes.set_missing(max(0, number - len(staying)))
        if number < len(staying):
            self._retire(staying, len(staying) - number)

    def _retire(self, staying: list[Any], count: int) -> None:
        """Send away those that do and hold least."""
        workers = self._scheduler.machine.state.workers

        def weight(handle: Any) -> tuple[float, int]:
            worker = workers.get(handle.name)
            return (worker.occupancy_s, worker.held_bytes) if worker is not None else (-1.0, 0)

        leaving = sorted(staying, key=weight)[:count]
        for handle in leaving:
            handle.replaced = True  # no worker takes its place
        self._send_away(leaving, "fewer workers are wanted")

    def _send_away(self, leaving: list[Any], reason: str) -> None:
        workers = self._scheduler.machine.state.workers
        for handle in leaving:
            if handle.name not in workers:  # it has not joined yet, and has nothing
                self._processes.stop(m.StopWorker(handle.name, True, reason))
        names = [handle.name for handle in leaving if handle.name in workers]
        if names:
            self._scheduler.handle([m.RetireWorkers(names)])
