"""Questions about a cluster, and their answers.

Covers: what clients can ask a scheduler of its own, the facts of which the answers are made, clients that look on.
Does not cover: putting together what people see (``monitor``), the page (``page_thread``), doing what some ask for
(``server``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from futures_cluster import clocks, numbers
from futures_cluster import messages as m
from futures_cluster.scheduler.unplaceable import unanswered, unplaceable
from futures_cluster.scheduler.views.explain import explain
from futures_cluster.scheduler.views.overview import unfinished
from futures_cluster.scheduler.views.snapshot import snapshot
from futures_cluster.services.observe.monitor import ClusterMonitor
from futures_cluster.services.scheduler.peer import Peer
from futures_cluster.services.scheduler.service import SchedulerService

log = logging.getLogger("futures_cluster.scheduler")


def _line(argument: Any) -> int:
    """Return the number of the line or chunk to go on from; -1 for nothing."""
    return numbers.whole("the number of the last line", argument, -1, numbers.MAX_BYTES)


def _answer(request: int, done: asyncio.Future[Any]) -> m.AskReply:
    if done.cancelled():
        return m.AskReply(request, None, "the scheduler ends")
    error = done.exception()
    return m.AskReply(request, done.result()) if error is None else m.AskReply(request, None, str(error) or repr(error))


class Questions:
    """Answers what clients ask about their cluster.

    Parameters
    ----------
    workers : mapping
        Those that are connected, by name.
    addresses : sequence of str
        Where the scheduler listens.
    declare_limits : callable
        Takes limits, and returns all that there are.
    restart_workers : callable
        Returns a coroutine that restarts all workers.

    Attributes
    ----------
    status_url : str
        The address of the status page; "" if there is none.
    """

    def __init__(
        self,
        service: SchedulerService,
        loop: asyncio.AbstractEventLoop,
        workers: Mapping[str, Peer],
        addresses: Sequence[str],
        declare_limits: Callable[[dict[str, float]], dict[str, float]],
        restart_workers: Callable[[], Coroutine[Any, Any, int]],
    ) -> None:
        self.monitor = ClusterMonitor(service, loop, self._about, self._facts_of)
        self.status_url = ""
        self._service = service
        self._loop = loop
        self._workers = workers
        self._addresses = addresses
        self._restart_workers = restart_workers
        self._started = clocks.time()
        self._answers: dict[str, Callable[[Any], Any]] = {
            "workers": lambda argument: self.worker_facts(),
            "status": lambda argument: self.status(),
            "status_url": lambda argument: self._known_url(),
            "output": lambda argument: self.monitor.output(_line(argument)),
            "observed": lambda argument: self.monitor.everything(_line(argument)),
            "unfinished": lambda argument: unfinished(service.settled(), str(argument)),
            "lacks": lambda argument: self._lacks(str(argument)),
            "limits": lambda argument: declare_limits(argument or {}),
            "explain": lambda argument: explain(service.settled(), str(argument), loop.time()),
        }

    def ask(self, peer: Peer, message: m.AskScheduler) -> None:
        """Answer a question, now or when the answer is there."""
        if message.what == "observe":  # as long as this client is here, or until it says that it looks no more
            peer.looks.close()
            if message.argument:
                peer.looks.enter_context(self.monitor.viewer(output=message.argument == "output"))
            peer.send([m.AskReply(message.request, self.monitor.last_chunk)])
        elif message.what == "observe_now":  # answered when the workers have reported
            answered = asyncio.wrap_future(self.monitor.ask_workers(), loop=self._loop)
            answered.add_done_callback(lambda _: peer.send([m.AskReply(message.request)]))
        elif message.what == "restart_workers":  # answered when that is done
            restart = self._loop.create_task(self._restart_workers())
            restart.add_done_callback(lambda done: peer.send([_answer(message.request, done)]))
        elif message.what not in self._answers:
            peer.send([m.AskReply(message.request, None, f"this scheduler does not know {message.what!r}")])
        else:
            try:
                peer.send([m.AskReply(message.request, self._answers[message.what](message.argument))])
            except (RuntimeError, TypeError, ValueError) as error:  # of the question: the answer says so
                peer.send([m.AskReply(message.request, None, f"{message.what}: {error}")])
            except Exception as error:
                log.exception("the question %s failed", message.what)
                peer.send([m.AskReply(message.request, None, repr(error))])

    def worker_facts(self) -> dict[str, dict[str, Any]]:
        """Return facts about each worker by its name."""
        facts = {}
        for name, worker in self._service.settled().workers.items():
            peer = self._workers.get(name)
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
                **(peer.facts if peer is not None else {}),
            }
        return facts

    def status(self) -> dict[str, Any]:
        """Return all at a glance; see ``scheduler.views.snapshot``."""
        found = snapshot(self._service.settled())
        for row in found["workers"]:
            row.update(self._facts_of(row["name"]))
        found["scheduler"] = {**self._about(), "pid": os.getpid()}
        return found

    def _lacks(self, client: str) -> list[dict[str, Any]]:
        """Return what a client's tasks wait for that is not there, or does not answer."""
        state = self._service.settled()
        silent_s = {
            name: silent_s
            for name, peer in self._workers.items()
            if peer.heartbeats is not None and (silent_s := peer.heartbeats.silent_s)
        }
        return unplaceable(state, client) + unanswered(state, client, silent_s)

    def _facts_of(self, name: str) -> dict[str, Any]:
        """Return what heartbeats say of a worker."""
        peer = self._workers.get(name)
        if peer is None:
            return {"silent_s": None}
        return {"silent_s": self._loop.time() - peer.heard_at, **peer.facts}

    def _about(self) -> dict[str, Any]:
        return {"addresses": self._addresses, "since": self._started}

    def _known_url(self) -> str:
        if not self.status_url:
            raise RuntimeError("this scheduler has no status page; start it without --status-port none")
        return self.status_url
