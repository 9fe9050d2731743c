"""The commands of one event, collected for each receiver.

Covers: batching, so that one event, however large its batch, makes at most one message of a kind for each
receiver, and the order of the kinds: what frees something comes before what takes something.
Does not cover: deciding what is sent (``machine`` and those to whom it leaves parts), sending (``services``).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
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
        # In the order of sending: what is collected, the command, and the message that is made of a batch.
        self._batches: tuple[tuple[dict[str, Any], type[m.ToWorker | m.ToClient], Callable[[Any], Any] | None], ...] = (
            (self.recomputing, m.ToClient, m.TasksRecomputing),
            (self.drops, m.ToWorker, m.DropData),
            (self.forget, m.ToWorker, m.ForgetFunctions),
            (self.returns, m.ToWorker, m.ReturnTasks),
            (self.runs, m.ToWorker, None),
            (self.copies, m.ToWorker, m.CopyData),
            (self.waiting, m.ToClient, m.TasksWaiting),
            (self.running, m.ToClient, m.TasksRunning),
            (self.done, m.ToClient, m.TasksDone),
        )
        self._collected = tuple(by_receiver for by_receiver, _, _ in self._batches)

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
        for by_receiver, command, message in compress(self._batches, self._collected):
            for receiver, batch in by_receiver.items():
                commands.append(command(receiver, batch if message is None else message(batch)))
            by_receiver.clear()
        return commands
