"""A scheduler that listens, in this process and without sockets, with honest peers and one that breaks the rules.

Covers: a transport whose connections are lists, a client and a worker that do what they should, checks that nothing of
them is disturbed. Does not cover: which messages are sent (``test_fuzz_roles``).

Whatever is sent goes through frames, as over a network: what the server says must pack, and what it hears was parsed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.scheduler import invariants
from futures_cluster.services.scheduler.server import SchedulerServer
from futures_cluster.wire import frames
from futures_cluster.wire.transports import registry
from futures_cluster.wire.transports.sockets import ignore
from futures_cluster.wire.versions import own_versions


def received(messages: Any) -> list[m.Message]:
    """What the other side gets of these messages."""
    head, buffers = frames.pack(messages)
    (found,) = frames.FrameParser().feed(head + b"".join(buffer.memory for buffer in buffers))
    return found


class Wire:
    """One connection, as the server has it."""

    same_host = False
    pending_bytes = 0
    received_bytes = 0

    def __init__(self) -> None:
        self.on_messages: Callable[[list[m.Message]], None] = ignore
        self.on_close: Callable[[BaseException | None], None] = ignore
        self.closed = False
        self.peer = "fuzz://peer"
        self.said: list[m.Message] = []

    def start(self) -> None:
        """See ``registry.Connection``."""

    def send(self, messages: Any) -> None:
        """See ``registry.Connection``."""
        self.said += received(messages)

    def close(self) -> None:
        """See ``registry.Connection``."""
        self.closed = True

    def fileno(self) -> None:
        """There is no descriptor."""

    def give(self, messages: list[m.Message]) -> None:
        """The peer has sent these."""
        if not self.closed:
            self.on_messages(messages)

    def hang_up(self) -> None:
        """The peer has closed the connection."""
        if not self.closed:
            self.closed = True
            self.on_close(None)

    def take(self) -> list[m.Message]:
        """What the server has said since the last call."""
        said, self.said = self.said, []
        return said


class Listening:
    """A transport; its connections are made by ``connect_here``."""

    scheme = "fuzz"

    def __init__(self) -> None:
        self.address = self.exact_address = "fuzz://here"
        self._accept: Callable[[Any], None] = ignore

    async def connect(self, rest: str, loop: Any, security: Any) -> Any:
        """See ``registry.Transport``."""
        raise ConnectionRefusedError

    async def listen(self, rest: str, loop: Any, security: Any, on_connection: Any) -> Any:
        """See ``registry.Transport``."""
        self._accept = on_connection
        return self

    def connect_here(self) -> Wire:
        """A new connection."""
        wire = Wire()
        self._accept(wire)
        return wire

    def close(self) -> None:
        """See ``registry.Listener``."""


class Complaints(logging.Handler):
    """Keeps log records that somebody would have to look into."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        if record.exc_info or record.levelno >= logging.ERROR:
            self.found.append(self.format(record))


class Site:
    """A scheduler with an honest client and an honest worker."""

    def __init__(self, transport: Listening) -> None:
        self._transport = transport
        self.loop = asyncio.get_running_loop()
        self.complaints = Complaints()
        self.loop.set_exception_handler(lambda loop, what: self.complaints.found.append(str(what)))
        self.server = SchedulerServer(self.loop)
        self._number = 0
        self._open: dict[str, None] = {}  # tasks of the honest client that any worker may run
        self._ended: dict[str, tuple[str, Any]] = {}

    async def __aenter__(self) -> Site:
        logging.getLogger("futures_cluster").addHandler(self.complaints)
        await self.server.listen("fuzz://here", registry.Security(b"a secret of some length, for tests"))
        self.worker = self.join("worker", "honest", m.WorkerConnected("honest", "fuzz://honest", 2))
        self.client = self.join("client", "user")
        return self

    async def __aexit__(self, *exc: object) -> None:
        logging.getLogger("futures_cluster").removeHandler(self.complaints)
        self.server.close()

    def join(self, role: str, name: str, *messages: m.Message) -> Wire:
        """A peer that has introduced itself."""
        wire = self._transport.connect_here()
        wire.give([m.Hello(role, name, versions=own_versions()), *messages])
        return wire

    async def settle(self) -> None:
        """Until the loop has done what the last message has caused; then all must be whole."""
        for _ in range(3):
            await asyncio.sleep(0)
        invariants.check(self.server.service.machine.state)
        assert self.complaints.found == []

    def work(self) -> None:
        """The honest worker does all that it was told."""
        for message in self.worker.take():
            if type(message) is m.RunTasks:
                finished = [(key, attempt, b"done " + key.encode(), 9, 0.001) for key, attempt, *_ in message.runs]
                self.worker.give([m.TasksFinished("honest", finished)])
            elif type(message) is m.ReturnTasks:
                self.worker.give([m.TasksReturned("honest", [], message.runs)])
            elif type(message) is m.CopyData:
                self.worker.give([m.ReportMissing("honest", [(key, "honest") for key, *_ in message.rows])])
            assert type(message) is not m.StopWorker

    async def serve_honest(self) -> None:
        """The honest client gets its results, whatever others do."""
        self._number += 1
        keys = [f"honest-{self._number}-{i}" for i in range(3)]
        function = f"honest-{self._number}"
        options = m.TaskOptions(workers=("honest",))
        rows = [(key, function, b"", []) for key in keys]
        self.client.give([m.SubmitTasks("user", rows, [(function, "honest", b"code")], options)])
        more = f"open-{self._number}"
        self._open[more] = None
        self.client.give([m.SubmitTasks("user", [(more, function, b"", keys)])])
        self.client.give([m.ReleaseFunctions("user", [function])])
        done = await self._wait_for(dict.fromkeys(keys))
        assert done == {key: (m.FINISHED, b"done " + key.encode()) for key in keys}
        self.client.give([m.ReleaseKeys("user", keys)])
        assert not self.worker.closed and not self.client.closed

    async def finish(self) -> None:
        """When nobody lies any more, also the tasks end that any worker could have taken."""
        await self._wait_for(dict(self._open))
        self.client.give([m.ReleaseKeys("user", [*self._open])])
        self._open = {}

    async def _wait_for(self, keys: dict[str, None]) -> dict[str, tuple[str, Any]]:
        """How these tasks have ended."""
        done: dict[str, tuple[str, Any]] = {}
        for turn in range(2000):
            self.work()
            await asyncio.sleep(0 if turn < 500 else 0.01)  # a task that has lost workers pauses before it runs again
            for message in self.client.take():
                if type(message) is m.TasksDone:
                    done.update((row[0], row[1:3]) for row in message.done)
                elif type(message) is m.TasksRecomputing:
                    for key in message.keys:
                        done.pop(key, None)
            self._ended.update(done)
            if keys.keys() <= self._ended.keys():
                break
        assert keys.keys() <= self._ended.keys(), "these never end"
        return {key: self._ended.pop(key) for key in keys}

    def leftovers(self) -> dict[str, int]:
        """What the scheduler remembers, apart from tasks that run although their future was dropped."""
        state = self.server.service.machine.state
        shared = self.server.service.machine.shared
        needed = {task.key: task for task in state.tasks.values() if task.fire_and_forget}
        stack = [*needed.values()]
        while stack:
            for task in stack.pop().dependencies:
                if task.key not in needed:
                    needed[task.key] = task
                    stack.append(task)
        return {
            "tasks": len(state.tasks) - len(needed),
            "functions": len(set(state.functions) - {task.function.id for task in needed.values()}),
            "clients": len(state.clients),
            "workers": len(state.workers),
            "held": len(state.held),
            "objects": len(shared.objects),
            "lent": len(shared.lent),
        }
