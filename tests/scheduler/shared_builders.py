"""Small builders for tests of shared objects: questions to a scheduler machine, and its answers."""

from __future__ import annotations

import itertools
from typing import Any

from futures_cluster import messages as m
from futures_cluster.scheduler.shared.channel import ChannelState
from futures_cluster.scheduler.shared.objects import Item, SharedState

from .builders import Cluster

_numbers = itertools.count(1)


def item(*keys: str, payload: Any = b"value") -> Item:
    return Item(payload, len(payload), keys)


class Asking:
    """Asks the shared objects of a cluster, as any client.

    Attributes
    ----------
    answers : dict
        The answers so far, by (client, request).
    others : list
        All other commands so far.
    """

    def __init__(self, cluster: Cluster, kind: str = "channel", name: str = "x") -> None:
        self.cluster = cluster
        self.kind = kind
        self.name = name
        self.answers: dict[tuple[str, int], m.SharedReply] = {}
        self.others: list[Any] = []

    def given(self, event: m.Message) -> list[Any]:
        """Take an event; the commands that are no answers."""
        others = []
        for command in self.cluster.given(event):
            if isinstance(command, m.ToClient) and isinstance(command.message, m.SharedReply):
                place = (command.client, command.message.request)
                assert place not in self.answers, "answered twice"
                self.answers[place] = command.message
            else:
                others.append(command)
        self.others.extend(others)
        return others

    def start(self, op: str, *args: Any, client: str = "c") -> int:
        """Ask; the number of the request."""
        number = next(_numbers)
        self.given(m.AskShared(client, number, self.kind, self.name, op, list(args)))
        return number

    def answer(self, number: int, client: str = "c") -> m.SharedReply | None:
        return self.answers.get((client, number))

    def ask(self, op: str, *args: Any, client: str = "c", take: bool = True) -> tuple[Any, ...]:
        """Ask what is answered at once; the values."""
        number = self.start(op, *args, client=client)
        reply = self.answer(number, client)
        assert reply is not None, f"{op} waits"
        assert reply.error is None, reply.error
        if take and reply.keys:
            self.take(number, client)
        return tuple(reply.values)

    def refused(self, op: str, *args: Any, client: str = "c") -> str:
        """Ask what is refused at once; the class of the error and its text."""
        reply = self.answer(self.start(op, *args, client=client), client)
        assert reply is not None and reply.error is not None and not reply.values and not reply.keys
        return f"{reply.error['kind']}: {reply.error['text']}"

    def take(self, number: int, client: str = "c", adopt: bool = True) -> list[Any]:
        """What a client does with an answer: get futures of the keys, then say so. What it is told of these."""
        reply = self.answers[client, number]
        told = []
        if adopt:
            told = self.given(m.SubmitTasks(client, [(key, "", None, []) for key in reply.keys]))
        self.given(m.SharedTaken(client, number))
        return told

    @property
    def state(self) -> SharedState:
        return self.cluster.machine.shared.objects[self.kind, self.name]

    @property
    def channel(self) -> ChannelState:
        state = self.state
        assert isinstance(state, ChannelState)
        return state


def a_channel(workers: int = 1, maxlen: int | None = None, clients: tuple[str, ...] = ("d",)) -> Asking:
    """A channel of clients ``c`` and ``d``."""
    cluster = Cluster(workers)
    for client in clients:
        cluster.quiet(m.ClientJoined(client))
    asking = Asking(cluster)
    for client in ("c", *clients):
        asking.ask("open", {"maxlen": maxlen}, client=client)
    return asking
