"""A scheduler of its own: clients and workers connect to it from anywhere.

Covers: taking connections and giving them up, the names of peers, workers and managers that go, questions about the
cluster. Does not cover: deciding (``scheduler.machine``), carrying out its commands (``service``), what each may say
(``permissions``), the command line (``cli``).

The way of a message: connection -> ``_Link.received`` (checked against the sender's role) -> ``SchedulerService`` ->
the machine -> the links of those whom its commands concern. A worker whose connection ends is lost; if the process that
manages it is there, its last words (what it executed, how it ended) are waited for first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any

from futures_cluster import clocks, numbers
from futures_cluster import messages as m
from futures_cluster.errors import AuthenticationError, ProtocolError
from futures_cluster.messages import Message
from futures_cluster.scheduler.unplaceable import unanswered, unplaceable
from futures_cluster.scheduler.views.explain import explain, silent_worker
from futures_cluster.scheduler.views.overview import unfinished
from futures_cluster.scheduler.views.snapshot import snapshot
from futures_cluster.services.common.heartbeats import Heartbeats
from futures_cluster.services.observe.monitor import ClusterMonitor
from futures_cluster.services.observe.page_thread import StatusPage
from futures_cluster.services.scheduler import permissions
from futures_cluster.services.scheduler.service import SchedulerService
from futures_cluster.wire.repeated import RepeatedWarnings
from futures_cluster.wire.transports import registry
from futures_cluster.wire.versions import compare, own_versions

log = logging.getLogger("futures_cluster.scheduler")

#: The manager of a worker whose connection has ended kills it, and is given this time to say how it ended.
EXIT_REPORT_TIMEOUT_S = 5.0
#: A peer that connects must introduce itself within this time.
HELLO_S = 10.0
#: In the place of a worker that is restarted another one joins within this time.
SUCCESSOR_S = 60.0
#: Limits that clients can declare.
MAX_LIMITS = 1000
#: A peer that lets more than this pile up no longer reads.
MAX_PENDING_BYTES = 4 * 2**30


def _line(argument: Any) -> int:
    """Return the number of the line or chunk to go on from; -1 for nothing."""
    return numbers.whole("the number of the last line", argument, -1, numbers.MAX_BYTES)


class _Link:
    """One connection."""

    def __init__(self, server: SchedulerServer, connection: registry.Connection) -> None:
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
            if handler is not None:
                if handler(self, message):
                    others.append(message)
            else:
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
        told = str(self)  # a record that a log handler keeps must not keep the link
        if self.role:
            log.warning("dropping %s: %s", told, why)
        else:
            self.server.warnings.warning("unnamed", "dropping %s: %s", told, why)
        # After what was sent has gone: it may say why.
        self.server.loop.call_later(0.05 if self.connection.pending_bytes else 0, self.connection.close)
        self.lost(ProtocolError(why))

    def lost(self, error: BaseException | None) -> None:
        self.timer.cancel()
        if self.heartbeats is not None:
            self.heartbeats.stop()
        self.server.leave(self, error)

    def send(self, messages: list[Message]) -> None:
        self.connection.send(messages)


def _answer(request: int, done: asyncio.Future[Any]) -> m.AskReply:
    if done.cancelled():
        return m.AskReply(request, None, "the scheduler ends")
    error = done.exception()
    return m.AskReply(request, done.result()) if error is None else m.AskReply(request, None, str(error) or repr(error))


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
        self.started = clocks.time()
        self.addresses: list[str] = []
        self.exact_addresses: list[str] = []  # with identities; see ``wire.audience``
        self._listeners: list[registry.Listener] = []
        self._links: dict[tuple[str, str], _Link] = {}
        self._nameless: dict[_Link, None] = {}
        self._exit_reports: dict[str, m.WorkerEnded] = {}  # of workers whose connection is still open
        self._awaiting_exit_report: dict[
            str, tuple[asyncio.TimerHandle, _Link]
        ] = {}  # workers whose connection has ended
        self._successors: dict[str, list[asyncio.Future[str]]] = {}  # of restarted workers, by manager
        self.handlers: dict[type[Message], Callable[[_Link, Any], bool]] = {
            m.Heartbeat: self._on_heartbeat,
            m.WorkerConnected: self._on_worker_joined,
            m.WorkerEnded: self._on_worker_ended,
            m.AskScheduler: self._on_ask,
            m.RetireWorkers: self._on_retire_workers,
        }
        self.service.logs.pending_bytes = self._pending_bytes
        self.warnings = RepeatedWarnings(log)  # about peers before their Hello
        self.monitor = ClusterMonitor(self.service, loop, self._about, self._facts_of)
        self.page: StatusPage | None = None
        self.questions: dict[str, Callable[[Any], Any]] = {
            "workers": lambda argument: self.worker_facts(),
            "status": lambda argument: self.status(),
            "status_url": lambda argument: self._status_url(),
            "output": lambda argument: self.monitor.output(_line(argument)),
            "observed": lambda argument: self.monitor.everything(_line(argument)),
            "unfinished": lambda argument: unfinished(self.service.settled(), str(argument)),
            "lacks": lambda argument: self._lacks(str(argument)),
            "limits": lambda argument: self.declare_limits(argument or {}),
            "explain": lambda argument: explain(self.service.settled(), str(argument), loop.time()),
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
        self._nameless[_Link(self, connection)] = None
        connection.start()

    def rejection_reason(self, hello: m.Hello) -> str | None:
        """Return why the scheduler refuses a peer; None if it does not."""
        found = compare(hello.versions, own_versions(), "the scheduler")
        if found is None:
            found = self._taken(hello)
        return found

    def _taken(self, hello: m.Hello) -> str | None:
        """Return why a newcomer cannot have its name.

        A worker takes the place of its predecessor of the same name, whose connection may only seem to be there; and so
        does a manager. A client that comes again has another name, and a worker is a client of its own name: a
        second one could speak for the first and get its results.
        """
        if hello.role == permissions.MANAGER:
            # Two managers whose workers have the same names would take these from each other again and again.
            offered = hello.name.rpartition("@")[0]
            for (role, name), link in self._links.items():
                if role == permissions.MANAGER and name != hello.name and name.rpartition("@")[0] == offered:
                    return f"the name {offered!r} belongs to the workers of {link}; choose another one with --name"
            return None
        others = (permissions.CLIENT, permissions.WORKER) if hello.role == permissions.CLIENT else (permissions.CLIENT,)
        for role in others:
            owner = self._links.get((role, hello.name))
            if owner is not None:
                return f"the name {hello.name!r} belongs to {owner}, which is connected; choose another one"
        return None

    def enter(self, link: _Link) -> None:
        """Admit a peer that has said its name and role."""
        self._nameless.pop(link, None)
        former = self._links.get((link.role, link.name))
        if former is not None:
            former.refuse("another connection came in its name")
        if link.role == permissions.WORKER:
            self._announce_lost(link.name)  # its predecessor, whose last words have not come
        self._links[link.role, link.name] = link
        if link.role == permissions.CLIENT:
            self.service.clients[link.name] = link.send
            self.service.handle([m.ClientJoined(link.name)])
        # A client may be busy in code that lets no other thread run; if its host is gone, the network says so.
        patience_s = float("inf") if link.role == permissions.CLIENT else self.silence_s
        link.heartbeats = Heartbeats(self.loop, "scheduler", link.connection, patience_s, lambda: self._silent(link))
        link.heartbeats.start()
        if link.role == permissions.WORKER:
            self.service.workers[link.name] = link.send
        else:
            log.info("%s joined", link)

    def _silent(self, link: _Link) -> bool:
        """Decide about a peer that was silent for too long; whether to go on waiting."""
        if not self._is_known_to_run(link):
            link.refuse(f"it said nothing for {self.silence_s:g} s")
            if link.manager:
                self._tell_manager(link, m.StopWorker(link.name, True, "it no longer answered the scheduler"))
            return False
        if not link.silent:
            link.silent = True
            self._tell_peers(link.name)
            with self.service.reading() as state:
                text = silent_worker(state, link.name)
                self.service.handle_locked([m.WorkerSilent(link.name)])
            log.warning("%s has said nothing for %g s, though its process runs: %s", str(link), self.silence_s, text)
        return True

    def _is_known_to_run(self, link: _Link) -> bool:
        """Return whether a worker's manager answers, and sees its process run."""
        manager = self._links.get((permissions.MANAGER, link.manager))
        if manager is None or self.loop.time() - manager.heard_at > self.silence_s / 2:
            return False
        return link.incarnation in manager.facts.get("running", ())

    def leave(self, link: _Link, error: BaseException | None) -> None:
        """Take note that a connection has ended."""
        if link in self._nameless:
            del self._nameless[link]
            if isinstance(error, AuthenticationError):
                self.warnings.warning("unnamed", "dropping %s: %s", str(link), str(error))
        if self._links.get((link.role, link.name)) is not link:
            return
        del self._links[link.role, link.name]
        link.looks.close()
        level = logging.WARNING if isinstance(error, AuthenticationError) else logging.INFO
        log.log(level, "%s left (%s)", link, error or "it closed the connection")
        if link.role == permissions.CLIENT:
            self.service.clients.pop(link.name, None)
            self.service.handle([m.ClientLeft(link.name)])
            with self.service.lock:
                self.service.logs.forget(link.name)
                self.service.code.forget(link.name)
            left: list[Message] = [m.ClientLeft(link.name)]
            for (role, _), other in self._links.items():
                if role == permissions.WORKER:
                    self.loop.call_soon(other.send, left)
        elif link.role == permissions.WORKER:
            self.service.workers.pop(link.name, None)
            self._worker_left(link, error)
        else:
            for name in [
                name for name, (_, worker) in self._awaiting_exit_report.items() if worker.manager == link.name
            ]:
                self._announce_lost(name)

    def _pending_bytes(self, client: str) -> int:
        link = self._links.get((permissions.CLIENT, client))
        return 0 if link is None else link.connection.pending_bytes

    # ---------------------------------------------------------------- workers

    def _on_worker_joined(self, link: _Link, message: m.WorkerConnected) -> bool:
        link.manager, link.incarnation = message.manager, message.incarnation
        message.killable = (permissions.MANAGER, message.manager) in self._links
        link.send([m.AskReply(0)])
        log.info("%s joined", link)
        if waiting := [each for each in self._successors.get(message.manager, ()) if not each.done()]:
            waiting[0].set_result(link.name)
        return True

    def _worker_left(self, link: _Link, error: BaseException | None) -> None:
        """Deal with the end of a worker's connection, after its last message."""
        name = link.name
        words = self._exit_reports.pop(name, None)
        if words is not None:
            self._report_exit(words)
        elif isinstance(error, ProtocolError) or (permissions.MANAGER, link.manager) not in self._links:
            self._mark_lost(name, f"its connection ended: {error or 'it closed it'}")
        else:
            self._tell_manager(link, m.StopWorker(name, True, "its connection ended", deliberate=False))
            timer = self.loop.call_later(EXIT_REPORT_TIMEOUT_S, self._announce_lost, name)
            self._awaiting_exit_report[name] = (timer, link)

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
            for (role, _), link in self._links.items():
                if role != permissions.MANAGER:
                    self.loop.call_soon(link.send, gone)

    def _mark_lost(self, name: str, cause: str) -> None:
        """Give up a worker without an exit report, and what it was executing."""
        self._tell_peers(name)
        self.service.handle([m.WorkerGone(name, None, False, cause, unheard=True)])

    def _on_worker_ended(self, link: _Link, message: m.WorkerEnded) -> bool:
        name = message.worker
        if name in self._awaiting_exit_report and self._is_about(message, self._awaiting_exit_report[name][1], link):
            self._awaiting_exit_report.pop(name)[0].cancel()
            self._report_exit(message)
        else:
            worker = self._links.get((permissions.WORKER, name))
            if worker is not None and self._is_about(message, worker, link):
                self._exit_reports[name] = message  # what the worker itself said last is still under way
        return False

    @staticmethod
    def _is_about(ended: m.WorkerEnded, worker: _Link, manager: _Link) -> bool:
        """Return whether a manager's message is about this worker, not a former one."""
        return worker.manager == manager.name and worker.incarnation == ended.incarnation

    def _report_exit(self, words: m.WorkerEnded) -> None:
        worker = self.service.settled().workers.get(words.worker)
        attempts = set(words.attempts)
        executing = [key for key, task in worker.assigned.items() if task.attempt in attempts] if worker else []
        self._tell_peers(words.worker)
        self.service.handle([m.WorkerGone(words.worker, executing, words.deliberate, words.cause, words.unheard)])

    def _stop_worker(self, command: m.StopWorker) -> None:
        link = self._links.get((permissions.WORKER, command.worker))
        if link is None:
            return
        if not self._tell_manager(link, command):
            link.send([command])
            if command.force:
                link.refuse(command.reason)

    def _tell_manager(self, link: _Link, command: m.StopWorker) -> bool:
        manager = self._links.get((permissions.MANAGER, link.manager))
        if manager is None:
            return False
        command.incarnation = link.incarnation
        manager.send([command])
        return True

    def _on_retire_workers(self, link: _Link, message: m.RetireWorkers) -> bool:
        """Retire workers of the manager that asks, and no others."""
        mine = {
            name
            for (role, name), other in self._links.items()
            if role == permissions.WORKER and other.manager == link.name
        }
        message.workers = [name for name in message.workers if name in mine]
        return bool(message.workers)

    async def _restart_workers(self) -> int:
        """Restart each worker, one after another; return their number.

        A worker that gets the command to retire says so to its manager, which starts another, and to the machine.
        """
        workers, count = self.service.machine.state.workers, 0
        for name in list(workers):
            link = self._links.get((permissions.WORKER, name))
            if link is None or name not in workers or workers[name].retiring:
                continue  # it has gone meanwhile, or another has taken its place already
            if (permissions.MANAGER, link.manager) not in self._links:
                raise RuntimeError(f"the worker {name} has no manager that could start another one in its place")
            successor: asyncio.Future[str] = self.loop.create_future()
            self._successors.setdefault(link.manager, []).append(successor)
            link.send([m.Retire(hands_over=True)])
            try:
                await asyncio.wait_for(successor, SUCCESSOR_S)
            except TimeoutError:
                raise RuntimeError(f"no worker has joined in the place of {name} within {SUCCESSOR_S:g} s") from None
            finally:
                self._successors[link.manager].remove(successor)
            count += 1
        return count

    def _on_heartbeat(self, link: _Link, message: m.Heartbeat) -> bool:
        link.facts = message.facts
        if link.heartbeats is not None:
            link.heartbeats.agree(message.facts)
        return False

    def _on_broken(self, error: Any) -> None:
        log.error("no worker can start: %s", error)

    # ---------------------------------------------------------------- clients

    def _on_ask(self, link: _Link, message: m.AskScheduler) -> bool:
        if message.what == "observe":  # as long as this client is here, or until it says that it looks no more
            link.looks.close()
            if message.argument:
                look = self.monitor.look(output=message.argument == "output")
                link.looks.enter_context(self.monitor.viewer(look))
            link.send([m.AskReply(message.request, self.monitor.last_chunk)])
            return False
        if message.what == "observe_now":  # answered when the workers have reported
            answered = asyncio.wrap_future(self.monitor.ask_workers(), loop=self.loop)
            answered.add_done_callback(lambda _: link.send([m.AskReply(message.request)]))
            return False
        if message.what == "restart_workers":  # answered when that is done
            restart = self.loop.create_task(self._restart_workers())
            restart.add_done_callback(lambda done: link.send([_answer(message.request, done)]))
            return False
        question = self.questions.get(message.what)
        if question is None:
            link.send([m.AskReply(message.request, None, f"this scheduler does not know {message.what!r}")])
            return False
        try:
            link.send([m.AskReply(message.request, question(message.argument))])
        except (RuntimeError, TypeError, ValueError) as error:  # of the question: the answer says so
            link.send([m.AskReply(message.request, None, f"{message.what}: {error}")])
        except Exception as error:
            log.exception("the question %s failed", message.what)
            link.send([m.AskReply(message.request, None, repr(error))])
        return False

    def worker_facts(self) -> dict[str, dict[str, Any]]:
        """Return facts about each worker by its name."""
        facts = {}
        for name, worker in self.service.settled().workers.items():
            link = self._links.get((permissions.WORKER, name))
            facts[name] = {
                "address": worker.plain_address,
                "exact_address": worker.address,  # by which others connect
                "host": worker.host,
                "pid": worker.pid,
                "slots": worker.slots,
                "tasks": len(worker.assigned),
                "results": len(worker.data),
                "resources": dict(worker.resources),
                "retiring": worker.retiring,
                **(link.facts if link is not None else {}),
            }
        return facts

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

    def _lacks(self, client: str) -> list[dict[str, Any]]:
        """Return what a client's tasks wait for that is not there, or does not answer."""
        state = self.service.settled()
        silent_s = {
            name: silent_s
            for (role, name), link in self._links.items()
            if role == permissions.WORKER and link.heartbeats is not None and (silent_s := link.heartbeats.silent_s)
        }
        return unplaceable(state, client) + unanswered(state, client, silent_s)

    def _facts_of(self, name: str) -> dict[str, Any]:
        """Return what heartbeats say of a worker."""
        link = self._links.get((permissions.WORKER, name))
        if link is None:
            return {"silent_s": None}
        return {"silent_s": self.loop.time() - link.heard_at, **link.facts}

    def _about(self) -> dict[str, Any]:
        return {"addresses": self.addresses, "since": self.started}

    def serve_page(self, host: str, port: int) -> str:
        """Serve the status page; its address.

        Raises
        ------
        OSError
            When the port is taken.
        """
        self.page = StatusPage(self.monitor, host, port)
        return self.page.url

    def _status_url(self) -> str:
        if self.page is None:
            raise RuntimeError("this scheduler has no status page; start it without --status-port none")
        return self.page.url

    def status(self) -> dict[str, Any]:
        """Return all at a glance; see ``scheduler.views.snapshot``."""
        found = snapshot(self.service.settled())
        for row in found["workers"]:
            row.update(self._facts_of(row["name"]))
        found["scheduler"] = {**self._about(), "pid": os.getpid()}
        return found

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """Close all connections; clients' futures end with ``SchedulerLost``."""
        if self.page is not None:
            self.page.close()
        self.monitor.close()
        self.warnings.close()
        for listener in self._listeners:
            listener.close()
        for link in [*self._links.values(), *self._nameless]:
            link.looks.close()
            link.timer.cancel()
            if link.heartbeats is not None:
                link.heartbeats.stop()
            link.connection.close()
        for timer, _ in self._awaiting_exit_report.values():
            timer.cancel()
        self._links, self._nameless = {}, {}
        self.service.close()

    async def __aenter__(self) -> SchedulerServer:
        return self

    async def __aexit__(self, *exc: object) -> None:
        with contextlib.suppress(Exception):
            self.close()
