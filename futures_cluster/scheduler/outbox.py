"""The commands of one event, collected for each receiver.

Covers: batching, so that one event, however large its batch, makes at most one message of a kind for each
receiver, and the order of the kinds: what frees something comes before what takes something.
Does not cover: deciding what is sent (``machine`` and those to whom it leaves parts), sending (``services``).
"""

from __future__ import annotations

from futures_cluster import messages as m
from futures_cluster.messages import AttemptRow, CopyRow, DoneRow, Key, Payload
from futures_cluster.scheduler.records import Worker

Command = m.ToWorker | m.ToClient | m.StopWorker | m.PayloadsFreed


class Outbox:
    """What the machine's parts want sent once the event has been dealt with."""

    __slots__ = (
        "copies",
        "done",
        "drops",
        "forget",
        "freed",
        "recomputing",
        "replies",
        "returns",
        "running",
        "runs",
        "stops",
        "waiting",
    )

    def __init__(self) -> None:
        self.runs: dict[Worker, m.RunTasks] = {}
        self.done: dict[str, list[DoneRow]] = {}  # by client
        self.running: dict[str, list[Key]] = {}  # by client
        self.waiting: dict[str, list[Key]] = {}  # by client
        self.recomputing: dict[str, list[Key]] = {}  # by client
        self.copies: dict[Worker, list[CopyRow]] = {}
        self.replies: dict[str, list[m.SharedReply]] = {}  # by client
        self.drops: dict[Worker, list[Key]] = {}
        self.returns: dict[Worker, list[AttemptRow]] = {}  # to give back
        self.forget: dict[str, list[str]] = {}  # worker's name -> functions
        self.stops: list[m.StopWorker] = []
        self.freed: list[Payload] = []

    def reply(self, client: str, reply: m.SharedReply) -> None:
        """Answer a client's request to a shared object."""
        self.replies.setdefault(client, []).append(reply)

    def collect(self) -> list[Command]:
        """Take out the commands.

        Loops instead of generators: most often there is one command of a kind, and this is called for every event.
        """
        commands: list[Command] = []
        if self.stops:
            commands.extend(self.stops)
            self.stops = []
        if self.freed:
            commands.append(m.PayloadsFreed(self.freed))
            self.freed = []
        if self.recomputing:
            for c, keys in self.recomputing.items():
                commands.append(m.ToClient(c, m.TasksRecomputing(keys)))
            self.recomputing = {}
        if self.drops:
            for w, keys in self.drops.items():
                commands.append(m.ToWorker(w.name, m.DropData(keys)))
            self.drops = {}
        if self.forget:
            for name, ids in self.forget.items():
                commands.append(m.ToWorker(name, m.ForgetFunctions(ids)))
            self.forget = {}
        if self.returns:
            for w, runs in self.returns.items():
                commands.append(m.ToWorker(w.name, m.ReturnTasks(runs)))
            self.returns = {}
        if self.runs:
            for w, message in self.runs.items():
                commands.append(m.ToWorker(w.name, message))
            self.runs = {}
        if self.copies:
            for w, rows in self.copies.items():
                commands.append(m.ToWorker(w.name, m.CopyData(rows)))
            self.copies = {}
        if self.replies:  # before news of tasks: the client makes futures of the keys in them
            commands.extend(m.ToClient(c, reply) for c, replies in self.replies.items() for reply in replies)
            self.replies = {}
        if self.waiting:
            for c, keys in self.waiting.items():
                commands.append(m.ToClient(c, m.TasksWaiting(keys)))
            self.waiting = {}
        if self.running:
            for c, keys in self.running.items():
                commands.append(m.ToClient(c, m.TasksRunning(keys)))
            self.running = {}
        if self.done:
            for c, done in self.done.items():
                commands.append(m.ToClient(c, m.TasksDone(done)))
            self.done = {}
        return commands
