"""Any order of putting, reading, releasing, cancelling, failing, leaving and dying leaves a channel right.

Covers: what readers see, which keys the channel holds, and the invariants of the machine, after each event. The model
is a list of all items ever put.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from futures_cluster import messages as m
from futures_cluster.scheduler import invariants
from futures_cluster.scheduler.records import UNFINISHED
from futures_cluster.scheduler.state import SHARED

from .shared_builders import Asking, a_channel, item

MAXLEN = 3
CLIENTS = ("c", "d", "e")

clients = st.sampled_from(CLIENTS)
#: Any number stands for one of those there are, so that nearly every event means something.
any_number = st.integers(0, 1000)


def choose(numbers: list[int] | int, among: Iterable[Any]) -> Any:
    """Those of the numbers; None, or nothing, if there are none."""
    there = list(among)
    if isinstance(numbers, int):
        return there[numbers % len(there)] if there else None
    return [there[number % len(there)] for number in numbers] if there else []


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
        self.used: dict[str, None] = {}

    # ---------------------------------------------------------------- tasks

    @rule(client=clients, inputs=st.lists(any_number, max_size=2), again=st.booleans())
    def submit(self, client: str, inputs: list[int], again: bool) -> None:
        self.names += 1
        key = f"k{self.names}"
        if again:  # a name that has been used, and is free
            free = [name for name in self.used if name not in self.state.tasks and not self.known[client].get(name)]
            key = choose(self.names, free) or key
        self.used[key] = None
        keys = choose(inputs, (name for name in self.state.tasks if name != key))
        self.known[client][key] = 1
        self.x.given(m.SubmitTasks(client, [(key, "f", b"", keys)], [("f", "f", b"")]))

    def futures(self, client: str) -> list[str]:
        return [key for key, number in self.known[client].items() if number]

    @rule(client=clients, number=any_number)
    def release(self, client: str, number: int) -> None:
        key = choose(number, self.futures(client))
        if key is not None:
            self.known[client][key] -= 1
            self.x.given(m.ReleaseKeys(client, [key]))

    @rule(client=clients, number=any_number)
    def cancel(self, client: str, number: int) -> None:
        key = choose(number, self.futures(client))
        if key is not None:
            self.known[client][key] -= 1
            self.x.given(m.CancelTasks(client, [key]))

    @rule(number=any_number, how=st.sampled_from(["small", "large", "large", "fails"]))
    def end(self, number: int, how: str) -> None:
        task = choose(number, (task for task in self.state.tasks.values() if task.worker is not None))
        if task is None:
            return
        key = task.key
        finished = [(key, task.attempt, b"r" if how == "small" else None, 1, 0.1)]
        failed = [(key, task.attempt, b"error", 0.1)]
        if how == "fails":
            self.x.given(m.TasksFinished(task.worker.name, [], failed))
        else:
            self.x.given(m.TasksFinished(task.worker.name, finished))

    @rule(number=any_number)
    def worker_dies(self, number: int) -> None:
        if number % 4:
            return
        self.x.given(m.WorkerGone(choose(number // 4, self.state.workers), []))
        self.names += 1
        self.x.given(m.WorkerConnected(f"new{self.names}", ""))

    @rule(number=any_number)
    def workers_return(self, number: int) -> None:
        if not number % 4:
            self.return_asked()

    def return_asked(self) -> None:
        for worker in list(self.state.workers.values()):
            rows = [(task.key, task.attempt) for task in worker.assigned.values() if task.retracting]
            self.x.given(m.TasksReturned(worker.name, rows))

    # ---------------------------------------------------------------- the channel

    @rule(client=clients, numbers=st.lists(st.lists(any_number, max_size=2), min_size=1, max_size=5))
    def put(self, client: str, numbers: list[list[int]]) -> None:
        mine = [dict.fromkeys(choose(some, self.futures(client))) for some in numbers]
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
    @rule(number=any_number, most=st.integers(1, 4))
    def read(self, number: int, most: int) -> None:
        reader = choose(number, self.readers)
        if reader.request is None:
            place = reader.position or 0
            reader.request = self.x.start("next", reader.serial, place, most, client=reader.client)
            self.hear()

    @precondition(lambda self: self.readers)
    @rule(number=any_number)
    def give_up(self, number: int) -> None:
        reader = choose(number, self.readers)
        if reader.request is not None:
            self.x.given(m.WithdrawShared(reader.client, reader.request))
            reply = self.x.answer(reader.request, reader.client)
            assert reply is not None and reply.error["kind"] == "withdrawn"
            reader.request = None

    @precondition(lambda self: self.untaken)
    @rule(at=any_number)
    def take(self, at: int) -> None:
        client, number = self.untaken.pop(at % len(self.untaken))
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

    @rule(number=any_number)
    def close(self, number: int) -> None:
        if number % 4:
            return
        self.is_closed = True
        self.x.ask("close")
        self.hear()

    @rule(client=clients, number=any_number)
    def delete(self, client: str, number: int) -> None:
        if number % 4 and not self.is_closed:
            return
        self.x.ask("delete", client=client)
        self.begin_anew()

    @rule(client=clients, number=any_number)
    def leave_and_come_back(self, client: str, number: int) -> None:
        if number % 3:
            return
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
    def each_client_is_known_to_want_what_it_has_futures_of(self) -> None:
        others, self.x.others = self.x.others, []
        for command in others:
            if isinstance(command, m.ToClient) and isinstance(command.message, m.TasksDone):
                for key, outcome, *_ in command.message.done:
                    if outcome == m.CANCELLED:
                        self.known[command.client][key] = 0
        for key, task in self.state.tasks.items():
            for client in CLIENTS:
                assert task.wanted_by.count(client) == self.known[client].get(key, 0), (task, client)

    @invariant()
    def the_machine_is_consistent(self) -> None:
        invariants.check(self.state)

    def teardown(self) -> None:
        """When all have left nothing is left."""
        for client in CLIENTS:
            self.x.given(m.ClientLeft(client))
        self.return_asked()
        while any(task.worker is not None for task in self.state.tasks.values()):
            self.end(0, "small")  # released before their clients left: they run all the same
        assert not self.state.tasks and not self.state.held
        shared = self.x.cluster.machine.shared
        assert not shared.objects and not shared.lent and not shared._open
        assert SHARED not in self.state.clients


ChannelHistory.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestChannelHistory = ChannelHistory.TestCase
