"""The worker processes of one machine: started, replaced when they end, told to stop.

Covers: how many there are to be, starting them by a launcher, replacing those that died or have run their maximum,
starting again when a start has failed, ending them all. The same class serves a program's own workers (``local``) and
the workers that one machine offers to a scheduler elsewhere (``supervisor``).
Does not cover: the processes themselves (``launchers``, ``process``), what they run, when a start that has failed
is repeated (``restart_policy``).

All of it happens on one loop. A worker goes through ``create`` (its handle), ``start`` (its process), perhaps ``stop``,
and ``_end``, which tells the owner. A start that fails ends the same way; it concerns no other worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.services.common.worker_settings import LOST_CODE, WorkerSettings
from futures_cluster.services.launch.launchers import WorkerHandle, describe_exit, describe_failure
from futures_cluster.services.launch.resource_tracker import TrackerDoor
from futures_cluster.services.launch.restart_policy import MAX_FAILURES, MAX_PAUSE_S, RestartPolicy
from futures_cluster.services.launch.stderr import StderrWriter
from futures_cluster.wire.transports import sockets

log = logging.getLogger("futures_cluster")

#: Seconds after which the pool kills a worker that was asked to end.
STOP_TIMEOUT_S = 5.0
#: A worker whose connection has ended is killed after this time, if it has not ended by then.
HUNG_UP_S = 0.5


class WorkerProcesses:
    """Worker processes.

    Parameters
    ----------
    make_settings : callable
        ``make_settings(former)``: the settings of the next worker. ``former`` are those of the worker whose place it
        takes, if there is one; if that has not ended yet, each needs a name of its own.
    on_messages : callable
        ``on_messages(handle)``: what takes the messages that a worker sends over its socket pair.
    on_started : callable
        Called with a handle before its process is started.
    on_ended : callable
        ``on_ended(handle, cause)``: the process is gone, and how it ended in words; what it said before was taken.
    on_hopeless : callable
        Called with a text when no worker can start.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make_settings: Callable[[WorkerSettings | None], WorkerSettings],
        on_messages: Callable[[WorkerHandle], Callable[[list[m.Message]], None]],
        on_started: Callable[[WorkerHandle], None],
        on_ended: Callable[[WorkerHandle, str], None],
        on_hopeless: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._make_settings = make_settings
        self._on_messages = on_messages
        self._on_started = on_started
        self._on_ended = on_ended
        self._on_hopeless = on_hopeless
        self.handles: dict[str, WorkerHandle] = {}
        self.wanted = True  # those that end are replaced
        self.launcher: Any = None
        self._missing: deque[WorkerSettings | None] = deque()  # to be started: the settings of their predecessors
        self._restarts = RestartPolicy()
        self._pause: asyncio.TimerHandle | None = None
        self._all_ended: asyncio.Event | None = None
        self._starting: dict[str, asyncio.Future[bool]] = {}  # by place: a caller waits for the worker that takes it
        self._stderr = StderrWriter()
        self._tracker: TrackerDoor | None = None  # from the first worker on

    # ---------------------------------------------------------------- start

    def create(self) -> WorkerHandle:
        """Return the handle of a new worker, before the loop runs."""
        return self._make_handle(self._make_settings(None))

    def _make_handle(self, settings: WorkerSettings) -> WorkerHandle:
        if self._tracker is None:
            self._tracker = TrackerDoor(self._loop)
        handle = self.handles[settings.name] = WorkerHandle(settings, self._loop, self._stderr, self._tracker)
        return handle

    def start(self, handle: WorkerHandle) -> None:
        """Start a worker's process."""
        assert self._tracker is not None
        handle.began_s = self._loop.time()
        handle.link = sockets.SocketConnection(
            handle.connection, self._loop, self._on_messages(handle), lambda error: self._hung_up(handle)
        )
        try:
            self._tracker.open()
            handle.stderr.start()
            self._on_started(handle)
            handle.link.start()
            self.launcher.start(handle)
        except Exception as error:
            self._end(handle, describe_failure(error))

    def add(self, former: WorkerSettings | None = None) -> None:
        """Start one more; after a start that has failed, when its pause is over."""
        self._missing.append(former)
        self._start_missing()

    def set_missing(self, number: int) -> None:
        """Let this number of workers wait to be started, and start them."""
        self._missing.extend([None] * (number - len(self._missing)))
        for _ in range(len(self._missing) - number):
            self._missing.pop()
        self._start_missing()

    def _start_missing(self) -> None:
        """Start those that are missing: now, or when the pause is over."""
        while self._missing and self.wanted:
            now_s = self._loop.time()
            if now_s < self._restarts.next_s:
                self._stop_pause()
                self._pause = self._loop.call_at(self._restarts.next_s, self._start_missing)
                return
            former = self._missing.popleft()
            try:
                former = self._make_settings(former)
                handle = self._make_handle(former)
            except Exception as error:
                self._missing.appendleft(former)
                how = describe_failure(error)
                self._start_failed(now_s, how, how)
            else:
                self._restarts.started(now_s)
                self.start(handle)

    def _stop_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()

    def _start_failed(self, began_s: float, how: str, cause: str) -> None:
        """Delay the next start after one that failed, or give up if it is hopeless.

        ``cause`` also has the end of the worker's stderr, which this program's own stderr has got already.
        """
        if not self.wanted:
            return
        restarts, now_s = self._restarts, self._loop.time()
        is_counted = restarts.failed(began_s, now_s)
        if not restarts.exhausted:
            if is_counted:
                pause_s = restarts.pause_s(now_s)
                log.warning("a worker failed to start (the next attempt follows in %.1f s): %s", pause_s, how)
        elif not any(handle.is_staying for handle in self.handles.values()):
            self.give_up(f"{restarts.failures} attempts in a row to start a worker failed; the last one: {cause}")
        elif is_counted and restarts.failures == MAX_FAILURES and any(h.joined for h in self.handles.values()):
            log.error(
                "%d attempts in a row to start a worker failed (the other workers go on, and the next attempts follow "
                "every %.0f s): %s",
                restarts.failures,
                MAX_PAUSE_S,
                how,
            )

    def give_up_start(self) -> None:
        """Undo a start that failed before the loop ran."""
        for handle in self.handles.values():
            handle.kill()
            if handle.process is not None:
                handle.process.join()
            handle.connection.close()
            handle.close()
        self.handles = {}
        self._close_tracker()

    def _close_tracker(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    def give_up(self, reason: str) -> None:
        """Replace no more workers, as none can start."""
        self.wanted = False
        self._nothing_starts()
        self._on_hopeless(reason)

    def joined(self, name: str) -> None:
        """Take note that a worker is ready."""
        handle = self.handles.get(name)
        if handle is not None:
            handle.joined = True
            self._started(m.place_of(name), True)
            self._restarts.succeeded()
            self._start_missing()

    def retires(self, name: str) -> None:
        """Replace a worker that takes no more tasks, while it is still there."""
        handle = self.handles.get(name)
        if handle is not None and not handle.replaced:
            handle.replaced = True
            if self.wanted:
                self.add(handle.settings)

    def replace(self, handle: WorkerHandle) -> asyncio.Future[bool]:
        """Start another worker in a place; the future says whether it became ready."""
        started: asyncio.Future[bool] = self._loop.create_future()
        if self.wanted:
            self._starting[m.place_of(handle.name)] = started
            self.add(handle.settings)
        else:
            started.set_result(False)
        return started

    def _started(self, place: str, is_ready: bool) -> None:
        started = self._starting.pop(place, None)
        if started is not None and not started.done():
            started.set_result(is_ready)

    def _nothing_starts(self) -> None:
        for place in list(self._starting):
            self._started(place, False)

    def running(self) -> list[str]:
        """Return the incarnations of workers whose processes live and are not stopped."""
        import psutil  # only managers ask, and a program's own workers start without it

        found = []
        stopped = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        for handle in self.handles.values():
            with contextlib.suppress(psutil.Error):
                if handle.pid is not None and psutil.Process(handle.pid).status() not in stopped:
                    found.append(handle.settings.incarnation)
        return found

    # ---------------------------------------------------------------- end

    def _hung_up(self, handle: WorkerHandle) -> None:
        """Kill a worker whose connection has ended, unless it has ended."""
        self._loop.call_later(HUNG_UP_S, self._kill_cut_off, handle)

    def _kill_cut_off(self, handle: WorkerHandle) -> None:
        if handle.pid is not None:
            handle.cut_off = True
            handle.kill()

    def stop(self, command: m.StopWorker) -> None:
        """End a worker as a command says."""
        handle = self.handles.get(command.worker)
        if handle is None or command.incarnation not in ("", handle.settings.incarnation):
            return  # it has ended, and perhaps another one has its name
        if not command.deliberate:
            self._hung_up(handle)
            return
        handle.deliberate = command.reason or "it was stopped"
        if command.force:
            handle.kill()
        else:
            handle.link.send([command])
            self._loop.call_later(STOP_TIMEOUT_S, self._kill_slow, handle)

    def _kill_slow(self, handle: WorkerHandle) -> None:
        """Kill a worker that has not ended in time."""
        if handle.pid is not None:
            log.warning(
                "%s (process %d) did not end within %.0f s after it was asked to, and is killed; a thread that a task "
                "has left running or a function registered with atexit takes longer",
                handle.name,
                handle.pid,
                STOP_TIMEOUT_S,
            )
            handle.kill()

    def kill_all(self, force: bool, reason: str) -> None:
        """End all workers now, by SIGKILL with ``force``, else by SIGTERM."""
        self.wanted = False
        for handle in self.handles.values():
            handle.deliberate = handle.deliberate or reason
            handle.kill(force)

    async def end(self, reason: str) -> None:
        """Ask all workers to end, and wait until they have."""
        self.wanted = False
        self._stop_pause()
        self._nothing_starts()
        self._all_ended = asyncio.Event()
        for handle in list(self.handles.values()):
            self.stop(m.StopWorker(handle.name, reason=reason))
        if self.handles:
            await self._all_ended.wait()
        if self.launcher is not None:
            await self.launcher.close()
        self._close_tracker()
        self._stderr.close()

    def process_ended(self, name: str, code: int | None, how: str = "") -> None:
        """Take note that a process is gone; ``how`` says what no exit code tells."""
        handle = self.handles[name]
        handle.link.drain()
        handle.stderr.read()
        # One that was about to be killed may have ended by itself, and says how.
        handle.cut_off = code == LOST_CODE or (handle.cut_off and code in (None, -signal.SIGKILL))
        self._end(handle, how or describe_exit(LOST_CODE if handle.cut_off else code))

    def _end(self, handle: WorkerHandle, how: str) -> None:
        """End a worker without a process, all of whose messages were taken."""
        del self.handles[handle.name]
        cause = handle.ended = how
        if tail := handle.stderr.tail():
            cause += f"; the end of its stderr:\n{tail}"
        self._on_ended(handle, cause)
        handle.link.close()
        kind, _, path = handle.settings.listen.partition("://")
        if kind == "unix":
            with contextlib.suppress(OSError):
                os.unlink(path)
        handle.close()
        if not handle.joined and not handle.deliberate:
            self._start_failed(handle.began_s, how, cause)
        if self._all_ended is not None and not self.handles:
            self._all_ended.set()
        if not handle.replaced:
            self._missing.append(handle.settings)
        self._start_missing()

    def after_fork_in_child(self) -> None:
        """Close our ends of the workers' connections in a forked copy.

        As long as a process holds them, a worker could not see that its client has died.
        """
        for handle in self.handles.values():
            handle.close_client_end()
        if self._tracker is not None:
            self._tracker.after_fork_in_child()
