"""A scheduler of its own: clients and workers connect to it from anywhere.

Covers: listening, the names of peers, workers and managers that go, restarting workers. Does not cover: deciding
(``scheduler.machine``), carrying out its commands (``service``), one connection (``peer``), what each may say
(``permissions``), questions about the cluster (``questions``), the command line (``cli``).

The way of a message: connection -> ``Peer.received`` (checked against the sender's role) -> ``SchedulerService`` ->
the machine -> the peers that its commands concern. A worker whose connection ends is lost; if the process that manages
it is there, its last words (what it executed, how it ended) are waited for first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster import numbers
from futures_cluster.errors import AuthenticationError, ProtocolError
from futures_cluster.messages import Message
from futures_cluster.scheduler.views.explain import silent_worker
from futures_cluster.services.common.heartbeats import Heartbeats
from futures_cluster.services.observe.page_thread import StatusPage
from futures_cluster.services.scheduler import permissions
from futures_cluster.services.scheduler.burst_trimmer import BurstTrimmer
from futures_cluster.services.scheduler.peer import Peer
from futures_cluster.services.scheduler.questions import Questions
from futures_cluster.services.scheduler.service import SchedulerService
from futures_cluster.wire.repeated import RepeatedWarnings
from futures_cluster.wire.transports import registry
from futures_cluster.wire.versions import compare, own_versions

log = logging.getLogger("futures_cluster.scheduler")

#: The manager of a worker whose connection has ended kills it, and is given this time to say how it ended.
EXIT_REPORT_TIMEOUT_S = 5.0
#: In the place of a worker that is restarted another one joins within this time.
SUCCESSOR_S = 60.0
#: Limits that clients can declare.
MAX_LIMITS = 1000


class SchedulerServer:
    """A scheduler that listens.

    Parameters
    ----------
    silence_s : float
        Seconds after which a worker that says nothing is lost, unless its manager sees its process run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, silence_s: float = 60.0) -> None:
        self.loop = loop
        self.silence_s = silence_s
        self.service = SchedulerService(loop, self._stop_worker, lambda payload: None, self._on_broken)
        self.addresses: list[str] = []
        self.exact_addresses: list[str] = []  # with identities; see ``wire.audience``
        self._listeners: list[registry.Listener] = []
        self._by_role: dict[str, dict[str, Peer]] = {role: {} for role in permissions.ROLES}
        self._clients = self._by_role[permissions.CLIENT]
        self._workers = self._by_role[permissions.WORKER]
        self._managers = self._by_role[permissions.MANAGER]
        self._nameless: dict[Peer, None] = {}
        self._exit_reports: dict[str, m.WorkerEnded] = {}  # of workers whose connection is still open
        self._awaiting_exit_report: dict[str, tuple[asyncio.TimerHandle, Peer]] = {}  # those whose connection has ended
        self._successors: dict[str, list[asyncio.Future[str]]] = {}  # of restarted workers, by manager
        self.service.logs.pending_bytes = self._pending_bytes
        self.warnings = RepeatedWarnings(log)  # about peers before their Hello
        self.page: StatusPage | None = None
        self.questions = Questions(
            self.service, loop, self._workers, self.addresses, self.declare_limits, self._restart_workers
        )
        # A scheduler without clients rests.
        self._trimmer = BurstTrimmer(loop, lambda: len(self.service.machine.state.tasks), lambda: bool(self._clients))
        self.handlers: dict[type[Message], Callable[[Peer, Any], bool | None]] = {
            m.Heartbeat: self._on_heartbeat,
            m.WorkerConnected: self._on_worker_joined,
            m.WorkerEnded: self._on_worker_ended,
            m.AskScheduler: self.questions.ask,
            m.RetireWorkers: self._on_retire_workers,
        }

    # ---------------------------------------------------------------- connections

    async def listen(self, address: str, credentials: registry.Security) -> str:
        """Listen; returns the address with the port that was chosen.

        Parameters
        ----------
        credentials : Security
            What peers must prove at this address.

        Raises
        ------
        OSError
            When that is not possible.
        """
        listener = await registry.listen(address, self.loop, credentials, self._accept)
        self._listeners.append(listener)
        self.addresses.append(listener.address)
        self.exact_addresses.append(listener.exact_address)
        return listener.address

    def _accept(self, connection: registry.Connection) -> None:
        self._nameless[Peer(self, connection)] = None
        connection.start()

    def rejection_reason(self, hello: m.Hello) -> str | None:
        """Return why the scheduler refuses a peer; None if it does not."""
        return compare(hello.versions, own_versions(), "the scheduler") or self._taken(hello)

    def _taken(self, hello: m.Hello) -> str | None:
        """Return why a newcomer cannot have its name.

        A worker takes the place of its predecessor of the same name, whose connection may only seem to be there; and so
        does a manager. A client that comes again has another name, and a worker is a client of its own name: a
        second one could speak for the first and get its results.
        """
        if hello.role == permissions.MANAGER:
            # Two managers whose workers have the same names would take these from each other again and again.
            offered = hello.name.rpartition("@")[0]
            for name, peer in self._managers.items():
                if name != hello.name and name.rpartition("@")[0] == offered:
                    return f"the name {offered!r} belongs to the workers of {peer}; choose another one with --name"
            return None
        owner = self._clients.get(hello.name)
        if owner is None and hello.role == permissions.CLIENT:
            owner = self._workers.get(hello.name)
        if owner is None:
            return None
        return f"the name {hello.name!r} belongs to {owner}, which is connected; choose another one"

    def enter(self, peer: Peer) -> None:
        """Admit a peer that has said its name and role."""
        self._nameless.pop(peer, None)
        former = self._by_role[peer.role].get(peer.name)
        if former is not None:
            former.refuse("another connection came in its name")
        if peer.role == permissions.WORKER:
            self._announce_lost(peer.name)  # its predecessor, whose last words have not come
        self._by_role[peer.role][peer.name] = peer
        if peer.role == permissions.CLIENT:
            self._trimmer.start()
            self.service.clients[peer.name] = peer.send
            self.service.handle([m.ClientJoined(peer.name)])
        # A client may be busy in code that lets no other thread run; if its host is gone, the network says so.
        patience_s = float("inf") if peer.role == permissions.CLIENT else self.silence_s
        peer.heartbeats = Heartbeats(self.loop, "scheduler", peer.connection, patience_s, lambda: self._silent(peer))
        peer.heartbeats.start()
        if peer.role == permissions.WORKER:
            self.service.workers[peer.name] = peer.send
        else:
            log.info("%s joined", peer)

    def _silent(self, peer: Peer) -> bool:
        """Decide about a peer that was silent for too long; whether to go on waiting."""
        if not self._is_known_to_run(peer):
            peer.refuse(f"it said nothing for {self.silence_s:g} s")
            if peer.manager:
                self._tell_manager(peer, m.StopWorker(peer.name, True, "it no longer answered the scheduler"))
            return False
        if not peer.silent:
            peer.silent = True
            self._tell_peers(peer.name)
            with self.service.reading() as state:
                text = silent_worker(state, peer.name)
                self.service.handle_locked([m.WorkerSilent(peer.name)])
            log.warning("%s has said nothing for %g s, though its process runs: %s", str(peer), self.silence_s, text)
        return True

    def _is_known_to_run(self, peer: Peer) -> bool:
        """Return whether a worker's manager answers, and sees its process run."""
        manager = self._managers.get(peer.manager)
        if manager is None or self.loop.time() - manager.heard_at > self.silence_s / 2:
            return False
        return peer.incarnation in manager.facts.get("running", ())

    def leave(self, peer: Peer, error: BaseException | None) -> None:
        """Take note that a connection has ended."""
        if peer in self._nameless:
            del self._nameless[peer]
            if isinstance(error, AuthenticationError):
                self.warnings.warning("unnamed", "dropping %s: %s", str(peer), str(error))
        peers = self._by_role.get(peer.role, {})
        if peers.get(peer.name) is not peer:
            return
        del peers[peer.name]
        level = logging.WARNING if isinstance(error, AuthenticationError) else logging.INFO
        log.log(level, "%s left (%s)", peer, error or "it closed the connection")
        if peer.role == permissions.CLIENT:
            self.service.clients.pop(peer.name, None)
            self.service.handle([m.ClientLeft(peer.name)])
            with self.service.lock:
                self.service.logs.forget(peer.name)
                self.service.code.forget(peer.name)
            left: list[Message] = [m.ClientLeft(peer.name)]
            for worker in self._workers.values():
                self.loop.call_soon(worker.send, left)
        elif peer.role == permissions.WORKER:
            self.service.workers.pop(peer.name, None)
            self._worker_left(peer, error)
        else:
            for name, (_, worker) in list(self._awaiting_exit_report.items()):
                if worker.manager == peer.name:
                    self._announce_lost(name)

    def _pending_bytes(self, client: str) -> int:
        peer = self._clients.get(client)
        return 0 if peer is None else peer.connection.pending_bytes

    # ---------------------------------------------------------------- workers

    def _on_worker_joined(self, peer: Peer, message: m.WorkerConnected) -> bool:
        peer.manager, peer.incarnation = message.manager, message.incarnation
        message.killable = message.manager in self._managers
        peer.send([m.AskReply(0)])
        log.info("%s joined", peer)
        if waiting := [each for each in self._successors.get(message.manager, ()) if not each.done()]:
            waiting[0].set_result(peer.name)
        return True

    def _worker_left(self, peer: Peer, error: BaseException | None) -> None:
        """Deal with the end of a worker's connection, after its last message."""
        name = peer.name
        words = self._exit_reports.pop(name, None)
        if words is not None:
            self._report_exit(words)
        elif isinstance(error, ProtocolError) or peer.manager not in self._managers:
            self._mark_lost(name, f"its connection ended: {error or 'it closed it'}")
        else:
            self._tell_manager(peer, m.StopWorker(name, True, "its connection ended", deliberate=False))
            timer = self.loop.call_later(EXIT_REPORT_TIMEOUT_S, self._announce_lost, name)
            self._awaiting_exit_report[name] = (timer, peer)

    def _announce_lost(self, name: str) -> None:
        """Report a lost worker of which no exit report came."""
        if name in self._awaiting_exit_report:
            self._awaiting_exit_report.pop(name)[0].cancel()
            self._mark_lost(name, "its connection closed without an exit report")

    def _tell_peers(self, name: str) -> None:
        """Tell peers of a lost worker, once the machine has dealt with it."""
        worker = self.service.machine.state.workers.get(name)
        if worker is not None:
            gone: list[Message] = [m.PeersLost([worker.address])]
            for peer in (*self._clients.values(), *self._workers.values()):
                self.loop.call_soon(peer.send, gone)

    def _mark_lost(self, name: str, cause: str) -> None:
        """Give up a worker without an exit report, and what it was executing."""
        self._tell_peers(name)
        self.service.handle([m.WorkerGone(name, None, False, cause, unheard=True)])

    def _on_worker_ended(self, peer: Peer, message: m.WorkerEnded) -> None:
        name = message.worker
        if name in self._awaiting_exit_report and self._is_about(message, self._awaiting_exit_report[name][1], peer):
            self._awaiting_exit_report.pop(name)[0].cancel()
            self._report_exit(message)
        else:
            worker = self._workers.get(name)
            if worker is not None and self._is_about(message, worker, peer):
                self._exit_reports[name] = message  # what the worker itself said last is still under way

    @staticmethod
    def _is_about(ended: m.WorkerEnded, worker: Peer, manager: Peer) -> bool:
        """Return whether a manager's message is about this worker, not a former one."""
        return worker.manager == manager.name and worker.incarnation == ended.incarnation

    def _report_exit(self, words: m.WorkerEnded) -> None:
        worker = self.service.settled().workers.get(words.worker)
        attempts = set(words.attempts)
        executing = [key for key, task in worker.assigned.items() if task.attempt in attempts] if worker else []
        self._tell_peers(words.worker)
        self.service.handle([m.WorkerGone(words.worker, executing, words.deliberate, words.cause, words.unheard)])

    def _stop_worker(self, command: m.StopWorker) -> None:
        peer = self._workers.get(command.worker)
        if peer is None:
            return
        if not self._tell_manager(peer, command):
            peer.send([command])
            if command.force:
                peer.refuse(command.reason)

    def _tell_manager(self, peer: Peer, command: m.StopWorker) -> bool:
        manager = self._managers.get(peer.manager)
        if manager is None:
            return False
        command.incarnation = peer.incarnation
        manager.send([command])
        return True

    def _on_retire_workers(self, peer: Peer, message: m.RetireWorkers) -> bool:
        """Retire workers of the manager that asks, and no others."""
        mine = {name for name, worker in self._workers.items() if worker.manager == peer.name}
        message.workers = [name for name in message.workers if name in mine]
        return bool(message.workers)

    async def _restart_workers(self) -> int:
        """Restart each worker, one after another; return their number.

        A worker that gets the command to retire says so to its manager, which starts another, and to the machine.
        """
        workers, count = self.service.machine.state.workers, 0
        for name in list(workers):
            peer = self._workers.get(name)
            if peer is None or name not in workers or workers[name].retiring:
                continue  # it has gone meanwhile, or another has taken its place already
            if peer.manager not in self._managers:
                raise RuntimeError(f"the worker {name} has no manager that could start another one in its place")
            successor: asyncio.Future[str] = self.loop.create_future()
            self._successors.setdefault(peer.manager, []).append(successor)
            peer.send([m.Retire(hands_over=True)])
            try:
                await asyncio.wait_for(successor, SUCCESSOR_S)
            except TimeoutError:
                raise RuntimeError(f"no worker has joined in the place of {name} within {SUCCESSOR_S:g} s") from None
            finally:
                self._successors[peer.manager].remove(successor)
            count += 1
        return count

    def _on_heartbeat(self, peer: Peer, message: m.Heartbeat) -> None:
        peer.facts = message.facts
        if peer.heartbeats is not None:
            peer.heartbeats.agree(message.facts)

    def _on_broken(self, error: Any) -> None:
        log.error("no worker can start: %s", error)

    # ---------------------------------------------------------------- limits, and the page

    def declare_limits(self, limits: dict[str, float]) -> dict[str, float]:
        """Limit what tasks of all clients take; return all limits there are.

        The first declaration of each counts. If one of these has another number, nothing is declared.

        Raises
        ------
        TypeError, ValueError
            If the limits are no numbers by name, or too many.
        """
        wanted = numbers.amounts("limits", limits, above_zero=True)
        declared = self.service.machine.state.limits
        totals = declared.totals()
        if len(totals | wanted) > MAX_LIMITS:
            raise ValueError(f"a cluster has at most {MAX_LIMITS} limits")
        if all(totals.get(name, amount) == amount for name, amount in wanted.items()):  # else the answer tells
            self.service.handle([m.DeclareLimits(wanted)])
        return declared.totals()

    def serve_page(self, host: str, port: int) -> str:
        """Serve the status page; its address.

        Raises
        ------
        OSError
            When the port is taken.
        """
        self.page = StatusPage(self.questions.monitor, host, port)
        self.questions.status_url = self.page.url
        return self.page.url

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """Close all connections; clients' futures end with ``SchedulerLost``."""
        if self.page is not None:
            self.page.close()
        self.questions.monitor.close()
        self.warnings.close()
        for listener in self._listeners:
            listener.close()
        for peer in [*self._clients.values(), *self._workers.values(), *self._managers.values(), *self._nameless]:
            peer.stop()
            peer.connection.close()
        for timer, _ in self._awaiting_exit_report.values():
            timer.cancel()
        for peers in self._by_role.values():
            peers.clear()
        self._nameless.clear()
        self.service.close()

    async def __aenter__(self) -> SchedulerServer:
        return self

    async def __aexit__(self, *exc: object) -> None:
        with contextlib.suppress(Exception):
            self.close()
