"""A client of a scheduler elsewhere: what an executor with an address stands on.

Covers: connecting, the loop's thread, questions to the scheduler, the end of the connection from either side.
Does not cover: the client itself (``client``), the scheduler (``server``).

The loop's thread reads; users' threads send. When the scheduler is gone every future ends with ``SchedulerLost``.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from futures_cluster import errors, locks
from futures_cluster import messages as m
from futures_cluster.services.client import module_upload
from futures_cluster.services.client.client import Client
from futures_cluster.services.client.scatter import Scatterer
from futures_cluster.services.client.wait_watch import WaitWatch
from futures_cluster.services.common import process_lifetime, security
from futures_cluster.services.common.heartbeats import Heartbeats
from futures_cluster.services.common.loop_thread import LoopThread
from futures_cluster.services.common.peers import Peers
from futures_cluster.services.common.reminders import result_aloud
from futures_cluster.wire.codec import pickle_codec, pickling
from futures_cluster.wire.codec.exception_state import copied
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.addresses import MalformedAddress

#: A scheduler that is silent for this many seconds is gone.
SILENCE_S = 60.0
#: Seconds after which the client no longer expects an answer.
ANSWER_TIMEOUT_S = 30


def worker_command(address: str, resources: dict[str, float], workers: Sequence[str]) -> str:
    """Return what starts a worker that takes certain tasks.

    Examples
    --------
    >>> worker_command("tcp://host:8786", {"GPU": 1.0}, ["w1"])
    'futures-cluster worker tcp://host:8786 --resources GPU=1 --workers 1 --name w1'
    """
    command = f"futures-cluster worker {address}"
    if resources:
        command += " --resources " + ",".join(f"{name}={amount:g}" for name, amount in resources.items())
    if workers:
        command += f" --workers 1 --name {workers[0]}"
    return command


class RemoteCluster:
    """The client's end of a connection to a scheduler.

    Parameters
    ----------
    address : str
        Of the scheduler.
    make_future : callable
        ``make_future(key, client)``.
    forward_logs : bool
        Whether the workers' log records of this client's tasks come here.

    Raises
    ------
    SchedulerLost
        When no scheduler answers at the address.
    HandshakeError
        When the scheduler does not let us in; it says what to do.
    """

    def __init__(
        self,
        address: str,
        credentials: registry.Security,
        make_future: Callable[[str, Any], Any],
        forward_logs: bool = False,
    ) -> None:
        self.address = address
        self.closing = False
        self._thread = LoopThread("futures_cluster-client")
        self._loop = self._thread.loop
        self._connection: Any = None
        self._numbers = itertools.count(1)
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._lock = locks.RLock()  # a finalizer may shut it down, too
        self._peers = Peers(self._loop, credentials)
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        client = self.client = Client(
            name,
            pickle_codec.PickleCodec(None, pickling.Scope(name)),
            make_future,
            self._loop,
            self._send,
            self._peers,
            locks.Lock(),
            lambda: client.count_pending() <= 2,
        )
        client.tell_modules()
        self.scatterer = Scatterer(
            client, self._peers, self._loop, self._ask, lambda workers: worker_command(address, {}, workers)
        )
        process_lifetime.register_cluster(self)
        self._thread.start()
        try:
            connected = asyncio.run_coroutine_threadsafe(self._connect(credentials, forward_logs), self._loop)
            result_aloud(connected, self._silent_sentence)
        except BaseException as error:
            self._end_thread()
            if isinstance(error, OSError) and not isinstance(error, (errors.HandshakeError, MalformedAddress)):
                advice = ""
                if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
                    advice = "; start a scheduler with `futures-cluster scheduler`, or correct the address"
                raise errors.SchedulerLost(f"{error}{advice}") from error
            raise

    async def _connect(self, credentials: registry.Security, forward_logs: bool) -> None:
        connection = await registry.connect(self.address, self._loop, credentials)
        connection.on_messages, connection.on_close = self._received, self._hung_up
        self._connection = connection
        self._heartbeats = Heartbeats(
            self._loop, self.client.name, connection, SILENCE_S, lambda: self._hung_up(TimeoutError("it says nothing"))
        )
        connection.send([security.hello("client", self.client.name)])
        connection.send([m.ShareCode(self.client.name, module_upload.shareable_paths())])
        if forward_logs:
            connection.send([self.client.forward_logs(everything=True, filters=False)])
        connection.start()
        self.client.joined = True
        self.client.watch = WaitWatch(
            self._loop, self.client.oldest_wait, self._find_lacks, self._advise, self._silent_sentence
        )
        self._heartbeats.start()
        await self._ask("workers", None)  # a client that the scheduler refuses gets the error here

    def _send(self, messages: list[m.Message]) -> None:
        self._connection.send(messages)

    # ---------------------------------------------------------------- from the scheduler

    def _received(self, messages: list[m.Message]) -> None:
        self._heartbeats.heard()
        others = []
        for message in messages:
            if type(message) is m.AskReply:
                self._answered(message)
            elif type(message) is m.PeersLost:
                self._peers.forget(message.addresses)
            elif type(message) is not m.Heartbeat:
                others.append(message)
        if others:
            with self.client.lock:
                self.client.deliver(others)

    def _answered(self, answer: m.AskReply) -> None:
        if not answer.request:  # not an answer, but why the connection will end
            self._fail_questions(errors.HandshakeError(answer.error))
            return
        waiter = self._questions.pop(answer.request, None)
        if waiter is None or waiter.done():
            return
        if answer.error:
            waiter.set_exception(RuntimeError(f"the scheduler: {answer.error}"))
        else:
            waiter.set_result(answer.value)

    def _fail_questions(self, error: BaseException) -> None:
        for waiter in self._questions.values():
            if not waiter.done():
                waiter.set_exception(error)
        self._questions = {}

    def _hung_up(self, error: BaseException | None) -> None:
        """End everything: the scheduler is gone."""
        why = f"the scheduler at {self.address} is gone ({error or 'it closed the connection'})"
        self._heartbeats.stop()
        lost = errors.SchedulerLost(f"{why}; unfinished tasks are lost. Create a new Executor")
        self._fail_questions(lost)
        with self.client.lock:
            self.client.broken = lost
            self.client.close(lost)

    async def _ask(self, what: str, argument: Any, limit_s: int | None = ANSWER_TIMEOUT_S) -> Any:
        number = next(self._numbers)
        waiter = self._questions[number] = self._loop.create_future()
        self._send([m.AskScheduler(number, what, argument)])
        try:
            # One second after the other: a turn that comes late, as this process was busy or stopped, counts as one.
            for _ in range(limit_s) if limit_s is not None else itertools.count():
                await asyncio.wait((waiter,), timeout=1.0)
                if waiter.done():
                    return waiter.result()
            raise TimeoutError(f"the scheduler has not answered the question {what!r} within {limit_s} s")
        finally:
            self._questions.pop(number, None)

    def ask(self, what: str, argument: Any = None, limit_s: int | None = ANSWER_TIMEOUT_S) -> Any:
        """Ask the scheduler about the cluster; blocks. Not on the loop.

        Parameters
        ----------
        limit_s : int or None
            Seconds after which an answer will not come; None for what takes its time.

        Raises
        ------
        SchedulerLost
            When it is gone.
        """
        if self.client.broken is not None:
            raise copied(self.client.broken)
        if self.closing:
            raise RuntimeError("the executor was shut down")
        answer = asyncio.run_coroutine_threadsafe(self._ask(what, argument, limit_s), self._loop)
        return answer.result() if limit_s is None else result_aloud(answer, self._silent_sentence)

    def _silent_sentence(self, seconds: float) -> str:
        return (
            f"the scheduler at {self.address} has not answered for {seconds:.0f} s; look whether its process runs and "
            "whether its log says why"
        )

    async def _find_lacks(self) -> list[dict[str, Any]]:
        rows = list(await self._ask("lacks", self.client.name))
        for row in rows:
            if not row["count"]:
                row["who"] = self.client.what_waits(row["silent"])
        return [row for row in rows if row["count"] or row["who"]]

    def _advise(self, row: dict[str, Any]) -> str:
        if "silent" in row:
            return "Look whether its process is stopped, and whether its machine runs and has a network"
        command = worker_command(self.address, row["resources"], row["workers"])
        return f"Start one with: {command}; or give the tasks up with cancel(force=True)"

    @property
    def is_on_loop(self) -> bool:
        """Whether the calling thread is the loop's, which must not wait for itself."""
        return threading.current_thread() is self._thread.thread

    def upload(self, path: str) -> None:
        """Upload a module to all workers, those that are still to come as well."""
        self.client.send_sync([m.ShareCode(self.client.name, files=[module_upload.read_module(path)])])

    # ---------------------------------------------------------------- the end

    def shutdown(self, wait: bool, cancel_futures: bool = False, kill: bool | None = None) -> None:
        """Leave, once all futures are done; the cluster goes on."""
        with self._lock:
            first = not self.closing
            self.closing = True
        if self.client.forked:
            return
        if cancel_futures or kill is not None:
            for future in self.client.pending():
                if kill is not None or not future.running():
                    future.cancel(force=kill is not None)
        if first:
            self._thread.call(lambda: self._loop.create_task(self._close()))
        if wait and not self.is_on_loop:
            self._thread.thread.join()
            if self.client.logs is not None:
                self.client.logs.join()
            if kill is None:
                self.client.callbacks.join()

    async def _close(self) -> None:
        try:
            await self.client.finish()
            with self.client.lock:
                self.client.close(RuntimeError("the executor was shut down"))
            while self._connection.pending_bytes and not self._connection.closed:
                await asyncio.sleep(0.001)  # releases and cancellations that are on their way
            self._heartbeats.stop()
            self._connection.close()
            self._peers.close()
            self.scatterer.close()
        except BaseException:
            logging.getLogger("futures_cluster").exception("the executor did not shut down cleanly")
        finally:
            self.client.callbacks.close(lambda: process_lifetime.unregister_cluster(self))
            if self.client.logs is not None:
                self.client.logs.close()
            self._loop.stop()

    def _end_thread(self) -> None:
        """End the thread after connecting has failed."""
        self.closing = True
        process_lifetime.unregister_cluster(self)
        self._thread.call(self._peers.close)
        if self._connection is not None:
            self._thread.call(self._heartbeats.stop)
            self._thread.call(self._connection.close)
        self._thread.stop()
        self._thread.thread.join()
        if self.client.logs is not None:
            self.client.logs.close()
        self.scatterer.close()

    def after_fork_in_child(self) -> None:
        """Let go of everything in a forked copy of the process: nothing works there."""
        self.client.forked = self.closing = True
        if self._connection is not None:
            self._connection.closed = True  # a copy must not speak for this client
