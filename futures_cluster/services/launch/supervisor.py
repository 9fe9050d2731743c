"""The workers that one machine offers to a scheduler elsewhere: `futures-cluster worker`.

Covers: connecting to the scheduler, starting worker processes and starting them again, stopping those that the
scheduler wants stopped, saying how they ended, leaving when told to, and waiting for a scheduler that is gone.
Does not cover: what a worker does (``process``), processes (``worker_pool``).

Each worker has a connection of its own to the scheduler. The manager executes nothing, and so it always answers: it can
kill a worker that is stuck, and tell what one died of.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import pickle
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from futures_cluster import config, errors
from futures_cluster import messages as m
from futures_cluster.services.client.shared_objects import load_on_worker
from futures_cluster.services.common import process_identity, security
from futures_cluster.services.common.heartbeats import Heartbeats
from futures_cluster.services.common.socket_folders import make_folder, remove_folder
from futures_cluster.services.common.worker_settings import WorkerSettings, new_incarnation
from futures_cluster.services.launch.fork_server_process import import_path
from futures_cluster.services.launch.launchers import ForkServerLauncher, WorkerHandle
from futures_cluster.services.launch.worker_pool import WorkerProcesses
from futures_cluster.wire.private_files import make_private_folder, make_temporary_folder
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.addresses import MalformedAddress
from futures_cluster.wire.transports.tcp import split_host_and_port

log = logging.getLogger("futures_cluster.worker")

#: Between two attempts to reach a scheduler.
RETRY_S = 0.5
#: Seconds that retiring workers have to hand over what only they hold.
LEAVE_S = 60.0


@dataclass(frozen=True)
class WorkerNodeConfig:
    """What this machine offers.

    Attributes
    ----------
    processes, threads : int
        Worker processes, and tasks at a time in each.
    memory_limit : int or None
        Bytes, for each process.
    listen : str
        The host name or address at which other machines reach this one; "" for the one used to reach the scheduler.
    wait_s : float
        Maximum time in seconds to wait for a scheduler that is not there yet.
    reconnect_s : float
        Maximum time in seconds to wait for a scheduler that is gone; 0 to leave at once.
    find_security : callable
        Returns what the scheduler asks for. It is called at each attempt to connect: a scheduler makes the secret when
        it starts.
    """

    scheduler: str
    name: str
    processes: int = 1
    threads: int = 1
    memory_limit: int | None = None
    resources: dict[str, float] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    listen: str = ""
    folder: str | None = None
    wait_s: float = 60.0
    reconnect_s: float = 0.0
    silence_s: float = 60.0
    find_security: Callable[[], registry.Security] = lambda: registry.NO_SECURITY
    preload: tuple[str, ...] = ()


def own_address(scheduler: str) -> str:
    """Return the address of this machine on the way to the scheduler.

    Examples
    --------
    >>> own_address("tcp://127.0.0.1:8786")
    '127.0.0.1'
    """
    host, port = split_host_and_port(scheduler.partition("://")[2].partition("#")[0])
    family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)  # of a datagram socket: nothing is sent
        found: str = probe.getsockname()[0]
    return f"[{found}]" if ":" in found else found


def _make_local(folder: str) -> str:
    try:
        return make_folder(folder)
    except OSError as error:
        why = "it is not a folder" if isinstance(error, (FileExistsError, NotADirectoryError)) else error.strerror
        raise OSError(
            f"cannot use --local-directory {folder} ({why or error}); name a folder that this user can "
            f"write to, or can make"
        ) from error


class WorkersCannotStart(RuntimeError):
    """No worker can start here."""


class WorkerSupervisor:
    """Runs the workers of one offer, on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offer: WorkerNodeConfig) -> None:
        self._loop = loop
        self._offer = offer
        # Unlike the names of former managers here: in a container each has the same process number.
        self._name = f"{offer.name}@{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        self._security = registry.NO_SECURITY
        self._connection: Any = None
        self._heartbeats: Heartbeats  # of a connection
        self._sockets = itertools.count()
        self._folder = ""  # for sockets
        self._local = ""  # for the workers' folders
        self._processes = self._make_processes()  # of a connection
        self._lost = asyncio.Event()
        self._taken = asyncio.Event()  # the scheduler has answered
        self._leaving = False
        self._hopeless = ""

    async def run(self) -> None:
        """Serve until a signal, or an absence of the scheduler for ``reconnect_s``.

        Raises
        ------
        OSError
            If the scheduler cannot be reached in time, or does not let this manager in.
        WorkersCannotStart
            If no worker gets ready, or the scheduler refuses them.
        """
        self._folder = make_folder()
        self._local = self._folder
        offer = self._offer
        wait_s = max(offer.wait_s, offer.reconnect_s)
        try:
            if offer.folder:
                self._local = _make_local(offer.folder)
            while not self._leaving:
                connection = await self._connect(wait_s)
                if connection is None:
                    return
                await self._introduce(connection)
                await self._serve()
                if self._hopeless:
                    raise WorkersCannotStart(self._hopeless)
                if not self._leaving and not offer.reconnect_s:
                    log.warning("the scheduler at %s is gone; leaving", offer.scheduler)
                    return
                wait_s = offer.reconnect_s
        finally:
            for folder in (self._folder, self._local):
                remove_folder(folder)

    async def _connect(self, wait_s: float) -> Any:
        """Connect to the scheduler, and wait for it if need be; None when told to leave."""
        offer = self._offer
        end_s = self._loop.time() + wait_s
        is_told = False
        self._lost.clear()
        while not self._leaving:
            try:
                self._security = offer.find_security()
            except errors.SecretMissing as error:
                reason: OSError = error
            else:
                try:
                    return await registry.connect(offer.scheduler, self._loop, self._security)
                except (errors.AuthenticationError, errors.VersionMismatch, PermissionError, MalformedAddress):
                    raise  # time changes nothing
                except OSError as error:
                    reason = error
            if self._loop.time() >= end_s:
                raise reason
            if not is_told:
                is_told = True
                log.warning("%s; waiting %g s for the scheduler", reason, wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), RETRY_S)  # unless told to leave
        return None

    async def _introduce(self, connection: Any) -> None:
        """Send this manager's name, and wait for the scheduler's answer."""
        self._connection = connection
        self._taken.clear()
        connection.on_messages, connection.on_close = self._received, self._hung_up
        connection.send([security.hello("manager", self._name)])
        silence_s = self._offer.silence_s
        silent = TimeoutError(f"it has said nothing for {silence_s:g} s")
        self._heartbeats = Heartbeats(
            self._loop, self._name, connection, silence_s, lambda: self._hung_up(silent), self._facts
        )
        self._heartbeats.start()
        connection.start()  # last: it may hand over the scheduler's answer at once
        await self._taken.wait()

    def _facts(self) -> dict[str, Any]:
        """Return the facts of a heartbeat, with the workers whose processes run."""
        return {"running": self._processes.running()}

    async def _serve(self) -> None:
        """Serve one connection to its end."""
        if self._lost.is_set():
            self._heartbeats.stop()
            self._connection.close()
            return
        self._processes = processes = self._make_processes()
        processes.launcher = ForkServerLauncher(
            self._loop, processes.process_ended, processes.give_up, self._offer.environment
        )
        number = self._offer.processes
        processes.set_missing(number)
        log.info("%d worker%s for %s", number, "s" * (number != 1), self._offer.scheduler)
        try:
            await self._lost.wait()
        finally:
            self._heartbeats.stop()
            processes.kill_all(True, "the scheduler is gone")
            await processes.end("the scheduler is gone")
            self._connection.close()

    def _make_processes(self) -> WorkerProcesses:
        self._numbers, self._extra = itertools.count(), itertools.count(2)  # all workers are new, and have their names
        return WorkerProcesses(
            self._loop, self._make_settings, self._messages_of, lambda handle: None, self._worker_ended, self._give_up
        )

    def _make_settings(self, former: WorkerSettings | None) -> WorkerSettings:
        offer = self._offer
        for folder in (self._folder, self._local):
            make_private_folder(folder)  # again, if a cleaner of temporary files has removed it
        scheme = offer.scheduler.partition("://")[0]
        host = "" if scheme == "unix" else offer.listen or own_address(offer.scheduler)
        if former is not None:
            name = former.name
            if name in self._processes.handles:  # it retires
                name = f"{m.place_of(name)}~{next(self._extra)}"
        else:
            name = offer.name if offer.processes == 1 else f"{offer.name}-{next(self._numbers)}"
        return WorkerSettings(
            name,
            # A socket has a new name: peers may still ask at former ones.
            f"{scheme}://{host}:0" if host else f"unix://{self._folder}/{next(self._sockets)}.sock",
            slots=offer.threads,
            memory_limit=offer.memory_limit,
            resources=offer.resources,
            sys_path=[os.getcwd(), *import_path()] if offer.preload else import_path(),
            scheduler=offer.scheduler,
            security=self._security,
            debug=config.debugs(),
            manager=self._name,
            silence_s=offer.silence_s,
            **process_identity.new(),
            folder=make_temporary_folder("worker-", self._local),  # removed when it has ended
            initializer=pickle.dumps((load_on_worker, offer.preload)) if offer.preload else None,
            incarnation=new_incarnation(),
        )

    def _messages_of(self, handle: WorkerHandle) -> Callable[[list[m.Message]], None]:
        """Return what a worker tells its manager."""

        def received(messages: list[m.Message]) -> None:
            for message in messages:
                if type(message) is m.WorkerRetiring and not self._leaving:
                    self._processes.retires(handle.name)
                elif type(message) is m.WorkerConnected:
                    self._processes.joined(handle.name)

        return received

    def _worker_ended(self, handle: WorkerHandle, cause: str) -> None:
        assert handle.settings.folder is not None
        shutil.rmtree(handle.settings.folder, ignore_errors=True)
        if handle.joined and handle.is_staying and self._processes.wanted:
            log.warning("worker %s %s; starting another", handle.name, handle.ended)
        attempts = handle.crash_journal.executing() if handle.crash_journal is not None else []
        ended = m.WorkerEnded(
            handle.name, attempts, bool(handle.deliberate), cause, handle.cut_off, handle.settings.incarnation
        )
        self._connection.send([ended])
        if self._leaving and not self._processes.handles:
            self._lost.set()

    def _give_up(self, text: str) -> None:
        self._hopeless = text
        self._processes.wanted = False
        self._hung_up(None)

    # ---------------------------------------------------------------- the scheduler

    def _received(self, messages: list[m.Message]) -> None:
        self._heartbeats.heard()
        for message in messages:
            if type(message) is m.StopWorker:
                self._processes.stop(message)
            elif type(message) is m.Heartbeat:
                self._heartbeats.agree(message.facts)
                self._taken.set()  # the first thing that the scheduler says to those it takes
            elif type(message) is m.AskReply and message.error:
                self._give_up(message.error)  # the scheduler does not take us

    def _hung_up(self, error: BaseException | None) -> None:
        if error is not None:
            log.warning("the connection to the scheduler at %s ended: %s", self._offer.scheduler, str(error))
        self._lost.set()
        self._taken.set()

    # ---------------------------------------------------------------- the end

    def leave(self) -> None:
        """Hand over data, and end; a second call ends at once."""
        processes = self._processes
        was_leaving, self._leaving = self._leaving, True
        if was_leaving or not processes.handles:
            self._hung_up(None)
            return
        processes.wanted = False
        log.info("leaving; what only these workers hold goes to others first")
        joined = [name for name, handle in processes.handles.items() if handle.joined]
        for name in [name for name in processes.handles if name not in joined]:  # it has nothing yet
            processes.stop(m.StopWorker(name, True, "its manager leaves"))
        self._connection.send([m.RetireWorkers(joined)])
        self._loop.call_later(LEAVE_S, self._lost.set)


async def run(offer: WorkerNodeConfig, on_signal: Callable[[Callable[[], None]], None]) -> None:
    """Run a manager; ``on_signal`` is handed what a signal should call."""
    manager = WorkerSupervisor(asyncio.get_running_loop(), offer)
    on_signal(manager.leave)
    with contextlib.suppress(asyncio.CancelledError):
        await manager.run()
