"""Any order of putting, reading, releasing, cancelling, failing, leaving and dying leaves a channel right.

Covers: what readers see, which keys the channel holds, and the invariants of the machine, after each event. The model
is a list of all items ever put.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from futures_cluster import messages as m
from futures_cluster.scheduler import invariants
from futures_cluster.scheduler.state import SHARED, UNFINISHED

from .shared_builders import Asking, a_channel, item

MAXLEN = 3
CLIENTS = ("c", "d", "e")

clients = st.sampled_from(CLIENTS)
a_key = st.integers(0, 7).map(lambda number: f"k{number}")


class Reader:
    def __init__(self, client: str) -> None:
        self.client = client
        self.serial = 0
        self.position: int | None = None
        self.request: int | None = None
        self.ended = False


class ChannelHistory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.x: Asking = a_channel(workers=2, maxlen=MAXLEN, clients=CLIENTS[1:])
        self.state = self.x.cluster.machine.state
        self.put_items: list[Any] = []  # of the channel there is
        self.is_closed = False
        self.readers: list[Reader] = []
        self.untaken: list[tuple[str, int]] = []
        self.known: dict[str, dict[str, int]] = {client: {} for client in CLIENTS}  # futures of each client
        self.names = 0

    # ---------------------------------------------------------------- tasks

    @rule(client=clients, key=a_key, inputs=st.lists(a_key, max_size=2))
    def submit(self, client: str, key: str, inputs: list[str]) -> None:
        if key in self.state.tasks or self.known[client].get(key):
            return
        inputs = [name for name in inputs if name in self.state.tasks]
        self.known[client][key] = 1
        self.x.given(m.SubmitTasks(client, [(key, "f", b"", inputs)], [("f", "f", b"")]))

    @rule(client=clients, key=a_key)
    def release(self, client: str, key: str) -> None:
        if self.known[client].get(key):
            self.known[client][key] -= 1
            self.x.given(m.ReleaseKeys(client, [key]))

    @rule(client=clients, key=a_key)
    def cancel(self, client: str, key: str) -> None:
        if self.known[client].get(key):
            self.known[client][key] -= 1
            self.x.given(m.CancelTasks(client, [key]))

    @rule(key=a_key, how=st.sampled_from(["small", "large", "fails"]))
    def end(self, key: str, how: str) -> None:
        task = self.state.tasks.get(key)
        if task is None or task.worker is None:
            return
        finished = [(key, task.attempt, b"r" if how == "small" else None, 1, 0.1)]
        failed = [(key, task.attempt, b"error", 0.1)]
        if how == "fails":
            self.x.given(m.TasksFinished(task.worker.name, [], failed))
        else:
            self.x.given(m.TasksFinished(task.worker.name, finished))

    @rule()
    def worker_dies(self) -> None:
        self.x.given(m.WorkerLost(next(iter(self.state.workers)), []))
        self.names += 1
        self.x.given(m.WorkerJoined(f"new{self.names}", ""))

    @rule()
    def workers_return_what_they_were_asked_for(self) -> None:
        for worker in list(self.state.workers.values()):
            rows = [(task.key, task.attempt) for task in worker.assigned.values() if task.returning]
            self.x.given(m.TasksReturned(worker.name, rows))

    # ---------------------------------------------------------------- the channel

    @rule(client=clients, keys=st.lists(st.lists(a_key, max_size=2), min_size=1, max_size=5))
    def put(self, client: str, keys: list[list[str]]) -> None:
        mine = [[key for key in names if self.known[client].get(key)] for names in keys]
        items = [item(*names, payload=b"%d" % (len(self.put_items) + i)) for i, names in enumerate(mine)]
        if self.is_closed:
            assert self.x.refused("put", items, client=client).startswith("ChannelClosed")
        else:
            self.put_items.extend(items)
            self.x.ask("put", items, client=client)
        self.hear()

    @rule(client=clients)
    def begin_to_read(self, client: str) -> None:
        self.readers.append(Reader(client))

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), most=st.integers(1, 4))
    def read(self, data: st.DataObject, most: int) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        if reader.request is None:
            place = reader.position or 0
            reader.request = self.x.start("next", reader.serial, place, most, client=reader.client)
            self.hear()

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        if reader.request is not None:
            self.x.given(m.WithdrawShared(reader.client, reader.request))
            reply = self.x.answer(reader.request, reader.client)
            assert reply is not None and reply.error["kind"] == "withdrawn"
            reader.request = None

    @precondition(lambda self: self.untaken)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        client, number = self.untaken.pop(data.draw(st.integers(0, len(self.untaken) - 1)))
        told: dict[str, Any] = {}
        for command in self.x.take(number, client):
            if isinstance(command, m.ToClient) and isinstance(command.message, m.TasksDone):
                told.update({row[0]: row for row in command.message.done if command.client == client})
        for key in self.x.answers[client, number].keys:
            # What was given is there: under way, or told how it ended, but never gone.
            task = self.state.tasks.get(key)
            if task is None:
                assert key in told and told[key][1] == m.FAILED
            else:
                self.known[client][key] = self.known[client].get(key, 0) + 1
                assert client in task.wanted_by
                assert task.state in UNFINISHED or key in told

    @rule()
    def close(self) -> None:
        self.is_closed = True
        self.x.ask("close")
        self.hear()

    @rule(client=clients)
    def delete(self, client: str) -> None:
        self.x.ask("delete", client=client)
        self.begin_anew()

    @rule(client=clients)
    def leave_and_come_back(self, client: str) -> None:
        self.x.given(m.ClientLeft(client))
        self.known[client] = {}
        self.readers = [reader for reader in self.readers if reader.client != client]
        self.untaken = [place for place in self.untaken if place[0] != client]
        self.x.given(m.ClientJoined(client))
        self.x.ask("open", {"maxlen": MAXLEN}, client=client)

    def begin_anew(self) -> None:
        for reader in self.readers:
            if reader.request is not None:
                reply = self.x.answer(reader.request, reader.client)
                assert reply is not None and "deleted" in reply.error["text"]
        self.readers = []
        self.put_items = []
        self.is_closed = False
        for client in CLIENTS:
            self.x.ask("open", {"maxlen": MAXLEN}, client=client)

    def hear(self) -> None:
        """Readers look at the answers that have come."""
        for reader in self.readers:
            reply = self.x.answer(reader.request, reader.client) if reader.request is not None else None
            if reply is None:
                continue
            assert (reply.error is None and not reader.ended) or reply.values[2]
            serial, start, ended, items = reply.values
            if reader.position is not None:
                assert start >= reader.position
            # Without a gap, and in order; and at the end all has been there.
            assert list(items) == self.put_items[start : start + len(items)]
            assert bool(items) != ended
            if ended:
                assert self.is_closed and start == len(self.put_items)
            reader.serial, reader.position, reader.ended = serial, start + len(items), ended
            if reply.keys:
                self.untaken.append((reader.client, reader.request))
            reader.request = None

    # ---------------------------------------------------------------- what always holds

    @invariant()
    def the_buffer_has_the_newest(self) -> None:
        channel = self.x.channel
        assert list(channel.items) == self.put_items[-MAXLEN:][-len(channel.items) or len(self.put_items) :]
        assert len(channel.items) == min(MAXLEN, len(self.put_items))
        assert channel.first + len(channel.items) == len(self.put_items)
        assert channel.size_bytes == sum(entry.size_bytes for entry in channel.items)

    @invariant()
    def exactly_what_is_in_the_buffer_or_on_its_way_is_held(self) -> None:
        expected: dict[str, int] = {}
        for entry in self.x.channel.items:
            for key in entry.keys:
                expected[key] = expected.get(key, 0) + 1
        for keys in self.x.cluster.machine.shared.lent.values():
            for key in keys:
                expected[key] = expected.get(key, 0) + 1
        assert self.state.held == expected
        assert len(self.x.cluster.machine.shared.lent) == len(self.untaken)

    @invariant()
    def nobody_waits_who_could_be_answered(self) -> None:
        waiting = [reader for reader in self.readers if reader.request is not None]
        assert len(self.x.channel.waiting) == len(waiting)
        assert not (self.is_closed and waiting)
        assert all(reader.position in (None, len(self.put_items)) for reader in waiting)

    @invariant()
    def the_machine_is_consistent(self) -> None:
        invariants.check(self.state)

    def teardown(self) -> None:
        """When all have left nothing is left."""
        for client in CLIENTS:
            self.x.given(m.ClientLeft(client))
        self.workers_return_what_they_were_asked_for()
        while assigned := [key for key, task in self.state.tasks.items() if task.worker is not None]:
            for key in assigned:  # released before their clients left: they run all the same
                self.end(key, "small")
        assert not self.state.tasks and not self.state.held
        shared = self.x.cluster.machine.shared
        assert not shared.objects and not shared.lent and not shared._open
        assert SHARED not in self.state.clients


ChannelHistory.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestChannelHistory = ChannelHistory.TestCase
