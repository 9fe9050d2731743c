"""The commands of one event, collected for each receiver.

Covers: batching, so that one event, however large its batch, makes at most one message of a kind for each
receiver, and the order of the kinds: what frees something comes before what takes something.
Does not cover: deciding what is sent (``machine`` and those to whom it leaves parts), sending (``services``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from futures_cluster import messages as m
from futures_cluster.messages import AttemptRow, CopyRow, DoneRow, FunctionId, Key, Payload

Command = m.ToWorker | m.ToClient | m.StopWorker | m.PayloadsFreed


class Outbox:
    """What the machine's parts want sent once the event has been dealt with; dicts are by the receiver's name."""

    def __init__(self) -> None:
        self.stops: list[m.StopWorker] = []
        self.freed: list[Payload] = []
        self.replies: list[m.ToClient] = []
        self.recomputing: dict[str, list[Key]] = {}
        self.drops: dict[str, list[Key]] = {}
        self.forget: dict[str, list[FunctionId]] = {}
        self.returns: dict[str, list[AttemptRow]] = {}
        self.runs: dict[str, m.RunTasks] = {}
        self.copies: dict[str, list[CopyRow]] = {}
        self.waiting: dict[str, list[Key]] = {}
        self.running: dict[str, list[Key]] = {}
        self.done: dict[str, list[DoneRow]] = {}

    def reply(self, client: str, reply: m.SharedReply) -> None:
        """Answer a client's request to a shared object."""
        self.replies.append(m.ToClient(client, reply))

    def refuse(self, client: str, key: Key, error: Payload) -> None:
        """Answer a client with an error in the place of a result."""
        self.done.setdefault(client, []).append((key, m.FAILED, error, 0, ()))

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
        if self.replies:  # before news of tasks: the client makes futures of the keys in them
            commands.extend(self.replies)
            self.replies = []
        # Branches instead of a table of kinds: most often nearly all are empty, and a table takes twice the time.
        if self.recomputing:
            _empty(self.recomputing, commands, m.ToClient, m.TasksRecomputing)
        if self.drops:
            _empty(self.drops, commands, m.ToWorker, m.DropData)
        if self.forget:
            _empty(self.forget, commands, m.ToWorker, m.ForgetFunctions)
        if self.returns:
            _empty(self.returns, commands, m.ToWorker, m.ReturnTasks)
        if self.runs:
            for worker, message in self.runs.items():
                commands.append(m.ToWorker(worker, message))
            self.runs = {}
        if self.copies:
            _empty(self.copies, commands, m.ToWorker, m.CopyData)
        if self.waiting:
            _empty(self.waiting, commands, m.ToClient, m.TasksWaiting)
        if self.running:
            _empty(self.running, commands, m.ToClient, m.TasksRunning)
        if self.done:
            _empty(self.done, commands, m.ToClient, m.TasksDone)
        return commands


def _empty(
    batches: dict[str, list[Any]],
    commands: list[Command],
    command: type[m.ToWorker | m.ToClient],
    message: Callable[[list[Any]], Any],
) -> None:
    """Move batches to the commands, each as a message."""
    for receiver, batch in batches.items():
        commands.append(command(receiver, message(batch)))
    batches.clear()
